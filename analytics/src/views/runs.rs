//! The list of runs.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The answer of `GET /api/v1/runs`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Runs {
    /// The latest 1,000 runs that have a log, latest first.
    pub runs: Vec<RunEntry>,
}

/// A run that has a log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunEntry {
    /// The run's id.
    pub id: String,
    /// The board's session of the run.
    pub session: String,
    /// Program and version.
    pub program: String,
    /// The CA's directory URL.
    pub target: String,
    /// Wall clock of the start, nanoseconds since the Unix epoch.
    pub started_unix_ns: u64,
    /// Whether its results arrive here, or another process is writing its log.
    pub live: bool,
    /// The path of its log; of several, of the one that was written last, and how many more there are.
    pub log: String,
    /// The length of its logs, bytes.
    pub log_bytes: u64,
    /// The outcome; null if the log has no footer and has not been read.
    #[serde(default)]
    pub outcome: Option<RunEnd>,
    /// What a person noted about it; may be empty.
    #[serde(default)]
    pub note: String,
}

/// The outcome of a run; of a live run, the outcome so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunEnd {
    /// From the run's start to its latest record, nanoseconds.
    pub elapsed_ns: u64,
    /// Iterations of all chains that ended.
    pub chains: u64,
    /// Those of them that failed; null while only the log's footer has been read.
    pub chains_failed: Option<u64>,
    /// Whether all thresholds hold and every included chain succeeded; null for a run that is live, was
    /// interrupted, or whose log has no end.
    pub passed: Option<bool>,
}
