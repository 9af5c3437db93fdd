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
    AgentsView, Author, Board, BoardError, ChangeTo, DEFAULT_SCENARIO, LiveKind, LiveValue, PlanState,
    PlanUpdate, Selection, SessionPlan,
};
use wec_record::{Mark, Plan};
use wec_requester::executor::{self, RateKey};
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
#[serde(deny_unknown_fields)]
pub struct PlanPatch {
    /// The revision of a planned session that the change is based on; refused if there is a later one.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// Keys of the scenario file of a planned session to set.
    #[schema(schema_with = plan_patch)]
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub plan: Value,
    /// The agents that a planned session is meant for.
    #[schema(nullable = false)]
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
    Ok(seen(board, &made, &board.agents_now().await?))
}

/// All planned sessions, by id; of one state, if it is given.
///
/// # Errors
/// When the board cannot be read.
pub async fn list(board: &Board, state: Option<PlanState>) -> Result<Vec<PlanView>, PlanRefusal> {
    look_after(board).await;
    let view = board.agents_now().await?;
    let plans = view.plans.values().map(|plan| seen(board, &plan.value, &view));
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
    let plan = view.plans.get(id).map(|plan| seen(board, &plan.value, &view));
    plan.ok_or_else(|| PlanRefusal::Unknown(BoardError::NoPlan(id.to_owned())))
}

fn seen(board: &Board, plan: &SessionPlan, view: &AgentsView) -> PlanView {
    let load = board.session(&plan.id).borrow().clone();
    PlanView::new(plan, view).with_load(load.as_ref().map(|load| &load.value))
}

/// Ends sessions whose agents have ended or died, if it can.
async fn look_after(board: &Board) {
    if let Err(error) = board.conclude_plans().await {
        tracing::debug!(%error, "the states of sessions cannot be updated now");
    }
}

/// Why no agent can take a session of a board in the memory of one process.
pub(crate) const NO_AGENT_CAN_JOIN: &str = "no agent can join: the sessions of this page are in the memory of its process. \
     Start wec analytics --board sqlite://board.db and wec agent --board sqlite://board.db, and make the session on the \
     page of that analytics";

