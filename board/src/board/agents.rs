//! The operations on agents and planned sessions. Each is a read, a decision and a write, repeated after a concurrent
//! write.

use std::collections::BTreeMap;

use tokio::sync::watch;
use wec_record::Plan;

use super::{ATTEMPTS, Board, give_way};
use crate::agents::conclude::{concluded, lost_parts};
use crate::agents::info::{AgentInfo, Registration};
use crate::agents::plan::{PlanAction, PlanUpdate, SessionPlan};
use crate::agents::presence::AgentPresence;
use crate::agents::task::{AgentState, AgentTask};
use crate::agents::view::AgentsView;
use crate::kv::{Pair, Write};
use crate::{Author, BoardError, Change, RunRef, Session, SessionState, Versioned, keys};

/// A planned session with what was read of it.
struct Read {
    /// 0 if it does not exist.
    version: u64,
    plan: Option<SessionPlan>,
}

impl Board {
    /// Agents and planned sessions, now and after each change.
    pub fn agents(&self) -> watch::Receiver<AgentsView> {
        self.view.agents()
    }

    /// Agents and planned sessions as the board has them at this moment.
    ///
    /// # Errors
    /// When the board cannot be read.
    pub async fn agents_now(&self) -> Result<AgentsView, BoardError> {
        let mut pairs = Vec::new();
        for prefix in keys::OF_AGENTS {
            pairs.extend(self.kv.list(prefix, "reading the agents").await?);
        }
        Ok(AgentsView::of(&pairs))
    }

    /// Registers an agent and puts it on the board until the returned presence is dropped. What people set
    /// for its name stays.
    ///
    /// # Errors
    /// When a live agent has its name, or the board cannot be written.
    pub async fn register_agent(&self, info: AgentInfo) -> Result<AgentPresence, BoardError> {
        let presence = AgentPresence::begin(self.kv.clone(), info.clone(), &self.memberships).await?;
        self.registration(&info.name, |there| {
            let known = there.unwrap_or_else(|| Registration::reserved(&info.name, info.since_unix_ns));
            Ok(Some(known.of(&info)))
        })
        .await?;
        Ok(presence)
    }

    /// Reserves a place for an agent that is expected.
    ///
    /// # Errors
    /// When the name is known already, or the board cannot be written.
    pub async fn add_agent(&self, name: &str) -> Result<Registration, BoardError> {
        let at = self.now();
        let added = self.registration(name, |there| match there {
            Some(_) => Err(BoardError::AgentKnown(name.to_owned())),
            None => Ok(Some(Registration::reserved(name, at))),
        });
        let added = added.await?.unwrap_or_else(|| Registration::reserved(name, at));
        // It counts for the quorum also before its agent comes.
        self.reserve_place(name).await?;
        Ok(added)
    }

    /// Allows sessions to use an agent, or not. What it runs already goes on.
    ///
    /// # Errors
    /// When there is no such agent, or the board cannot be written.
    pub async fn set_agent_activated(&self, name: &str, activated: bool) -> Result<Registration, BoardError> {
        let set = self.registration(name, |there| match there {
            Some(known) => Ok(Some(Registration { activated, ..known })),
            None => Err(BoardError::NoAgent(name.to_owned())),
        });
        set.await?.ok_or_else(|| BoardError::NoAgent(name.to_owned()))
    }

    /// Forgets an agent that is not live.
    ///
    /// # Errors
    /// When there is no such agent, it is live, or the board cannot be written.
    pub async fn remove_agent(&self, name: &str) -> Result<(), BoardError> {
        let live = self.kv.get(&keys::agent(name), "removing an agent").await?;
        let removed = self.registration(name, |there| match (there, &live) {
            (None, None) => Err(BoardError::NoAgent(name.to_owned())),
            (_, Some(_)) => Err(BoardError::AgentLives(name.to_owned())),
            (Some(_), None) => Ok(None),
        });
        removed.await?;
        self.remove_place(name).await
    }

