//! The replay of a recorded run.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where the figures of a run come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RunSource {
    /// Its results arrive at this service.
    #[default]
    Live,
    /// Its log, which another process is writing.
    GrowingLog,
    /// Its log, which is read to its end.
    Log,
    /// Its log, whose records come at the pace of a clock.
    Replay,
}

/// How far the log of a run is read that is being opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReadingView {
    /// The paths of the logs; while the run waits for another one to be read, of that one.
    pub log: String,
    /// Bytes that were read.
    pub read_bytes: u64,
    /// Bytes of all of them.
    pub log_bytes: u64,
}

/// The answer of `GET /api/v1/replay`: where the replay is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReplayView {
    /// Whether time passes.
    pub state: ReplayState,
    /// Seconds of the run in one second.
    pub speed: f64,
    /// The run's start, nanoseconds since the Unix epoch; 0 if no record has a time.
    pub started_unix_ns: u64,
    /// The position, nanoseconds since the run's start.
    pub position_ns: u64,
    /// From the run's start to its latest record, nanoseconds; 0 if no record has a time.
    pub length_ns: u64,
    /// Whether the log is being read up to the position; until then the figures are those before.
    pub seeking: bool,
}

/// Whether the time of a replay passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReplayState {
    /// Time passes.
    Playing,
    /// Time stands.
    Paused,
    /// All records were counted: the figures are the final ones.
    Ended,
}
