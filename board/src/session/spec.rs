//! The targets of a session.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wec_record::Plan;

use super::{Changed, Limits, SessionState, Target};

/// Number of pauses that are kept separately; earlier ones are merged into one.
const PAUSES: usize = 100;

/// The targets of all nodes of a session together. People set them. Nodes change them only when a stage
/// begins, and when the last one stops the session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionSpec {
    /// Unique on the board.
    pub id: String,
    /// The targets by scenario; at least one.
    pub scenarios: BTreeMap<String, Target>,
    /// Hard limits of all nodes together.
    pub limits: Limits,
    /// The state of the load.
    pub state: SessionState,
    /// Its pauses, in order; only the last one may be open.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pauses: Vec<Pause>,
    /// Number of live nodes that is needed for any of them to send; none for more than half of the known ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quorum: Option<u32>,
    /// The changes of its last write, in order; empty if it was put.
    #[serde(default)]
    pub last_changes: Vec<Changed>,
    /// Number of its changes so far, which is the number of the last one in its journal.
    #[serde(default)]
    pub changes: u64,
    /// The plan that it was made from, without secrets; none for a session put by hand.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wec_record::plan::lenient"
    )]
    pub plan: Option<Box<Plan>>,
}

impl SessionSpec {
    /// For a running session without changes.
    pub(super) fn new(id: impl Into<String>, scenarios: BTreeMap<String, Target>, limits: Limits) -> Self {
        Self {
            id: id.into(),
            scenarios,
            limits,
            state: SessionState::Running,
            pauses: Vec::new(),
            quorum: None,
            last_changes: Vec::new(),
            changes: 0,
            plan: None,
        }
    }

    /// Changes its state, and records the start or end of a pause; returns the earlier state. `began_unix_ns`
    /// is that of its run.
    pub(super) fn change_state(
        &mut self,
        state: SessionState,
        at_unix_ns: u64,
        began_unix_ns: Option<u64>,
    ) -> SessionState {
        let before = std::mem::replace(&mut self.state, state);
        let goes_on = self.pauses.last_mut().filter(|pause| pause.until_unix_ns.is_none());
        match (state, goes_on) {
            (SessionState::Paused, None) => {
                self.pauses.push(Pause { from_unix_ns: at_unix_ns, until_unix_ns: None });
            }
            (SessionState::Running, Some(pause)) => {
                pause.until_unix_ns = Some(at_unix_ns.max(pause.from_unix_ns));
            }
            _ => {}
        }
        if self.pauses.len() > PAUSES {
            // Active time depends on their lengths, and on whether the run began during or after them.
            let first = self.pauses.remove(0);
            let length = began_unix_ns.map_or(0, |began| first.length_ns(began));
            let next = &mut self.pauses[0];
            next.from_unix_ns = next.from_unix_ns.saturating_sub(length);
        }
        before
    }
}

/// A pause, by the clock of its author.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Nanoseconds since the Unix epoch.
    pub from_unix_ns: u64,
    /// Its end, nanoseconds since the Unix epoch; none while it is open.
    #[serde(default)]
    pub until_unix_ns: Option<u64>,
}

impl Pause {
    /// Its length after a moment; 0 while it is open.
    pub(super) fn length_ns(&self, after_unix_ns: u64) -> u64 {
        let until = self.until_unix_ns.unwrap_or_default();
        until.saturating_sub(self.from_unix_ns.max(after_unix_ns))
    }
}
