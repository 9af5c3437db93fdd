//! The slowest successes, as examples.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use crate::snapshot::Example;

/// Examples of a row.
const MOST: usize = 3;

/// The slowest ones, slowest first. Of equally slow ones the earliest, so that the order of records does not matter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Slowest(Vec<Example>);

impl Slowest {
    /// Something succeeded that took this long and ended then; `example` makes it one.
    pub(super) fn record(&mut self, response_ns: u64, at_unix_ns: u64, example: impl FnOnce() -> Example) {
        let slow = (Reverse(response_ns), at_unix_ns);
        let full = self.0.len() >= MOST;
        if full && self.0.last().is_some_and(|last| (Reverse(last.response_ns), last.at_unix_ns) < slow) {
            return;
        }
        self.add(example());
    }

    pub(super) fn merge(&mut self, other: Self) {
        other.0.into_iter().for_each(|example| self.add(example));
    }

    pub(super) fn examples(&self) -> &[Example] {
        &self.0
    }

    /// Whether records can have made it.
    pub(super) fn is_sound(&self, longest_text: usize) -> bool {
        let short = |example: &Example| {
            [&example.node, &example.traceparent].into_iter().all(|text| text.len() <= longest_text)
        };
        self.0.len() <= MOST && self.0.iter().all(short)
    }

    fn add(&mut self, example: Example) {
        fn order(example: &Example) -> (Reverse<u64>, u64, &str, u64) {
            (Reverse(example.response_ns), example.at_unix_ns, &example.node, example.seq)
        }
        let place = self.0.partition_point(|known| order(known) < order(&example));
        self.0.insert(place, example);
        self.0.truncate(MOST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(response_ns: u64, at_unix_ns: u64) -> Example {
        Example { response_ns, at_unix_ns, ..Example::default() }
    }

    #[test]
    fn keeps_the_slowest_in_whichever_order_they_come() {
        let times = [(5, 1), (9, 2), (7, 3), (9, 1), (1, 9), (7, 2)];
        let found = |times: &mut dyn Iterator<Item = (u64, u64)>| {
            let mut slowest = Slowest::default();
            times.for_each(|(ns, at)| slowest.record(ns, at, || example(ns, at)));
            slowest
        };
        let kept = found(&mut times.into_iter());
        assert_eq!(kept.examples(), [example(9, 1), example(9, 2), example(7, 2)]);
        assert_eq!(found(&mut times.into_iter().rev()), kept);
        let (one, other) = times.split_at(2);
        let mut merged = found(&mut other.iter().copied());
        merged.merge(found(&mut one.iter().copied()));
        assert_eq!(merged, kept);
    }
}
