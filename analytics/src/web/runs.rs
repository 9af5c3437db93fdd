//! The list of runs.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use utoipa::IntoParams;

use super::Web;
use super::error::{ApiError, ErrorBody};
use crate::runs::{CURRENT, Run};
use crate::snapshot::{Runs, Warnings, WindowView};

/// The runs that have a log
#[utoipa::path(
    get,
    path = "/api/v1/runs",
    tag = "figures",
    responses(
        (status = "default", description = "Refused: 401, 403, 413, 415 as docs/web-api.md says", body = ErrorBody),
        (status = OK, description = "Latest first", body = Runs),
    )
)]
pub(super) async fn list(State(web): State<Arc<Web>>) -> Json<Runs> {
    Json(Runs { runs: web.runs.list().await })
}

/// What the processes of the load tester warned of during a run
#[utoipa::path(
    get,
    path = "/api/v1/runs/{id}/warnings",
    tag = "figures",
    params(("id" = String, Path, description = "The run's id, or `current`: the live run that was started last")),
    responses(
        (status = "default", description = "Refused: 401, 403, 413, 415 as docs/web-api.md says", body = ErrorBody),
        (status = OK, description = "By cause, most frequent first", body = Warnings),
        (status = NOT_FOUND, description = "There is no such run", body = ErrorBody),
        (status = UNPROCESSABLE_ENTITY, description = "The run's log cannot be read", body = ErrorBody),
    )
)]
pub(super) async fn warnings(
    State(web): State<Arc<Web>>,
    Path(id): Path<String>,
) -> Result<Json<Warnings>, ApiError> {
    let run = web.run(&id).await?;
    let figures = run.figures();
    let warnings = figures.warnings();
    Ok(Json(warnings))
}

/// A part of a run.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Part {
    /// Its start, nanoseconds after the run's start
    from_ns: u64,
    /// Its end, which is not part of it
    to_ns: u64,
}

/// All figures of a part of a run that has ended
#[utoipa::path(
    get,
    path = "/api/v1/runs/{id}/window",
    tag = "figures",
    params(("id" = String, Path, description = "The run's id"), Part),
    responses(
        (status = "default", description = "Refused: 401, 403, 413, 415 as docs/web-api.md says", body = ErrorBody),
        (status = OK, description = "The figures of the part, and its series; by seconds if it is no longer than an hour", body = WindowView),
        (status = BAD_REQUEST, description = "The part is empty", body = ErrorBody),
        (status = NOT_FOUND, description = "There is no such run, or it has not ended", body = ErrorBody),
        (status = UNPROCESSABLE_ENTITY, description = "The run's log cannot be read", body = ErrorBody),
    )
)]
pub(super) async fn window(
    State(web): State<Arc<Web>>,
    Path(id): Path<String>,
    part: Result<Query<Part>, QueryRejection>,
) -> Result<Json<WindowView>, ApiError> {
    let Query(Part { from_ns, to_ns }) = part.map_err(|error| ApiError::BadRequest(error.body_text()))?;
    if from_ns >= to_ns {
        let wrong = format!("from_ns {from_ns} is not before to_ns {to_ns}");
        return Err(ApiError::BadRequest(wrong));
    }
    let run = web.run(&id).await?;
    // Reading takes a processor, and goes on when the client has left.
    let one_at_a_time = Arc::clone(&web.reading).lock_owned().await;
    let read = tokio::task::spawn_blocking(move || {
        let _until_read = one_at_a_time;
        run.window(from_ns, to_ns)
    });
    // The panic hook has reported a panic.
    let read = read.await.unwrap_or(None).ok_or(ApiError::NoWindow(id))?;
    read.map(Json).map_err(|error| ApiError::Unreadable(error.to_string()))
}

impl Web {
    /// The session to show with the run in a path; none for the run's own.
    pub(super) fn session_of(&self, id: &str) -> Option<&str> {
        (id == CURRENT).then_some(&self.session)
    }

    /// The run in a path.
    pub(super) async fn run(&self, id: &str) -> Result<Arc<dyn Run>, ApiError> {
        let found = self.runs.find(id).await.map_err(|error| ApiError::Unreadable(error.to_string()));
        found?.ok_or_else(|| ApiError::NoRun(id.to_owned()))
    }
}
