//! The one control: how many workers the session wants. It changes the board, which requesters follow.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use wec_board::{BoardError, By, Change};

use super::error::ApiError;
use super::{MAX_BODY, Web};
use crate::snapshot::SessionView;

const MAX_WORKERS: u32 = 1_000_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    workers: u32,
}

pub(crate) async fn change(
    State(web): State<Arc<Web>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<SessionView>, ApiError> {
    let wanted = parse(&headers, body)?;
    // A browser names the page it acts for; a program has no reason to.
    let by = if headers.contains_key(header::ORIGIN) { By::Page } else { By::Api };
    let session = web.board.change(&web.session, Change::workers(by, wanted.workers)).await;
    let session = session.map_err(|error| match error {
        BoardError::NoSession(_) => ApiError::NoSession(web.session.clone()),
        other => ApiError::Unavailable(other.to_string()),
    })?;
    Ok(Json(SessionView {
        id: session.value.id.clone(),
        state: session.value.state.name().to_owned(),
        workers_target: session.value.workers(),
        workers_running: web.feed.workers_running(),
    }))
}

fn parse(headers: &HeaderMap, body: Result<Bytes, BytesRejection>) -> Result<Wanted, ApiError> {
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
    let wanted: Wanted = serde_json::from_slice(&body)
        .map_err(|error| ApiError::BadRequest(format!("the body is not {{\"workers\": N}}: {error}")))?;
    if wanted.workers > MAX_WORKERS {
        return Err(ApiError::BadRequest(format!(
            "{} workers are more than {MAX_WORKERS}: ask for fewer",
            wanted.workers
        )));
    }
    Ok(wanted)
}
