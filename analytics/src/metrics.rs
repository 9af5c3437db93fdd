//! The figures of a run as families of series, for monitoring systems.
//!
//! Nothing is counted here: families are made from the counts of the aggregate when they are asked for. So
//! they cannot differ from the page and the summary.

mod otlp;
mod prometheus;

use std::collections::BTreeMap;

use wec_board::NodeInfo;

use crate::distribution::Times;
use crate::ingest::Ingest;
use crate::runs::Shown;
use crate::snapshot::Health;

pub(crate) use self::otlp::Exporter;
pub use self::otlp::OtlpOptions;
pub(crate) use self::prometheus::{Encoding, encode};

/// Upper bounds of the classic buckets, seconds. The last bucket, without a bound, is not listed.
pub(crate) const BOUNDS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// Native buckets: each power of two has 2^SCHEMA of them, so a bucket is 9 % wide.
pub(crate) const SCHEMA: i32 = 3;

/// Labels of a series: keys and values.
pub(crate) type Labels = Vec<(&'static str, String)>;

/// Series of one name.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Family {
    /// Without the unit and without `_total`, which follow from the other fields.
    pub(crate) name: &'static str,
    /// What is measured, in a sentence.
    pub(crate) help: &'static str,
    pub(crate) unit: Unit,
    pub(crate) series: Series,
}

/// The unit of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// A number of things, or a share.
    None,
    Seconds,
    Bytes,
}

/// The series of a family.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Series {
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
    pub(crate) const fn counter(name: &'static str, help: &'static str, series: Vec<(Labels, f64)>) -> Self {
        Self { name, help, unit: Unit::None, series: Series::Counter(series) }
    }

    pub(crate) fn total(name: &'static str, help: &'static str, count: u64) -> Self {
        Self::counter(name, help, vec![(Vec::new(), count as f64)])
    }

    pub(crate) const fn gauge(name: &'static str, help: &'static str, series: Vec<(Labels, f64)>) -> Self {
        Self { name, help, unit: Unit::None, series: Series::Gauge(series) }
    }

    pub(crate) fn value(name: &'static str, help: &'static str, value: f64) -> Self {
        Self::gauge(name, help, vec![(Vec::new(), value)])
    }

    pub(crate) const fn times(
        name: &'static str,
        help: &'static str,
        series: Vec<(Labels, Distribution)>,
    ) -> Self {
        Self { name, help, unit: Unit::Seconds, series: Series::Histogram(series) }
    }

    pub(crate) const fn info(name: &'static str, help: &'static str, labels: Labels) -> Self {
        Self { name, help, unit: Unit::None, series: Series::Info(labels) }
    }

    pub(crate) fn in_unit(self, unit: Unit) -> Self {
        Self { unit, ..self }
    }
}

/// A distribution of times in buckets. A time counts by the lower end of its cell in the histogram with three
/// digits, so it is in the right bucket to within 0.1 %, and stays in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Distribution {
    pub(crate) count: u64,
    /// Exact, in seconds.
    pub(crate) sum: f64,
    /// The number of times in each bucket of [`BOUNDS`], and in the one without a bound.
    pub(crate) classic: [u64; BOUNDS.len() + 1],
    /// The number of times in each native bucket; bucket `i` ends at 2^(i / 2^[`SCHEMA`]) seconds.
    pub(crate) native: BTreeMap<i32, u64>,
    /// Times of 0.
    pub(crate) zero: u64,
}

impl Distribution {
    pub(crate) fn of(times: &Times) -> Self {
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

/// The live run that started last, and the service.
pub(crate) fn current_families(shown: &Shown, ingest: &Ingest) -> Vec<Family> {
    let run = shown.current();
    let mut families = run.figures().lock().families();
    families.extend(service_families(&shown.health(&*run, ingest)));
    families
}

/// How far the clocks of nodes are ahead of the board's time.
pub(crate) fn clocks(nodes: &[NodeInfo]) -> Family {
    let ahead = nodes.iter().filter_map(|node| {
        let labels = vec![("node", node.name.clone()), ("id", node.id.clone())];
        Some((labels, node.clock?.ahead_ns as f64 / 1e9))
    });
    let about = "How far the clock of a node is ahead of the board's time";
    Family::gauge("wec_node_clock_ahead", about, ahead.collect()).in_unit(Unit::Seconds)
}

/// The condition of the service itself.
fn service_families(health: &Health) -> Vec<Family> {
    let of_listeners = |value: fn(&wec_listen::ListenerCounts) -> u64| {
        let listeners = health.listeners.iter();
        listeners.map(|counts| (vec![("listener", counts.what.clone())], value(counts) as f64)).collect()
    };
    vec![
        Family::info("wec_build", "The program", vec![("version", env!("CARGO_PKG_VERSION").to_owned())]),
        Family::value(
            "wec_ingest_queued_batches",
            "Batches of results that wait to be logged and counted",
            health.queued_batches as f64,
        ),
        Family::value(
            "wec_ingest_queue_bound_batches",
            "Size of the queue; senders wait when it is full",
            health.queue_bound as f64,
        ),
        Family::total(
            "wec_ingest_duplicates",
            "Records that arrived again and were not counted again",
            health.duplicates,
        ),
        Family::value(
            "wec_ingest_missing_records",
            "Records that a sender had numbered and that have not arrived",
            health.gaps as f64,
        ),
        Family::value("wec_log_size", "Bytes written to the log of the run", health.log_bytes as f64)
            .in_unit(Unit::Bytes),
        Family::total(
            "wec_log_failed_records",
            "Records that could not be written to the log",
            health.log_failed,
        ),
        Family::gauge(
            "wec_listener_connections",
            "Open connections of a listener",
            of_listeners(|counts| counts.open),
        ),
        Family::counter(
            "wec_listener_accepted_connections",
            "Connections that a listener accepted",
            of_listeners(|counts| counts.accepted),
        ),
        Family::counter(
            "wec_listener_refused_connections",
            "Connections that a listener closed at once, because all places were taken",
            of_listeners(|counts| counts.refused),
        ),
    ]
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
