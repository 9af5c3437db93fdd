//! The values that can be changed during a run: one table, from which the web API's bodies and the commands of
//! `wec session` come.
//!
//! A new number needs a row in [`LiveValue::ALL`], a variant of [`ChangeTo`], and a field of [`Target`] that
//! [`Target::change`] changes. Forms and lists of values come from the row. Its effect is in the code that follows the
//! session.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use wec_fleet::MAX_SPEED;
use wec_record::plan::{MAX_RATE, MAX_WORKERS};
use wec_record::{MarkValue, MarkWhat, MarkedWeight};

use super::{By, Limited, SessionState, Target};
use crate::BoardError;

/// A value that can be changed during a run.
#[derive(Debug)]
pub struct LiveValue {
    /// Its key in a body of the web API, and the `what` of marks.
    pub key: &'static str,
    /// Its description in the web API's documentation.
    pub about: &'static str,
    /// Whether each scenario has one; otherwise the session has it.
    pub of_scenario: bool,
    /// Its type and bounds.
    pub kind: LiveKind,
    /// The command of `wec session` that changes it; none if the command reads more than a number.
    pub command: Option<LiveCommand>,
}

/// Type and bounds of a value. The smallest number is 0.
#[derive(Debug)]
pub enum LiveKind {
    /// A whole number.
    Whole {
        /// The largest number allowed.
        most: u32,
        /// The number now; none if the scenario has none.
        now: fn(&Target) -> Option<u32>,
        /// Its label and unit in forms; the unit is empty for a number without one.
        label: fn(&Target) -> (&'static str, String),
        /// Makes the change.
        to: fn(u32) -> ChangeTo,
    },
    /// Any number.
    Number {
        /// The largest number allowed.
        most: f64,
        /// The number now; none if the scenario has none.
        now: fn(&Target) -> Option<f64>,
        /// Its label and unit in forms; the unit is empty for a number without one.
        label: fn(&Target) -> (&'static str, String),
        /// Its unit, for messages.
        unit: &'static str,
        /// Makes the change.
        to: fn(f64) -> ChangeTo,
    },
    /// A text.
    Text {
        /// A value, for messages.
        example: &'static str,
        /// Checks the text and makes the change. The message of an error has the text and what is allowed.
        to: fn(&str) -> Result<ChangeTo, String>,
    },
    /// A number for each named chain.
    Weights,
    /// A number or none for each named [`Limited`].
    Limits,
    /// The name of a [`SessionState`].
    State,
}

/// A command, as its help shows it.
#[derive(Debug)]
pub struct LiveCommand {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    /// The name of its argument.
    pub value_name: &'static str,
    /// The help of its argument.
    pub value_help: &'static str,
}

impl LiveValue {
    /// All values, in the order in which they are read.
    pub const ALL: [Self; 6] = [
        Self {
            key: "state",
            about: "Running, paused or stopped. A stopped session stays stopped.",
            of_scenario: false,
            kind: LiveKind::State,
            command: None,
        },
        Self {
            key: "limits",
            about: "Limits to set; `null` removes a limit. The others stay.",
            of_scenario: false,
            kind: LiveKind::Limits,
            command: None,
        },
        Self {
            key: "workers",
            about: "Number of virtual users, or the largest number allowed if the scenario has a rate.",
            of_scenario: true,
            kind: LiveKind::Whole {
                most: MAX_WORKERS,
                now: |target| Some(target.workers),
                label: |target| match target.rate {
                    Some(_) => ("At most", "workers".to_owned()),
                    None => ("Workers", String::new()),
                },
                to: ChangeTo::Workers,
            },
            command: Some(LiveCommand {
                name: "workers",
                about: "Change the number of virtual users; for a scenario with a rate, the largest number allowed",
                value_name: "N",
                value_help: "Number of workers",
            }),
        },
        Self {
            key: "rate",
            about: "Arrivals per second, in the scenario's `rate_unit`; only for a scenario with a rate.",
            of_scenario: true,
            kind: LiveKind::Number {
                most: MAX_RATE,
                now: |target| target.rate,
                label: |target| ("Rate", format!("{}/s", target.rate_unit)),
                unit: "a second",
                to: ChangeTo::Rate,
            },
            command: None,
        },
        Self {
            key: "weights",
            about: "Weights to set; the other chains keep theirs.",
            of_scenario: true,
            kind: LiveKind::Weights,
            command: None,
        },
        Self {
            key: "event",
            about: "One more event of the scenario's fleet, as `outage 10m`: now, or `at` a time of the fleet's clock; only \
                    for a scenario with a fleet.",
            of_scenario: true,
            kind: LiveKind::Text { example: "outage 10m", to: event },
            command: Some(LiveCommand {
                name: "event",
                about: "Add an event to the fleet that a scenario drives: an outage, a revocation, a limit, another \
                        lifetime, growth",
                value_name: "EVENT",
                value_help: "As in wec fleet plan: \"outage 10m\", \"revoke 10%\", \"limit 300/s for 1h\", \"lifetime 90d -> \
                             47d\", \"growth 1%/d\". It happens now, or `at` a time of the fleet's clock",
            }),
        },
    ];

    /// A change to another value than the target's, for tests that try each row; none for a value of the session.
    pub fn sample(&self, target: &Target) -> Option<ChangeTo> {
        let other = |now: bool| if now { 8 } else { 7 };
        match &self.kind {
            LiveKind::Whole { now, to, .. } => Some(to(other(now(target) == Some(7)))),
            LiveKind::Number { now, to, .. } => Some(to(other(now(target) == Some(7.0)).into())),
            LiveKind::Text { example, to } => to(example).ok(),
            LiveKind::Weights => Some(ChangeTo::Weights(BTreeMap::from([(
                "certificate".to_owned(),
                other(target.weights.get("certificate") == Some(&7.0)).into(),
            )]))),
            LiveKind::Limits | LiveKind::State => None,
        }
    }

    /// The values of each scenario, or those of the session.
    pub fn all(of_scenario: bool) -> impl Iterator<Item = &'static Self> {
        const ALL: &[LiveValue] = &LiveValue::ALL;
        ALL.iter().filter(move |value| value.of_scenario == of_scenario)
    }
}

/// The most events that are added to a fleet.
const MOST_EVENTS: usize = 1_000;

/// Checks an event. It begins when a node reads it, if it has no time.
fn event(text: &str) -> Result<ChangeTo, String> {
    wec_fleet::Event::live(text, 0).map(|_| ChangeTo::Event(text.to_owned()))
}

/// The new value of a change.
#[derive(Clone, Debug, PartialEq)]
pub enum ChangeTo {
    /// [`Target::workers`].
    Workers(u32),
    /// [`Target::rate`], for a scenario with a rate.
    Rate(f64),
    /// Some of [`Target::weights`]; the others are unchanged.
    Weights(BTreeMap<String, f64>),
    /// One more of [`Target::events`].
    Event(String),
    /// One of [`SessionSpec::limits`](super::SessionSpec::limits); none removes it.
    Limit(Limited, Option<u64>),
    /// [`SessionSpec::state`](super::SessionSpec::state). A stopped session stays stopped for its nodes.
    State(SessionState),
}

impl ChangeTo {
    /// What changes, as in marks.
    pub const fn what(&self) -> MarkWhat {
        match self {
            Self::Workers(_) => MarkWhat::Workers,
            Self::Rate(_) => MarkWhat::Rate,
            Self::Weights(_) => MarkWhat::Weights,
            Self::Event(_) => MarkWhat::Event,
            Self::Limit(..) => MarkWhat::Limits,
            Self::State(_) => MarkWhat::State,
        }
    }

