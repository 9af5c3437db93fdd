//! `Times`: an exact sum and maximum, and a mergeable histogram with three digits.

use std::borrow::Cow;

use hdrhistogram::Histogram;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::interval::ranks_around;
use super::octaves::Octaves;
use super::{Cell, LONGEST_NS, MOST, Timing, may_be_named, nearest_rank};

/// Times that are counted at once. A run has some hundred distributions, and their histograms do not fit into the
/// processor's cache: one time after the other waits for memory, many of one distribution wait together.
const AT_ONCE: usize = 64;

/// A distribution of times, nanoseconds: exact count, sum and maximum, and a histogram with three decimal digits.
///
/// Sums are integers, so that mean and deviation do not depend on the order of merging.
#[derive(Clone, Debug, Default)]
pub struct Times {
    /// In memory of its own: the figures of a run have hundreds, and are moved on a thread's stack.
    counted: Box<Counted>,
    /// The last times, which are not counted yet.
    last: Vec<u64>,
    /// Times of 0 that are not counted yet. Most parts of a chain's time are.
    zeros: u64,
}

/// Times that were counted.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Counted {
    n: u64,
    sum: u128,
    sum_of_squares: u128,
    max: u64,
    clamped: u64,
    cells: Octaves,
}

impl Serialize for Times {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.all().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Times {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self { counted: Box::deserialize(deserializer)?, last: Vec::new(), zeros: 0 })
    }
}

impl Times {
    /// Adds one time.
    #[inline]
    pub fn record(&mut self, ns: u64) {
        if ns == 0 {
            self.zeros += 1;
            return;
        }
        if self.last.len() == self.last.capacity() {
            self.make_room();
        }
        self.last.push(ns);
    }

    #[cold]
    fn make_room(&mut self) {
        self.counted.add(&self.last);
        self.last.clear();
        self.last.reserve_exact(AT_ONCE);
    }

    /// Adds `count` equal times. Counts saturate at 64 bits.
    pub fn record_n(&mut self, ns: u64, count: u64) {
        if count > 0 {
            self.counted.add_n(ns, count);
        }
    }

    /// Adds all times of `other`.
    pub fn merge(&mut self, other: Self) {
        self.counted.merge(*other.counted);
        other.last.into_iter().for_each(|ns| self.record(ns));
        self.zeros += other.zeros;
    }

    fn all(&self) -> Cow<'_, Counted> {
        if self.last.is_empty() && self.zeros == 0 {
            return Cow::Borrowed(&self.counted);
        }
        let mut all = Counted::clone(&self.counted);
        all.add(&self.last);
        if self.zeros > 0 {
            all.add_n(0, self.zeros);
        }
        Cow::Owned(all)
    }

    /// Whether samples can have made it.
    pub fn is_sound(&self) -> bool {
        self.all().is_sound()
    }

    /// Number of samples longer than one hour, which count as one hour.
    pub fn clamped(&self) -> u64 {
        self.counted.clamped + self.last.iter().filter(|ns| **ns > LONGEST_NS).count() as u64
    }

    /// Number of samples.
    pub fn count(&self) -> u64 {
        self.counted.n.saturating_add(self.last.len() as u64).saturating_add(self.zeros)
    }

    /// The sum of the samples.
    pub fn sum(&self) -> u128 {
        self.counted.sum + self.last.iter().map(|ns| u128::from(*ns.min(&LONGEST_NS))).sum::<u128>()
    }

    /// The sum of the squares of the samples.
    pub fn sum_of_squares(&self) -> u128 {
        self.all().sum_of_squares
    }

    /// The largest sample; 0 without samples.
    pub fn max(&self) -> u64 {
        let last = self.last.iter().copied().max().unwrap_or(0).min(LONGEST_NS);
        self.counted.max.max(last)
    }

    /// The cells of the histogram that are not empty, ascending, each with its number of samples.
    pub fn cells(&self) -> impl Iterator<Item = (Cell, u64)> + use<> {
        self.all().cells().collect::<Vec<_>>().into_iter()
    }

    /// The steps of HdrHistogram's percentile output: with `ticks` steps until half of the remaining distance
    /// to 100 %, then as many in the next half, and so on, until the largest sample.
    pub fn quantile_steps(&self, ticks: u32) -> Vec<QuantileStep> {
        let all = self.all();
        if all.n == 0 {
            return Vec::new();
        }
        let mut histogram: Histogram<u64> =
            Histogram::new_with_bounds(1, LONGEST_NS, 3).expect("the bounds are constant and valid");
        all.cells.iter().for_each(|(cell, count)| histogram.saturating_record_n(cell.low, count));
        let mut seen = 0;
        let steps = histogram.iter_quantiles(ticks).map(|step| {
            seen += step.count_since_last_iteration();
            QuantileStep {
                value: step.value_iterated_to().min(all.max),
                quantile: step.quantile_iterated_to(),
                count: seen,
            }
        });
        steps.collect()
    }

    /// The shortest, to three digits; none without samples.
    pub(crate) fn shortest(&self) -> Option<u64> {
        self.all().cells.iter().next().map(|(cell, _)| cell.low)
    }

    /// One percentile; none if there are too few samples beyond it.
    pub fn percentile(&self, per_mille: u64) -> Option<u64> {
        if !may_be_named(self.count(), per_mille) {
            return None;
        }
        self.all().cells_of(&[nearest_rank(self.count(), per_mille)]).first().map(|cell| cell.high)
    }

    /// The figures of summaries.
    pub fn timing(&self) -> Timing {
        self.all().timing()
    }
}

