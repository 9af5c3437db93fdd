//! Downloads of a run: its log and its report. And the notes of people about it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;
use utoipa::ToSchema;
use wec_report::html::html;

use super::error::{ApiError, BodyRefusals, ErrorBody, Refusals};
use super::{Web, body};
use crate::runs::{LONGEST_NOTE, RecordedRun};

/// Bytes of a log that are in memory at once.
const CHUNK: usize = 64 << 10;
/// Maximal age of the figures from which a run's id is read.
const FRESH: Duration = Duration::from_secs(1);

/// The log of a run, as it is
#[utoipa::path(
    get,
    path = "/api/v1/runs/{id}/log",
    tag = "records",
    params(("id" = String, Path, description = "The run's id, or `current`: the live run that was started last")),
    responses(
        Refusals,
        (status = OK, description = "The file; of a run that goes on, what it has so far", content_type = "application/octet-stream"),
        (status = NOT_FOUND, description = "There is no such run, or its log is not here", body = ErrorBody),
        (status = CONFLICT, description = "It has several logs", body = ErrorBody),
    )
)]
pub(super) async fn log(State(web): State<Arc<Web>>, Path(id): Path<String>) -> Result<Response, ApiError> {
    let (id, logs) = web.logs(&id).await?;
    let [path] = &logs[..] else {
        let names: Vec<_> = logs.iter().map(|log| log.display().to_string()).collect();
        return Err(ApiError::Conflict(format!("run {id:?} has several logs: copy {}", names.join(", "))));
    };
    let failed = |error: io::Error| ApiError::Unreadable(format!("cannot read {}: {error}", path.display()));
    let file = File::open(path).await.map_err(failed)?;
    // What is written later is not part of the answer.
    let length = file.metadata().await.map_err(failed)?.len();
    let chunks = stream::unfold(file.take(length), async |mut file| {
        let mut chunk = vec![0; CHUNK];
        let read = file.read(&mut chunk).await.map(|read| chunk.truncate(read));
        match read {
            Ok(()) if chunk.is_empty() => None,
            read => Some((read.map(|()| Bytes::from(chunk)), file)),
        }
    });
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
        (header::CONTENT_DISPOSITION, attachment(&name)),
    ];
    Ok((headers, Body::from_stream(chunks)).into_response())
}

/// The report of a run, as `wec report --html` writes it
#[utoipa::path(
    get,
    path = "/api/v1/runs/{id}/report",
    tag = "records",
    params(("id" = String, Path, description = "The run's id, or `current`: the live run that was started last")),
    responses(
        Refusals,
        (status = OK, description = "One HTML file, which needs nothing else", content_type = "text/html"),
        (status = NOT_FOUND, description = "There is no such run, or its log is not here", body = ErrorBody),
        (status = UNPROCESSABLE_ENTITY, description = "The run's log cannot be read", body = ErrorBody),
    )
)]
pub(super) async fn report(
    State(web): State<Arc<Web>>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let run = web.run(&id).await?;
    let figures = run.figures();
    let name = figures.snapshot(FRESH).run.id.clone();
    let ended = run.has_end();
    let problems = run.health().log_problems;
    // Making it takes longer than results can wait.
    let counted = figures.counted().map(|counted| counted.clone());
    let logs = if counted.is_none() { web.logs(&id).await?.1 } else { Vec::new() };
    let one_at_a_time = Arc::clone(&web.reading).lock_owned().await;
    let made = tokio::task::spawn_blocking(move || {
        let _until_made = one_at_a_time;
        match counted {
            Some(aggregate) => Ok(html(&aggregate, &problems, ended)),
            None => {
                RecordedRun::read(&logs).map(|read| html(read.aggregate(), &read.problems(), read.has_end()))
            }
        }
    });
    let made = made.await.map_err(|_| ApiError::Unavailable("the report could not be made".to_owned()))?;
    let page = made.map_err(|error| ApiError::Unreadable(error.to_string()))?;
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, attachment(&format!("{name}.html"))),
    ];
    Ok((headers, page).into_response())
}

/// What a person notes about a run
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Note {
    /// At most 4,000 bytes; empty to remove the note.
    text: String,
}

/// Keeps a note about a run, in a file beside its log
#[utoipa::path(
    put,
    path = "/api/v1/runs/{id}/note",
    operation_id = "note_run",
    tag = "records",
    params(("id" = String, Path, description = "The run's id, or `current`: the live run that was started last")),
    request_body = Note,
    responses(
        Refusals,
        BodyRefusals,
        (status = OK, description = "The note", body = Note),
        (status = BAD_REQUEST, description = "It is too long", body = ErrorBody),
        (status = NOT_FOUND, description = "There is no such run, or its log is not here", body = ErrorBody),
        (status = UNPROCESSABLE_ENTITY, description = "It cannot be written", body = ErrorBody),
    )
)]
pub(super) async fn note(
    State(web): State<Arc<Web>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Note>, ApiError> {
    let Note { text } = body::parsed(&headers, body)?;
    let text = text.trim().to_owned();
    if text.len() > LONGEST_NOTE {
        return Err(ApiError::BadRequest(format!("text: give at most {LONGEST_NOTE} bytes")));
    }
    let id = web.id_of(&id).await?;
    let (runs, noted, run) = (Arc::clone(&web.runs), text.clone(), id.clone());
    let kept = tokio::task::spawn_blocking(move || runs.keep_note(&run, &noted)).await.unwrap_or(Ok(false));
    match kept {
        Ok(true) => Ok(Json(Note { text })),
        Ok(false) => Err(ApiError::NoLog(id)),
        Err(error) => Err(ApiError::Unreadable(format!("cannot keep the note beside the log: {error}"))),
    }
}

impl Web {
    /// The id of a run in a path.
    async fn id_of(&self, id: &str) -> Result<String, ApiError> {
        Ok(self.run(id).await?.figures().snapshot(FRESH).run.id.clone())
    }

    /// The id of a run in a path, and its logs.
    async fn logs(&self, id: &str) -> Result<(String, Vec<PathBuf>), ApiError> {
        let id = self.id_of(id).await?;
        let (runs, run) = (Arc::clone(&self.runs), id.clone());
        let found = tokio::task::spawn_blocking(move || runs.logs_of(&run)).await.unwrap_or(None);
        let logs = found.ok_or_else(|| ApiError::NoLog(id.clone()))?;
        Ok((id, logs))
    }
}

/// The header by which a browser saves an answer under this name.
fn attachment(name: &str) -> String {
    let plain: String = name
        .chars()
        .map(
            |character| {
                if character.is_ascii_alphanumeric() || "-_.".contains(character) { character } else { '_' }
            },
        )
        .collect();
    format!("attachment; filename=\"{plain}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_file_cannot_end_the_header() {
        for (name, header) in [
            ("20261121-095602.jsonl.zst", "attachment; filename=\"20261121-095602.jsonl.zst\""),
            ("a\"b\r\nX: y/../z", "attachment; filename=\"a_b__X__y_.._z\""),
        ] {
            assert_eq!(attachment(name), header);
        }
    }
}
