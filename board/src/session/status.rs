//! The reports of a session's nodes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The progress of a session: its run, its nodes, and which parts have begun and ended. Its nodes write it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunStatus {
    /// The id of its run, which is in the results of all nodes. Empty before the first.
    pub run: String,
    /// Ids of its nodes, in the order in which they joined.
    pub members: Vec<String>,
    /// Ids of the nodes whose part is over.
    pub done: Vec<String>,
    /// The zero of its active time, by the clock of the first node that was ready, nanoseconds since the Unix epoch;
    /// none before that. It lies ahead when it is written, if other nodes can share the load.
    pub began_unix_ns: Option<u64>,
    /// By scenario; a scenario without reports may be missing.
    pub scenarios: BTreeMap<String, ScenarioStatus>,
}

/// The progress of one scenario.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ScenarioStatus {
    /// The active time of the session at which it began, if it waited for another scenario; none before.
    pub begins_ns: Option<u64>,
    /// Ids of the nodes on which it has ended: its run time is over, or all of its iterations have been run.
    pub over_on: Vec<String>,
    /// Whether it has ended on all nodes.
    pub ended: bool,
}
