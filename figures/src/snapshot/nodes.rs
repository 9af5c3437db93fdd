//! What each requester did.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Timing;

/// The figures of one requester.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NodeFigures {
    /// The node's id on the board.
    pub node: String,
    /// Iterations that ended and were not cut off.
    pub chains: u64,
    /// Those of them that failed.
    pub chains_failed: u64,
    /// HTTP attempts that were not cut off.
    pub requests: u64,
    /// Those of them that failed.
    pub requests_failed: u64,
    /// HTTP attempts per second.
    pub rps: f64,
    /// done − due of the HTTP attempts that succeeded.
    pub response_time_ns: Timing,
    /// Scheduling lag: how late its work ran.
    pub lag_ns: Timing,
}
