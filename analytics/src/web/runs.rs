//! Which runs there are.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::Web;
use super::error::{ApiError, ErrorBody};
use crate::runs::{CURRENT, Run};
use crate::snapshot::Runs;

/// The runs of which there is a log
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

impl Web {
    /// The session to show with the run that a path names; none where it is the run's own.
    pub(super) fn session_of(&self, id: &str) -> Option<&str> {
        (id == CURRENT).then_some(&self.session)
    }

    /// The run that a path names.
    pub(super) async fn run(&self, id: &str) -> Result<Arc<dyn Run>, ApiError> {
        let found = self.runs.find(id).await.map_err(|error| ApiError::Unreadable(error.to_string()));
        found?.ok_or_else(|| ApiError::NoRun(id.to_owned()))
    }
}
