//! The target load of one scenario, and its phase.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

/// The target load of all nodes together for one scenario.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// Number of virtual users, or the largest number allowed if the executor has a rate.
    pub workers: u32,
    /// Arrivals per second, in `rate_unit`; none if the executor has a number of workers.
    #[serde(default)]
    pub rate: Option<f64>,
    /// The unit of the rate: `chains` or `requests`; empty without one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub rate_unit: String,
    /// Weights of chains by name; a chain that is missing has its weight in the scenario.
    #[serde(default)]
    pub weights: BTreeMap<String, f64>,
    /// Whether the scenario's own stages set the target; `workers` and `rate` are then the target of the
    /// current stage. A change by a person ends that, and its value stays.
    #[serde(default)]
    pub scheduled: bool,
    /// The stages as points in order of time, linear between two of them; two at one moment are a jump.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<StagePoint>,
    /// Whether it begins when another scenario has ended.
    #[serde(default)]
    pub waits: bool,
    /// Events that people have added to the scenario's fleet, in order; none if the scenario has no fleet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<String>>,
    /// Number of iterations of all nodes together; none if time ends it.
    #[serde(default)]
    pub iterations: Option<u64>,
}

/// The phase of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum Phase {
    /// It waits for another scenario to end.
    Waiting,
    /// It has load.
    Running,
    /// No more iterations of it start.
    Ended,
}

impl Phase {
    /// The name in the API and in messages.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// A point of a scenario's stages.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StagePoint {
    /// Active time since the scenario began.
    pub at_ns: u64,
    /// Workers, or arrivals per second if the executor has a rate.
    pub value: f64,
}

impl Target {
    /// Whether the other target was asked for with the same values at the start.
    pub fn starts_as(&self, other: &Self) -> bool {
        // All fields are named, so that a new one is either compared or left out on purpose.
        let Self {
            workers,
            rate,
            rate_unit,
            weights,
            iterations,
            events: _,
            scheduled: _,
            stages: _,
            waits: _,
        } = self;
        *workers == other.workers
            && *rate == other.rate
            && *rate_unit == other.rate_unit
            && *weights == other.weights
            && *iterations == other.iterations
    }

    /// The target of the stages after an active time of the scenario.
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

    /// Whether the stages have not ended.
    pub(super) fn stages_go_on(&self, since: u64) -> bool {
        self.stages.last().is_some_and(|last| since < last.at_ns)
    }
}