    /// Writes the registration of a name; none deletes it.
    async fn registration(
        &self,
        name: &str,
        next: impl Fn(Option<Registration>) -> Result<Option<Registration>, BoardError>,
    ) -> Result<Option<Registration>, BoardError> {
        let (key, doing) = (keys::registered(name), "changing an agent");
        for losses in 0..ATTEMPTS {
            give_way(losses).await;
            let pair = self.kv.get(&key, doing).await?;
            let now = pair.as_ref().and_then(keys::parse::<Registration>).map(|now| now.value);
            let next = next(now)?;
            let after = pair.map_or(0, |pair| pair.version);
            let write = match &next {
                Some(next) => Write::put(key.clone(), Some(after), keys::json(next)),
                None => Write { after: Some(after), ..Write::delete(key.clone()) },
            };
            if self.kv.write_if(vec![write], doing).await?.is_some() {
                return Ok(next);
            }
        }
        Err(BoardError::Contended(name.to_owned()))
    }

    /// Puts a planned session on the board.
    ///
    /// # Errors
    /// When there is one with its id, or a session of that id that was not planned has live nodes, or the
    /// board cannot be written.
    pub async fn create_plan(
        &self,
        plan: SessionPlan,
        by: impl Into<Author>,
    ) -> Result<SessionPlan, BoardError> {
        let by = &by.into();
        let at = self.now();
        let plan = SessionPlan { since_unix_ns: at, ..plan }.changed(by, at, "create".to_owned());
        let id = plan.id.clone();
        let spoken_for = || BoardError::PlanExists(id.clone());
        if self.read_plan(&id).await?.version != 0 || self.has_nodes(&id).await? {
            return Err(spoken_for());
        }
        let write = Write::put(keys::plan(&id), Some(0), keys::json(&plan));
        match self.kv.write_if(vec![write], "creating a session").await? {
            Some(_) => Ok(plan),
            // An earlier attempt may have been made although its answer was lost.
            None if self.read_plan(&id).await?.plan.as_ref() == Some(&plan) => Ok(plan),
            None => Err(spoken_for()),
        }
    }

    /// Whether a live node is in the session.
    async fn has_nodes(&self, session: &str) -> Result<bool, BoardError> {
        let nodes = self.kv.list(keys::NODES, "reading the nodes").await?;
        let nodes = nodes.iter().filter_map(keys::parse::<crate::NodeInfo>);
        let mut requesters =
            nodes.map(|node| node.value).filter(|node| node.kind == crate::NodeKind::Requester);
        Ok(requesters.any(|node| node.session == session))
    }

    /// A planned session as the board has it at this moment.
    ///
    /// # Errors
    /// When there is none with this id, or the board cannot be read.
    pub async fn plan(&self, id: &str) -> Result<SessionPlan, BoardError> {
        self.read_plan(id).await?.plan.ok_or_else(|| BoardError::NoPlan(id.to_owned()))
    }

    async fn read_plan(&self, id: &str) -> Result<Read, BoardError> {
        let pair = self.kv.get(&keys::plan(id), "reading a session").await?;
        let read = |pair: &Pair| keys::parse::<SessionPlan>(pair).map(|read| read.value);
        Ok(Read { version: pair.as_ref().map_or(0, |pair| pair.version), plan: pair.as_ref().and_then(read) })
    }

    /// Starts a planned session as this run.
    ///
    /// # Errors
    /// When there is no such session, its state does not allow it, or the board cannot be written.
    pub async fn start_plan(
        &self,
        id: &str,
        run: &str,
        by: impl Into<Author>,
    ) -> Result<SessionPlan, BoardError> {
        let by = &by.into();
        let at = self.now();
        self.change_plan(id, |plan| {
            if plan.run == run {
                // An earlier attempt was made although its answer was lost.
                return Ok(None);
            }
            let started = plan.acted(PlanAction::Start, at)?.of_run(run);
            Ok(Some(started.changed(by, at, "start".to_owned())))
        })
        .await
    }

