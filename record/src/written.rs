//! The form of a chain result in a line of the log. What follows from other keys is left out: a compressed
//! log is mostly digits that cannot be predicted, so no time is written twice.
//!
//! Lines of version 1 have all times as they are in memory, and are read, too. The keys for that are written where a
//! time does not follow, so every result can be written without loss.

use std::borrow::Cow;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::result::is_zero;
use crate::{
    AuthorizationResult, Chain, ChainResult, ChallengeType, FailureClass, Phases, Purpose, RequestResult,
};

/// The result of one iteration of one chain.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = ChainResult)]
struct WrittenChain<'a> {
    /// The chain; null if there is none, and the number of a chain that the writer did not know.
    #[serde(rename = "chainname")]
    #[schema(value_type = Option<Chain>)]
    chain: ChainName,
    /// Whether the whole chain succeeded.
    #[serde(rename = "chainsuccessful")]
    successful: bool,
    /// The error, for people; empty when successful.
    error: Cow<'a, str>,
    /// The error's class, for counting.
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<FailureClass>,
    /// HTTP status of the answer that decided the failure, not of earlier attempts. 0 when no answer decided
    /// it, or when the status was right: an `invalid` authorization is polled with status 200.
    #[serde(skip_serializing_if = "is_zero")]
    status: u16,
    /// Problem type of what decided the failure: of the answer, or of the challenge or order that became
    /// `invalid`.
    #[serde(skip_serializing_if = "str::is_empty")]
    problem: Cow<'a, str>,
    /// Whether the order was left unfinished on purpose. The chain is successful then, and its times are not
    /// counted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    abandoned: bool,
    /// The scenario of the iteration.
    scenario: Cow<'a, str>,
    /// The certificate profile that newOrder named (draft-ietf-acme-profiles); empty without one.
    #[serde(skip_serializing_if = "str::is_empty")]
    profile: Cow<'a, str>,
    /// Details of `class`, for counting: the kind of a wrong certificate, or the rate limit in a 429. From a
    /// small set.
    #[serde(skip_serializing_if = "str::is_empty")]
    detail: Cow<'a, str>,
    /// Why the certificate could not be verified; empty when it was verified, or there is none.
    #[serde(skip_serializing_if = "str::is_empty")]
    unverified: Cow<'a, str>,
    /// Whether it issued a certificate: one was downloaded and is not wrong.
    issued: bool,
    /// Number of this result among all records of its node, from 1 without gaps.
    seq: u64,
    /// The worker that ran it, unique within its node.
    worker: u32,
    /// done − due, nanoseconds: response time.
    #[serde(rename = "chaintook")]
    took: u64,
    /// When it ended, nanoseconds since the clock's origin. Absent in logs of the 2015 design only.
    #[serde(skip_serializing_if = "Option::is_none")]
    done: Option<u64>,
    /// When it was due, nanoseconds since the clock's origin. Absent when it is done − chaintook.
    #[serde(skip_serializing_if = "Option::is_none")]
    due: Option<u64>,
    /// When it was started, nanoseconds since the clock's origin. Absent when it is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    started: Option<u64>,
    /// Time from started to done that the load tester spent on keys and CSRs, nanoseconds.
    #[serde(skip_serializing_if = "is_zero")]
    keygen: u64,
    /// Waiting time between requests that the CA asked for (Retry-After), nanoseconds.
    #[serde(skip_serializing_if = "is_zero")]
    waited_asked: u64,
    /// Waiting time between requests for our own poll interval, nanoseconds.
    #[serde(skip_serializing_if = "is_zero")]
    waited_poll: u64,
    /// Response time of the whole issuance of one order, newOrder to certificate, nanoseconds, without the
    /// time for which the ready order was stored. Absent where nothing was issued, or where the earlier part
    /// was not measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    issuance: Option<u64>,
    /// The path of its order's URL, which is the order's name in the CA's own log; empty without one.
    #[serde(skip_serializing_if = "str::is_empty")]
    order: Cow<'a, str>,
    /// The serial number of its certificate in lower-case hex, without leading zero bytes: of the one that it
    /// downloaded, or revoked; empty without one.
    #[serde(skip_serializing_if = "str::is_empty")]
    serial: Cow<'a, str>,
    /// The authorizations that it validated, in the order of the order's list.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    authorizations: Vec<WrittenAuthorization<'a>>,
    /// Every HTTP attempt, in the order in which they were sent.
    #[serde(rename = "individualresults")]
    requests: Vec<WrittenRequest<'a>>,
}

