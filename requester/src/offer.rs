//! What this node offers to its session: a share of its present strength, which is smaller while the node is saturated.
//! The strength itself changes, because other sessions may use a part of it.

use tokio::sync::watch;
use wec_board::{Entry, LoadUnit, Shares, Strength};

/// Number of looks, one a second, in a round.
const ROUND: u32 = 5;
/// A saturated node offers this many hundredths of what it offered before.
const LOWER: u32 = 80;
/// A node that keeps up offers this many hundredths of its strength more, each round.
const RAISE: u32 = 5;
/// The least offer, hundredths of the strength.
const LEAST: u32 = 10;

/// Lowers the offer at once after a round in which the node was saturated, and raises it slowly, so that the load
/// does not swing between nodes.
#[derive(Debug)]
pub(crate) struct Offer {
    entry: Entry,
    strength: watch::Receiver<Strength>,
    rounds: Rounds,
}

impl Offer {
    pub(crate) fn new(entry: Entry, strength: watch::Receiver<Strength>) -> Self {
        Self { entry, strength, rounds: Rounds::default() }
    }

    /// Called once a second: whether the load tester was the limit in it. A node offers less only if others can take
    /// what it leaves; otherwise the target would be missed for nothing.
    pub(crate) fn look(&mut self, limited: bool, shares: &Shares, targets: impl Fn(LoadUnit) -> f64) {
        let changed = self.rounds.look(limited && self.can_leave(shares, targets));
        // Whose strength is known once and for all has dropped the sender.
        let other = self.strength.has_changed().unwrap_or(false);
        if changed.is_some() || other {
            let hundredths = self.rounds.hundredths;
            let offered = self.strength.borrow_and_update().hundredths(hundredths);
            tracing::info!("this node offers {hundredths} % of its strength to the session: {offered}");
            self.entry.offer(offered);
        }
    }
}

impl Offer {
    /// Whether all nodes together can still make the targets when this one offers less.
    fn can_leave(&self, shares: &Shares, targets: impl Fn(LoadUnit) -> f64) -> bool {
        let strength = self.strength.borrow().hundredths(self.rounds.hundredths);
        let leaves = |unit: LoadUnit| strength.of(unit) as f64 / 1_000.0 * f64::from(100 - LOWER) / 100.0;
        // A rate has one of these units. Workers are only its cap.
        [LoadUnit::Chains, LoadUnit::Requests]
            .into_iter()
            .all(|unit| shares.most(unit) - leaves(unit) >= targets(unit))
    }
}

#[derive(Debug)]
struct Rounds {
    hundredths: u32,
    looks: u32,
    limited: bool,
}

impl Default for Rounds {
    fn default() -> Self {
        Self { hundredths: 100, looks: 0, limited: false }
    }
}

impl Rounds {
    /// A new offer at the end of a round, if it has changed.
    fn look(&mut self, limited: bool) -> Option<u32> {
        self.looks += 1;
        self.limited |= limited;
        if self.looks < ROUND {
            return None;
        }
        self.looks = 0;
        let next = match std::mem::take(&mut self.limited) {
            true => (self.hundredths * LOWER / 100).max(LEAST),
            false => (self.hundredths + RAISE).min(100),
        };
        (std::mem::replace(&mut self.hundredths, next) != next).then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saturated_node_offers_less_at_once_and_more_slowly() {
        let mut rounds = Rounds::default();
        let mut round = |limited: u32| (0..ROUND).filter_map(|second| rounds.look(second < limited)).last();
        assert_eq!([0, 1, 5, 0, 0].map(&mut round), [None, Some(80), Some(64), Some(69), Some(74)]);
        assert_eq!((0..30).filter_map(|_| round(1)).last(), Some(LEAST));
        assert_eq!((0..30).filter_map(|_| round(0)).last(), Some(100));
    }

    #[test]
    fn a_saturated_node_offers_less_only_if_others_can_take_it() {
        let strength = Strength { chains: 100_000, ..Strength::UNMEASURED };
        let share =
            wec_board::NodeShare { registration: 1, strength, limit: None, held: wec_board::Held::default() };
        let shares = |nodes: &[&str]| Shares {
            epoch: 1,
            nodes: nodes.iter().map(|id| ((*id).to_owned(), share)).collect(),
        };
        let (board, runtime) = (wec_board::Board::local(), tokio::runtime::Runtime::new().unwrap());
        let node = wec_board::NodeInfo::new(
            &wec_board::NodeId::new("a"),
            wec_board::NodeKind::Requester,
            wec_board::NodeState::Running,
        );
        let entry = runtime.block_on(board.join(node)).unwrap().entry();
        let offer = Offer::new(entry, watch::Sender::new(strength).subscribe());
        let of_chains =
            |target: f64| move |unit: LoadUnit| if unit == LoadUnit::Chains { target } else { 0.0 };
        assert!(offer.can_leave(&shares(&["a", "b"]), of_chains(180.0)));
        assert!(!offer.can_leave(&shares(&["a", "b"]), of_chains(181.0)), "80 and 100 are less");
        assert!(!offer.can_leave(&shares(&["a"]), of_chains(90.0)));
        assert!(offer.can_leave(&shares(&["a"]), of_chains(0.0)));
    }
}
