//! A node: one process of the suite, as the others see it.

use serde::{Deserialize, Serialize};

/// What a node says about itself while it lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// Unique on the board, new with each start of the process.
    pub id: String,
    /// For people: the host's name, usually.
    pub name: String,
    /// What it does.
    pub kind: NodeKind,
    /// How many workers it can run; 0 for a node that runs none, does not yet, or does not any more.
    pub workers: u32,
    /// Which session it takes part in; empty for a node that is there for all of them.
    #[serde(default)]
    pub session: String,
}

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeKind {
    /// Runs chains.
    Requester,
    /// Answers validations.
    ChallengeServer,
    /// Takes results.
    Analytics,
}

impl NodeKind {
    /// The name as written on the board.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requester => "requester",
            Self::ChallengeServer => "challenge-server",
            Self::Analytics => "analytics",
        }
    }
}