    /// The new value, if it is a number.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Workers(workers) => Some(f64::from(*workers)),
            Self::Rate(rate) => Some(*rate),
            Self::Weights(_) | Self::Event(_) | Self::Limit(..) | Self::State(_) => None,
        }
    }

    /// The new value in a body of the web API, under the key of its [`LiveValue`].
    pub fn json(&self) -> Value {
        match self {
            Self::Workers(workers) => json!(workers),
            Self::Rate(rate) => json!(rate),
            Self::Weights(weights) => json!(weights),
            Self::Event(event) => json!(event),
            Self::Limit(limited, limit) => json!({ limited.name(): limit }),
            Self::State(state) => json!(state.name()),
        }
    }

    /// The value that is changed.
    pub fn live(&self) -> &'static LiveValue {
        let key = self.what().to_string();
        let mut all = LiveValue::all(true).chain(LiveValue::all(false));
        all.find(|value| value.key == key).expect("a test looks up the row of every change")
    }
}

impl Target {
    /// Makes the change at an active time of the scenario; returns the values before and after, or nothing
    /// without an effect.
    pub(super) fn change(
        &mut self,
        by: By,
        to: &ChangeTo,
        scenario: &str,
        active_ns: u64,
    ) -> Result<Option<(MarkValue, MarkValue)>, BoardError> {
        if let Some(refused) = self.refuses(to, scenario) {
            return Err(refused);
        }
        let (from, to) = match to {
            ChangeTo::Workers(workers) => {
                // For a scenario with a rate the number of workers is only a cap, and stages are of the rate.
                let held = if self.rate.is_none() { self.end_stages(by, active_ns) } else { None };
                let before = std::mem::replace(&mut self.workers, *workers);
                let from = held.map_or(before, |held| held.value.round() as u32);
                let values = (MarkValue::Workers(from), MarkValue::Workers(*workers));
                return Ok((before != *workers || went_on(held)).then_some(values));
            }
            ChangeTo::Rate(rate) => {
                let held = self.end_stages(by, active_ns);
                // Without a rate it was refused.
                let before = self.rate.replace(*rate).unwrap_or_default();
                let from = held.map_or(before, |held| (held.value * 100.0).round() / 100.0);
                let values = (MarkValue::Rate(from), MarkValue::Rate(*rate));
                return Ok((before != *rate || went_on(held)).then_some(values));
            }
            ChangeTo::Weights(weights) => {
                let different: Vec<_> = weights
                    .iter()
                    .filter(|(chain, weight)| self.weights.get(*chain) != Some(weight))
                    .collect();
                let shown = |weight: &dyn Fn(&str) -> Option<f64>| {
                    let shown = different
                        .iter()
                        .map(|(chain, _)| MarkedWeight { chain: (*chain).clone(), weight: weight(chain) });
                    MarkValue::Weights(shown.collect())
                };
                let from = shown(&|chain| self.weights.get(chain).copied());
                let to = shown(&|chain| weights.get(chain).copied());
                self.weights.extend(weights.iter().map(|(chain, weight)| (chain.clone(), *weight)));
                (from, to)
            }
            ChangeTo::Event(event) => {
                self.events.get_or_insert_default().push(event.clone());
                (MarkValue::default(), MarkValue::Text(event.clone()))
            }
            ChangeTo::Limit(..) | ChangeTo::State(_) => return Ok(None),
        };
        Ok((from != to).then_some((from, to)))
    }

