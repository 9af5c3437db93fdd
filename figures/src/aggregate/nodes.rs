//! What each requester did.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wec_record::{ChainResult, LoadSample};

use crate::distribution::{MOST, Times};
use crate::snapshot::NodeFigures;

/// Nodes that are counted by themselves: each has two distributions.
const MAX_NODES: usize = 64;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Nodes {
    nodes: BTreeMap<String, NodeTotals>,
    /// Something of further nodes was left out.
    beyond: bool,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct NodeTotals {
    chains: u64,
    chains_failed: u64,
    requests: u64,
    requests_failed: u64,
    response: Times,
    lag: Times,
}

impl Nodes {
    /// Counts an iteration if it ended in the part of the run, and those of its requests that did, by the time at which
    /// they ended by the clock of the node.
    pub(super) fn chain(&mut self, node: &str, result: &ChainResult, includes: impl Fn(u64) -> bool) {
        let Some(totals) = self.node(node) else { return };
        for request in
            result.requests.iter().filter(|request| includes(request.done) && !request.is_cut_off())
        {
            totals.requests += 1;
            if request.successful {
                totals.response.record(request.took);
            } else {
                totals.requests_failed += 1;
            }
        }
        if result.chain.is_some() && !result.is_cut_off() && includes(result.done) {
            totals.chains += 1;
            totals.chains_failed += u64::from(!result.successful);
        }
    }

    pub(super) fn load(&mut self, node: &str, load: &LoadSample) {
        if let Some(totals) = self.node(node) {
            load.generator.lag.iter().for_each(|&(ns, count)| totals.lag.record_n(ns, count));
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.beyond |= other.beyond;
        for (node, theirs) in other.nodes {
            if let Some(ours) = self.node(&node) {
                ours.chains += theirs.chains;
                ours.chains_failed += theirs.chains_failed;
                ours.requests += theirs.requests;
                ours.requests_failed += theirs.requests_failed;
                ours.response.merge(theirs.response);
                ours.lag.merge(theirs.lag);
            }
        }
    }

    /// By id. Rates are given by `rate`.
    pub(super) fn figures(&self, rate: impl Fn(u64) -> f64) -> Vec<NodeFigures> {
        let of = |(node, totals): (&String, &NodeTotals)| NodeFigures {
            node: node.clone(),
            chains: totals.chains,
            chains_failed: totals.chains_failed,
            requests: totals.requests,
            requests_failed: totals.requests_failed,
            rps: rate(totals.requests),
            response_time_ns: totals.response.timing(),
            lag_ns: totals.lag.timing(),
        };
        self.nodes.iter().map(of).collect()
    }

    /// Response times of the requests of this node that succeeded.
    pub(super) fn response(&self, node: &str) -> Option<&Times> {
        self.nodes.get(node).map(|totals| &totals.response)
    }

    /// Whether no node was left out.
    pub(super) const fn is_within_bounds(&self) -> bool {
        !self.beyond
    }

    pub(super) fn is_sound(&self) -> bool {
        let is_sound = |totals: &NodeTotals| {
            let NodeTotals { chains, chains_failed, requests, requests_failed, response, lag } = totals;
            *chains.max(requests) <= MOST
                && chains_failed <= chains
                && requests_failed <= requests
                && response.is_sound()
                && lag.is_sound()
        };
        self.nodes.len() <= MAX_NODES && self.nodes.values().all(is_sound)
    }

    fn node(&mut self, node: &str) -> Option<&mut NodeTotals> {
        if !self.nodes.contains_key(node) {
            if self.nodes.len() == MAX_NODES {
                self.beyond = true;
                return None;
            }
            self.nodes.insert(node.to_owned(), NodeTotals::default());
        }
        self.nodes.get_mut(node)
    }
}