/// The result of one HTTP attempt.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = RequestResult)]
struct WrittenRequest<'a> {
    /// The endpoint's URI as a template, with ids replaced: `/authz/{id}`.
    uri: Cow<'a, str>,
    /// The endpoint by RFC 8555's name: `newOrder`, `finalize`, `authorization`…
    endpoint: Cow<'a, str>,
    /// HTTP method.
    method: Cow<'a, str>,
    /// Why it was sent.
    purpose: Purpose,
    /// Whether the answer was as expected.
    successful: bool,
    /// The error, for people; empty when successful.
    error: Cow<'a, str>,
    /// The error's class, for counting.
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<FailureClass>,
    /// HTTP status, 0 when there was no answer.
    status: u16,
    /// Problem type without `urn:ietf:params:acme:error:`; empty without a problem document.
    #[serde(skip_serializing_if = "str::is_empty")]
    problem: Cow<'a, str>,
    /// Details of `class`, for counting: the rate limit in a 429. From a small set.
    #[serde(skip_serializing_if = "str::is_empty")]
    detail: Cow<'a, str>,
    /// The CA's own id of a failed request, from the header that the plan gives; empty otherwise.
    #[serde(skip_serializing_if = "str::is_empty")]
    request_id: Cow<'a, str>,
    /// The `traceparent` sent with the request (W3C Trace Context), to find it in the CA's traces; empty if
    /// the run sends none.
    #[serde(skip_serializing_if = "str::is_empty")]
    traceparent: Cow<'a, str>,
    /// The problem document of a failed request as it came, cut after 1,024 bytes; empty without one.
    #[serde(skip_serializing_if = "str::is_empty")]
    document: Cow<'a, str>,
    /// The Retry-After of the answer, nanoseconds, with any status.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
    /// How often it was sent again on a new connection because the reused one was closed or reset before any
    /// answer.
    #[serde(skip_serializing_if = "is_zero")]
    reconnects: u32,
    /// Whether the connection had carried a request before.
    reused: bool,
    /// Address and port of the connection; empty without one.
    #[serde(skip_serializing_if = "str::is_empty")]
    address: Cow<'a, str>,
    /// Bytes of the request, head and body.
    bytes_sent: u64,
    /// Bytes of the answer's body.
    bytes_received: u64,
    /// done − due, nanoseconds: response time.
    took: u64,
    /// due − done of the attempt before it (− started of the chain for the first), nanoseconds. It is due when the
    /// chain has everything that the request needs.
    #[serde(skip_serializing_if = "is_zero")]
    due_after: u64,
    /// sent − due, nanoseconds. It is sent when its first byte is handed to the connection.
    #[serde(skip_serializing_if = "is_zero")]
    sent_after: u64,
    /// From when the answer's head had been read until done, nanoseconds; absent without an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<u64>,
    /// Age of the nonce at its use, nanoseconds; 0 for a request without one. Absent when the nonce came with the
    /// attempt before it: then it is due_after + sent_after.
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce_age: Option<u64>,
    /// When it was due, nanoseconds since the clock's origin. Absent when `due_after` gives it.
    #[serde(skip_serializing_if = "Option::is_none")]
    due: Option<u64>,
    /// When it was sent, nanoseconds since the clock's origin. Absent when `sent_after` gives it.
    #[serde(skip_serializing_if = "Option::is_none")]
    sent: Option<u64>,
    /// When its last body byte had been read, or it failed, nanoseconds since the clock's origin. Absent when it is
    /// due + took.
    #[serde(skip_serializing_if = "Option::is_none")]
    done: Option<u64>,
    /// DNS, connect, TLS; and the first byte where `body` does not give it.
    #[serde(skip_serializing_if = "is_zero")]
    phases: Phases,
}