    /// Why this target cannot have the change; none if it can.
    pub fn refuses(&self, to: &ChangeTo, scenario: &str) -> Option<BoardError> {
        let scenario = scenario.to_owned();
        match (to, &self.events) {
            (ChangeTo::Rate(_), _) if self.rate.is_none() => Some(BoardError::NoRate { scenario }),
            (ChangeTo::Rate(speed), Some(_)) if *speed > MAX_SPEED => {
                Some(BoardError::TooFast { scenario, speed: *speed, most: MAX_SPEED })
            }
            (ChangeTo::Weights(_), Some(_)) => Some(BoardError::OnlyRenews { scenario }),
            (ChangeTo::Event(_), None) => Some(BoardError::NoFleet { scenario }),
            (ChangeTo::Event(_), Some(events)) if events.len() >= MOST_EVENTS => {
                Some(BoardError::TooManyEvents { scenario, most: MOST_EVENTS })
            }
            _ => None,
        }
    }

    /// Ends the stages, because a person changes the value that they set. Returns their value, if they set it.
    fn end_stages(&mut self, by: By, active_ns: u64) -> Option<Held> {
        if by == By::Schedule || !std::mem::take(&mut self.scheduled) {
            return None;
        }
        Some(Held { value: self.stages_at(active_ns)?, went_on: self.stages_go_on(active_ns) })
    }
}

