//! The session as a resource: what the board has, and changes of it. It changes the board, which requesters follow.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use wec_board::{Board, BoardError, By, Phase, SessionState};
use wec_record::Mark;

use super::error::{ApiError, ErrorBody};
use super::{MAX_BODY, Web};
use crate::control::{self, Asked, Refusal};
use crate::runs::CURRENT;
use crate::schema;
use crate::snapshot::{RunEntry, SessionEntry, SessionView, Sessions};

/// By this header `wec session` says that it is a command line that asks.
const BY: &str = "wec-by";

/// What is to be different about the whole session. Keys that are left out stay as they are.
#[derive(ToSchema)]
#[schema(as = SessionPatch)]
#[expect(dead_code, reason = "bodies are read key by key, so that every mistake in them is told")]
pub(super) struct SessionPatch {
    /// Running, paused or stopped. A stopped session stays stopped.
    #[schema(nullable = false)]
    state: Option<SessionState>,
    /// Each limit that is named; `null` takes it away.
    #[schema(nullable = false)]
    limits: Option<LimitsPatch>,
}

/// Hard limits on what the run may make at the CA.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct LimitsPatch {
    /// Accounts.
    registrations: Option<u64>,
    /// Orders made ready.
    authorizations: Option<u64>,
    /// Certificates.
    certificates: Option<u64>,
}

/// What is to be different about one scenario. Keys that are left out stay as they are. A change of `workers` or `rate`
/// ends the scenario's own stages: what was asked for holds from then on.
#[derive(ToSchema)]
#[expect(dead_code, reason = "bodies are read key by key, so that every mistake in them is told")]
pub(super) struct ScenarioPatch {
    /// Virtual users: how many, or how many at most where the scenario keeps a rate.
    #[schema(nullable = false, maximum = 1_000_000)]
    workers: Option<u32>,
    /// Arrivals a second, in the scenario's `rate_unit`; only of a scenario that has a rate.
    #[schema(nullable = false, minimum = 0, maximum = 1_000_000)]
    rate: Option<f64>,
    /// Weights of those chains that are named; the others stay.
    #[schema(schema_with = schema::weights, required = false)]
    weights: Option<BTreeMap<String, f64>>,
}

/// What came of a change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SessionChanged {
    /// The session after it.
    pub session: SessionView,
    /// What is different now; what was so already is not among it.
    pub changes: Vec<Mark>,
}

/// The sessions, each with its runs
#[utoipa::path(
    get,
    path = "/api/v1/sessions",
    operation_id = "list_sessions",
    tag = "control",
    responses(
        (status = "default", description = "Refused: 401, 403, 413, 415 as docs/web-api.md says", body = ErrorBody),
        (status = OK, description = "Those on the board and those that runs name", body = Sessions),
    )
)]
pub(super) async fn list(State(web): State<Arc<Web>>) -> Json<Sessions> {
    let runs = web.runs.list().await;
    let on_board = web.board.sessions().into_iter().map(|session| session.value);
    let on_board = on_board.map(|session| {
        let running = web.feed.workers_running(&session.id);
        (session.id.clone(), SessionView::new(&session, running))
    });
    Json(Sessions { sessions: by_session(on_board.collect(), runs) })
}

/// The session, as the board has it
#[utoipa::path(
    get,
    path = "/api/v1/sessions/{id}",
    tag = "control",
    params(("id" = String, Path, description = "The session's id, or `current`: the one that this service shows")),
    responses(
        (status = "default", description = "Refused: 401, 403, 413, 415 as docs/web-api.md says", body = ErrorBody),
        (status = OK, description = "The session", body = SessionView),
        (status = NOT_FOUND, description = "The board has no session yet", body = ErrorBody),
    )
)]
pub(super) async fn show(
    State(web): State<Arc<Web>>,
    Path(id): Path<String>,
) -> Result<Json<SessionView>, ApiError> {
    let id = web.session_named(&id);
    let view = web.feed.session_view(id, web.feed.workers_running(id));
    view.map(Json).ok_or_else(|| ApiError::NoSession(id.to_owned()))
}