/// The result of one authorization of a chain's order. It connects the chain with the hits on the challenge
/// server.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = AuthorizationResult)]
struct WrittenAuthorization<'a> {
    /// The identifier's value, lower case: the `name` of its hits.
    name: Cow<'a, str>,
    /// The path of the authorization's URL, which is its name in the CA's own log.
    id: Cow<'a, str>,
    /// The challenge that was used; null when the authorization was valid already.
    challenge: Option<ChallengeType>,
    /// The attempt with the challenge's POST, after which the CA validates, by its place from 0: it was `sent` then.
    #[serde(skip_serializing_if = "Option::is_none")]
    answered_by: Option<u64>,
    /// The attempt in whose answer the authorization was first seen in a final state, by its place from 0: it was
    /// `done` then.
    #[serde(skip_serializing_if = "Option::is_none")]
    settled_by: Option<u64>,
    /// When the challenge's POST was sent, nanoseconds since the clock's origin, where `answered_by` does not give it;
    /// 0 or absent when it was not sent.
    #[serde(skip_serializing_if = "is_zero")]
    answered: u64,
    /// When the authorization was first seen in a final state, nanoseconds since the clock's origin, where `settled_by`
    /// does not give it; 0 or absent when it was not.
    #[serde(skip_serializing_if = "is_zero")]
    settled: u64,
}

/// The name of a chain, or the number of one that this version does not know.
#[derive(Clone, Copy, Default)]
struct ChainName {
    chain: Option<Chain>,
    later: u32,
}

impl Serialize for ChainName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self { chain: None, later: 1.. } => serializer.collect_str(&self.later),
            Self { chain, .. } => chain.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for ChainName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Some(name) = Option::<Cow<'de, str>>::deserialize(deserializer)? else {
            return Ok(Self::default());
        };
        if let Some(chain) = Chain::ALL.into_iter().find(|chain| chain.name() == name) {
            return Ok(Self { chain: Some(chain), later: 0 });
        }
        match later_chain(&name) {
            Some(later) => Ok(Self { chain: None, later }),
            None => Err(D::Error::custom(format_args!("unknown chain {name:?}"))),
        }
    }
}

/// The number of a chain that this version does not know.
fn later_chain(name: &str) -> Option<u32> {
    let number = name.parse::<u32>().ok()?;
    (number as usize > Chain::ALL.len() && number.to_string() == name).then_some(number)
}

impl Serialize for ChainResult {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        WrittenChain::from(self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ChainResult {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        WrittenChain::deserialize(deserializer).map(Self::from)
    }
}

impl PartialSchema for ChainResult {
    fn schema() -> RefOr<Schema> {
        WrittenChain::schema()
    }
}

impl ToSchema for ChainResult {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        WrittenChain::schemas(schemas);
    }
}

impl<'a> From<&'a ChainResult> for WrittenChain<'a> {
    fn from(result: &'a ChainResult) -> Self {
        let ChainResult {
            seq,
            worker,
            chain,
            later_chain,
            successful,
            took,
            due,
            started,
            done,
            keygen,
            error,
            class,
            status,
            problem,
            abandoned,
            scenario,
            profile,
            detail,
            waited_asked,
            waited_poll,
            order,
            serial,
            issued,
            issuance,
            unverified,
            rests: _,
            authorizations,
            requests,
        } = result;
        let mut before = *started;
        let written = requests.iter().map(|request| {
            let written = written_request(request, before);
            before = request.done;
            written
        });
        Self {
            chain: ChainName { chain: *chain, later: *later_chain },
            successful: *successful,
            error: error.into(),
            class: *class,
            status: *status,
            problem: (&**problem).into(),
            abandoned: *abandoned,
            scenario: scenario.into(),
            profile: profile.into(),
            detail: (&**detail).into(),
            unverified: unverified.into(),
            issued: *issued,
            seq: *seq,
            worker: *worker,
            took: *took,
            done: Some(*done),
            due: (*due != done.saturating_sub(*took)).then_some(*due),
            started: (started != due).then_some(*started),
            keygen: *keygen,
            waited_asked: *waited_asked,
            waited_poll: *waited_poll,
            issuance: *issuance,
            order: order.into(),
            serial: serial.into(),
            requests: written.collect(),
            authorizations: authorizations
                .iter()
                .map(|authorization| written_authorization(authorization, requests))
                .collect(),
        }
    }
}

