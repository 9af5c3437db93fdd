//! One session on this agent: from its keys on the board to its outcome.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use tokio::sync::{Notify, watch};
use wec_acme::DiscoverError;
use wec_board::{
    AgentInfo, AgentState, Board, BoardError, LoadUnit, NodeId, NodeInfo, Phase, RunRef, Session,
    SessionPlan, SessionState, Shares, Strength,
};
use wec_record::{MarkBy, MarkWhat};
use wec_requester::{Delivered, Node, PROGRAM, RemotePart, Secrets, StartError, plan_for_agent, run_on};
use wec_startup::{Interrupted, Stop};

use super::this_agent::Agent;

/// Pause between attempts to join a session whose earlier run is still ending.
const AGAIN: Duration = Duration::from_millis(500);

/// How long a CA that cannot be reached is tried again: agents that take a session at the same moment can be too many
/// new connections at once.
const REACHES_CA_WITHIN: Duration = Duration::from_secs(60);

/// How often the agent computes what it offers again, because targets and shares of other sessions change.
const OFFER_EVERY: Duration = Duration::from_secs(1);

/// A part of a session that runs here.
#[derive(Clone, Debug)]
pub(super) struct RunningPart {
    pub(super) run: RunRef,
    pub(super) stop: Stop,
    pub(super) state: PartState,
}

/// The state of a part, with the reason, for people. Clones are of the same part.
#[derive(Clone, Debug)]
pub(super) struct PartState {
    now: Rc<RefCell<(AgentState, String)>>,
    changes: Rc<Notify>,
}

impl PartState {
    /// Of a part that begins; each change of it is notified.
    pub(super) fn preparing(changes: Rc<Notify>) -> Self {
        Self { now: Rc::new(RefCell::new((AgentState::Preparing, String::new()))), changes }
    }

    pub(super) fn now(&self) -> (AgentState, String) {
        self.now.borrow().clone()
    }

    fn set(&self, state: AgentState, reason: impl Into<String>) {
        *self.now.borrow_mut() = (state, reason.into());
        self.changes.notify_one();
    }
}

/// How a part ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PartEnd {
    pub(super) run: RunRef,
    /// None if this process leaves in the middle, and its next one may continue.
    pub(super) state: Option<AgentState>,
    /// For people.
    pub(super) reason: String,
}

/// Runs a session that this agent has taken, until it has ended here.
pub(super) async fn run(agent: Rc<Agent>, plan: SessionPlan, part: RunningPart) -> PartEnd {
    let RunningPart { run, stop, state } = part;
    let ended = run_or_refuse(&agent, &plan, &run, &stop, &state).await;
    let (state, reason) = match ended {
        Ok(delivered) => (
            if stopped(&agent, &run, &stop) { AgentState::TestStopped } else { AgentState::TestFinished },
            summary(&delivered),
        ),
        Err(error) if error.is::<Interrupted>() => {
            (AgentState::TestStopped, "stopped before its load began".to_owned())
        }
        Err(error) => match error.downcast_ref::<BoardError>() {
            Some(BoardError::RunOver { .. }) => {
                (AgentState::TestFinished, "the others had ended the run".to_owned())
            }
            _ => {
                tracing::warn!(session = run.session, "cannot run the session: {error:#}");
                (AgentState::Error, format!("{error:#}"))
            }
        },
    };
    // The agent is stopped, not the session.
    let leaves = state == AgentState::TestStopped && stop.by_signal() && !was_ended_by_others(&agent, &run);
    PartEnd { run, state: (!leaves).then_some(state), reason }
}

async fn run_or_refuse(
    agent: &Rc<Agent>,
    session: &SessionPlan,
    run: &RunRef,
    stop: &Stop,
    state: &PartState,
) -> anyhow::Result<Delivered> {
    let info = agent.presence.info();
    if session.program != PROGRAM {
        bail!(
            "agent {} is {PROGRAM}, and session {} was made by {}: all must be of one version",
            info.name,
            session.id,
            session.program
        );
    }
    let consent = &agent.consent;
    let secrets =
        Secrets::Allowed { references: consent.secrets.clone(), variables: consent.variables.clone() };
    let plan = plan_for_agent(&session.keys, &consent.local, secrets)
        .map_err(|mistakes| anyhow::anyhow!("{}", mistakes.to_string().replace('\n', "; ")))?;
    let challenges = stop.unless_stopped(agent.challenges(&plan)).await?;
    let mut unreachable_since = None;
    loop {
        let node = Node {
            clock: agent.clock,
            id: NodeId::new(info.name.clone()),
            session: session.id.clone(),
            run: Some(run.run.clone()),
        };
        let shown = state.clone();
        let runs = Box::new(move || shown.set(AgentState::TestRunning, ""));
        let (tell, strength) = watch::channel(offered(&agent.board, &info, &session.id));
        let _offering = offer(tell, Rc::clone(agent), session.id.clone());
        let part = RemotePart {
            node,
            strength,
            options: agent.delivery.clone(),
            challenges: Arc::clone(&challenges),
            began: runs,
            hooks: consent.hooks.clone(),
        };
        let ended = run_on(&agent.board, part, &plan, stop).await;
        let pause = match &ended {
            Err(_) if state.now().0 != AgentState::Preparing => return ended,
            // The nodes of an earlier run of this session are still there, or the board cannot be reached for a moment.
            Err(error) if is_passing(error) => {
                state.set(AgentState::Preparing, format!("trying again: {error:#}"));
                AGAIN
            }
            Err(error)
                if cannot_reach_ca(error)
                    && unreachable_since.get_or_insert_with(tokio::time::Instant::now).elapsed()
                        < REACHES_CA_WITHIN =>
            {
                tracing::warn!(session = run.session, "trying again: {error:#}");
                state.set(AgentState::Preparing, format!("trying again: {error:#}"));
                AGAIN.mul_f64(rand::random_range(1.0..5.0))
            }
            _ => return ended,
        };
        let pause = async {
            tokio::time::sleep(pause).await;
            Ok::<_, BoardError>(())
        };
        stop.unless_stopped(pause).await?;
    }
}

