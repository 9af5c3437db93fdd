//! A session: the target load of its nodes together, and their reports.

mod author;
mod change;
mod limits;
mod live;
mod run;
mod spec;
mod status;
mod target;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use strum::{EnumCount, IntoStaticStr, VariantArray};
use utoipa::ToSchema;
use wec_record::LoadState;

pub use author::{Author, By};
pub use change::{Change, Changed, Made};
pub use limits::{Limited, Limits};
pub use live::{ChangeTo, LiveCommand, LiveKind, LiveValue};
pub use spec::{Pause, SessionSpec};
pub use status::{RunStatus, ScenarioStatus};
pub use target::{Phase, StagePoint, Target};

/// The name of the scenario of a session that has only one.
pub const DEFAULT_SCENARIO: &str = "default";

/// A session as on the board, where its two parts have one key each.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    /// The targets, set by people.
    pub spec: SessionSpec,
    /// The reports of its nodes; the default before the first report.
    pub status: RunStatus,
}

impl Session {
    /// A running session of these scenarios, without changes.
    pub fn new(id: impl Into<String>, scenarios: BTreeMap<String, Target>, limits: Limits) -> Self {
        Self { spec: SessionSpec::new(id, scenarios, limits), status: RunStatus::default() }
    }

    /// A running session of one scenario with `workers`.
    pub fn running(id: impl Into<String>, workers: u32) -> Self {
        let target = Target { workers, ..Target::default() };
        Self::new(id, BTreeMap::from([(DEFAULT_SCENARIO.to_owned(), target)]), Limits::default())
    }

    /// The same session as this run, without nodes.
    #[must_use]
    pub fn of_run(self, run: impl Into<String>) -> Self {
        Self { status: RunStatus { run: run.into(), ..RunStatus::default() }, ..self }
    }

    /// Active time at a moment: since the run began, without pauses. None before it began, or if that is in
    /// the future.
    pub fn active_ns(&self, unix_ns: u64) -> Option<u64> {
        let until = self.paused_since().unwrap_or(unix_ns);
        until.checked_sub(self.status.began_unix_ns?)?.checked_sub(self.paused_ns())
    }

    /// Start of the current pause of active time; none without one, and before the run began.
    pub fn paused_since(&self) -> Option<u64> {
        let began = self.status.began_unix_ns?;
        self.spec
            .pauses
            .last()
            .filter(|pause| pause.until_unix_ns.is_none())
            .map(|pause| pause.from_unix_ns.max(began))
    }

    /// Total length of the pauses of active time that have ended.
    pub fn paused_ns(&self) -> u64 {
        // Before the run began there was no active time.
        let Some(began) = self.status.began_unix_ns else { return 0 };
        self.spec.pauses.iter().map(|pause| pause.length_ns(began)).fold(0, u64::saturating_add)
    }

    /// The phase of a scenario; [`Phase::Running`] for one that the session does not have.
    pub fn phase(&self, scenario: &str) -> Phase {
        let waits = self.spec.scenarios.get(scenario).is_some_and(|target| target.waits);
        match self.status.scenarios.get(scenario) {
            Some(status) if status.ended => Phase::Ended,
            Some(status) if status.begins_ns.is_some() => Phase::Running,
            _ if waits => Phase::Waiting,
            _ => Phase::Running,
        }
    }

    /// Active time of a scenario at an active time of the session; 0 while it waits.
    fn active_of(&self, scenario: &str, active_ns: u64) -> u64 {
        let waits = self.spec.scenarios.get(scenario).is_some_and(|target| target.waits);
        let begins_ns = self.status.scenarios.get(scenario).and_then(|status| status.begins_ns);
        active_ns.saturating_sub(begins_ns.unwrap_or(if waits { active_ns } else { 0 }))
    }

    /// Workers of all scenarios together.
    pub fn workers(&self) -> u32 {
        self.spec.scenarios.values().map(|target| target.workers).fold(0, u32::saturating_add)
    }
}

/// The state of a session's load.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    ToSchema,
    EnumCount,
    IntoStaticStr,
    VariantArray,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum SessionState {
    /// Its nodes make the load.
    Running,
    /// Its nodes finish running chains and start no more until it runs again; schedules and run time stop.
    Paused,
    /// Its nodes finish running chains, and the run ends.
    Stopped,
}

wec_record::closed_set!(SessionState);

impl From<SessionState> for LoadState {
    fn from(state: SessionState) -> Self {
        match state {
            SessionState::Running => Self::Running,
            SessionState::Paused => Self::Paused,
            SessionState::Stopped => Self::Stopped,
        }
    }
}

/// A value with the version of its last write; a later write has a greater version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned<T> {
    /// It grows with every write to the board, not only to this value.
    pub version: u64,
    /// The value.
    pub value: T,
}
