//! What of a session's load falls to this node.

use wec_board::{NodeInfo, NodeKind, share};

/// The requesters of a session that are ready, and so make its load.
pub(crate) fn ready<'a>(nodes: &'a [NodeInfo], session: &str) -> impl Iterator<Item = &'a NodeInfo> {
    nodes
        .iter()
        .filter(move |one| one.kind == NodeKind::Requester && one.session == session && one.workers > 0)
}

/// The nodes that share a load, as one of them sees them.
#[derive(Clone, Debug)]
pub(crate) struct Share {
    node: String,
    /// The requesters of its session that are ready, and what each can do.
    capacities: Vec<(String, u32)>,
}

impl Share {
    /// None while the board does not show the node itself: when it has not heard of it yet, or has lost it for a moment.
    pub(crate) fn new(node: &str, nodes: &[NodeInfo]) -> Option<Self> {
        let here = nodes.iter().find(|one| one.id == node)?;
        let capacities = ready(nodes, &here.session).map(|one| (one.id.clone(), one.workers)).collect();
        Some(Self { node: node.to_owned(), capacities })
    }

    /// All of it.
    #[cfg(test)]
    pub(crate) fn whole(node: &str) -> Self {
        Self { node: node.to_owned(), capacities: vec![(node.to_owned(), u32::MAX)] }
    }

    /// This node's part of a number of workers.
    pub(crate) fn of(&self, workers: u32) -> u32 {
        let shares = share(workers, &self.capacities);
        shares.into_iter().find(|(node, _)| *node == self.node).map_or(0, |(_, share)| share)
    }

    /// The same of a rate that so many workers may make: none where none of them is. Of what nobody may make, everybody has a
    /// part to drop.
    pub(crate) fn fraction(&self, workers: u32) -> f64 {
        let shares = share(workers, &self.capacities).into_iter();
        let makes = shares.zip(&self.capacities).filter(|((_, share), _)| workers == 0 || *share > 0);
        let makes: Vec<_> =
            makes.map(|(_, (node, capacity))| (*node == self.node, f64::from(*capacity))).collect();
        let all: f64 = makes.iter().map(|(_, capacity)| capacity).sum();
        makes.iter().find(|(here, _)| *here).map_or(0.0, |(_, capacity)| capacity / all)
    }

    /// Among how many it is shared.
    pub(crate) fn among(&self) -> u64 {
        self.capacities.len() as u64
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Ready requesters of one session.
    pub(crate) fn nodes(ids: &[&str]) -> Vec<NodeInfo> {
        let node = |id: &&str| NodeInfo {
            id: (*id).to_owned(),
            name: (*id).to_owned(),
            kind: NodeKind::Requester,
            workers: 1_000,
            session: "s".to_owned(),
        };
        ids.iter().map(node).collect()
    }

    #[test]
    fn a_node_takes_its_share() {
        let of = |node: &str, ids: &[&str]| Share::new(node, &nodes(ids)).unwrap();
        assert_eq!(of("a", &["a"]).of(50), 50);
        assert_eq!(of("a", &["a", "b"]).of(51), 26);
        assert_eq!(of("b", &["a", "b"]).of(51), 25);
        assert_eq!((of("b", &["a", "b"]).fraction(50), of("b", &["a", "b"]).among()), (0.5, 2));
        assert!(Share::new("a", &nodes(&["b"])).is_none(), "before the board shows this node");
        assert_eq!((Share::whole("a").of(7), Share::whole("a").fraction(7)), (7, 1.0));
    }

    #[test]
    fn a_rate_is_made_by_those_who_have_a_worker_for_it() {
        let parts = |workers: u32| {
            ["a", "b", "c"].map(|node| Share::new(node, &nodes(&["a", "b", "c"])).unwrap().fraction(workers))
        };
        assert_eq!(parts(1), [1.0, 0.0, 0.0]);
        assert_eq!(parts(2), [0.5, 0.5, 0.0]);
        for workers in [0, 3, 1_000] {
            assert_eq!(parts(workers), [1.0 / 3.0; 3], "{workers}");
        }
    }

    #[test]
    fn who_is_not_ready_or_of_another_session_takes_nothing() {
        let mut there = nodes(&["a", "b", "c"]);
        there[1].workers = 0;
        there[2].session = "another".to_owned();
        let share = Share::new("a", &there).unwrap();
        assert_eq!((share.of(50), share.fraction(50)), (50, 1.0));
        let share = Share::new("b", &there).unwrap();
        assert_eq!((share.of(50), share.fraction(50)), (0, 0.0));
    }
}
