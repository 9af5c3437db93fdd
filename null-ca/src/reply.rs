//! Answers of endpoints, problem documents (RFC 8555 §6.7), and both as HTTP with the headers of every
//! answer.

use std::fmt::{self, Write};

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;

/// An endpoint's answer, before it becomes HTTP.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) content: Content,
    pub(crate) location: Option<String>,
    /// URL of the authorization above a challenge (RFC 8555 §7.5.1).
    pub(crate) up: Option<String>,
    /// URL of the rest of a list (RFC 8555 §7.1.2.1).
    pub(crate) next: Option<String>,
    /// URL of the same certificate with another chain (RFC 8555 §7.4.2).
    pub(crate) alternate: Option<String>,
    /// Seconds.
    pub(crate) retry_after: Option<u32>,
}

pub(crate) enum Content {
    Nothing,
    Json(String),
    Problem(String),
    PemChain(String),
}

impl Reply {
    pub(crate) fn new(status: u16, content: Content) -> Self {
        Self { status, content, location: None, up: None, next: None, alternate: None, retry_after: None }
    }

    pub(crate) fn json(status: u16, body: String) -> Self {
        Self::new(status, Content::Json(body))
    }

    pub(crate) fn at(mut self, location: String) -> Self {
        self.location = Some(location);
        self
    }

    /// As HTTP, with a nonce and a link to the directory (RFC 8555 §6.5, §7.1).
    pub(crate) fn into_response(self, base: &str, nonce: String) -> Response<Full<Bytes>> {
        let (content_type, body) = match self.content {
            Content::Nothing => (None, Bytes::new()),
            Content::Json(body) => (Some("application/json"), body.into()),
            Content::Problem(body) => (Some("application/problem+json"), body.into()),
            Content::PemChain(body) => (Some("application/pem-certificate-chain"), body.into()),
        };
        let mut response = Response::new(Full::new(body));
        *response.status_mut() =
            StatusCode::from_u16(self.status).expect("endpoints use three-digit statuses");
        let headers = response.headers_mut();
        headers.insert(REPLAY_NONCE, text(nonce));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::LINK, text(format!("<{base}/directory>;rel=\"index\"")));
        if let Some(content_type) = content_type {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        if let Some(location) = self.location {
            headers.insert(header::LOCATION, text(location));
        }
        if let Some(up) = self.up {
            headers.append(header::LINK, text(format!("<{up}>;rel=\"up\"")));
        }
        if let Some(next) = self.next {
            headers.append(header::LINK, text(format!("<{next}>;rel=\"next\"")));
        }
        if let Some(alternate) = self.alternate {
            headers.append(header::LINK, text(format!("<{alternate}>;rel=\"alternate\"")));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

const REPLAY_NONCE: HeaderName = HeaderName::from_static("replay-nonce");

fn text(value: String) -> HeaderValue {
    HeaderValue::try_from(value).expect("made of a checked host, base64url and digits")
}

/// The problem types of RFC 8555 §6.7 and RFC 9773 §5 used here, each with its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    AccountDoesNotExist,
    AlreadyReplaced,
    AlreadyRevoked,
    BadCsr,
    BadNonce,
    BadPublicKey,
    BadRevocationReason,
    BadSignatureAlgorithm,
    Busy,
    Caa,
    Compound,
    Conflict,
    Connection,
    Dns,
    ExternalAccountRequired,
    IncorrectResponse,
    InvalidProfile,
    Malformed,
    MediaType,
    MethodNotAllowed,
    NotFound,
    OrderNotReady,
    RateLimited,
    RejectedIdentifier,
    ServerInternal,
    Tls,
    TooLarge,
    Unauthorized,
    UnsupportedContact,
    UnsupportedIdentifier,
}

impl Kind {
    fn name_and_status(self) -> (&'static str, u16) {
        match self {
            Kind::AccountDoesNotExist => ("accountDoesNotExist", 400),
            Kind::AlreadyReplaced => ("alreadyReplaced", 409),
            Kind::AlreadyRevoked => ("alreadyRevoked", 400),
            Kind::BadCsr => ("badCSR", 400),
            Kind::BadNonce => ("badNonce", 400),
            Kind::BadPublicKey => ("badPublicKey", 400),
            Kind::BadRevocationReason => ("badRevocationReason", 400),
            Kind::Busy => ("rateLimited", 503),
            Kind::Caa => ("caa", 403),
            Kind::BadSignatureAlgorithm => ("badSignatureAlgorithm", 400),
            Kind::Compound => ("compound", 400),
            // RFC 8555 §7.3.5 defines the status but no type.
            Kind::Conflict => ("malformed", 409),
            Kind::Connection => ("connection", 400),
            Kind::Dns => ("dns", 400),
            Kind::ExternalAccountRequired => ("externalAccountRequired", 403),
            Kind::IncorrectResponse => ("incorrectResponse", 403),
            Kind::InvalidProfile => ("invalidProfile", 400),
            Kind::Malformed => ("malformed", 400),
            Kind::MediaType => ("malformed", 415),
            Kind::MethodNotAllowed => ("malformed", 405),
            Kind::NotFound => ("malformed", 404),
            Kind::OrderNotReady => ("orderNotReady", 403),
            Kind::RateLimited => ("rateLimited", 429),
            Kind::RejectedIdentifier => ("rejectedIdentifier", 400),
            Kind::ServerInternal => ("serverInternal", 500),
            Kind::Tls => ("tls", 400),
            Kind::TooLarge => ("malformed", 413),
            Kind::Unauthorized => ("unauthorized", 403),
            Kind::UnsupportedContact => ("unsupportedContact", 400),
            Kind::UnsupportedIdentifier => ("unsupportedIdentifier", 400),
        }
    }
}

/// A problem document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) kind: Kind,
    pub(crate) detail: String,
    /// URL of the conflicting resource (RFC 8555 §7.3.5).
    location: Option<String>,
    retry_after: Option<u32>,
    /// Subproblems of identifiers (RFC 8555 §6.7.1).
    subproblems: Vec<Subproblem>,
}

/// The problem of one identifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subproblem {
    /// Type and value, as received.
    pub(crate) identifier: (String, String),
    pub(crate) problem: Problem,
}

