//! When a run of a planned session has ended: a pure decision, which any process that sees the board may make.

use std::time::Duration;

use super::plan::{PlanAction, SessionPlan};
use super::task::AgentState;
use super::view::AgentsView;

/// How long a run waits for its agents to come back when all of them were lost.
pub(crate) const LOST_AFTER: Duration = Duration::from_secs(60);

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
    let stops = plan.state == super::plan::PlanState::Stopping;
    let may_take = |name: &str| {
        let task = tasks.iter().find(|(agent, _)| *agent == name);
        view.is_usable(name)
            && task.is_none_or(|(agent, task)| task.may_be_taken_again() && !view.holds(agent, task))
    };
    if !held.is_empty() || !stops && view.meant(plan).any(|agent| may_take(&agent.name)) {
        let attended = SessionPlan { unattended_since_unix_ns: None, ..plan.clone() };
        return plan.unattended_since_unix_ns.is_some().then_some(attended);
    }
    if tasks.is_empty() {
        // A run that no agent has taken waits for one.
        return if stops { act(PlanAction::Finish, String::new()) } else { None };
    }
    let named = |which: &[(&str, &super::task::AgentTask)]| {
        which.iter().map(|(agent, _)| *agent).collect::<Vec<_>>().join(", ")
    };
    if !lost.is_empty() && !stops {
        return match plan.unattended_since_unix_ns {
            None => Some(SessionPlan { unattended_since_unix_ns: Some(now_unix_ns), ..plan.clone() }),
            Some(since) if now_unix_ns.saturating_sub(since) < LOST_AFTER.as_nanos() as u64 => None,
            Some(_) if lost.len() < tasks.len() => act(PlanAction::Finish, format!("lost: {}", named(&lost))),
            Some(_) => act(PlanAction::Abort, format!("lost: {}", named(&lost))),
        };
    }
    if let Some(why) = aborted {
        return act(PlanAction::Abort, why.to_owned());
    }
    if plan.cut {
        return act(PlanAction::Abort, "stopped at once".to_owned());
    }
    let failed: Vec<_> = tasks.iter().copied().filter(|(_, task)| task.state == AgentState::Error).collect();
    if failed.len() == tasks.len() {
        let (agent, task) = failed[0];
        return act(PlanAction::Fail, format!("{agent}: {}", task.reason));
    }
    let reason = match (lost.is_empty(), failed.is_empty()) {
        (false, _) => format!("lost: {}", named(&lost)),
        (true, false) => format!("failed: {}", named(&failed)),
        (true, true) => String::new(),
    };
    act(PlanAction::Finish, reason)
}
