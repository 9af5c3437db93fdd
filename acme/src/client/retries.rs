//! How a request is sent: with a nonce, and again after `badNonce` or when the server is busy. How an object is polled:
//! not earlier than the CA asked.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use wec_record::LONGEST_DOCUMENT;

use super::Client;
use super::network::Network;
use crate::FailureClass;
use crate::Purpose;
use crate::account::Account;
use crate::attempt::Attempt;
use crate::behaviour::{Behaviour, MOST_HASTY_POLLS, MOST_HOT_RETRIES};
use crate::ca_clock;
use crate::endpoint::Endpoint;
use crate::exchange::Trace;
use crate::failure::Failure;
use crate::jws::{self, Header, Identity};
use crate::key::SigningKey;
use crate::nonce::Nonce;
use crate::policy::Policy;
use crate::subject::Subject;
use crate::template::Templates;
use crate::transport::{BoxFuture, Reply, Request, Response, TakenPlace, may_send};

impl Client {
    /// A signed POST, retried as the policy allows.
    pub(super) async fn signed<T>(
        &self,
        trace: &mut Trace,
        step: Step<'_>,
        Signed { key, identity, payload }: Signed<'_>,
        read: impl Fn(&Self, &Attempt<'_>, &Response) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let sign =
            |nonce: &str| jws::sign(key, Header { identity, nonce: Some(nonce), url: step.url }, payload);
        self.signed_by(trace, step, sign, read).await
    }

    /// The same; `sign` makes the body from a nonce, for each attempt.
    pub(super) async fn signed_by<T>(
        &self,
        trace: &mut Trace,
        mut step: Step<'_>,
        sign: impl Fn(&str) -> Result<Bytes, Failure>,
        read: impl Fn(&Self, &Attempt<'_>, &Response) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        if step.purpose == Purpose::Step {
            trace.next_step()?;
        }
        self.introduce(trace).await?;
        let mut retries = Retries::new(&self.ca.policy);
        let first = step.purpose;
        let mut place = None;
        (step.method, step.due) = ("POST", Some(self.ca.clock.now()));
        loop {
            step.purpose = retries.purpose(first);
            self.take_place(&mut place, trace, &step).await?;
            let nonce = match self.nonces.take(self.ca.clock.now()) {
                Some(nonce) => nonce,
                // Boxed: it is rare, and would make the state of every request larger.
                None => Box::pin(self.fetch_nonce(&mut place, trace, step.due)).await?,
            };
            let body = sign(&nonce.value)?;
            trace.nonce_arrived(nonce.arrived);
            let request = Request {
                method: step.method,
                url: step.url.to_owned(),
                body,
                accept: step.accept,
                traceparent: None,
                term: None,
            };
            match self.attempt(trace, &step, request, &read).await {
                Ok(value) => return Ok(value),
                // Nothing else can take the nonce that came with a `badNonce` before the next round: the pool returns
                // the freshest, and there is no await in between unless the server asked for a wait.
                Err(missed) => step.due = Some(Box::pin(retries.after(missed, trace, &mut place)).await?),
            }
        }
    }

    /// Waits until a request may be sent. If it never may, it is noted as an attempt.
    async fn take_place<'a>(
        &'a self,
        place: &mut Option<TakenPlace<'a>>,
        trace: &mut Trace,
        step: &Step<'_>,
    ) -> Result<(), Failure> {
        if place.is_some() {
            return Ok(());
        }
        let taken = match self.transport.places() {
            Some(places) => places.take().await,
            None => Ok(TakenPlace::any()),
        };
        match taken {
            Ok(taken) => *place = Some(taken),
            Err(failure) => {
                let attempt = Attempt { endpoint: step.endpoint, method: step.method, url: step.url };
                let failure = attempt.failed(failure);
                self.open(trace, step);
                trace.close(|exchange| {
                    exchange.sent = self.ca.clock.now();
                    exchange.done = exchange.sent;
                    exchange.failure = Some(Box::new(failure.clone()));
                });
                return Err(failure);
            }
        }
        Ok(())
    }

