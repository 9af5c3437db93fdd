//! Agents and planned sessions as this process sees them.

use std::collections::{BTreeMap, BTreeSet};

use super::info::{AgentInfo, Registration};
use super::plan::{PlanState, SessionPlan};
use super::task::{AgentState, AgentTask};
use crate::Versioned;
use crate::keys::{self, KeyObject};
use crate::kv::{KeyEvent, Pair};

/// Why a session that was started runs nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// No live agent is meant for it.
    NoAgent,
    /// All live agents that it is meant for are deactivated, or take no more sessions.
    NoneUsable,
    /// All agents that took its run are gone, or have left it.
    AllLost,
}

/// All agents, and all planned sessions with the agents' parts in them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AgentsView {
    /// The live agents by name.
    pub live: BTreeMap<String, AgentInfo>,
    /// All known agents by name.
    pub registered: BTreeMap<String, Registration>,
    /// The names for which a place is reserved.
    pub places: BTreeSet<String>,
    /// The planned sessions by id.
    pub plans: BTreeMap<String, Versioned<SessionPlan>>,
    /// The last part of each agent in each session, by session and agent.
    pub tasks: BTreeMap<(String, String), AgentTask>,
}

impl AgentsView {
    /// What these pairs of the board contain.
    pub(crate) fn of(pairs: &[Pair]) -> Self {
        let mut view = Self::default();
        for pair in pairs {
            view.put(pair);
        }
        view
    }

    /// Takes a write; returns whether it was one of these keys.
    pub(crate) fn apply(&mut self, event: &KeyEvent) -> bool {
        match event {
            KeyEvent::Put(pair) => self.put(pair),
            KeyEvent::Deleted { key, .. } => match keys::object(key) {
                KeyObject::Agent(name) => self.live.remove(name).is_some(),
                KeyObject::Registered(name) => self.registered.remove(name).is_some(),
                KeyObject::Reserved(name) => self.places.remove(name),
                KeyObject::Plan(id) => self.plans.remove(id).is_some(),
                KeyObject::Task(session, agent) => {
                    self.tasks.remove(&(session.to_owned(), agent.to_owned())).is_some()
                }
                _ => false,
            },
        }
    }

    /// A value that cannot be read changes nothing.
    fn put(&mut self, pair: &Pair) -> bool {
        match keys::object(&pair.key) {
            KeyObject::Agent(name) => put(&mut self.live, name.to_owned(), pair),
            KeyObject::Registered(name) => put(&mut self.registered, name.to_owned(), pair),
            KeyObject::Reserved(name) => self.places.insert(name.to_owned()),
            KeyObject::Plan(id) => {
                let Some(plan) = keys::parse::<SessionPlan>(pair) else { return false };
                self.plans.insert(id.to_owned(), plan);
                true
            }
            KeyObject::Task(session, agent) => {
                put(&mut self.tasks, (session.to_owned(), agent.to_owned()), pair)
            }
            _ => false,
        }
    }

    /// Whether an agent is live, may be used by sessions, and takes new ones.
    pub fn is_usable(&self, agent: &str) -> bool {
        let activated = self.registered.get(agent).is_none_or(|known| known.activated);
        activated && self.live.get(agent).is_some_and(|agent| !agent.draining)
    }

    /// The live agents that a session is meant for, whether or not they are activated.
    pub fn meant<'a>(&'a self, plan: &'a SessionPlan) -> impl Iterator<Item = &'a AgentInfo> {
        let means = |agent: &&AgentInfo| plan.agents.means(&agent.name, &agent.group, &agent.labels);
        self.live.values().filter(means)
    }

    /// Why a session that was started runs nothing; none if an agent has its run or can take it, or if it does not run.
    pub fn waiting(&self, plan: &SessionPlan) -> Option<Waiting> {
        if plan.state != PlanState::Running {
            return None;
        }
        let mut tasks = self.tasks_of(plan).peekable();
        let can_be_taken = || self.meant(plan).any(|agent| self.is_usable(&agent.name));
        if tasks.peek().is_some() {
            let held = tasks.any(|(agent, task)| match task.state.is_active() {
                true => self.holds(agent, task),
                false => !task.left,
            });
            return (!held && !can_be_taken()).then_some(Waiting::AllLost);
        }
        if can_be_taken() {
            return None;
        }
        Some(if self.meant(plan).next().is_none() { Waiting::NoAgent } else { Waiting::NoneUsable })
    }

    /// The parts of agents in the present run of a session, by agent.
    pub fn tasks_of<'a>(&'a self, plan: &'a SessionPlan) -> impl Iterator<Item = (&'a str, &'a AgentTask)> {
        self.last_tasks_of(plan).filter(|(_, task)| task.run == plan.run && !plan.run.is_empty())
    }

    /// The parts in earlier runs of a session that have not ended: their agents end them before they take the present
    /// run.
    pub fn earlier_tasks_of<'a>(
        &'a self,
        plan: &'a SessionPlan,
    ) -> impl Iterator<Item = (&'a str, &'a AgentTask)> {
        let earlier = self.last_tasks_of(plan).filter(|(_, task)| task.run != plan.run);
        earlier.filter(|(agent, task)| task.state.is_active() && self.holds(agent, task))
    }

    /// The last part of each agent in a session, by agent.
    fn last_tasks_of<'a>(&'a self, plan: &'a SessionPlan) -> impl Iterator<Item = (&'a str, &'a AgentTask)> {
        let from = (plan.id.clone(), String::new());
        let all = self.tasks.range(from..).take_while(|((session, _), _)| *session == plan.id);
        all.map(|((_, agent), task)| (agent.as_str(), task))
    }

    /// Whether a session needs the machine of a reserved place for its quorum: if it is meant for that machine, and may
    /// use it. A machine that has never come has no known group and labels. A session that nobody planned needs all.
    pub fn needs_place(&self, session: &str, name: &str) -> bool {
        let known = self.registered.get(name);
        if known.is_some_and(|known| !known.activated) {
            return false;
        }
        let Some(plan) = self.plans.get(session) else { return true };
        let none = (String::new(), BTreeMap::new());
        let (group, labels) = match (self.live.get(name), known) {
            (Some(live), _) => (&live.group, &live.labels),
            (None, Some(known)) => (&known.group, &known.labels),
            (None, None) => (&none.0, &none.1),
        };
        plan.value.agents.means(name, group, labels)
    }

    /// The state of an agent in a session, as on the board.
    pub fn state_of(&self, plan: &SessionPlan, agent: &str) -> AgentState {
        let task = self.tasks.get(&(plan.id.clone(), agent.to_owned()));
        task.filter(|task| task.run == plan.run).map_or(AgentState::Available, |task| task.state)
    }

    /// Whether the process that took a task is still there.
    pub(crate) fn holds(&self, agent: &str, task: &AgentTask) -> bool {
        self.live.get(agent).is_some_and(|agent| agent.incarnation == task.incarnation)
    }
}

fn put<K: Ord, T: serde::de::DeserializeOwned>(map: &mut BTreeMap<K, T>, key: K, pair: &Pair) -> bool {
    match keys::parse::<T>(pair) {
        Some(read) => {
            map.insert(key, read.value);
            true
        }
        None => false,
    }
}
