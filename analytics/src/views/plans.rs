//! Planned sessions and agents in the form of the API.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wec_board::{
    AgentState, AgentsView, PlanChange, PlanState, Registration, Selection, Session, SessionPlan,
    SessionState, Strength, Waiting,
};

/// A planned session: what it runs, on which agents, and the state of its life.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PlanView {
    /// Its id.
    pub id: String,
    /// The state of its life.
    pub state: PlanState,
    /// Since when, nanoseconds since the Unix epoch.
    pub since_unix_ns: u64,
    /// Why it has this state; empty if the state says it all.
    pub reason: String,
    /// Why it runs nothing although it was started; empty if an agent has its run or can take it.
    #[serde(default)]
    pub waiting: String,
    /// Whether it is running and its load is paused.
    #[serde(default)]
    pub paused: bool,
    /// Grows by one with each change by a person; a change can be refused if it is based on an earlier one.
    pub revision: u64,
    /// The program that made it.
    pub program: String,
    /// The CA's directory, without the query of its URL; empty for a session of an earlier version.
    #[serde(default)]
    pub directory: String,
    /// The keys of its scenario file, with values as text.
    pub keys: BTreeMap<String, String>,
    /// The agents that it is meant for.
    pub agents: Selection,
    /// The id of its run; empty before the first.
    pub run: String,
    /// Number of its runs.
    pub runs: u64,
    /// The agents that it is meant for and that are live, and those that took its run.
    pub parts: Vec<PartView>,
    /// The last changes by people, in order.
    pub changes: Vec<PlanChange>,
}

/// An agent's part in the run of a session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PartView {
    /// The agent.
    pub node: String,
    /// Its state in the session.
    pub state: AgentState,
    /// Why; may be empty.
    pub reason: String,
    /// Since when, nanoseconds since the Unix epoch; null for one that has no part in the run.
    pub since_unix_ns: Option<u64>,
    /// Whether the agent is live.
    pub live: bool,
}

impl PartView {
    /// The state for people: `lost` for a part that has not ended and whose agent is not live.
    pub fn shown_state(&self) -> &'static str {
        if self.state.is_active() && !self.live { "lost" } else { self.state.name() }
    }
}

impl PlanView {
    /// The state for people: `waiting` for a session that was started and runs nothing, `paused` while its load is
    /// paused.
    pub fn shown_state(&self) -> &'static str {
        match (self.waiting.is_empty(), self.paused) {
            (false, _) => "waiting",
            (true, true) => "paused",
            (true, false) => self.state.name(),
        }
    }

    /// Why it has this state; empty if the state says it all.
    pub fn why(&self) -> &str {
        if self.waiting.is_empty() { &self.reason } else { &self.waiting }
    }

    /// The same with what its load shows.
    #[must_use]
    pub(crate) fn with_load(self, load: Option<&Session>) -> Self {
        let pauses = |load: &Session| load.status.run == self.run && load.spec.state == SessionState::Paused;
        Self { paused: self.state == PlanState::Running && load.is_some_and(pauses), ..self }
    }

    /// A planned session with its agents.
    pub fn new(plan: &SessionPlan, view: &AgentsView) -> Self {
        let of = |node: &str| PartView {
            node: node.to_owned(),
            state: AgentState::Available,
            reason: String::new(),
            since_unix_ns: None,
            live: view.live.contains_key(node),
        };
        let meant = view.meant(plan).map(|agent| (agent.name.clone(), of(&agent.name)));
        let mut parts: BTreeMap<_, _> = meant.collect();
        parts.extend(view.tasks_of(plan).map(|(node, task)| {
            let (state, reason, since) = (task.state, task.reason.clone(), Some(task.since_unix_ns));
            (node.to_owned(), PartView { state, reason, since_unix_ns: since, ..of(node) })
        }));
        parts.extend(view.earlier_tasks_of(plan).map(|(node, task)| {
            let reason = format!("ends the earlier run {}", task.run);
            let since = Some(task.since_unix_ns);
            (node.to_owned(), PartView { state: task.state, reason, since_unix_ns: since, ..of(node) })
        }));
        Self {
            id: plan.id.clone(),
            state: plan.state,
            since_unix_ns: plan.since_unix_ns,
            reason: plan.reason.clone(),
            waiting: view.waiting(plan).map(|waiting| told(waiting, plan)).unwrap_or_default(),
            paused: false,
            revision: plan.revision,
            program: plan.program.clone(),
            directory: plan.directory().to_owned(),
            keys: plan.keys.clone(),
            agents: plan.agents.clone(),
            run: plan.run.clone(),
            runs: plan.runs,
            parts: parts.into_values().collect(),
            changes: plan.changes.clone(),
        }
    }
}