    /// A fresh nonce (RFC 8555 §7.2), for a request that was due at `due`.
    async fn fetch_nonce<'a>(
        &'a self,
        place: &mut Option<TakenPlace<'a>>,
        trace: &mut Trace,
        due: Option<u64>,
    ) -> Result<Nonce, Failure> {
        let url = self.ca.directory.new_nonce.as_str();
        let nonce = Step::new(Endpoint::NewNonce, url, &[200, 204]);
        let step = Step { method: "HEAD", purpose: Purpose::Nonce, due, ..nonce };
        self.unsigned(place, trace, step, |client, attempt, response| {
            client
                .nonces
                .take(client.ca.clock.now())
                .ok_or_else(|| attempt.malformed(response, "no usable Replay-Nonce header"))
        })
        .await
    }

    /// A GET or HEAD, retried as the policy allows.
    pub(super) async fn unsigned<'a, T>(
        &'a self,
        place: &mut Option<TakenPlace<'a>>,
        trace: &mut Trace,
        mut step: Step<'_>,
        read: impl Fn(&Self, &Attempt<'_>, &Response) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut retries = Retries::new(&self.ca.policy);
        let first = step.purpose;
        step.due = step.due.or_else(|| Some(self.ca.clock.now()));
        loop {
            step.purpose = retries.purpose(first);
            self.take_place(place, trace, &step).await?;
            let request = Request {
                method: step.method,
                url: step.url.to_owned(),
                body: bytes::Bytes::new(),
                accept: step.accept,
                traceparent: None,
                term: None,
            };
            match self.attempt(trace, &step, request, &read).await {
                Ok(value) => return Ok(value),
                Err(missed) => step.due = Some(Box::pin(retries.after(missed, trace, place)).await?),
            }
        }
    }

    /// One attempt: sends, notes, keeps the nonce, judges the answer.
    async fn attempt<T>(
        &self,
        trace: &mut Trace,
        step: &Step<'_>,
        mut request: Request,
        read: impl Fn(&Self, &Attempt<'_>, &Response) -> Result<T, Failure>,
    ) -> Result<T, Missed> {
        let attempt = Attempt { endpoint: step.endpoint, method: step.method, url: step.url };
        // Before a connection is made; the transport checks it again.
        if let Err(failure) = may_send(trace.term()) {
            return Err(Missed { failure: attempt.failed(failure), status: 0, others_can_go_on: false });
        }
        self.open(trace, step);
        request.traceparent = self.ca.correlation.traceparent.then(|| trace.traceparent());
        request.term = trace.term().cloned();
        let under_way = self.ca.pulse.begin(self.ca.clock.now());
        let reply = match (trace.behaviour(), &self.ca.network) {
            (Behaviour::NewConnections, Some(network)) => self.send_apart(network, request, false).await,
            (Behaviour::SlowReader, Some(network)) => self.send_apart(network, request, true).await,
            _ => self.transport.send(request).await,
        };

        let mut status = 0;
        let result = match &reply.result {
            Err(failure) => Err(attempt.failed(failure.clone())),
            Ok(response) => {
                status = response.status;
                under_way.answered();
                self.ca.ca_clock.learn(&response.headers, reply.sent, reply.done);
                if let Some(nonce) = response.headers.get("replay-nonce") {
                    self.nonces.put(nonce.as_bytes(), reply.done);
                }
                if step.expected.contains(&status) {
                    read(self, &attempt, response)
                } else {
                    Err(attempt.refused(response, self.retry_after(response)))
                }
            }
        };
        trace.close(|exchange| {
            exchange.status = status;
            exchange.failure = result.as_ref().err().map(|failure| Box::new(failure.clone()));
            exchange.bytes_sent = reply.bytes_sent;
            exchange.bytes_received = reply.bytes_received;
            exchange.sent = reply.sent;
            exchange.done = reply.done;
            exchange.reused = reply.reused;
            exchange.way = reply.way;
            if let (Err(_), Ok(response)) = (&result, &reply.result) {
                exchange.request_id = self.ca.correlation.request_id(response);
                exchange.document = exchange.problem().is_some().then(|| document(&response.body));
            }
            exchange.retry_after = reply.result.as_ref().ok().and_then(|response| self.retry_after(response));
        });
        result.map_err(|failure| {
            // RFC 6585 §4: a 503 is about the server, whatever its problem document contains.
            let limited = failure.kind == FailureClass::RateLimited && status == 429;
            let others_can_go_on = limited && Subject::of(step.endpoint, &failure.detail).is_an_object();
            Missed { failure, status, others_can_go_on }
        })
    }

    /// Sends on a connection that only this request has, with a full TLS handshake. Boxed, because it is rare.
    fn send_apart<'a>(&'a self, network: &'a Network, request: Request, slow: bool) -> BoxFuture<'a, Reply> {
        Box::pin(async move {
            let transport = if slow {
                network.slow_transport(self.ca.clock)
            } else {
                network.transport(1, true, self.ca.clock)
            };
            transport.send(request).await
        })
    }

    /// Begins the note of an attempt.
    fn open(&self, trace: &mut Trace, step: &Step<'_>) {
        let due = step.due.unwrap_or_else(|| self.ca.clock.now());
        trace.open(step.endpoint, step.method, self.template(step), step.purpose, due);
    }

    fn template(&self, step: &Step<'_>) -> &'static str {
        match step.endpoint {
            Endpoint::Directory
            | Endpoint::NewNonce
            | Endpoint::NewAccount
            | Endpoint::NewOrder
            | Endpoint::RevokeCert
            | Endpoint::NewAuthz
            | Endpoint::KeyChange => Templates::fixed(step.url),
            _ => self.ca.templates.fold(step.url),
        }
    }

    /// A date counts from the answer's own date, so our clock does not matter.
    pub(super) fn retry_after(&self, response: &Response) -> Option<Duration> {
        let now = || ca_clock::date(&response.headers).unwrap_or_else(|| self.ca.ca_clock.unix_now());
        crate::time::retry_after(response.header("retry-after")?, now)
    }
}

/// A request, its endpoint, and the statuses of success.
#[derive(Clone, Copy)]
pub(super) struct Step<'a> {
    pub(super) endpoint: Endpoint,
    pub(super) method: &'static str,
    pub(super) url: &'a str,
    /// With another status the request has failed.
    pub(super) expected: &'static [u16],
    pub(super) accept: Option<&'static str>,
    pub(super) purpose: Purpose,
    /// When it was due, if earlier than now.
    pub(super) due: Option<u64>,
}

