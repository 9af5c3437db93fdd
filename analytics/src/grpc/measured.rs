//! `Measured`: the body of a call, with a check of each message's length before it is received.
//!
//! A gRPC message is five bytes (a flag and the length, big-endian) and then the message. The decoder
//! reserves that length at once. So the length is checked here, and a message waits until all connections
//! together receive less than their bound.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::PollSemaphore;
use tonic::Status;
use wec_listen::http::Timed;

/// The first message has only the sender's id and the run's header.
const MAX_FIRST: usize = 1 << 20;
/// Longest time from a message's first byte to its last. For that time it occupies its part of the bound.
const MESSAGE_WITHIN: Duration = Duration::from_secs(60);
/// Bytes are counted in units of 2^10, because a semaphore has a limited number of permits.
pub(super) const UNIT_BITS: u32 = 10;

pub(super) struct Measured {
    body: Timed,
    receiving: PollSemaphore,
    /// Read from the network, not passed on yet.
    pending: Bytes,
    /// The start of a message's five bytes.
    prefix: Vec<u8>,
    /// Bytes of the current message that have not been passed on.
    left: usize,
    /// The permits of the current message; the next message releases them.
    share: Option<OwnedSemaphorePermit>,
    deadline: Option<Pin<Box<Sleep>>>,
    first: bool,
}

impl Measured {
    pub(super) fn new(body: Timed, receiving: Arc<Semaphore>) -> Self {
        Self {
            body,
            receiving: PollSemaphore::new(receiving),
            pending: Bytes::new(),
            prefix: Vec::with_capacity(5),
            left: 0,
            share: None,
            deadline: None,
            first: true,
        }
    }

    /// The length in `prefix`, once the message may be received.
    fn poll_admit(&mut self, context: &mut Context<'_>) -> Poll<Result<usize, Status>> {
        let length = self.prefix[1..].iter().fold(0usize, |length, byte| length << 8 | usize::from(*byte));
        let most = if self.first { MAX_FIRST } else { super::MAX_BATCH };
        if length > most {
            let which = if self.first { "first message" } else { "message" };
            let why = format!("a {which} of {length} bytes is refused: at most {most} bytes are allowed");
            return Poll::Ready(Err(Status::out_of_range(why)));
        }
        self.share = None;
        let units = (length >> UNIT_BITS) as u32 + 1;
        self.share = ready!(self.receiving.poll_acquire_many(context, units));
        self.deadline = Some(Box::pin(sleep(MESSAGE_WITHIN)));
        self.first = false;
        Poll::Ready(Ok(length))
    }
}

impl Body for Measured {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        loop {
            if this.prefix.len() == 5 {
                // Passed on with the message's first bytes, so that the decoder reserves nothing before the
                // message is admitted.
                match ready!(this.poll_admit(context)) {
                    Ok(length) => this.left = length,
                    Err(status) => return Poll::Ready(Some(Err(status.into()))),
                }
                let prefix = Bytes::from(std::mem::take(&mut this.prefix));
                return Poll::Ready(Some(Ok(Frame::data(prefix))));
            }
            if !this.pending.is_empty() {
                if this.left > 0 {
                    let part = this.pending.split_to(this.left.min(this.pending.len()));
                    this.left -= part.len();
                    if this.left == 0 {
                        this.deadline = None;
                    }
                    return Poll::Ready(Some(Ok(Frame::data(part))));
                }
                let missing = (5 - this.prefix.len()).min(this.pending.len());
                this.prefix.extend_from_slice(&this.pending[..missing]);
                this.pending.advance(missing);
                continue;
            }
            match Pin::new(&mut this.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => this.pending = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                Poll::Ready(other) => return Poll::Ready(other),
                Poll::Pending => {
                    if this.left > 0
                        && let Some(deadline) = &mut this.deadline
                    {
                        ready!(deadline.as_mut().poll(context));
                        let why = format!("a message did not arrive within {MESSAGE_WITHIN:?}");
                        return Poll::Ready(Some(Err(Status::deadline_exceeded(why).into())));
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.pending.is_empty() && self.prefix.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
