//! A run of a session: its nodes, its begin and that of its scenarios, and their ends.

use super::{By, Change, RunStatus, ScenarioStatus, Session, SessionState};
use crate::{BoardError, NodeInfo};

impl Session {
    /// This session, begun at a moment; none if it has begun.
    pub(crate) fn begun(&self, at_unix_ns: u64) -> Option<Self> {
        if self.status.began_unix_ns.is_some() {
            return None;
        }
        Some(self.reporting(|status| status.began_unix_ns = Some(at_unix_ns)))
    }

    /// The same for a scenario that waited for another one.
    pub(crate) fn scenario_begun(&self, scenario: &str, at_unix_ns: u64) -> Option<Self> {
        let active = self.active_ns(at_unix_ns)?;
        let has_begun = self.scenario_status(scenario)?.begins_ns.is_some();
        let begun = || self.reporting(|status| status.scenario(scenario).begins_ns = Some(active));
        (!has_begun).then(begun)
    }

    /// This session after a scenario has ended on a node; none if that is recorded.
    pub(crate) fn scenario_over(&self, scenario: &str, node: &str, live: &[NodeInfo]) -> Option<Self> {
        let mut over_on = self.scenario_status(scenario)?.over_on;
        if over_on.iter().any(|known| known == node) {
            return None;
        }
        over_on.push(node.to_owned());
        let runs_it = |member: &String| {
            let lives = live.iter().any(|node| node.id == *member);
            lives && !self.status.done.contains(member) && !over_on.contains(member)
        };
        let ended = !self.status.members.iter().any(runs_it);
        Some(self.reporting(|status| {
            let scenario = status.scenario(scenario);
            (scenario.over_on, scenario.ended) = (over_on, ended);
        }))
    }

    /// The session for a node that asks for `wanted`: the existing one if it has live nodes, or `wanted` if
    /// all its nodes have left.
    pub(crate) fn joined_or_created(
        there: Option<&Self>,
        wanted: &Self,
        node: &str,
        live: &[NodeInfo],
    ) -> Result<Self, BoardError> {
        let lives = |id: &String| id != node && live.iter().any(|node| node.id == *id);
        let taken = match there.filter(|there| there.status.members.iter().any(lives)) {
            Some(there) if there.spec.state == SessionState::Stopped => {
                return Err(BoardError::Ending(there.spec.id.clone()));
            }
            Some(there) => there,
            // All nodes of this run have left, and one of them is back.
            None => match there
                .filter(|there| there.status.run == wanted.status.run && !wanted.status.run.is_empty())
            {
                Some(there) if there.spec.state == SessionState::Stopped => {
                    let (session, run) = (there.spec.id.clone(), there.status.run.clone());
                    return Err(BoardError::RunOver { session, run });
                }
                Some(there) => there,
                None => wanted,
            },
        };
        Ok(taken.reporting(|status| {
            if !status.members.iter().any(|member| member == node) {
                status.members.push(node.to_owned());
            }
        }))
    }

    /// This session after a node's part is over; stopped after the last live node. None without an effect.
    pub(crate) fn done_by(&self, node: &str, by: By, at_unix_ns: u64, live: &[NodeInfo]) -> Option<Self> {
        if self.status.done.iter().any(|done| done == node) {
            return None;
        }
        let next = self.reporting(|status| status.done.push(node.to_owned()));
        let works = |member: &String| {
            !next.status.done.contains(member) && live.iter().any(|node| node.id == *member)
        };
        if next.status.members.iter().any(works) {
            return Some(next);
        }
        let stopped = next.after_all(&[Change::state(by, SessionState::Stopped)], at_unix_ns);
        Some(stopped.ok().flatten().unwrap_or(next))
    }

    /// This session after a node has left it in order, without an end of the run even if it was the last one. None
    /// without an effect.
    pub(crate) fn left_by(&self, node: &str) -> Option<Self> {
        let known = self.status.done.iter().any(|done| done == node);
        (!known).then(|| self.reporting(|status| status.done.push(node.to_owned())))
    }

    /// The same session with another report.
    fn reporting(&self, report: impl FnOnce(&mut RunStatus)) -> Self {
        let mut next = self.clone();
        report(&mut next.status);
        next
    }

    /// The report of a scenario; none if the session does not have it.
    fn scenario_status(&self, scenario: &str) -> Option<ScenarioStatus> {
        self.spec.scenarios.get(scenario)?;
        Some(self.status.scenarios.get(scenario).cloned().unwrap_or_default())
    }
}

impl RunStatus {
    fn scenario(&mut self, name: &str) -> &mut ScenarioStatus {
        self.scenarios.entry(name.to_owned()).or_default()
    }
}