impl<'a> Step<'a> {
    /// The first attempt of a step, by GET; [`Client::signed`] makes it a POST.
    pub(super) const fn new(endpoint: Endpoint, url: &'a str, expected: &'static [u16]) -> Self {
        Self { endpoint, method: "GET", url, expected, accept: None, purpose: Purpose::Step, due: None }
    }
}

/// What is signed, and by whom.
#[derive(Clone, Copy)]
pub(super) struct Signed<'a> {
    pub(super) key: &'a SigningKey,
    pub(super) identity: Identity<'a>,
    pub(super) payload: &'a [u8],
}

pub(super) fn by<'a>(account: &'a Account, payload: &'a [u8]) -> Signed<'a> {
    Signed { key: account.key.signing(), identity: Identity::Account(&account.url), payload }
}

/// A failed attempt.
struct Missed {
    failure: Failure,
    status: u16,
    /// A limit on an object refused it: this object must wait, and the caller can continue with another.
    others_can_go_on: bool,
}

/// The remaining retries of a request.
struct Retries<'a> {
    policy: &'a Policy,
    bad_nonce: u32,
    busy: u32,
    /// Whether anything has been sent.
    any: bool,
}

impl<'a> Retries<'a> {
    const fn new(policy: &'a Policy) -> Self {
        Self { policy, bad_nonce: 0, busy: 0, any: false }
    }

    const fn purpose(&self, first: Purpose) -> Purpose {
        if self.any { Purpose::Retry } else { first }
    }

