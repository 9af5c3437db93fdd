//! Changes of a session on the board: each change is checked as a whole before any part of it is made.
//!
//! The web API and `wec session` both use this module, so that both give the same answers. A change is
//! written to the board, and requesters follow the board; nothing is sent to them.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};
use wec_board::{
    Author, Board, BoardError, Change, ChangeTo, Limited, LiveKind, LiveValue, Made, Phase, Session,
    SessionState,
};
use wec_record::plan::MAX_WEIGHT;
use wec_record::{Chain, Mark};

/// All errors of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes(pub Vec<String>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The request has errors.
    #[error("{0}")]
    Mistakes(Mistakes),
    /// The board has no such session.
    #[error("session {0:?} is not on the board: start a run that follows it, or name another session")]
    NoSession(String),
    /// The session has no such scenario, or has several and none was named.
    #[error("{0}")]
    NoScenario(BoardError),
    /// The nodes of the session have left it.
    #[error("session {0:?} has been stopped and cannot continue: start another run")]
    Stopped(String),
    /// No more iterations of the scenario start.
    #[error("scenario {scenario:?} has ended, no more iterations of it start: {way_out}")]
    Ended {
        /// Its name.
        scenario: String,
        /// What to do instead.
        way_out: String,
    },
    /// The board could not be written.
    #[error("{0}")]
    Board(BoardError),
}

/// The result of a change.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// The session after the change.
    pub session: Session,
    /// The changes that were made. A value that was already as requested is not in the list.
    pub changes: Vec<Mark>,
    /// Why the plan of a planned session does not have changes that its run has.
    pub not_in_plan: Vec<String>,
}

/// The content of a body, and all its errors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Asked {
    /// The changes that could be read.
    pub wanted: Vec<ChangeTo>,
    /// `key: error` for each part that could not be read.
    pub mistakes: Vec<String>,
}

impl Asked {
    /// The changes, if there are no errors.
    ///
    /// # Errors
    /// All errors of the body.
    pub fn faultless(self) -> Result<Vec<ChangeTo>, Mistakes> {
        if self.mistakes.is_empty() { Ok(self.wanted) } else { Err(Mistakes(self.mistakes)) }
    }
}

impl From<Vec<ChangeTo>> for Asked {
    fn from(wanted: Vec<ChangeTo>) -> Self {
        Self { wanted, mistakes: Vec::new() }
    }
}

/// Makes all changes, in this order and with one write, or none if any of them has an error. Concurrent
/// changes by others are taken into account.
///
/// `scenario` may be omitted if the session has only one, and for changes of the whole session.
///
/// # Errors
/// See [`Refusal`]. After [`Refusal::Board`] either all or none were made; the request can safely be
/// repeated.
pub async fn apply(
    board: &Board,
    session: &str,
    by: impl Into<Author>,
    scenario: Option<&str>,
    asked: impl Into<Asked>,
) -> Result<Applied, Refusal> {
    let (asked, Author { by, who }) = (asked.into(), by.into());
    let change = |to: &ChangeTo| Change {
        by,
        who: who.clone(),
        scenario: scenario.map(str::to_owned),
        to: to.clone(),
    };
    let changes: Vec<_> = asked.wanted.iter().map(change).collect();
    let Made { session, changes } =
        board.change_all(session, &changes, |now| allowed(now, scenario, &asked)).await?;
    Ok(Applied {
        session: session.value,
        changes: changes.into_iter().map(|change| change.mark).collect(),
        not_in_plan: Vec::new(),
    })
}

/// Whether all changes are allowed for this session.
fn allowed(session: &Session, scenario: Option<&str>, asked: &Asked) -> Result<(), Refusal> {
    let stops = |to: &ChangeTo| *to == ChangeTo::State(SessionState::Stopped);
    if session.spec.state == SessionState::Stopped && !asked.wanted.iter().all(stops) {
        return Err(Refusal::Stopped(session.spec.id.clone()));
    }
    check(session, scenario, asked)
}

impl From<BoardError> for Refusal {
    fn from(error: BoardError) -> Self {
        match error {
            BoardError::NoSession(session) => Self::NoSession(session),
            error @ BoardError::NoScenario { .. } => Self::NoScenario(error),
            error @ (BoardError::NoRate { .. }
            | BoardError::NoFleet { .. }
            | BoardError::OnlyRenews { .. }
            | BoardError::TooFast { .. }
            | BoardError::TooManyEvents { .. }) => Self::Mistakes(Mistakes(vec![error.to_string()])),
            error => Self::Board(error),
        }
    }
}

