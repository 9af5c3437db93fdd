//! When a run of a planned session has ended: a pure decision, which any process that sees the board may make.

use std::time::Duration;

use super::plan::{PlanAction, PlanState, SessionPlan};
use super::task::{AgentState, AgentTask};
use super::view::AgentsView;

/// How long a run waits for its agents to come back when all of them were lost, or have left.
pub(crate) const LOST_AFTER: Duration = Duration::from_secs(60);
/// Why the part of an agent that was lost has ended.
const LOST: &str = "lost: the agent was not seen again before the run had ended";

/// An agent and its part.
type Part<'a> = (&'a str, &'a AgentTask);

/// The session after a look at its agents; none if nothing changes. `aborted` is why its load was broken off,
/// if it was.
pub(crate) fn concluded(
    plan: &SessionPlan,
    view: &AgentsView,
    aborted: Option<&str>,
    now_unix_ns: u64,
) -> Option<SessionPlan> {
    if !plan.state.is_active() {
        return None;
    }
    let act = |action: PlanAction, reason: String| {
        // The table has these actions for both states.
        plan.acted(action, now_unix_ns).ok().map(|next| SessionPlan {
            reason,
            unattended_since_unix_ns: None,
            ..next
        })
    };
    let tasks: Vec<_> = view.tasks_of(plan).collect();
    let (held, lost): (Vec<_>, Vec<_>) = tasks
        .iter()
        .copied()
        .filter(|(_, task)| task.state.is_active())
        .partition(|(agent, task)| view.holds(agent, task));
    let stops = plan.state == PlanState::Stopping;
    let may_take = |name: &str| {
        let task = tasks.iter().find(|(agent, _)| *agent == name);
        view.is_usable(name)
            && task.is_none_or(|(agent, task)| task.may_be_taken_again() && !view.holds(agent, task))
    };
    let ends_earlier = view.earlier_tasks_of(plan).next().is_some();
    if !held.is_empty() || ends_earlier || !stops && view.meant(plan).any(|agent| may_take(&agent.name)) {
        let attended = SessionPlan { unattended_since_unix_ns: None, ..plan.clone() };
        return plan.unattended_since_unix_ns.is_some().then_some(attended);
    }
    if tasks.is_empty() {
        // A run that no agent has taken waits for one.
        return if stops { act(PlanAction::Finish, String::new()) } else { None };
    }
    let left: Vec<Part<'_>> = tasks.iter().copied().filter(|(_, task)| task.left).collect();
    let failed: Vec<Part<'_>> =
        tasks.iter().copied().filter(|(_, task)| task.state == AgentState::Error).collect();
    let named = |(what, which): (&str, &[Part<'_>])| {
        let names: Vec<_> = which.iter().map(|(agent, _)| *agent).collect();
        (!names.is_empty()).then(|| format!("{what}: {}", names.join(", ")))
    };
    let reason = [("lost", &*lost), ("left", &*left), ("failed", &*failed)].into_iter().filter_map(named);
    let reason = reason.collect::<Vec<_>>().join("; ");
    // Others have run the load to its end without the agents that left.
    let finished = tasks.iter().any(|(_, task)| task.state == AgentState::TestFinished);
    let away = lost.len() + if finished { 0 } else { left.len() };
    if away > 0 && !stops && aborted.is_none() {
        return match plan.unattended_since_unix_ns {
            None => Some(SessionPlan { unattended_since_unix_ns: Some(now_unix_ns), ..plan.clone() }),
            Some(since) if now_unix_ns.saturating_sub(since) < LOST_AFTER.as_nanos() as u64 => None,
            Some(_) if away < tasks.len() => act(PlanAction::Finish, reason),
            Some(_) => act(PlanAction::Abort, reason),
        };
    }
    if let Some(why) = aborted {
        return act(PlanAction::Abort, why.to_owned());
    }
    if plan.cut {
        return act(PlanAction::Abort, "stopped at once".to_owned());
    }
    if failed.len() == tasks.len() {
        let (agent, task) = failed[0];
        return act(PlanAction::Fail, format!("{agent}: {}", task.reason));
    }
    act(PlanAction::Finish, reason)
}

/// The parts of a run that has ended of agents that were lost, each as it is reported for them.
pub(crate) fn lost_parts(
    plan: &SessionPlan,
    view: &AgentsView,
    now_unix_ns: u64,
) -> Vec<(String, AgentTask)> {
    let lost = view.tasks_of(plan).filter(|(agent, task)| task.state.is_active() && !view.holds(agent, task));
    let reported = |task: &AgentTask| AgentTask {
        state: AgentState::Error,
        reason: LOST.to_owned(),
        since_unix_ns: now_unix_ns,
        ..task.clone()
    };
    lost.map(|(agent, task)| (agent.to_owned(), reported(task))).collect()
}
