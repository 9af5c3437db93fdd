//! Planned sessions and agents: what people can do with them.
//!
//! The web API, `wec session` and `wec node` all use this module, so that all give the same answers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::schema::AnyOfBuilder;
use utoipa::openapi::{Ref, RefOr, Schema};
use wec_board::{
    Author, Board, BoardError, ChangeTo, DEFAULT_SCENARIO, LiveKind, LiveValue, PlanState, PlanUpdate,
    Selection, SessionPlan,
};
use wec_record::Mark;
use wec_requester::{PROGRAM, SessionKeys, keys_of_json};

use crate::control::{self, Applied, Asked, Mistakes, Refusal};
use crate::views::{AgentView, Agents, PlanView};

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum PlanRefusal {
    /// The request has errors.
    #[error("{0}")]
    Mistakes(Mistakes),
    /// There is no such session or agent.
    #[error("{0}")]
    Unknown(BoardError),
    /// The state of the session or the agent does not allow it, or others were faster.
    #[error("{0}")]
    Conflict(String),
    /// The board could not be read or written.
    #[error("{0}")]
    Board(BoardError),
}

impl From<BoardError> for PlanRefusal {
    fn from(error: BoardError) -> Self {
        match error {
            BoardError::NoPlan(_) | BoardError::NoAgent(_) => Self::Unknown(error),
            BoardError::PlanExists(_)
            | BoardError::NotNow { .. }
            | BoardError::Stale { .. }
            | BoardError::AgentKnown(_)
            | BoardError::AgentLives(_) => Self::Conflict(error.to_string()),
            error => Self::Board(error),
        }
    }
}

impl From<Refusal> for PlanRefusal {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Mistakes(mistakes) => Self::Mistakes(mistakes),
            Refusal::Board(error) => Self::from(error),
            other => Self::Conflict(other.to_string()),
        }
    }
}

fn mistaken(mistakes: impl IntoIterator<Item = String>) -> PlanRefusal {
    PlanRefusal::Mistakes(Mistakes(mistakes.into_iter().collect()))
}

/// The plan of a new session. The schemas that it refers to come from the table of keys: see
/// [`wec_requester::session_schemas`].
fn written_plan() -> Schema {
    one_of_forms(
        "The keys of a scenario file: nested, or with dots and values as text. What belongs to agents (hosts, paths, \
         listeners, stores, secrets) is refused.",
        ["ScenarioFile", "ScenarioKeys"],
    )
}

/// A change of the plan of a session.
pub(crate) fn plan_patch() -> Schema {
    one_of_forms(
        "Keys of the scenario file of a planned session to set; `null` removes one. During a run, workers, rate, \
         weights and limits change its load at once, and `directory` ends it and begins another one.",
        ["ScenarioFilePatch", "ScenarioKeysPatch"],
    )
}

/// The keys of a file that was checked.
fn checked_keys() -> RefOr<Schema> {
    Ref::from_schema_name("ScenarioKeys").into()
}

fn one_of_forms(description: &str, names: [&str; 2]) -> Schema {
    let forms =
        names.into_iter().fold(AnyOfBuilder::new(), |forms, name| forms.item(Ref::from_schema_name(name)));
    forms.description(Some(description)).into()
}

/// A session to create.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSession {
    /// Its id.
    pub id: String,
    /// The keys of a scenario file, as `wec schema` describes it: nested, or with dots and values as text.
    /// What belongs to agents (hosts, paths, listeners, stores, secrets) is refused.
    #[schema(schema_with = written_plan)]
    pub plan: Value,
    /// The agents that it is meant for; all if nothing is given.
    #[serde(default)]
    pub agents: Selection,
}

/// A scenario file to check
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScenarioText {
    /// Its text, in TOML.
    pub toml: String,
}

/// Whether a session can be made of a scenario file
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
pub struct ScenarioCheck {
    /// The file's keys with values as text, which `plan` of a new session takes; empty if there are mistakes.
    #[schema(schema_with = checked_keys)]
    pub keys: BTreeMap<String, String>,
    /// All mistakes, each with its line where it has one.
    pub mistakes: Vec<String>,
}