impl Counted {
    fn add(&mut self, times: &[u64]) {
        // Times have 42 bits: the sum of so few fits.
        let (mut sum, mut squares, mut max) = (0_u64, 0_u128, self.max);
        for ns in times {
            let value = *ns.min(&LONGEST_NS);
            self.clamped += u64::from(value != *ns);
            sum += value;
            squares += u128::from(value) * u128::from(value);
            max = max.max(value);
            self.cells.add(value, 1);
        }
        self.n = self.n.saturating_add(times.len() as u64);
        self.sum += u128::from(sum);
        self.sum_of_squares = self.sum_of_squares.saturating_add(squares);
        self.max = max;
    }

    fn add_n(&mut self, ns: u64, count: u64) {
        let value = ns.min(LONGEST_NS);
        self.clamped += if value == ns { 0 } else { count };
        self.n = self.n.saturating_add(count);
        self.sum += u128::from(value) * u128::from(count);
        let square = u128::from(value) * u128::from(value);
        let squares =
            if count < 1 << 40 { square * u128::from(count) } else { square.saturating_mul(count.into()) };
        self.sum_of_squares = self.sum_of_squares.saturating_add(squares);
        self.max = self.max.max(value);
        self.cells.add(value, count);
    }

    fn merge(&mut self, other: Self) {
        self.n = self.n.saturating_add(other.n);
        self.sum += other.sum;
        self.sum_of_squares = self.sum_of_squares.saturating_add(other.sum_of_squares);
        self.max = self.max.max(other.max);
        self.clamped += other.clamped;
        self.cells.merge(other.cells);
    }

    fn is_sound(&self) -> bool {
        let (n, max) = (u128::from(self.n), u128::from(self.max));
        let in_cells = self.cells.iter().fold(0_u64, |sum, (_, count)| sum.saturating_add(count));
        self.n <= MOST
            && in_cells == self.n
            && self.max <= LONGEST_NS
            && self.clamped <= self.n
            && self.sum <= n * max
            && self.sum_of_squares <= n * max * max
    }

