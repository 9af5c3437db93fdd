//! The list of runs.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};

use super::Web;
use super::error::{ApiError, ErrorBody};
use crate::runs::{CURRENT, Run};
use crate::snapshot::{Runs, Warnings};

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
    let warnings = figures.lock().warnings();
    Ok(Json(warnings))
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