/// A change of a planned session. Keys that are left out stay as they are.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PlanPatch {
    /// The revision that the change is based on; the change is refused if there is a later one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// Keys of the scenario file to set; `null` removes one. During a run, workers, rate, weights and limits
    /// change its load at once, and `directory` ends it and begins another one.
    #[schema(schema_with = plan_patch)]
    #[serde(skip_serializing_if = "Value::is_null")]
    pub plan: Value,
    /// The agents that it is meant for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agents: Option<Selection>,
}

/// The result of a change of a planned session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PlanChanged {
    /// The session after the change.
    pub session: PlanView,
    /// What changed, for people: `workers 5 → 8`.
    pub changes: Vec<String>,
}

/// Checks a scenario file as [`create`] does; nothing is made.
pub fn check(text: &ScenarioText) -> ScenarioCheck {
    match SessionKeys::of_file("scenario", &text.toml) {
        Ok(SessionKeys { keys, .. }) => ScenarioCheck { keys, mistakes: Vec::new() },
        Err(mistakes) => ScenarioCheck {
            keys: BTreeMap::new(),
            mistakes: mistakes.0.iter().map(ToString::to_string).collect(),
        },
    }
}

/// Creates a session that can be started.
///
/// # Errors
/// See [`PlanRefusal`].
pub async fn create(board: &Board, new: NewSession, by: impl Into<Author>) -> Result<PlanView, PlanRefusal> {
    wec_startup::parse_session_id(&new.id).map_err(|why| mistaken([format!("id: {:?} {why}", new.id)]))?;
    let keys = keys_of_json(&new.plan).map_err(mistaken)?;
    let SessionKeys { keys, plan } = SessionKeys::of_keys(&keys)
        .map_err(|mistakes| mistaken(mistakes.0.iter().map(ToString::to_string)))?;
    let made = SessionPlan::new(new.id, PROGRAM, keys);
    let made = board.create_plan(SessionPlan { plan: Some(plan), agents: new.agents, ..made }, by).await?;
    Ok(PlanView::new(&made, &board.agents_now().await?))
}

/// All planned sessions, by id; of one state, if it is given.
///
/// # Errors
/// When the board cannot be read.
pub async fn list(board: &Board, state: Option<PlanState>) -> Result<Vec<PlanView>, PlanRefusal> {
    look_after(board).await;
    let view = board.agents_now().await?;
    let plans = view.plans.values().map(|plan| PlanView::new(&plan.value, &view));
    Ok(plans.filter(|plan| state.is_none_or(|state| plan.state == state)).collect())
}

/// One planned session.
///
/// # Errors
/// When there is none, or the board cannot be read.
pub async fn show(board: &Board, id: &str) -> Result<PlanView, PlanRefusal> {
    look_after(board).await;
    shown(board, id).await
}

async fn shown(board: &Board, id: &str) -> Result<PlanView, PlanRefusal> {
    let view = board.agents_now().await?;
    let plan = view.plans.get(id).map(|plan| PlanView::new(&plan.value, &view));
    plan.ok_or_else(|| PlanRefusal::Unknown(BoardError::NoPlan(id.to_owned())))
}

/// Ends sessions whose agents have ended or died, if it can.
async fn look_after(board: &Board) {
    if let Err(error) = board.conclude_plans().await {
        tracing::debug!(%error, "the states of sessions cannot be updated now");
    }
}

/// Starts a session.
///
/// # Errors
/// See [`PlanRefusal`].
pub async fn start(board: &Board, id: &str, by: impl Into<Author>) -> Result<PlanView, PlanRefusal> {
    board.start_plan(id, &new_run(), by).await?;
    shown(board, id).await
}

/// The id of a run that begins now.
fn new_run() -> String {
    format!("{}-{:04x}", crate::clock::unix_now_ns() / 1_000_000_000, rand::random::<u16>())
}