fn written_request(request: &RequestResult, before: u64) -> WrittenRequest<'_> {
    let RequestResult {
        uri,
        took,
        successful,
        error,
        class,
        endpoint,
        method,
        purpose,
        status,
        problem,
        bytes_sent,
        bytes_received,
        due,
        sent,
        done,
        reused,
        address,
        nonce_age,
        phases,
        retry_after,
        reconnects,
        detail,
        request_id,
        traceparent,
        document,
    } = request;
    let (due_after, sent_after) = (due.checked_sub(before), sent.checked_sub(*due));
    let followed = due.saturating_add(*took) == *done;
    let answered = phases.first_byte > 0;
    let body =
        done.checked_sub(*sent).and_then(|took| took.checked_sub(phases.first_byte)).filter(|_| answered);
    let usual_age = if followed { sent.checked_sub(before) } else { Some(0) };
    WrittenRequest {
        uri: (&**uri).into(),
        endpoint: (&**endpoint).into(),
        method: (&**method).into(),
        purpose: *purpose,
        successful: *successful,
        error: error.into(),
        class: *class,
        status: *status,
        problem: (&**problem).into(),
        detail: (&**detail).into(),
        request_id: request_id.into(),
        traceparent: traceparent.into(),
        document: document.into(),
        retry_after: *retry_after,
        reconnects: *reconnects,
        reused: *reused,
        address: (&**address).into(),
        bytes_sent: *bytes_sent,
        bytes_received: *bytes_received,
        took: *took,
        due_after: due_after.unwrap_or(0),
        sent_after: sent_after.unwrap_or(0),
        body,
        nonce_age: (usual_age != Some(*nonce_age)).then_some(*nonce_age),
        due: due_after.is_none().then_some(*due),
        sent: sent_after.is_none().then_some(*sent),
        done: (!followed).then_some(*done),
        phases: Phases { first_byte: if body.is_some() { 0 } else { phases.first_byte }, ..*phases },
    }
}

fn written_authorization<'a>(
    authorization: &'a AuthorizationResult,
    requests: &[RequestResult],
) -> WrittenAuthorization<'a> {
    let AuthorizationResult { name, id, challenge, answered, settled } = authorization;
    let by = |of: fn(&RequestResult) -> u64, time: u64| {
        let place = requests.iter().position(|request| of(request) == time).filter(|_| time > 0);
        place.map(|place| place as u64)
    };
    let (answered_by, settled_by) =
        (by(|request| request.sent, *answered), by(|request| request.done, *settled));
    WrittenAuthorization {
        name: name.into(),
        id: id.into(),
        challenge: *challenge,
        answered_by,
        settled_by,
        answered: if answered_by.is_some() { 0 } else { *answered },
        settled: if settled_by.is_some() { 0 } else { *settled },
    }
}

impl From<WrittenChain<'_>> for ChainResult {
    fn from(written: WrittenChain<'_>) -> Self {
        let times =
            ChainTimes { took: written.took, done: written.done, due: written.due, started: written.started };
        let (due, started, done) = times.read();
        let mut before = started;
        let requests: Vec<_> = written
            .requests
            .into_iter()
            .map(|request| {
                let request = read_request(request, written.done.map(|_| before));
                before = request.done;
                request
            })
            .collect();
        let authorizations = written.authorizations.into_iter().map(|authorization| AuthorizationResult {
            name: authorization.name.into_owned(),
            id: authorization.id.into_owned(),
            challenge: authorization.challenge,
            answered: time_of(authorization.answered, authorization.answered_by, &requests, |request| {
                request.sent
            }),
            settled: time_of(authorization.settled, authorization.settled_by, &requests, |request| {
                request.done
            }),
        });
        Self {
            authorizations: authorizations.collect(),
            seq: written.seq,
            worker: written.worker,
            chain: written.chain.chain,
            later_chain: written.chain.later,
            successful: written.successful,
            took: written.took,
            due,
            started,
            done,
            keygen: written.keygen,
            error: written.error.into_owned(),
            class: written.class,
            status: written.status,
            problem: Cow::Owned(written.problem.into_owned()),
            abandoned: written.abandoned,
            scenario: written.scenario.into_owned(),
            profile: written.profile.into_owned(),
            detail: Cow::Owned(written.detail.into_owned()),
            waited_asked: written.waited_asked,
            waited_poll: written.waited_poll,
            order: written.order.into_owned(),
            serial: written.serial.into_owned(),
            issued: written.issued,
            issuance: written.issuance,
            unverified: written.unverified.into_owned(),
            rests: false,
            requests,
        }
    }
}

