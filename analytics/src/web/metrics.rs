//! The figures for Prometheus.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::IntoResponse;

use super::Web;
use super::error::{ApiError, Refusals};
use crate::metrics::{Encoding, clocks, encode};

/// The figures of the current run for Prometheus
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "figures",
    responses(
        Refusals,
        (
            status = OK,
            description = "OpenMetrics text; with `Accept`, also Prometheus' protobuf messages or its text format",
            body = String,
            content_type = "application/openmetrics-text"
        ),
    )
)]
pub(super) async fn scrape(
    State(web): State<Arc<Web>>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, ApiError> {
    let encoding = Encoding::accepted(&headers);
    let mut families = web.feed.families(&*web.runs.latest());
    families.push(clocks(&web.board.nodes().borrow()));
    let body = encode(families, encoding)
        .map_err(|_| ApiError::Unavailable("the figures cannot be encoded".to_owned()))?;
    Ok(([(header::CONTENT_TYPE, encoding.content_type())], body))
}
