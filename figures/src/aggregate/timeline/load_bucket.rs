//! `LoadBucket`: target and actual load in one bucket of the timeline.

use serde::{Deserialize, Serialize};
use wec_record::{LoadSample, ScenarioSample};

use super::LARGEST_SUM;
use crate::distribution::{Cells, LONGEST_NS, MOST};

/// A sample covers one second; larger values from a sender are cut to this.
const MAX_OVER_NS: u64 = 10_000_000_000;

/// Target and actual load: sums over the samples, weighted by the time that each covers.
///
/// Integers, so that the sum does not depend on the order.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct LoadBucket {
    /// Samples.
    pub(super) n: u64,
    /// Time covered by all samples, nanoseconds.
    pub(super) over: u128,
    pub(super) workers_target: u128,
    pub(super) workers: u128,
    pub(super) busy: u128,
    /// Thousandths per second; none while no sample had such a target.
    pub(super) chains_target: Option<u128>,
    pub(super) requests_target: Option<u128>,
    /// The same of all nodes together, as each node reports it; none while no sample had one.
    #[serde(default)]
    pub(super) chains_target_of_all: Option<u128>,
    #[serde(default)]
    pub(super) requests_target_of_all: Option<u128>,
    /// Fingerprints of the nodes with samples, sorted. A figure is the mean of one node times the number of
    /// nodes.
    pub(super) nodes: Vec<u32>,
    pub(super) lag: Cells<6>,
    pub(super) lag_n: u64,
    pub(super) lag_max: u64,
}

impl LoadBucket {
    pub(super) fn is_sound(&self) -> bool {
        let Self { n, over, workers_target, workers, busy, nodes, .. } = self;
        let targets = [
            self.chains_target,
            self.requests_target,
            self.chains_target_of_all,
            self.requests_target_of_all,
        ];
        let sums = [*over, *workers_target, *workers, *busy].into_iter().chain(targets.into_iter().flatten());
        *n <= MOST
            && self.lag_n <= MOST
            && sums.into_iter().all(|sum| sum <= LARGEST_SUM)
            && nodes.is_sorted()
    }

    pub(super) fn record(&mut self, node: &str, load: &LoadSample) {
        let over = u128::from(load.over_ns.clamp(1, MAX_OVER_NS));
        let sum = |of: fn(&ScenarioSample) -> u64| {
            over * load.scenarios.iter().map(|scenario| u128::from(of(scenario))).sum::<u128>()
        };
        let target = |unit: &str, of: fn(&ScenarioSample) -> Option<f64>| {
            let with = load.scenarios.iter().filter(|scenario| scenario.rate_unit == unit);
            let targets = with.filter_map(of);
            // `as` converts a negative number and NaN to 0, and saturates at the largest value.
            targets.map(|target| over * u128::from((target * 1e3).round() as u32)).reduce(|a, b| a + b)
        };
        // The lags of a sample are many. They ascend, so those of a cell follow each other.
        let lags = load.generator.lag.iter().map(|&(ns, count)| (ns.min(LONGEST_NS), count));
        self.lag_n += self.lag.add_ascending(lags.clone());
        self.merge(Self {
            n: 1,
            over,
            workers_target: sum(|scenario| scenario.workers_target),
            workers: sum(|scenario| scenario.workers),
            busy: sum(|scenario| scenario.busy),
            chains_target: target("chains", |scenario| scenario.rate_target),
            requests_target: target("requests", |scenario| scenario.rate_target),
            chains_target_of_all: target("chains", |scenario| scenario.rate_target_of_all),
            requests_target_of_all: target("requests", |scenario| scenario.rate_target_of_all),
            nodes: vec![fingerprint(node)],
            lag_max: lags.map(|(ns, _)| ns).max().unwrap_or(0),
            ..Self::default()
        });
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.n += other.n;
        self.over += other.over;
        self.workers_target += other.workers_target;
        self.workers += other.workers;
        self.busy += other.busy;
        let both = |a: Option<u128>, b: Option<u128>| a.into_iter().chain(b).reduce(|a, b| a + b);
        self.chains_target = both(self.chains_target, other.chains_target);
        self.requests_target = both(self.requests_target, other.requests_target);
        self.chains_target_of_all = both(self.chains_target_of_all, other.chains_target_of_all);
        self.requests_target_of_all = both(self.requests_target_of_all, other.requests_target_of_all);
        for node in other.nodes {
            if let Err(place) = self.nodes.binary_search(&node) {
                self.nodes.insert(place, node);
            }
        }
        self.lag.merge(&other.lag);
        self.lag_n += other.lag_n;
        self.lag_max = self.lag_max.max(other.lag_max);
    }

    /// A target rate per second: of all nodes together as each reports it, else the sum of theirs.
    pub(super) fn target(&self, of_each: Option<u128>, of_all: Option<u128>) -> Option<f64> {
        let milli = match of_all {
            Some(of_all) if self.over > 0 => Some(((of_all + self.over / 2) / self.over) as u64),
            _ => of_each.and_then(|of_each| self.mean(of_each)),
        };
        milli.map(|milli| milli as f64 / 1e3)
    }

    /// The mean of one node times the number of nodes; none without a sample.
    pub(super) fn mean(&self, weighed: u128) -> Option<u64> {
        let nodes = self.nodes.len() as u128;
        (self.over > 0).then(|| ((weighed * nodes + self.over / 2) / self.over) as u64)
    }
}

/// FNV-1a: unlike the standard library's hash it is the same in every process.
fn fingerprint(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}