/// What has been changed of a session, in order: the last 1,000 changes of all its runs
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Journal {
    /// Who changed what, from what, to what, and when; the last one last.
    pub changes: Vec<Mark>,
}

impl Journal {
    /// What a board has of a session.
    ///
    /// # Errors
    /// When the board cannot be asked.
    pub async fn read(board: &Board, session: &str) -> Result<Self, BoardError> {
        let changes = board.journal(session).await?;
        Ok(Self { changes: changes.into_iter().map(|change| change.mark).collect() })
    }
}

/// What has been changed of the session, and by whom
#[utoipa::path(
    get,
    path = "/api/v1/sessions/{id}/journal",
    tag = "control",
    params(("id" = String, Path, description = "The session's id, or `current`: the one that this service shows")),
    responses(
        (status = "default", description = "Refused: 401, 403, 413, 415 as docs/web-api.md says", body = ErrorBody),
        (status = OK, description = "Its changes; none of a session that nobody has changed, or that is not there", body = Journal),
        (status = SERVICE_UNAVAILABLE, description = "The board could not be asked", body = ErrorBody),
    )
)]
pub(super) async fn journal(
    State(web): State<Arc<Web>>,
    Path(id): Path<String>,
) -> Result<Json<Journal>, ApiError> {
    let journal = Journal::read(&web.board, web.session_named(&id)).await;
    Ok(Json(journal.map_err(Refusal::from)?))
}