    /// Stops a planned session; with `cut`, running chains are interrupted.
    ///
    /// # Errors
    /// When there is no such session, its state does not allow it, or the board cannot be written.
    pub async fn stop_plan(
        &self,
        id: &str,
        cut: bool,
        by: impl Into<Author>,
    ) -> Result<SessionPlan, BoardError> {
        let by = &by.into();
        let at = self.now();
        // Refused before anything is changed.
        let plan = self.plan(id).await?.acted(PlanAction::Stop, at)?;
        self.stop_load(&RunRef::new(id, &plan.run), by).await?;
        self.change_plan(id, |plan| {
            if plan.state == crate::PlanState::Stopping && (plan.cut || !cut) {
                return Ok(None);
            }
            let what = if cut { "stop at once" } else { "stop" };
            let stopped = SessionPlan { cut, ..plan.acted(PlanAction::Stop, at)? };
            Ok(Some(stopped.changed(by, at, what.to_owned())))
        })
        .await
    }

    /// Stops the load of a run, so that the change has its mark in the log. Nothing to do if no agent has
    /// begun, or it is another run by now.
    async fn stop_load(&self, run: &RunRef, author: &Author) -> Result<(), BoardError> {
        let stop = [Change { who: author.who.clone(), ..Change::state(author.by, SessionState::Stopped) }];
        let is_it = |session: &Session| {
            if session.status.run == run.run {
                Ok(())
            } else {
                Err(BoardError::NoSession(run.session.clone()))
            }
        };
        match self.change_all(&run.session, &stop, is_it).await {
            Err(BoardError::NoSession(_)) => Ok(()),
            stopped => stopped.map(drop),
        }
    }

