//! The shares of a session's nodes: decided on the board, as one value that all of them follow.
//!
//! Nodes see a decision at different moments. So that their parts never add up to more than the target, a
//! decision that gives some nodes more takes two epochs ([ADR 71](../../docs/adr/0071-never-over-the-target.md)):
//!
//! | epoch | nodes whose part shrinks | nodes whose part grows |
//! | --- | --- | --- |
//! | e | use the smaller part at once, and acknowledge e | keep what they have: their part is limited |
//! | e + 1, when all of the former have acknowledged or their leases have ended | | use the larger part |
//!
//! Parts grow step by step while other decisions come in between
//! ([ADR 113](../../docs/adr/0113-acknowledgements-of-earlier-epochs-count.md)).

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{LoadUnit, NodeInfo, Strength};

/// The whole, in the unit of [`Parts`].
const WHOLE: u64 = 1_000_000_000;

/// The nodes that share the load of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shares {
    /// Grows by one with each decision; 0 before the first.
    pub epoch: u64,
    /// The nodes with a share, by id.
    pub nodes: BTreeMap<String, NodeShare>,
}

/// The share of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeShare {
    /// The registration that it is for: see [`Follows`](crate::Follows).
    pub registration: i64,
    /// What the node offered. All parts are computed from the strengths of all nodes.
    pub strength: Strength,
    /// The largest parts until other nodes have reduced theirs, the whole for a part that does not grow; none if
    /// they have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Parts>,
    /// The largest parts that the node may still use.
    pub held: Held,
}

/// The largest parts that a node may still use before it sees a later decision. Other decisions do not wait for its
/// acknowledgement, so it is of an epoch that stays the same until the node has acknowledged it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Until it has acknowledged `checkpoint`.
    pub parts: Parts,
    /// The epoch after the last acknowledgement.
    pub checkpoint: u64,
    /// From `checkpoint` on, the largest of all epochs.
    pub after: Parts,
}

/// Parts of a target, in billionths of it, by unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts {
    /// Of chains a second.
    pub chains: u64,
    /// Of requests a second.
    pub requests: u64,
    /// Of workers.
    pub workers: u64,
}

impl Parts {
    fn each(part: impl Fn(LoadUnit) -> u64) -> Self {
        let [chains, requests, workers] = [LoadUnit::Chains, LoadUnit::Requests, LoadUnit::Workers].map(part);
        Self { chains, requests, workers }
    }

    /// The part in one unit.
    pub const fn of(&self, unit: LoadUnit) -> u64 {
        match unit {
            LoadUnit::Chains => self.chains,
            LoadUnit::Requests => self.requests,
            LoadUnit::Workers => self.workers,
        }
    }

    fn min(&self, other: &Self) -> Self {
        Self::each(|unit| self.of(unit).min(other.of(unit)))
    }

    fn max(&self, other: &Self) -> Self {
        Self::each(|unit| self.of(unit).max(other.of(unit)))
    }
}

impl Shares {
    /// The shares of the live nodes of a session; none if they are unchanged.
    pub(crate) fn next(&self, session: &str, live: &[NodeInfo]) -> Option<Self> {
        let sharing: Vec<_> = live.iter().filter(|node| node.shares_load_of(session)).collect();
        let sums = sums(sharing.iter().map(|node| offered(node)));
        let goal = |node: &NodeInfo| fraction(&offered(node), &sums);
        let before = self.sums();
        let held = |node: &NodeInfo| self.held(node, &before);
        // No more than the target, also while each node uses the larger one of what it had and what it gets.
        let fits = LoadUnit::ALL.into_iter().all(|unit| {
            let larger = |node: &&NodeInfo| held(node).of(unit).max(goal(node).of(unit));
            sharing.iter().map(larger).sum::<u64>() <= WHOLE
        });
        // What nobody may use now, and what nodes would need of it.
        let free =
            Parts::each(|unit| WHOLE.saturating_sub(sharing.iter().map(|node| held(node).of(unit)).sum()));
        let missing =
            |node: &NodeInfo, unit: LoadUnit| goal(node).of(unit).saturating_sub(held(node).of(unit));
        let need = Parts::each(|unit| sharing.iter().map(|node| missing(node, unit)).sum());
        let share = |node: &NodeInfo| {
            let (held, goal) = (held(node), goal(node));
            // A part that does not grow needs no limit, and is by the formula. Others grow when half of what they need
            // is free: with many nodes somebody's offer always changes, and all of it would never be.
            let limit = |unit: LoadUnit| {
                let (held, missing) = (held.of(unit), missing(node, unit));
                let (free, need) = (free.of(unit), need.of(unit).max(1));
                match missing {
                    0 => WHOLE,
                    missing if free * 2 >= need => held + scaled(missing, free.min(need), need),
                    _ => held,
                }
            };
            let limit = (!fits).then(|| Parts::each(limit));
            let part = goal.min(&limit.unwrap_or(goal));
            let registration = node.follows.registration;
            let held = self.held_after(node, &held, &part);
            NodeShare { registration, strength: offered(node), limit, held }
        };
        let nodes: BTreeMap<_, _> = sharing.iter().map(|node| (node.id.clone(), share(node))).collect();
        let decided = |share: &NodeShare| (share.registration, share.strength, share.limit);
        let unchanged = nodes.len() == self.nodes.len()
            && nodes
                .iter()
                .zip(&self.nodes)
                .all(|((id, one), (known, other))| id == known && decided(one) == decided(other));
        (!unchanged).then(|| Self { epoch: self.epoch + 1, nodes })
    }

