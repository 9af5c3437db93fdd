//! This node's share of a session's load, as decided on the board.

use wec_board::Shares;

/// A node's part of the load.
#[derive(Clone, Debug)]
pub(crate) struct Share {
    node: String,
    shares: Shares,
}

impl Share {
    /// None while the board gives the node no share: it is not ready, or the board has lost it for a moment.
    pub(crate) fn new(node: &str, shares: &Shares) -> Option<Self> {
        let taken = shares.nodes.contains_key(node);
        taken.then(|| Self { node: node.to_owned(), shares: shares.clone() })
    }

    /// This node's part of a number of workers.
    pub(crate) fn of(&self, workers: u32) -> u32 {
        self.shares.workers(&self.node, workers)
    }

    /// This node's part of a rate that this many workers make.
    pub(crate) fn fraction(&self, workers: u32) -> f64 {
        self.shares.fraction(&self.node, workers)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The share of a node among others with the same capacity.
    pub(crate) fn among(node: &str, ids: &[&str]) -> Share {
        let nodes = ids.iter().map(|id| ((*id).to_owned(), 1_000)).collect();
        Share::new(node, &Shares { epoch: 1, nodes }).unwrap()
    }

    #[test]
    fn a_node_takes_its_share() {
        assert_eq!(among("a", &["a"]).of(50), 50);
        assert_eq!((among("a", &["a", "b"]).of(51), among("b", &["a", "b"]).of(51)), (26, 25));
        assert_eq!(among("b", &["a", "b"]).fraction(50), 0.5);
        assert!(Share::new("a", &Shares::default()).is_none(), "shares are not decided yet");
    }
}
