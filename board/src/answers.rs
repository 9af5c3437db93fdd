//! The questions of nodes for the board's time and the answers, as on the board. [`crate::offset`] asks and answers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A question of a node, as on the board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Asked {
    /// Which of its questions.
    pub(crate) round: u64,
}

/// The last answers of a session's reference, as on the board.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answers {
    /// When it wrote them, nanoseconds since the Unix epoch in the board's time.
    pub(crate) answered_unix_ns: u64,
    /// By node: its round, and when the reference saw it.
    pub(crate) nodes: BTreeMap<String, (u64, u64)>,
}
