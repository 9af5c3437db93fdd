//! An agent's part of a session: one key for each, which only that agent writes.

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;
use utoipa::ToSchema;

/// The state of an agent in a session.
///
/// | state | next |
/// | --- | --- |
/// | `AVAILABLE` | `PREPARING` when it takes the session |
/// | `PREPARING` | `TEST_RUNNING`, `TEST_FINISHED`, `TEST_STOPPED`, `ERROR` |
/// | `TEST_RUNNING` | `TEST_FINISHED`, `TEST_STOPPED`, `ERROR`; `PREPARING` when the agent was restarted |
/// | `TEST_FINISHED`, `TEST_STOPPED`, `ERROR` | `PREPARING` for the next run; after `TEST_STOPPED` because the agent
/// | | left, also for the same run |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum AgentState {
    /// It waits, and has no part in this run.
    Available,
    /// It has taken the session and prepares.
    Preparing,
    /// It makes its share of the load, or ends it.
    TestRunning,
    /// It ended its part because the session or the agent was stopped.
    TestStopped,
    /// Its part is over.
    TestFinished,
    /// It refused the session or failed; the reason is beside it.
    Error,
}

impl AgentState {
    /// The name as on the board.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Whether its part has begun and not ended.
    pub const fn is_active(self) -> bool {
        matches!(self, Self::Preparing | Self::TestRunning)
    }
}

/// The last part that an agent took in a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentTask {
    /// The run of the session.
    pub run: String,
    /// The agent's process, as in [`AgentInfo::incarnation`](crate::AgentInfo::incarnation).
    pub incarnation: String,
    /// The state.
    pub state: AgentState,
    /// Why, for people; empty if the state says it all.
    #[serde(default)]
    pub reason: String,
    /// Since when, by the agent's clock, nanoseconds since the Unix epoch.
    pub since_unix_ns: u64,
    /// Whether its process left in the middle, and its next process may take the run again.
    #[serde(default)]
    pub left: bool,
    /// How often it took this run: 1, and one more for each restart of the agent during the run.
    pub taken: u32,
}

impl AgentTask {
    /// Whether another process of the agent may take the run.
    pub(crate) const fn may_be_taken_again(&self) -> bool {
        self.state.is_active() || self.left
    }

    /// The task of an agent that takes this run, given what its key has; none if it has had the run already.
    ///
    /// A task of the same run by an earlier process of the agent is taken again if it was not ended.
    pub(crate) fn next(there: Option<&Self>, run: &str, incarnation: &str, at_unix_ns: u64) -> Option<Self> {
        let same = there.filter(|there| there.run == run);
        if same.is_some_and(|there| !there.may_be_taken_again()) {
            return None;
        }
        let mine = same.is_some_and(|there| there.incarnation == incarnation);
        let before = same.map_or(0, |there| there.taken);
        Some(Self {
            run: run.to_owned(),
            incarnation: incarnation.to_owned(),
            state: AgentState::Preparing,
            reason: String::new(),
            since_unix_ns: at_unix_ns,
            left: false,
            // An earlier attempt may have been made although its answer was lost.
            taken: if mine { before } else { before + 1 },
        })
    }
}
