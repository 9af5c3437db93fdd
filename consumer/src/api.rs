//! The HTTP API.
//!
//! | request | answer |
//! | --- | --- |
//! | `POST /apiv0.1/events/register` | the job's `uuid`, at the top and in `data` |
//! | `POST /apiv0.1/events/update`, `…/commit` | the same |
//! | `GET /apiv0.1/events/isrunning` | each job's uuid: whether it runs |
//! | `GET /events/isrunning` | how many run, and the same under `jobs` |
//! | `GET /apiv0.1/ping` | `{"res":"PONG!"}` |
//!
//! An error is `{"error": "a sentence"}`. No answer permits pages of other sites to read it.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Map, Value, json};
use wec_listen::Connections;
use wec_startup::Token;

use crate::job::JobError;
use crate::payload::{Registration, Report, Wrong};
use crate::shared::Shared;

/// Bytes of a body: requestStats of some thousand endpoints.
const MAX_BODY: usize = 1 << 20;

/// What the API needs beside the jobs.
pub(crate) struct Guard {
    pub(crate) token: Option<Token>,
    pub(crate) connections: Arc<Connections>,
}

pub(crate) fn router(shared: Arc<Shared>, guard: Guard) -> Router {
    Router::new()
        .route("/apiv0.1/events/register", post(register))
        .route("/apiv0.1/events/update", post(update))
        .route("/apiv0.1/events/commit", post(commit))
        .route("/apiv0.1/events/isrunning", get(is_running))
        .route("/events/isrunning", get(how_many))
        .route("/apiv0.1/ping", get(async || Json(json!({ "res": "PONG!" }))))
        .route("/healthz", get(async || "ok"))
        .fallback(async || {
            ApiError(
                StatusCode::NOT_FOUND,
                "there is no such path: the paths are in docs/exports.md".to_owned(),
            )
        })
        .method_not_allowed_fallback(async || {
            ApiError(
                StatusCode::METHOD_NOT_ALLOWED,
                "this path does not have this method: the methods are in docs/exports.md".to_owned(),
            )
        })
        .with_state(shared)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(axum::middleware::from_fn_with_state(Arc::new(guard), checked))
}

struct ApiError(StatusCode, String);

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

impl From<Wrong> for ApiError {
    fn from(wrong: Wrong) -> Self {
        Self(StatusCode::UNPROCESSABLE_ENTITY, wrong.to_string())
    }
}

impl From<JobError> for ApiError {
    fn from(error: JobError) -> Self {
        let status = match error {
            JobError::Unknown => StatusCode::NOT_FOUND,
            JobError::Committed => StatusCode::CONFLICT,
            JobError::Full => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self(status, error.to_string())
    }
}

type Body = Result<Bytes, BytesRejection>;

async fn register(State(shared): State<Arc<Shared>>, body: Body) -> Result<Json<Value>, ApiError> {
    let registration = Registration::read(&parsed(body)?)?;
    Ok(with_uuid(shared.register(registration).await?))
}

async fn update(State(shared): State<Arc<Shared>>, body: Body) -> Result<Json<Value>, ApiError> {
    let report = Report::read(&parsed(body)?)?;
    let uuid = report.uuid.clone();
    shared.change(|jobs, now| jobs.update(now, report)).await?;
    Ok(with_uuid(uuid))
}

async fn commit(State(shared): State<Arc<Shared>>, body: Body) -> Result<Json<Value>, ApiError> {
    let report = Report::read_final(&parsed(body)?)?;
    let uuid = report.uuid.clone();
    shared.change(|jobs, now| jobs.commit(now, report)).await?;
    Ok(with_uuid(uuid))
}

/// The document has it at the top, its program in `data`.
fn with_uuid(uuid: String) -> Json<Value> {
    Json(json!({ "uuid": uuid, "data": { "uuid": uuid } }))
}

async fn is_running(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(Value::Object(running(&shared).await))
}

async fn how_many(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let jobs = running(&shared).await;
    let count = jobs.values().filter(|runs| **runs == Value::Bool(true)).count();
    Json(json!({ "running": count, "jobs": jobs }))
}

async fn running(shared: &Shared) -> Map<String, Value> {
    let state = shared.state.lock().await;
    let all = state.jobs.all().iter();
    all.map(|(uuid, job)| (uuid.clone(), Value::Bool(job.is_running()))).collect()
}

fn parsed(body: Body) -> Result<Value, ApiError> {
    let body = body.map_err(|rejected| {
        let status = rejected.status();
        let text = if status == StatusCode::PAYLOAD_TOO_LARGE {
            format!("the body is longer than {MAX_BODY} bytes")
        } else {
            format!("the body cannot be read: {}", rejected.body_text())
        };
        ApiError(status, text)
    })?;
    serde_json::from_slice(&body)
        .map_err(|error| ApiError(StatusCode::BAD_REQUEST, format!("the body is not JSON: {error}")))
}

/// Browsers name the page of a request that changes something, and a name that another site controls in a request
/// that reads.
async fn checked(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let mut answer = match guard.check(&request) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    };
    let headers = answer.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

impl Guard {
    fn check(&self, request: &Request) -> Result<(), ApiError> {
        let headers = request.headers();
        if headers.contains_key(header::ORIGIN) {
            return Err(ApiError(
                StatusCode::FORBIDDEN,
                "requests from web pages are not allowed".to_owned(),
            ));
        }
        let Some(token) = &self.token else { return check_host(request) };
        let offered = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        if request.uri().path() == "/healthz" || offered.is_some_and(|offered| token.is_bearer(offered)) {
            return Ok(());
        }
        self.connections.count_unauthenticated();
        Err(ApiError(
            StatusCode::UNAUTHORIZED,
            "a token is needed: send Authorization: Bearer TOKEN".to_owned(),
        ))
    }
}

/// Without a token, the listener is on loopback. Another site can let its name resolve to loopback, but the browser
/// still sends that name.
fn check_host(request: &Request) -> Result<(), ApiError> {
    let host =
        request.headers().get(header::HOST).and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
    let known = host.is_some_and(|host| {
        let name = host.host();
        let literal = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        literal.parse::<IpAddr>().is_ok() || name.eq_ignore_ascii_case("localhost")
    });
    known.then_some(()).ok_or_else(|| {
        ApiError(StatusCode::FORBIDDEN, "use an address or localhost as the host, or set a token".to_owned())
    })
}