fn told(waiting: Waiting, plan: &SessionPlan) -> String {
    match waiting {
        Waiting::NoAgent => {
            format!("no live agent is meant for it ({}): it begins when one comes", plan.agents.shown())
        }
        Waiting::NoneUsable => format!(
            "the agents that it is meant for ({}) are deactivated or take no more sessions: activate one",
            plan.agents.shown()
        ),
        Waiting::AllLost => {
            "its agents are gone: it is aborted unless one comes back within a minute".to_owned()
        }
    }
}

/// The answer of `GET /api/v1/nodes`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Agents {
    /// By name.
    pub nodes: Vec<AgentView>,
}

/// A machine that sessions can use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AgentView {
    /// Its name.
    pub name: String,
    /// Whether its agent is live.
    pub live: bool,
    /// Whether sessions may use it.
    pub activated: bool,
    /// Whether its agent takes no more sessions, and ends after those that it runs.
    pub draining: bool,
    /// Whether its agent has never come: the place is reserved.
    pub reserved: bool,
    /// Whether a place is reserved for it, which counts for quorums also while it is not live.
    #[serde(default)]
    pub expected: bool,
    /// Its group; may be empty.
    pub group: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Program and version; empty for a reserved place.
    pub program: String,
    /// What it can do, all its sessions together; null if that was never measured.
    pub strength: Option<Strength>,
    /// When its agent started last, nanoseconds since the Unix epoch; null for a reserved place.
    pub since_unix_ns: Option<u64>,
    /// Its parts in sessions, by session.
    pub sessions: BTreeMap<String, PartView>,
}

impl AgentView {
    /// All known agents by name.
    pub fn all(view: &AgentsView) -> Vec<Self> {
        let names = view.registered.keys().chain(view.live.keys()).collect::<std::collections::BTreeSet<_>>();
        names.into_iter().map(|name| Self::new(name, view)).collect()
    }

    fn new(name: &str, view: &AgentsView) -> Self {
        let (known, live) = (view.registered.get(name), view.live.get(name));
        let of = |known: &Registration| {
            (
                known.group.clone(),
                known.labels.clone(),
                known.program.clone(),
                known.strength,
                known.registered_unix_ns,
            )
        };
        let shown = match (live, known) {
            (Some(live), _) => (
                live.group.clone(),
                live.labels.clone(),
                live.program.clone(),
                live.strength,
                Some(live.since_unix_ns),
            ),
            (None, Some(known)) => of(known),
            (None, None) => (String::new(), BTreeMap::new(), String::new(), None, None),
        };
        let (group, labels, program, strength, since_unix_ns) = shown;
        let parts = view.plans.values().filter_map(|plan| {
            let parts = PlanView::new(&plan.value, view).parts;
            let part = parts.into_iter().find(|part| part.node == name)?;
            (part.state != AgentState::Available).then(|| (plan.value.id.clone(), part))
        });
        Self {
            name: name.to_owned(),
            live: live.is_some(),
            activated: known.is_none_or(|known| known.activated),
            draining: live.is_some_and(|live| live.draining),
            reserved: live.is_none() && known.is_some_and(|known| known.registered_unix_ns.is_none()),
            expected: view.places.contains(name),
            group,
            labels,
            program,
            strength,
            since_unix_ns,
            sessions: parts.collect(),
        }
    }
}