/// Pauses, goes on, stops; changes limits
#[utoipa::path(
    patch,
    path = "/api/v1/sessions/{id}",
    tag = "control",
    params(
        ("id" = String, Path, description = "The session's id, or `current`: the one that this service shows"),
        ("Wec-By" = Option<String>, Header, description = "`cli` where a person's command line asks"),
    ),
    request_body = SessionPatch,
    responses(
        (status = "default", description = "Refused: 401, 403, 413, 415 as docs/web-api.md says", body = ErrorBody),
        (status = OK, description = "It is so now", body = SessionChanged),
        (status = BAD_REQUEST, description = "Something is wrong with the body; nothing was changed", body = ErrorBody),
        (status = NOT_FOUND, description = "The board has no session", body = ErrorBody),
        (status = CONFLICT, description = "The session has been stopped", body = ErrorBody),
        (status = SERVICE_UNAVAILABLE, description = "The board could not be told", body = ErrorBody),
    )
)]
pub(super) async fn change(
    State(web): State<Arc<Web>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<SessionChanged>, ApiError> {
    web.apply(&id, &headers, None, control::session_changes(&read(&headers, body)?)).await
}

/// Changes workers, rate and weights of one scenario
#[utoipa::path(
    patch,
    path = "/api/v1/sessions/{id}/scenarios/{name}",
    tag = "control",
    params(
        ("id" = String, Path, description = "The session's id, or `current`: the one that this service shows"),
        ("name" = String, Path, description = "The scenario; `default` in a run that has only one and did not name it"),
        ("Wec-By" = Option<String>, Header, description = "`cli` where a person's command line asks"),
    ),
    request_body = ScenarioPatch,
    responses(
        (status = "default", description = "Refused: 401, 403, 413, 415 as docs/web-api.md says", body = ErrorBody),
        (status = OK, description = "It is so now", body = SessionChanged),
        (status = BAD_REQUEST, description = "Something is wrong with the body; nothing was changed", body = ErrorBody),
        (status = NOT_FOUND, description = "The board has no session, or the session has no such scenario", body = ErrorBody),
        (status = CONFLICT, description = "The session has been stopped, or the scenario has ended", body = ErrorBody),
        (status = SERVICE_UNAVAILABLE, description = "The board could not be told", body = ErrorBody),
    )
)]
pub(super) async fn change_scenario(
    State(web): State<Arc<Web>>,
    Path((id, name)): Path<(String, String)>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<SessionChanged>, ApiError> {
    web.apply(&id, &headers, Some(&name), control::scenario_changes(&read(&headers, body)?)).await
}

/// Sessions of the board and of runs. `runs` are latest first.
fn by_session(mut on_board: BTreeMap<String, SessionView>, runs: Vec<RunEntry>) -> Vec<SessionEntry> {
    let mut with_runs: Vec<SessionEntry> = Vec::new();
    for run in runs {
        match with_runs.iter_mut().find(|entry| entry.id == run.session) {
            Some(entry) => entry.runs.push(run),
            None => with_runs.push(SessionEntry {
                id: run.session.clone(),
                session: on_board.remove(&run.session),
                runs: vec![run],
            }),
        }
    }
    let without_runs = on_board.into_iter();
    let without_runs =
        without_runs.map(|(id, view)| SessionEntry { id, session: Some(view), runs: Vec::new() });
    without_runs.chain(with_runs).collect()
}

impl Web {
    /// The session that a path names.
    fn session_named<'a>(&'a self, id: &'a str) -> &'a str {
        if id == CURRENT { &self.session } else { id }
    }

    async fn apply(
        &self,
        id: &str,
        headers: &HeaderMap,
        scenario: Option<&str>,
        asked: Asked,
    ) -> Result<Json<SessionChanged>, ApiError> {
        let by = by(headers)?;
        let id = self.session_named(id);
        let applied = control::apply(&self.board, id, by, scenario, asked).await?;
        Ok(Json(SessionChanged {
            session: SessionView::new(&applied.session, self.feed.workers_running(id)),
            changes: applied.changes,
        }))
    }
}

/// A browser names the page it acts for, and cannot be made not to; other programs say by a header of ours what they are.
fn by(headers: &HeaderMap) -> Result<By, ApiError> {
    if headers.contains_key(header::ORIGIN) {
        return Ok(By::Page);
    }
    match headers.get(BY).map(|value| value.to_str().unwrap_or_default()) {
        None => Ok(By::Api),
        Some("cli") => Ok(By::Cli),
        Some(other) => Err(ApiError::BadRequest(format!("Wec-By: {other:?} is not cli: leave it out"))),
    }
}

fn read(headers: &HeaderMap, body: Result<Bytes, BytesRejection>) -> Result<Value, ApiError> {
    let body = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::TooLarge(MAX_BODY),
        _ => ApiError::BadRequest(format!("the body could not be read: {rejection}")),
    })?;
    let is_json = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|media| media.trim().eq_ignore_ascii_case("application/json"));
    if !is_json {
        return Err(ApiError::NotJson);
    }
    serde_json::from_slice(&body)
        .map_err(|error| ApiError::BadRequest(format!("the body is not JSON: {error}")))
}

impl SessionView {
    /// A session as people and programs are shown it.
    pub fn new(session: &wec_board::Session, workers_running: u64) -> Self {
        use crate::snapshot::{LimitsView, ScenarioView};
        let running = session.scenarios.values().filter(|target| target.phase() == Phase::Running);
        let workers = running.map(|target| target.workers).fold(0, u32::saturating_add);
        let scenarios = session.scenarios.iter().map(|(name, target)| {
            let view = ScenarioView {
                state: target.phase().name().to_owned(),
                workers: target.workers,
                rate: target.rate,
                rate_unit: target.rate_unit.clone(),
                weights: target.weights.clone(),
                scheduled: target.scheduled,
            };
            (name.clone(), view)
        });
        Self {
            id: session.id.clone(),
            state: session.state.name().to_owned(),
            workers_target: workers,
            workers_running,
            limits: LimitsView {
                registrations: session.limits.registrations,
                authorizations: session.limits.authorizations,
                certificates: session.limits.certificates,
            },
            scenarios: scenarios.collect(),
        }
    }

    /// Whether nobody makes its load any more.
    pub fn is_stopped(&self) -> bool {
        self.state == SessionState::Stopped.name()
    }
}
