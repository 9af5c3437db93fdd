//! Follows the board: takes the sessions that are meant for this agent, stops those that are to end, and
//! reports what became of them.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use wec_board::{AgentState, AgentsView, PlanState, RunRef, SessionPlan, Versioned};
use wec_startup::{Stop, say};

use super::admin::Admin;
use super::part::{self, PartEnd, PartState, RunningPart};
use super::this_agent::{Agent, Status};

/// How often to look even if nothing has changed: reports that could not be written are repeated, and
/// sessions whose agents have died are ended.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What is running here.
#[derive(Default)]
struct Parts {
    running: BTreeMap<String, RunningPart>,
    /// The states that the board has of them, with their reasons.
    reported: BTreeMap<String, (AgentState, String)>,
    /// Parts that have ended and are not reported yet.
    ended: Vec<PartEnd>,
    tasks: JoinSet<PartEnd>,
}

/// Until `stop`, or until a drained agent has nothing left to do.
pub(super) async fn follow(agent: Rc<Agent>, admin: &Admin, stop: &Stop) {
    let mut view = agent.board.agents();
    let mut parts = Parts::default();
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stops = false;
    loop {
        let seen = view.borrow_and_update().clone();
        if admin.drains() && !agent.presence.info().draining {
            say("draining: no more sessions are taken");
            agent.presence.change(|info| info.draining = true);
        }
        parts.stop_what_is_to_end(&seen);
        if !stops && !admin.drains() {
            parts.take(&agent, &seen, stop).await;
        }
        parts.report(&agent).await;
        admin.show(parts.status(&agent));
        if (stops || admin.drains()) && parts.running.is_empty() && parts.ended.is_empty() {
            return;
        }
        tokio::select! {
            changed = view.changed() => if changed.is_err() { return },
            _ = looks.tick() => {
                // Others do it as well, so a failure only delays it.
                if let Err(error) = agent.board.conclude_plans().await {
                    tracing::debug!(%error, "the states of sessions cannot be updated now");
                }
            }
            Some(ended) = parts.tasks.join_next() => parts.end(ended),
            () = admin.changed() => {}
            () = agent.changes.notified() => {}
            () = stop.finish.cancelled(), if !stops => stops = true,
            // A board that cannot be reached gets no report.
            () = stop.cut.cancelled(), if stops && parts.running.is_empty() => return,
        }
    }
}

/// What to do about a planned session that is not running here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// It is meant for this agent, and has a run that it has not had.
    Take,
    Leave,
}

/// Whether an agent takes a session: a pure decision. The board decides whether it had that run already.
pub(super) fn wanted(view: &AgentsView, plan: &SessionPlan, agent: &str) -> Wanted {
    let meant = view.meant(plan).any(|one| one.name == agent);
    let over = matches!(
        view.state_of(plan, agent),
        AgentState::TestFinished | AgentState::TestStopped | AgentState::Error
    );
    // Who left in the middle may be back: only the board knows which process it was.
    let left = view.tasks.get(&(plan.id.clone(), agent.to_owned())).is_some_and(|task| task.left);
    let takes = plan.state == PlanState::Running && meant && view.is_usable(agent) && (!over || left);
    if takes { Wanted::Take } else { Wanted::Leave }
}

/// How a part that runs here goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PartGoes {
    On,
    /// Running chains may finish.
    ToItsEnd,
    /// Running chains are interrupted.
    AtOnce,
}

/// How a part of this run goes on, given its session if it still exists: it ends when the session is stopped or deleted,
/// or is another run by now.
pub(super) fn goes(plan: Option<&SessionPlan>, run: &str) -> PartGoes {
    let Some(plan) = plan else { return PartGoes::AtOnce };
    match plan.state {
        PlanState::Running if plan.run == run => PartGoes::On,
        // Also a part of an earlier run, which may not have ended yet.
        _ if plan.cut => PartGoes::AtOnce,
        _ => PartGoes::ToItsEnd,
    }
}

