//! This node's share of a session's load: its parts of rates and of workers. The board decides the shares
//! (`wec_board::Shares`).

use wec_board::{LoadUnit, Shares, Standing};
use wec_fleet::seat::hash;

use crate::pace::Ramp;

/// A node's share of the load.
#[derive(Clone, Debug)]
pub(crate) struct Share {
    node: String,
    registration: i64,
    shares: Shares,
    /// The part of each node's strength that this scenario may use: all scenarios of the session share it.
    strength: f64,
}

/// Which members of a fleet a node has: each member is of the node whose hash with its number is the largest. When a
/// node joins or leaves, only members that it gets or had change their node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MemberShare {
    /// The hash of this node; none if it has no members.
    own: Option<u64>,
    others: Vec<u64>,
    /// From when on it has them, nanoseconds of the clock: what was due before belonged to others.
    since: i64,
}

impl MemberShare {
    /// Number of nodes that share the members.
    pub(crate) fn nodes(&self) -> u32 {
        u32::try_from(self.others.len()).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// Whether this node has the member with this number, for an attempt that is due at this moment of the clock.
    pub(crate) fn has(&self, number: u32, due: u64) -> bool {
        let Some(own) = self.own else { return false };
        let wins = |other: &u64| hash(*other, number.into()) < hash(own, number.into());
        i64::try_from(due).unwrap_or(i64::MAX) >= self.since && self.others.iter().all(wins)
    }
}

/// The hash of a node's id, the same in each process.
fn hash_of(node: &str) -> u64 {
    node.bytes().fold(0, |hashed, byte| hash(hashed, byte.into()))
}

/// A node's part of the load now.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NodePart<'a> {
    /// Its share.
    Share(&'a Share),
    /// Nothing: the node may not send, or has no share.
    Nothing {
        /// Since when, nanoseconds of the clock.
        since: u64,
    },
}

impl Share {
    /// None while the shares do not name this registration of the node: it is not ready, or the board has
    /// removed it since.
    pub(crate) fn new(node: &str, standing: Standing, shares: &Shares) -> Option<Self> {
        let registration = standing.registration;
        shares.share(node, registration)?;
        Some(Self { node: node.to_owned(), registration, shares: shares.clone(), strength: 1.0 })
    }

    /// This node's part of a number of workers.
    pub(crate) fn of(&self, workers: u32) -> u32 {
        self.shares.workers_of(&self.node, workers, self.strength)
    }

    /// The largest number of this node's workers for its part of a rate.
    pub(crate) fn cap(&self, workers: u32) -> u32 {
        self.shares.cap(&self.node, workers)
    }

    /// The same, for a scenario with this target, a rate or workers, beside others: if all nodes cannot make the sum,
    /// each scenario uses a part of their strength in proportion to its target.
    #[must_use]
    pub(crate) fn beside(self, unit: LoadUnit, target: f64, others: f64) -> Self {
        let sum = target + others;
        let strength = if sum > self.shares.most(unit) { target / sum } else { 1.0 };
        Self { strength, ..self }
    }

    /// This node's part of a rate.
    pub(crate) fn rate(&self, unit: LoadUnit, rate: f64) -> f64 {
        self.shares.rate_of(&self.node, unit, rate, self.strength)
    }

    /// This node's part of a rate over time.
    pub(crate) fn ramp(&self, unit: LoadUnit, ramp: &Ramp) -> Ramp {
        ramp.capped(self.shares.most(unit) * self.strength).mapped(|rate| self.rate(unit, rate))
    }

    /// The members of a fleet that this node has from this moment of the clock on.
    pub(crate) fn members(&self, since: i64) -> MemberShare {
        let others = self.shares.nodes.keys().filter(|node| **node != self.node);
        MemberShare {
            own: Some(hash_of(&self.node)),
            others: others.map(|node| hash_of(node)).collect(),
            since,
        }
    }

    /// The registration and the epoch, and whether others wait until they are acknowledged.
    pub(crate) fn followed(&self) -> (i64, u64, bool) {
        let awaited = self.shares.share(&self.node, self.registration);
        let awaited = awaited.is_some_and(|share| self.shares.awaits(share));
        (self.registration, self.shares.epoch, awaited)
    }
}

impl NodePart<'_> {
    /// The part of a number of workers.
    pub(crate) fn of(self, workers: u32) -> u32 {
        match self {
            Self::Share(share) => share.of(workers),
            Self::Nothing { .. } => 0,
        }
    }

    /// The largest number of workers for the part of a rate.
    pub(crate) fn workers_cap(self, workers: u32) -> u32 {
        match self {
            Self::Share(share) => share.cap(workers),
            Self::Nothing { .. } => 0,
        }
    }

    /// The part of a rate.
    pub(crate) fn rate(self, unit: LoadUnit, rate: f64) -> f64 {
        match self {
            Self::Share(share) => share.rate(unit, rate),
            Self::Nothing { .. } => 0.0,
        }
    }

