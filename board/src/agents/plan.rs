//! A session as people plan it: what to run, on which agents, and its state.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};
use utoipa::ToSchema;
use wec_record::Plan;

use super::info::Selection;
use crate::{Author, BoardError, By};

/// Number of changes that a plan keeps for people whose change is stale.
const CHANGES: usize = 20;

/// A planned session. Its targets during a run are in [`SessionSpec`](crate::SessionSpec).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionPlan {
    /// Unique on the board.
    pub id: String,
    /// Its state.
    pub state: PlanState,
    /// Since when, nanoseconds since the Unix epoch.
    pub since_unix_ns: u64,
    /// Why it has this state; empty if the state says it all.
    #[serde(default)]
    pub reason: String,
    /// The program that made it: agents of another version refuse it.
    pub program: String,
    /// The keys of its scenario file, with values as text. Secrets are references, never values.
    pub keys: BTreeMap<String, String>,
    /// The plan that these keys make.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wec_record::plan::lenient"
    )]
    pub plan: Option<Box<Plan>>,
    /// The agents that it is meant for.
    #[serde(default)]
    pub agents: Selection,
    /// The id of its run; empty before the first.
    #[serde(default)]
    pub run: String,
    /// Number of its runs.
    #[serde(default)]
    pub runs: u64,
    /// Whether chains that still run are interrupted while it stops.
    #[serde(default)]
    pub cut: bool,
    /// Since when no agent of its run is alive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unattended_since_unix_ns: Option<u64>,
    /// Grows by one with each change by a person.
    pub revision: u64,
    /// The last changes by people, in order.
    #[serde(default)]
    pub changes: Vec<PlanChange>,
}

/// A change of a plan by a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlanChange {
    /// The revision that it made.
    pub revision: u64,
    /// Its author: `page`, `cli` or `api`.
    #[schema(value_type = String)]
    pub by: By,
    /// The name of the author's token; empty without one.
    #[serde(default)]
    pub who: String,
    /// When, nanoseconds since the Unix epoch.
    pub at_unix_ns: u64,
    /// What changed, for people: `start`, `workers 5 → 8`.
    pub what: String,
}

impl PlanChange {
    /// Who made it, for people: `anna, by page`.
    pub fn author(&self) -> String {
        let by = self.by.name();
        if self.who.is_empty() { by } else { format!("{}, by {by}", self.who) }
    }
}

/// The state of a planned session.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    IntoStaticStr,
    VariantArray,
    strum::EnumString,
    ToSchema,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum PlanState {
    /// It can be started.
    Ready,
    /// Agents take it and make its load.
    Running,
    /// Its agents end their parts.
    Stopping,
    /// Its run has ended, by itself or because it was stopped.
    Stopped,
    /// Its run was broken off: by a threshold, by a person at once, or because its agents were lost.
    Aborted,
    /// No agent could run it.
    Error,
}

impl PlanState {
    /// All of them, in the order of a session's life.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// The name as on the board and in the API.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Whether agents run it or may take it.
    pub const fn is_active(self) -> bool {
        matches!(self, Self::Running | Self::Stopping)
    }
}

/// What people and agents do to a planned session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum PlanAction {
    /// A person starts a run.
    Start,
    /// A person stops the run.
    Stop,
    /// A person changes what it runs next.
    Update,
    /// A person changes the target CA: a run in progress ends, and another one begins.
    Retarget,
    /// A person deletes it.
    Delete,
    /// The last agent has ended its part.
    Finish,
    /// The run was broken off.
    Abort,
    /// Every agent refused or failed.
    Fail,
}

impl PlanAction {
    /// The name in messages.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Every allowed transition. What is not here is refused.
pub const TRANSITIONS: &[(PlanState, PlanAction, PlanState)] = {
    use PlanAction::{Abort, Delete, Fail, Finish, Retarget, Start, Stop, Update};
    use PlanState::{Aborted, Error, Ready, Running, Stopped, Stopping};
    &[
        (Ready, Start, Running),
        (Ready, Update, Ready),
        (Ready, Retarget, Ready),
        (Ready, Delete, Ready),
        (Running, Stop, Stopping),
        (Running, Retarget, Running),
        (Running, Finish, Stopped),
        (Running, Abort, Aborted),
        (Running, Fail, Error),
        // Again with `cut`.
        (Stopping, Stop, Stopping),
        (Stopping, Finish, Stopped),
        (Stopping, Abort, Aborted),
        (Stopping, Fail, Error),
        (Stopped, Start, Running),
        (Stopped, Update, Ready),
        (Stopped, Retarget, Ready),
        (Stopped, Delete, Stopped),
        (Aborted, Start, Running),
        (Aborted, Update, Ready),
        (Aborted, Retarget, Ready),
        (Aborted, Delete, Aborted),
        (Error, Start, Running),
        (Error, Update, Ready),
        (Error, Retarget, Ready),
        (Error, Delete, Error),
    ]
};

impl PlanState {
    /// The state after an action; none if it is not allowed.
    pub fn after(self, action: PlanAction) -> Option<Self> {
        TRANSITIONS.iter().find(|(from, by, _)| (*from, *by) == (self, action)).map(|(.., to)| *to)
    }

