//! Times of one endpoint over time, in a bounded number of buckets.
//!
//! Buckets are aligned to the Unix epoch, and their width is the smallest power of two seconds with which all times fit.
//! So they depend on the records but not on their order, and merge exactly.

use std::collections::VecDeque;
use std::mem;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::distribution::Cells;
use crate::snapshot::{DistributionCell, TimesInBucket};

/// As many columns as a heat map has at most.
const MAX_BUCKETS: u64 = 120;
/// The widest bucket, as a power of two seconds: the time since the Unix epoch is in one of them.
const MAX_DOUBLINGS: u32 = 40;
const NS: u64 = 1_000_000_000;

/// Counts of times by bucket. Eight cells double a time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OverTime {
    /// Width of a bucket as a power of two seconds.
    doublings: u32,
    /// Number of the first bucket: its start divided by the width.
    first: u64,
    buckets: VecDeque<Cells<4>>,
}

impl OverTime {
    /// Something ended in this second since the Unix epoch and took this long.
    pub(super) fn record(&mut self, at_unix_s: u64, ns: u64) {
        let place = |of: &Self| (at_unix_s >> of.doublings).checked_sub(of.first);
        if place(self).is_none_or(|place| place >= self.buckets.len() as u64) {
            self.make_room(at_unix_s, at_unix_s);
        }
        if let Some(cells) = place(self).and_then(|place| self.buckets.get_mut(place as usize)) {
            cells.record(ns);
        }
    }

    /// Adds the times of `other`, as if they had been recorded here.
    pub(super) fn merge(&mut self, mut other: Self) {
        let Some(last) = (other.buckets.len() as u64).checked_sub(1) else { return };
        let (from_s, to_s) =
            (other.first << other.doublings, ((other.first + last + 1) << other.doublings) - 1);
        while self.doublings < other.doublings {
            self.double();
        }
        self.make_room(from_s, to_s);
        while other.doublings < self.doublings {
            other.double();
        }
        for (number, theirs) in (other.first..).zip(&other.buckets) {
            let ours = number.checked_sub(self.first).and_then(|place| self.buckets.get_mut(place as usize));
            if let Some(ours) = ours {
                ours.merge(theirs);
            }
        }
    }

    /// Without the buckets that are not in this time, nanoseconds since the Unix epoch.
    pub(super) fn within(mut self, unix_ns: &Range<u64>) -> Self {
        let width = NS << self.doublings;
        let (first, end) = (unix_ns.start / width, unix_ns.end.div_ceil(width));
        self.buckets.truncate(end.saturating_sub(self.first) as usize);
        let before = first.saturating_sub(self.first).min(self.buckets.len() as u64);
        self.buckets.drain(..before as usize);
        self.first += before;
        self
    }

    /// The width of the buckets, seconds, and what is in each.
    pub(super) fn buckets(&self) -> (u64, Vec<TimesInBucket>) {
        let of = |(number, bucket): (u64, &Cells<4>)| TimesInBucket {
            at_unix_s: number << self.doublings,
            cells: DistributionCell::of(bucket.iter().map(|(cell, count)| (cell.low, count))),
        };
        (1 << self.doublings, (self.first..).zip(&self.buckets).map(of).collect())
    }

    /// Whether records can have made it.
    pub fn is_sound(&self) -> bool {
        self.doublings <= MAX_DOUBLINGS
            && self.buckets.len() as u64 <= MAX_BUCKETS
            && self.first <= u64::MAX >> (self.doublings + 1)
    }

    /// Makes the buckets cover this time, by further or wider ones.
    fn make_room(&mut self, from_s: u64, to_s: u64) {
        if self.buckets.is_empty() {
            self.first = from_s >> self.doublings;
        }
        loop {
            let first = self.first.min(from_s >> self.doublings);
            let end = (self.first + self.buckets.len() as u64).max((to_s >> self.doublings) + 1);
            if end - first <= MAX_BUCKETS || self.doublings >= MAX_DOUBLINGS {
                let before = (self.first - first).min(MAX_BUCKETS) as usize;
                (0..before).for_each(|_| self.buckets.push_front(Cells::default()));
                self.first = first;
                self.buckets.resize((end - first).min(MAX_BUCKETS) as usize, Cells::default());
                return;
            }
            self.double();
        }
    }

    fn double(&mut self) {
        let mut halves = mem::take(&mut self.buckets).into_iter();
        if self.first % 2 == 1 {
            self.buckets.extend(halves.next());
        }
        while let Some(mut one) = halves.next() {
            if let Some(other) = halves.next() {
                one.merge(&other);
            }
            self.buckets.push_back(one);
        }
        self.first /= 2;
        self.doublings += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(times: &[(u64, u64)]) -> OverTime {
        let mut over_time = OverTime::default();
        times.iter().for_each(|(at, ns)| over_time.record(*at, *ns));
        over_time
    }

    #[test]
    fn buckets_double_when_there_are_too_many() {
        for (last, step, buckets) in [(1_000, 1, 1), (1_119, 1, 120), (1_120, 2, 61), (1_240, 4, 61)] {
            let (width, found) = of(&[(1_000, 5), (last, 5)]).buckets();
            assert_eq!((width, found.len()), (step, buckets), "{last}");
            assert_eq!(found[0].at_unix_s, 1_000);
        }
    }

    #[test]
    fn a_part_has_the_buckets_that_it_touches() {
        let over_time = of(&[(10, 1), (11, 2), (12, 3), (13, 4)]);
        for (from, to, first, buckets) in [
            (0, 20 * NS, 10, 4),
            (11 * NS, 13 * NS, 11, 2),
            (11 * NS + 1, 12 * NS + 1, 11, 2),
            (12 * NS, 99 * NS, 12, 2),
        ] {
            let (_, found) = over_time.clone().within(&(from..to)).buckets();
            assert_eq!((found[0].at_unix_s, found.len()), (first, buckets), "{from} {to}");
        }
        assert!(over_time.clone().within(&(0..NS)).buckets().1.is_empty());
        assert!(over_time.within(&(99 * NS..100 * NS)).buckets().1.is_empty());
    }

    proptest! {
        #[test]
        fn parts_make_the_whole_in_any_order(
            mut times in prop::collection::vec((5_000_u64..9_000, 1_u64..1 << 40), 1..60),
            at in 0_usize..60,
        ) {
            let whole = of(&times);
            let (one, other) = times.split_at(at.min(times.len()));
            let (mut merged, mut reversed) = (of(one), of(other));
            merged.merge(of(other));
            reversed.merge(of(one));
            prop_assert_eq!(&merged, &whole);
            prop_assert_eq!(&reversed, &whole);
            prop_assert!(whole.is_sound());
            times.reverse();
            prop_assert_eq!(of(&times), whole);
        }
    }
}
