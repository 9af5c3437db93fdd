//! What the API answers when it will not.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// A refusal, for people and programs alike.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("{0}")]
    BadRequest(String),
    #[error("a token is needed: open /?token=… once, or send `Authorization: Bearer …`")]
    Unauthorized,
    #[error("{0}")]
    Forbidden(String),
    #[error("nothing is at {0}: see docs/web-api.md for what there is")]
    NotFound(String),
    #[error("session {0:?} is not on the board: start a run that follows it")]
    NoSession(String),
    #[error("that path does not take this method: see docs/web-api.md")]
    MethodNotAllowed,
    #[error("the body is longer than {0} bytes")]
    TooLarge(usize),
    #[error("the body must be sent as `Content-Type: application/json`")]
    NotJson,
    #[error("{0}")]
    Unavailable(String),
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound(_) | Self::NoSession(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        let mut response = (status, Json(json!({ "error": self.to_string() }))).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
        }
        response
    }
}
