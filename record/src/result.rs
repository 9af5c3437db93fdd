//! `ChainResult` and `RequestResult`: the units that are counted, logged and shown.
//!
//! All times are nanoseconds since the origin of the requester's monotonic clock. The wall clock of that
//! origin is in the log's header and in each batch. Wall times are computed from it; durations are not.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Chain;
use crate::named::named;

named! {
    /// The cause of a failure: who is at fault and what a person can do about it.
    ///
    /// The set of classes is small and closed, so that failures are counted without storing their texts.
    #[derive(Hash, PartialOrd, Ord)]
    pub enum FailureClass {
        /// The CA answered a problem document with a 4xx status.
        Problem,
        /// The CA asked to slow down: 429, or a `rateLimited` problem.
        RateLimited,
        /// The nonce was refused (`badNonce`); the request is retried with a fresh one.
        BadNonce,
        /// The CA answered 5xx.
        ServerError,
        /// A status that RFC 8555 does not allow for this request.
        UnexpectedStatus,
        /// A success status with an unusable body or headers: HTML, truncated JSON, no Location.
        Malformed,
        /// No connection: refused, unreachable, name not found.
        Connect,
        /// The TLS handshake failed.
        Tls,
        /// The connection broke before the answer was complete.
        Reset,
        /// No complete answer within the time limit of the request.
        Timeout,
        /// An authorization or order became `invalid`: the CA could not validate.
        Validation,
        /// The time limit of a poll passed before the object reached the expected state.
        PollTimeout,
        /// A downloaded certificate is wrong: its names, key, signature, validity, or a serial seen before.
        WrongCertificate,
        /// The load tester failed: challenge store, state store or key generation.
        Internal,
        /// Interrupted at the end of the run; with the detail `lease`, because the node's right to send had ended.
        Interrupted,
        /// A URL of the CA has an origin, or resolves to an address, that this run may not load. Nothing was sent
        /// to it.
        RefusedOrigin,
        /// The load tester's machine refused: no descriptor, local port or buffer was free. Not a failure of the
        /// CA.
        Local,
        /// The CA accepted a request that it must refuse, which the refusals chain sent on purpose: the gravest
        /// failure.
        Accepted,
    }
}

named! {
    /// Why a request was sent.
    ///
    /// Add new purposes at the end: a purpose's position is its number in protobuf messages.
    #[derive(Default, Hash)]
    pub enum Purpose {
        /// The first attempt of a step of the chain.
        #[default]
        Step,
        /// A fetch of a fresh nonce (RFC 8555 §7.2).
        Nonce,
        /// A further attempt of a step, after `badNonce`, 429 or 503.
        Retry,
        /// A poll for the state of an authorization, order or certificate (RFC 8555 §7.5.1).
        Poll,
    }
}

/// The result of one iteration of one chain.
///
/// `took` is response time. In an open model it is done − due. In a closed model `due == started`, so it
/// equals the service time, done − started.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChainResult {
    /// Number of this result among all records of its node, from 1 without gaps. Lost results are found by
    /// it.
    pub seq: u64,
    /// The worker that ran it, unique within its node.
    pub worker: u32,
    /// The chain. None for one that this version does not know: the result is counted, without a row of its
    /// own. In a log its line, with the name, is kept when the log is converted.
    pub chain: Option<Chain>,
    /// The number of a chain that this version does not know, as protobuf messages have it; 0 if there is none. In a
    /// line it is the chain's name, as text.
    pub later_chain: u32,
    /// Whether the whole chain succeeded.
    pub successful: bool,
    /// done − due, nanoseconds.
    pub took: u64,
    /// When it was due, nanoseconds since the clock's origin.
    pub due: u64,
    /// When it was started, nanoseconds since the clock's origin.
    pub started: u64,
    /// When it ended, nanoseconds since the clock's origin.
    pub done: u64,
    /// Time from started to done that the load tester spent on keys and CSRs, nanoseconds.
    pub keygen: u64,
    /// The error, for people; empty when successful.
    pub error: String,
    /// The error's class, for counting.
    pub class: Option<FailureClass>,
    /// HTTP status of the answer that decided the failure, not of earlier attempts. 0 when no answer decided
    /// it, or when the status was right: an `invalid` authorization is polled with status 200.
    pub status: u16,
    /// Problem type of what decided the failure, as in [`RequestResult::problem`]: of the answer, or of the
    /// challenge or order that became `invalid`.
    pub problem: Cow<'static, str>,
    /// Whether the order was left unfinished on purpose. The chain is successful then, and its times are not
    /// counted.
    pub abandoned: bool,
    /// The scenario of the iteration.
    pub scenario: String,
    /// The certificate profile that newOrder named (draft-ietf-acme-profiles); empty without one.
    pub profile: String,
    /// Details of `class`, for counting: the kind of a wrong certificate, or the rate limit in a 429. From a
    /// small set.
    pub detail: Cow<'static, str>,
    /// Waiting time between requests that the CA asked for (Retry-After), nanoseconds.
    pub waited_asked: u64,
    /// Waiting time between requests for our own poll interval, nanoseconds.
    pub waited_poll: u64,
    /// The path of its order's URL, which is the order's name in the CA's own log; empty without one.
    pub order: String,
    /// The serial number of its certificate in lower-case hex, without leading zero bytes: of the one that it
    /// downloaded, or revoked; empty without one.
    pub serial: String,
    /// Whether it issued a certificate: one was downloaded and is not wrong.
    pub issued: bool,
    /// Response time of the whole issuance of one order, newOrder to certificate, nanoseconds, without the
    /// time for which the ready order was stored. None where nothing was issued, or where the earlier part
    /// was not measured.
    pub issuance: Option<u64>,
    /// Why the certificate could not be verified; empty when it was verified, or there is none.
    pub unverified: String,
    /// Whether the object of the CA's limit (account, order or certificate) rests until the limit's
    /// Retry-After, so that the worker can continue with others. Used by the worker only; not in records.
    pub rests: bool,
    /// The authorizations that it validated, in the order of the order's list.
    pub authorizations: Vec<AuthorizationResult>,
    /// Every HTTP attempt, in the order in which they were sent.
    pub requests: Vec<RequestResult>,
}

