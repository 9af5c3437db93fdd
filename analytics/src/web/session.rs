//! The session as a resource: read from the board, and changed on the board, which requesters follow.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::views::schema;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, header};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::ObjectBuilder;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};
use wec_board::{Author, Board, BoardError, By, LiveValue, PlanState, SessionState};
use wec_record::{Mark, MarkView, write_mark_views};

use super::error::{ApiError, BodyRefusals, ErrorBody, ReadRefusals, Refusals, WriteRefusals};
use super::guard::Caller;
use super::{Web, body};
use crate::control::{self, Asked, Refusal};
use crate::plans::{self, PlanChanged, PlanPatch, PlanRefusal};
use crate::runs::CURRENT;
use crate::views::{Joining, RunEntry, SessionEntry, SessionView, Sessions};

/// The header by which `wec session` identifies itself as a command line.
const BY: &str = "wec-by";

/// Changes of the whole session: the values of [`LiveValue`] that it has, and those of the plan of a planned session
/// ([`PlanPatch`]). The body is read key by key, so that all errors in it are reported.
pub(super) struct SessionPatch;

impl ToSchema for SessionPatch {
    fn name() -> Cow<'static, str> {
        "SessionPatch".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push(("LimitsPatch".to_owned(), schema::limits().into()));
        schemas.push((<SessionState as ToSchema>::name().into(), <SessionState as PartialSchema>::schema()));
        PlanPatch::schemas(schemas);
    }
}

impl PartialSchema for SessionPatch {
    fn schema() -> RefOr<Schema> {
        let object = ObjectBuilder::new()
            .description(Some("Changes of the whole session. Keys that are left out stay as they are."));
        let object =
            LiveValue::all(false).fold(object, |object, live| object.property(live.key, schema::live(live)));
        let RefOr::T(Schema::Object(of_plan)) = PlanPatch::schema() else {
            unreachable!("a struct with named fields is an object");
        };
        of_plan
            .properties
            .into_iter()
            .fold(object, |object, (key, schema)| object.property(key, schema))
            .into()
    }
}

/// Changes of one scenario: those of [`LiveValue`] that each scenario has. The body is read key by key, so that all
/// errors in it are reported.
pub(super) struct ScenarioPatch;

impl ToSchema for ScenarioPatch {
    fn name() -> Cow<'static, str> {
        "ScenarioPatch".into()
    }
}

impl PartialSchema for ScenarioPatch {
    fn schema() -> RefOr<Schema> {
        let object = ObjectBuilder::new().description(Some(
            "Changes of one scenario. Keys that are left out stay as they are. A change of `workers` or `rate` ends the\n\
             scenario's own stages, and the new value stays.",
        ));
        LiveValue::all(true).fold(object, |object, live| object.property(live.key, schema::live(live))).into()
    }
}

/// The result of a change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SessionChanged {
    /// The session after the change.
    pub session: SessionView,
    /// The changes that were made; a value that was already as requested is not in the list.
    #[serde(serialize_with = "write_mark_views")]
    #[schema(value_type = Vec<MarkView>)]
    pub changes: Vec<Mark>,
    /// What changed in the plan of a planned session, for people: `workers 5 → 8`.
    #[serde(default)]
    pub plan_changes: Vec<String>,
    /// Why the plan of a planned session does not have changes that its run has; its next run begins without them.
    #[serde(default)]
    pub not_in_plan: Vec<String>,
}

/// Which sessions are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Listed {
    /// Only planned sessions in this state
    state: Option<PlanState>,
}

/// The sessions, each with its runs
#[utoipa::path(
    get,
    path = "/api/v1/sessions",
    operation_id = "list_sessions",
    tag = "control",
    params(Listed),
    responses(
        Refusals,
        (status = OK, description = "The sessions on the board and those of the runs", body = Sessions),
        (status = BAD_REQUEST, description = "There is no such state", body = ErrorBody),
    )
)]
pub(super) async fn list(
    State(web): State<Arc<Web>>,
    listed: Result<Query<Listed>, QueryRejection>,
) -> Result<Json<Sessions>, ApiError> {
    let Query(Listed { state }) = listed?;
    let runs = web.runs.list().await;
    let on_board = web.board.sessions().into_iter().map(|session| session.value);
    let on_board = on_board.map(|session| {
        let running = web.feed.workers_running(&session.spec.id);
        (session.spec.id.clone(), SessionView::new(&session, running))
    });
    let mut sessions = by_session(on_board.collect(), runs);
    for plan in plans::list(&web.board, None).await.unwrap_or_default() {
        match sessions.iter_mut().find(|entry| entry.id == plan.id) {
            Some(entry) => entry.plan = Some(plan),
            None => sessions.push(SessionEntry {
                id: plan.id.clone(),
                session: None,
                plan: Some(plan),
                runs: Vec::new(),
            }),
        }
    }
    if let Some(state) = state {
        sessions.retain(|entry| entry.plan.as_ref().is_some_and(|plan| plan.state == state));
    }
    let live = !web.board.agents().borrow().live.is_empty();
    let joining = Joining { possible: web.joining.possible || live, ..web.joining.clone() };
    Ok(Json(Sessions { sessions, joining }))
}

