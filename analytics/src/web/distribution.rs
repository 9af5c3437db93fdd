//! How the times of one row of the statistics are distributed.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use utoipa::IntoParams;
use wec_figures::snapshot::DistributionView;

use super::Web;
use super::error::{ApiError, ErrorBody, Refusals};

/// The rows that have a distribution.
const ROWS: &str = "`all requests`, `all issuances`, `chain NAME`, `endpoint NAME METHOD URI`, `challenge TYPE` and `node ID`";

/// A row of the statistics.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Row {
    /// `all requests`, `all issuances`, `chain NAME`, `endpoint NAME METHOD URI`, `challenge TYPE` or `node ID`
    row: String,
    /// Whether to show done − sent (of chains done − started) where the row has it, not done − due
    #[serde(default)]
    service: bool,
    /// Of a part of the run: its start, nanoseconds after the run's start
    from_ns: Option<u64>,
    /// Its end, which is not part of it
    to_ns: Option<u64>,
}

/// How the times of a row of the statistics are distributed, also over time, and the slowest of them
#[utoipa::path(
    get,
    path = "/api/v1/runs/{id}/distribution",
    tag = "figures",
    params(("id" = String, Path, description = "The run's id, or `current`: the live run that was started last"), Row),
    responses(
        Refusals,
        (status = OK, description = "The times of what succeeded", body = DistributionView),
        (status = BAD_REQUEST, description = "The part is empty", body = ErrorBody),
        (status = NOT_FOUND, description = "There is no such run, no such row, or no part of it can be read", body = ErrorBody),
        (status = UNPROCESSABLE_ENTITY, description = "The run's log cannot be read", body = ErrorBody),
    )
)]
pub(super) async fn distribution(
    State(web): State<Arc<Web>>,
    Path(id): Path<String>,
    row: Result<Query<Row>, QueryRejection>,
) -> Result<Json<DistributionView>, ApiError> {
    let Query(Row { row, service, from_ns, to_ns }) = row?;
    let run = web.run(&id).await?;
    let whole = from_ns.is_none() && to_ns.is_none();
    let figures = run.figures();
    let counted = figures.counted().filter(|_| whole).map(|counted| counted.distribution(&row, service));
    let view = match counted {
        Some(view) => view,
        None => {
            let part = (from_ns.unwrap_or(0), to_ns.unwrap_or(u64::MAX));
            web.part(&id, run, part, move |aggregate| aggregate.distribution(&row, service)).await?
        }
    };
    view.map(Json).ok_or_else(|| ApiError::Unknown(format!("there is no such row: rows are {ROWS}")))
}
