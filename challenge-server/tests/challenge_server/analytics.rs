//! A receiver of `results.proto` that records what it gets and acknowledges if configured.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::Stream;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};
use wec_proto::results::results_server::{Results, ResultsServer};
use wec_proto::results::{Ack, Batch};

/// Every batch that arrived, over all streams.
pub(crate) type Received = watch::Receiver<Vec<Batch>>;

/// A running receiver; dropping it ends every stream.
pub(crate) struct Analytics {
    pub(crate) address: SocketAddr,
    pub(crate) received: Received,
    /// The authorization in the latest stream's metadata.
    pub(crate) authorization: watch::Receiver<Option<String>>,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl Drop for Analytics {
    fn drop(&mut self) {
        self.stop.cancel();
        self.serving.abort();
    }
}

impl Analytics {
    /// Listens on `address`; `acknowledges` sets whether it acknowledges batches.
    pub(crate) async fn start(address: SocketAddr, acknowledges: bool) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, received) = watch::channel(Vec::new());
        let stop = CancellationToken::new();
        let (offered, authorization) = watch::channel(None);
        let service = Receiver { batches: Arc::new(sender), offered, acknowledges, stop: stop.clone() };
        let server = Server::builder().add_service(ResultsServer::new(service));
        let stopped = stop.clone().cancelled_owned();
        let serving = tokio::spawn(async move {
            let incoming = TcpListenerStream::new(listener);
            server.serve_with_incoming_shutdown(incoming, stopped).await.unwrap();
        });
        Self { address, received, authorization, stop, serving }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends it and waits until its address is free again.
    pub(crate) async fn end(mut self) {
        self.stop.cancel();
        let _ = (&mut self.serving).await;
    }
}

struct Receiver {
    batches: Arc<watch::Sender<Vec<Batch>>>,
    offered: watch::Sender<Option<String>>,
    acknowledges: bool,
    stop: CancellationToken,
}

#[tonic::async_trait]
impl Results for Receiver {
    type DeliverStream = Pin<Box<dyn Stream<Item = Result<Ack, Status>> + Send>>;

    async fn deliver(
        &self,
        request: Request<Streaming<Batch>>,
    ) -> Result<Response<Self::DeliverStream>, Status> {
        let offered = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        self.offered.send_replace(offered.map(str::to_owned));
        let mut incoming = request.into_inner();
        let (acks, outgoing) = mpsc::channel(16);
        let (batches, acknowledges, stop) = (Arc::clone(&self.batches), self.acknowledges, self.stop.clone());
        tokio::spawn(async move {
            loop {
                let batch = tokio::select! {
                    batch = incoming.message() => batch,
                    () = stop.cancelled() => return,
                };
                let Ok(Some(batch)) = batch else { return };
                let through_seq = batch.first_seq + batch.entries.len() as u64 - 1;
                batches.send_modify(|batches| batches.push(batch));
                if acknowledges && acks.send(Ok(Ack { through_seq })).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(outgoing))))
    }
}

/// Names of the hits with their numbers, each number once.
pub(crate) fn hits(batches: &[Batch]) -> Vec<(u64, String)> {
    use wec_proto::results::entry::Entry;
    let mut hits = Vec::new();
    for batch in batches {
        for (seq, entry) in (batch.first_seq..).zip(&batch.entries) {
            if let Some(Entry::Hit(hit)) = &entry.entry {
                hits.push((seq, hit.name.clone()));
            }
        }
    }
    hits.sort();
    hits.dedup();
    hits
}

/// Waits until this many different hits have arrived.
pub(crate) async fn until(received: &mut Received, count: usize) -> Vec<Batch> {
    let enough = received.wait_for(|batches| hits(batches).len() >= count);
    let batches = tokio::time::timeout(crate::client::PATIENCE, enough).await.expect("hits arrive").unwrap();
    batches.clone()
}
