//! Errors of the board.

/// Why an operation on the board failed.
#[derive(Debug, thiserror::Error)]
pub enum BoardError {
    /// The endpoint is not valid.
    #[error("{endpoint:?} is not an etcd endpoint ({reason}): write it like http://127.0.0.1:2379")]
    BadEndpoint {
        /// As given.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file for TLS cannot be read.
    #[error("cannot read {path:?} for TLS with etcd: {reason}")]
    TlsFile {
        /// As given.
        path: String,
        /// The system's error.
        reason: String,
    },
    /// No endpoint answered.
    #[error(
        "no etcd answers at {endpoints} while {doing} ({reason}): start etcd there, or name the endpoint of a running one"
    )]
    Unreachable {
        /// All endpoints that were tried.
        endpoints: String,
        /// The attempted operation.
        doing: &'static str,
        /// The error of the last one.
        reason: String,
    },
    /// The connection to etcd broke while it was answering.
    #[error("lost etcd while {doing} ({reason})")]
    Lost {
        /// The attempted operation.
        doing: &'static str,
        /// The connection's error.
        reason: String,
    },
    /// etcd refused, or answered unlike etcd 3.4 or later.
    #[error("etcd at {endpoint} refused {doing}: {reason}")]
    Refused {
        /// The endpoint.
        endpoint: String,
        /// The attempted operation.
        doing: &'static str,
        /// etcd's message.
        reason: String,
    },
    /// The file could not be read or written.
    #[error("the board in {path:?} failed while {doing}: {reason}")]
    File {
        /// As given.
        path: String,
        /// The attempted operation.
        doing: &'static str,
        /// SQLite's message.
        reason: String,
    },
    /// The file is an SQLite database, but not a board that this version reads.
    #[error("{path:?} is another database, or a board of another version: name another file")]
    NotABoard {
        /// As given.
        path: String,
    },
    /// The session is not on the board.
    #[error("there is no session {0:?} on the board: start a requester with that session, or name another")]
    NoSession(String),
    /// The nodes of the session are ending it.
    #[error(
        "session {0:?} has been stopped and its nodes are still ending it: start again when they have, or name another \
         session"
    )]
    Ending(String),
    /// The session does not have the scenario of the change, or has several and none was given.
    #[error("{}", no_scenario(session, named.as_deref(), known))]
    NoScenario {
        /// The session's id.
        session: String,
        /// As given.
        named: Option<String>,
        /// The scenarios that it has.
        known: String,
    },
    /// The scenario has a number of workers, not a rate.
    #[error("scenario {scenario:?} keeps a number of workers and has no rate: change its workers")]
    NoRate {
        /// Its name.
        scenario: String,
    },
    /// The scenario drives no fleet.
    #[error("scenario {scenario:?} drives no fleet: an event needs a scenario with the executor fleet")]
    NoFleet {
        /// Its name.
        scenario: String,
    },
    /// The clients of a fleet only renew.
    #[error("scenario {scenario:?} drives a fleet, whose clients only renew: it has no weights to change")]
    OnlyRenews {
        /// Its name.
        scenario: String,
    },
    /// Not a speed of a fleet's clock.
    #[error(
        "{speed} is not a speed of the fleet of scenario {scenario:?}: the highest is {most}, a day in a second"
    )]
    TooFast {
        /// Its name.
        scenario: String,
        /// As given.
        speed: f64,
        /// The highest.
        most: f64,
    },
    /// Too many events were added to the fleet.
    #[error("the fleet of scenario {scenario:?} has {most} added events already: start another run")]
    TooManyEvents {
        /// Its name.
        scenario: String,
        /// The most that are kept.
        most: usize,
    },
    /// The run has ended.
    #[error("run {run} of session {session:?} has ended: start another run")]
    RunOver {
        /// The session's id.
        session: String,
        /// The run's id.
        run: String,
    },
    /// There is no planned session with this id.
    #[error(
        "there is no session {0:?}: wec session list shows those that exist, wec session create makes one"
    )]
    NoPlan(String),
    /// There is a session with this id.
    #[error("there is a session {0:?} already: name another id, or delete that one")]
    PlanExists(String),
    /// The state of a planned session does not allow this.
    #[error("cannot {action} session {session:?}: it is {state}; that is possible when it is {allowed}")]
    NotNow {
        /// The session's id.
        session: String,
        /// What was asked for.
        action: &'static str,
        /// The session's state.
        state: &'static str,
        /// The states that allow it.
        allowed: String,
    },
    /// Others changed the planned session since the person saw it.
    #[error("session {session:?} was changed since revision {seen}, and is at {revision} now: {changes}")]
    Stale {
        /// The session's id.
        session: String,
        /// What the person saw.
        seen: u64,
        /// What is there.
        revision: u64,
        /// What changed, and who changed it.
        changes: String,
    },
    /// There is no such agent.
    #[error("there is no node {0:?}: wec node list shows those that are known")]
    NoAgent(String),
    /// The name of an agent is known already.
    #[error("a node {0:?} is known already: name another one")]
    AgentKnown(String),
    /// Another live agent has the name.
    #[error("an agent {0:?} is live already: give each agent a name of its own")]
    AgentTaken(String),
    /// The agent is live.
    #[error("node {0:?} is live: stop its agent first")]
    AgentLives(String),
    /// Another live node has that id.
    #[error("a node {0:?} is on the board already: give each node an id of its own")]
    NodeTaken(String),
    /// Others changed the session between our read and our write, at every attempt.
    #[error("session {0:?} was changed by others on every one of our attempts to change it: try again")]
    Contended(String),
}

fn no_scenario(session: &str, named: Option<&str>, known: &str) -> String {
    match named {
        Some(named) => format!("session {session:?} has no scenario {named:?}: name one of {known}"),
        None => format!("session {session:?} has several scenarios: name one of {known}"),
    }
}
