//! The load samples of requesters: the sum over the live nodes, and which bounds were exceeded.
//!
//! A node's counts are totals since its start, so its latest sample contains them all. The order of samples
//! does not matter, and a lost sample costs only its part of the lag.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wec_record::plan::FLEET;
use wec_record::{Limit, LimitCause, LimitKind, LoadSample, ScenarioSample};

use super::figures::rounded;
use super::{MAX_NODES, MAX_SCENARIOS, NODE_SILENT_NS, shortened};
use crate::distribution::{MOST, Times};
use crate::snapshot::{CauseFigures, Distortion, GeneratorFigures, LimitFigures, ScenarioFigures};

/// A node whose latest sample is older may have no part of a target any more: samples are made each second.
const RECENT_NS: u64 = 2_500_000_000;
/// Exceeded bounds that are listed, the longest first. The number of nodes is not bounded.
const MAX_LIMITS: usize = 50;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Loads {
    nodes: BTreeMap<String, Node>,
    /// Of a period of the run: the latest sample of each node before it, which is subtracted.
    #[serde(skip)]
    before: BTreeMap<String, Node>,
    cpu_share_max: Option<f64>,
    cpu_wait_share_max: Option<f64>,
    backlog_share_max: f64,
    /// Scenarios of samples beyond the bounded number.
    other_scenarios: u64,
}

/// A node's latest sample.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Node {
    at_unix_ns: u64,
    seq: u64,
    scenarios: BTreeMap<String, ScenarioSample>,
    /// By scenario, the last target of workers above 0, because the target is 0 at a run's end.
    asked_workers: BTreeMap<String, u64>,
    cpu_share: Option<f64>,
    cpu_wait_share: Option<f64>,
    processors: Option<f64>,
    backlog_share: f64,
    limits: Vec<Limit>,
    limited_ns: u64,
    /// Iterations in flight when the period began, by scenario.
    #[serde(skip)]
    carried: BTreeMap<String, u64>,
    orders_expired: u64,
    clock_ahead_s: Option<i64>,
}

impl Loads {
    /// Takes a sample from before the period: its counts are not those of the period.
    pub(super) fn record_before(&mut self, node: &str, seq: u64, at_unix_ns: u64, load: &LoadSample) {
        let sample = Node::of(seq, at_unix_ns, load);
        let known = self.before.get(node);
        if known.is_none_or(|known| (sample.at_unix_ns, sample.seq) >= (known.at_unix_ns, known.seq))
            && (known.is_some() || self.before.len() < MAX_NODES)
        {
            self.before.insert(node.to_owned(), sample);
        }
    }

    /// Takes a sample of the warm-up: it shows present targets and workers, and counts nothing.
    pub(super) fn record_warm_up(&mut self, node: &str, seq: u64, at_unix_ns: u64, load: &LoadSample) {
        self.record_before(node, seq, at_unix_ns, load);
        let mut sample = Node::of(seq, at_unix_ns, load);
        sample.subtract(&Node::of(seq, at_unix_ns, load));
        self.latest(node, sample);
    }

    pub(super) fn record(&mut self, node: &str, seq: u64, at_unix_ns: u64, load: &LoadSample) {
        let generator = &load.generator;
        self.cpu_share_max = larger(self.cpu_share_max, generator.cpu_share);
        self.cpu_wait_share_max = larger(self.cpu_wait_share_max, generator.cpu_wait_share);
        self.backlog_share_max = self.backlog_share_max.max(generator.backlog_share);
        self.other_scenarios += load.scenarios.len().saturating_sub(MAX_SCENARIOS) as u64;
        let mut sample = Node::of(seq, at_unix_ns, load);
        if let Some(before) = self.before.get(node) {
            sample.subtract(before);
        }
        self.latest(node, sample);
    }

    pub(super) fn merge(&mut self, other: Self) {
        for (node, mut sample) in other.nodes {
            // Of a further piece of a period.
            if let Some(before) = self.before.get(&node) {
                sample.subtract(before);
            }
            self.latest(&node, sample);
        }
        self.cpu_share_max = larger(self.cpu_share_max, other.cpu_share_max);
        self.cpu_wait_share_max = larger(self.cpu_wait_share_max, other.cpu_wait_share_max);
        self.backlog_share_max = self.backlog_share_max.max(other.backlog_share_max);
        self.other_scenarios += other.other_scenarios;
    }

    pub(super) fn is_sound(&self) -> bool {
        let is_sound = |node: &Node| {
            let Node { scenarios, asked_workers, limits, .. } = node;
            scenarios.len().max(asked_workers.len()) <= MAX_SCENARIOS && limits.len() <= MAX_LIMITS
        };
        self.nodes.len() <= MAX_NODES && self.nodes.values().all(is_sound) && self.other_scenarios <= MOST
    }

    /// Whether no node and no scenario was left out.
    pub(super) fn is_within_bounds(&self) -> bool {
        self.other_scenarios == 0 && self.nodes.len() < MAX_NODES
    }

