use proptest::prelude::*;

use super::*;
use crate::{Follows, NodeId, NodeKind, NodeState};

fn node(id: &str, state: NodeState, session: &str) -> NodeInfo {
    let node = NodeId { id: id.to_owned(), name: id.to_owned(), stats: None };
    let strength = Strength { workers: 100, ..Strength::UNMEASURED };
    NodeInfo { strength, session: session.to_owned(), ..NodeInfo::new(&node, NodeKind::Requester, state) }
}

fn running(id: &str, chains: u64) -> NodeInfo {
    let strength = Strength { chains: chains * 1_000, requests: 9_000_000, workers: 100 };
    NodeInfo { strength, ..node(id, NodeState::Running, "s") }
}

/// The shares after all nodes have acknowledged.
fn settled(live: &mut [NodeInfo]) -> Shares {
    let mut shares = Shares::default();
    while let Some(next) = shares.next("s", live) {
        live.iter_mut().for_each(|node| node.follows.epoch = next.epoch);
        shares = next;
    }
    shares
}

fn among(ids: &[&str]) -> Shares {
    let mut nodes: Vec<_> = ids.iter().map(|id| node(id, NodeState::Running, "s")).collect();
    settled(&mut nodes)
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
    let rate = |node: &str| shares.rate(node, LoadUnit::Chains, 1.0 / 3.0);
    assert_eq!((shares.epoch, shares.workers("a", 50), rate("a")), (1, 50, 1.0 / 3.0));
    assert_eq!((shares.workers("b", 50), rate("b")), (0, 0.0));
    assert_eq!(shares.next("s", &live), None, "the shares are already so");
    assert_eq!(shares.next("s", &live[1..]).unwrap(), Shares { epoch: 2, nodes: BTreeMap::new() });
}

