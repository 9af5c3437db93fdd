//! An agent as on the board: its presence, and its registration, which outlives it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Strength;

/// The presence of an agent, bound to a lease: it is deleted when the agent has been silent for too long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentInfo {
    /// Unique among live agents, and the same after a restart.
    pub name: String,
    /// Unique for each start of its process.
    pub incarnation: String,
    /// The group that sessions can name; empty for none.
    #[serde(default)]
    pub group: String,
    /// Labels that sessions can name.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Program and version: `wec 0.1.0`.
    pub program: String,
    /// What it can do, all its sessions together; none before it is known.
    #[serde(default)]
    pub strength: Option<Strength>,
    /// Whether it takes no more sessions.
    #[serde(default)]
    pub draining: bool,
    /// When it started, by its clock, nanoseconds since the Unix epoch.
    pub since_unix_ns: u64,
}

/// A known agent, whether it is live or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// As in [`AgentInfo::name`].
    pub name: String,
    /// Its group when it registered last.
    #[serde(default)]
    pub group: String,
    /// Its labels when it registered last.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Program and version when it registered last; empty for a reserved place.
    #[serde(default)]
    pub program: String,
    /// What it could do when it registered last.
    #[serde(default)]
    pub strength: Option<Strength>,
    /// Whether sessions may use it.
    pub activated: bool,
    /// When it became known, nanoseconds since the Unix epoch.
    pub added_unix_ns: u64,
    /// When it registered last; none for a place that is reserved for an expected machine.
    #[serde(default)]
    pub registered_unix_ns: Option<u64>,
}

impl Registration {
    /// A place for a machine that is expected.
    pub(crate) fn reserved(name: &str, at_unix_ns: u64) -> Self {
        Self {
            name: name.to_owned(),
            group: String::new(),
            labels: BTreeMap::new(),
            program: String::new(),
            strength: None,
            activated: true,
            added_unix_ns: at_unix_ns,
            registered_unix_ns: None,
        }
    }

    /// The registration after this agent has come; people's settings stay.
    #[must_use]
    pub(crate) fn of(self, agent: &AgentInfo) -> Self {
        Self {
            group: agent.group.clone(),
            labels: agent.labels.clone(),
            program: agent.program.clone(),
            strength: agent.strength,
            registered_unix_ns: Some(agent.since_unix_ns),
            ..self
        }
    }
}

/// The agents that a session is meant for: those that meet all conditions. Without a condition, all agents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Selection {
    /// Names of agents; any of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// The group of agents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Labels of agents; all of them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl Selection {
    /// Whether an agent with these properties is meant.
    pub fn means(&self, name: &str, group: &str, labels: &BTreeMap<String, String>) -> bool {
        let Self { names, group: wanted, labels: all } = self;
        (names.is_empty() || names.iter().any(|one| one == name))
            && wanted.as_ref().is_none_or(|wanted| wanted == group)
            && all.iter().all(|(key, value)| labels.get(key) == Some(value))
    }

    /// For people: `all agents`, `group eu, disk=ssd`.
    pub fn shown(&self) -> String {
        let names = (!self.names.is_empty()).then(|| self.names.join(", "));
        let group = self.group.as_ref().map(|group| format!("group {group}"));
        let labels = self.labels.iter().map(|(key, value)| format!("{key}={value}"));
        let all: Vec<_> = names.into_iter().chain(group).chain(labels).collect();
        if all.is_empty() { "all agents".to_owned() } else { all.join(", ") }
    }
}
