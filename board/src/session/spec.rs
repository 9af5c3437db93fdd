//! What people want of a session.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wec_record::Plan;

use super::{Changed, Limits, SessionState, Target};

/// Pauses that are kept one by one; earlier ones are kept as one.
const PAUSES: usize = 100;

/// What is wanted of all nodes of a session together. People write it; of the nodes, the last one stops it, and those that
/// begin a stage say so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionSpec {
    /// Unique on the board.
    pub id: String,
    /// What is wanted, by scenario; at least one.
    pub scenarios: BTreeMap<String, Target>,
    /// Hard limits on what all of them together may make.
    pub limits: Limits,
    /// Whether the load is to be made.
    pub state: SessionState,
    /// When it was paused, in order; only the last pause may go on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pauses: Vec<Pause>,
    /// What the last write of it changed, in order; nothing for one that is as it was put.
    #[serde(default)]
    pub last_changes: Vec<Changed>,
    /// How many changes have been made to it ever: the number of the last one in its journal.
    #[serde(default)]
    pub changes: u64,
    /// The plan that it was made from, without secrets; none for a session that was put by hand.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wec_record::plan::lenient"
    )]
    pub plan: Option<Box<Plan>>,
}

impl SessionSpec {
    /// Of a running session, unchanged by anybody.
    pub(super) fn new(id: impl Into<String>, scenarios: BTreeMap<String, Target>, limits: Limits) -> Self {
        Self {
            id: id.into(),
            scenarios,
            limits,
            state: SessionState::Running,
            pauses: Vec::new(),
            last_changes: Vec::new(),
            changes: 0,
            plan: None,
        }
    }

    /// Changes its state, and notes a pause's beginning or end; says what the state was. `began_unix_ns` is of its run.
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
            // Active time depends on how long they took, and on which of them the run began in or after.
            let first = self.pauses.remove(0);
            let length = began_unix_ns.map_or(0, |began| first.length_ns(began));
            let next = &mut self.pauses[0];
            next.from_unix_ns = next.from_unix_ns.saturating_sub(length);
        }
        before
    }
}

/// When a session was paused, by the clock of who paused it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Nanoseconds since the Unix epoch.
    pub from_unix_ns: u64,
    /// The same; none as long as it goes on.
    #[serde(default)]
    pub until_unix_ns: Option<u64>,
}

impl Pause {
    /// How long it took after a moment; nothing as long as it goes on.
    pub(super) fn length_ns(&self, after_unix_ns: u64) -> u64 {
        let until = self.until_unix_ns.unwrap_or_default();
        until.saturating_sub(self.from_unix_ns.max(after_unix_ns))
    }
}
