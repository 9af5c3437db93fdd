//! What of a session's load falls to this node.

use wec_board::{NodeInfo, NodeKind, share};

/// The nodes that share a load, as one of them sees them.
#[derive(Clone, Debug)]
pub(crate) struct Share {
    node: String,
    /// Requesters and what each can do.
    capacities: Vec<(String, u32)>,
}

impl Share {
    pub(crate) fn new(node: &str, nodes: &[NodeInfo]) -> Self {
        Self { node: node.to_owned(), capacities: requesters(nodes) }
    }

    /// This node's part of a number of workers; everything while the board does not show it yet that this node is there.
    pub(crate) fn of(&self, workers: u32) -> u32 {
        let shares = share(workers, &self.capacities);
        shares.into_iter().find(|(node, _)| *node == self.node).map_or(workers, |(_, share)| share)
    }

    /// This node's part of a count, in equal parts.
    pub(crate) fn count(&self, count: u64) -> u64 {
        let of = self.capacities.len() as u64;
        match self.capacities.iter().position(|(node, _)| *node == self.node) {
            Some(place) => count / of + u64::from((place as u64) < count % of),
            None => count,
        }
    }

    /// The same of what can be divided.
    pub(crate) fn fraction(&self) -> f64 {
        let all: f64 = self.capacities.iter().map(|(_, capacity)| f64::from(*capacity)).sum();
        match self.capacities.iter().find(|(node, _)| *node == self.node) {
            Some((_, capacity)) if all > 0.0 => f64::from(*capacity) / all,
            _ => 1.0,
        }
    }

    /// This node's place among those that share, from 0.
    pub(crate) fn place(&self) -> usize {
        self.capacities.iter().position(|(node, _)| *node == self.node).unwrap_or_default()
    }
}

/// The nodes that make load, with what each can do.
pub(crate) fn requesters(nodes: &[NodeInfo]) -> Vec<(String, u32)> {
    let requesters = nodes.iter().filter(|node| node.kind == NodeKind::Requester);
    requesters.map(|node| (node.id.clone(), node.workers)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(ids: &[&str]) -> Vec<NodeInfo> {
        let node = |id: &&str| NodeInfo {
            id: (*id).to_owned(),
            name: (*id).to_owned(),
            kind: NodeKind::Requester,
            workers: 1_000,
        };
        ids.iter().map(node).collect()
    }

    #[test]
    fn a_node_takes_its_share() {
        assert_eq!(Share::new("a", &nodes(&["a"])).of(50), 50);
        assert_eq!(Share::new("a", &nodes(&["a", "b"])).of(51), 26);
        assert_eq!(Share::new("b", &nodes(&["a", "b"])).of(51), 25);
        assert_eq!(Share::new("b", &nodes(&["a", "b"])).fraction(), 0.5);
        assert_eq!(Share::new("b", &nodes(&["a", "b"])).place(), 1);
        let counts = ["a", "b", "c"].map(|node| Share::new(node, &nodes(&["a", "b", "c"])).count(5_000_000));
        assert_eq!(counts, [1_666_667, 1_666_667, 1_666_666]);
        let before = Share::new("a", &nodes(&["b"]));
        assert_eq!(before.count(7), 7);
        assert_eq!((before.of(50), before.fraction()), (50, 1.0), "before the board shows this node");
    }
}
