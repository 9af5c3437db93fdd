//! This node's share of a session's load: its parts of rates and of workers. The board decides the shares
//! (`wec_board::Shares`).

use wec_board::{LoadUnit, Shares, Standing};

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
