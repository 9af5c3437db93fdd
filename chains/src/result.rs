//! Makes the record of a chain.

use std::borrow::Cow;

use wec_acme::{Exchange, Failure, FailureClass, Peer, Waited};
use wec_record::{AuthorizationResult, Chain, ChainResult, Phases, RequestResult};

/// When a chain was due, started and done; nanoseconds since the clock's origin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) due: u64,
    pub(crate) started: u64,
    pub(crate) done: u64,
}

/// What a chain did: the parts of [`wec_acme::Trace`], and the results of the authorizations.
#[derive(Debug)]
pub(crate) struct Did {
    pub(crate) exchanges: Vec<Exchange>,
    pub(crate) keygen: u64,
    pub(crate) waited: Waited,
    pub(crate) authorizations: Vec<AuthorizationResult>,
}

/// The record; the caller adds the worker and the number.
pub(crate) fn of(chain: Chain, times: Times, did: Did, failure: Option<Failure>) -> ChainResult {
    // From the failure itself, not from the last failed attempt, which may be an earlier one that was
    // repeated.
    let (status, problem) = failure.as_ref().map_or((0, Cow::Borrowed("")), |failure| {
        let problem = failure.problem.as_ref().map(|problem| Cow::Owned(problem.name().to_owned()));
        (failure.status, problem.unwrap_or_default())
    });
    let (error, class, detail) = told(failure);
    ChainResult {
        chain: Some(chain),
        successful: class.is_none(),
        took: times.done.saturating_sub(times.due),
        due: times.due,
        started: times.started,
        done: times.done,
        keygen: did.keygen,
        error,
        class,
        detail,
        status,
        problem,
        waited_asked: did.waited.asked,
        waited_poll: did.waited.poll,
        authorizations: did.authorizations,
        requests: did.exchanges.into_iter().map(request).collect(),
        ..ChainResult::default()
    }
}

fn request(exchange: Exchange) -> RequestResult {
    let problem =
        exchange.problem().map_or(Cow::Borrowed(""), |problem| Cow::Owned(problem.name().to_owned()));
    let (error, class, detail) = told(exchange.failure.map(|failure| *failure));
    RequestResult {
        uri: Cow::Borrowed(exchange.template),
        took: exchange.done.saturating_sub(exchange.due),
        successful: class.is_none(),
        error,
        class,
        endpoint: Cow::Borrowed(exchange.endpoint.name()),
        method: Cow::Borrowed(exchange.method),
        purpose: exchange.purpose,
        status: exchange.status,
        problem,
        bytes_sent: exchange.bytes_sent,
        bytes_received: exchange.bytes_received,
        due: exchange.due,
        sent: exchange.sent,
        done: exchange.done,
        reused: exchange.reused,
        address: Cow::Borrowed(exchange.way.address.map_or("", Peer::name)),
        nonce_age: exchange.nonce_age,
        phases: Phases {
            dns: exchange.way.dns,
            connect: exchange.way.connect,
            tls: exchange.way.tls,
            first_byte: exchange.way.first_byte,
        },
        retry_after: exchange.retry_after.map(|asked| u64::try_from(asked.as_nanos()).unwrap_or(u64::MAX)),
        reconnects: exchange.way.reconnects,
        detail,
        request_id: exchange.request_id.map(String::from).unwrap_or_default(),
        traceparent: exchange.traceparent.map(String::from).unwrap_or_default(),
        document: exchange.document.map(String::from).unwrap_or_default(),
    }
}

/// A failure's text, class and detail; empty without one.
fn told(failure: Option<Failure>) -> (String, Option<FailureClass>, Cow<'static, str>) {
    failure.map_or_else(Default::default, |failure| (failure.message, Some(failure.kind), failure.detail))
}
