//! A distribution of times: an exact sum and maximum beside a mergeable histogram, and the rule of when a
//! percentile may be named.

use hdrhistogram::Histogram;

use crate::snapshot::Timing;

/// Times above one hour are counted as one hour: no CA's answer is waited for that long.
pub(crate) const LONGEST_NS: u64 = 3_600_000_000_000;

/// A percentile needs this many samples beyond it.
const TAIL: u64 = 10;

/// Sums are integers, so that merging in any order gives the same mean and deviation to the last bit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Times {
    n: u64,
    sum: u128,
    sum_of_squares: u128,
    max: u64,
    clamped: u64,
    /// Made by the first sample: most endpoints never fail.
    histogram: Option<Histogram<u64>>,
}

impl Times {
    pub(crate) fn record(&mut self, ns: u64) {
        self.record_n(ns, 1);
    }

    /// The same time, `count` times. Counts of a distorted sender end at what 64 bits hold.
    pub(crate) fn record_n(&mut self, ns: u64, count: u64) {
        if count == 0 {
            return;
        }
        let value = ns.min(LONGEST_NS);
        self.clamped += if value == ns { 0 } else { count };
        self.n = self.n.saturating_add(count);
        self.sum += u128::from(value) * u128::from(count);
        self.sum_of_squares = (u128::from(value) * u128::from(value))
            .saturating_mul(count.into())
            .saturating_add(self.sum_of_squares);
        self.max = self.max.max(value);
        self.histogram.get_or_insert_with(empty_histogram).saturating_record_n(value, count);
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.n += other.n;
        self.sum += other.sum;
        self.sum_of_squares += other.sum_of_squares;
        self.max = self.max.max(other.max);
        self.clamped += other.clamped;
        self.histogram = match (self.histogram.take(), other.histogram) {
            (Some(mut ours), Some(theirs)) => {
                ours.add(theirs).expect("every histogram has the same bounds");
                Some(ours)
            }
            (ours, theirs) => ours.or(theirs),
        };
    }

    /// How many samples were longer than [`LONGEST_NS`].
    pub(crate) const fn clamped(&self) -> u64 {
        self.clamped
    }

    pub(crate) fn timing(&self) -> Timing {
        let [p50, p90, p95, p99, p99_9] = self.percentiles([500, 900, 950, 990, 999]);
        Timing {
            n: self.n,
            mean: (self.n > 0).then(|| (self.sum / u128::from(self.n)) as u64),
            std_error: self.std_error(),
            p50,
            p90,
            p95,
            p99,
            p99_9,
            max: (self.n > 0).then_some(self.max),
        }
    }

    /// Standard deviation of the samples over √n.
    fn std_error(&self) -> Option<u64> {
        if self.n < 2 {
            return None;
        }
        let n = self.n as f64;
        let mean = self.sum as f64 / n;
        let variance = ((self.sum_of_squares as f64 - mean * self.sum as f64) / (n - 1.0)).max(0.0);
        Some((variance / n).sqrt().round() as u64)
    }

    /// Percentiles in one walk; `per_mille` ascends.
    fn percentiles<const K: usize>(&self, per_mille: [u64; K]) -> [Option<u64>; K] {
        let mut found = [None; K];
        let Some(histogram) = &self.histogram else { return found };
        let mut cells = histogram.iter_recorded();
        let mut cell = cells.next();
        let mut seen = 0;
        for (slot, per_mille) in found.iter_mut().zip(per_mille) {
            if !may_be_named(self.n, per_mille) {
                break;
            }
            let rank = nearest_rank(self.n, per_mille);
            while let Some(current) = &cell {
                if seen + current.count_at_value() >= rank {
                    *slot = Some(histogram.highest_equivalent(current.value_iterated_to()).min(self.max));
                    break;
                }
                seen += current.count_at_value();
                cell = cells.next();
            }
        }
        found
    }
}

/// Whether `n` samples leave [`TAIL`] of them beyond the percentile.
pub(crate) fn may_be_named(n: u64, per_mille: u64) -> bool {
    u128::from(n) * u128::from(1000 - per_mille) >= u128::from(TAIL) * 1000
}

/// The place, from 1, of the percentile among `n` samples in order.
pub(crate) fn nearest_rank(n: u64, per_mille: u64) -> u64 {
    (u128::from(n) * u128::from(per_mille)).div_ceil(1000).max(1) as u64
}

fn empty_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_NS, 3).expect("the bounds are constant and valid")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = u64>) -> Times {
        let mut times = Times::default();
        values.into_iter().for_each(|value| times.record(value));
        times
    }

    #[test]
    fn a_percentile_needs_ten_samples_in_its_tail() {
        let cases = [
            (500, 19, false),
            (500, 20, true),
            (900, 99, false),
            (900, 100, true),
            (950, 199, false),
            (950, 200, true),
            (990, 999, false),
            (990, 1_000, true),
            (999, 9_999, false),
            (999, 10_000, true),
            (999, u64::MAX, true),
            (500, 0, false),
        ];
        for (per_mille, n, named) in cases {
            assert_eq!(may_be_named(n, per_mille), named, "p{per_mille}‰ of {n}");
        }
    }

    #[test]
    fn percentiles_are_nearest_ranks_to_three_digits() {
        let timing = of((1..=10_000).map(|i| i * 1_000_000)).timing();
        assert_eq!(timing.n, 10_000);
        let cases = [
            (timing.p50, 5_000_000_000_u64),
            (timing.p90, 9_000_000_000),
            (timing.p95, 9_500_000_000),
            (timing.p99, 9_900_000_000),
            (timing.p99_9, 9_990_000_000),
        ];
        for (got, exact) in cases {
            let got = got.expect("10,000 samples name every percentile");
            assert!(got.abs_diff(exact) * 1000 <= exact, "{got} is not within 0.1 % of {exact}");
        }
        assert_eq!(timing.max, Some(10_000_000_000));
        assert_eq!(timing.mean, Some(5_000_500_000));
    }

    #[test]
    fn names_nothing_of_nothing_and_little_of_little() {
        assert_eq!(Times::default().timing(), Timing::default());
        let one = of([7]).timing();
        assert_eq!((one.n, one.mean, one.std_error, one.p50, one.max), (1, Some(7), None, None, Some(7)));
        let twenty = of(1..=20).timing();
        assert_eq!((twenty.p50, twenty.p90, twenty.max), (Some(10), None, Some(20)));
    }

    #[test]
    fn std_error_is_the_deviation_over_root_n() {
        // Sample deviation of 2, 4, 4, 4, 5, 5, 7, 9 (×1000) is 2138.09; over √8 it is 755.93.
        let timing = of([2, 4, 4, 4, 5, 5, 7, 9].map(|v| v * 1000)).timing();
        assert_eq!(timing.std_error, Some(756));
        assert_eq!(of([5; 100]).timing().std_error, Some(0));
    }

    #[test]
    fn counts_what_it_clamps() {
        let times = of([1, LONGEST_NS, LONGEST_NS + 1, u64::MAX]);
        assert_eq!(times.clamped(), 2);
        assert_eq!(times.timing().max, Some(LONGEST_NS));
    }

    #[test]
    fn a_percentile_never_exceeds_the_maximum() {
        let timing = of(std::iter::repeat_n(1_234_567, 20)).timing();
        assert_eq!(timing.p50, Some(1_234_567));
    }
}
