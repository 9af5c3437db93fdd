//! Changes of a session, and their effect.

use serde::{Deserialize, Serialize};
use wec_record::{Mark, MarkValue, MarkedLimit};

use super::{By, ChangeTo, Session, SessionState, Versioned};
use crate::BoardError;

/// A requested change.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Its author.
    pub by: By,
    /// The name of the author's token; empty without one.
    pub who: String,
    /// Its scenario; none if the session has only one, and for a change of the whole session.
    pub scenario: Option<String>,
    /// The new value.
    pub to: ChangeTo,
}

impl Change {
    /// A change of the session, or of its only scenario.
    pub const fn new(by: By, to: ChangeTo) -> Self {
        Self { by, who: String::new(), scenario: None, to }
    }

    /// A change of the number of workers.
    pub const fn workers(by: By, workers: u32) -> Self {
        Self::new(by, ChangeTo::Workers(workers))
    }

    /// A change to running, paused or stopped.
    pub const fn state(by: By, state: SessionState) -> Self {
        Self::new(by, ChangeTo::State(state))
    }

    /// The same change for this scenario.
    pub fn of(self, scenario: impl Into<String>) -> Self {
        Self { scenario: Some(scenario.into()), ..self }
    }
}

/// The result of changes that were requested together.
#[derive(Clone, Debug, PartialEq)]
pub struct Made {
    /// The session after the changes.
    pub session: Versioned<Session>,
    /// The changes with an effect, in order.
    pub changes: Vec<Changed>,
}

/// A change that was made, with its mark in the log. Its time is that of the node that made it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Changed {
    /// The session's id.
    pub session: String,
    /// Who changed what, from what, to what, and when.
    #[serde(flatten)]
    pub mark: Mark,
}

impl Session {
    /// This session after all of `changes`, or none without an effect.
    ///
    /// # Errors
    /// When one of them cannot be made; see [`Session::after`].
    pub(crate) fn after_all(&self, changes: &[Change], at_unix_ns: u64) -> Result<Option<Self>, BoardError> {
        let mut now = self.clone();
        now.spec.last_changes.clear();
        for change in changes {
            now = now.after(change, at_unix_ns)?.unwrap_or(now);
        }
        Ok((!now.spec.last_changes.is_empty()).then_some(now))
    }

    /// This session after one more change, or none without an effect.
    ///
    /// A schedule's change of a scenario whose value was set by a person has no effect.
    ///
    /// # Errors
    /// When the session does not have the scenario of the change, or the change cannot be made.
    pub(super) fn after(&self, change: &Change, at_unix_ns: u64) -> Result<Option<Self>, BoardError> {
        let (mut next, began) = (self.clone(), self.status.began_unix_ns);
        let spec = &mut next.spec;
        let (scenario, from, to) = match &change.to {
            ChangeTo::State(state) => {
                let from = spec.change_state(*state, at_unix_ns, began);
                (String::new(), MarkValue::State(from.into()), MarkValue::State((*state).into()))
            }
            ChangeTo::Limit(limited, limit) => {
                let shown = |limit: Option<u64>| {
                    MarkValue::Limits(vec![MarkedLimit { objects: limited.name().to_owned(), limit }])
                };
                let from = std::mem::replace(limited.of(&mut spec.limits), *limit);
                (String::new(), shown(from), shown(*limit))
            }
            _ => {
                let scenario = self.scenario_of(change)?;
                let active_ns = self.active_of(&scenario, self.active_ns(at_unix_ns).unwrap_or_default());
                let target = spec.scenarios.get_mut(&scenario).expect("just found");
                if change.by == By::Schedule && !target.scheduled {
                    return Ok(None);
                }
                let Some((from, to)) = target.change(change.by, &change.to, &scenario, active_ns)? else {
                    return Ok(None);
                };
                (scenario, from, to)
            }
        };
        // Ending the stages is a change, even if they had the same value at that moment.
        if from == to && spec.scenarios == self.spec.scenarios {
            return Ok(None);
        }
        let (by, what) = (change.by.into(), change.to.what());
        let mark = Mark { at_unix_ns, by, who: change.who.clone(), scenario, what, from, to };
        spec.last_changes.push(Changed { session: self.spec.id.clone(), mark });
        Ok(Some(next))
    }

    fn scenario_of(&self, change: &Change) -> Result<String, BoardError> {
        let mut names = self.spec.scenarios.keys();
        match (&change.scenario, names.next(), names.next()) {
            (Some(name), ..) if self.spec.scenarios.contains_key(name) => Ok(name.clone()),
            (None, Some(only), None) => Ok(only.clone()),
            (named, ..) => Err(BoardError::NoScenario {
                session: self.spec.id.clone(),
                named: named.clone(),
                known: self.spec.scenarios.keys().cloned().collect::<Vec<_>>().join(", "),
            }),
        }
    }
}
