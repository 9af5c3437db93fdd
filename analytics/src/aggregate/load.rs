//! What requesters say of their load: the sum over those that live, and who could not keep up.
//!
//! A node's counts are since its start, so its latest sample says all of them: order does not matter, and a sample that
//! never came costs nothing but its share of the lag.

use std::collections::BTreeMap;

use wec_record::{Limit, LoadSample, ScenarioSample};

use super::times::Times;
use super::{MAX_NODES, MAX_SCENARIOS, NODE_SILENT_NS, rounded, shortened};
use crate::snapshot::{GeneratorFigures, LimitFigures, ScenarioFigures};

/// Exceeded bounds that are listed, the longest first. Ten thousand nodes can have as many as they like.
const MAX_LIMITS: usize = 50;

#[derive(Clone, Debug, Default)]
pub(super) struct Loads {
    nodes: BTreeMap<String, Node>,
    lag: Times,
    cpu_share_max: Option<f64>,
    cpu_wait_share_max: Option<f64>,
    backlog_share_max: f64,
    /// Samples' scenarios beyond the bounded number.
    other_scenarios: u64,
}

/// A node's latest sample.
#[derive(Clone, Debug, Default)]
struct Node {
    at_unix_ns: u64,
    seq: u64,
    scenarios: BTreeMap<String, ScenarioSample>,
    cpu_share: Option<f64>,
    cpu_wait_share: Option<f64>,
    processors: Option<f64>,
    backlog_share: f64,
    limits: Vec<Limit>,
    limited_ns: u64,
}

impl Loads {
    pub(super) fn record(&mut self, node: &str, seq: u64, at_unix_ns: u64, load: &LoadSample) {
        let generator = &load.generator;
        for &(ns, count) in &generator.lag {
            self.lag.record_n(ns, count);
        }
        self.cpu_share_max = larger(self.cpu_share_max, generator.cpu_share);
        self.cpu_wait_share_max = larger(self.cpu_wait_share_max, generator.cpu_wait_share);
        self.backlog_share_max = self.backlog_share_max.max(generator.backlog_share);
        self.other_scenarios += load.scenarios.len().saturating_sub(MAX_SCENARIOS) as u64;
        let scenarios = load.scenarios.iter().take(MAX_SCENARIOS);
        let sample = Node {
            at_unix_ns,
            seq,
            scenarios: scenarios.map(|scenario| (shortened(&scenario.name), scenario.clone())).collect(),
            cpu_share: generator.cpu_share,
            cpu_wait_share: generator.cpu_wait_share,
            processors: generator.processors,
            backlog_share: generator.backlog_share,
            limits: generator.limits.iter().take(MAX_LIMITS).cloned().collect(),
            limited_ns: generator.limited_ns,
        };
        self.latest(node, sample);
    }

    pub(super) fn merge(&mut self, other: Self) {
        for (node, sample) in other.nodes {
            self.latest(&node, sample);
        }
        self.lag.merge(other.lag);
        self.cpu_share_max = larger(self.cpu_share_max, other.cpu_share_max);
        self.cpu_wait_share_max = larger(self.cpu_wait_share_max, other.cpu_wait_share_max);
        self.backlog_share_max = self.backlog_share_max.max(other.backlog_share_max);
        self.other_scenarios += other.other_scenarios;
    }

    /// Times above the histogram's bound.
    pub(super) const fn clamped(&self) -> u64 {
        self.lag.clamped()
    }

    pub(super) const fn other_scenarios(&self) -> u64 {
        self.other_scenarios
    }

    /// By scenario. Targets, workers and rates are of the nodes that were heard of lately; counts are of all.
    pub(super) fn scenarios(&self, latest_unix_ns: u64) -> BTreeMap<String, ScenarioFigures> {
        let mut scenarios: BTreeMap<String, ScenarioFigures> = BTreeMap::new();
        for node in self.nodes.values() {
            let lives = node.lives(latest_unix_ns);
            for (name, sample) in &node.scenarios {
                if scenarios.len() < MAX_SCENARIOS || scenarios.contains_key(name) {
                    scenarios.entry(name.clone()).or_default().add(sample, lives);
                }
            }
        }
        for figures in scenarios.values_mut() {
            figures.rate = rounded(figures.rate, 1e3);
            figures.rate_target = figures.rate_target.map(|target| rounded(target, 1e3));
        }
        scenarios
    }

