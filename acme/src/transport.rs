//! The interface between the client and the network: for timing, and for fakes in tests.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::FailureClass;
use crate::clock::Term;
use crate::failure::Failure;
use crate::peer::Peer;

/// A boxed future, as trait objects need it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Sends requests, one attempt each: no retries, no redirects. A request that a server did not process before it
/// ended the connection is sent again over a new one, within the attempt ([`Way::reconnects`]).
pub trait Transport: Send + Sync {
    /// Where attempts wait if their number is bounded. A sender holds a place meanwhile, and takes it before the
    /// request is signed, so that no nonce gets old in our own queue.
    fn places(&self) -> Option<&Places> {
        None
    }

    /// One attempt. The body has been read before [`Reply::done`]; every wait within has a bound.
    fn send(&self, request: Request) -> BoxFuture<'_, Reply>;
}

/// Places for a bounded number of attempts at a time; callers without one wait in turn.
#[derive(Debug)]
pub struct Places {
    free: Semaphore,
    all: usize,
    bound: Duration,
    queueing: Arc<Queueing>,
}

/// How long attempts waited for a place, and how long they had one: this shows whether connections are the limit.
#[derive(Debug, Default)]
pub struct Queueing {
    waited_ns: AtomicU64,
    held_ns: AtomicU64,
}

impl Queueing {
    /// Nanoseconds since the beginning, over all attempts: waited for a place, held one.
    pub fn totals(&self) -> (u64, u64) {
        (self.waited_ns.load(Ordering::Relaxed), self.held_ns.load(Ordering::Relaxed))
    }
}

fn add(total: &AtomicU64, since: Instant) {
    let ns = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
    total.fetch_add(ns, Ordering::Relaxed);
}

/// A place; it is free again when dropped.
#[derive(Debug)]
#[must_use]
pub struct TakenPlace<'a>(#[expect(dead_code, reason = "held for its end")] Option<Held<'a>>);

/// Kept small: ten thousand waiting workers each hold one, in futures that are moved.
#[derive(Debug)]
struct Held<'a> {
    places: &'a Places,
    since: Instant,
}

impl Places {
    /// This many, at least one; nobody waits longer than `bound`.
    pub fn new(all: usize, bound: Duration) -> Self {
        Self::counted(all, bound, Arc::default())
    }

    /// The same, counted together with others.
    pub fn counted(all: usize, bound: Duration, queueing: Arc<Queueing>) -> Self {
        let all = all.clamp(1, Semaphore::MAX_PERMITS);
        Self { free: Semaphore::new(all), all, bound, queueing }
    }

    /// The next free place.
    ///
    /// # Errors
    /// [`FailureClass::Timeout`] if none was free within the bound.
    pub async fn take(&self) -> Result<TakenPlace<'_>, Failure> {
        let Self { all, bound, queueing, .. } = self;
        let permit = match self.free.try_acquire() {
            Ok(permit) => permit,
            Err(_) => {
                let began = Instant::now();
                let waited = timeout(*bound, self.free.acquire()).await;
                add(&queueing.waited_ns, began);
                match waited {
                    Ok(permit) => permit.expect("nobody closes the semaphore"),
                    Err(_) => {
                        let message =
                            format!("all {all} connections of this client were in use for {bound:?}");
                        return Err(Failure::new(FailureClass::Timeout, message));
                    }
                }
            }
        };
        // Returned when the place is dropped.
        permit.forget();
        Ok(TakenPlace(Some(Held { places: self, since: Instant::now() })))
    }
}