impl Problem {
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), location: None, retry_after: None, subproblems: Vec::new() }
    }

    /// The only problem, or one with all of them as subproblems.
    pub(crate) fn of_identifiers(mut subproblems: Vec<Subproblem>) -> Self {
        if subproblems.len() == 1
            && let Some(only) = subproblems.pop()
        {
            return only.problem;
        }
        let detail = format!("{} identifiers cannot be ordered", subproblems.len());
        Self { subproblems, ..Self::new(Kind::Compound, detail) }
    }

    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(Kind::Malformed, detail)
    }

    pub(crate) fn at(mut self, location: String) -> Self {
        self.location = Some(location);
        self
    }

    pub(crate) fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }
}

/// The document itself.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, status) = self.kind.name_and_status();
        let detail = serde_json::Value::from(self.detail.as_str());
        write!(f, r#"{{"type":"urn:ietf:params:acme:error:{name}","detail":{detail},"status":{status}"#)?;
        if self.kind == Kind::BadSignatureAlgorithm {
            // RFC 8555 §6.2 requires a list of the accepted ones.
            f.write_str(r#","algorithms":["ES256","ES384","ES512","RS256","EdDSA"]"#)?;
        }
        for (place, Subproblem { identifier: (kind, value), problem }) in self.subproblems.iter().enumerate()
        {
            let (name, _) = problem.kind.name_and_status();
            let detail = serde_json::Value::from(problem.detail.as_str());
            let (kind, value) = (serde_json::Value::from(&**kind), serde_json::Value::from(&**value));
            f.write_str(if place == 0 { r#","subproblems":["# } else { "," })?;
            write!(
                f,
                r#"{{"type":"urn:ietf:params:acme:error:{name}","detail":{detail},"identifier":{{"type":{kind},"value":{value}}}}}"#
            )?;
        }
        if !self.subproblems.is_empty() {
            f.write_char(']')?;
        }
        f.write_char('}')
    }
}

impl From<Problem> for Reply {
    fn from(problem: Problem) -> Self {
        let (_, status) = problem.kind.name_and_status();
        Self {
            location: problem.location.clone(),
            retry_after: problem.retry_after,
            ..Reply::new(status, Content::Problem(problem.to_string()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_valid_json_for_any_detail() {
        let problem = Problem::malformed("a \"quoted\"\nname \u{1}");
        let read: serde_json::Value = serde_json::from_str(&problem.to_string()).unwrap();
        assert_eq!(read["type"], "urn:ietf:params:acme:error:malformed");
        assert_eq!(read["status"], 400);
        assert_eq!(read["detail"], problem.detail);
    }

    #[test]
    fn a_refusal_of_an_algorithm_lists_the_accepted_ones() {
        let problem = Problem::new(Kind::BadSignatureAlgorithm, "HS256");
        let read: serde_json::Value = serde_json::from_str(&problem.to_string()).unwrap();
        assert_eq!(read["algorithms"][0], "ES256");
    }
}