    /// Since when it is nothing, nanoseconds of the clock.
    pub(crate) const fn nothing_since(self) -> Option<u64> {
        match self {
            Self::Share(_) => None,
            Self::Nothing { since } => Some(since),
        }
    }

    /// The registration that the part was shared out to; 0 for nothing.
    pub(crate) fn registration(self) -> i64 {
        match self {
            Self::Share(share) => share.registration,
            Self::Nothing { .. } => 0,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use wec_board::{Held, NodeShare, Strength};

    use super::*;

    /// The share of a node among others with the same strength.
    pub(crate) fn among(node: &str, ids: &[&str]) -> Share {
        let strength = Strength { workers: 1_000, ..Strength::UNMEASURED };
        let share = NodeShare { registration: 0, strength, limit: None, held: Held::default() };
        let nodes = ids.iter().map(|id| ((*id).to_owned(), share)).collect();
        Share::new(node, of(0), &Shares { epoch: 1, nodes }).unwrap()
    }

    #[test]
    fn scenarios_share_one_strength() {
        let strength = Strength { chains: 250_000, ..Strength::UNMEASURED };
        let share = NodeShare { registration: 0, strength, limit: None, held: Held::default() };
        let nodes = ["a", "b"].map(|id| (id.to_owned(), share)).into();
        let share = Share::new("a", of(0), &Shares { epoch: 1, nodes }).unwrap();
        let part = |target: f64, others: f64| {
            let share = share.clone().beside(LoadUnit::Chains, target, others);
            let ramp = share.ramp(LoadUnit::Chains, &Ramp::constant(target));
            assert_eq!(ramp.held(), share.rate(LoadUnit::Chains, target));
            ramp.held()
        };
        // Both nodes together can make 500.
        assert_eq!((part(300.0, 0.0), part(300.0, 200.0), part(200.0, 300.0)), (150.0, 150.0, 100.0));
        assert_eq!((part(600.0, 400.0), part(400.0, 600.0)), (150.0, 100.0), "no node exceeds 250");
        assert_eq!(part(600.0, 0.0), 250.0);
        assert_eq!(part(0.0, 600.0), 0.0);
    }

    #[test]
    fn scenarios_with_workers_share_one_strength() {
        let strengths = [("a", 100), ("b", 60), ("c", 40)];
        let nodes = strengths.map(|(id, workers)| {
            let strength = Strength { workers, ..Strength::UNMEASURED };
            (id.to_owned(), NodeShare { registration: 0, strength, limit: None, held: Held::default() })
        });
        let shares = Shares { epoch: 1, nodes: nodes.into() };
        let parts = |target: u32, others: u32| {
            strengths.map(|(id, _)| {
                let share = Share::new(id, of(0), &shares).unwrap();
                share.beside(LoadUnit::Workers, target.into(), others.into()).of(target)
            })
        };
        // All nodes together have 200 workers.
        for (target, others, expected) in [
            (100, 0, [50, 30, 20]),
            (150, 50, [75, 45, 30]),
            (50, 150, [25, 15, 10]),
            (300, 100, [75, 45, 30]),
            (100, 300, [25, 15, 10]),
            (500, 0, [100, 60, 40]),
            (0, 500, [0, 0, 0]),
        ] {
            assert_eq!(parts(target, others), expected, "{target} beside {others}");
        }
    }

    #[test]
    fn each_member_has_one_node_and_only_the_members_of_a_node_move_when_it_leaves() {
        let owner = |ids: &[&str], number: u32| {
            let of: Vec<_> =
                ids.iter().filter(|id| among(id, ids).members(0).has(number, 5)).copied().collect();
            assert_eq!(of.len(), 1, "{number} of {ids:?}");
            of[0].to_owned()
        };
        let mut counts = std::collections::BTreeMap::<String, u32>::new();
        for number in 1..=3_000 {
            let before = owner(&["a", "b", "c"], number);
            let after = owner(&["a", "c"], number);
            assert!(before == "b" || before == after, "{number}: {before} to {after}");
            *counts.entry(before).or_default() += 1;
        }
        assert!(counts.values().all(|count| (900..1_100).contains(count)), "{counts:?}");
        assert_eq!([4, 5].map(|due| among("a", &["a"]).members(5).has(1, due)), [false, true]);
        assert!(!MemberShare::default().has(1, 5));
    }

    fn of(registration: i64) -> Standing {
        Standing { registration, ends: None }
    }

    #[test]
    fn a_node_takes_its_share() {
        assert_eq!(among("a", &["a"]).of(50), 50);
        assert_eq!((among("a", &["a", "b"]).of(51), among("b", &["a", "b"]).of(51)), (26, 25));
        assert_eq!(among("b", &["a", "b"]).rate(LoadUnit::Chains, 50.0), 25.0);
        assert!(Share::new("a", of(0), &Shares::default()).is_none(), "shares are not decided yet");
        let shares = among("a", &["a"]).shares;
        assert!(Share::new("a", of(1), &shares).is_none(), "they are for an earlier registration");
    }
}
