//! What the nodes of a session report.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What became of a session's load: which run it is, who takes part, what has begun and what is over. Its nodes write it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunStatus {
    /// The run that it is: all who take part name their results by it. Empty before the first.
    pub run: String,
    /// Ids of the nodes that have taken part, in the order in which they came.
    pub members: Vec<String>,
    /// Those of them whose run is over.
    pub done: Vec<String>,
    /// When its active time was 0: when the first of them was ready, by that node's clock, nanoseconds since the Unix
    /// epoch; none until then.
    pub began_unix_ns: Option<u64>,
    /// By scenario; one of which nothing has been reported may be missing.
    pub scenarios: BTreeMap<String, ScenarioStatus>,
}

/// What became of one scenario.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ScenarioStatus {
    /// At which active time of the session it began, where it waited for another scenario to end; none until then.
    pub begins_ns: Option<u64>,
    /// Ids of the nodes on which nothing more of it starts: its run time is over, or all of its iterations have been run.
    pub over_on: Vec<String>,
    /// Whether that is so on all of them.
    pub ended: bool,
}
