//! What each requester did.

use serde::{Deserialize, Serialize};
use wec_record::{ChainResult, LoadSample, RequestResult};

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
    /// Their lag.
    other_lag: Times,
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

/// Where a node is counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place(usize);

impl Nodes {
    /// Counts an iteration of a known chain that ended in the part of the run, unless it was cut off.
    pub(super) fn chain(&mut self, of: Option<Place>, result: &ChainResult) {
        if let Some(totals) = self.at(of).filter(|_| !result.is_cut_off()) {
            totals.chains += 1;
            totals.chains_failed += u64::from(!result.successful);
        }
    }

    /// Counts an HTTP attempt that ended in the part of the run, unless it was cut off.
    pub(super) fn request(&mut self, of: Option<Place>, request: &RequestResult) {
        if let Some(totals) = self.at(of).filter(|_| !request.is_cut_off()) {
            totals.requests += 1;
            if request.successful {
                totals.response.record(request.took);
            } else {
                totals.requests_failed += 1;
            }
        }
    }

    pub(super) fn load(&mut self, node: &str, load: &LoadSample) {
        let place = self.place(node);
        let lag = match place.and_then(|Place(place)| self.nodes.get_mut(place)) {
            Some((_, totals)) => &mut totals.lag,
            None => &mut self.other_lag,
        };
        load.generator.lag.iter().for_each(|&(ns, count)| lag.record_n(ns, count));
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.beyond |= other.beyond;
        self.other_lag.merge(other.other_lag);
        for (node, theirs) in other.nodes {
            let place = self.place(&node);
            let Some(ours) = self.at(place) else {
                self.other_lag.merge(theirs.lag);
                continue;
            };
            ours.chains += theirs.chains;
            ours.chains_failed += theirs.chains_failed;
            ours.requests += theirs.requests;
            ours.requests_failed += theirs.requests_failed;
            ours.response.merge(theirs.response);
            ours.lag.merge(theirs.lag);
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

    /// How much later than due all nodes ran their work.
    pub(super) fn lag(&self) -> Times {
        let of_nodes = self.nodes.iter().map(|(_, totals)| &totals.lag);
        let mut all = Times::default();
        of_nodes.chain([&self.other_lag]).for_each(|lag| all.merge(lag.clone()));
        all
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
        self.other_lag.is_sound()
            && self.nodes.len() <= MAX_NODES
            && self.nodes.iter().all(|(_, totals)| is_sound(totals))
    }

    fn at(&mut self, place: Option<Place>) -> Option<&mut NodeTotals> {
        self.nodes.get_mut(place?.0).map(|(_, totals)| totals)
    }

    /// Where a node is counted, which may be new; none if there are too many.
    pub(super) fn place(&mut self, node: &str) -> Option<Place> {
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
        Some(Place(self.last))
    }
}