    /// The largest parts that a live node may use before it sees a later decision. `sums` are of these shares.
    fn held(&self, node: &NodeInfo, sums: &Parts) -> Parts {
        match self.nodes.get(&node.id) {
            // What was decided for an earlier registration ended with its lease.
            Some(share) if share.registration == node.follows.registration => match node.follows.epoch {
                epoch if epoch >= self.epoch => parts(share, sums),
                epoch if epoch >= share.held.checkpoint => share.held.after,
                _ => share.held.parts,
            },
            _ => Parts::default(),
        }
    }

    /// What a node may still use after the next decision, which gives it this part.
    fn held_after(&self, node: &NodeInfo, held: &Parts, part: &Parts) -> Held {
        let parts = held.max(part);
        match self.share(&node.id, node.follows.registration) {
            // It has not acknowledged the checkpoint yet.
            Some(NodeShare { held: Held { checkpoint, after, .. }, .. })
                if node.follows.epoch < *checkpoint =>
            {
                Held { parts, checkpoint: *checkpoint, after: after.max(part) }
            }
            _ => Held { parts, checkpoint: self.epoch + 1, after: *part },
        }
    }

    fn sums(&self) -> Parts {
        sums(self.nodes.values().map(|share| share.strength))
    }

    /// The share of a node, if it was decided for this registration.
    pub fn share(&self, node: &str, registration: i64) -> Option<&NodeShare> {
        self.nodes.get(node).filter(|share| share.registration == registration)
    }

    /// Whether other nodes wait until this one has acknowledged the epoch: it had a larger part before.
    pub fn awaits(&self, share: &NodeShare) -> bool {
        let now = parts(share, &self.sums());
        LoadUnit::ALL.into_iter().any(|unit| now.of(unit) < share.held.parts.of(unit))
    }

    /// A node's part of a number of workers.
    pub fn workers(&self, node: &str, of: u32) -> u32 {
        self.workers_of(node, of, 1.0)
    }

    /// A node's part of a number of workers, for which nodes use so much of their strength: the rest is for other
    /// scenarios.
    pub fn workers_of(&self, node: &str, of: u32, strength: f64) -> u32 {
        let Some(share) = self.nodes.get(node) else { return 0 };
        let limit = share.limit.map_or(u64::MAX, |limit| u64::from(of) * limit.workers / WHOLE);
        let part = self.part_of(node, LoadUnit::Workers, of.into(), strength);
        u32::try_from(part.min(limit)).expect("at most the whole, a u32")
    }

    /// The largest number of workers that a node may use for its part of a rate, if all nodes together may use
    /// `of`. At least one for each node, because otherwise its part would be dropped.
    pub fn cap(&self, node: &str, of: u32) -> u32 {
        let part = self.part(node, LoadUnit::Workers, of.into()).max(u64::from(of > 0));
        u32::try_from(part).expect("at most the whole, a u32")
    }

    /// A node's part of a rate per second.
    pub fn rate(&self, node: &str, unit: LoadUnit, rate: f64) -> f64 {
        self.rate_of(node, unit, rate, 1.0)
    }

    /// A node's part of a rate per second, for which nodes use so much of their strength: the rest is for other
    /// rates.
    pub fn rate_of(&self, node: &str, unit: LoadUnit, rate: f64, strength: f64) -> f64 {
        let Some(share) = self.nodes.get(node) else { return 0.0 };
        let thousandths = (rate * 1_000.0).round() as u64;
        let part = match self.part_of(node, unit, thousandths, strength) {
            // All of it, also what is less than a thousandth.
            part if part == thousandths => rate,
            part => part as f64 / 1_000.0,
        };
        share.limit.map_or(part, |limit| part.min(rate * limit.of(unit) as f64 / WHOLE as f64))
    }

