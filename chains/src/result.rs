//! From what a chain did to the record of it.

use std::borrow::Cow;

use wec_acme::{Exchange, Failure, FailureKind};
use wec_record::{Chain, ChainResult, FailureClass, Purpose, RequestResult};

/// When a chain was due, started and done; nanoseconds since the clock's origin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) due: u64,
    pub(crate) started: u64,
    pub(crate) done: u64,
}

/// The record, from what [`wec_acme::Trace::into_parts`] gave; who ran it, and its number, are the caller's to add.
pub(crate) fn of(
    chain: Chain,
    times: Times,
    (exchanges, keygen): (Vec<Exchange>, u64),
    failure: Option<Failure>,
) -> ChainResult {
    let (error, class) =
        failure.map_or_else(Default::default, |failure| (failure.message, Some(class(failure.kind))));
    ChainResult {
        seq: 0,
        worker: 0,
        chain: Some(chain),
        successful: class.is_none(),
        took: times.done.saturating_sub(times.due),
        due: times.due,
        started: times.started,
        done: times.done,
        keygen,
        error,
        class,
        abandoned: false,
        requests: exchanges.into_iter().map(request).collect(),
    }
}

fn request(exchange: Exchange) -> RequestResult {
    let problem =
        exchange.problem().map_or(Cow::Borrowed(""), |problem| Cow::Owned(problem.name().to_owned()));
    let (error, class) = exchange
        .failure
        .map_or_else(Default::default, |failure| (failure.message, Some(class(failure.kind))));
    RequestResult {
        uri: exchange.template,
        took: exchange.done.saturating_sub(exchange.due),
        successful: class.is_none(),
        error,
        class,
        endpoint: Cow::Borrowed(exchange.endpoint.name()),
        method: Cow::Borrowed(exchange.method),
        purpose: purpose(exchange.purpose),
        status: exchange.status,
        problem,
        bytes_sent: exchange.bytes_sent,
        bytes_received: exchange.bytes_received,
        due: exchange.due,
        sent: exchange.sent,
        done: exchange.done,
        reused: exchange.reused,
    }
}

/// The one place where the client's kinds of failure become the record's classes.
const fn class(kind: FailureKind) -> FailureClass {
    match kind {
        FailureKind::Problem => FailureClass::Problem,
        FailureKind::RateLimited => FailureClass::RateLimited,
        FailureKind::BadNonce => FailureClass::BadNonce,
        FailureKind::ServerError => FailureClass::ServerError,
        FailureKind::UnexpectedStatus => FailureClass::UnexpectedStatus,
        FailureKind::Malformed => FailureClass::Malformed,
        FailureKind::Connect => FailureClass::Connect,
        FailureKind::Tls => FailureClass::Tls,
        FailureKind::Reset => FailureClass::Reset,
        FailureKind::Timeout => FailureClass::Timeout,
        FailureKind::Validation => FailureClass::Validation,
        FailureKind::PollTimeout => FailureClass::PollTimeout,
        FailureKind::WrongCertificate => FailureClass::WrongCertificate,
        FailureKind::Internal => FailureClass::Internal,
        FailureKind::Interrupted => FailureClass::Interrupted,
    }
}

const fn purpose(purpose: wec_acme::Purpose) -> Purpose {
    match purpose {
        wec_acme::Purpose::Step => Purpose::Step,
        wec_acme::Purpose::Nonce => Purpose::Nonce,
        wec_acme::Purpose::Retry => Purpose::Retry,
        wec_acme::Purpose::Poll => Purpose::Poll,
    }
}
