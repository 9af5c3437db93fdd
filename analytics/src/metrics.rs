//! The figures of a run as families of series, for monitoring systems.
//!
//! Nothing is counted here: families are made from the counts of the aggregate when they are asked for. So
//! they cannot differ from the page and the summary.

mod prometheus;

use wec_board::NodeInfo;
use wec_figures::families::{Family, MetricUnit};
use wec_listen::ListenerCounts;

use crate::views::Health;

pub(crate) use self::prometheus::{Encoding, encode};

/// How far the clocks of nodes are ahead of the board's time.
pub(crate) fn clocks(nodes: &[NodeInfo]) -> Family {
    let ahead = nodes.iter().filter_map(|node| {
        let labels = vec![("node", node.name.clone()), ("id", node.id.clone())];
        Some((labels, node.clock?.ahead_ns as f64 / 1e9))
    });
    let about = "How far the clock of a node is ahead of the board's time";
    Family::gauge("wec_node_clock_ahead", about, ahead.collect()).in_unit(MetricUnit::Seconds)
}

/// The condition of the service itself.
pub(crate) fn service_families(health: &Health) -> Vec<Family> {
    let of_listeners = |value: fn(&ListenerCounts) -> u64| {
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
            .in_unit(MetricUnit::Bytes),
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