impl Parts {
    fn stop_what_is_to_end(&self, view: &AgentsView) {
        for (session, part) in &self.running {
            let goes = goes(view.plans.get(session).map(|plan| &plan.value), &part.run.run);
            if goes != PartGoes::On {
                part.stop.finish.cancel();
            }
            if goes == PartGoes::AtOnce {
                part.stop.cut.cancel();
            }
        }
    }

    async fn take(&mut self, agent: &Rc<Agent>, view: &AgentsView, stop: &Stop) {
        let info = agent.presence.info();
        for (id, plan) in &view.plans {
            let had: BTreeSet<_> = self.ended.iter().map(|outcome| &outcome.run.run).collect();
            if self.running.contains_key(id) || had.contains(&plan.value.run) {
                continue;
            }
            if wanted(view, &plan.value, &info.name) != Wanted::Take {
                continue;
            }
            match agent.board.take_task(plan, &info).await {
                Ok(Some(task)) => {
                    let times = if task.taken > 1 { ", again" } else { "" };
                    say(format_args!("session {id}: taken{times}, run {}", task.run));
                    self.begin(agent, plan, stop);
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "cannot take session {id} now"),
            }
        }
    }

    fn begin(&mut self, agent: &Rc<Agent>, plan: &Versioned<SessionPlan>, stop: &Stop) {
        let plan = plan.value.clone();
        let run = RunRef::new(&plan.id, &plan.run);
        let part =
            RunningPart { run, stop: stop.apart(), state: PartState::preparing(Rc::clone(&agent.changes)) };
        self.reported.insert(plan.id.clone(), part.state.now());
        self.running.insert(plan.id.clone(), part.clone());
        self.tasks.spawn_local(part::run(Rc::clone(agent), plan, part));
    }

    fn end(&mut self, ended: Result<PartEnd, tokio::task::JoinError>) {
        match ended {
            Ok(outcome) => {
                self.running.remove(&outcome.run.session);
                self.reported.remove(&outcome.run.session);
                say(format_args!(
                    "session {}: {}{}",
                    outcome.run.session,
                    outcome.state.map_or("left", AgentState::name),
                    if outcome.reason.is_empty() { String::new() } else { format!(": {}", outcome.reason) }
                ));
                self.ended.push(outcome);
            }
            // A panic ends the process.
            Err(error) => tracing::error!(%error, "a session ended by a panic"),
        }
    }

    /// Writes what the board does not know yet.
    async fn report(&mut self, agent: &Agent) {
        let info = agent.presence.info();
        for (session, part) in &self.running {
            let (state, reason) = part.state.now();
            let lack =
                (state == AgentState::TestRunning).then(|| agent.board.quorum(session).lack()).flatten();
            let now = (state, lack.unwrap_or(reason));
            if self.reported.get(session) == Some(&now) {
                continue;
            }
            match agent.board.report_task(&part.run, &info, state, &now.1).await {
                Ok(()) => drop(self.reported.insert(session.clone(), now)),
                Err(error) => tracing::debug!(%error, "cannot write the state of {session} to the board yet"),
            }
        }
        let (mut untold, any) = (Vec::new(), !self.ended.is_empty());
        for outcome in std::mem::take(&mut self.ended) {
            let PartEnd { run, state, reason } = &outcome;
            let told = match state {
                Some(state) => agent.board.report_task(run, &info, *state, reason).await,
                None => agent.board.leave_task(run, &info, "the agent was stopped").await,
            };
            if let Err(error) = told {
                tracing::warn!(%error, "cannot write the end of session {} to the board yet", run.session);
                untold.push(outcome);
            }
        }
        self.ended = untold;
        if any && let Err(error) = agent.board.conclude_plans().await {
            tracing::debug!(%error, "the states of sessions cannot be updated now");
        }
    }

    fn status(&self, agent: &Agent) -> Status {
        let sessions = self.running.iter().map(|(id, part)| (id.clone(), part.state.now().0.name()));
        Status { sessions: sessions.collect(), ..agent.status() }
    }
}
