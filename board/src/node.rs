//! A node: one process of the suite, as on the board.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Strength;

/// The identity of a process on the board and in results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeId {
    /// Unique for each start of a process.
    pub id: String,
    /// For people.
    pub name: String,
    /// The address of its statistics, HOST:PORT; none if it serves none.
    pub stats: Option<String>,
}

impl NodeId {
    /// A new id with `name` in it.
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Self { id: format!("{name}-{:08x}", rand::random::<u32>()), name, stats: None }
    }
}

/// A node's entry on the board.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// Unique on the board, new with each start of the process.
    pub id: String,
    /// For people: the host's name, usually.
    pub name: String,
    /// Its kind.
    pub kind: NodeKind,
    /// Its state.
    pub state: NodeState,
    /// What it offers to its session now; [`Strength::NONE`] if it runs no load.
    pub strength: Strength,
    /// Its session; empty for a node that serves all sessions.
    #[serde(default)]
    pub session: String,
    /// Its registration, and the shares that it follows. Set by its membership.
    #[serde(default)]
    pub follows: Follows,
    /// Its clock beside the board's time; none while it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<ClockOffset>,
    /// The address of its statistics (`wec-node-stats`), HOST:PORT; none if it serves none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stats: Option<String>,
    /// The version of its program; empty for one that does not tell it.
    #[serde(default)]
    pub version: String,
}

/// The shares that a node follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Follows {
    /// The lease that the node's entry is bound to. A node that comes back after its lease has ended has
    /// another one, and nothing that was decided for the earlier one is meant for it.
    pub registration: i64,
    /// The epoch of the last shares whose smaller part it has acknowledged: it uses no larger part of an
    /// earlier epoch any more.
    pub epoch: u64,
}

/// How far a node's clock is ahead of the board's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClockOffset {
    /// Nanoseconds; negative if it is behind.
    pub ahead_ns: i64,
    /// Bound of the error, nanoseconds: half of the round trip that was measured.
    pub within_ns: u64,
}

impl NodeInfo {
    /// A node without load and session.
    pub fn new(node: &NodeId, kind: NodeKind, state: NodeState) -> Self {
        let NodeId { id, name, stats } = node.clone();
        let (session, follows) = (String::new(), Follows::default());
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Self {
            id,
            name,
            kind,
            state,
            strength: Strength::NONE,
            session,
            follows,
            clock: None,
            stats,
            version,
        }
    }

    /// Whether it takes a share of the session's load now.
    pub fn shares_load_of(&self, session: &str) -> bool {
        self.kind == NodeKind::Requester && self.session == session && self.state.takes_a_share()
    }
}

/// The state of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NodeState {
    /// Prepares for its session.
    Preparing,
    /// Takes its share of the session's load.
    Running,
    /// Starts no more chains, and delivers its results.
    Finishing,
    /// Serves all nodes, and takes no share of a load.
    Serving,
}

impl NodeState {
    /// Whether it takes a share of its session's load.
    pub const fn takes_a_share(self) -> bool {
        match self {
            Self::Running => true,
            Self::Preparing | Self::Finishing | Self::Serving => false,
        }
    }
}

/// The kind of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NodeKind {
    /// Runs chains.
    Requester,
    /// Answers validations.
    ChallengeServer,
    /// Receives results.
    Analytics,
}
