//! Planned sessions and agents: what people can do with them.
//!
//! The web API, `wec session` and `wec node` all use this module, so that all give the same answers.

mod live;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::schema::AnyOfBuilder;
use utoipa::openapi::{Ref, RefOr, Schema};
use wec_board::{AgentsView, Author, Board, BoardError, PlanState, PlanUpdate, Selection, SessionPlan};
use wec_record::Mark;
use wec_requester::{PROGRAM, SessionKeys, keys_of_json};

use self::live::{live_changes, not_live, with_changes};
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
