//! A failed request is data: its class for counting, its text for people.

use std::borrow::Cow;
use std::time::Duration;

use wec_record::FailureClass;

use crate::problem::Problem;

/// Why a request, or a step of several requests, failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The class, for counting.
    pub kind: FailureClass,
    /// What was attempted, the result, and the way out if there is one.
    pub message: String,
    /// The CA's problem document, if it sent one.
    pub problem: Option<Box<Problem>>,
    /// How long the CA asked to wait.
    pub retry_after: Option<Duration>,
    /// What `kind` does not distinguish, for counting: the rate limit that a 429 names ([`limit_name`]), the kind of a
    /// wrong certificate. A small set.
    pub detail: Cow<'static, str>,
    /// HTTP status of the answer that decided it; 0 without an answer, or if the status was right.
    pub status: u16,
}

impl Failure {
    /// A failure with only its class and text.
    pub fn new(kind: FailureClass, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: shown(message.into()),
            problem: None,
            retry_after: None,
            detail: Cow::Borrowed(""),
            status: 0,
        }
    }

    /// Nothing is sent any more: this node's right to send has ended.
    pub(crate) fn no_right_to_send() -> Self {
        let message = "not sent: this node's right to send had ended, because its lease on the board was not renewed in \
                       time, so others may have its share of the load";
        Self { detail: Cow::Borrowed("lease"), ..Self::new(FailureClass::Interrupted, message) }
    }

    /// A failure of our own side.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(FailureClass::Internal, message)
    }
}

/// Messages contain text from the CA (header values, URLs) and are shown on terminals.
pub(crate) fn shown(message: String) -> String {
    match wec_text::visible(&message) {
        std::borrow::Cow::Owned(visible) => visible,
        std::borrow::Cow::Borrowed(_) => message,
    }
}
