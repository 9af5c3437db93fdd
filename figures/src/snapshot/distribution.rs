//! How the times of one row of the statistics are distributed.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wec_record::Chain;

/// Cells that double a time.
const IN_OCTAVE: u64 = 8;

/// The answer of `GET /api/v1/runs/{id}/distribution`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DistributionView {
    /// The row.
    pub row: String,
    /// Whether the times are done − sent (of chains done − started), not done − due.
    pub service: bool,
    /// Cells with times, ascending; eight of them double the time.
    pub cells: Vec<DistributionCell>,
    /// The same over time, of response times of chains and endpoints, and of all requests; empty for others.
    pub over_time: Vec<TimesInBucket>,
    /// Width of a bucket of `over_time`, seconds.
    pub step_s: u64,
    /// The slowest of what succeeded, of chains and endpoints, and of all requests; slowest first, at most three.
    pub examples: Vec<Example>,
}

/// A chain or a request that succeeded, as an example. Its record in the log has all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Example {
    /// When it ended, nanoseconds since the Unix epoch.
    pub at_unix_ns: u64,
    /// done − due, nanoseconds.
    pub response_ns: u64,
    /// done − sent, of chains done − started, nanoseconds.
    pub service_ns: u64,
    /// HTTP status; 0 of a chain.
    pub status: u16,
    /// Number of requests, with all attempts.
    pub requests: u64,
    /// The chain; null for one that this version does not know.
    pub chain: Option<Chain>,
    /// The requester.
    pub node: String,
    /// The number of its record among those of the requester.
    pub seq: u64,
    /// The `traceparent` sent with the request; empty if the run sends none.
    pub traceparent: String,
}

/// Times of about one length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DistributionCell {
    /// The shortest time of the cell, nanoseconds.
    pub from_ns: u64,
    /// The shortest time of the next one.
    pub to_ns: u64,
    /// How many.
    pub count: u64,
}

impl DistributionCell {
    /// Puts ascending times with their counts into cells.
    pub(crate) fn of(times: impl Iterator<Item = (u64, u64)>) -> Vec<Self> {
        let mut cells: Vec<Self> = Vec::new();
        for (ns, count) in times {
            match cells.last_mut() {
                Some(last) if ns < last.to_ns => last.count += count,
                _ => {
                    let (from_ns, to_ns) = ends(ns);
                    cells.push(Self { from_ns, to_ns, count });
                }
            }
        }
        cells
    }
}

/// The ends of the cell of this time.
fn ends(ns: u64) -> (u64, u64) {
    // The first cells are one nanosecond wide.
    let width = 1_u64 << (ns | IN_OCTAVE).ilog2() >> IN_OCTAVE.ilog2();
    let from = ns / width * width;
    (from, from + width)
}

/// The times that ended in one bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TimesInBucket {
    /// Its start, seconds since the Unix epoch.
    pub at_unix_s: u64,
    /// Cells with times, ascending.
    pub cells: Vec<DistributionCell>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_within_its_cell_and_eight_cells_double_it() {
        for (ns, from, to) in
            [(0, 0, 1), (7, 7, 8), (8, 8, 9), (16, 16, 18), (17, 16, 18), (1_000, 960, 1_024)]
        {
            assert_eq!(ends(ns), (from, to), "{ns}");
        }
        let (mut cell, mut number) = (ends(1 << 20), 0);
        while cell.0 < 1 << 21 {
            cell = ends(cell.1);
            number += 1;
        }
        assert_eq!((cell.0, number), (1 << 21, 8));
    }

    #[test]
    fn times_of_one_cell_are_counted_together() {
        let cells = DistributionCell::of([(16, 1), (17, 2), (18, 4), (900, 8)].into_iter());
        let found: Vec<_> = cells.iter().map(|cell| (cell.from_ns, cell.to_ns, cell.count)).collect();
        assert_eq!(found, [(16, 18, 3), (18, 20, 4), (896, 960, 8)]);
    }
}
