//! The list of runs.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use wec_board::Author;
use wec_figures::snapshot::{Warnings, WindowView};
use wec_record::{Mark, MarkValue, MarkView, MarkWhat};

use super::error::{ApiError, BodyRefusals, ErrorBody, Refusals};
use super::guard::Caller;
use super::{Web, body, session};
use crate::Aggregate;
use crate::clock::unix_now_ns;
use crate::runs::{CURRENT, Run};
use crate::views::Runs;

/// The runs that have a log
#[utoipa::path(
    get,
    path = "/api/v1/runs",
    tag = "figures",
    responses(
        Refusals,
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
        Refusals,
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

/// A mark from outside.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewMark {
    /// What happened; at most 200 characters
    text: String,
}

/// The longest text of a mark, characters.
const LONGEST_MARK: usize = 200;

/// Puts a mark from outside on the time axis of a run
#[utoipa::path(
    post,
    path = "/api/v1/runs/{id}/marks",
    operation_id = "mark_run",
    tag = "control",
    params(
        ("id" = String, Path, description = "The run's id, or `current`: the live run that was started last"),
        ("Wec-By" = Option<String>, Header, description = "`cli` for a request from a command line"),
    ),
    request_body = NewMark,
    responses(
        Refusals,
        BodyRefusals,
        (status = CREATED, description = "The mark", body = MarkView),
        (status = BAD_REQUEST, description = "The text is empty or too long", body = ErrorBody),
        (status = NOT_FOUND, description = "There is no such run, or it is not live", body = ErrorBody),
    )
)]
pub(super) async fn mark(
    State(web): State<Arc<Web>>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<MarkView>), ApiError> {
    let NewMark { text } = body::parsed(&headers, body)?;
    let text = text.trim();
    if text.is_empty() || text.chars().count() > LONGEST_MARK {
        return Err(ApiError::BadRequest(format!("text: give 1 to {LONGEST_MARK} characters")));
    }
    let Author { by, who } = session::author(caller, &headers)?;
    let note = Mark::new(unix_now_ns(), by.into(), MarkWhat::Note, MarkValue::Text(text.to_owned()));
    let mark = Mark { who, ..note };
    if web.feed.mark(&id, mark.clone()).await {
        Ok((StatusCode::CREATED, Json(mark.into())))
    } else {
        Err(ApiError::NoRun(id))
    }
}

/// A part of a run.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PartQuery {
    /// Its start, nanoseconds after the run's start
    from_ns: u64,
    /// Its end, which is not part of it
    to_ns: u64,
}

/// All figures of a part of a run; of one that has not ended, by what its log has so far
#[utoipa::path(
    get,
    path = "/api/v1/runs/{id}/window",
    tag = "figures",
    params(("id" = String, Path, description = "The run's id"), PartQuery),
    responses(
        Refusals,
        (status = OK, description = "The figures of the part, and its series; by seconds if it is no longer than an hour", body = WindowView),
        (status = BAD_REQUEST, description = "The part is empty", body = ErrorBody),
        (status = NOT_FOUND, description = "There is no such run, or it has not ended", body = ErrorBody),
        (status = UNPROCESSABLE_ENTITY, description = "The run's log cannot be read", body = ErrorBody),
    )
)]
pub(super) async fn window(
    State(web): State<Arc<Web>>,
    Path(id): Path<String>,
    part: Result<Query<PartQuery>, QueryRejection>,
) -> Result<Json<WindowView>, ApiError> {
    let Query(PartQuery { from_ns, to_ns }) = part?;
    let run = web.run(&id).await?;
    let view = web.part(&id, run, (from_ns, to_ns), move |aggregate| {
        let series = aggregate.series(None).0;
        WindowView { from_ns, to_ns, snapshot: aggregate.snapshot(), series }
    });
    Ok(Json(view.await?))
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

    /// Reads a part of a run, nanoseconds after its start, and makes something of it.
    ///
    /// # Errors
    /// When the part is empty or cannot be read.
    pub(super) async fn part<T: Send + 'static>(
        &self,
        id: &str,
        run: Arc<dyn Run>,
        (from_ns, to_ns): (u64, u64),
        make: impl FnOnce(&mut Aggregate) -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        if from_ns >= to_ns {
            let wrong = format!("from_ns {from_ns} is not before to_ns {to_ns}");
            return Err(ApiError::BadRequest(wrong));
        }
        let runs = Arc::clone(&self.runs);
        // Reading takes a processor, and goes on when the client has left.
        let one_at_a_time = Arc::clone(&self.reading).lock_owned().await;
        let read = tokio::task::spawn_blocking(move || {
            let _until_read = one_at_a_time;
            let part = run.part(from_ns, to_ns).or_else(|| runs.growing_part(&*run, from_ns, to_ns))?;
            Some(part.map(|mut aggregate| make(&mut aggregate)))
        });
        // The panic hook has reported a panic.
        let read = read.await.unwrap_or(None).ok_or_else(|| ApiError::NoWindow(id.to_owned()))?;
        read.map_err(|error| ApiError::Unreadable(error.to_string()))
    }
}
