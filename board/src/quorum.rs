//! Quorum: how many of a session's nodes must be live before any of them sends.
//!
//! Known nodes are the live ones, and the places that are reserved for expected machines
//! ([`Board::reserve_place`](crate::Board::reserve_place)), as far as the session is meant for them
//! ([`AgentsView::needs_place`](crate::AgentsView::needs_place)). A node that died and whose place is not reserved is
//! no longer known: its lease has ended, so it has stopped, and the others take over its part.

use std::collections::BTreeSet;

use crate::{NodeInfo, NodeKind};

/// The quorum of a session, and what it is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quorum {
    /// Number of live nodes.
    pub live: u32,
    /// Number of known nodes: live ones and reserved places.
    pub known: u32,
    /// Number of live nodes that is needed.
    pub needed: u32,
    /// The reserved places whose nodes are not live.
    pub missing: Vec<String>,
}

impl Quorum {
    /// The quorum of a session with these places, with `setting` if there is one, else more than half of the known
    /// nodes.
    pub fn of(session: &str, nodes: &[NodeInfo], places: &BTreeSet<String>, setting: Option<u32>) -> Self {
        let lives = |node: &&NodeInfo| node.kind == NodeKind::Requester && node.session == session;
        let live = nodes.iter().filter(lives);
        let names: BTreeSet<_> = live.clone().map(|node| node.name.as_str()).collect();
        let missing = places.iter().filter(|place| !names.contains(place.as_str()));
        let missing: Vec<_> = missing.cloned().collect();
        // Far below the largest u32.
        let (live, expected) = (live.count() as u32, missing.len() as u32);
        let known = live + expected;
        Self { live, known, needed: setting.unwrap_or(known / 2 + 1), missing }
    }

    /// Whether the nodes may send.
    pub const fn is_there(&self) -> bool {
        self.live >= self.needed
    }

    /// Why the nodes send nothing, and what to do, for people; none if they may send.
    pub fn lack(&self) -> Option<String> {
        let Self { live, known, needed, missing } = self;
        let way_out = match missing.as_slice() {
            [] => "start more nodes".to_owned(),
            [one] => format!("start {one}, or remove its place (wec node remove {one})"),
            all => format!(
                "start {}, or remove the places of those that will not come (wec node remove NAME)",
                all.join(", ")
            ),
        };
        (!self.is_there()).then(|| {
            format!("nothing is sent: {live} of {known} known nodes are live, and the quorum is {needed}: {way_out}")
        })
    }

    /// Why the setting is not safe, for people; none if it is.
    pub fn risk(&self) -> Option<String> {
        let Self { known, needed, .. } = *self;
        (needed <= known / 2).then(|| {
            format!(
                "a quorum of {needed} of {known} known nodes allows two halves that cannot reach each other to send at the same time: give more than half, {} or more",
                known / 2 + 1
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NodeId, NodeState};

    fn node(name: &str) -> NodeInfo {
        let id = NodeId { id: format!("{name}-1"), name: name.to_owned(), stats: None };
        NodeInfo { session: "s".to_owned(), ..NodeInfo::new(&id, NodeKind::Requester, NodeState::Running) }
    }

    #[test]
    fn more_than_half_of_the_known_nodes_by_default() {
        let quorum = |live: &[&str], places: &[&str], setting| {
            let nodes: Vec<_> = live.iter().map(|name| node(name)).collect();
            let places = places.iter().map(|place| (*place).to_owned()).collect();
            Quorum::of("s", &nodes, &places, setting)
        };
        for (live, places, needed, is_there) in [
            (&["a"][..], &[][..], 1, true),
            (&["a", "b", "c"], &[], 2, true),
            (&["a"], &["a", "b", "c"], 2, false),
            (&["a", "b"], &["a", "b", "c"], 2, true),
            (&["a", "b"], &["a", "b", "c", "d"], 3, false),
            (&["x"], &["a"], 2, false),
        ] {
            let quorum = quorum(live, places, None);
            assert_eq!((quorum.needed, quorum.is_there()), (needed, is_there), "{live:?} of {places:?}");
            assert_eq!(quorum.risk(), None);
            assert_eq!(quorum.lack().is_none(), is_there);
        }
        let halves = quorum(&["a", "b"], &["a", "b", "c", "d"], Some(2));
        assert!(halves.is_there());
        assert!(halves.risk().unwrap().contains("2 of 4 known nodes"), "{halves:?}");
        assert_eq!(
            quorum(&["a"], &[], Some(2)).lack().unwrap(),
            "nothing is sent: 1 of 1 known nodes are live, and the quorum is 2: start more nodes"
        );
        let lack = quorum(&["x"], &["a"], None).lack().unwrap();
        assert!(lack.ends_with("start a, or remove its place (wec node remove a)"), "{lack}");
        let lack = quorum(&["a"], &["a", "b", "c"], None).lack().unwrap();
        assert!(lack.contains("1 of 3 known nodes") && lack.contains("start b, c, or"), "{lack}");
        // Nodes of other sessions do not count.
        let other = Quorum::of("t", &[node("a")], &BTreeSet::new(), None);
        assert_eq!((other.live, other.is_there()), (0, false));
    }
}