#[test]
fn the_worked_example_as_nodes_join_one_after_the_other() {
    type Row<'a> = (&'a [(&'a str, u64)], &'a [f64]);
    let table: &[Row<'_>] = &[
        (&[("A", 4_000)], &[4_000.0]),
        (&[("A", 4_000), ("B", 5_000)], &[2_222.222, 2_777.778]),
        (&[("A", 4_000), ("B", 5_000), ("C", 3_000)], &[1_666.666, 2_083.334, 1_250.0]),
    ];
    for (nodes, expected) in table {
        let mut live: Vec<_> = nodes.iter().map(|(id, chains)| running(id, *chains)).collect();
        let shares = settled(&mut live);
        let parts: Vec<_> = nodes.iter().map(|(id, _)| shares.rate(id, LoadUnit::Chains, 5_000.0)).collect();
        assert_eq!(parts, *expected);
    }
    // Requests are shared by the strength in requests, which is equal here.
    let mut live = [running("A", 4_000), running("B", 5_000), running("C", 3_000)];
    let shares = settled(&mut live);
    assert_eq!(shares.rate("C", LoadUnit::Requests, 300.0), 100.0);
    assert_eq!(shares.most(LoadUnit::Chains), 12_000.0);
}

#[test]
fn every_node_may_use_a_worker_for_its_part_of_a_rate() {
    let shares = among(&["a", "b", "c"]);
    let caps = |workers| ["a", "b", "c"].map(|node| shares.cap(node, workers));
    assert_eq!([caps(0), caps(1), caps(4), caps(900)], [[0; 3], [1; 3], [2, 1, 1], [100; 3]]);
    assert_eq!(["a", "b", "c"].map(|node| shares.workers(node, 1)), [1, 0, 0]);
    assert_eq!(["a", "b", "c"].map(|node| shares.rate(node, LoadUnit::Chains, 6.0)), [2.0; 3]);
}

#[test]
fn a_node_that_joins_gets_its_part_when_the_others_have_reduced_theirs() {
    let (mut a, mut b) = (running("a", 100), running("b", 100));
    let first = Shares::default().next("s", std::slice::from_ref(&a)).unwrap();
    assert!(!first.awaits(&first.nodes["a"]));
    let rates = |shares: &Shares| ["a", "b"].map(|node| shares.rate(node, LoadUnit::Chains, 80.0));
    let shrunk = first.next("s", &[a.clone(), b.clone()]).unwrap();
    assert_eq!(rates(&shrunk), [40.0, 0.0]);
    assert_eq!(["a", "b"].map(|node| shrunk.workers(node, 10)), [5, 0]);
    assert_eq!(["a", "b"].map(|node| shrunk.awaits(&shrunk.nodes[node])), [true, false]);
    // An acknowledgement of an earlier epoch does not count.
    (a.follows.epoch, b.follows.epoch) = (1, 2);
    assert_eq!(shrunk.next("s", &[a.clone(), b.clone()]), None);
    a.follows.epoch = 2;
    let grown = shrunk.next("s", &[a.clone(), b.clone()]).unwrap();
    assert_eq!((rates(&grown), grown.epoch), ([40.0, 40.0], 3));
    assert_eq!(grown.next("s", &[a.clone(), b.clone()]), None);
    // The others take over the part of a node whose lease has ended at once.
    let alone = grown.next("s", &[b.clone()]).unwrap();
    assert_eq!(rates(&alone), [0.0, 80.0]);
    // Its earlier share is not meant for the node that comes back.
    a.follows = Follows { registration: 7, epoch: 0 };
    let back = alone.next("s", &[a.clone(), b.clone()]).unwrap();
    assert_eq!((rates(&back), back.share("a", 0)), ([0.0, 40.0], None));
    b.follows.epoch = 5;
    assert_eq!(rates(&back.next("s", &[a, b]).unwrap()), [40.0, 40.0]);
}

/// Many nodes come one after the other, and offers change all the time: each acknowledgement is of an epoch that is not
/// the latest any more when it is seen.
#[test]
fn nodes_that_join_get_their_parts_while_offers_of_others_keep_changing() {
    let mut live: Vec<NodeInfo> = Vec::new();
    let mut shares = Shares::default();
    let mut seen = vec![Shares::default(); 50];
    for round in 0..200 {
        if round < 50 {
            live.push(running(&format!("n{round:02}"), 100));
        }
        // One node's offer changes, so there is always another decision.
        let changed = round % live.len();
        live[changed].strength.chains = 100_000 - 1_000 * (round as u64 % 7);
        let next = shares.next("s", &live).unwrap_or_else(|| shares.clone());
        // They follow the decision before the latest.
        for (node, seen) in live.iter_mut().zip(&mut seen) {
            let awaited = shares.nodes.get(&node.id).is_some_and(|share| shares.awaits(share));
            node.follows.epoch = if awaited { shares.epoch } else { node.follows.epoch };
            *seen = shares.clone();
        }
        let rates = live.iter().zip(&seen).map(|(node, seen)| seen.rate(&node.id, LoadUnit::Chains, 1_000.0));
        assert!(rates.sum::<f64>() <= 1_000.05, "more than the target in round {round}");
        shares = next;
    }
    let rates: Vec<_> = live.iter().map(|node| shares.rate(&node.id, LoadUnit::Chains, 1_000.0)).collect();
    let (least, sum) = (rates.iter().copied().fold(f64::MAX, f64::min), rates.iter().sum::<f64>());
    assert!(least > 15.0 && sum > 950.0, "{sum} of 1000: {rates:?}");
}

#[test]
fn shares_in_proportion_to_what_nodes_can_do() {
    let (a, b, c) = (("A", 4_000), ("B", 5_000), ("C", 3_000));
    type Row<'a> = (u64, &'a [(&'a str, u64)], &'a [u64]);
    let table: &[Row<'_>] = &[
        // Nodes join a load of 5000 one after the other.
        (5_000, &[a], &[4_000]),
        (5_000, &[a, b], &[2_222, 2_778]),
        (5_000, &[a, b, c], &[1_666, 2_084, 1_250]),
        // Ties go to the smaller id, in any order.
        (1, &[("B", 10), ("A", 10)], &[0, 1]),
        (3, &[("B", 10), ("C", 10), ("A", 10)], &[1, 1, 1]),
        // More than the sum of strengths: each node gets its strength.
        (u64::MAX, &[("A", 7), ("B", 0)], &[7, 0]),
        (u64::MAX, &[("A", u64::MAX), ("B", u64::MAX)], &[u64::MAX / 2 + 1, u64::MAX / 2]),
        // No target, no strength, no node.
        (0, &[a, b], &[0, 0]),
        (9, &[("A", 0), ("B", 0)], &[0, 0]),
        (0, &[("A", 0)], &[0]),
        (9, &[], &[]),
    ];
    for (target, strengths, expected) in table {
        let shares: Vec<u64> = share(*target, strengths).into_iter().map(|(_, share)| share).collect();
        assert_eq!(shares, *expected, "{target} between {strengths:?}");
    }
}

/// A node of the model: what it knows, and whether it may send.
#[derive(Clone, Debug)]
struct Modelled {
    info: NodeInfo,
    /// The shares that it follows.
    seen: Shares,
    /// Whether its lease lets it send. It ends before the board removes the node.
    sends: bool,
}

impl Modelled {
    fn rate(&self, unit: LoadUnit, target: f64) -> f64 {
        let named = self.seen.share(&self.info.id, self.info.follows.registration).is_some();
        if self.sends && named { self.seen.rate(&self.info.id, unit, target) } else { 0.0 }
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Joins, or comes back with a new registration, or is cut off from the board and stops.
    Comes(usize),
    StopsSending(usize),
    LeaseEnds(usize),
    Sees(usize),
    Acknowledges(usize),
    Offers(usize, u64),
    Decide,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let node = 0usize..4;
    let step = prop_oneof![
        2 => node.clone().prop_map(Step::Comes),
        1 => node.clone().prop_map(Step::StopsSending),
        1 => node.clone().prop_map(Step::LeaseEnds),
        6 => node.clone().prop_map(Step::Sees),
        6 => node.clone().prop_map(Step::Acknowledges),
        2 => (node, 0u64..500).prop_map(|(node, chains)| Step::Offers(node, chains)),
        6 => Just(Step::Decide),
    ];
    proptest::collection::vec(step, 0..120)
}

proptest! {
    /// Whatever nodes see late or never, come, go and come back: their parts are never more than the target.
    #[test]
    fn parts_of_nodes_at_different_epochs_never_exceed_the_target(steps in steps()) {
        let mut shares = Shares::default();
        let mut nodes: [Option<Modelled>; 4] = Default::default();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Comes(at) if nodes[at].is_none() => {
                    let mut info = running(["a", "b", "c", "d"][at], 100 + 50 * at as u64);
                    info.follows = Follows { registration: number as i64 + 1, epoch: 0 };
                    // A node may have seen old shares, and never the latest ones.
                    nodes[at] = Some(Modelled { info, seen: shares.clone(), sends: true });
                }
                Step::StopsSending(at) => {
                    if let Some(node) = &mut nodes[at] {
                        node.sends = false;
                    }
                }
                Step::LeaseEnds(at) if nodes[at].as_ref().is_some_and(|node| !node.sends) => {
                    nodes[at] = None;
                }
                Step::Sees(at) => {
                    if let Some(node) = &mut nodes[at] {
                        node.seen = shares.clone();
                    }
                }
                Step::Acknowledges(at) => {
                    if let Some(node) = &mut nodes[at] {
                        node.info.follows.epoch = node.seen.epoch;
                    }
                }
                Step::Offers(at, chains) => {
                    if let Some(node) = &mut nodes[at] {
                        node.info.strength.chains = chains * 1_000;
                        node.info.strength.workers = chains as u32;
                    }
                }
                Step::Decide => {
                    let live: Vec<_> = nodes.iter().flatten().map(|node| node.info.clone()).collect();
                    shares = shares.next("s", &live).unwrap_or(shares);
                }
                Step::Comes(_) | Step::LeaseEnds(_) => {}
            }
            for unit in [LoadUnit::Chains, LoadUnit::Requests] {
                let sum: f64 = nodes.iter().flatten().map(|node| node.rate(unit, 500.0)).sum();
                // Each node's part is rounded to a thousandth.
                prop_assert!(sum <= 500.004, "{sum} after step {number}");
            }
        }
        // When all see and acknowledge, the target is reached as far as strength allows.
        for _ in 0..4 {
            let live: Vec<_> = nodes.iter().flatten().map(|node| node.info.clone()).collect();
            shares = shares.next("s", &live).unwrap_or(shares);
            for node in nodes.iter_mut().flatten() {
                node.seen = shares.clone();
                node.info.follows.epoch = shares.epoch;
                node.sends = true;
            }
        }
        let possible: u64 = nodes.iter().flatten().map(|node| node.info.strength.chains).sum();
        let sum: f64 = nodes.iter().flatten().map(|node| node.rate(LoadUnit::Chains, 500.0)).sum();
        prop_assert!((sum - (possible as f64 / 1_000.0).min(500.0)).abs() < 0.001, "{sum} of {possible}");
    }

    #[test]
    fn sums_exactly_and_gives_no_node_more_than_its_strength(
        target: u64,
        strengths in proptest::collection::vec(prop_oneof![0u64..20, any::<u64>()], 0..12),
    ) {
        let nodes: Vec<(usize, u64)> = strengths.into_iter().enumerate().collect();
        let shares = share(target, &nodes);
        let possible: u128 = nodes.iter().map(|(_, strength)| u128::from(*strength)).sum();
        let sum: u128 = shares.iter().map(|(_, share)| u128::from(*share)).sum();
        prop_assert_eq!(sum, possible.min(target.into()));
        for ((id, strength), (shared_id, share)) in nodes.iter().zip(&shares) {
            prop_assert_eq!(id, shared_id);
            prop_assert!(share <= strength);
        }
    }

    #[test]
    fn does_not_depend_on_the_order_in_which_nodes_are_seen(
        target in 0u64..1_000,
        mut nodes in proptest::collection::btree_map(0u8..40, 0u64..300, 0..8).prop_map(Vec::from_iter),
    ) {
        let mut forth = share(target, &nodes);
        nodes.reverse();
        let mut back = share(target, &nodes);
        forth.sort_unstable();
        back.sort_unstable();
        prop_assert_eq!(forth, back);
    }
}
