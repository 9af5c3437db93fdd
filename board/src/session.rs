//! A session: the load that the nodes together are to make, and who last changed it.

mod change;
mod limits;
mod run;
mod target;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wec_record::LoadState;

pub use change::{By, Change, ChangeTo, Changed, Made};
pub use limits::{Limited, Limits};
pub use target::{Phase, StagePoint, Target};

/// The name of the scenario of a session that has only one.
pub const DEFAULT_SCENARIO: &str = "default";

/// What the board says about one run that several nodes take part in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// Unique on the board.
    pub id: String,
    /// What is wanted of all nodes together, by scenario; at least one.
    pub scenarios: BTreeMap<String, Target>,
    /// Hard limits on what all of them together may make.
    pub limits: Limits,
    /// Whether the load is to be made.
    pub state: SessionState,
    /// The run that it is: all who take part name their results by it.
    #[serde(default)]
    pub run: String,
    /// Ids of the nodes that have taken part, in the order in which they came.
    #[serde(default)]
    pub members: Vec<String>,
    /// Those of them whose run is over.
    #[serde(default)]
    pub done: Vec<String>,
    /// When its active time was 0: when the first of them was ready, by that node's clock, nanoseconds since the Unix
    /// epoch; none until then.
    #[serde(default)]
    pub began_unix_ns: Option<u64>,
    /// Since when it is paused, by the clock of who paused it.
    #[serde(default)]
    pub paused_unix_ns: Option<u64>,
    /// How long all pauses took that have ended.
    #[serde(default)]
    pub paused_ns: u64,
    /// What the write that made it what it is changed, in order; nothing for one that is as it was put.
    #[serde(default)]
    pub last_changes: Vec<Changed>,
    /// How many changes have been made to it ever: the number of the last one in its journal.
    #[serde(default)]
    pub changes: u64,
}

impl Session {
    /// A running session of these scenarios, unchanged by anybody.
    pub fn new(id: impl Into<String>, scenarios: BTreeMap<String, Target>, limits: Limits) -> Self {
        Self {
            id: id.into(),
            scenarios,
            limits,
            state: SessionState::Running,
            run: String::new(),
            members: Vec::new(),
            done: Vec::new(),
            began_unix_ns: None,
            paused_unix_ns: None,
            paused_ns: 0,
            last_changes: Vec::new(),
            changes: 0,
        }
    }

    /// A running session of one scenario that keeps `workers`.
    pub fn running(id: impl Into<String>, workers: u32) -> Self {
        let target = Target { workers, ..Target::default() };
        Self::new(id, BTreeMap::from([(DEFAULT_SCENARIO.to_owned(), target)]), Limits::default())
    }

    /// Active time at a moment: since it began, pauses not counted. None before it began, or where that lies ahead.
    pub fn active_ns(&self, unix_ns: u64) -> Option<u64> {
        let until = self.paused_unix_ns.unwrap_or(unix_ns);
        until.checked_sub(self.began_unix_ns?)?.checked_sub(self.paused_ns)
    }

    /// Workers of all scenarios together.
    pub fn workers(&self) -> u32 {
        self.scenarios.values().map(|target| target.workers).fold(0, u32::saturating_add)
    }
}

/// Whether a session's load is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SessionState {
    /// Its nodes make the load.
    Running,
    /// Its nodes end what they are doing and start nothing more until it runs again; schedules and run time stand still.
    Paused,
    /// Its nodes end what they are doing, and with that the run.
    Stopped,
}

impl SessionState {
    /// The name as written on the board and in marks.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

impl From<SessionState> for LoadState {
    fn from(state: SessionState) -> Self {
        match state {
            SessionState::Running => Self::Running,
            SessionState::Paused => Self::Paused,
            SessionState::Stopped => Self::Stopped,
        }
    }
}

/// A value as of one write to the board; a later write has a greater version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned<T> {
    /// Grows with every write to the board, not only to this value.
    pub version: u64,
    /// The value.
    pub value: T,
}
