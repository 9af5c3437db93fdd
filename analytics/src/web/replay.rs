//! The replay as a resource: its position, and how to pause, move and speed it up.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::HeaderMap;
use serde_json::Value;
use utoipa::ToSchema;

use super::error::{ApiError, BodyRefusals, ErrorBody, Refusals};
use super::{Web, body};
use crate::control::Mistakes;
use crate::runs::{ReplayChange, Replayed};
use crate::views::ReplayView;

/// Slowest and fastest replay.
pub(crate) const SPEEDS: (f64, f64) = (1.0, 1_000.0);

/// Changes of a replay. Keys that are left out stay as they are.
#[derive(ToSchema)]
#[schema(as = ReplayPatch)]
#[expect(dead_code, reason = "bodies are read key by key, so that all errors in them are reported")]
pub(super) struct ReplayPatch {
    /// Whether time passes. To play from the end is to play from the start.
    #[schema(nullable = false)]
    playing: Option<bool>,
    /// Seconds of the run in one second.
    #[schema(nullable = false, minimum = 1, maximum = 1000)]
    speed: Option<f64>,
    /// The position to go to, nanoseconds since the run's start. To go back, the log is read again from its
    /// start.
    #[schema(nullable = false)]
    position_ns: Option<u64>,
}

/// Where the replay is
#[utoipa::path(
    get,
    path = "/api/v1/replay",
    operation_id = "show_replay",
    tag = "replay",
    responses(
        Refusals,
        (status = OK, description = "Its position and speed", body = ReplayView),
        (status = NOT_FOUND, description = "Nothing is replayed here", body = ErrorBody),
    )
)]
pub(super) async fn show(State(web): State<Arc<Web>>) -> Result<Json<ReplayView>, ApiError> {
    Ok(Json(web.replayed()?.view()))
}

/// Pauses or continues the replay; changes its speed and position
#[utoipa::path(
    patch,
    path = "/api/v1/replay",
    operation_id = "change_replay",
    tag = "replay",
    request_body = ReplayPatch,
    responses(
        Refusals,
        BodyRefusals,
        (status = OK, description = "The changes were made", body = ReplayView),
        (status = BAD_REQUEST, description = "The body has errors; nothing was changed", body = ErrorBody),
        (status = NOT_FOUND, description = "Nothing is replayed here", body = ErrorBody),
    )
)]
pub(super) async fn change(
    State(web): State<Arc<Web>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<ReplayView>, ApiError> {
    let replayed = web.replayed()?;
    let change = asked(&body::read(&headers, body)?).map_err(ApiError::Mistakes)?;
    Ok(Json(replayed.change(change)))
}

fn asked(body: &Value) -> Result<ReplayChange, Mistakes> {
    let Some(object) = body.as_object().filter(|object| !object.is_empty()) else {
        return Err(Mistakes(vec![
            "the body has no changes: send an object with playing, speed, position_ns".to_owned(),
        ]));
    };
    let (mut change, mut mistakes) = (ReplayChange::default(), Vec::new());
    let (slowest, fastest) = SPEEDS;
    for (key, value) in object {
        let wrong = match key.as_str() {
            "playing" => {
                change.playing = value.as_bool();
                change.playing.is_none().then_some("true or false".to_owned())
            }
            "speed" => {
                change.speed = value.as_f64().filter(|speed| (slowest..=fastest).contains(speed));
                change.speed.is_none().then(|| format!("a number from {slowest} to {fastest}"))
            }
            "position_ns" => {
                change.position_ns = value.as_u64();
                change.position_ns.is_none().then_some("a whole number of nanoseconds from 0".to_owned())
            }
            _ => {
                mistakes.push(format!("{key}: is not one of playing, speed, position_ns"));
                None
            }
        };
        mistakes.extend(wrong.map(|wanted| format!("{key}: {value} is not {wanted}")));
    }
    if mistakes.is_empty() { Ok(change) } else { Err(Mistakes(mistakes)) }
}

impl Web {
    fn replayed(&self) -> Result<&Arc<Replayed>, ApiError> {
        self.runs.replayed().ok_or(ApiError::NoReplay)
    }
}
