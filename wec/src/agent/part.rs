//! One session on this agent: from its keys on the board to its outcome.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use wec_board::{AgentState, BoardError, NodeId, RunRef, SessionPlan, SessionState};
use wec_record::{MarkBy, MarkWhat};
use wec_requester::{Delivered, Node, PROGRAM, RemotePart, Secrets, plan_for_agent, run_on};
use wec_startup::{Interrupted, Stop};

use super::follow::Agent;

/// Pause between attempts to join a session whose earlier run is still ending.
const AGAIN: Duration = Duration::from_millis(500);

/// A part of a session that runs here.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) run: RunRef,
    pub(super) stop: Stop,
    pub(super) state: Rc<Cell<AgentState>>,
}

/// How a part ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) run: RunRef,
    /// None if this process leaves in the middle, and its next one may continue.
    pub(super) state: Option<AgentState>,
    /// For people.
    pub(super) reason: String,
}

/// Runs a session that this agent has taken, until it has ended here.
pub(super) async fn run(agent: Rc<Agent>, plan: SessionPlan, part: Part) -> Outcome {
    let Part { run, stop, state } = part;
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
    Outcome { run, state: (!leaves).then_some(state), reason }
}

async fn run_or_refuse(
    agent: &Rc<Agent>,
    session: &SessionPlan,
    run: &RunRef,
    stop: &Stop,
    state: &Rc<Cell<AgentState>>,
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
    loop {
        let node = Node {
            clock: agent.clock,
            id: NodeId::new(info.name.clone()),
            session: session.id.clone(),
            run: Some(run.run.clone()),
        };
        let (state, changes) = (Rc::clone(state), Rc::clone(&agent.changes));
        let began = Box::new(move || {
            state.set(AgentState::TestRunning);
            changes.notify_one();
        });
        let part = RemotePart {
            node,
            strength: info.strength,
            options: agent.delivery.clone(),
            challenges: Arc::clone(&challenges),
            began,
        };
        let ended = run_on(&agent.board, part, &plan, stop).await;
        match &ended {
            // The nodes of an earlier run of this session are still there.
            Err(error) if matches!(error.downcast_ref(), Some(BoardError::Ending(_))) => {
                stop.unless_stopped(async { Ok::<_, BoardError>(tokio::time::sleep(AGAIN).await) }).await?;
            }
            _ => return ended,
        }
    }
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
