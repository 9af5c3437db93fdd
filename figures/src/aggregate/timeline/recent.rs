//! `Recent`: a percentile over time, each of the shortest time that has enough samples for it.

use crate::distribution::{Cell, Cells, may_be_named};

/// The longest time that a value of a line is of, seconds. A bucket that is wider has its own samples only.
const LONGEST_S: u64 = 60;
/// A line ends where no sample came for the mean time of this many.
const SILENT_SAMPLES: u64 = 10;

/// The samples of a bucket: their number and their sizes.
pub(super) type Samples<'a> = (u64, &'a Cells<6>);

/// Number of buckets of `step_s` seconds of which a value can be, the one where it is drawn included.
pub(super) const fn reach(step_s: u64) -> usize {
    (if step_s < LONGEST_S { LONGEST_S / step_s } else { 1 }) as usize
}

/// One percentile as a line over time.
///
/// The value at a bucket is of the bucket and as many before it as the percentile needs, at most a minute. At a high
/// rate that is the bucket itself. So a line follows changes as fast as its samples allow, and ends where a
/// minute has too few of them.
pub(super) struct Recent {
    per_mille: u64,
    /// The most buckets of a value.
    reach: usize,
    /// The buckets of the latest value: from the first to one past the last.
    from: usize,
    to: usize,
    n: u64,
    cells: Cells<6>,
}

impl Recent {
    pub(super) fn new(per_mille: u64, step_s: u64) -> Self {
        Self { per_mille, reach: reach(step_s), from: 0, to: 0, n: 0, cells: Cells::default() }
    }

    /// The value at the bucket `place`, whose samples and those of the ones before it are `of`. Places ascend from call
    /// to call. None with too few samples, and after a silence.
    pub(super) fn at<'a>(&mut self, place: usize, of: impl Fn(usize) -> Samples<'a>) -> Option<u64> {
        let (n, cells) = of(place);
        if n == 0 && self.n == 0 && place == self.to {
            (self.from, self.to) = (place + 1, place + 1);
            return None;
        }
        if may_be_named(n, self.per_mille) {
            (self.from, self.to, self.n, self.cells) = (place, place + 1, n, cells.clone());
        } else {
            self.move_to(place, &of);
        }
        let silent = (self.from..self.to).rev().take_while(|place| of(*place).0 == 0).count();
        let length = self.to - self.from - silent;
        if self.n.saturating_mul(silent as u64) > SILENT_SAMPLES * length as u64 {
            return None;
        }
        self.cells.percentile(self.n, self.per_mille).map(Cell::middle)
    }

    fn move_to<'a>(&mut self, place: usize, of: &impl Fn(usize) -> Samples<'a>) {
        let first = (place + 1).saturating_sub(self.reach);
        if self.to < first {
            (self.from, self.to, self.n, self.cells) = (first, first, 0, Cells::default());
        }
        for place in self.to..=place {
            let (n, cells) = of(place);
            self.n += n;
            self.cells.merge(cells);
        }
        self.to = place + 1;
        while self.from < self.to {
            let (n, cells) = of(self.from);
            if self.from >= first && !may_be_named(self.n - n, self.per_mille) {
                break;
            }
            self.from += 1;
            self.n -= n;
            self.cells.subtract(cells);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: u64 = 1_000_000;

    /// Buckets, each of so many samples of so many milliseconds.
    fn buckets(of: &[(u64, u64)]) -> Vec<Cells<6>> {
        let cells = |&(n, ms): &(u64, u64)| {
            let mut cells = Cells::default();
            (0..n).for_each(|_| cells.record(ms * MILLISECOND));
            cells
        };
        of.iter().map(cells).collect()
    }

    /// The line, in whole milliseconds.
    fn line(per_mille: u64, step_s: u64, buckets: &[Cells<6>]) -> Vec<Option<u64>> {
        let mut recent = Recent::new(per_mille, step_s);
        let of = |place: usize| (buckets[place].count(), &buckets[place]);
        let value = |place| recent.at(place, of).map(|ns| (ns + MILLISECOND / 2) / MILLISECOND);
        (0..buckets.len()).map(value).collect()
    }

    #[test]
    fn takes_the_shortest_time_that_has_enough_samples() {
        let modest = buckets(&[(7, 10); 40]);
        let from = |first: usize| (0..40).map(|place| (place >= first).then_some(10)).collect::<Vec<_>>();
        let cases = [
            (500, from(2), "20 samples in 3 s"),
            (950, from(28), "200 samples in 29 s"),
            (990, from(40), "1,000 samples need more than a minute"),
        ];
        for (per_mille, expected, why) in cases {
            assert_eq!(line(per_mille, 1, &modest), expected, "{why}");
        }
        // What is older than needed is in no value.
        let faster = buckets(&[(10, 500), (10, 500), (10, 20), (10, 20), (20, 30)]);
        let found = line(500, 1, &faster);
        assert_eq!(found[0], None);
        assert!(found[1].is_some_and(|ms| ms.abs_diff(500) <= 8), "{found:?}");
        assert_eq!(found[3..], [Some(20), Some(30)]);
    }

    #[test]
    fn is_of_a_minute_at_most_and_of_a_wider_bucket_alone() {
        for (step_s, buckets_of_a_minute) in [(1, 60), (2, 30), (4, 15), (32, 1), (64, 1), (4_096, 1)] {
            assert_eq!(reach(step_s), buckets_of_a_minute, "{step_s} s");
        }
        let slow = buckets(&[(3, 10); 80]);
        assert!(line(950, 1, &slow).iter().all(Option::is_none), "180 samples a minute");
        assert!(line(950, 64, &slow).iter().all(Option::is_none), "3 samples a bucket");
    }

    #[test]
    fn ends_in_a_silence_of_ten_samples() {
        // 100 a second, then none: the next would be due after 10 ms.
        let stopped = buckets(&[(100, 10), (100, 10), (0, 0), (0, 0), (100, 10)]);
        assert_eq!(line(500, 1, &stopped), [Some(10), Some(10), None, None, Some(10)]);
        // One every two seconds: ten would take 20 s.
        let sparse: Vec<_> = (0..50).map(|n| (u64::from(n < 40 && n % 2 == 0), 10)).collect();
        let found = line(500, 1, &buckets(&sparse));
        assert_eq!(found[37], None);
        assert!(found[38..].iter().all(|value| *value == Some(10)), "{found:?}");
    }

    #[test]
    fn a_later_start_changes_no_value() {
        let of: Vec<_> = (0_u64..200).map(|n| ((n * 7919) % 41, 1 + (n * 104_729) % 90)).collect();
        let buckets = buckets(&of);
        let samples = |place: usize| (buckets[place].count(), &buckets[place]);
        for per_mille in [500, 950, 990] {
            let whole = {
                let mut recent = Recent::new(per_mille, 1);
                (0..buckets.len()).map(|place| recent.at(place, samples)).collect::<Vec<_>>()
            };
            for start in [1, 50, 59, 60, 61, 150, 199] {
                let mut recent = Recent::new(per_mille, 1);
                // With gaps between, as where only some buckets changed.
                for place in (start..buckets.len()).filter(|place| place % 3 > 0) {
                    assert_eq!(recent.at(place, samples), whole[place], "p{per_mille}, {start}, {place}");
                }
            }
        }
    }
}