    pub(super) fn generator(&self, latest_unix_ns: u64) -> GeneratorFigures {
        let living = || self.nodes.values().filter(|node| node.lives(latest_unix_ns));
        let (mut due, mut dropped) = (0_u64, 0_u64);
        for scenario in self.nodes.values().flat_map(|node| node.scenarios.values()) {
            due = due.saturating_add(scenario.due);
            dropped = dropped.saturating_add(scenario.dropped);
        }
        let mut limits: Vec<_> = self
            .nodes
            .iter()
            .flat_map(|(node, sample)| sample.limits.iter().map(move |limit| (node, limit)))
            .collect();
        limits.sort_by_key(|(_, limit)| std::cmp::Reverse(limit.total_ns));
        GeneratorFigures {
            limited: !limits.is_empty(),
            limited_now: living().any(|node| node.limits.iter().any(|limit| limit.now)),
            limited_ns: self.nodes.values().map(|node| node.limited_ns).max().unwrap_or(0),
            limits: limits
                .into_iter()
                .take(MAX_LIMITS)
                .map(|(node, limit)| figures_of(node, limit))
                .collect(),
            lag_ns: self.lag.timing(),
            cpu_share: living().map(|node| node.cpu_share).fold(None, larger),
            cpu_share_max: self.cpu_share_max,
            cpu_wait_share: living().map(|node| node.cpu_wait_share).fold(None, larger),
            cpu_wait_share_max: self.cpu_wait_share_max,
            processors: living()
                .filter_map(|node| node.processors)
                .reduce(|sum, processors| sum + processors)
                .map(|sum| rounded(sum, 1e3)),
            backlog_share: living().map(|node| node.backlog_share).fold(0.0, f64::max),
            backlog_share_max: self.backlog_share_max,
            due,
            dropped,
            dropped_share: (due > 0).then(|| rounded(dropped as f64 / due as f64, 1e6)),
        }
    }

    fn latest(&mut self, node: &str, sample: Node) {
        if let Some(known) = self.nodes.get_mut(node) {
            if (sample.at_unix_ns, sample.seq) >= (known.at_unix_ns, known.seq) {
                *known = sample;
            }
        } else if self.nodes.len() < MAX_NODES {
            self.nodes.insert(node.to_owned(), sample);
        }
    }
}

impl Node {
    fn lives(&self, latest_unix_ns: u64) -> bool {
        latest_unix_ns.saturating_sub(self.at_unix_ns) < NODE_SILENT_NS
    }
}

impl ScenarioFigures {
    fn add(&mut self, sample: &ScenarioSample, lives: bool) {
        if self.executor.is_empty() {
            self.executor = shortened(&sample.executor);
            self.rate_unit = shortened(&sample.rate_unit);
        }
        if lives {
            self.workers_target = self.workers_target.saturating_add(sample.workers_target);
            self.workers = self.workers.saturating_add(sample.workers);
            self.busy = self.busy.saturating_add(sample.busy);
            self.rate += sample.rate;
            self.rate_target = match (self.rate_target, sample.rate_target) {
                (Some(ours), Some(theirs)) => Some(ours + theirs),
                (ours, theirs) => ours.or(theirs),
            };
            self.reach = self.reach.max(sample.reach);
        }
        self.capped_ns = self.capped_ns.max(sample.capped_ns);
        self.saturated_ns = self.saturated_ns.max(sample.saturated_ns);
        for (ours, theirs) in [
            (&mut self.asked, sample.asked),
            (&mut self.due, sample.due),
            (&mut self.started, sample.started),
            (&mut self.ended, sample.ended),
            (&mut self.requests, sample.requests),
            (&mut self.dropped, sample.dropped),
            (&mut self.idle, sample.idle),
        ] {
            *ours = ours.saturating_add(theirs);
        }
    }
}

fn figures_of(node: &str, limit: &Limit) -> LimitFigures {
    LimitFigures {
        node: node.to_owned(),
        what: limit.what,
        place: shortened(&limit.place),
        now: limit.now,
        worst: limit.worst,
        bound: limit.bound,
        first_unix_ns: limit.first_unix_ns,
        total_ns: limit.total_ns,
        reason: shortened(&limit.to_string()),
    }
}

fn larger(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    a.into_iter().chain(b).reduce(f64::max)
}