    pub(super) const fn other_scenarios(&self) -> u64 {
        self.other_scenarios
    }

    /// Ready orders dropped as expired, over all nodes.
    pub(super) fn orders_expired(&self) -> u64 {
        self.nodes.values().fold(0, |sum, node| sum.saturating_add(node.orders_expired))
    }

    /// How far the CA's clock is ahead of that of the node that differs most from it, seconds.
    pub(super) fn clock_ahead_s(&self) -> Option<i64> {
        self.nodes
            .values()
            .filter_map(|node| node.clock_ahead_s)
            .max_by_key(|ahead| (ahead.unsigned_abs(), *ahead))
    }

    /// Figures by scenario. Targets, workers and rates are of the nodes with a recent sample; counts are of
    /// all nodes. When the run is `over`, targets and rates are means over the whole run.
    pub(super) fn scenarios(&self, latest_unix_ns: u64, over: bool) -> BTreeMap<String, ScenarioFigures> {
        let mut scenarios: BTreeMap<String, ScenarioFigures> = BTreeMap::new();
        for node in self.nodes.values() {
            let lives = node.lives(latest_unix_ns);
            for (name, sample) in &node.scenarios {
                if scenarios.len() < MAX_SCENARIOS || scenarios.contains_key(name) {
                    let figures = scenarios.entry(name.clone()).or_default();
                    figures.add(sample, lives);
                    let carried = node.carried.get(name).copied().unwrap_or_default();
                    figures.carried = figures.carried.saturating_add(carried);
                    let asked = node.asked_workers.get(name).copied().unwrap_or_default();
                    if over && lives && sample.workers_target == 0 {
                        figures.workers_target = figures.workers_target.saturating_add(asked);
                    }
                }
            }
        }
        for figures in scenarios.values_mut() {
            if over {
                figures.average();
            }
            figures.rate = rounded(figures.rate, 1e3);
            figures.rate_target = figures.rate_target.map(|target| rounded(target, 1e3));
        }
        if !over {
            self.missing(latest_unix_ns, &mut scenarios);
        }
        scenarios
    }

    /// The targets of all nodes together, and what no node has as its part of them.
    fn missing(&self, latest_unix_ns: u64, scenarios: &mut BTreeMap<String, ScenarioFigures>) {
        for (name, figures) in scenarios {
            let recent = |node: &&Node| latest_unix_ns.saturating_sub(node.at_unix_ns) < RECENT_NS;
            let samples = self.nodes.values().filter(recent).filter_map(|node| node.scenarios.get(name));
            let of_all = samples.clone().filter_map(|sample| sample.rate_target_of_all).reduce(f64::max);
            let speeds = samples.clone().filter_map(|sample| sample.rate_target);
            let parts: f64 = samples.filter_map(|sample| sample.rate_target).sum();
            if let Some(of_all) = of_all {
                figures.rate_target = Some(of_all);
            } else if figures.executor == FLEET {
                // Each node has the whole speed.
                figures.rate_target = speeds.reduce(f64::max);
            }
            let missing = of_all.map_or(0.0, |of_all| rounded((of_all - parts).max(0.0), 1e3));
            figures.rate_missing = figures.rate_target.map(|_| missing);
        }
    }

    /// How much lag can have added to these response times.
    fn distortion(lag: &Times, response: &Times) -> Option<Distortion> {
        let share = |lag: u64, of: u64| rounded(lag as f64 / of.max(1) as f64, 1e4);
        let (p50_ns, p99_ns) = (lag.percentile(500)?, lag.percentile(990));
        Some(Distortion {
            p50_ns,
            p50_share: share(p50_ns, response.percentile(500)?),
            p99_ns,
            p99_share: p99_ns.zip(response.percentile(990)).map(|(lag, of)| share(lag, of)),
        })
    }

