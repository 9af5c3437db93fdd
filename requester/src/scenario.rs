//! One load of a run: its executor, its rate or workers, and the choices of its users.
//!
//! A plan has one or several scenarios, concurrent or one after the other.

use std::ops::RangeInclusive;
use std::time::Duration;

use wec_chains::{Choices, Mix, Profile};
use wec_record::Chain;

use crate::executor::{Load, OnFailure};
use crate::picker::Weights;

/// One load of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// Unique in the plan.
    pub name: String,
    /// Start time: after the run's start, or after the end of `after`.
    pub start_at: Duration,
    /// The scenario whose end it waits for.
    pub after: Option<String>,
    /// Longest time from its start to the start of its last iteration, without pauses.
    pub run_time: Duration,
    /// The executor and its load.
    pub load: Load,
    /// Pause between two iterations of one worker, with an executor with a number of workers.
    pub think_time: Option<RangeInclusive<Duration>>,
    /// Weights of chains in the picker.
    pub weights: Weights,
    /// What its chains draw, and how often.
    pub choices: Choices,
    /// What workers do after a failure of the CA or the network.
    pub on_failure: OnFailure,
}

/// Time after the last step of recorded arrivals, so that all of them are due before the end.
const ARRIVALS_END: Duration = Duration::from_secs(1);

impl Scenario {
    /// A scenario that starts this chain so many times in each step, and is otherwise as this one. With a
    /// profile, its orders have it.
    #[must_use]
    pub fn repeating(
        &self,
        name: String,
        chain: Chain,
        profile: Option<Profile>,
        counts: &[u64],
        step: Duration,
    ) -> Self {
        let mut choices = self.choices.clone();
        if let Some(profile) = profile {
            choices.profiles = Mix::even([profile]);
        }
        let steps = u32::try_from(counts.len()).unwrap_or(u32::MAX);
        Self {
            name,
            run_time: step.saturating_mul(steps).saturating_add(ARRIVALS_END),
            load: Load::of_counts(counts, step),
            weights: Weights::only(chain),
            choices,
            ..self.clone()
        }
    }
}
