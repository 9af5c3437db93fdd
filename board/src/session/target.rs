//! The load that is wanted for one scenario, and how far it is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

/// The load wanted of all nodes together for one scenario.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// Virtual users: how many of them with an executor that keeps workers; how many at most with one that keeps a rate.
    pub workers: u32,
    /// Arrivals a second, in `rate_unit`; none with an executor that keeps workers.
    #[serde(default)]
    pub rate: Option<f64>,
    /// What the rate counts: `chains` or `requests`; empty without one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub rate_unit: String,
    /// Weights of chains, by their names. One that is not named weighs what the scenario says.
    #[serde(default)]
    pub weights: BTreeMap<String, f64>,
    /// Whether the scenario's own stages decide; `workers` and `rate` are then what the present stage leads to.
    /// A person's change ends that: what they said holds from then on.
    #[serde(default)]
    pub scheduled: bool,
    /// Those stages: what is wanted at each moment, in order of time and linear between two of them; two at one moment are a jump.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<StagePoint>,
    /// Whether it begins only when another scenario has ended.
    #[serde(default)]
    pub waits: bool,
    /// How many iterations all nodes together are to run; none where time is what ends it.
    #[serde(default)]
    pub iterations: Option<u64>,
}

/// Where a scenario is between the start of a session and its own end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum Phase {
    /// Another scenario must end first.
    Waiting,
    /// Its load is wanted.
    Running,
    /// Nothing more of it starts.
    Ended,
}

impl Phase {
    /// The name, as people and programs are told it.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// What a scenario's own stages want at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StagePoint {
    /// Active time since the scenario began.
    pub at_ns: u64,
    /// Workers, or with an executor that keeps a rate, arrivals a second.
    pub value: f64,
}

impl Target {
    /// What the stages want after an active time of the scenario.
    pub(super) fn stages_at(&self, since: u64) -> Option<f64> {
        let next = self.stages.partition_point(|point| point.at_ns <= since);
        let here = self.stages.get(next.saturating_sub(1))?;
        Some(match self.stages.get(next) {
            Some(next) if next.at_ns > here.at_ns && since > here.at_ns => {
                let part = (since - here.at_ns) as f64 / (next.at_ns - here.at_ns) as f64;
                here.value + (next.value - here.value) * part
            }
            _ => here.value,
        })
    }

    /// Whether they have not come to their end.
    pub(super) fn stages_go_on(&self, since: u64) -> bool {
        self.stages.last().is_some_and(|last| since < last.at_ns)
    }
}