/// Stops a session; with `now`, running chains are interrupted.
///
/// # Errors
/// See [`PlanRefusal`].
pub async fn stop(
    board: &Board,
    id: &str,
    now: bool,
    by: impl Into<Author>,
) -> Result<PlanView, PlanRefusal> {
    look_after(board).await;
    board.stop_plan(id, now, by).await?;
    look_after(board).await;
    shown(board, id).await
}

/// Changes a session.
///
/// # Errors
/// See [`PlanRefusal`]. Nothing is changed then.
pub async fn update(
    board: &Board,
    id: &str,
    patch: PlanPatch,
    by: impl Into<Author>,
) -> Result<PlanChanged, PlanRefusal> {
    let author = by.into();
    let PlanPatch { revision, plan: patched, agents } = patch;
    look_after(board).await;
    let before = board.plan(id).await?;
    let mut keys = before.keys.clone();
    let (removed, set) = apart(&patched)?;
    for (name, value) in set {
        keys.insert(name, value);
    }
    for name in removed {
        let below = format!("{name}.");
        keys.retain(|key, _| *key != name && !key.starts_with(&below));
    }
    let SessionKeys { keys, plan } = SessionKeys::of_keys(&keys)
        .map_err(|mistakes| mistaken(mistakes.0.iter().map(ToString::to_string)))?;
    let live = live_changes(&before, &keys);
    if let (PlanState::Running, None, Some(live)) = (before.state, &agents, live) {
        if let Some(seen) = revision.filter(|seen| *seen != before.revision) {
            // The board says what changed since.
            let update = PlanUpdate { revision: Some(seen), ..PlanUpdate::default() };
            board.update_plan(id, update, author.clone()).await?;
        }
        let mut changes = Vec::new();
        for (scenario, wanted) in live {
            let applied = control::apply(board, id, author.clone(), scenario.as_deref(), wanted).await?;
            changes.extend(applied.changes.iter().map(told));
        }
        board.note_in_plan(id, Some((keys, plan)), &changes, author).await?;
        return Ok(PlanChanged { session: shown(board, id).await?, changes });
    }
    let update = PlanUpdate { revision, keys: Some((keys, plan)), agents, run: new_run() };
    let (_, changes) = board.update_plan(id, update, author).await?;
    Ok(PlanChanged { session: shown(board, id).await?, changes })
}

/// Changes a session that runs, as [`control::apply`]. The keys of a planned session get the new values, too: its next
/// run begins with them.
///
/// # Errors
/// See [`Refusal`]. A plan that could not be written is only reported in the log of this process.
pub async fn steer(
    board: &Board,
    id: &str,
    by: impl Into<Author>,
    scenario: Option<&str>,
    asked: impl Into<Asked>,
) -> Result<Applied, Refusal> {
    let (asked, author) = (asked.into(), by.into());
    let applied = control::apply(board, id, author.clone(), scenario, asked.clone()).await?;
    let changes: Vec<_> =
        applied.changes.iter().filter(|mark| mark.new_state().is_none()).map(told).collect();
    if !changes.is_empty() {
        let noted = async {
            let before = board.plan(id).await?;
            let keys = with_changes(&before.keys, scenario, &asked.wanted);
            let made = SessionKeys::of_keys(&keys).ok().map(|SessionKeys { keys, plan }| (keys, plan));
            board.note_in_plan(id, made, &changes, author).await
        };
        match noted.await {
            // A session that nobody planned.
            Ok(()) | Err(BoardError::NoPlan(_)) => {}
            Err(error) => tracing::warn!(%error, "the plan of session {id} does not have its last changes"),
        }
    }
    Ok(applied)
}

