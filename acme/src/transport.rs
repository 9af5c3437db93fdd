//! The seam between the client and the network, for timing and for fakes.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::failure::{Failure, FailureKind};

/// A boxed future, as traits that are used as objects need it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Sends requests, one attempt each: no retries, no redirects.
pub trait Transport: Send + Sync {
    /// Where attempts wait when only so many can be under way at a time. Whoever sends holds a place meanwhile, and takes it
    /// before the request is signed: a nonce must not grow old in a queue of our own.
    fn places(&self) -> Option<&Places> {
        None
    }

    /// One attempt. The body has been read before [`Reply::done`]; every wait within has a bound.
    fn send(&self, request: Request) -> BoxFuture<'_, Reply>;
}

/// Places for a bounded number of attempts at a time; whoever finds none waits in turn.
#[derive(Debug)]
pub struct Places {
    free: Semaphore,
    all: usize,
    bound: Duration,
}

/// One of them, free again when it is dropped.
#[derive(Debug)]
#[must_use]
pub struct Place<'a>(#[expect(dead_code, reason = "held for its end")] Option<SemaphorePermit<'a>>);

impl Places {
    /// So many, at least one; nobody waits longer than `bound`.
    pub fn new(all: usize, bound: Duration) -> Self {
        let all = all.clamp(1, Semaphore::MAX_PERMITS);
        Self { free: Semaphore::new(all), all, bound }
    }

    /// The next place that is free.
    ///
    /// # Errors
    /// [`FailureKind::Timeout`] when none was for as long as the bound.
    pub async fn take(&self) -> Result<Place<'_>, Failure> {
        let Self { all, bound, .. } = self;
        match timeout(*bound, self.free.acquire()).await {
            Ok(permit) => Ok(Place(Some(permit.expect("nobody closes the semaphore")))),
            Err(_) => {
                let message = format!("all {all} connections of this client were in use for {bound:?}");
                Err(Failure::new(FailureKind::Timeout, message))
            }
        }
    }
}

impl Place<'_> {
    /// Where there is room for all.
    pub(crate) const fn any() -> Self {
        Self(None)
    }
}

/// What to send.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET`, `HEAD`, `POST`.
    pub method: &'static str,
    /// An absolute URL.
    pub url: String,
    /// The body; what is not empty is sent as `application/jose+json` (RFC 8555 §6.2).
    pub body: Bytes,
    /// What the answer may be, if the server has a choice.
    pub accept: Option<&'static str>,
    /// Whether to open a connection even when an idle one is at hand: after one that turned out dead.
    pub fresh_connection: bool,
}

/// What became of it.
#[derive(Clone, Debug)]
pub struct Reply {
    /// When it was handed to the connection; nanoseconds of the client's clock, like `done`. When there was no
    /// connection: when the attempt to make one began.
    pub sent: u64,
    /// When the last byte of the body had been read, or it failed.
    pub done: u64,
    /// Whether the connection had served a request before.
    pub reused: bool,
    /// Whether a connection that had been idle turned out dead before any byte of an answer: sending again is
    /// no second opinion.
    pub stale: bool,
    /// Bytes of head and body sent.
    pub bytes_sent: u64,
    /// Bytes of the body received, also of one that broke off.
    pub bytes_received: u64,
    /// The answer, or why there is none.
    pub result: Result<Response, Failure>,
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

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_place_longer_than_the_bound() {
        let places = Places::new(2, Duration::from_secs(3));
        let held = [places.take().await.unwrap(), places.take().await.unwrap()];
        let failure = places.take().await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Timeout);
        assert_eq!(failure.message, "all 2 connections of this client were in use for 3s");
        drop(held);
        assert!(places.take().await.is_ok());
    }
}
