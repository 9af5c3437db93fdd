//! A node: one process of the suite, as the others see it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Who a process is on the board and in results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeId {
    /// Unique for each start of a process.
    pub id: String,
    /// For people.
    pub name: String,
}

impl NodeId {
    /// A new id behind `name`.
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Self { id: format!("{name}-{:08x}", rand::random::<u32>()), name }
    }
}

/// What a node says about itself while it lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// Unique on the board, new with each start of the process.
    pub id: String,
    /// For people: the host's name, usually.
    pub name: String,
    /// What it does.
    pub kind: NodeKind,
    /// What it is doing.
    pub state: NodeState,
    /// How many workers it can run when it takes a share; 0 for a node that runs none.
    pub workers: u32,
    /// Which session it takes part in; empty for a node that is there for all of them.
    #[serde(default)]
    pub session: String,
}

impl NodeInfo {
    /// Whether a part of the load of a session is meant for it now.
    pub fn shares_load_of(&self, session: &str) -> bool {
        self.kind == NodeKind::Requester && self.session == session && self.state.takes_a_share()
    }
}

/// What a node is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NodeState {
    /// Gets ready to take part in its session.
    Preparing,
    /// Takes its share of the session's load.
    Running,
    /// Starts nothing more, and delivers what it has.
    Finishing,
    /// Serves all nodes, and takes no share of a load.
    Serving,
}

impl NodeState {
    /// Whether a part of its session's load is meant for it.
    pub const fn takes_a_share(self) -> bool {
        match self {
            Self::Running => true,
            Self::Preparing | Self::Finishing | Self::Serving => false,
        }
    }
}

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NodeKind {
    /// Runs chains.
    Requester,
    /// Answers validations.
    ChallengeServer,
    /// Takes results.
    Analytics,
}