/// The keys of a session after these changes of its run.
fn with_changes(
    keys: &BTreeMap<String, String>,
    scenario: Option<&str>,
    changes: &[ChangeTo],
) -> BTreeMap<String, String> {
    let mut after = keys.clone();
    let mut named = keys.keys().filter_map(|key| key.strip_prefix("scenarios.")?.split('.').next());
    // The only scenario need not be named.
    let scenario = named.next().map(|first| format!("scenarios.{}.", scenario.unwrap_or(first)));
    let own = |key: &str| format!("{}{key}", scenario.as_deref().unwrap_or_default());
    for change in changes {
        match change {
            ChangeTo::Rate(rate) => {
                let given = keys.get(&own("rate")).or_else(|| keys.get("rate"));
                let unit = given.and_then(|rate| wec_requester::executor::rate(rate).ok()?.unit);
                let unit = unit.map_or_else(String::new, |unit| format!(" {}", unit.name()));
                after.insert(own("rate"), format!("{rate}{unit}/s"));
            }
            ChangeTo::Weights(weights) => {
                after.extend(
                    weights
                        .iter()
                        .map(|(chain, weight)| (own(&format!("weights.{chain}")), weight.to_string())),
                );
            }
            ChangeTo::Limit(limited, limit) => {
                let key = format!("limit_{}", limited.name());
                match limit {
                    Some(limit) => after.insert(key, limit.to_string()),
                    None => after.remove(&key),
                };
            }
            // An event is of the run in which it happens.
            ChangeTo::State(_) | ChangeTo::Event(_) => {}
            // Other numbers have a key of the same name.
            change => {
                if let Some(number) = change.number() {
                    after.insert(own(change.live().key), number.to_string());
                }
            }
        }
    }
    after
}

/// The keys to remove, and those to set.
fn apart(patched: &Value) -> Result<(Vec<String>, BTreeMap<String, String>), PlanRefusal> {
    let mut removed = Vec::new();
    let mut kept = patched.clone();
    if kept.is_null() {
        kept = json!({});
    }
    take_nulls("", &mut kept, &mut removed);
    Ok((removed, keys_of_json(&kept).map_err(mistaken)?))
}

fn take_nulls(name: &str, value: &mut Value, removed: &mut Vec<String>) {
    let Value::Object(entries) = value else { return };
    for (key, value) in entries.iter_mut() {
        let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
        if value.is_null() {
            removed.push(name);
        } else {
            take_nulls(&name, value, removed);
        }
    }
    entries.retain(|_, value| !value.is_null());
}

/// The changes of a run that make its session have these keys, by scenario; none if they are not possible
/// during a run.
fn live_changes(
    before: &SessionPlan,
    keys: &BTreeMap<String, String>,
) -> Option<Vec<(Option<String>, Vec<ChangeTo>)>> {
    let different = keys.iter().filter(|(key, value)| before.keys.get(*key) != Some(value));
    if before.keys.keys().any(|key| !keys.contains_key(key)) {
        return None;
    }
    let several = keys.keys().any(|key| key.starts_with("scenarios."));
    let mut changes: BTreeMap<Option<String>, Vec<ChangeTo>> = BTreeMap::new();
    for (key, value) in different {
        let (scenario, name) = match key.strip_prefix("scenarios.").and_then(|rest| rest.split_once('.')) {
            Some((scenario, name)) => (Some(scenario.to_owned()), name),
            None => ((!several).then(|| DEFAULT_SCENARIO.to_owned()), key.as_str()),
        };
        let (of_scenario, change) = live_change(name, before.keys.get(key), value)?;
        if of_scenario && scenario.is_none() {
            return None;
        }
        let changes = changes.entry(scenario.filter(|_| of_scenario)).or_default();
        match (changes.last_mut(), change) {
            (Some(ChangeTo::Weights(weights)), ChangeTo::Weights(more)) => weights.extend(more),
            (_, change) => changes.push(change),
        }
    }
    Some(changes.into_iter().collect())
}

