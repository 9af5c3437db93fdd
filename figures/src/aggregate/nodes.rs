//! What each requester did.

use serde::{Deserialize, Serialize};
use wec_record::{ChainResult, LoadSample};

use crate::distribution::{MOST, Times};
use crate::snapshot::NodeFigures;

/// Nodes that are counted by themselves: each has two distributions.
const MAX_NODES: usize = 64;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Nodes {
    /// In the order in which they came. A chain is mostly of the node of the last one.
    nodes: Vec<(String, NodeTotals)>,
    /// The place of the node that was looked for last.
    #[serde(skip)]
    last: usize,
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
        let of = |(node, totals): &(String, NodeTotals)| NodeFigures {
            node: node.clone(),
            chains: totals.chains,
            chains_failed: totals.chains_failed,
            requests: totals.requests,
            requests_failed: totals.requests_failed,
            rps: rate(totals.requests),
            response_time_ns: totals.response.timing(),
            lag_ns: totals.lag.timing(),
        };
        let mut figures: Vec<_> = self.nodes.iter().map(of).collect();
        figures.sort_by(|one, other| one.node.cmp(&other.node));
        figures
    }

    /// Response times of the requests of this node that succeeded.
    pub(super) fn response(&self, node: &str) -> Option<&Times> {
        self.nodes.iter().find(|(known, _)| known == node).map(|(_, totals)| &totals.response)
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
        self.nodes.len() <= MAX_NODES && self.nodes.iter().all(|(_, totals)| is_sound(totals))
    }

    fn node(&mut self, node: &str) -> Option<&mut NodeTotals> {
        if self.nodes.get(self.last).is_none_or(|(known, _)| known != node) {
            let known = self.nodes.iter().position(|(known, _)| known == node);
            self.last = match known {
                Some(place) => place,
                None if self.nodes.len() >= MAX_NODES => {
                    self.beyond = true;
                    return None;
                }
                None => {
                    self.nodes.push((node.to_owned(), NodeTotals::default()));
                    self.nodes.len() - 1
                }
            };
        }
        self.nodes.get_mut(self.last).map(|(_, totals)| totals)
    }
}
