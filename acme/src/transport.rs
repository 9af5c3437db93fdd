//! The seam between the client and the network, for timing and for fakes.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use http::HeaderMap;

use crate::failure::Failure;

/// A boxed future, as traits that are used as objects need it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Sends requests, one attempt each: no retries, no redirects.
pub trait Transport: Send + Sync {
    /// One attempt. The body has been read before [`Reply::done`]; every wait within has a bound.
    fn send(&self, request: Request) -> BoxFuture<'_, Reply>;
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