/// Whether another attempt to join a session may succeed.
fn is_passing(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref();
    matches!(error, Some(BoardError::Ending(_) | BoardError::Unreachable { .. } | BoardError::Lost { .. }))
}

/// Whether the CA gave no answer at all.
fn cannot_reach_ca(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(StartError::Ca(DiscoverError::Unreachable(_))))
}

/// Computes again what the agent offers to a session when its shares in other sessions may have changed, until the
/// returned handle is dropped.
fn offer(tell: watch::Sender<Strength>, agent: Rc<Agent>, session: String) -> LocalTask {
    LocalTask(tokio::task::spawn_local(async move {
        let mut nodes = agent.board.nodes();
        loop {
            let now = offered(&agent.board, &agent.presence.info(), &session);
            tell.send_if_modified(|known| std::mem::replace(known, now) != now);
            tokio::select! {
                changed = nodes.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(OFFER_EVERY) => {}
            }
        }
    }))
}

/// A task of the agent's thread, aborted when this is dropped.
struct LocalTask(tokio::task::JoinHandle<()>);

impl Drop for LocalTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What an agent offers to a session at this moment.
fn offered(board: &Board, agent: &AgentInfo, session: &str) -> Strength {
    let Some(strength) = agent.strength else { return Strength::UNMEASURED };
    let (nodes, view) = (board.nodes().borrow().clone(), board.agents().borrow().clone());
    // A session that nobody planned has no agent to offer it less.
    let order = |session: &str| {
        let started = view.plans.get(session).map_or(0, |plan| plan.value.since_unix_ns);
        Order(started, session.to_owned())
    };
    let shares_another = |node: &&NodeInfo| {
        node.name == agent.name && node.session != session && node.shares_load_of(&node.session)
    };
    let others = nodes.iter().filter(shares_another).filter_map(|node| {
        let other = board.session(&node.session).borrow().clone()?;
        let shares = board.shares(&node.session).borrow().clone();
        Some((order(&node.session), used(&other.value, &shares, &node.id)))
    });
    left(strength, &order(session), others)
}

/// The order of sessions in which they get an agent's strength: by their start, then by id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Order(u64, String);

/// An agent's strength less what it does for earlier sessions. If later ones counted, too, each of two sessions would
/// leave to the other what it does not have, for ever by turns.
fn left(strength: Strength, own: &Order, others: impl Iterator<Item = (Order, Strength)>) -> Strength {
    others.filter(|(order, _)| order < own).fold(strength, |left, (_, used)| left.less(&used))
}

/// A node's share of what a session wants now.
fn used(session: &Session, shares: &Shares, node: &str) -> Strength {
    if session.spec.state == SessionState::Stopped {
        return Strength::NONE;
    }
    let running = session.spec.scenarios.iter().filter(|(name, _)| session.phase(name) == Phase::Running);
    running.fold(Strength::NONE, |mut used, (_, target)| {
        let unit =
            if target.rate_unit == LoadUnit::Requests.name() { LoadUnit::Requests } else { LoadUnit::Chains };
        match target.rate {
            Some(rate) => {
                let thousandths = (shares.rate(node, unit, rate) * 1_000.0).round() as u64;
                let of_unit = if unit == LoadUnit::Requests { &mut used.requests } else { &mut used.chains };
                *of_unit = of_unit.saturating_add(thousandths);
            }
            None => used.workers = used.workers.saturating_add(shares.workers(node, target.workers)),
        }
        used
    })
}

/// Whether the session was stopped, by whomever, and did not end by itself.
fn stopped(agent: &Agent, run: &RunRef, stop: &Stop) -> bool {
    stop.by_signal() || was_ended_by_others(agent, run)
}

