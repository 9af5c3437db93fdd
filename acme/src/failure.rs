//! A failed request is data: its class for counting, its text for people.

use std::fmt::Write as _;
use std::time::Duration;

use crate::exchange::Endpoint;
use crate::problem::Problem;
use crate::transport::Response;

/// Characters of a body that is not what it should be, shown in a message.
const EXCERPT: usize = 120;

/// Why a request, or a step made of several, did not do what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The class, for counting.
    pub kind: FailureKind,
    /// What was attempted, what came of it, and the way out where there is one.
    pub message: String,
    /// The CA's problem document, if it sent one.
    pub problem: Option<Box<Problem>>,
    /// How long the CA asked to wait.
    pub retry_after: Option<Duration>,
}

/// Failures by who is at fault. One to one with the record's `FailureClass`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// A problem document with a 4xx status.
    Problem,
    /// 429, or a `rateLimited` problem.
    RateLimited,
    /// The nonce was refused.
    BadNonce,
    /// 5xx.
    ServerError,
    /// A status that RFC 8555 does not allow there, without a problem document.
    UnexpectedStatus,
    /// A success status with a body or headers that cannot be used.
    Malformed,
    /// No connection.
    Connect,
    /// The TLS handshake failed.
    Tls,
    /// The connection broke before the answer was complete.
    Reset,
    /// No complete answer within the request's bound.
    Timeout,
    /// An authorization or order ended `invalid`.
    Validation,
    /// A poll's bound passed.
    PollTimeout,
    /// A downloaded certificate is wrong.
    WrongCertificate,
    /// Our own side failed.
    Internal,
    /// Cut off by the end of the run.
    Interrupted,
}

impl Failure {
    /// A failure with nothing but its class and text.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), problem: None, retry_after: None }
    }

    /// A failure of our own side.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Internal, message)
    }
}

/// What was attempted: the beginning of every message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt<'a> {
    pub(crate) endpoint: Endpoint,
    pub(crate) method: &'static str,
    pub(crate) url: &'a str,
}

impl Attempt<'_> {
    /// Puts what was attempted before a transport's own words.
    pub(crate) fn failed(&self, mut failure: Failure) -> Failure {
        failure.message = format!("{}: {} {}: {}", self.endpoint, self.method, self.url, failure.message);
        failure
    }

    /// An answer of a status that is right and a content that cannot be used.
    pub(crate) fn malformed(&self, response: &Response, what: impl std::fmt::Display) -> Failure {
        let mut message = format!(
            "{}: {} {} answered {} with {what}",
            self.endpoint, self.method, self.url, response.status
        );
        if let Some(excerpt) = excerpt(&response.body) {
            let _ = write!(message, ": {excerpt:?}");
        }
        Failure::new(FailureKind::Malformed, message)
    }

    /// An answer whose status is not the one hoped for. The status is kept whatever the body is.
    pub(crate) fn refused(&self, response: &Response, retry_after: Option<Duration>) -> Failure {
        let status = response.status;
        let problem = if status >= 400 { Problem::parse(&response.body).map(Box::new) } else { None };
        let named = |name| problem.as_ref().is_some_and(|problem| problem.is(name));
        let kind = match status {
            _ if named("badNonce") => FailureKind::BadNonce,
            429 => FailureKind::RateLimited,
            _ if named("rateLimited") => FailureKind::RateLimited,
            500.. => FailureKind::ServerError,
            400.. if problem.is_some() => FailureKind::Problem,
            _ => FailureKind::UnexpectedStatus,
        };
        let mut message = format!("{}: {} {} answered {status}", self.endpoint, self.method, self.url);
        match &problem {
            Some(problem) => {
                let _ = write!(message, " {problem}");
            }
            None => {
                if let Some(excerpt) = excerpt(&response.body) {
                    let _ = write!(message, " without a problem document: {excerpt:?}");
                }
            }
        }
        Failure { kind, message, problem, retry_after }
    }
}

/// The beginning of a body, if it has one, on one line.
fn excerpt(body: &[u8]) -> Option<String> {
    // A character takes at most 4 bytes; more need not be decoded.
    let start = &body[..body.len().min(EXCERPT * 4)];
    let text = String::from_utf8_lossy(start);
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    if line.is_empty() {
        return None;
    }
    let mut shown: String = line.chars().take(EXCERPT).collect();
    if shown.len() < line.len() || start.len() < body.len() {
        shown.push('…');
    }
    Some(shown)
}