    /// The states in which an action is allowed.
    pub fn allowing(action: PlanAction) -> impl Iterator<Item = Self> {
        TRANSITIONS.iter().filter(move |(_, by, _)| *by == action).map(|(from, ..)| *from)
    }
}

impl SessionPlan {
    /// A session that can be started.
    pub fn new(id: impl Into<String>, program: impl Into<String>, keys: BTreeMap<String, String>) -> Self {
        Self {
            id: id.into(),
            state: PlanState::Ready,
            since_unix_ns: 0,
            reason: String::new(),
            program: program.into(),
            keys,
            plan: None,
            agents: Selection::default(),
            run: String::new(),
            runs: 0,
            cut: false,
            unattended_since_unix_ns: None,
            revision: 0,
            changes: Vec::new(),
        }
    }

    /// The CA's directory, without the query of its URL; empty for a session of an earlier version, which has no plan.
    pub fn directory(&self) -> &str {
        self.plan.as_ref().map_or("", |plan| &plan.directory)
    }

    /// This session after an action.
    ///
    /// # Errors
    /// When the state does not allow it; the message names the state.
    pub(crate) fn acted(&self, action: PlanAction, at_unix_ns: u64) -> Result<Self, BoardError> {
        let Some(state) = self.state.after(action) else {
            let allowed: Vec<_> = PlanState::allowing(action).map(PlanState::name).collect();
            return Err(BoardError::NotNow {
                session: self.id.clone(),
                action: action.name(),
                state: self.state.name(),
                allowed: allowed.join(", "),
            });
        };
        let since_unix_ns = if state == self.state { self.since_unix_ns } else { at_unix_ns };
        Ok(Self { state, since_unix_ns, reason: String::new(), ..self.clone() })
    }

    /// The same as another run.
    #[must_use]
    pub(crate) fn of_run(self, run: &str) -> Self {
        Self { run: run.to_owned(), runs: self.runs + 1, cut: false, unattended_since_unix_ns: None, ..self }
    }

    /// The same with a change by a person in its list.
    #[must_use]
    pub(crate) fn changed(mut self, author: &Author, at_unix_ns: u64, what: String) -> Self {
        self.revision += 1;
        let Author { by, who } = author.clone();
        self.changes.push(PlanChange { revision: self.revision, by, who, at_unix_ns, what });
        if self.changes.len() > CHANGES {
            self.changes.remove(0);
        }
        self
    }

    /// Whether a person who has seen this revision has seen the latest; without a revision, it is not checked.
    ///
    /// # Errors
    /// What changed since.
    pub(crate) fn fresh(&self, seen: Option<u64>) -> Result<(), BoardError> {
        let Some(seen) = seen.filter(|seen| *seen != self.revision) else { return Ok(()) };
        let since = self.changes.iter().filter(|change| change.revision > seen);
        let since: Vec<_> = since.map(|change| format!("{} by {}", change.what, change.author())).collect();
        let changes =
            if since.is_empty() { "its changes are no longer known".to_owned() } else { since.join("; ") };
        Err(BoardError::Stale { session: self.id.clone(), seen, revision: self.revision, changes })
    }
}

/// A request to change a planned session.
#[derive(Clone, Debug, Default)]
pub struct PlanUpdate {
    /// The revision that the person saw; none to change whatever is there.
    pub revision: Option<u64>,
    /// The keys after the change; none if they stay.
    pub keys: Option<(BTreeMap<String, String>, Box<Plan>)>,
    /// The agents; none if they stay.
    pub agents: Option<Selection>,
    /// The id of the run that begins if the target of a run in progress changes.
    pub run: String,
}

impl SessionPlan {
    /// This session after an update, with what changed.
    ///
    /// # Errors
    /// When it is stale, or the state does not allow it.
    pub(crate) fn updated(
        &self,
        update: &PlanUpdate,
        at_unix_ns: u64,
    ) -> Result<(Self, Vec<String>), BoardError> {
        self.fresh(update.revision)?;
        let mut changes = Vec::new();
        let keys = update.keys.as_ref().map_or(&self.keys, |(keys, _)| keys);
        for key in self.keys.keys().chain(keys.keys().filter(|key| !self.keys.contains_key(*key))) {
            let (from, to) = (self.keys.get(key), keys.get(key));
            if from != to {
                let shown = |value: Option<&String>| value.map_or("unset", String::as_str).to_owned();
                changes.push(format!("{key} {} → {}", shown(from), shown(to)));
            }
        }
        if let Some(agents) = update.agents.as_ref().filter(|agents| **agents != self.agents) {
            changes.push(format!("agents {} → {}", self.agents.shown(), agents.shown()));
        }
        if changes.is_empty() {
            return Ok((self.clone(), changes));
        }
        let retargets = keys.get("directory") != self.keys.get("directory");
        let mut next =
            self.acted(if retargets { PlanAction::Retarget } else { PlanAction::Update }, at_unix_ns)?;
        if let Some((keys, plan)) = &update.keys {
            (next.keys, next.plan) = (keys.clone(), Some(plan.clone()));
        }
        if let Some(agents) = &update.agents {
            next.agents = agents.clone();
        }
        if next.state == PlanState::Running {
            next = next.of_run(&update.run);
        }
        Ok((next, changes))
    }
}