/// Whether people or a threshold stopped the session.
fn was_ended_by_others(agent: &Agent, run: &RunRef) -> bool {
    let plan = agent.board.agents().borrow().plans.get(&run.session).map(|plan| plan.value.clone());
    // Deleted, stopped, or running as another run.
    if plan.is_none_or(|plan| plan.run != run.run || plan.state != wec_board::PlanState::Running) {
        return true;
    }
    let session = agent.board.session(&run.session).borrow().clone();
    session.is_some_and(|session| {
        let spec = &session.value.spec;
        let by_others = |by: &MarkBy| !matches!(by, MarkBy::Schedule | MarkBy::Signal);
        let stops = |mark: &wec_record::Mark| mark.what == MarkWhat::State && by_others(&mark.by);
        spec.state == SessionState::Stopped && spec.last_changes.iter().any(|change| stops(&change.mark))
    })
}

fn summary(delivered: &Delivered) -> String {
    let Delivered { iterations, succeeded, .. } = delivered;
    let lost = delivered.health.lost;
    let lost = if lost > 0 { format!(", {lost} results lost") } else { String::new() };
    format!("{iterations} iterations, {succeeded} succeeded{lost}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use wec_board::{Held, Limits, NodeShare, Target};

    use super::*;

    #[test]
    fn what_an_agent_uses_in_a_session_is_its_share_of_each_target() {
        let target = |workers, rate, unit: &str| Target {
            workers,
            rate,
            rate_unit: unit.to_owned(),
            ..Target::default()
        };
        let scenarios = [
            ("closed", target(10, None, "")),
            ("open", target(900, Some(40.0), "chains")),
            ("requests", target(900, Some(8.0), "requests")),
            ("later", Target { waits: true, ..target(500, None, "") }),
        ];
        let scenarios = scenarios.map(|(name, target)| (name.to_owned(), target)).into();
        let session = Session::new("s", scenarios, Limits::default());
        let strength =
            |part: u64| Strength { chains: part * 1_000, requests: part * 1_000, workers: part as u32 };
        let share = |part| NodeShare {
            registration: 1,
            strength: strength(part),
            limit: None,
            held: Held::default(),
        };
        let nodes = BTreeMap::from([("a".to_owned(), share(100)), ("b".to_owned(), share(300))]);
        let shares = Shares { epoch: 1, nodes };
        let expected = Strength { chains: 30_000, requests: 6_000, workers: 8 };
        let of_a = Strength { chains: 10_000, requests: 2_000, workers: 2 };
        assert_eq!((used(&session, &shares, "b"), used(&session, &shares, "a")), (expected, of_a));
        assert_eq!(used(&session, &shares, "c"), Strength::NONE);
        assert_eq!(strength(100).less(&of_a), Strength { chains: 90_000, requests: 98_000, workers: 98 });
        let mut stopped = session.clone();
        stopped.spec.state = SessionState::Stopped;
        assert_eq!(used(&stopped, &shares, "b"), Strength::NONE);
    }

    /// Sessions with these targets on one agent of 40/s: all compute at the same moment what they are offered, again and
    /// again.
    #[test]
    fn shares_of_sessions_on_one_agent_settle_and_are_never_more_than_its_strength() {
        let strength = Strength { chains: 40_000, ..Strength::UNMEASURED };
        let session = |(number, rate): (usize, &f64)| {
            let target = Target { rate: Some(*rate), rate_unit: "chains".to_owned(), ..Target::default() };
            let id = format!("s{number}");
            Session::new(id, [("default".to_owned(), target)].into(), Limits::default())
        };
        for (started, targets, expected) in [
            ([1, 1, 1], [30.0, 30.0, 30.0], [30_000, 10_000, 0]),
            ([3, 2, 1], [30.0, 30.0, 30.0], [0, 10_000, 30_000]),
            ([2, 1, 3], [10.0, 20.0, 5.0], [10_000, 20_000, 5_000]),
        ] {
            let sessions: Vec<_> = targets.iter().enumerate().map(session).collect();
            let order = |number: usize| Order(started[number], sessions[number].spec.id.clone());
            let mut offers = [strength; 3];
            let used = |number: usize, offers: &[Strength; 3]| {
                let share = NodeShare {
                    registration: 1,
                    strength: offers[number],
                    limit: None,
                    held: Held::default(),
                };
                let shares = Shares { epoch: 1, nodes: BTreeMap::from([("a".to_owned(), share)]) };
                used(&sessions[number], &shares, "a")
            };
            for _ in 0..sessions.len() {
                let before = offers;
                offers = std::array::from_fn(|number| {
                    let others = (0..sessions.len()).filter(|other| *other != number);
                    let others = others.map(|other| (order(other), used(other, &before)));
                    left(strength, &order(number), others)
                });
            }
            let shares: [u64; 3] = std::array::from_fn(|number| used(number, &offers).chains);
            assert_eq!(shares, expected, "started {started:?}, targets {targets:?}");
        }
    }
}
