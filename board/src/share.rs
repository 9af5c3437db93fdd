//! The shares of a session's nodes: decided on the board, as one value that all of them follow.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::NodeInfo;

/// The nodes that share the load of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shares {
    /// Grows by one with each decision; 0 before the first.
    pub epoch: u64,
    /// The nodes with a share, by id, with the number of workers that each can run.
    pub nodes: BTreeMap<String, u32>,
}

impl Shares {
    /// The shares of the live nodes of a session; none if they are unchanged.
    pub(crate) fn next(&self, session: &str, live: &[NodeInfo]) -> Option<Self> {
        let sharing = live.iter().filter(|node| node.shares_load_of(session));
        let nodes: BTreeMap<_, _> = sharing.map(|node| (node.id.clone(), node.workers)).collect();
        (nodes != self.nodes).then(|| Self { epoch: self.epoch + 1, nodes })
    }

    /// A node's part of a number of workers.
    pub fn workers(&self, node: &str, of: u32) -> u32 {
        self.divided(of).find(|(id, ..)| *id == node).map_or(0, |(.., part)| part)
    }

    /// A node's part of a rate that this many workers may make; 0 if it has none of the workers. If no worker
    /// is allowed, every node has a part, whose iterations it drops.
    pub fn fraction(&self, node: &str, workers: u32) -> f64 {
        let makes = || self.divided(workers).filter(|(.., part)| workers == 0 || *part > 0);
        let all: f64 = makes().map(|(_, capacity, _)| f64::from(capacity)).sum();
        makes().find(|(id, ..)| *id == node).map_or(0.0, |(_, capacity, _)| f64::from(capacity) / all)
    }

    /// Each node, its capacity, and its part of a number of workers.
    fn divided(&self, workers: u32) -> impl Iterator<Item = (&str, u32, u32)> {
        let capacities: Vec<_> = self.nodes.iter().map(|(id, capacity)| (id.as_str(), *capacity)).collect();
        let parts = share(workers, &capacities);
        capacities.into_iter().zip(parts).map(|((id, capacity), (_, part))| (id, capacity, part))
    }
}

