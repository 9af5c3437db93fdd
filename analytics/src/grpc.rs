//! Results from other processes: `wec.results.v1` over gRPC.
//!
//! A stream is held back by HTTP/2's flow control while the queue is full; nothing is dropped here.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::wrappers::{TcpListenerStream, WatchStream};
use tokio_stream::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use wec_proto::results::results_server::{Results, ResultsServer};
use wec_proto::results::{Ack, Batch};

use crate::book::{Answer, Answered, Refusal};
use crate::ingest::Ingest;
use crate::token::Token;

/// 512 results with the longest errors a client keeps; a batch that is refused for its size would come again for ever.
const MAX_BATCH: usize = 64 << 20;
/// A peer that does not answer for so long is gone, and its stream ends.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// Serves until `stop`; streams end then, and senders keep what has not been acknowledged.
pub(crate) async fn serve(
    listener: TcpListener,
    ingest: Ingest,
    token: Option<Token>,
    stop: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let service = ResultsServer::new(Receiver { ingest, token, stop: stop.clone() });
    let service = service.max_decoding_message_size(MAX_BATCH);
    tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .tcp_nodelay(true)
        .add_service(service)
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop.cancelled_owned())
        .await
}

struct Receiver {
    ingest: Ingest,
    token: Option<Token>,
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
        let stream = Inbound {
            batches: request.into_inner(),
            answer,
            ingest: self.ingest.clone(),
            token: self.token.clone(),
        };
        // Owned by the stream of answers: it ends when the sender has all it will get, or is gone.
        let inbound = tokio::spawn(stream.read(self.stop.clone()));
        let answers = answers.map(|answered| match answered {
            Answered::Nothing => Err(Status::internal("nothing was answered")),
            Answered::Through(through_seq) => Ok(Ack { through_seq }),
            Answered::Refused(Refusal::NotNow(why)) => Err(Status::unavailable(why)),
            Answered::Refused(Refusal::Never(why)) => Err(Status::invalid_argument(why)),
            Answered::Unauthenticated => Err(Status::unauthenticated(
                "the token is missing or wrong: set WEC_TOKEN to that of analytics",
            )),
        });
        let owner = AbortOnDrop(inbound);
        let answers = answers.map(move |answer| {
            let _inbound_lives = &owner;
            answer
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The batches of one stream. The answers end when nothing holds `answer` any more: this, and the
/// acknowledgements that wait for the log.
struct Inbound {
    batches: Streaming<Batch>,
    answer: Arc<watch::Sender<Answered>>,
    ingest: Ingest,
    token: Option<Token>,
}

impl Inbound {
    async fn read(mut self, stop: CancellationToken) {
        let mut let_in = self.token.is_none();
        loop {
            let batch = tokio::select! {
                batch = self.batches.message() => batch,
                () = stop.cancelled() => return,
            };
            // A broken stream is the sender's to notice and to open again.
            let Ok(Some(batch)) = batch else { return };
            if !let_in {
                let offered = batch.hello.as_ref().map(|hello| hello.token.as_str()).unwrap_or_default();
                let_in = self.token.as_ref().is_some_and(|token| token.is(offered));
                if !let_in {
                    self.answer.send_replace(Answered::Unauthenticated);
                    return;
                }
            }
            if !self.ingest.deliver_batch(batch, self.answer.clone()).await {
                return;
            }
            if matches!(*self.answer.borrow(), Answered::Refused(_)) {
                return;
            }
        }
    }
}