/// Whether all changes are valid for this session.
fn check(session: &Session, scenario: Option<&str>, asked: &Asked) -> Result<(), Refusal> {
    let of_scenario = |to: &ChangeTo| to.live().of_scenario;
    let Asked { wanted, mistakes } = asked;
    let beyond = wanted.iter().filter_map(|to| out_of_bounds(to).err()).flatten();
    let mut mistakes: Vec<String> = mistakes.iter().cloned().chain(beyond).collect();
    if scenario.is_some() || wanted.iter().any(of_scenario) {
        let mut names = session.spec.scenarios.keys();
        let name = match (scenario, names.next(), names.next()) {
            (Some(name), ..) if session.spec.scenarios.contains_key(name) => name,
            (None, Some(only), None) => only,
            (named, ..) => {
                return Err(Refusal::NoScenario(BoardError::NoScenario {
                    session: session.spec.id.clone(),
                    named: named.map(str::to_owned),
                    known: session.spec.scenarios.keys().cloned().collect::<Vec<_>>().join(", "),
                }));
            }
        };
        let target = &session.spec.scenarios[name];
        if session.phase(name) == Phase::Ended && wanted.iter().any(of_scenario) {
            return Err(ended(session, name));
        }
        for to in wanted {
            if let Some(refused) = target.refuses(to, name) {
                mistakes.push(format!("{}: {refused}", to.live().key));
                continue;
            }
            if let ChangeTo::Weights(weights) = to {
                let of = |chain: &Chain| {
                    let name = chain.name();
                    weights.get(name).or_else(|| target.weights.get(name)).copied()
                };
                if Chain::ALL.iter().all(|chain| of(chain) == Some(0.0)) {
                    mistakes.push(
                        "weights: all chains would have weight 0: keep one above 0, or pause".to_owned(),
                    );
                }
            }
        }
    }
    if mistakes.is_empty() { Ok(()) } else { Err(Refusal::Mistakes(Mistakes(mistakes))) }
}

/// Why an ended scenario cannot be changed, and which scenarios can.
fn ended(session: &Session, name: &str) -> Refusal {
    let others = session.spec.scenarios.keys().filter(|name| session.phase(name) != Phase::Ended);
    let others: Vec<_> = others.map(String::as_str).collect();
    let way_out = match others[..] {
        [] => "start another run".to_owned(),
        _ => format!("change {}, or start another run", others.join(" or ")),
    };
    Refusal::Ended { scenario: name.to_owned(), way_out }
}

/// Why no session could accept the change.
/// Whether the new value is within the bounds of its row.
pub(crate) fn within_bounds(to: &ChangeTo) -> bool {
    out_of_bounds(to).is_ok()
}

fn out_of_bounds(to: &ChangeTo) -> Result<(), Vec<String>> {
    let within = |value: f64, most: f64| value.is_finite() && (0.0..=most).contains(&value);
    let LiveValue { key, kind, .. } = to.live();
    let number = to.number().unwrap_or_default();
    let mistakes: Vec<String> = match (kind, to) {
        (LiveKind::Whole { most, .. }, _) if number > f64::from(*most) => {
            vec![format!("{key}: {number} is more than {most}: ask for fewer")]
        }
        (LiveKind::Number { most, .. }, _) if !within(number, *most) => {
            vec![format!("{key}: {number} is not a number from 0 to {most}")]
        }
        (_, ChangeTo::Weights(weights)) if weights.is_empty() => {
            vec![format!("weights: name at least one of {}", Chain::names())]
        }
        (_, ChangeTo::Weights(weights)) => weights
            .iter()
            .filter_map(|(chain, weight)| {
                if !Chain::ALL.iter().any(|known| known.name() == chain) {
                    Some(unknown(&format!("weights.{chain}"), "chain", chain, &Chain::ALL.map(Chain::name)))
                } else if !within(*weight, MAX_WEIGHT) {
                    Some(format!("weights.{chain}: {weight} is not a number from 0 to {MAX_WEIGHT}"))
                } else {
                    None
                }
            })
            .collect(),
        _ => Vec::new(),
    };
    if mistakes.is_empty() { Ok(()) } else { Err(mistakes) }
}

/// The changes in a body of `PATCH …/session`: `state`, `limits`.
pub fn session_changes(body: &Value) -> Asked {
    changes(body, false)
}

