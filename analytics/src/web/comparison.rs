//! Runs side by side.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::Deserialize;
use utoipa::IntoParams;
use wec_report::baseline::Baseline;
use wec_report::compare::{Comparison, Side, compare};

use super::Web;
use super::error::{ApiError, ErrorBody, Refusals};
use crate::views::RunSource;

/// Runs of both sides together.
const MOST_RUNS: usize = 16;

/// The runs of two sides.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Sides {
    /// The ids of the runs before, separated by commas
    before: String,
    /// The ids of the runs after
    after: String,
}

/// Compares runs as `wec compare` does: each figure with the interval of its change
#[utoipa::path(
    get,
    path = "/api/v1/comparison",
    operation_id = "compare_runs",
    tag = "figures",
    params(Sides),
    responses(
        Refusals,
        (status = OK, description = "Several runs on a side are pooled", body = Comparison),
        (status = BAD_REQUEST, description = "A side has no run, or there are too many", body = ErrorBody),
        (status = NOT_FOUND, description = "There is no such run, or it cannot be read", body = ErrorBody),
        (status = UNPROCESSABLE_ENTITY, description = "A run's log cannot be read", body = ErrorBody),
    )
)]
pub(super) async fn comparison(
    State(web): State<Arc<Web>>,
    sides: Result<Query<Sides>, QueryRejection>,
) -> Result<Json<Comparison>, ApiError> {
    let Query(Sides { before, after }) = sides?;
    let ids = |side: &str| -> Vec<String> {
        side.split(',').filter(|id| !id.is_empty()).map(str::to_owned).collect()
    };
    let (before, after) = (ids(&before), ids(&after));
    if before.is_empty() || after.is_empty() || before.len() + after.len() > MOST_RUNS {
        return Err(ApiError::BadRequest(format!(
            "before, after: give at least one run for each, and at most {MOST_RUNS} together"
        )));
    }
    let mut live = Vec::new();
    let before = web.side(&before, &mut live).await?;
    let after = web.side(&after, &mut live).await?;
    let mut comparison = compare(&before, &after, &[]);
    comparison
        .warnings
        .extend(live.iter().map(|id| format!("run {id} goes on: its figures are those so far")));
    Ok(Json(comparison))
}

impl Web {
    /// These runs, and into `live` the ids of those that go on.
    async fn side(&self, ids: &[String], live: &mut Vec<String>) -> Result<Side, ApiError> {
        let mut runs = Vec::with_capacity(ids.len());
        for id in ids {
            let run = self.run(id).await?;
            // What goes on has no end yet, and its own warning.
            let mut problems = Vec::new();
            if matches!(run.source(), RunSource::Live | RunSource::GrowingLog) {
                live.push(id.clone());
            } else {
                problems = run.health().log_problems;
            }
            let counted = run.figures().counted().map(|counted| Baseline::of(&counted));
            let baseline = match counted {
                Some(baseline) => baseline,
                None => self.part(id, run, (0, u64::MAX), |aggregate| Baseline::of(aggregate)).await?,
            };
            runs.push(baseline.with_problems(&problems));
        }
        Ok(Side(runs))
    }
}