    /// Changes what a planned session runs, or on which agents. If the target CA changes during a run, that
    /// run ends and another one begins. Returns the session and what changed.
    ///
    /// # Errors
    /// When there is no such session, the request is stale, its state does not allow it, or the board cannot
    /// be written.
    pub async fn update_plan(
        &self,
        id: &str,
        update: PlanUpdate,
        by: impl Into<Author>,
    ) -> Result<(SessionPlan, Vec<String>), BoardError> {
        let by = &by.into();
        let at = self.now();
        let before = self.plan(id).await?;
        let made = std::sync::Mutex::new(Vec::new());
        let after = self.change_plan(id, |plan| {
            let (next, changes) = plan.updated(&update, at)?;
            let next = changes.iter().fold(next, |next, change| next.changed(by, at, change.clone()));
            let changed = !changes.is_empty();
            *made.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = changes;
            Ok(changed.then_some(next))
        });
        let after = after.await?;
        if before.run != after.run && !before.run.is_empty() {
            self.stop_load(&RunRef::new(id, &before.run), by).await?;
        }
        Ok((after, made.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)))
    }

    /// Writes into a plan that targets of its run were changed: a later update knows of them, and the next run has
    /// them, if the keys are given.
    ///
    /// # Errors
    /// When the board cannot be written.
    pub async fn note_in_plan(
        &self,
        id: &str,
        keys: Option<(BTreeMap<String, String>, Box<Plan>)>,
        what: &[String],
        by: impl Into<Author>,
    ) -> Result<(), BoardError> {
        let by = &by.into();
        let at = self.now();
        let noted = self.change_plan(id, |plan| {
            let mut noted = what.iter().fold(plan.clone(), |plan, what| plan.changed(by, at, what.clone()));
            if let Some((keys, plan)) = &keys {
                (noted.keys, noted.plan) = (keys.clone(), Some(plan.clone()));
            }
            Ok((!what.is_empty()).then_some(noted))
        });
        match noted.await {
            // A session that nobody planned.
            Err(BoardError::NoPlan(_)) => Ok(()),
            noted => noted.map(drop),
        }
    }

    /// Puts a copy of a planned session on the board under another id.
    ///
    /// # Errors
    /// When there is no such session, the other id is taken, or the board cannot be written.
    pub async fn clone_plan(
        &self,
        id: &str,
        to: &str,
        program: &str,
        by: impl Into<Author>,
    ) -> Result<SessionPlan, BoardError> {
        let by = &by.into();
        let from = self.plan(id).await?;
        let copy = SessionPlan::new(to, program, from.keys);
        self.create_plan(SessionPlan { plan: from.plan, agents: from.agents, ..copy }, by.clone()).await
    }

    /// Deletes a planned session with its targets, reports and journal. Logs of its runs stay.
    ///
    /// # Errors
    /// When there is no such session, its state does not allow it, or the board cannot be written.
    pub async fn delete_plan(&self, id: &str, revision: Option<u64>) -> Result<(), BoardError> {
        let doing = "deleting a session";
        for losses in 0..ATTEMPTS {
            give_way(losses).await;
            let Read { version, plan } = self.read_plan(id).await?;
            let plan = plan.ok_or_else(|| BoardError::NoPlan(id.to_owned()))?;
            plan.fresh(revision)?;
            plan.acted(PlanAction::Delete, self.now())?;
            let mut writes = vec![Write { after: Some(version), ..Write::delete(keys::plan(id)) }];
            let of_run = [keys::session(id), keys::status(id), keys::shares(id)];
            writes.extend(of_run.map(Write::delete));
            for prefix in [keys::tasks(id), keys::pools(id), keys::journal(id)] {
                let pairs = self.kv.list(&prefix, doing).await?;
                writes.extend(pairs.into_iter().map(|pair| Write::delete(pair.key)));
            }
            // etcd has a bound on the operations of one transaction.
            let rest = writes.split_off(writes.len().min(AT_ONCE));
            if self.kv.write_if(writes, doing).await?.is_some() {
                for rest in rest.chunks(AT_ONCE) {
                    self.kv.write_if(rest.to_vec(), doing).await?;
                }
                return Ok(());
            }
        }
        Err(BoardError::Contended(id.to_owned()))
    }

    /// Takes the present run of a planned session for an agent; none if it has had that run, or the session
    /// was changed since this version of it.
    ///
    /// # Errors
    /// When the board cannot be written. Repeating it takes nothing twice.
    pub async fn take_task(
        &self,
        plan: &Versioned<SessionPlan>,
        agent: &AgentInfo,
    ) -> Result<Option<AgentTask>, BoardError> {
        let Versioned { version, value: plan } = plan;
        let (key, doing) = (keys::task(&plan.id, &agent.name), "taking a session");
        let pair = self.kv.get(&key, doing).await?;
        let there = pair.as_ref().and_then(keys::parse::<AgentTask>).map(|task| task.value);
        let Some(next) = AgentTask::next(there.as_ref(), &plan.run, &agent.incarnation, self.now()) else {
            return Ok(None);
        };
        let after = pair.map_or(0, |pair| pair.version);
        let unchanged = Write::unchanged(keys::plan(&plan.id), *version);
        let writes = vec![unchanged, Write::put(key, Some(after), keys::json(&next))];
        Ok(self.kv.write_if(writes, doing).await?.map(|_| next))
    }

    /// Reports the state of an agent in a run that it took. Nothing happens if it is no longer its task.
    ///
    /// # Errors
    /// When the board cannot be written; it can safely be repeated.
    pub async fn report_task(
        &self,
        run: &RunRef,
        agent: &AgentInfo,
        state: AgentState,
        reason: &str,
    ) -> Result<(), BoardError> {
        let next = |task: &AgentTask| AgentTask { state, reason: reason.to_owned(), ..task.clone() };
        self.change_task(run, agent, next).await
    }

    /// Reports that an agent's process leaves a run that it took: its next process may take it again.
    ///
    /// # Errors
    /// As for [`Board::report_task`].
    pub async fn leave_task(&self, run: &RunRef, agent: &AgentInfo, reason: &str) -> Result<(), BoardError> {
        let (state, left) = (AgentState::TestStopped, true);
        let next = |task: &AgentTask| AgentTask { state, reason: reason.to_owned(), left, ..task.clone() };
        self.change_task(run, agent, next).await
    }

    /// Writes the result of `next` for the agent's task, if it is still its task.
    async fn change_task(
        &self,
        run: &RunRef,
        agent: &AgentInfo,
        next: impl Fn(&AgentTask) -> AgentTask,
    ) -> Result<(), BoardError> {
        let (key, doing) = (keys::task(&run.session, &agent.name), "reporting a session's state");
        for losses in 0..ATTEMPTS {
            give_way(losses).await;
            let Some(pair) = self.kv.get(&key, doing).await? else { return Ok(()) };
            let Some(Versioned { version, value: task }) = keys::parse::<AgentTask>(&pair) else {
                return Ok(());
            };
            if task.run != run.run || task.incarnation != agent.incarnation {
                return Ok(());
            }
            let next = next(&task);
            if next == task {
                return Ok(());
            }
            let since_unix_ns = if next.state == task.state { task.since_unix_ns } else { self.now() };
            let next = AgentTask { since_unix_ns, ..next };
            let write = Write::put(key.clone(), Some(version), keys::json(&next));
            if self.kv.write_if(vec![write], doing).await?.is_some() {
                return Ok(());
            }
        }
        Err(BoardError::Contended(run.session.clone()))
    }

    /// Ends the planned sessions whose agents have all ended their parts, or were lost. Every agent does it,
    /// and so does every command that shows sessions: it does not depend on one of them.
    ///
    /// # Errors
    /// When the board cannot be read or written.
    pub async fn conclude_plans(&self) -> Result<(), BoardError> {
        let view = self.agents_now().await?;
        let at = self.now();
        for (id, Versioned { version, value: plan }) in &view.plans {
            if !plan.state.is_active() {
                continue;
            }
            let session = self.session(id).borrow().clone();
            let aborted = session.as_ref().and_then(|session| broken_off(&session.value, &plan.run));
            let Some(next) = concluded(plan, &view, aborted, at) else { continue };
            let mut writes = vec![Write::put(keys::plan(id), Some(*version), keys::json(&next))];
            if !next.state.is_active() {
                for (agent, lost) in lost_parts(plan, &view, at).into_iter().take(AT_ONCE) {
                    writes.extend(self.lost_part(id, &agent, &lost).await?);
                }
            }
            // Somebody else may be faster.
            self.kv.write_if(writes, "ending a session").await?;
        }
        Ok(())
    }

    /// The write of the part of an agent that was lost; none if the agent has taken it again.
    async fn lost_part(
        &self,
        session: &str,
        agent: &str,
        lost: &AgentTask,
    ) -> Result<Option<Write>, BoardError> {
        let key = keys::task(session, agent);
        let Some(pair) = self.kv.get(&key, "ending a session").await? else { return Ok(None) };
        let there = keys::parse::<AgentTask>(&pair).map(|there| there.value);
        let is_it = there.is_some_and(|there| {
            (&there.run, &there.incarnation) == (&lost.run, &lost.incarnation) && there.state.is_active()
        });
        Ok(is_it.then(|| Write::put(key, Some(pair.version), keys::json(lost))))
    }

    /// Writes the result of `next` for a planned session; none changes nothing.
    async fn change_plan(
        &self,
        id: &str,
        next: impl Fn(&SessionPlan) -> Result<Option<SessionPlan>, BoardError>,
    ) -> Result<SessionPlan, BoardError> {
        for losses in 0..ATTEMPTS {
            give_way(losses).await;
            let Read { version, plan } = self.read_plan(id).await?;
            let plan = plan.ok_or_else(|| BoardError::NoPlan(id.to_owned()))?;
            let Some(next) = next(&plan)? else { return Ok(plan) };
            let write = Write::put(keys::plan(id), Some(version), keys::json(&next));
            if self.kv.write_if(vec![write], "changing a session").await?.is_some() {
                return Ok(next);
            }
        }
        Err(BoardError::Contended(id.to_owned()))
    }

    fn now(&self) -> u64 {
        self.clock.unix_now_ns()
    }
}

/// Writes in one transaction; etcd allows 128.
const AT_ONCE: usize = 100;

/// Why the load of this run was broken off, if it was.
fn broken_off<'a>(session: &'a Session, run: &str) -> Option<&'a str> {
    let stopped = session.status.run == run && session.spec.state == SessionState::Stopped;
    let by_threshold =
        session.spec.last_changes.iter().any(|change| {
            change.mark.by == wec_record::MarkBy::Threshold && change.mark.new_state().is_some()
        });
    (stopped && by_threshold).then_some("a threshold failed")
}