/// The result of one authorization of a chain's order. It connects the chain with the hits on the challenge
/// server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthorizationResult {
    /// The identifier's value, lower case: the `name` of its [`ValidationHit`](crate::ValidationHit)s.
    pub name: String,
    /// The path of the authorization's URL, which is its name in the CA's own log.
    pub id: String,
    /// The challenge that was used; none when the authorization was valid already.
    pub challenge: Option<crate::ChallengeType>,
    /// When the challenge's POST was sent, after which the CA validates. Nanoseconds since the clock's
    /// origin, 0 when it was not sent.
    pub answered: u64,
    /// When the authorization was first seen in a final state. Nanoseconds since the clock's origin, 0 when
    /// it was not.
    pub settled: u64,
}

/// Parts of the time of one HTTP attempt, nanoseconds. The first three are 0 on an existing connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Phases {
    /// Resolving the server's name.
    #[serde(skip_serializing_if = "is_zero")]
    pub dns: u64,
    /// Making the TCP connection, including all addresses that were tried.
    #[serde(skip_serializing_if = "is_zero")]
    pub connect: u64,
    /// The TLS handshake.
    #[serde(skip_serializing_if = "is_zero")]
    pub tls: u64,
    /// From `sent` until the answer's head had been read; 0 without an answer.
    #[serde(skip_serializing_if = "is_zero")]
    pub first_byte: u64,
}

pub(crate) fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The result of one HTTP attempt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RequestResult {
    /// The endpoint's URI as a template, with ids replaced: `/authz/{id}`.
    pub uri: Cow<'static, str>,
    /// done − due, nanoseconds: response time.
    pub took: u64,
    /// Whether the answer was as expected.
    pub successful: bool,
    /// The error, for people; empty when successful.
    pub error: String,
    /// The error's class, for counting.
    pub class: Option<FailureClass>,
    /// The endpoint by RFC 8555's name: `newOrder`, `finalize`, `authorization`…
    pub endpoint: Cow<'static, str>,
    /// HTTP method.
    pub method: Cow<'static, str>,
    /// Why it was sent.
    pub purpose: Purpose,
    /// HTTP status, 0 when there was no answer.
    pub status: u16,
    /// Problem type without `urn:ietf:params:acme:error:`; empty without a problem document.
    pub problem: Cow<'static, str>,
    /// Bytes of the request, head and body.
    pub bytes_sent: u64,
    /// Bytes of the answer's body.
    pub bytes_received: u64,
    /// When it was due, nanoseconds since the clock's origin: when the chain had everything that the request
    /// needs.
    pub due: u64,
    /// When its first byte was handed to the connection.
    pub sent: u64,
    /// When its last body byte had been read, or it failed.
    pub done: u64,
    /// Whether the connection had carried a request before.
    pub reused: bool,
    /// Address and port of the connection; empty without one.
    pub address: Cow<'static, str>,
    /// Age of the nonce at its use, nanoseconds; 0 for a request without one.
    pub nonce_age: u64,
    /// DNS, connect, TLS, first byte.
    pub phases: Phases,
    /// The Retry-After of the answer, nanoseconds, with any status.
    pub retry_after: Option<u64>,
    /// How often it was sent again on a new connection because the reused one was closed or reset before any
    /// answer.
    pub reconnects: u32,
    /// Details of `class`, for counting: the rate limit in a 429. From a small set.
    pub detail: Cow<'static, str>,
    /// The CA's own id of a failed request, from the header that the plan gives; empty otherwise.
    pub request_id: String,
    /// The `traceparent` sent with the request (W3C Trace Context), to find it in the CA's traces; empty if
    /// the run sends none.
    pub traceparent: String,
    /// The problem document of a failed request as it came, cut after [`LONGEST_DOCUMENT`] bytes; empty without one.
    pub document: String,
}

