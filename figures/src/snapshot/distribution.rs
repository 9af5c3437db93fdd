//! How the times of one row of the statistics are distributed.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The answer of `GET /api/v1/runs/{id}/distribution`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DistributionView {
    /// The row.
    pub row: String,
    /// Whether the times are done − sent (of chains done − started), not done − due.
    pub service: bool,
    /// Cells with times, ascending; eight of them double the time.
    pub cells: Vec<DistributionCell>,
    /// The same over time, of response times of chains; empty for others.
    pub over_time: Vec<TimesInBucket>,
    /// Width of a bucket of `over_time`, seconds.
    pub step_s: u64,
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