    fn cells(&self) -> impl Iterator<Item = (Cell, u64)> + '_ {
        self.cells.iter().map(|(Cell { low, high }, count)| (Cell { low, high: high.min(self.max) }, count))
    }

    fn timing(&self) -> Timing {
        let [p50, p90, p95, p99, p99_9] = self.percentiles([500, 900, 950, 990, 999]);
        let value = |percentile: Option<Percentile>| percentile.map(|percentile| percentile.value);
        let between = |percentile: Option<Percentile>| percentile.and_then(|percentile| percentile.between);
        Timing {
            n: self.n,
            mean: (self.n > 0).then(|| (self.sum / u128::from(self.n)) as u64),
            std_error: self.std_error(),
            min: self.cells.iter().next().map(|(cell, _)| cell.low),
            p50: value(p50),
            p50_ci: between(p50),
            p90: value(p90),
            p90_ci: between(p90),
            p95: value(p95),
            p95_ci: between(p95),
            p99: value(p99),
            p99_ci: between(p99),
            p99_9: value(p99_9),
            p99_9_ci: between(p99_9),
            max: (self.n > 0).then_some(self.max),
        }
    }

    /// Sample standard deviation over √n.
    fn std_error(&self) -> Option<u64> {
        if self.n < 2 {
            return None;
        }
        let n = self.n as f64;
        let mean = self.sum as f64 / n;
        let variance = ((self.sum_of_squares as f64 - mean * self.sum as f64) / (n - 1.0)).max(0.0);
        Some((variance / n).sqrt().round() as u64)
    }

    /// Percentiles with their intervals, in one pass over the histogram.
    fn percentiles<const K: usize>(&self, per_mille: [u64; K]) -> [Option<Percentile>; K] {
        let mut found = [None; K];
        let ranks = per_mille.map(|per_mille| {
            may_be_named(self.n, per_mille)
                .then(|| (nearest_rank(self.n, per_mille), ranks_around(self.n, per_mille)))
        });
        let mut wanted: Vec<u64> = ranks
            .iter()
            .flatten()
            .flat_map(|(rank, around)| {
                let (low, high) = around.unwrap_or((*rank, *rank));
                [low, *rank, high]
            })
            .collect();
        wanted.sort_unstable();
        wanted.dedup();
        let cells = self.cells_of(&wanted);
        let cell = |rank: u64| wanted.binary_search(&rank).ok().and_then(|place| cells.get(place));
        for (slot, ranks) in found.iter_mut().zip(ranks) {
            let Some((rank, around)) = ranks else { continue };
            let Some(Cell { high: value, .. }) = cell(rank) else { continue };
            // The whole cell counts: the interval must not be narrower than the precision.
            let between = around.and_then(|(low, high)| Some([cell(low)?.low, cell(high)?.high]));
            *slot = Some(Percentile { value: *value, between });
        }
        found
    }

    /// For each of the ascending ranks, its sample's cell.
    fn cells_of(&self, ranks: &[u64]) -> Vec<Cell> {
        let mut found = Vec::with_capacity(ranks.len());
        let mut seen = 0;
        for (cell, count) in self.cells() {
            seen += count;
            while ranks.get(found.len()).is_some_and(|rank| *rank <= seen) {
                found.push(cell);
            }
            if found.len() == ranks.len() {
                break;
            }
        }
        found
    }
}

/// One line of HdrHistogram's percentile output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QuantileStep {
    /// The largest value up to this quantile, nanoseconds.
    pub value: u64,
    /// The quantile, 0 to 1.
    pub quantile: f64,
    /// Number of samples up to `value`.
    pub count: u64,
}

/// A percentile with the ends of its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Percentile {
    pub(crate) value: u64,
    pub(crate) between: Option<[u64; 2]>,
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
            let got = got.expect("10,000 samples suffice for every percentile");
            assert!(got.abs_diff(exact) * 1000 <= exact, "{got} is not within 0.1 % of {exact}");
        }
        assert_eq!(timing.max, Some(10_000_000_000));
        assert_eq!(timing.mean, Some(5_000_500_000));
    }

    #[test]
    fn an_interval_contains_its_percentile_and_is_withheld_with_it() {
        // The ranks of p50 of 1,000 are 469 and 532, those of p99 983 and 997.
        let timing = of((1..=1_000).map(|i| i * 1_000_000)).timing();
        let cases =
            [(timing.p50_ci, [469_000_000, 532_000_000]), (timing.p99_ci, [983_000_000, 997_000_000])];
        for (got, exact) in cases {
            for (got, exact) in got.unwrap().into_iter().zip(exact) {
                assert!(got.abs_diff(exact) * 1000 <= exact, "{got} is not within 0.1 % of {exact}");
            }
        }
        assert_eq!(timing.p99_9_ci, None);
        let few = of(1..=99).timing();
        assert!(few.p50_ci.is_some_and(|[low, high]| low < few.p50.unwrap() && few.p50.unwrap() < high));
        assert_eq!((few.p90, few.p90_ci), (None, None));
        let equal = of(std::iter::repeat_n(1_234_567, 20)).timing();
        assert_eq!(equal.p50_ci.unwrap()[1], 1_234_567, "the interval does not exceed the maximum");
    }

    #[test]
    fn few_samples_have_few_or_no_percentiles() {
        assert_eq!(Times::default().timing(), Timing::default());
        let one = of([7]).timing();
        assert_eq!(
            (one.n, one.mean, one.std_error, one.min, one.p50, one.max),
            (1, Some(7), None, Some(7), None, Some(7))
        );
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
