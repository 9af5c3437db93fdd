//! Error answers of the API.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

use crate::control::{Mistakes, Refusal};
use crate::plans::PlanRefusal;

/// The body of every error answer
#[derive(Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    /// The error and its remedy, for people.
    error: String,
    /// Each error of a body, as `key: error`; omitted if there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mistakes: Vec<String>,
}

/// What any request may be refused with.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only its responses are used")]
pub(super) enum Refusals {
    /// The token is missing or wrong: send `Authorization: Bearer TOKEN`
    #[response(status = UNAUTHORIZED)]
    Unauthorized(ErrorBody),
    /// `Origin` is of another site, `Host` is a name that is not configured, or the token has only the right to look
    #[response(status = FORBIDDEN)]
    Forbidden(ErrorBody),
}

/// What a request with a body may be refused with, too.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only its responses are used")]
pub(super) enum BodyRefusals {
    /// The body is larger than 256 KiB
    #[response(status = PAYLOAD_TOO_LARGE)]
    TooLarge(ErrorBody),
    /// The body is not sent as `Content-Type: application/json`
    #[response(status = UNSUPPORTED_MEDIA_TYPE)]
    NotJson(ErrorBody),
}

/// What a request that reads the board may be refused with, too.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only its responses are used")]
pub(super) enum ReadRefusals {
    /// The board cannot be read
    #[response(status = SERVICE_UNAVAILABLE)]
    Unavailable(ErrorBody),
}

/// What a request that writes the board may be refused with, too.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only its responses are used")]
pub(super) enum WriteRefusals {
    /// The board cannot be written
    #[response(status = SERVICE_UNAVAILABLE)]
    Unavailable(ErrorBody),
}

/// An error answer for people and programs.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("{0}")]
    BadRequest(String),
    #[error("{0}")]
    Mistakes(Mistakes),
    #[error("a token is needed: open the page in a browser to log in, or send `Authorization: Bearer …`")]
    Unauthorized,
    #[error("{0}")]
    Forbidden(String),
    #[error("{0} does not exist: GET /api/v1/openapi.json has the paths")]
    NotFound(String),
    #[error("session {0:?} is not on the board: start a run that follows it, or name another session")]
    NoSession(String),
    #[error("there is no run {0:?}: GET /api/v1/runs lists the runs")]
    NoRun(String),
    #[error(
        "the log of the run {0:?} is not in a folder of this service: it is replayed from elsewhere, or was not kept. wec serve \
         FOLDER has the logs of a folder"
    )]
    NoLog(String),
    #[error(
        "no part of the run {0:?} can be read: it is replayed here, or has not ended and the part has more than 128 MiB of its \
         log: choose a shorter one"
    )]
    NoWindow(String),
    #[error("nothing is replayed here: start wec replay LOG")]
    NoReplay,
    #[error("{0}")]
    Unreadable(String),
    #[error("{0}")]
    NoScenario(String),
    #[error("{0}")]
    Unknown(String),
    #[error("{0}")]
    Conflict(String),
    #[error("this path does not support the method: the header Allow of this answer has those that it does")]
    MethodNotAllowed,
    #[error("the body is longer than {0} bytes")]
    TooLarge(usize),
    #[error("the body must be sent as `Content-Type: application/json`")]
    NotJson,
    #[error("{0}")]
    Unavailable(String),
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        Self::BadRequest(rejection.body_text())
    }
}

impl ApiError {
    pub(super) fn into_body(self) -> ErrorBody {
        let error = self.to_string();
        let mistakes = if let Self::Mistakes(Mistakes(mistakes)) = self { mistakes } else { Vec::new() };
        ErrorBody { error, mistakes }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::BadRequest(_) | Self::Mistakes(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound(_)
            | Self::NoRun(_)
            | Self::NoLog(_)
            | Self::NoReplay
            | Self::NoWindow(_)
            | Self::NoSession(_)
            | Self::NoScenario(_)
            | Self::Unknown(_) => StatusCode::NOT_FOUND,
            Self::Unreadable(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        let mut response = (status, Json(self.into_body())).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<PlanRefusal> for ApiError {
    fn from(refusal: PlanRefusal) -> Self {
        match refusal {
            PlanRefusal::Mistakes(mistakes) => Self::Mistakes(mistakes),
            PlanRefusal::Unknown(error) => Self::Unknown(error.to_string()),
            PlanRefusal::Conflict(why) => Self::Conflict(why),
            PlanRefusal::Board(error) => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Mistakes(mistakes) => Self::Mistakes(mistakes),
            Refusal::NoSession(session) => Self::NoSession(session),
            Refusal::NoScenario(error) => Self::NoScenario(error.to_string()),
            Refusal::Stopped(_) | Refusal::Ended { .. } => Self::Conflict(refusal.to_string()),
            Refusal::Board(error) => Self::Unavailable(error.to_string()),
        }
    }
}