    /// Waits as long as needed, without holding a place, and returns when the next attempt is due; or gives up.
    async fn after(
        &mut self,
        missed: Missed,
        trace: &mut Trace,
        place: &mut Option<TakenPlace<'_>>,
    ) -> Result<u64, Failure> {
        let Missed { mut failure, status, others_can_go_on } = missed;
        self.any = true;
        if failure.kind == FailureClass::BadNonce {
            if self.bad_nonce < self.policy.bad_nonce_retries {
                self.bad_nonce += 1;
                return Ok(trace.now());
            }
            failure.message += &format!(" (after {} retries with fresh nonces)", self.bad_nonce);
            return Err(failure);
        }
        if trace.behaviour() == Behaviour::HotRetries && is_tried_again(failure.kind) {
            if self.busy < MOST_HOT_RETRIES {
                self.busy += 1;
                return Ok(trace.now());
            }
            failure.message += &format!(" (after {} retries at once)", self.busy);
            return Err(failure);
        }
        let busy = failure.kind == FailureClass::RateLimited || status == 503;
        let Some(wait) = failure.retry_after.filter(|_| busy && !others_can_go_on) else {
            return Err(failure);
        };
        let ignored = trace.behaviour() == Behaviour::IgnoresRetryAfter;
        if wait > self.policy.max_retry_after && !ignored {
            failure.message += &too_long(wait, self.policy.max_retry_after);
            return Err(failure);
        }
        if self.busy == self.policy.busy_retries {
            if self.busy > 0 {
                let when = if ignored { "at once" } else { "each after its Retry-After" };
                failure.message += &format!(" (after {} retries, {when})", self.busy);
            }
            return Err(failure);
        }
        self.busy += 1;
        if ignored {
            return Ok(trace.now());
        }
        *place = None;
        trace.wait(wait, Duration::ZERO, wait).await;
        Ok(trace.now())
    }
}

/// Whether a client with hot retries repeats a request that failed so: not what our own side refused.
const fn is_tried_again(kind: FailureClass) -> bool {
    matches!(
        kind,
        FailureClass::Problem
            | FailureClass::RateLimited
            | FailureClass::ServerError
            | FailureClass::UnexpectedStatus
            | FailureClass::Connect
            | FailureClass::Tls
            | FailureClass::Reset
            | FailureClass::Timeout
    )
}

/// How long an object is still polled, and how long until the next poll.
pub(super) struct PollWaits<'a> {
    policy: &'a Policy,
    deadline: Instant,
    interval: Option<Duration>,
    /// Polls without a wait.
    hasty: u32,
    /// The wait that the CA asked for last.
    pub(super) asked: Option<Duration>,
}

impl<'a> PollWaits<'a> {
    pub(super) fn new(policy: &'a Policy, asked: Option<Duration>) -> Self {
        Self { policy, deadline: Instant::now() + policy.poll_timeout, interval: None, hasty: 0, asked }
    }

    /// Waits for the longer of our interval and what the CA asked for.
    pub(super) async fn wait(
        &mut self,
        trace: &mut Trace,
        endpoint: Endpoint,
        url: &str,
    ) -> Result<(), Failure> {
        let remaining = self.deadline.saturating_duration_since(Instant::now());
        let own = self.policy.next_interval(self.interval);
        self.interval = Some(own);
        let bound = self.policy.poll_timeout;
        let give_up = |why: String| {
            let message = format!("{endpoint} {url} is not settled after polling for up to {bound:?}{why}");
            Err(Failure { retry_after: self.asked, ..Failure::new(FailureClass::PollTimeout, message) })
        };
        if remaining.is_zero() {
            return give_up(String::new());
        }
        if trace.behaviour() == Behaviour::HastyPolls {
            if self.hasty == MOST_HASTY_POLLS {
                return give_up(format!(", in {MOST_HASTY_POLLS} polls without a wait"));
            }
            self.hasty += 1;
            return Ok(());
        }
        let asked = match trace.behaviour() {
            Behaviour::IgnoresRetryAfter => Duration::ZERO,
            _ => self.asked.unwrap_or_default(),
        };
        if asked > self.policy.max_retry_after {
            let message =
                format!("{endpoint} {url} is not settled{}", too_long(asked, self.policy.max_retry_after));
            return Err(Failure {
                retry_after: Some(asked),
                ..Failure::new(FailureClass::PollTimeout, message)
            });
        }
        if asked > remaining {
            return give_up(format!(": the CA asks to wait {asked:?}, longer than what is left"));
        }
        trace.wait(asked, own, remaining).await;
        Ok(())
    }
}

fn too_long(asked: Duration, allowed: Duration) -> String {
    format!(": the CA asks to wait {asked:?}, longer than the {allowed:?} allowed here (--max-retry-after)")
}

/// A problem document for the record: cut, and without what is not text.
fn document(body: &[u8]) -> Box<str> {
    let text = String::from_utf8_lossy(body);
    text[..text.floor_char_boundary(LONGEST_DOCUMENT)].trim().into()
}
