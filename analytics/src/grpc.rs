//! Results from other processes: `wec.results.v1` over gRPC.
//!
//! The token is in the call's metadata and is checked before a message is read. While the queue is full,
//! HTTP/2 flow control slows the sender; no record is dropped here.

mod measured;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use hyper::service::service_fn;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::WatchStream;
use tokio_stream::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::codegen::Service;
use tonic::{Code, Request, Response, Status, Streaming};
use wec_listen::http::{Timed, Transport, Version};
use wec_listen::{Connections, Rules};
use wec_proto::results::results_server::{Results, ResultsServer};
use wec_proto::results::{Ack, Batch};
use wec_startup::{Access, Right};

use self::measured::Measured;
use crate::ingest::{Answer, Answered, Ingest, RefusedBatch};

/// Large enough for 512 results with the longest errors that a client keeps. A batch refused for its size
/// would be sent again forever.
const MAX_BATCH: usize = 64 << 20;
/// Total size of all messages that are being received, over all connections: two of the largest.
const MAX_RECEIVING: usize = 2 * MAX_BATCH;
/// A sender sends its first message as soon as it has opened a stream.
const FIRST_MESSAGE_WITHIN: Duration = Duration::from_secs(10);

/// The rules of this listener. A call's body is a stream that lasts as long as its sender.
pub(crate) fn rules() -> Rules {
    Rules { body: None, window: 256 << 10, ..Rules::control("results") }
}

/// Where results go, and who may send them.
pub(crate) struct Receiving {
    pub(crate) ingest: Ingest,
    pub(crate) access: Access,
    pub(crate) tls: Option<TlsAcceptor>,
}

/// Serves until `stop`. Then streams end, and senders keep what has not been acknowledged.
pub(crate) async fn serve(
    listener: TcpListener,
    connections: Arc<Connections>,
    receiving: Receiving,
    stop: CancellationToken,
) {
    let Receiving { ingest, access, tls } = receiving;
    let service = ResultsServer::new(Receiver { ingest, stop: stop.clone() });
    let service = service.max_decoding_message_size(MAX_BATCH);
    let receiving = Arc::new(Semaphore::new(MAX_RECEIVING >> measured::UNIT_BITS));
    let counted = Arc::clone(&connections);
    let service = service_fn(move |request: http::Request<Timed>| {
        let let_in = access.is_open() || may_send(&request, &access);
        let answer = if let_in {
            Ok(service.clone().call(request.map(|body| Measured::new(body, Arc::clone(&receiving)))))
        } else {
            counted.count_unauthenticated();
            Err(Status::unauthenticated(
                "the token is missing or wrong: set WEC_TOKEN to that of analytics, or to one with the right steer; it is expected as \
                 `authorization: Bearer` in the call's metadata",
            ))
        };
        async move {
            match answer {
                Ok(answer) => answer.await,
                Err(status) => Ok::<_, Infallible>(status.into_http()),
            }
        }
    });
    let transport = Transport { version: Version::Http2, tls };
    wec_listen::http::serve(listener, connections, transport, Arc::new(service), stop).await;
}

fn may_send(request: &http::Request<Timed>, access: &Access) -> bool {
    let value = request.headers().get(AUTHORIZATION).map(http::HeaderValue::as_bytes).unwrap_or_default();
    let Ok(value) = std::str::from_utf8(value) else { return false };
    access.holder(|token| token.is_bearer(value)).is_some_and(|holder| holder.right == Right::Steer)
}

struct Receiver {
    ingest: Ingest,
    stop: CancellationToken,
}

#[tonic::async_trait]
impl Results for Receiver {
    type DeliverStream = Pin<Box<dyn Stream<Item = Result<Ack, Status>> + Send>>;

    async fn deliver(
        &self,
        request: Request<Streaming<Batch>>,
    ) -> Result<Response<Self::DeliverStream>, Status> {
        let answer = Arc::new(Answer::default());
        let answers = WatchStream::from_changes(answer.subscribe());
        let stream = Inbound { batches: request.into_inner(), answer, ingest: self.ingest.clone() };
        // Owned by the stream of answers: the task ends after the last answer, or when the sender is gone.
        let inbound = AbortOnDropHandle::new(tokio::spawn(stream.read(self.stop.clone())));
        let answers = answers.map(|answered| match answered {
            Answered::Nothing => Err(Status::internal("no answer was made")),
            Answered::Through(through_seq) => Ok(Ack { through_seq }),
            Answered::Refused(RefusedBatch::NotNow(why)) => Err(Status::unavailable(why)),
            Answered::Refused(RefusedBatch::Never(why)) => Err(Status::invalid_argument(why)),
        });
        let answers = answers.map(move |answer| {
            let _inbound_lives = &inbound;
            answer
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

/// As the decoder reports it.
fn is_no_batch(status: &Status) -> bool {
    status.code() == Code::Internal && status.message().contains("decode Protobuf")
}

/// The batches of one stream. The answers end when the last clone of `answer` is dropped: this one, and those
/// of the acknowledgements that wait for the log.
struct Inbound {
    batches: Streaming<Batch>,
    answer: Arc<watch::Sender<Answered>>,
    ingest: Ingest,
}

impl Inbound {
    async fn read(mut self, stop: CancellationToken) {
        let mut within = Some(FIRST_MESSAGE_WITHIN);
        loop {
            let batch = tokio::select! {
                batch = next(&mut self.batches, within.take()) => batch,
                () = stop.cancelled() => return,
            };
            let batch = match batch {
                Ok(Some(batch)) => batch,
                Ok(None) => return,
                Err(status) => {
                    // After a broken stream the sender connects again. After a refusal it gets the reason.
                    let why = status.message().to_owned();
                    let refusal = match status.code() {
                        // A batch that is too large or cannot be decoded would fail again.
                        Code::OutOfRange | Code::InvalidArgument => RefusedBatch::Never(why),
                        _ if is_no_batch(&status) => RefusedBatch::Never(why),
                        Code::DeadlineExceeded => RefusedBatch::NotNow(why),
                        _ => return,
                    };
                    self.answer.send_replace(Answered::Refused(refusal));
                    return;
                }
            };
            if !self.ingest.deliver_batch(batch, self.answer.clone()).await {
                return;
            }
            if matches!(*self.answer.borrow(), Answered::Refused(_)) {
                return;
            }
        }
    }
}

async fn next(batches: &mut Streaming<Batch>, within: Option<Duration>) -> Result<Option<Batch>, Status> {
    match within {
        None => batches.message().await,
        Some(within) => timeout(within, batches.message()).await.unwrap_or_else(|_| {
            Err(Status::deadline_exceeded(format!(
                "the stream's first message did not arrive within {within:?}"
            )))
        }),
    }
}
