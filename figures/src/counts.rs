//! What scenarios did between two load samples, computed from totals since each node's start.

use std::collections::HashMap;

use wec_record::ScenarioSample;

/// How much of a scenario's target no node has as its part, from the samples of all its nodes.
///
/// Each node samples how much its own part has required since it was ready, and how much the target of all nodes
/// together has. The latter is the same for all nodes at one time, so each sample counts only for the time after
/// all samples before it. All are totals: a late sample makes nothing wrong for good.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shortfall {
    nodes: HashMap<String, Scheduled>,
    covered_unix_ns: u64,
    /// Required of all nodes together.
    of_all: f64,
    /// The sum of the nodes' parts.
    parts: f64,
}

#[derive(Clone, Copy, Debug)]
struct Scheduled {
    at_unix_ns: u64,
    of_all: f64,
    part: f64,
}

impl Shortfall {
    /// Adds a sample.
    pub(crate) fn add(&mut self, node: &str, at_unix_ns: u64, sample: &ScenarioSample) {
        let now = Scheduled { at_unix_ns, of_all: sample.scheduled_of_all, part: sample.scheduled };
        let Some(before) = self.nodes.get(node).copied() else {
            if sample.rate_target_of_all.is_none() || self.nodes.len() >= MAX_FOLLOWED {
                return;
            }
            self.nodes.insert(node.to_owned(), now);
            self.parts += now.part;
            // The time of later nodes is that of the first ones, too.
            if self.covered_unix_ns == 0 {
                self.of_all = now.of_all;
                self.covered_unix_ns = at_unix_ns;
            }
            return;
        };
        self.nodes.insert(node.to_owned(), now);
        self.parts += now.part - before.part;
        if at_unix_ns > self.covered_unix_ns && at_unix_ns > before.at_unix_ns {
            let new = at_unix_ns - self.covered_unix_ns.max(before.at_unix_ns);
            let whole = (now.of_all - before.of_all).max(0.0);
            self.of_all += whole * new as f64 / (at_unix_ns - before.at_unix_ns) as f64;
            self.covered_unix_ns = at_unix_ns;
        }
    }

    /// How much of it no node had as its part. Between the samples of one second it is of some of the nodes.
    pub(crate) const fn missing(&self) -> f64 {
        self.of_all - self.parts
    }
}

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