/// The longest problem document that a record keeps, bytes.
pub const LONGEST_DOCUMENT: usize = 1024;

/// The endpoint whose requests make certificates.
const FINALIZE: &str = "finalize";

impl ChainResult {
    /// Whether the load tester interrupted it, at the end of the run or because its node could no longer send: it
    /// neither failed nor succeeded.
    pub fn is_cut_off(&self) -> bool {
        self.class == Some(FailureClass::Interrupted)
    }

    /// The last attempt, if it failed.
    pub fn last_failed(&self) -> Option<&RequestResult> {
        self.requests.last().filter(|request| !request.successful)
    }

    /// Whether the CA may have issued a certificate for its order that it did not download: the order was
    /// finalized, or the answer to that is not known, and it is not known to be invalid.
    pub fn issuance_is_unknown(&self) -> bool {
        self.serial.is_empty()
            && !self.issued
            && self.class != Some(FailureClass::Validation)
            && self.requests.iter().any(|request| {
                request.endpoint == FINALIZE && (request.successful || request.outcome_is_unknown())
            })
    }

    /// HTTP status and problem type of the answer that decided the failure; 0 and empty without one.
    ///
    /// Older logs have them only in the last attempt.
    pub fn failed_by(&self) -> (u16, &str) {
        match (self.status, &*self.problem) {
            (0, "") => self.last_failed().map_or((0, ""), |request| (request.status, &*request.problem)),
            decided => decided,
        }
    }
}

impl RequestResult {
    /// Whether the load tester interrupted it at the end of the run: it neither failed nor succeeded.
    pub fn is_cut_off(&self) -> bool {
        self.class == Some(FailureClass::Interrupted)
    }

    /// Whether it was sent and it is not known if the server processed it: there was no answer, a 5xx, or an
    /// unreadable success. A server's own count of such requests is between the successful ones and the sum
    /// of both.
    pub fn outcome_is_unknown(&self) -> bool {
        match self.status {
            0 => match self.class {
                // It is not known how much of an interrupted request had been sent.
                Some(FailureClass::Interrupted) => true,
                Some(FailureClass::Reset | FailureClass::Timeout | FailureClass::Malformed) => {
                    self.bytes_sent > 0
                }
                _ => false,
            },
            // An accepted request has the answer that it must not have, which is no doubt.
            _ if self.class == Some(FailureClass::Accepted) => false,
            status => status >= 500 || (status < 300 && !self.successful),
        }
    }

    /// done − sent: the time of server and network, nanoseconds.
    pub const fn service_time(&self) -> u64 {
        self.done.saturating_sub(self.sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_may_exist_that_nobody_downloaded() {
        let finalize = |successful: bool, status: u16| RequestResult {
            endpoint: FINALIZE.into(),
            successful,
            status,
            ..RequestResult::default()
        };
        let of = |request| ChainResult { requests: vec![request], ..ChainResult::default() };
        assert!(of(finalize(true, 200)).issuance_is_unknown());
        assert!(of(finalize(false, 500)).issuance_is_unknown());
        assert!(!of(finalize(false, 403)).issuance_is_unknown());
        assert!(!ChainResult { serial: "01".into(), ..of(finalize(true, 200)) }.issuance_is_unknown());
        let invalid = ChainResult { class: Some(FailureClass::Validation), ..of(finalize(true, 200)) };
        assert!(!invalid.issuance_is_unknown());
        assert!(!ChainResult::default().issuance_is_unknown());
    }

    #[test]
    fn an_outcome_is_unknown_when_a_sent_request_has_no_telling_answer() {
        let cases = [
            (201, None, 700, false),
            (400, Some(FailureClass::Problem), 700, false),
            (429, Some(FailureClass::RateLimited), 700, false),
            (500, Some(FailureClass::ServerError), 700, true),
            (503, Some(FailureClass::RateLimited), 700, true),
            (201, Some(FailureClass::Malformed), 700, true),
            (201, Some(FailureClass::Accepted), 700, false),
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