    /// What a node can do in workers, and what all nodes together can.
    pub fn workers_strength(&self, node: &str) -> (u64, u64) {
        let of = |share: &NodeShare| share.strength.of(LoadUnit::Workers);
        (self.nodes.get(node).map_or(0, of), self.nodes.values().map(of).sum())
    }

    /// The largest rate per second, or the largest number of workers, that the nodes can make together.
    pub fn most(&self, unit: LoadUnit) -> f64 {
        let sum =
            self.nodes.values().map(|share| share.strength.of(unit)).fold(0, u64::saturating_add) as f64;
        if unit == LoadUnit::Workers { sum } else { sum / 1_000.0 }
    }

    /// A node's part of a whole by the formula.
    fn part(&self, node: &str, unit: LoadUnit, whole: u64) -> u64 {
        self.part_of(node, unit, whole, 1.0)
    }

    fn part_of(&self, node: &str, unit: LoadUnit, whole: u64, of_strength: f64) -> u64 {
        let used = |strength: u64| {
            if of_strength < 1.0 { (strength as f64 * of_strength) as u64 } else { strength }
        };
        let strengths = self.nodes.iter().map(|(id, share)| (id.as_str(), used(share.strength.of(unit))));
        let parts = share(whole, &strengths.collect::<Vec<_>>());
        parts.into_iter().find(|(id, _)| *id == node).map_or(0, |(_, part)| part)
    }
}

/// The largest parts of an epoch in which the strengths have these sums.
fn parts(share: &NodeShare, sums: &Parts) -> Parts {
    let part = fraction(&share.strength, sums);
    share.limit.map_or(part, |limit| part.min(&limit))
}

/// What a node offers: nothing without a worker.
const fn offered(node: &NodeInfo) -> Strength {
    if node.strength.workers == 0 { Strength::NONE } else { node.strength }
}

fn sums(strengths: impl Iterator<Item = Strength>) -> Parts {
    strengths.fold(Parts::default(), |sums, strength| {
        Parts::each(|unit| sums.of(unit).saturating_add(strength.of(unit)))
    })
}

/// This much of a whole for each of `of`, rounded down.
fn scaled(whole: u64, each: u64, of: u64) -> u64 {
    let scaled = u128::from(whole) * u128::from(each) / u128::from(of.max(1));
    u64::try_from(scaled).expect("at most the whole, as each is at most of")
}

/// The part of a node in the sum of all, rounded down. The formula rounds to thousandths of a second, so a
/// node's part may be one of them more.
fn fraction(strength: &Strength, sums: &Parts) -> Parts {
    Parts::each(|unit| {
        let part = u128::from(strength.of(unit)) * u128::from(WHOLE) / u128::from(sums.of(unit).max(1));
        u64::try_from(part).expect("at most the whole")
    })
}

/// Each node's part of `target`, in proportion to its strength.
///
/// `strengths` are (id, strength) of the nodes; the result keeps their order. The parts sum to
/// `min(target, sum of strengths)`, and none exceeds its node's strength.
///
/// With T the target and C the sum of strengths, each node gets `floor(T * c / max(T, C))`; the rest goes by
/// ones to the nodes with the largest strength, ties to the smaller id.
fn share<Id: Ord + Clone>(target: u64, strengths: &[(Id, u64)]) -> Vec<(Id, u64)> {
    let wanted = u128::from(target);
    let possible: u128 = strengths.iter().map(|(_, strength)| u128::from(*strength)).sum();
    let whole = wanted.max(possible).max(1);
    let mut shares: Vec<u128> =
        strengths.iter().map(|(_, strength)| wanted * u128::from(*strength) / whole).collect();
    // Less than the number of nodes with a strength, because each lost less than one to rounding.
    let left = wanted.min(possible) - shares.iter().sum::<u128>();

    let mut strongest: Vec<usize> = (0..strengths.len()).collect();
    strongest.sort_by_key(|&index| (Reverse(strengths[index].1), &strengths[index].0));
    for index in strongest.into_iter().zip(0..left).map(|(index, _)| index) {
        shares[index] += 1;
    }
    strengths
        .iter()
        .zip(shares)
        .map(|((id, _), share)| {
            (id.clone(), u64::try_from(share).expect("at most the node's strength, a u64"))
        })
        .collect()
}

#[cfg(test)]
mod tests;