/// Starts a session.
///
/// # Errors
/// See [`PlanRefusal`].
pub async fn start(board: &Board, id: &str, by: impl Into<Author>) -> Result<PlanView, PlanRefusal> {
    board.plan(id).await?;
    if board.place().is_none() && board.agents_now().await?.live.is_empty() {
        return Err(PlanRefusal::Conflict(NO_AGENT_CAN_JOIN.to_owned()));
    }
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
    let retargets = before.keys.get("directory") != keys.get("directory");
    if let (PlanState::Running, false) = (before.state, retargets) {
        if let Some(seen) = revision.filter(|seen| *seen != before.revision) {
            // The board says what changed since.
            let update = PlanUpdate { revision: Some(seen), ..PlanUpdate::default() };
            board.update_plan(id, update, author.clone()).await?;
        }
        let live = match (live, agents.filter(|agents| *agents != before.agents)) {
            (Ok(live), None) => live,
            (Ok(_), Some(_)) => return Err(not_live(&before, &["its agents".to_owned()])),
            (Err(mut fixed), agents) => {
                fixed.extend(agents.map(|_| "its agents".to_owned()));
                return Err(not_live(&before, &fixed));
            }
        };
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
/// run begins with them. A change that its plan cannot have is of this run only: see [`Applied::not_in_plan`].
///
/// # Errors
/// See [`Refusal`].
pub async fn steer(
    board: &Board,
    id: &str,
    by: impl Into<Author>,
    scenario: Option<&str>,
    asked: impl Into<Asked>,
) -> Result<Applied, Refusal> {
    let (asked, author) = (asked.into(), by.into());
    let mut applied = control::apply(board, id, author.clone(), scenario, asked.clone()).await?;
    let changes: Vec<_> =
        applied.changes.iter().filter(|mark| mark.new_state().is_none()).map(told).collect();
    if !changes.is_empty() {
        let noted = async {
            let before = board.plan(id).await?;
            let (made, left) = with_changes(&before.keys, scenario, &asked.wanted);
            let made = made.map(|SessionKeys { keys, plan }| (keys, plan));
            board.note_in_plan(id, made, &changes, author).await.map(|()| left)
        };
        applied.not_in_plan = match noted.await {
            Ok(left) => left,
            // A session that nobody planned.
            Err(BoardError::NoPlan(_)) => Vec::new(),
            Err(error) => vec![error.to_string()],
        };
    }
    Ok(applied)
}

/// A plan after these changes of its run, if it has any of them, and why it does not have the others.
fn with_changes(
    before: &BTreeMap<String, String>,
    scenario: Option<&str>,
    changes: &[ChangeTo],
) -> (Option<SessionKeys>, Vec<String>) {
    let now = match SessionKeys::of_keys(before) {
        Ok(now) => now,
        Err(mistakes) => return (None, vec![mistakes.to_string()]),
    };
    let (mut now, mut changed, mut left) = (now, false, Vec::new());
    for change in changes {
        match SessionKeys::of_keys(&with_change(&now, scenario, change)) {
            Ok(after) => (now, changed) = (after, true),
            Err(mistakes) => left.push(mistakes.to_string()),
        }
    }
    (changed.then_some(now), left)
}

/// The keys of a session after this change of its run.
fn with_change(
    SessionKeys { keys, plan }: &SessionKeys,
    scenario: Option<&str>,
    change: &ChangeTo,
) -> BTreeMap<String, String> {
    let mut after = keys.clone();
    let mut named = keys.keys().filter_map(|key| key.strip_prefix("scenarios.")?.split('.').next());
    // The only scenario need not be named.
    let prefix = named.next().map(|first| format!("scenarios.{}.", scenario.unwrap_or(first)));
    let own = |key: &str| format!("{}{key}", prefix.as_deref().unwrap_or_default());
    match change {
        ChangeTo::Rate(rate) => {
            if let Some(key) = rate_key(plan, scenario) {
                let given = keys.get(&own(key.name)).or_else(|| keys.get(key.name));
                after.insert(own(key.name), key.text(*rate, given.map(String::as_str)));
            }
        }
        ChangeTo::Weights(weights) => {
            after.extend(
                weights.iter().map(|(chain, weight)| (own(&format!("weights.{chain}")), weight.to_string())),
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
    after
}

/// The key that has the rate of a scenario, if its executor has a rate. The only scenario need not be named.
fn rate_key(plan: &Plan, scenario: Option<&str>) -> Option<&'static RateKey> {
    let named = |name| plan.scenarios.iter().find(|scenario| scenario.name == name);
    executor::rate_key(scenario.map_or(plan.scenarios.first(), named)?.load.executor())
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

/// Refuses a change during a run, with what can be changed.
fn not_live(plan: &SessionPlan, fixed: &[String]) -> PlanRefusal {
    let rate = plan.plan.as_deref().and_then(|plan| rate_key(plan, None));
    let rate = rate.map(|rate| format!(", {} in the same unit", rate.name)).unwrap_or_default();
    PlanRefusal::Conflict(format!(
        "cannot update session {:?}: it is running, and {} can be changed only when it has ended (wec session stop {}); \
         during a run these can be changed: workers{rate}, weights.CHAIN and limit_*, and directory, which begins another \
         run",
        plan.id,
        fixed.join(", "),
        plan.id
    ))
}

/// Changes of a run by scenario; those of the whole run have none.
type LiveChanges = BTreeMap<Option<String>, Vec<ChangeTo>>;

/// The changes of a run that make its session have these keys.
///
/// # Errors
/// The keys that cannot be changed during a run.
fn live_changes(before: &SessionPlan, keys: &BTreeMap<String, String>) -> Result<LiveChanges, Vec<String>> {
    let different = keys.iter().filter(|(key, value)| before.keys.get(*key) != Some(value));
    let mut fixed: Vec<_> = before.keys.keys().filter(|key| !keys.contains_key(*key)).cloned().collect();
    let several = keys.keys().any(|key| key.starts_with("scenarios."));
    // A session of another version may have no plan.
    let plan = before.plan.clone().or_else(|| Some(SessionKeys::of_keys(&before.keys).ok()?.plan));
    let mut changes = LiveChanges::new();
    for (key, value) in different {
        let (scenario, name) = match key.strip_prefix("scenarios.").and_then(|rest| rest.split_once('.')) {
            Some((scenario, name)) => (Some(scenario.to_owned()), name),
            None => ((!several).then(|| DEFAULT_SCENARIO.to_owned()), key.as_str()),
        };
        let rate = plan.as_ref().and_then(|plan| rate_key(plan, scenario.as_deref()));
        let change = live_change((name, rate), before.keys.get(key), value);
        let Some((of_scenario, change)) =
            change.filter(|(of_scenario, _)| !of_scenario || scenario.is_some())
        else {
            fixed.push(key.clone());
            continue;
        };
        let changes = changes.entry(scenario.filter(|_| of_scenario)).or_default();
        match (changes.last_mut(), change) {
            (Some(ChangeTo::Weights(weights)), ChangeTo::Weights(more)) => weights.extend(more),
            (_, change) => changes.push(change),
        }
    }
    if fixed.is_empty() { Ok(changes) } else { Err(fixed) }
}

/// The change of a live value that gives a plan's key this value, and whether it is one of a scenario; none if the key
/// is no live value, or is of another unit than before. `rate` is the key that has the scenario's rate.
fn live_change(
    (key, rate): (&str, Option<&RateKey>),
    before: Option<&String>,
    value: &str,
) -> Option<(bool, ChangeTo)> {
    if let Some(RateKey { read, .. }) = rate.filter(|rate| rate.name == key) {
        let rate = read(value).ok()?;
        if before.and_then(|before| read(before).ok()).is_some_and(|before| before.unit != rate.unit) {
            return None;
        }
        let change = ChangeTo::Rate(rate.per_second);
        return control::within_bounds(&change).then_some((true, change));
    }
    let (name, of) = match (key.split_once('.'), key.split_once('_')) {
        (Some((name, of)), _) => (name, Some(of)),
        (None, Some(("limit", of))) => ("limits", Some(of)),
        (None, _) => (key, None),
    };
    // The rate has the key of its executor.
    let rate = ChangeTo::Rate(0.0).live().key;
    let live = LiveValue::ALL.iter().find(|live| live.key == name && live.key != rate)?;
    let change = match (&live.kind, of) {
        (LiveKind::Whole { to, .. }, None) => to(value.parse().ok()?),
        (LiveKind::Number { to, .. }, None) => to(value.parse().ok()?),
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

    /// The keys of a plan, with a directory.
    fn planned(of: &[(&str, &str)]) -> BTreeMap<String, String> {
        let mut keys = keys(of);
        keys.insert("directory".to_owned(), "http://127.0.0.1:1/dir".to_owned());
        keys
    }

    fn changed(keys: &BTreeMap<String, String>, scenario: Option<&str>, change: &ChangeTo) -> SessionKeys {
        let (made, left) = with_changes(keys, scenario, std::slice::from_ref(change));
        assert_eq!(left, [""; 0], "{change:?}");
        made.unwrap()
    }

    /// A change of a run is the same as one by `wec session update` with these keys.
    #[test]
    fn a_change_of_a_run_is_in_the_keys_of_its_plan() {
        let weights = |weight: f64| ChangeTo::Weights(BTreeMap::from([("revoke".to_owned(), weight)]));
        let one = planned(&[("rate", "50 requests/s"), ("workers", "5"), ("weights.revoke", "1")]);
        let several =
            planned(&[("workers", "5"), ("scenarios.a.rate", "10/s"), ("scenarios.b.workers", "7")]);
        let shared = planned(&[("target_rps", "20"), ("scenarios.a.workers", "7")]);
        let certificates = |most: Option<u64>| ChangeTo::Limit(Limited::Certificates, most);
        type Case<'a> = (&'a BTreeMap<String, String>, Option<&'a str>, ChangeTo, &'a [(&'a str, &'a str)]);
        let cases: [Case<'_>; 8] = [
            (&one, Some("default"), ChangeTo::Workers(8), &[("workers", "8")]),
            (&one, None, ChangeTo::Rate(62.5), &[("rate", "62.5 requests/s")]),
            (&one, Some("default"), weights(2.0), &[("weights.revoke", "2")]),
            (&one, None, certificates(Some(9)), &[("limit_certificates", "9")]),
            (&several, Some("a"), ChangeTo::Rate(20.0), &[("scenarios.a.rate", "20/s")]),
            (&several, Some("b"), ChangeTo::Workers(1), &[("scenarios.b.workers", "1")]),
            (&several, Some("b"), weights(0.0), &[("scenarios.b.weights.revoke", "0")]),
            (&shared, None, ChangeTo::Rate(33.0), &[("scenarios.a.target_rps", "33")]),
        ];
        for (before, scenario, change, different) in cases {
            let after = changed(before, scenario, &change).keys;
            let mut expected = before.clone();
            expected.extend(keys(different));
            assert_eq!(after, expected, "{change:?}");
            let plan = SessionPlan::new("s", "wec", before.clone());
            let live: Vec<_> = live_changes(&plan, &after).unwrap().into_values().flatten().collect();
            assert_eq!(live, [change]);
        }
        let limited = changed(&one, None, &certificates(Some(9))).keys;
        assert_eq!(changed(&limited, None, &certificates(None)).keys, one);
    }

    /// Each row of the table with each executor, so that a new one is a change of the run and of its plan, too.
    #[test]
    fn each_live_value_of_each_executor_is_changed_in_the_run_and_in_the_plan() {
        let loads = [
            ("executor", "workers"),
            ("rate", "50/s"),
            ("target_rps", "20"),
            ("iterations", "100"),
            ("fleet_certificates", "100"),
        ];
        let mut executors: Vec<_> = executor::names().collect();
        for load in loads {
            let before = planned(&[load, ("workers", "5")]);
            let planned = &SessionKeys::of_keys(&before).unwrap().plan.scenarios[0].load;
            executors.retain(|name| *name != planned.executor());
            let rate = planned.rate();
            let target = Target { workers: 5, rate, ..Target::default() };
            let of_scenario = LiveValue::all(true).filter_map(|live| live.sample(&target));
            let limits = Limited::ALL.map(|limited| ChangeTo::Limit(limited, Some(7)));
            for change in of_scenario.chain(limits) {
                if matches!(change, ChangeTo::Rate(_)) && rate.is_none() {
                    continue;
                }
                if planned.executor() == "fleet" && matches!(change, ChangeTo::Weights(_)) {
                    let (_, left) =
                        with_changes(&before, Some(DEFAULT_SCENARIO), std::slice::from_ref(&change));
                    assert!(left[0].contains("they run refresh, and nothing else"), "{left:?}");
                    continue;
                }
                let SessionKeys { keys: after, plan } = changed(&before, Some(DEFAULT_SCENARIO), &change);
                let changes = live_changes(&SessionPlan::new("s", "wec", before.clone()), &after).unwrap();
                let scenario = change.live().of_scenario.then(|| DEFAULT_SCENARIO.to_owned());
                // An event is of the run in which it happens, and no key of the plan.
                let expected = match &change {
                    ChangeTo::Event(_) => LiveChanges::new(),
                    change => LiveChanges::from([(scenario, vec![change.clone()])]),
                };
                assert_eq!(changes, expected, "{load:?}");
                let now = &plan.scenarios[0];
                let numbers = match &change {
                    ChangeTo::Workers(_) => Some(f64::from(now.load.workers())),
                    ChangeTo::Rate(_) => now.load.rate(),
                    _ => None,
                };
                assert_eq!(numbers, change.number(), "{load:?} {change:?}");
            }
        }
        assert_eq!(executors, [""; 0], "give a load with each executor");
    }

    #[test]
    fn a_plan_has_all_changes_that_it_can_have_and_tells_why_not_others() {
        let fleet = planned(&[("fleet_certificates", "100"), ("workers", "5")]);
        let (made, left) = with_changes(&fleet, None, &[ChangeTo::Rate(0.0), ChangeTo::Workers(8)]);
        let made = made.unwrap();
        assert_eq!((made.keys["workers"].as_str(), made.plan.scenarios[0].load.workers()), ("8", 8));
        assert!(!made.keys.contains_key("fleet_speed"));
        assert_eq!(left.len(), 1);
        assert!(left[0].contains("fleet_speed: \"0\" is not a speed from 0.001 to 86400"), "{left:?}");
        let (made, left) = with_changes(&keys(&[("worker", "5")]), None, &[ChangeTo::Workers(8)]);
        assert!(made.is_none() && left[0].contains("worker: unknown key"), "{left:?}");
    }

    #[test]
    fn what_cannot_be_changed_during_a_run_is_no_change_of_it() {
        let before = [("rate", "50/s"), ("workers", "5"), ("weights.revoke", "1")];
        let plan = SessionPlan::new("s", "wec", planned(&before));
        let other = [
            ("rate", "50 requests/s"),
            ("target_rps", "20"),
            ("workers", "1000000000"),
            ("weights.revoke", "-1"),
            ("weights.nothing", "1"),
            ("limit_nothing", "1"),
            ("run_time", "1h"),
            ("state", "stopped"),
        ];
        for (key, value) in other {
            let mut after = planned(&before);
            after.insert(key.to_owned(), value.to_owned());
            assert_eq!(live_changes(&plan, &after), Err(vec![key.to_owned()]), "{key}={value}");
        }
        let mut after = planned(&before);
        after.remove("workers");
        after.extend(keys(&[("seed", "4"), ("stages", "10s:40"), ("weights.revoke", "2")]));
        let fixed = live_changes(&plan, &after).unwrap_err();
        assert_eq!(fixed, ["workers", "seed", "stages"]);
        let planned = SessionKeys::of_keys(&planned(&before)).unwrap().plan;
        let refusal = not_live(&SessionPlan { plan: Some(planned), ..plan }, &fixed).to_string();
        for part in [
            "cannot update session \"s\": it is running, and workers, seed, stages can be changed only",
            "workers, rate in the same unit, weights.CHAIN",
        ] {
            assert!(refusal.contains(part), "{refusal}");
        }
    }
}
