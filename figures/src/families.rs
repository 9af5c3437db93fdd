//! Figures as families of series, for monitoring systems.

use std::collections::BTreeMap;

use crate::distribution::Times;

/// Upper bounds of the classic buckets, seconds. The last bucket, without a bound, is not listed.
pub const BOUNDS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// Native buckets: each power of two has 2^SCHEMA of them, so a bucket is 9 % wide.
pub const SCHEMA: i32 = 3;

/// Labels of a series: keys and values.
pub type Labels = Vec<(&'static str, String)>;

/// Series of one name.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Without the unit and without `_total`, which follow from the other fields.
    pub name: &'static str,
    /// What is measured, in a sentence.
    pub help: &'static str,
    /// The unit of the values.
    pub unit: MetricUnit,
    /// The values.
    pub series: Series,
}

/// The unit of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricUnit {
    /// A number of things, or a share.
    None,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
}

/// The series of a family.
#[derive(Clone, Debug, PartialEq)]
pub enum Series {
    /// Totals since the start of the run.
    Counter(Vec<(Labels, f64)>),
    /// Present values.
    Gauge(Vec<(Labels, f64)>),
    /// Times.
    Histogram(Vec<(Labels, Distribution)>),
    /// Texts, in labels.
    Info(Labels),
}

impl Family {
    /// Totals since the start of the run.
    pub const fn counter(name: &'static str, help: &'static str, series: Vec<(Labels, f64)>) -> Self {
        Self { name, help, unit: MetricUnit::None, series: Series::Counter(series) }
    }

    /// One total, without labels.
    pub fn total(name: &'static str, help: &'static str, count: u64) -> Self {
        Self::counter(name, help, vec![(Vec::new(), count as f64)])
    }

    /// Present values.
    pub const fn gauge(name: &'static str, help: &'static str, series: Vec<(Labels, f64)>) -> Self {
        Self { name, help, unit: MetricUnit::None, series: Series::Gauge(series) }
    }

    /// One present value, without labels.
    pub fn value(name: &'static str, help: &'static str, value: f64) -> Self {
        Self::gauge(name, help, vec![(Vec::new(), value)])
    }

    /// Distributions of times, in seconds.
    pub const fn times(name: &'static str, help: &'static str, series: Vec<(Labels, Distribution)>) -> Self {
        Self { name, help, unit: MetricUnit::Seconds, series: Series::Histogram(series) }
    }

    /// Texts.
    pub const fn info(name: &'static str, help: &'static str, labels: Labels) -> Self {
        Self { name, help, unit: MetricUnit::None, series: Series::Info(labels) }
    }

    /// The same in another unit.
    pub fn in_unit(self, unit: MetricUnit) -> Self {
        Self { unit, ..self }
    }
}

/// A distribution of times in buckets. A time counts by the lower end of its cell in the histogram with three
/// digits, so it is in the right bucket to within 0.1 %, and stays in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distribution {
    /// The number of times.
    pub count: u64,
    /// Exact, in seconds.
    pub sum: f64,
    /// The number of times in each bucket of [`BOUNDS`], and in the one without a bound.
    pub classic: [u64; BOUNDS.len() + 1],
    /// The number of times in each native bucket; bucket `i` ends at 2^(i / 2^[`SCHEMA`]) seconds.
    pub native: BTreeMap<i32, u64>,
    /// Times of 0.
    pub zero: u64,
}

impl Distribution {
    /// The distribution of these times.
    pub fn of(times: &Times) -> Self {
        let sum = times.sum() as f64 / 1e9;
        let mut distribution = Self { count: times.count(), sum, ..Self::default() };
        for (cell, count) in times.cells() {
            let seconds = cell.low as f64 / 1e9;
            distribution.classic[BOUNDS.partition_point(|bound| *bound < seconds)] += count;
            if cell.low == 0 {
                distribution.zero += count;
            } else {
                let bucket = (seconds.log2() * f64::from(1 << SCHEMA)).ceil();
                *distribution.native.entry(bucket as i32).or_default() += count;
            }
        }
        distribution
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[u64]) -> Distribution {
        let mut times = Times::default();
        values.iter().for_each(|ns| times.record(*ns));
        Distribution::of(&times)
    }

    #[test]
    fn a_time_at_a_bound_is_in_the_bucket_that_ends_there() {
        let distribution = of(&[1_000_000, 1_010_000, 2_500_000, 60_000_000_000, 61_000_000_000]);
        assert_eq!((distribution.count, distribution.sum), (5, 121.00451));
        let filled: Vec<_> =
            distribution.classic.iter().enumerate().filter(|(_, count)| **count > 0).collect();
        assert_eq!(filled, [(0, &1), (1, &2), (14, &1), (15, &1)]);
    }

    #[test]
    fn native_buckets_end_at_powers_of_the_eighth_root_of_two() {
        // 1 s ends bucket 0, 2 s bucket 8; 1.5 s is in the bucket up to 2^(5/8) = 1.54 s.
        let distribution = of(&[1_000_000_000, 1_500_000_000, 2_000_000_000, 0]);
        assert_eq!(distribution.native, BTreeMap::from([(0, 1), (5, 1), (8, 1)]));
        assert_eq!(distribution.zero, 1);
    }

    #[test]
    fn buckets_only_grow() {
        // The largest time so far must not change the bucket of another one in its cell.
        let (few, more) = (of(&[2_500_100_000]), of(&[2_500_100_000, 2_501_000_000]));
        assert!(few.classic.iter().zip(&more.classic).all(|(few, more)| few <= more));
    }
}