impl TakenPlace<'_> {
    /// An unlimited number of places.
    pub(crate) const fn any() -> Self {
        Self(None)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        add(&self.places.queueing.held_ns, self.since);
        self.places.free.add_permits(1);
    }
}

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET`, `HEAD`, `POST`.
    pub method: &'static str,
    /// An absolute URL.
    pub url: String,
    /// The body; a non-empty one is sent as `application/jose+json` (RFC 8555 §6.2).
    pub body: Bytes,
    /// The accepted content type, if the server has a choice.
    pub accept: Option<&'static str>,
    /// The `traceparent` header, if one is sent.
    pub traceparent: Option<Box<str>>,
    /// It is sent in this term only, also if it first waits for a connection; none if it always may be.
    pub term: Option<Term>,
}

/// Whether a request of this term may be sent now.
///
/// # Errors
/// The failure of the request if not.
pub(crate) fn may_send(term: Option<&Term>) -> Result<(), Failure> {
    if term.is_none_or(Term::holds) { Ok(()) } else { Err(Failure::no_right_to_send()) }
}

/// How an attempt reached the server. Times are nanoseconds; the first three are 0 over an existing connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// The address of the connection; none without one.
    pub address: Option<Peer>,
    /// Resolving the server's name.
    pub dns: u64,
    /// Making the TCP connection, including all addresses that were tried.
    pub connect: u64,
    /// The TLS handshake.
    pub tls: u64,
    /// From `sent` until the answer's head had been read; 0 without an answer.
    pub first_byte: u64,
    /// How often it was sent again over a new connection, because the used one was closed or reset before any answer.
    pub reconnects: u32,
    /// Whether the server may have carried out an earlier sending: its connection ended without a byte of an answer,
    /// and without a statement that the request was not processed.
    pub doubtful: bool,
}

impl Way {
    /// Adds the time of making a connection, one more if there were others: the parts are those of the whole attempt.
    pub(crate) const fn add(&mut self, made: Self) {
        self.address = made.address;
        self.dns += made.dns;
        self.connect += made.connect;
        self.tls += made.tls;
    }
}

/// The wait before a request is sent again after this many reconnects. None for the first few: a server that ends a
/// connection accepts a new one. A server that ends each at once is not flooded with handshakes.
pub(crate) fn pause_before_reconnect(reconnects: u32) -> Duration {
    match reconnects.checked_sub(4) {
        None => Duration::ZERO,
        Some(more) => Duration::from_millis(1 << more.min(7)).min(Duration::from_millis(100)),
    }
}

/// The result of a request.
#[derive(Clone, Debug)]
pub struct Reply {
    /// When it was handed to the connection; nanoseconds of the client's clock, like `done`. Without a connection:
    /// when the attempt to make one began.
    pub sent: u64,
    /// When the last byte of the body had been read, or it failed.
    pub done: u64,
    /// Whether the connection had served a request before.
    pub reused: bool,
    /// How it reached the server.
    pub way: Way,
    /// Bytes of head and body sent.
    pub bytes_sent: u64,
    /// Bytes of the body received, also of an incomplete one.
    pub bytes_received: u64,
    /// The answer, or why there is none.
    pub result: Result<Response, Failure>,
}

impl Reply {
    /// The reply for a request that was sent at `sent` over a connection that `ended`, and for which there is no new
    /// connection (`self`): whether the server carried it out is unknown.
    pub(crate) fn unanswered(self, sent: u64, bytes_sent: u64, ended: &Failure) -> Self {
        let result = self.result.map_err(|failure| {
            let message = format!("{}; no new connection: {}", ended.message, failure.message);
            Failure { message, ..ended.clone() }
        });
        Self { sent, reused: true, bytes_sent, result, ..self }
    }
}

/// A complete answer of any status.
#[derive(Clone, Debug)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Response {
    /// A header's first value, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reconnects_are_immediate_and_later_ones_wait_a_bounded_time() {
        let pauses: Vec<_> = (0..14).map(|n| pause_before_reconnect(n).as_millis()).collect();
        assert_eq!(pauses, [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 100, 100, 100]);
        assert_eq!(pause_before_reconnect(u32::MAX), Duration::from_millis(100));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_waits_for_a_place_up_to_the_bound() {
        let places = Places::new(2, Duration::from_secs(3));
        let held = [places.take().await.unwrap(), places.take().await.unwrap()];
        let failure = places.take().await.unwrap_err();
        assert_eq!(failure.kind, FailureClass::Timeout);
        assert_eq!(failure.message, "all 2 connections of this client were in use for 3s");
        drop(held);
        assert!(places.take().await.is_ok());
        // One attempt waited for 3 s while two held their places for as long.
        assert_eq!(places.queueing.totals(), (3_000_000_000, 6_000_000_000));
    }
}
