//! `ChainResult` and `RequestResult`: the unit of everything counted, logged and shown.
//!
//! All times are nanoseconds since the origin of the requester's one monotonic clock; the wall clock of that
//! origin stands in the log's header and travels with each batch, so that a wall time can be had without ever
//! having been used in a difference.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The test chains, by the names that people, logs and thresholds use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Chain {
    /// newAccount (RFC 8555 §7.3).
    Registration,
    /// newOrder, challenges, polls until the order is ready (RFC 8555 §7.4, §7.5).
    Authorization,
    /// finalize, download, check (RFC 8555 §7.4).
    Certificate,
    /// Renewal of a stored certificate, with ARI where the CA has it (RFC 9773).
    Refresh,
    /// revokeCert by account or certificate key (RFC 8555 §7.6).
    Revoke,
}

impl Chain {
    /// Every chain, in the order in which one needs the other.
    pub const ALL: [Self; 5] =
        [Self::Registration, Self::Authorization, Self::Certificate, Self::Refresh, Self::Revoke];

    /// The name as written in logs, thresholds and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Registration => "registration",
            Self::Authorization => "authorization",
            Self::Certificate => "certificate",
            Self::Refresh => "refresh",
            Self::Revoke => "revoke",
        }
    }

    /// Position in [`Chain::ALL`], for arrays indexed by chain.
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Chain {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|chain| chain.name() == name).ok_or_else(|| {
            format!(
                "unknown chain {name:?}: expected one of registration, authorization, certificate, refresh, revoke"
            )
        })
    }
}

/// Why something failed, by who is at fault and what a person would do about it.
///
/// A class is a small closed set, so that failures can be counted without keeping their texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureClass {
    /// The CA answered a problem document with a 4xx status.
    Problem,
    /// The CA asked to slow down: 429, or a `rateLimited` problem.
    RateLimited,
    /// The nonce was refused (`badNonce`); retried with the fresh nonce.
    BadNonce,
    /// The CA answered 5xx.
    ServerError,
    /// A status that RFC 8555 does not allow there.
    UnexpectedStatus,
    /// A success status with a body or headers that cannot be used: HTML, truncated JSON, no Location.
    Malformed,
    /// No connection: refused, unreachable, name not found.
    Connect,
    /// The TLS handshake failed.
    Tls,
    /// The connection broke before the answer was complete.
    Reset,
    /// No complete answer within the request's bound.
    Timeout,
    /// An authorization or order ended `invalid`: the CA could not validate.
    Validation,
    /// A poll's bound passed before the object reached the wanted state.
    PollTimeout,
    /// A downloaded certificate was wrong: names, key, signature, validity or a serial seen before.
    WrongCertificate,
    /// The load tester's own side failed: challenge store, state store, key generation.
    Internal,
    /// Cut off because the run was interrupted.
    Interrupted,
}

impl FailureClass {
    /// Every class, in the order of declaration.
    pub const ALL: [Self; 15] = [
        Self::Problem,
        Self::RateLimited,
        Self::BadNonce,
        Self::ServerError,
        Self::UnexpectedStatus,
        Self::Malformed,
        Self::Connect,
        Self::Tls,
        Self::Reset,
        Self::Timeout,
        Self::Validation,
        Self::PollTimeout,
        Self::WrongCertificate,
        Self::Internal,
        Self::Interrupted,
    ];

    /// The name as written in logs and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Problem => "problem",
            Self::RateLimited => "rate-limited",
            Self::BadNonce => "bad-nonce",
            Self::ServerError => "server-error",
            Self::UnexpectedStatus => "unexpected-status",
            Self::Malformed => "malformed",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Validation => "validation",
            Self::PollTimeout => "poll-timeout",
            Self::WrongCertificate => "wrong-certificate",
            Self::Internal => "internal",
            Self::Interrupted => "interrupted",
        }
    }
}

impl fmt::Display for FailureClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a request was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// The first attempt of a step of the chain.
    #[default]
    Step,
    /// A fetch of a fresh nonce (RFC 8555 §7.2).
    Nonce,
    /// A further attempt of a step, after `badNonce`, 429, 503 or a broken connection.
    Retry,
    /// A look whether an authorization, order or certificate is there yet (RFC 8555 §7.5.1).
    Poll,
}

impl Purpose {
    /// The name as written in logs and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Nonce => "nonce",
            Self::Retry => "retry",
            Self::Poll => "poll",
        }
    }
}

/// What one iteration of one chain did.
///
/// `took` is response time, done − due, when the executor had a due time for the iteration (an open model),
/// and equals service time, done − started, in a closed model, where `due == started`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ChainResult {
    /// Number of this result among all records of its node, which count from 1 without gaps: what makes delivery countable.
    pub seq: u64,
    /// The worker that ran it, unique within its node.
    pub worker: u32,
    /// Which chain.
    #[serde(rename = "chainname")]
    pub chain: Option<Chain>,
    /// Whether the whole chain did what it should.
    #[serde(rename = "chainsuccessful")]
    pub successful: bool,
    /// done − due, nanoseconds.
    #[serde(rename = "chaintook")]
    pub took: u64,
    /// When it was due, nanoseconds since the clock's origin.
    pub due: u64,
    /// When it was started, nanoseconds since the clock's origin.
    pub started: u64,
    /// When it ended, nanoseconds since the clock's origin.
    pub done: u64,
    /// Of the time between started and done, what the load tester spent on keys and CSRs, nanoseconds.
    pub keygen: u64,
    /// What went wrong, for people; empty when successful.
    pub error: String,
    /// What went wrong, for counting.
    pub class: Option<FailureClass>,
    /// Whether it left an order unfinished on purpose; it is successful then. Its times are those of no whole chain.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub abandoned: bool,
    /// Every HTTP attempt, in the order of sending.
    #[serde(rename = "individualresults")]
    pub requests: Vec<RequestResult>,
}

/// What one HTTP attempt did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RequestResult {
    /// The endpoint's URI as a template, ids folded: `/authz/{id}`.
    pub uri: Cow<'static, str>,
    /// done − due, nanoseconds: response time.
    pub took: u64,
    /// Whether the answer was the right one.
    pub successful: bool,
    /// What went wrong, for people; empty when successful.
    pub error: String,
    /// What went wrong, for counting.
    pub class: Option<FailureClass>,
    /// The endpoint by RFC 8555's name: `newOrder`, `finalize`, `authorization`…
    pub endpoint: Cow<'static, str>,
    /// HTTP method.
    pub method: Cow<'static, str>,
    /// Why it was sent.
    pub purpose: Purpose,
    /// HTTP status, 0 when there was no answer.
    pub status: u16,
    /// Problem type with `urn:ietf:params:acme:error:` taken off; empty without a problem document.
    pub problem: Cow<'static, str>,
    /// Bytes of the request's head and body.
    pub bytes_sent: u64,
    /// Bytes of the answer's body.
    pub bytes_received: u64,
    /// When it was due, nanoseconds since the clock's origin: when the chain had all it needed to send it.
    pub due: u64,
    /// When its first byte was handed to the connection.
    pub sent: u64,
    /// When its last body byte had been read, or it failed.
    pub done: u64,
    /// Whether it went over a connection that had served a request before.
    pub reused: bool,
}

impl RequestResult {
    /// done − sent: the time the server and the network had, nanoseconds.
    pub const fn service_time(&self) -> u64 {
        self.done.saturating_sub(self.sent)
    }
}
