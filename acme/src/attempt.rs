//! What was attempted, for the message of its failure: the resource, the method and the URL.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use wec_record::FailureClass;

use crate::endpoint::Endpoint;
use crate::failure::{Failure, shown};
use crate::limit::limit_name;
use crate::problem::Problem;
use crate::reference;
use crate::transport::Response;

/// Characters of an unexpected body in a message.
const EXCERPT: usize = 120;

/// What was attempted: the beginning of every message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt<'a> {
    pub(crate) endpoint: Endpoint,
    pub(crate) method: &'static str,
    pub(crate) url: &'a str,
}

impl Attempt<'_> {
    /// Puts what was attempted before the transport's message.
    pub(crate) fn failed(&self, mut failure: Failure) -> Failure {
        failure.message = format!("{}: {} {}: {}", self.endpoint, self.method, self.url, failure.message);
        if failure.kind == FailureClass::RefusedOrigin
            && let Some(source) = named_by(self.endpoint)
        {
            failure.message += &format!("; the URL is {source}");
        }
        failure
    }

    /// An answer with a right status and unusable content.
    pub(crate) fn malformed(&self, response: &Response, what: impl std::fmt::Display) -> Failure {
        let mut message = format!(
            "{}: {} {} answered {} with {what}",
            self.endpoint, self.method, self.url, response.status
        );
        if let Some(excerpt) = excerpt(&response.body) {
            let _ = write!(message, ": {excerpt:?}");
        }
        Failure { status: response.status, ..Failure::new(FailureClass::Malformed, message) }
    }

    /// The absolute URL of a reference in a header of the answer.
    pub(crate) fn absolute(&self, response: &Response, reference: &str) -> Result<String, Failure> {
        reference::absolute(self.url, reference.to_owned())
            .map_err(|error| self.malformed(response, format_args!("the Location or Link {error}")))
    }

    /// An answer with an unexpected status. The status is kept whatever the body is.
    pub(crate) fn refused(&self, response: &Response, retry_after: Option<Duration>) -> Failure {
        let status = response.status;
        let problem = if status >= 400 { Problem::parse(&response.body).map(Box::new) } else { None };
        let named = |name| problem.as_ref().is_some_and(|problem| problem.is(name));
        let kind = match status {
            _ if named("badNonce") => FailureClass::BadNonce,
            429 => FailureClass::RateLimited,
            _ if named("rateLimited") => FailureClass::RateLimited,
            500.. => FailureClass::ServerError,
            400.. if problem.is_some() => FailureClass::Problem,
            _ => FailureClass::UnexpectedStatus,
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
        let detail = if kind == FailureClass::RateLimited {
            Cow::Owned(limit_name(&response.headers, problem.as_deref()))
        } else {
            Cow::Borrowed("")
        };
        Failure { kind, message: shown(message), problem, retry_after, detail, status }
    }
}

/// Where the CA named an endpoint's URL; none for the user's own URL.
const fn named_by(endpoint: Endpoint) -> Option<&'static str> {
    Some(match endpoint {
        Endpoint::Directory => return None,
        Endpoint::NewNonce => "`newNonce` of the directory",
        Endpoint::NewAccount => "`newAccount` of the directory",
        Endpoint::NewOrder => "`newOrder` of the directory",
        Endpoint::RevokeCert => "`revokeCert` of the directory",
        Endpoint::KeyChange => "`keyChange` of the directory",
        Endpoint::RenewalInfo => "`renewalInfo` of the directory",
        Endpoint::NewAuthz => "`newAuthz` of the directory",
        Endpoint::Orders => "`orders` of the account",
        Endpoint::Account => "the Location of newAccount's answer",
        Endpoint::Order => "the Location of newOrder's answer",
        Endpoint::Authorization => "one of the order's `authorizations`",
        Endpoint::Challenge => "the `url` of the authorization's challenge",
        Endpoint::Finalize => "`finalize` of the order",
        Endpoint::Certificate => "`certificate` of the order",
    })
}

/// The beginning of a body, if there is one, on one line.
fn excerpt(body: &[u8]) -> Option<String> {
    // A character takes at most 4 bytes; no more need be decoded.
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
