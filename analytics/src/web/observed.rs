//! Metrics of other programs beside a run, over time.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use wec_figures::snapshot::ObservedOverTime;

use super::Web;
use super::error::{ApiError, ErrorBody, Refusals};

/// Metrics of other programs over time
#[utoipa::path(
    get,
    path = "/api/v1/runs/{id}/observed",
    tag = "figures",
    params(("id" = String, Path, description = "The run's id, or `current`: the live run that was started last")),
    responses(
        Refusals,
        (status = OK, description = "Every series, whole", body = ObservedOverTime),
        (status = NOT_FOUND, description = "There is no such run", body = ErrorBody),
        (status = UNPROCESSABLE_ENTITY, description = "The run's log cannot be read", body = ErrorBody),
    )
)]
pub(super) async fn observed(
    State(web): State<Arc<Web>>,
    Path(id): Path<String>,
) -> Result<Json<ObservedOverTime>, ApiError> {
    let figures = web.run(&id).await?.figures();
    let series = figures.observed();
    Ok(Json(ObservedOverTime { series }))
}