/// The changes in a body of `PATCH /api/v1/sessions/ID/scenarios/NAME`: `workers`, `rate`, `weights`, `event`.
pub fn scenario_changes(body: &Value) -> Asked {
    changes(body, true)
}

fn changes(body: &Value, of_scenario: bool) -> Asked {
    let mut reader = Reader::default();
    for (live, value) in reader.object(body, of_scenario) {
        match live.kind {
            LiveKind::Whole { most, to, .. } => reader.whole((live.key, most), to, value),
            LiveKind::Number { most, unit, to, .. } => match value.as_f64() {
                Some(number) => reader.found(to(number)),
                None => {
                    let key = live.key;
                    reader
                        .0
                        .mistakes
                        .push(format!("{key}: {value} is not a number from 0 to {most} ({unit})"));
                }
            },
            LiveKind::Text { example, to } => match value.as_str().map(to) {
                Some(Ok(change)) => reader.found(change),
                Some(Err(mistake)) => reader.0.mistakes.push(format!("{}: {mistake}", live.key)),
                None => {
                    reader.0.mistakes.push(format!("{}: {value} is not a text like {example:?}", live.key));
                }
            },
            LiveKind::Weights => reader.weights(value),
            LiveKind::Limits => reader.limits(value),
            LiveKind::State => reader.state(value),
        }
    }
    reader.0
}

/// Reads a body key by key and collects all errors.
#[derive(Default)]
struct Reader(Asked);

impl Reader {
    /// The known keys that are present, in the order of [`LiveValue::ALL`].
    fn object<'a>(&mut self, body: &'a Value, of_scenario: bool) -> Vec<(&'static LiveValue, &'a Value)> {
        let known: Vec<_> = LiveValue::all(of_scenario).map(|live| live.key).collect();
        let empty = |body: &Map<_, _>| body.is_empty();
        let Some(body) = body.as_object().filter(|body| !empty(body)) else {
            self.0
                .mistakes
                .push(format!("the body has no changes: send an object with {}", known.join(", ")));
            return Vec::new();
        };
        for key in body.keys().filter(|key| !known.contains(&key.as_str())) {
            let elsewhere = !of_scenario && LiveValue::all(true).any(|live| live.key == key);
            self.0.mistakes.push(match elsewhere {
                true => {
                    format!("{key}: is a key of a scenario: send it to /api/v1/sessions/ID/scenarios/NAME")
                }
                false => unknown(key, "key", key, &known),
            });
        }
        LiveValue::all(of_scenario).filter_map(|live| Some((live, body.get(live.key)?))).collect()
    }

    fn whole(&mut self, (key, most): (&str, u32), to: fn(u32) -> ChangeTo, value: &Value) {
        match value.as_u64().and_then(|number| u32::try_from(number).ok()).filter(|n| *n <= most) {
            Some(number) => self.0.wanted.push(to(number)),
            None => self.0.mistakes.push(format!("{key}: {value} is not a whole number from 0 to {most}")),
        }
    }

    fn state(&mut self, value: &Value) {
        let states = SessionState::ALL;
        let named = value.as_str().and_then(|text| states.into_iter().find(|state| state.name() == text));
        match named {
            Some(state) => self.0.wanted.push(ChangeTo::State(state)),
            None => {
                let names = states.map(SessionState::name).join(", ");
                self.0.mistakes.push(format!("state: {value} is none of {names}"));
            }
        }
    }

    fn limits(&mut self, value: &Value) {
        let Some(limits) = value.as_object() else {
            self.0.mistakes.push(format!("limits: {value} is not an object like {{\"certificates\": 1000}}"));
            return;
        };
        for (key, limit) in limits {
            match (limited(key), limit) {
                (Err(mistake), _) => self.0.mistakes.push(mistake),
                (Ok(limited), Value::Null) => self.0.wanted.push(ChangeTo::Limit(limited, None)),
                (Ok(limited), limit) => match limit.as_u64() {
                    Some(limit) => self.0.wanted.push(ChangeTo::Limit(limited, Some(limit))),
                    None => self.0.mistakes.push(format!(
                        "limits.{key}: {limit} is neither a whole number from 0 nor null (for no limit)"
                    )),
                },
            }
        }
    }

    fn weights(&mut self, value: &Value) {
        let Some(object) = value.as_object() else {
            self.0.mistakes.push(format!("weights: {value} is not an object like {{\"certificate\": 4}}"));
            return;
        };
        let mut weights = BTreeMap::new();
        for (chain, weight) in object {
            match weight.as_f64() {
                Some(weight) => drop(weights.insert(chain.clone(), weight)),
                None => self
                    .0
                    .mistakes
                    .push(format!("weights.{chain}: {weight} is not a number from 0 to {MAX_WEIGHT}")),
            }
        }
        if !weights.is_empty() || object.is_empty() {
            self.found(ChangeTo::Weights(weights));
        }
    }

    fn found(&mut self, to: ChangeTo) {
        match out_of_bounds(&to) {
            Ok(()) => self.0.wanted.push(to),
            Err(mistakes) => self.0.mistakes.extend(mistakes),
        }
    }
}

