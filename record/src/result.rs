//! `ChainResult` and `RequestResult`: the unit of everything counted, logged and shown.
//!
//! All times are nanoseconds since the origin of the requester's one monotonic clock; the wall clock of that
//! origin stands in the log's header and travels with each batch, so that a wall time can be had without ever
//! having been used in a difference.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};
use strum::{EnumCount, IntoStaticStr, VariantArray};

use crate::Chain;

/// Why something failed, by who is at fault and what a person would do about it.
///
/// A class is a small closed set, so that failures can be counted without keeping their texts.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    EnumCount,
    IntoStaticStr,
    VariantArray,
    utoipa::ToSchema,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
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
    /// A URL of the CA names an origin, or resolves to an address, that this run may not load. Nothing was sent to it.
    RefusedOrigin,
    /// The load tester's own machine refused: no descriptor, no local port, no buffer. Never the CA's failure.
    Local,
}

impl FailureClass {
    /// Every class, in the order of declaration.
    pub const ALL: [Self; Self::COUNT] = *Self::VARIANTS.first_chunk().expect("as many as are counted");

    /// The name as written in logs and JSON.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl fmt::Display for FailureClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a request was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, IntoStaticStr)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Purpose {
    /// The first attempt of a step of the chain.
    #[default]
    Step,
    /// A fetch of a fresh nonce (RFC 8555 §7.2).
    Nonce,
    /// A further attempt of a step, after `badNonce`, 429 or 503.
    Retry,
    /// A look whether an authorization, order or certificate is there yet (RFC 8555 §7.5.1).
    Poll,
}

impl Purpose {
    /// The name as written in logs and JSON.
    pub fn name(self) -> &'static str {
        self.into()
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
    /// HTTP status of the answer that decided the failure, whatever earlier attempts were answered; 0 when it was no answer, or one
    /// whose status was right: a poll that finds an authorization `invalid` is answered 200.
    #[serde(skip_serializing_if = "is_zero")]
    pub status: u16,
    /// Problem type of what decided the failure, as in [`RequestResult::problem`]: of the answer, or of the challenge or order that
    /// became `invalid`.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub problem: Cow<'static, str>,
    /// Whether it left an order unfinished on purpose; it is successful then. Its times are those of no whole chain.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub abandoned: bool,
    /// The scenario that it was run for.
    pub scenario: String,
    /// The certificate profile that newOrder named (draft-ietf-acme-profiles); empty without one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub profile: String,
    /// What `class` leaves open, for counting: the kind of a wrong certificate, the rate limit that a 429 names. One of few.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub detail: Cow<'static, str>,
    /// Waited between requests because the CA asked for it (Retry-After), nanoseconds.
    pub waited_asked: u64,
    /// Waited between requests by our own poll interval, nanoseconds.
    pub waited_poll: u64,
    /// Whether it issued a certificate: one that was downloaded and is not wrong.
    pub issued: bool,
    /// Response time of the whole issuance, newOrder to certificate of one order, nanoseconds; without the time that the ready order lay
    /// in the state store. None where nothing was issued, or where the earlier part was not measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuance: Option<u64>,
    /// Why the certificate could be shown neither right nor wrong; empty when it was verified, or there is none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub unverified: String,
    /// Whether what the CA's limit is about, an account, an order or a certificate, now rests until the limit's Retry-After: its
    /// worker can go on with others. For the worker alone, and in no record.
    #[serde(skip)]
    pub rests: bool,
    /// The authorizations that it proved, in the order's order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub authorizations: Vec<AuthorizationResult>,
    /// Every HTTP attempt, in the order of sending.
    #[serde(rename = "individualresults")]
    pub requests: Vec<RequestResult>,
}

/// What became of one authorization of a chain's order: what joins the chain to the hits on the challenge server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AuthorizationResult {
    /// The identifier's value, lower case: the `name` of its [`ValidationHit`](crate::ValidationHit)s.
    pub name: String,
    /// The path of the authorization's URL: how the CA's own log names it.
    pub id: String,
    /// The challenge that was answered; none when the authorization was valid already.
    pub challenge: Option<crate::ChallengeType>,
    /// When the CA was told to validate: the challenge's POST was sent. Nanoseconds since the clock's origin, 0 when it was not.
    pub answered: u64,
    /// When the authorization was first seen to be final. Nanoseconds since the clock's origin, 0 when it was not.
    pub settled: u64,
}

