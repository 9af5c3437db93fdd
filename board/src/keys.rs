//! Where things are on the board, and how they are written there.
//!
//! | key | value | written by |
//! | --- | --- | --- |
//! | `v1/nodes/{id}` | [`NodeInfo`](crate::NodeInfo) as JSON, bound to the node's lease | that node |
//! | `v1/sessions/{id}` | [`SessionSpec`](crate::SessionSpec) as JSON | people, by compare-and-swap; nodes that create or end it |
//! | `v1/status/{id}` | [`RunStatus`](crate::RunStatus) as JSON | its requesters, by compare-and-swap |
//! | `v1/shares/{session}` | [`Shares`](crate::Shares) as JSON | its requesters, by compare-and-swap |
//! | `v1/places/{name}` | a place for a node that is expected: `{}` | people |
//! | `v1/agents/{name}` | [`AgentInfo`](crate::AgentInfo) as JSON, bound to the agent's lease | that agent |
//! | `v1/registered/{name}` | [`Registration`](crate::Registration) as JSON | that agent when it starts, and people |
//! | `v1/plans/{session}` | [`SessionPlan`](crate::SessionPlan) as JSON | people, by compare-and-swap; whoever sees that its agents have ended |
//! | `v1/tasks/{session}/{agent}` | [`AgentTask`](crate::AgentTask) as JSON | that agent, by compare-and-swap |
//! | `v1/pools/{session}/{scenario}` | [`Pool`](crate::Pool) as JSON | requesters, by compare-and-swap |
//! | `v1/clocks/{session}` | the last answers to the next line | the session's first live member |
//! | `clock/v1/{session}/{node}` | a question for the time | that node |
//! | `journal/v1/{session}/{number}` | [`Changed`](crate::Changed) as JSON | who changed it, with the session |

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Versioned;
use crate::kv::Pair;

/// Prefix of all keys that are watched.
pub(crate) const WATCHED: &str = "v1/";
/// Prefix of the keys of nodes.
pub(crate) const NODES: &str = "v1/nodes/";
const SESSIONS: &str = "v1/sessions/";
const STATUS: &str = "v1/status/";
const SHARES: &str = "v1/shares/";
const POOLS: &str = "v1/pools/";
const PLACES: &str = "v1/places/";
const CLOCKS: &str = "v1/clocks/";
/// Prefix of the keys of questions what time it is. Only the reference watches them.
pub(crate) const QUESTIONS: &str = "clock/v1/";
const AGENTS: &str = "v1/agents/";
const REGISTERED: &str = "v1/registered/";
const PLANS: &str = "v1/plans/";
const TASKS: &str = "v1/tasks/";
/// Prefixes of the keys of agents, of places for them, and of planned sessions.
pub(crate) const OF_AGENTS: [&str; 5] = [AGENTS, REGISTERED, PLACES, PLANS, TASKS];

pub(crate) fn node(id: &str) -> String {
    format!("{NODES}{id}")
}

/// The key of a session's targets.
pub(crate) fn session(id: &str) -> String {
    format!("{SESSIONS}{id}")
}

/// The key of its nodes' reports.
pub(crate) fn status(id: &str) -> String {
    format!("{STATUS}{id}")
}

pub(crate) fn shares(session: &str) -> String {
    format!("{SHARES}{session}")
}

/// The key of a session's answers to what time it is.
pub(crate) fn answers(session: &str) -> String {
    format!("{CLOCKS}{session}")
}

/// Prefix of the keys of a session's questions what time it is.
pub(crate) fn clocks_of(session: &str) -> String {
    format!("{QUESTIONS}{session}/")
}

/// The key of a node's question what time it is.
pub(crate) fn clock_of(session: &str, node: &str) -> String {
    format!("{}{node}", clocks_of(session))
}

/// The key of a place for a node of this name.
pub(crate) fn place_of(name: &str) -> String {
    format!("{PLACES}{name}")
}

pub(crate) fn pool(session: &str, scenario: &str) -> String {
    format!("{POOLS}{session}/{scenario}")
}

/// Prefix of the pools of a session.
pub(crate) fn pools(session: &str) -> String {
    format!("{POOLS}{session}/")
}

/// The presence of an agent.
pub(crate) fn agent(name: &str) -> String {
    format!("{AGENTS}{name}")
}

/// What is known of an agent, whether it is live or not.
pub(crate) fn registered(name: &str) -> String {
    format!("{REGISTERED}{name}")
}

/// A planned session.
pub(crate) fn plan(session: &str) -> String {
    format!("{PLANS}{session}")
}

/// Prefix of the agents' parts in a session.
pub(crate) fn tasks(session: &str) -> String {
    format!("{TASKS}{session}/")
}

/// An agent's part in a session.
pub(crate) fn task(session: &str, agent: &str) -> String {
    format!("{TASKS}{session}/{agent}")
}

/// Prefix of the keys of a session's journal, which is not watched.
pub(crate) fn journal(session: &str) -> String {
    format!("journal/v1/{session}/")
}

/// The key of one entry; keys are ordered by number.
pub(crate) fn entry(session: &str, number: u64) -> String {
    format!("{}{number:012}", journal(session))
}

/// The object of a key.
pub(crate) enum KeyObject<'a> {
    Node(&'a str),
    Session(&'a str),
    Status(&'a str),
    /// The shares of this session's nodes.
    Shares(&'a str),
    /// The place for a node of this name.
    Reserved(&'a str),
    /// The answers to what time it is of this session.
    Clocks(&'a str),
    Agent(&'a str),
    Registered(&'a str),
    Plan(&'a str),
    /// The part of this agent in this session.
    Task(&'a str, &'a str),
    Elsewhere,
}

pub(crate) fn object(key: &str) -> KeyObject<'_> {
    if let Some(id) = key.strip_prefix(NODES) {
        KeyObject::Node(id)
    } else if let Some(id) = key.strip_prefix(SESSIONS) {
        KeyObject::Session(id)
    } else if let Some(id) = key.strip_prefix(STATUS) {
        KeyObject::Status(id)
    } else if let Some(session) = key.strip_prefix(SHARES) {
        KeyObject::Shares(session)
    } else if let Some(name) = key.strip_prefix(PLACES) {
        KeyObject::Reserved(name)
    } else if let Some(session) = key.strip_prefix(CLOCKS) {
        KeyObject::Clocks(session)
    } else if let Some(name) = key.strip_prefix(AGENTS) {
        KeyObject::Agent(name)
    } else if let Some(name) = key.strip_prefix(REGISTERED) {
        KeyObject::Registered(name)
    } else if let Some(id) = key.strip_prefix(PLANS) {
        KeyObject::Plan(id)
    } else if let Some((session, agent)) = key.strip_prefix(TASKS).and_then(|rest| rest.split_once('/')) {
        KeyObject::Task(session, agent)
    } else {
        KeyObject::Elsewhere
    }
}

pub(crate) fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value)
        .expect("the board's types have string keys only, the one thing that JSON refuses")
}

/// A value with its version; none, with a warning, for a value of another program or version.
pub(crate) fn parse<T: DeserializeOwned>(pair: &Pair) -> Option<Versioned<T>> {
    match serde_json::from_slice(&pair.value) {
        Ok(value) => Some(Versioned { version: pair.version, value }),
        Err(error) => {
            tracing::warn!(key = %pair.key, %error, "a value on the board cannot be read: it is ignored");
            None
        }
    }
}
