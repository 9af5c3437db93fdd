//! A session: the load that the nodes together are to make, and who last changed it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What the board says about one run that several nodes take part in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Unique on the board.
    pub id: String,
    /// What is wanted of all nodes together.
    pub target: Target,
    /// Whether the load is to be made.
    pub state: SessionState,
    /// The write that made it what it is; none for one that is as it was put.
    #[serde(default)]
    pub last_change: Option<Changed>,
}

impl Session {
    /// A running session of `workers`, unchanged by anybody.
    pub fn running(id: impl Into<String>, workers: u32) -> Self {
        Self { id: id.into(), target: Target { workers }, state: SessionState::Running, last_change: None }
    }
}

/// The load wanted of all nodes together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Virtual users.
    pub workers: u32,
}

/// Whether a session's load is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SessionState {
    /// Its nodes make the load.
    Running,
    /// Its nodes end what they are doing and start nothing more.
    Stopped,
}

impl SessionState {
    /// The name as written on the board and in marks.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
        }
    }
}

/// A value as of one write to the board; a later write has a greater version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned<T> {
    /// Grows with every write to the board, not only to this value.
    pub version: u64,
    /// The value.
    pub value: T,
}

/// Whose hand a change came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// The web page's control.
    Page,
    /// A command line.
    Cli,
    /// The scenario's own stages.
    Schedule,
    /// A program using the web API.
    Api,
}

impl By {
    /// The name as written on the board and in marks.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Cli => "cli",
            Self::Schedule => "schedule",
            Self::Api => "api",
        }
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A change that somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Who wants it.
    pub by: By,
    /// What is to be different.
    pub to: ChangeTo,
}

impl Change {
    /// More or fewer workers.
    pub const fn workers(by: By, workers: u32) -> Self {
        Self { by, to: ChangeTo::Workers(workers) }
    }

    /// Start or stop.
    pub const fn state(by: By, state: SessionState) -> Self {
        Self { by, to: ChangeTo::State(state) }
    }
}

/// What can be changed of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeTo {
    /// [`Target::workers`].
    Workers(u32),
    /// [`Session::state`].
    State(SessionState),
}

/// A change that was made: what a mark in the log says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// The session's id.
    pub session: String,
    /// Who made it.
    pub by: By,
    /// What changed: `workers` or `state`.
    pub what: String,
    /// Value before.
    pub from: String,
    /// Value after.
    pub to: String,
    /// Wall clock of the node that made it, nanoseconds since the Unix epoch.
    pub at_unix_ns: u64,
}

impl Session {
    /// This session after `change`, or none when it is so already.
    pub(crate) fn after(&self, change: Change, at_unix_ns: u64) -> Option<Self> {
        let mut next = self.clone();
        let (what, from, to) = match change.to {
            ChangeTo::Workers(workers) => {
                let from = std::mem::replace(&mut next.target.workers, workers);
                ("workers", from.to_string(), workers.to_string())
            }
            ChangeTo::State(state) => {
                let from = std::mem::replace(&mut next.state, state);
                ("state", from.name().to_owned(), state.name().to_owned())
            }
        };
        if from == to {
            return None;
        }
        next.last_change = Some(Changed {
            session: self.id.clone(),
            by: change.by,
            what: what.to_owned(),
            from,
            to,
            at_unix_ns,
        });
        Some(next)
    }
}
