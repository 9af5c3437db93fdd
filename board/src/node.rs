//! A node: one process of the suite, as on the board.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The identity of a process on the board and in results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeId {
    /// Unique for each start of a process.
    pub id: String,
    /// For people.
    pub name: String,
}

impl NodeId {
    /// A new id with `name` in it.
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Self { id: format!("{name}-{:08x}", rand::random::<u32>()), name }
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
    /// Number of workers that it can run with a share; 0 if it runs none.
    pub workers: u32,
    /// Its session; empty for a node that serves all sessions.
    #[serde(default)]
    pub session: String,
}

impl NodeInfo {
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
