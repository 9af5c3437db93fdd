//! How the times of one row of the statistics are distributed.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wec_record::Chain;

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

/// The times that ended in one bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TimesInBucket {
    /// Its start, seconds since the Unix epoch.
    pub at_unix_s: u64,
    /// Cells with times, ascending.
    pub cells: Vec<DistributionCell>,
}
