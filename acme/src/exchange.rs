//! Every HTTP attempt of a chain, in the order of sending.

use std::borrow::Cow;
use std::fmt;

use crate::clock::Clock;
use crate::failure::{Failure, FailureKind};
use crate::problem::Problem;

/// The resources of RFC 8555 §7.1, RFC 9773 and their fields, by the names that the standards use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// The directory itself.
    Directory,
    /// newNonce.
    NewNonce,
    /// newAccount.
    NewAccount,
    /// An account's URL.
    Account,
    /// newOrder.
    NewOrder,
    /// An order's URL.
    Order,
    /// An authorization's URL.
    Authorization,
    /// A challenge's URL.
    Challenge,
    /// An order's finalize URL.
    Finalize,
    /// A certificate's URL.
    Certificate,
    /// revokeCert.
    RevokeCert,
    /// renewalInfo.
    RenewalInfo,
    /// keyChange.
    KeyChange,
}

impl Endpoint {
    /// The name in the directory or in the object that links to it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::NewNonce => "newNonce",
            Self::NewAccount => "newAccount",
            Self::Account => "account",
            Self::NewOrder => "newOrder",
            Self::Order => "order",
            Self::Authorization => "authorization",
            Self::Challenge => "challenge",
            Self::Finalize => "finalize",
            Self::Certificate => "certificate",
            Self::RevokeCert => "revokeCert",
            Self::RenewalInfo => "renewalInfo",
            Self::KeyChange => "keyChange",
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a request was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// The first attempt of a step.
    Step,
    /// A fetch of a fresh nonce.
    Nonce,
    /// A further attempt after `badNonce`, 429, 503 or a dead connection.
    Retry,
    /// A look whether something is there yet.
    Poll,
}

/// One HTTP attempt. Times are nanoseconds of the client's [`Clock`].
#[derive(Clone, Debug)]
pub struct Exchange {
    /// What was asked.
    pub endpoint: Endpoint,
    /// HTTP method.
    pub method: &'static str,
    /// The URL's path with ids folded: `/authZ/{id}`.
    pub template: Cow<'static, str>,
    /// Why it was sent.
    pub purpose: Purpose,
    /// HTTP status, 0 when there was no answer.
    pub status: u16,
    /// None when the answer was the right one.
    pub failure: Option<Failure>,
    /// Bytes of the request's head and body, before TLS.
    pub bytes_sent: u64,
    /// Bytes of the answer's body.
    pub bytes_received: u64,
    /// When the chain had all it needed to send it: before a nonce was fetched and a connection waited for.
    pub due: u64,
    /// When it was handed to the connection.
    pub sent: u64,
    /// When the last byte of the body had been read, or it failed.
    pub done: u64,
    /// Whether the connection had served a request before.
    pub reused: bool,
}

impl Exchange {
    /// The CA's problem document, if it sent one.
    pub fn problem(&self) -> Option<&Problem> {
        self.failure.as_ref()?.problem.as_deref()
    }
}

/// What a chain sent, and what it spent on keys.
///
/// The trace outlives the chain's future: when that is dropped in the middle of a request, the attempt is still
/// here, and [`Trace::into_parts`] closes it as interrupted.
#[derive(Debug)]
pub struct Trace {
    clock: Clock,
    exchanges: Vec<Exchange>,
    /// Whether the last exchange has not ended.
    open: bool,
    keygen: u64,
}

impl Trace {
    /// An empty trace. Must be of the clock that the client was made with.
    pub fn new(clock: Clock) -> Self {
        // 7 signed POSTs are an issuance; a nonce or a poll more are common.
        Self { clock, exchanges: Vec::with_capacity(8), open: false, keygen: 0 }
    }

    /// The attempts so far. One that is still under way has `done` 0.
    pub fn exchanges(&self) -> &[Exchange] {
        &self.exchanges
    }

    /// Runs `work`, which makes keys or CSRs, and counts its time as the load tester's own.
    pub fn keygen<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let start = self.clock.now();
        let made = work();
        self.keygen += self.clock.now() - start;
        made
    }

    /// The attempts, and the nanoseconds spent on keys and CSRs.
    ///
    /// An attempt still under way becomes [`FailureKind::Interrupted`], done now.
    pub fn into_parts(mut self) -> (Vec<Exchange>, u64) {
        if self.open
            && let Some(last) = self.exchanges.last_mut()
        {
            last.done = self.clock.now();
            last.failure = Some(Failure::new(
                FailureKind::Interrupted,
                format!(
                    "{}: {} {}: interrupted before the answer",
                    last.endpoint, last.method, last.template
                ),
            ));
        }
        (self.exchanges, self.keygen)
    }

    /// Notes an attempt that is about to be sent.
    pub(crate) fn open(
        &mut self,
        endpoint: Endpoint,
        method: &'static str,
        template: Cow<'static, str>,
        purpose: Purpose,
        due: u64,
    ) {
        self.open = true;
        self.exchanges.push(Exchange {
            endpoint,
            method,
            template,
            purpose,
            status: 0,
            failure: None,
            bytes_sent: 0,
            bytes_received: 0,
            due,
            sent: due,
            done: 0,
            reused: false,
        });
    }

    /// Ends the attempt that [`Trace::open`] began.
    pub(crate) fn close(&mut self, end: impl FnOnce(&mut Exchange)) {
        debug_assert!(self.open, "every close follows an open");
        self.open = false;
        if let Some(last) = self.exchanges.last_mut() {
            end(last);
        }
    }
}