/// The change of a live value that gives a plan's key this value, and whether it is one of a scenario; none if the key
/// is no live value, or is of another unit than before.
fn live_change(key: &str, before: Option<&String>, value: &str) -> Option<(bool, ChangeTo)> {
    let rate = wec_requester::executor::rate;
    let (name, of) = match (key.split_once('.'), key.split_once('_')) {
        (Some((name, of)), _) => (name, Some(of)),
        (None, Some(("limit", of))) => ("limits", Some(of)),
        (None, _) => (key, None),
    };
    let live = LiveValue::ALL.iter().find(|live| live.key == name)?;
    let change = match (&live.kind, of) {
        (LiveKind::Whole { to, .. }, None) => to(value.parse().ok()?),
        (LiveKind::Number { to, .. }, None) => {
            let (rate, before) = (rate(value).ok()?, before.map(|before| rate(before)));
            match before {
                Some(Ok(before)) if before.unit != rate.unit => return None,
                _ => to(rate.per_second),
            }
        }
        (LiveKind::Text { to, .. }, None) => to(value).ok()?,
        (LiveKind::Weights, Some(chain)) => {
            ChangeTo::Weights(BTreeMap::from([(chain.to_owned(), value.parse().ok()?)]))
        }
        (LiveKind::Limits, Some(limit)) => {
            ChangeTo::Limit(control::limited(limit).ok()?, Some(value.parse().ok()?))
        }
        _ => return None,
    };
    control::within_bounds(&change).then_some((live.of_scenario, change))
}

fn told(mark: &Mark) -> String {
    let of = if mark.scenario.is_empty() { String::new() } else { format!("{}: ", mark.scenario) };
    format!("{of}{} {} → {}", mark.what, mark.from, mark.to)
}

/// Copies a session.
///
/// # Errors
/// See [`PlanRefusal`].
pub async fn copy(board: &Board, id: &str, to: &str, by: impl Into<Author>) -> Result<PlanView, PlanRefusal> {
    wec_startup::parse_session_id(to).map_err(|why| mistaken([format!("id: {to:?} {why}")]))?;
    board.clone_plan(id, to, PROGRAM, by).await?;
    shown(board, to).await
}

/// Deletes a session.
///
/// # Errors
/// See [`PlanRefusal`].
pub async fn delete(board: &Board, id: &str, revision: Option<u64>) -> Result<(), PlanRefusal> {
    look_after(board).await;
    Ok(board.delete_plan(id, revision).await?)
}

/// All known agents.
///
/// # Errors
/// When the board cannot be read.
pub async fn nodes(board: &Board) -> Result<Agents, PlanRefusal> {
    Ok(Agents { nodes: AgentView::all(&board.agents_now().await?) })
}

/// One agent.
///
/// # Errors
/// When it is not known, or the board cannot be read.
pub async fn node(board: &Board, name: &str) -> Result<AgentView, PlanRefusal> {
    let found = nodes(board).await?.nodes.into_iter().find(|node| node.name == name);
    found.ok_or_else(|| PlanRefusal::Unknown(BoardError::NoAgent(name.to_owned())))
}

/// Reserves a place for a machine that is expected.
///
/// # Errors
/// See [`PlanRefusal`].
pub async fn add_node(board: &Board, name: &str) -> Result<AgentView, PlanRefusal> {
    let parsed = wec_startup::parse_node_name(name);
    let name = parsed.map_err(|why| mistaken([format!("name: {name:?} {why}")]))?;
    board.add_agent(&name).await?;
    node(board, &name).await
}

/// Allows sessions to use an agent, or not.
///
/// # Errors
/// See [`PlanRefusal`].
pub async fn activate(board: &Board, name: &str, activated: bool) -> Result<AgentView, PlanRefusal> {
    board.set_agent_activated(name, activated).await?;
    node(board, name).await
}

/// Forgets an agent that is not live.
///
/// # Errors
/// See [`PlanRefusal`].
pub async fn remove_node(board: &Board, name: &str) -> Result<(), PlanRefusal> {
    Ok(board.remove_agent(name).await?)
}

#[cfg(test)]
mod tests {
    use wec_board::{Limited, Target};