/// The session on the board, or what its runs show of it
#[utoipa::path(
    get,
    path = "/api/v1/sessions/{id}",
    tag = "control",
    params(("id" = String, Path, description = "The session's id, or `current`: the session that this service shows")),
    responses(
        Refusals,
        (status = OK, description = "The session", body = SessionView),
        (status = NOT_FOUND, description = "Neither the board nor a listed run has this session", body = ErrorBody),
    )
)]
pub(super) async fn show(
    State(web): State<Arc<Web>>,
    Path(asked): Path<String>,
) -> Result<Json<SessionView>, ApiError> {
    let id = web.session_named(&asked);
    let view = web.feed.session_view(id, web.feed.workers_running(id));
    let plan = match plans::show(&web.board, id).await {
        Ok(plan) => Some(plan),
        Err(PlanRefusal::Unknown(_)) => None,
        // What is known of its load is shown while the board cannot be reached.
        Err(_) if view.is_some() => None,
        Err(refusal) => return Err(refusal.into()),
    };
    match (view, plan) {
        (None, None) => {
            // The current session has not begun yet, whatever ran under its id before.
            let mut runs = if asked == CURRENT { Vec::new() } else { web.runs.list().await };
            runs.retain(|run| run.session == id);
            if runs.is_empty() {
                return Err(ApiError::NoSession(id.to_owned()));
            }
            Ok(Json(SessionView::of_runs(id, runs)))
        }
        (Some(view), plan) => Ok(Json(SessionView { plan, ..view })),
        (None, Some(plan)) => Ok(Json(SessionView::without_load(plan))),
    }
}

/// The changes of a session, in order: the last 1,000 of all its runs
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Journal {
    /// Who changed what, from what, to what, and when; the latest is last.
    #[serde(serialize_with = "write_mark_views")]
    #[schema(value_type = Vec<MarkView>)]
    pub changes: Vec<Mark>,
}

impl Journal {
    /// The journal of a session on a board.
    ///
    /// # Errors
    /// When the board cannot be read.
    pub async fn read(board: &Board, session: &str) -> Result<Self, BoardError> {
        let changes = board.journal(session).await?;
        Ok(Self { changes: changes.into_iter().map(|change| change.mark).collect() })
    }
}

/// The changes of the session, and who made them
#[utoipa::path(
    get,
    path = "/api/v1/sessions/{id}/journal",
    tag = "control",
    params(("id" = String, Path, description = "The session's id, or `current`: the session that this service shows")),
    responses(
        Refusals,
        ReadRefusals,
        (status = OK, description = "Its changes; empty for a session that was not changed or does not exist", body = Journal),
    )
)]
pub(super) async fn journal(
    State(web): State<Arc<Web>>,
    Path(id): Path<String>,
) -> Result<Json<Journal>, ApiError> {
    let journal = Journal::read(&web.board, web.session_named(&id)).await;
    Ok(Json(journal.map_err(Refusal::from)?))
}