/// Each node's part of `target`, in proportion to its capacity.
///
/// `capacities` are (id, capacity) of the live nodes; the result keeps their order. The parts sum to
/// `min(target, sum of capacities)`, and none exceeds its node's capacity.
///
/// With T the target and C the sum of capacities, each node gets `floor(T * c / max(T, C))`; the rest goes by
/// ones to the nodes with the largest capacity, ties to the smaller id.
fn share<Id: Ord + Clone>(target: u32, capacities: &[(Id, u32)]) -> Vec<(Id, u32)> {
    let wanted = u64::from(target);
    let possible: u64 = capacities.iter().map(|(_, capacity)| u64::from(*capacity)).sum();
    let whole = wanted.max(possible).max(1);
    let mut shares: Vec<u64> =
        capacities.iter().map(|(_, capacity)| wanted * u64::from(*capacity) / whole).collect();
    // Less than the number of nodes with a capacity, because each lost less than one to rounding.
    let left = wanted.min(possible) - shares.iter().sum::<u64>();

    let mut strongest: Vec<usize> = (0..capacities.len()).collect();
    strongest.sort_by_key(|&index| (Reverse(capacities[index].1), &capacities[index].0));
    for index in strongest.into_iter().zip(0..left).map(|(index, _)| index) {
        shares[index] += 1;
    }
    capacities
        .iter()
        .zip(shares)
        .map(|((id, _), share)| {
            (id.clone(), u32::try_from(share).expect("at most the node's capacity, a u32"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{NodeKind, NodeState};

    fn node(id: &str, state: NodeState, session: &str) -> NodeInfo {
        let (id, name, session) = (id.to_owned(), id.to_owned(), session.to_owned());
        NodeInfo { id, name, kind: NodeKind::Requester, state, workers: 100, session }
    }

    fn among(ids: &[&str]) -> Shares {
        let nodes: Vec<_> = ids.iter().map(|id| node(id, NodeState::Running, "s")).collect();
        Shares::default().next("s", &nodes).unwrap()
    }

    #[test]
    fn nodes_that_are_not_ready_or_of_another_session_take_nothing() {
        let live = [
            node("a", NodeState::Running, "s"),
            node("b", NodeState::Preparing, "s"),
            node("c", NodeState::Running, "another"),
            NodeInfo { kind: NodeKind::ChallengeServer, ..node("d", NodeState::Running, "s") },
        ];
        let shares = Shares::default().next("s", &live).unwrap();
        assert_eq!((shares.epoch, shares.workers("a", 50), shares.fraction("a", 50)), (1, 50, 1.0));
        assert_eq!((shares.workers("b", 50), shares.fraction("b", 50)), (0, 0.0));
        assert_eq!(shares.next("s", &live), None, "the shares are already so");
        assert_eq!(shares.next("s", &live[1..]).unwrap(), Shares { epoch: 2, nodes: BTreeMap::new() });
    }

    #[test]
    fn a_rate_is_shared_by_the_nodes_that_have_a_worker() {
        let parts = |workers| ["a", "b", "c"].map(|node| among(&["a", "b", "c"]).fraction(node, workers));
        assert_eq!(parts(1), [1.0, 0.0, 0.0]);
        assert_eq!(parts(2), [0.5, 0.5, 0.0]);
        for workers in [0, 3, 1_000] {
            assert_eq!(parts(workers), [1.0 / 3.0; 3], "{workers}");
        }
    }

    #[test]
    fn shares_in_proportion_to_what_nodes_can_do() {
        let (a, b, c) = (("A", 4_000), ("B", 5_000), ("C", 3_000));
        type Row<'a> = (u32, &'a [(&'a str, u32)], &'a [u32]);
        let table: &[Row<'_>] = &[
            // Nodes join a load of 5000 one after the other.
            (5_000, &[a], &[4_000]),
            (5_000, &[a, b], &[2_222, 2_778]),
            (5_000, &[a, b, c], &[1_666, 2_084, 1_250]),
            // Ties go to the smaller id, in any order.
            (1, &[("B", 10), ("A", 10)], &[0, 1]),
            (3, &[("B", 10), ("C", 10), ("A", 10)], &[1, 1, 1]),
            // More than the sum of capacities: each node gets its capacity.
            (u32::MAX, &[("A", 7), ("B", 0)], &[7, 0]),
            (u32::MAX, &[("A", u32::MAX), ("B", u32::MAX)], &[u32::MAX / 2 + 1, u32::MAX / 2]),
            // No target, no capacity, no node.
            (0, &[a, b], &[0, 0]),
            (9, &[("A", 0), ("B", 0)], &[0, 0]),
            (0, &[("A", 0)], &[0]),
            (9, &[], &[]),
        ];
        for (target, capacities, expected) in table {
            let shares: Vec<u32> = share(*target, capacities).into_iter().map(|(_, share)| share).collect();
            assert_eq!(shares, *expected, "{target} between {capacities:?}");
        }
    }

    proptest! {
        #[test]
        fn sums_exactly_and_gives_no_node_more_than_its_capacity(
            target: u32,
            capacities in proptest::collection::vec(prop_oneof![0u32..20, any::<u32>()], 0..12),
        ) {
            let nodes: Vec<(usize, u32)> = capacities.into_iter().enumerate().collect();
            let shares = share(target, &nodes);
            let possible: u64 = nodes.iter().map(|(_, capacity)| u64::from(*capacity)).sum();
            let sum: u64 = shares.iter().map(|(_, share)| u64::from(*share)).sum();
            prop_assert_eq!(sum, possible.min(target.into()));
            for ((id, capacity), (shared_id, share)) in nodes.iter().zip(&shares) {
                prop_assert_eq!(id, shared_id);
                prop_assert!(share <= capacity);
            }
        }

        #[test]
        fn does_not_depend_on_the_order_in_which_nodes_are_seen(
            target in 0u32..1_000,
            mut nodes in proptest::collection::btree_map(0u8..40, 0u32..300, 0..8).prop_map(Vec::from_iter),
        ) {
            let mut forth = share(target, &nodes);
            nodes.reverse();
            let mut back = share(target, &nodes);
            forth.sort_unstable();
            back.sort_unstable();
            prop_assert_eq!(forth, back);
        }
    }
}