/// The limit with this name.
///
/// # Errors
/// The message lists the names.
pub fn limited(name: &str) -> Result<Limited, String> {
    let known = Limited::ALL.map(Limited::name);
    let found = Limited::ALL.into_iter().find(|limited| limited.name() == name);
    found.ok_or_else(|| unknown(&format!("limits.{name}"), "limit", name, &known))
}

fn unknown(place: &str, what: &str, name: &str, known: &[&str]) -> String {
    let near = known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= 2.max(candidate.len() / 4))
        .min();
    match near {
        Some((_, near)) => format!("{place}: unknown {what}; did you mean {near}?"),
        None => format!("{place}: unknown {what}; expected one of {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wec_board::{By, Limits, RunRef, Target};
    use wec_record::MarkValue;

    use super::*;

    #[test]
    fn a_body_is_read_whole_with_every_mistake_in_it() {
        let none = format!("weights: name at least one of {}", Chain::names());
        let unknown = format!("weights.everything: unknown chain; expected one of {}", Chain::names());
        let cases = [
            (session_changes(&json!([])), "the body has no changes: send an object with state, limits"),
            (session_changes(&json!({})), "the body has no changes: send an object with state, limits"),
            (
                session_changes(
                    &json!({"state": "halted", "limit": 1, "limits": {"certificate": 1, "registrations": -1}}),
                ),
                "limit: unknown key; did you mean limits?; state: \"halted\" is none of running, paused, stopped; \
                 limits.certificate: unknown limit; did you mean certificates?; \
                 limits.registrations: -1 is neither a whole number from 0 nor null (for no limit)",
            ),
            (
                session_changes(&json!({"limits": 5})),
                "limits: 5 is not an object like {\"certificates\": 1000}",
            ),
            (
                scenario_changes(
                    &json!({"workers": 1.5, "rate": -2, "weights": {"revok": 1, "refresh": "x"}}),
                ),
                "workers: 1.5 is not a whole number from 0 to 1000000; rate: -2 is not a number from 0 to 1000000; \
                 weights.refresh: \"x\" is not a number from 0 to 1000000; \
                 weights.revok: unknown chain; did you mean revoke?",
            ),
            (
                scenario_changes(&json!({"workers": 1_000_001})),
                "workers: 1000001 is not a whole number from 0 to 1000000",
            ),
            (
                scenario_changes(&json!({"rate": null})),
                "rate: null is not a number from 0 to 1000000 (a second)",
            ),
            (scenario_changes(&json!({"event": 5})), "event: 5 is not a text like \"outage 10m\""),
            (
                scenario_changes(&json!({"event": "flood 1h"})),
                "event: event \"flood 1h at 0s\": \"flood\" is not an event; events are outage 6h at 3d, revoke 10% at 5d, \
                 lifetime 90d -> 47d at 10d over 30d, growth 1%/d, limit 300/s",
            ),
            (scenario_changes(&json!({"weights": {}})), none.as_str()),
            (scenario_changes(&json!({"weights": {"everything": 1}})), unknown.as_str()),
        ];
        for (read, expected) in cases {
            assert_eq!(read.faultless().unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn several_keys_are_several_changes() {
        let read = session_changes(
            &json!({"state": "paused", "limits": {"certificates": 7, "registrations": null}}),
        );
        let expected = vec![
            ChangeTo::State(SessionState::Paused),
            ChangeTo::Limit(Limited::Certificates, Some(7)),
            ChangeTo::Limit(Limited::Registrations, None),
        ];
        assert_eq!(read.faultless(), Ok(expected));
        let weights = BTreeMap::from([("certificate".to_owned(), 4.0)]);
        let read = scenario_changes(&json!({"rate": 2, "workers": 5, "weights": {"certificate": 4}}));
        assert_eq!(
            read.faultless(),
            Ok(vec![ChangeTo::Workers(5), ChangeTo::Rate(2.0), ChangeTo::Weights(weights)])
        );
    }

    #[tokio::test]
    async fn either_all_changes_are_made_or_none() {
        let board = Board::local();
        board.put_session(Session::running("s", 5)).await.unwrap();
        let wanted = || vec![ChangeTo::Workers(9), ChangeTo::Rate(5.0)];
        let refused = apply(&board, "s", By::Api, None, wanted()).await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            "rate: scenario \"default\" keeps a number of workers and has no rate: change its workers"
        );
        assert_eq!(board.session("s").borrow().as_ref().unwrap().value.workers(), 5);

        let body = json!({"workers": -1, "rate": 5, "weights": {"revok": 1}});
        let refused = apply(&board, "s", By::Api, None, scenario_changes(&body)).await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            "workers: -1 is not a whole number from 0 to 1000000; weights.revok: unknown chain; did you mean revoke?; \
             rate: scenario \"default\" keeps a number of workers and has no rate: change its workers",
            "errors of the body and of the session together"
        );

        let event = scenario_changes(&json!({"event": "outage 10m"}));
        let refused = apply(&board, "s", By::Api, None, event).await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            "event: scenario \"default\" drives no fleet: an event needs a scenario with the executor fleet"
        );

        let zero = Chain::ALL.iter().map(|chain| (chain.name().to_owned(), 0.0)).collect();
        let refused = apply(&board, "s", By::Api, None, vec![ChangeTo::Weights(zero)]).await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            "weights: all chains would have weight 0: keep one above 0, or pause"
        );

        let applied =
            apply(&board, "s", By::Cli, None, vec![ChangeTo::Workers(9), ChangeTo::Workers(9)]).await;
        let applied = applied.unwrap();
        assert_eq!(applied.changes.len(), 1, "an unchanged value is no change");
        assert_eq!(
            (&applied.changes[0].from, &applied.changes[0].to),
            (&MarkValue::Workers(5), &MarkValue::Workers(9))
        );
    }

    #[tokio::test]
    async fn a_stopped_session_accepts_only_stop() {
        let board = Board::local();
        board.put_session(Session::running("s", 5)).await.unwrap();
        let stop = || vec![ChangeTo::State(SessionState::Stopped)];
        assert_eq!(apply(&board, "s", By::Cli, None, stop()).await.unwrap().changes.len(), 1);
        assert_eq!(apply(&board, "s", By::Cli, None, stop()).await.unwrap().changes.len(), 0);
        for wanted in [ChangeTo::State(SessionState::Running), ChangeTo::Workers(7)] {
            let refused = apply(&board, "s", By::Cli, None, vec![wanted]).await.unwrap_err();
            assert!(matches!(refused, Refusal::Stopped(_)), "{refused}");
        }
    }

    #[tokio::test]
    async fn changing_an_ended_scenario_is_an_error() {
        let board = Board::local();
        let target = |waits| Target { workers: 5, waits, ..Target::default() };
        let scenarios = [("first", target(false)), ("second", target(true))];
        let scenarios = scenarios.map(|(name, target)| (name.to_owned(), target)).into();
        let session = Session::new("s", scenarios, Limits::default()).of_run("r");
        board.put_session(session).await.unwrap();
        let run = RunRef::new("s", "r");
        board.end_scenario(&run, "first", "node").await.unwrap();
        let workers = |scenario| apply(&board, "s", By::Cli, Some(scenario), vec![ChangeTo::Workers(9)]);
        assert_eq!(
            workers("first").await.unwrap_err().to_string(),
            "scenario \"first\" has ended, no more iterations of it start: change second, or start another run"
        );
        assert_eq!(workers("second").await.unwrap().changes.len(), 1, "a waiting scenario can be changed");
        board.end_scenario(&run, "second", "node").await.unwrap();
        assert_eq!(
            workers("second").await.unwrap_err().to_string(),
            "scenario \"second\" has ended, no more iterations of it start: start another run"
        );
        let limit = vec![ChangeTo::Limit(Limited::Certificates, Some(7))];
        assert_eq!(apply(&board, "s", By::Cli, None, limit).await.unwrap().changes.len(), 1);
    }
}