/// Pauses, resumes or stops the session; changes limits
#[utoipa::path(
    patch,
    path = "/api/v1/sessions/{id}",
    tag = "control",
    params(
        ("id" = String, Path, description = "The session's id, or `current`: the session that this service shows"),
        ("Wec-By" = Option<String>, Header, description = "`cli` for a request from a command line"),
    ),
    request_body = SessionPatch,
    responses(
        Refusals,
        BodyRefusals,
        WriteRefusals,
        (status = OK, description = "The changes were made", body = SessionChanged),
        (status = BAD_REQUEST, description = "The body has errors; nothing was changed", body = ErrorBody),
        (status = NOT_FOUND, description = "The board has no session", body = ErrorBody),
        (status = CONFLICT, description = "The session has been stopped, its state does not allow the change, or it was changed since that revision", body = ErrorBody),
    )
)]
pub(super) async fn change(
    State(web): State<Arc<Web>>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<SessionChanged>, ApiError> {
    let author = author(caller, &headers)?;
    let body = body::read(&headers, body)?;
    if !["plan", "agents", "revision"].iter().any(|key| body.get(key).is_some()) {
        return web.apply(&id, author, None, control::session_changes(&body)).await;
    }
    let patch = body::typed::<PlanPatch>(body)?;
    let id = web.session_named(&id);
    let PlanChanged { session: plan, changes } = plans::update(&web.board, id, patch, author).await?;
    let view = web.feed.session_view(id, web.feed.workers_running(id));
    let session = match view {
        Some(view) => SessionView { plan: Some(plan), ..view },
        None => SessionView::without_load(plan),
    };
    Ok(Json(SessionChanged { session, changes: Vec::new(), plan_changes: changes, not_in_plan: Vec::new() }))
}

/// Changes workers, rate and weights of one scenario, or adds an event to its fleet
#[utoipa::path(
    patch,
    path = "/api/v1/sessions/{id}/scenarios/{name}",
    tag = "control",
    params(
        ("id" = String, Path, description = "The session's id, or `current`: the session that this service shows"),
        ("name" = String, Path, description = "The scenario; `default` in a run with one scenario without a name"),
        ("Wec-By" = Option<String>, Header, description = "`cli` for a request from a command line"),
    ),
    request_body = ScenarioPatch,
    responses(
        Refusals,
        BodyRefusals,
        WriteRefusals,
        (status = OK, description = "The changes were made", body = SessionChanged),
        (status = BAD_REQUEST, description = "The body has errors; nothing was changed", body = ErrorBody),
        (status = NOT_FOUND, description = "The board has no session, or the session has no such scenario", body = ErrorBody),
        (status = CONFLICT, description = "The session has been stopped, or the scenario has ended", body = ErrorBody),
    )
)]
pub(super) async fn change_scenario(
    State(web): State<Arc<Web>>,
    Path((id, name)): Path<(String, String)>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<SessionChanged>, ApiError> {
    let author = author(caller, &headers)?;
    web.apply(&id, author, Some(&name), control::scenario_changes(&body::read(&headers, body)?)).await
}

/// The sessions of the board and of the runs. `runs` are latest first.
fn by_session(mut on_board: BTreeMap<String, SessionView>, runs: Vec<RunEntry>) -> Vec<SessionEntry> {
    let mut with_runs: Vec<SessionEntry> = Vec::new();
    for run in runs {
        match with_runs.iter_mut().find(|entry| entry.id == run.session) {
            Some(entry) => entry.runs.push(run),
            None => with_runs.push(SessionEntry {
                id: run.session.clone(),
                session: on_board.remove(&run.session),
                plan: None,
                runs: vec![run],
            }),
        }
    }
    let without_runs = on_board.into_iter();
    let without_runs =
        without_runs.map(|(id, view)| SessionEntry { id, session: Some(view), plan: None, runs: Vec::new() });
    without_runs.chain(with_runs).collect()
}

impl Web {
    /// The session in a path.
    fn session_named<'a>(&'a self, id: &'a str) -> &'a str {
        if id == CURRENT { &self.session } else { id }
    }

    async fn apply(
        &self,
        id: &str,
        author: Author,
        scenario: Option<&str>,
        asked: Asked,
    ) -> Result<Json<SessionChanged>, ApiError> {
        let id = self.session_named(id);
        let applied = plans::steer(&self.board, id, author, scenario, asked).await?;
        for why in &applied.not_in_plan {
            tracing::warn!("the plan of session {id} does not have a change of its run: {why}");
        }
        Ok(Json(SessionChanged {
            session: SessionView::new(&applied.session, self.feed.workers_running(id)),
            changes: applied.changes,
            plan_changes: Vec::new(),
            not_in_plan: applied.not_in_plan,
        }))
    }
}

pub(super) fn author(caller: Caller, headers: &HeaderMap) -> Result<Author, ApiError> {
    Ok(Author { by: by(headers)?, who: caller.name })
}

/// A browser always sends the origin of its page; other programs identify themselves with our own header.
pub(super) fn by(headers: &HeaderMap) -> Result<By, ApiError> {
    if headers.contains_key(header::ORIGIN) {
        return Ok(By::Page);
    }
    match headers.get(BY).map(|value| value.to_str().unwrap_or_default()) {
        None => Ok(By::Api),
        Some("cli") => Ok(By::Cli),
        Some(other) => Err(ApiError::BadRequest(format!("Wec-By: {other:?} is not cli: omit the header"))),
    }
}
