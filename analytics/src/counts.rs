//! What scenarios did between two load samples, computed from totals since each node's start.

use std::collections::HashMap;

use wec_record::ScenarioSample;

/// Nodes and scenarios whose counts are followed.
const MAX_FOLLOWED: usize = 10_000;

/// The counts of a scenario: of one node since its start, or between two moments.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LoadCounts {
    /// How many of the unit of its rate have ended; 0 without a rate.
    pub(crate) achieved: u64,
    /// How many of that unit the target required.
    pub(crate) asked: u64,
    pub(crate) due: u64,
    pub(crate) started: u64,
    pub(crate) dropped: u64,
    pub(crate) idle: u64,
}

/// The counts of the latest sample, by node and scenario.
#[derive(Clone, Debug, Default)]
pub(crate) struct Followed(HashMap<(String, String), LoadCounts>);

impl Followed {
    /// The counts of this sample, and of the one before if there was one; none for a scenario beyond the
    /// bound.
    pub(crate) fn follow(
        &mut self,
        node: &str,
        sample: &ScenarioSample,
    ) -> Option<(LoadCounts, Option<LoadCounts>)> {
        let key = (node.to_owned(), sample.name.clone());
        if self.0.len() >= MAX_FOLLOWED && !self.0.contains_key(&key) {
            return None;
        }
        let now = LoadCounts::of(sample);
        Some((now, self.0.insert(key, now)))
    }
}

impl LoadCounts {
    fn of(sample: &ScenarioSample) -> Self {
        let rated = !sample.rate_unit.is_empty();
        let done = if sample.rate_unit == "requests" { sample.requests } else { sample.ended };
        Self {
            achieved: if rated { done } else { 0 },
            asked: if rated { sample.asked } else { 0 },
            due: sample.due,
            started: sample.started,
            dropped: sample.dropped,
            idle: sample.idle,
        }
    }

    /// The counts after `before`.
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            achieved: self.achieved.saturating_sub(before.achieved),
            asked: self.asked.saturating_sub(before.asked),
            due: self.due.saturating_sub(before.due),
            started: self.started.saturating_sub(before.started),
            dropped: self.dropped.saturating_sub(before.dropped),
            idle: self.idle.saturating_sub(before.idle),
        }
    }

    pub(crate) fn plus(&mut self, other: &Self) {
        self.achieved += other.achieved;
        self.asked += other.asked;
        self.due += other.due;
        self.started += other.started;
        self.dropped += other.dropped;
        self.idle += other.idle;
    }
}
