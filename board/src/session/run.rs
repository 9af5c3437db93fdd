//! A run of a session: who takes part, when it and its scenarios began, and when they are over.

use super::{By, Change, Session, SessionState};
use crate::{BoardError, NodeInfo};

impl Session {
    /// Notes since when time stands still, or how long it did.
    pub(super) fn mark_time(&mut self, at_unix_ns: u64) {
        match (self.state, self.paused_unix_ns) {
            (SessionState::Paused, None) => {
                // Before it has begun there is no time to stand still.
                self.paused_unix_ns = self.began_unix_ns.map(|began| at_unix_ns.max(began));
            }
            (SessionState::Running, Some(since)) => {
                self.paused_ns = self.paused_ns.saturating_add(at_unix_ns.saturating_sub(since));
                self.paused_unix_ns = None;
            }
            _ => {}
        }
    }

    /// This session begun at a moment; none when it has begun.
    pub(crate) fn begun(&self, at_unix_ns: u64) -> Option<Self> {
        if self.began_unix_ns.is_some() {
            return None;
        }
        let mut next = Self { began_unix_ns: Some(at_unix_ns), last_changes: Vec::new(), ..self.clone() };
        next.mark_time(at_unix_ns);
        Some(next)
    }

    /// The same of a scenario that waited for another one.
    pub(crate) fn scenario_begun(&self, scenario: &str, at_unix_ns: u64) -> Option<Self> {
        let active = self.active_ns(at_unix_ns)?;
        let mut next = Self { last_changes: Vec::new(), ..self.clone() };
        let target = next.scenarios.get_mut(scenario).filter(|target| target.begins_ns.is_none())?;
        target.begins_ns = Some(active);
        Some(next)
    }

    /// This session after nothing more of a scenario starts on a node; none when that was known.
    pub(crate) fn scenario_over(&self, scenario: &str, node: &str, live: &[NodeInfo]) -> Option<Self> {
        let mut next = Self { last_changes: Vec::new(), ..self.clone() };
        let target = next.scenarios.get_mut(scenario)?;
        if target.over_on.iter().any(|known| known == node) {
            return None;
        }
        target.over_on.push(node.to_owned());
        let runs_it = |member: &String| {
            let lives = live.iter().any(|node| node.id == *member);
            lives && !self.done.contains(member) && !target.over_on.contains(member)
        };
        target.ended = !self.members.iter().any(runs_it);
        Some(next)
    }

    /// What a node finds that wants to take part in `wanted`: the session that is there, when others are at it, or its own,
    /// when what is there has been left by all of them.
    pub(crate) fn joined_or_created(
        there: Option<&Self>,
        wanted: &Self,
        node: &str,
        live: &[NodeInfo],
    ) -> Result<Self, BoardError> {
        let lives = |id: &String| id != node && live.iter().any(|node| node.id == *id);
        let mut taken = match there.filter(|there| there.members.iter().any(lives)) {
            Some(there) if there.state == SessionState::Stopped => {
                return Err(BoardError::Ending(there.id.clone()));
            }
            Some(there) => Self { last_changes: Vec::new(), ..there.clone() },
            None => wanted.clone(),
        };
        if !taken.members.iter().any(|member| member == node) {
            taken.members.push(node.to_owned());
        }
        Ok(taken)
    }

    /// This session after a node's part of it is over; stopped when it was the last of those who live. None when that
    /// changes nothing.
    pub(crate) fn done_by(&self, node: &str, by: By, at_unix_ns: u64, live: &[NodeInfo]) -> Option<Self> {
        if self.done.iter().any(|done| done == node) {
            return None;
        }
        let mut next = Self { last_changes: Vec::new(), ..self.clone() };
        next.done.push(node.to_owned());
        let works =
            |member: &String| !next.done.contains(member) && live.iter().any(|node| node.id == *member);
        if !self.members.iter().any(works) {
            let stopped = next.after(&Change::state(by, SessionState::Stopped), at_unix_ns);
            next = stopped.ok().flatten().unwrap_or(next);
        }
        Some(next)
    }
}