/// What stages had set when a change ended them.
#[derive(Clone, Copy)]
struct Held {
    value: f64,
    /// Whether they had not reached their end.
    went_on: bool,
}

/// A change during stages ends them, even if they had reached the same value.
fn went_on(held: Option<Held>) -> bool {
    held.is_some_and(|held| held.went_on)
}

#[cfg(test)]
mod tests {
    use super::super::StagePoint;
    use super::*;

    #[test]
    fn every_change_has_its_row() {
        let changes = [
            ChangeTo::State(SessionState::Paused),
            ChangeTo::Limit(Limited::Certificates, None),
            ChangeTo::Workers(1),
            ChangeTo::Rate(1.0),
            ChangeTo::Weights(BTreeMap::new()),
            ChangeTo::Event("outage 10m".to_owned()),
        ];
        assert_eq!(changes.each_ref().map(|to| to.live().key), LiveValue::ALL.map(|value| value.key));
        for value in LiveValue::ALL {
            let to = match value.kind {
                LiveKind::Whole { most, to, .. } => to(most),
                LiveKind::Number { most, to, .. } => to(most),
                LiveKind::Text { example, to } => {
                    let changed = to(example).unwrap();
                    assert_eq!((changed.live().key, changed.json()), (value.key, json!(example)));
                    assert!(to("").is_err());
                    continue;
                }
                LiveKind::Weights | LiveKind::Limits | LiveKind::State => continue,
            };
            assert_eq!((to.live().key, to.json().as_f64()), (value.key, to.number()));
        }
    }

    #[test]
    fn every_value_of_a_scenario_can_be_changed_and_only_those_of_stages_end_them() {
        let stages = vec![StagePoint { at_ns: 0, value: 5.0 }, StagePoint { at_ns: 100, value: 50.0 }];
        let staged = Target { scheduled: true, stages, workers: 50, ..Target::default() };
        let targets = [staged.clone(), Target { rate: Some(50.0), events: Some(Vec::new()), ..staged }];
        for (target, set_by_stages) in targets.iter().zip(["workers", "rate"]) {
            for row in LiveValue::all(true) {
                let to = row.sample(target).expect("a value of a scenario");
                let mut after = target.clone();
                match after.change(By::Page, &to, "a", 50) {
                    // A fleet has no weights to change.
                    Err(_) => assert!(target.rate.is_none() || row.key == "weights", "{}", row.key),
                    Ok(values) => {
                        assert!(values.is_some() && after != *target, "{} has no effect", row.key);
                        assert_eq!(after.scheduled, row.key != set_by_stages, "{}", row.key);
                        let now = match row.kind {
                            LiveKind::Whole { now, .. } => now(&after).map(f64::from),
                            LiveKind::Number { now, .. } => now(&after),
                            _ => None,
                        };
                        assert_eq!(now, to.number(), "{} is not the value now", row.key);
                    }
                }
            }
        }
    }

    #[test]
    fn the_speed_of_a_fleet_has_a_bound_and_its_clients_only_renew() {
        let fleet = Target { rate: Some(50.0), events: Some(Vec::new()), ..Target::default() };
        let renews = ChangeTo::Weights(BTreeMap::from([("certificate".to_owned(), 1.0)]));
        for (to, error) in [
            (ChangeTo::Rate(86_400.0), None),
            (ChangeTo::Rate(86_401.0), Some("86401 is not a speed of the fleet of scenario \"a\"")),
            (renews, Some("scenario \"a\" drives a fleet, whose clients only renew")),
        ] {
            let said = fleet.clone().change(By::Page, &to, "a", 50).err().map(|error| error.to_string());
            let expected = error.unwrap_or_default();
            assert!(
                said.is_some() == error.is_some() && said.unwrap_or_default().contains(expected),
                "{to:?}"
            );
        }
    }
}