    use super::*;

    fn keys(of: &[(&str, &str)]) -> BTreeMap<String, String> {
        of.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    /// A change of a run is the same as one by `wec session update` with these keys.
    #[test]
    fn a_change_of_a_run_is_in_the_keys_of_its_plan() {
        let weights = |weight: f64| ChangeTo::Weights(BTreeMap::from([("revoke".to_owned(), weight)]));
        let one = keys(&[("rate", "50 requests/s"), ("workers", "5"), ("weights.revoke", "1")]);
        let several = keys(&[("workers", "5"), ("scenarios.a.rate", "10/s"), ("scenarios.b.workers", "7")]);
        let certificates = |most: Option<u64>| ChangeTo::Limit(Limited::Certificates, most);
        type Case<'a> = (&'a BTreeMap<String, String>, Option<&'a str>, ChangeTo, &'a [(&'a str, &'a str)]);
        let cases: [Case<'_>; 7] = [
            (&one, Some("default"), ChangeTo::Workers(8), &[("workers", "8")]),
            (&one, None, ChangeTo::Rate(62.5), &[("rate", "62.5 requests/s")]),
            (&one, Some("default"), weights(2.0), &[("weights.revoke", "2")]),
            (&one, None, certificates(Some(9)), &[("limit_certificates", "9")]),
            (&several, Some("a"), ChangeTo::Rate(20.0), &[("scenarios.a.rate", "20/s")]),
            (&several, Some("b"), ChangeTo::Workers(1), &[("scenarios.b.workers", "1")]),
            (&several, Some("b"), weights(0.0), &[("scenarios.b.weights.revoke", "0")]),
        ];
        for (before, scenario, change, different) in cases {
            let after = with_changes(before, scenario, std::slice::from_ref(&change));
            let mut expected = before.clone();
            expected.extend(keys(different));
            assert_eq!(after, expected, "{change:?}");
            let plan = SessionPlan::new("s", "wec", before.clone());
            let live: Vec<_> =
                live_changes(&plan, &after).unwrap().into_iter().flat_map(|(_, to)| to).collect();
            assert_eq!(live, [change]);
        }
        let limited = with_changes(&one, None, &[certificates(Some(9))]);
        assert_eq!(with_changes(&limited, None, &[certificates(None)]), one);
    }

    /// Each row of the table, so that a new one is a change of the run, too.
    #[test]
    fn an_update_of_a_planned_session_changes_each_live_value_of_its_run() {
        let before = keys(&[("rate", "50/s"), ("workers", "5")]);
        let target = Target { workers: 5, rate: Some(50.0), ..Target::default() };
        for change in LiveValue::all(true).filter_map(|live| live.sample(&target)) {
            let after = with_changes(&before, Some(DEFAULT_SCENARIO), std::slice::from_ref(&change));
            let changes = live_changes(&SessionPlan::new("s", "wec", before.clone()), &after).unwrap();
            // An event is of the run in which it happens, and no key of the plan.
            let expected = match change {
                ChangeTo::Event(_) => Vec::new(),
                change => vec![(Some(DEFAULT_SCENARIO.to_owned()), vec![change])],
            };
            assert_eq!(changes, expected);
        }
    }

    #[test]
    fn what_cannot_be_changed_during_a_run_is_no_change_of_it() {
        let before = [("rate", "50/s"), ("workers", "5"), ("weights.revoke", "1")];
        let plan = SessionPlan::new("s", "wec", keys(&before));
        let other = [
            ("rate", "50 requests/s"),
            ("workers", "1000000000"),
            ("weights.revoke", "-1"),
            ("weights.nothing", "1"),
            ("limit_nothing", "1"),
            ("run_time", "1h"),
            ("state", "stopped"),
        ];
        for (key, value) in other {
            let mut after = keys(&before);
            after.insert(key.to_owned(), value.to_owned());
            assert_eq!(live_changes(&plan, &after), None, "{key}={value}");
        }
    }
}
