//! Which runs and sessions there are.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::SessionView;

/// What `GET /api/v1/runs` answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Runs {
    /// The latest 1,000 of which there is a log, latest first.
    pub runs: Vec<RunEntry>,
}

/// A run of which there is a log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunEntry {
    /// The run's id.
    pub id: String,
    /// The board's session that it follows, or followed.
    pub session: String,
    /// Program and version.
    pub program: String,
    /// The CA's directory URL.
    pub target: String,
    /// Wall clock of the start, nanoseconds since the Unix epoch.
    pub started_unix_ns: u64,
    /// Whether results of it are taken now.
    pub live: bool,
    /// Where its log is.
    pub log: String,
    /// The log's length, bytes.
    pub log_bytes: u64,
    /// What came of it; null while nobody has read the log and it has no footer.
    #[serde(default)]
    pub outcome: Option<RunEnd>,
}

/// What came of a run, so far if it is live.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunEnd {
    /// From the run's start to its latest record, nanoseconds.
    pub elapsed_ns: u64,
    /// Iterations of all chains that ended.
    pub chains: u64,
    /// Those of them that failed; null while only the log's footer has been read.
    pub chains_failed: Option<u64>,
    /// Whether all thresholds hold and every wanted chain succeeded; null of a run that is live or was interrupted.
    pub passed: Option<bool>,
}

/// What `GET /api/v1/sessions` answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Sessions {
    /// Those on the board and those that the listed runs name: first the ones that have no run, then by their latest run, latest
    /// first.
    pub sessions: Vec<SessionEntry>,
}

/// A session with its runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SessionEntry {
    /// Its id.
    pub id: String,
    /// The session as the board has it; null when the board has it no more.
    pub session: Option<SessionView>,
    /// Those of its runs that `GET /api/v1/runs` lists, latest first.
    pub runs: Vec<RunEntry>,
}
