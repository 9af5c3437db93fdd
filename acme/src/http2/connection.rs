//! One connection: whether it can be used, and how many streams the server allows on it at a time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinHandle;

use crate::connect::LONGEST_IDLE;
use crate::peer::Peer;

/// A connection, shared by all requests to its server.
pub(super) struct Connection {
    pub(super) address: Option<Peer>,
    pub(super) sender: SendRequest<Bytes>,
    /// Reads and writes for all streams; ends with the connection, at the latest when nobody holds it.
    pub(super) driver: JoinHandle<()>,
    pub(super) closed: Arc<AtomicBool>,
    /// Bytes read so far.
    pub(super) received: Arc<AtomicU64>,
    /// Whether a request has been sent over it.
    pub(super) served: AtomicBool,
    /// Nanoseconds of the client's clock.
    pub(super) last_used: AtomicU64,
    /// One for each stream that the server allows at a time.
    pub(super) permits: Semaphore,
    /// How many permits there are, used or not.
    pub(super) limit: Mutex<usize>,
}

impl Connection {
    pub(super) fn is_usable(&self, now: u64) -> bool {
        let mut nobody = Context::from_waker(Waker::noop());
        let idle = now.saturating_sub(self.last_used.load(Ordering::Relaxed));
        let in_use = self.permits.available_permits() < self.limit();
        !self.closed.load(Ordering::Relaxed)
            && (in_use || idle <= LONGEST_IDLE)
            // GOAWAY is an error here.
            && !matches!(self.sender.clone().poll_ready(&mut nobody), Poll::Ready(Err(_)))
    }

    /// A permit for one stream, as many at a time as the server allows now.
    pub(super) async fn stream(&self) -> SemaphorePermit<'_> {
        {
            let mut limit = self.limit.lock().unwrap_or_else(PoisonError::into_inner);
            let now = bounded(self.sender.current_max_send_streams());
            if now > *limit {
                self.permits.add_permits(now - *limit);
                *limit = now;
            } else {
                // Permits in use are forgotten by a later call.
                *limit -= self.permits.forget_permits(*limit - now);
            }
        }
        self.permits.acquire().await.expect("nobody closes the semaphore")
    }

    pub(super) fn limit(&self) -> usize {
        *self.limit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// A server without a limit gets at most this many at a time.
pub(super) fn bounded(streams: usize) -> usize {
    streams.min(1 << 20)
}