/// Parts of one HTTP attempt's time, nanoseconds. The first three are 0 over a connection that was there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Phases {
    /// Resolving the server's name.
    #[serde(skip_serializing_if = "is_zero")]
    pub dns: u64,
    /// Making the TCP connection, all addresses that were tried included.
    #[serde(skip_serializing_if = "is_zero")]
    pub connect: u64,
    /// The TLS handshake.
    #[serde(skip_serializing_if = "is_zero")]
    pub tls: u64,
    /// From `sent` until the answer's head had been read; 0 without an answer.
    #[serde(skip_serializing_if = "is_zero")]
    pub first_byte: u64,
}

fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
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
    /// The address and port that the connection went to; empty without a connection.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub address: Cow<'static, str>,
    /// How old the nonce was when it was used, nanoseconds; 0 for a request without one.
    #[serde(skip_serializing_if = "is_zero")]
    pub nonce_age: u64,
    /// DNS, connect, TLS, first byte.
    #[serde(skip_serializing_if = "is_zero")]
    pub phases: Phases,
    /// What the CA asked to wait (Retry-After), nanoseconds, on any status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    /// How often it went again over a new connection, since the used one before was closed or reset before any answer.
    #[serde(skip_serializing_if = "is_zero")]
    pub reconnects: u32,
    /// What `class` leaves open, for counting: the rate limit that a 429 names. One of few.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub detail: Cow<'static, str>,
    /// The CA's own id of a failed request, from the header that the plan names; empty otherwise.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub request_id: String,
    /// The `traceparent` that was sent with it (W3C Trace Context), by which it is found in the CA's traces; empty where the run
    /// sends none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub traceparent: String,
}

impl ChainResult {
    /// Whether the load tester itself cut it off at the end of the run: it has neither failed nor succeeded.
    pub fn is_cut_off(&self) -> bool {
        self.class == Some(FailureClass::Interrupted)
    }

    /// The last attempt, if it failed.
    pub fn last_failed(&self) -> Option<&RequestResult> {
        self.requests.last().filter(|request| !request.successful)
    }

    /// HTTP status and problem type of the answer that decided the failure; 0 and nothing without one.
    ///
    /// Logs written before a chain recorded them have them only at the last attempt.
    pub fn failed_by(&self) -> (u16, &str) {
        match (self.status, &*self.problem) {
            (0, "") => self.last_failed().map_or((0, ""), |request| (request.status, &*request.problem)),
            decided => decided,
        }
    }
}

impl RequestResult {
    /// Whether the load tester itself cut it off at the end of the run: it has neither failed nor succeeded.
    pub fn is_cut_off(&self) -> bool {
        self.class == Some(FailureClass::Interrupted)
    }

    /// Whether it was sent and nothing tells if the server carried it out: no answer came, or a 5xx, or one of success that
    /// cannot be read. A server's own count of such requests lies between the successful ones and those plus these.
    pub fn outcome_is_unknown(&self) -> bool {
        match self.status {
            0 => match self.class {
                // Of a request that was dropped, what had been sent is not known.
                Some(FailureClass::Interrupted) => true,
                Some(FailureClass::Reset | FailureClass::Timeout | FailureClass::Malformed) => {
                    self.bytes_sent > 0
                }
                _ => false,
            },
            status => status >= 500 || (status < 300 && !self.successful),
        }
    }

    /// done − sent: the time the server and the network had, nanoseconds.
    pub const fn service_time(&self) -> u64 {
        self.done.saturating_sub(self.sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_unknown_when_a_sent_request_has_no_telling_answer() {
        let cases = [
            (201, None, 700, false),
            (400, Some(FailureClass::Problem), 700, false),
            (429, Some(FailureClass::RateLimited), 700, false),
            (500, Some(FailureClass::ServerError), 700, true),
            (503, Some(FailureClass::RateLimited), 700, true),
            (201, Some(FailureClass::Malformed), 700, true),
            (0, Some(FailureClass::Reset), 700, true),
            (0, Some(FailureClass::Timeout), 700, true),
            (0, Some(FailureClass::Timeout), 0, false),
            (0, Some(FailureClass::Connect), 700, false),
            (0, Some(FailureClass::Tls), 0, false),
            (0, Some(FailureClass::RefusedOrigin), 0, false),
            (0, Some(FailureClass::Local), 0, false),
            (0, Some(FailureClass::Interrupted), 0, true),
        ];
        for (status, class, bytes_sent, unknown) in cases {
            let request = RequestResult {
                status,
                class,
                bytes_sent,
                successful: class.is_none(),
                ..RequestResult::default()
            };
            assert_eq!(request.outcome_is_unknown(), unknown, "{status} {class:?} {bytes_sent}");
        }
    }
}