/// The times of a chain as they are in a line.
pub(crate) struct ChainTimes {
    pub(crate) took: u64,
    pub(crate) done: Option<u64>,
    pub(crate) due: Option<u64>,
    pub(crate) started: Option<u64>,
}

impl ChainTimes {
    /// `due`, `started` and `done`. Without `done` there are no times: the 2015 design had none.
    pub(crate) fn read(&self) -> (u64, u64, u64) {
        let done = self.done.unwrap_or(0);
        let due = self.due.unwrap_or_else(|| done.saturating_sub(self.took));
        (due, self.started.unwrap_or(due), done)
    }
}

/// The times of an attempt as they are in a line.
pub(crate) struct RequestTimes {
    pub(crate) took: u64,
    pub(crate) due_after: u64,
    pub(crate) sent_after: u64,
    pub(crate) body: Option<u64>,
    pub(crate) nonce_age: Option<u64>,
    pub(crate) due: Option<u64>,
    pub(crate) sent: Option<u64>,
    pub(crate) done: Option<u64>,
    pub(crate) first_byte: u64,
}

impl RequestTimes {
    /// `due`, `sent`, `done`, `nonce_age` and the first byte. `before` is when the attempt before it was done, or the
    /// chain was started; none in a line without times.
    pub(crate) fn read(&self, before: Option<u64>) -> (u64, u64, u64, u64, u64) {
        let follows = |time: Option<u64>, from: u64, after: u64| match (time, before) {
            (Some(time), _) => time,
            (None, Some(_)) => from.saturating_add(after),
            (None, None) => 0,
        };
        let due = follows(self.due, before.unwrap_or(0), self.due_after);
        let sent = follows(self.sent, due, self.sent_after);
        let done = follows(self.done, due, self.took);
        let nonce_age = match (self.nonce_age, before) {
            (Some(age), _) => age,
            // Version 1 writes `done`, and no age for a request without a nonce.
            (None, Some(before)) if self.done.is_none() => sent.saturating_sub(before),
            (None, _) => 0,
        };
        let first_byte = match self.body {
            Some(body) => done.saturating_sub(sent).saturating_sub(body),
            None => self.first_byte,
        };
        (due, sent, done, nonce_age, first_byte)
    }
}

/// The time of an authorization that an attempt gives.
pub(crate) fn time_of(
    time: u64,
    by: Option<u64>,
    requests: &[RequestResult],
    of: fn(&RequestResult) -> u64,
) -> u64 {
    by.and_then(|place| requests.get(usize::try_from(place).ok()?)).map_or(time, of)
}

fn read_request(written: WrittenRequest<'_>, before: Option<u64>) -> RequestResult {
    let times = RequestTimes {
        took: written.took,
        due_after: written.due_after,
        sent_after: written.sent_after,
        body: written.body,
        nonce_age: written.nonce_age,
        due: written.due,
        sent: written.sent,
        done: written.done,
        first_byte: written.phases.first_byte,
    };
    let (due, sent, done, nonce_age, first_byte) = times.read(before);
    let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
    RequestResult {
        uri: owned(written.uri),
        took: written.took,
        successful: written.successful,
        error: written.error.into_owned(),
        class: written.class,
        endpoint: owned(written.endpoint),
        method: owned(written.method),
        purpose: written.purpose,
        status: written.status,
        problem: owned(written.problem),
        bytes_sent: written.bytes_sent,
        bytes_received: written.bytes_received,
        due,
        sent,
        done,
        reused: written.reused,
        address: owned(written.address),
        nonce_age,
        phases: Phases { first_byte, ..written.phases },
        retry_after: written.retry_after,
        reconnects: written.reconnects,
        detail: owned(written.detail),
        request_id: written.request_id.into_owned(),
        traceparent: written.traceparent.into_owned(),
        document: written.document.into_owned(),
    }
}