    /// `lag` is that of all nodes, and `response` has the response times of all requests, to compare it with.
    pub(super) fn generator(&self, latest_unix_ns: u64, lag: &Times, response: &Times) -> GeneratorFigures {
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
        let causes = LimitCause::ALL.map(|cause| {
            let of_cause = || limits.iter().map(|(_, limit)| limit).filter(|limit| limit.cause == cause);
            let now = |node: &Node| node.limits.iter().any(|limit| limit.now && limit.cause == cause);
            let figures = CauseFigures {
                limited_now: living().any(now),
                limited_ns: of_cause().map(|limit| limit.total_ns).max().unwrap_or(0),
            };
            (cause, figures)
        });
        let lag_limits = limits.iter().any(|(_, limit)| limit.what == LimitKind::Lag);
        GeneratorFigures {
            limited: !limits.is_empty(),
            limited_now: living().any(|node| node.limits.iter().any(|limit| limit.now)),
            limited_ns: self.nodes.values().map(|node| node.limited_ns).max().unwrap_or(0),
            causes: causes.into(),
            distortion: lag_limits.then(|| Self::distortion(lag, response)).flatten(),
            limits: limits
                .into_iter()
                .take(MAX_LIMITS)
                .map(|(node, limit)| figures_of(node, limit))
                .collect(),
            lag_ns: lag.timing(),
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

    fn latest(&mut self, node: &str, mut sample: Node) {
        if let Some(known) = self.nodes.get_mut(node) {
            if (sample.at_unix_ns, sample.seq) >= (known.at_unix_ns, known.seq) {
                for (scenario, asked) in std::mem::take(&mut known.asked_workers) {
                    sample.asked_workers.entry(scenario).or_insert(asked);
                }
                *known = sample;
            }
        } else if self.nodes.len() < MAX_NODES {
            self.nodes.insert(node.to_owned(), sample);
        }
    }
}

impl Node {
    fn of(seq: u64, at_unix_ns: u64, load: &LoadSample) -> Self {
        let generator = &load.generator;
        let scenarios = load.scenarios.iter().take(MAX_SCENARIOS);
        Self {
            at_unix_ns,
            seq,
            asked_workers: scenarios
                .clone()
                .filter(|scenario| scenario.workers_target > 0)
                .map(|scenario| (shortened(&scenario.name), scenario.workers_target))
                .collect(),
            scenarios: scenarios.map(|scenario| (shortened(&scenario.name), scenario.clone())).collect(),
            cpu_share: generator.cpu_share,
            cpu_wait_share: generator.cpu_wait_share,
            processors: generator.processors,
            backlog_share: generator.backlog_share,
            limits: generator.limits.iter().take(MAX_LIMITS).cloned().collect(),
            limited_ns: generator.limited_ns,
            carried: BTreeMap::new(),
            orders_expired: load.ca.orders_expired,
            clock_ahead_s: load.ca.clock_ahead_s,
        }
    }

    /// Reduces the totals since the node's start to those since `before`.
    fn subtract(&mut self, before: &Self) {
        for (name, scenario) in &mut self.scenarios {
            let Some(before) = before.scenarios.get(name) else { continue };
            self.carried.insert(name.clone(), before.in_flight());
            for (ours, theirs) in [
                (&mut scenario.asked, before.asked),
                (&mut scenario.due, before.due),
                (&mut scenario.started, before.started),
                (&mut scenario.ended, before.ended),
                (&mut scenario.requests, before.requests),
                (&mut scenario.dropped, before.dropped),
                (&mut scenario.idle, before.idle),
                (&mut scenario.active_ns, before.active_ns),
                (&mut scenario.capped_ns, before.capped_ns),
                (&mut scenario.saturated_ns, before.saturated_ns),
            ] {
                *ours = ours.saturating_sub(theirs);
            }
        }
        for limit in &mut self.limits {
            let same = |other: &&Limit| (other.what, &other.place) == (limit.what, &limit.place);
            if let Some(before) = before.limits.iter().find(same) {
                limit.total_ns = limit.total_ns.saturating_sub(before.total_ns);
            }
        }
        self.limits.retain(|limit| limit.now || limit.total_ns > 0);
        self.limited_ns = self.limited_ns.saturating_sub(before.limited_ns);
        self.orders_expired = self.orders_expired.saturating_sub(before.orders_expired);
    }

    fn lives(&self, latest_unix_ns: u64) -> bool {
        latest_unix_ns.saturating_sub(self.at_unix_ns) < NODE_SILENT_NS
    }
}

impl ScenarioFigures {
    /// Replaces rate and target of the latest second by their means over the active time.
    fn average(&mut self) {
        if self.active_ns == 0 {
            return;
        }
        let mean = |count: u64| count as f64 * 1e9 / self.active_ns as f64;
        let done = if self.rate_unit == "requests" { self.requests } else { self.ended };
        self.rate = mean(done);
        self.rate_target = (!self.rate_unit.is_empty()).then(|| mean(self.asked));
    }

    fn add(&mut self, sample: &ScenarioSample, lives: bool) {
        if self.executor.is_empty() {
            self.executor = shortened(&sample.executor);
            self.rate_unit = shortened(&sample.rate_unit);
        }
        if lives {
            self.workers_target = self.workers_target.saturating_add(sample.workers_target);
            self.workers = self.workers.saturating_add(sample.workers);
            self.busy = self.busy.saturating_add(sample.busy);
            self.backing_off = self.backing_off.saturating_add(sample.backing_off);
            self.rate += sample.rate;
            self.rate_target = match (self.rate_target, sample.rate_target) {
                (Some(ours), Some(theirs)) => Some(ours + theirs),
                (ours, theirs) => ours.or(theirs),
            };
            self.reach = self.reach.max(sample.reach);
        }
        self.active_ns = self.active_ns.max(sample.active_ns);
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
        cause: limit.cause,
        against_ns: limit.against_ns,
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
