//! Why the board could not do as asked.

/// Why the board could not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum BoardError {
    /// The caller named something that is no etcd endpoint.
    #[error("{endpoint:?} is not an etcd endpoint ({reason}): write it like http://127.0.0.1:2379")]
    BadEndpoint {
        /// As given.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file for TLS cannot be read.
    #[error("{path:?}, for TLS with etcd, cannot be read: {reason}")]
    TlsFile {
        /// As given.
        path: String,
        /// The system's words.
        reason: String,
    },
    /// No endpoint answered.
    #[error(
        "no etcd answers at {endpoints} while {doing} ({reason}): start etcd there, or name the endpoint of a running one"
    )]
    Unreachable {
        /// All that were tried.
        endpoints: String,
        /// What the board wanted.
        doing: &'static str,
        /// What the last one tried failed with.
        reason: String,
    },
    /// The connection to etcd broke while it was answering.
    #[error("lost etcd while {doing} ({reason})")]
    Lost {
        /// What the board wanted.
        doing: &'static str,
        /// What broke.
        reason: String,
    },
    /// etcd answered, but not as an etcd of version 3.4 or later would, or refused.
    #[error("etcd at {endpoint} refused {doing}: {reason}")]
    Refused {
        /// The one that answered.
        endpoint: String,
        /// What the board wanted.
        doing: &'static str,
        /// Its own words.
        reason: String,
    },
    /// The file could not be read or written.
    #[error("the board in {path:?} failed while {doing}: {reason}")]
    File {
        /// As given.
        path: String,
        /// What the board wanted.
        doing: &'static str,
        /// SQLite's own words.
        reason: String,
    },
    /// The file is an SQLite database, but not a board that this version reads.
    #[error("{path:?} is another database, or a board of another version: name another file")]
    NotABoard {
        /// As given.
        path: String,
    },
    /// The caller named a session that nobody has put on the board.
    #[error("there is no session {0:?} on the board: start a requester with that session, or name another")]
    NoSession(String),
    /// Those at the session are ending it.
    #[error(
        "session {0:?} has been stopped and its nodes are still ending it: start again when they have, or name another \
         session"
    )]
    Ending(String),
    /// The change is of a scenario that the session does not have, or of none where it has several.
    #[error("{}", no_scenario(session, named.as_deref(), known))]
    NoScenario {
        /// The session's id.
        session: String,
        /// As given.
        named: Option<String>,
        /// Those that it has.
        known: String,
    },
    /// The scenario keeps workers, not a rate.
    #[error("scenario {scenario:?} keeps a number of workers and has no rate: change its workers")]
    NoRate {
        /// Its name.
        scenario: String,
    },
    /// Another live node has that id.
    #[error("a node {0:?} is on the board already: give each node an id of its own")]
    NodeTaken(String),
    /// Others changed the session each time between our look and our write.
    #[error("session {0:?} was changed by others on every one of our attempts to change it: try again")]
    Contended(String),
}

fn no_scenario(session: &str, named: Option<&str>, known: &str) -> String {
    match named {
        Some(named) => format!("session {session:?} has no scenario {named:?}: name one of {known}"),
        None => format!("session {session:?} has several scenarios: name one of {known}"),
    }
}
