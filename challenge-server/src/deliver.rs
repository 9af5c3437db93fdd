//! Streams hits to analytics by gRPC, again and again until each is acknowledged.
//!
//! Nothing here can hold up an answer to the CA: hits come through a bounded channel, wait in a bounded outbox,
//! and are counted when they find no room.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;
use tonic::transport::Endpoint;
use wec_proto::results::entry::Entry as Content;
use wec_proto::results::results_client::ResultsClient;
use wec_proto::results::{Ack, Batch, Hello};
use wec_record::ValidationHit;

use crate::clock::Clock;
use crate::hits::HitStream;
use crate::outbox::Outbox;

/// About 20 MB of hits: some minutes of a fast CA while analytics is away.
const MOST_KEPT: usize = 1 << 17;
const LARGEST_BATCH: usize = 1024;
/// Batches on the way; with more, hits wait in the outbox.
const BATCHES_IN_FLIGHT: usize = 4;
/// Hits gather for this long, so that a batch is worth its acknowledgement.
const GATHER: Duration = Duration::from_millis(100);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LAST_RETRY: Duration = Duration::from_secs(5);
/// After the last hit, analytics has this long to take what is left.
const FAREWELL: Duration = Duration::from_secs(5);

/// Where hits go and as whose.
#[derive(Clone, Debug)]
pub(crate) struct Destination {
    pub(crate) analytics: Endpoint,
    /// Unique for this start of the process.
    pub(crate) sender: String,
    pub(crate) node: String,
    pub(crate) token: String,
    pub(crate) clock: Clock,
}

/// Delivers until the stream of hits has ended and all was acknowledged, or the farewell is over.
pub(crate) async fn deliver(hits: HitStream, destination: Destination, stop: CancellationToken) {
    let mut delivery = Delivery { hits, ended: false, outbox: Outbox::new(MOST_KEPT), destination };
    let farewell = async {
        stop.cancelled().await;
        sleep(FAREWELL).await;
    };
    tokio::select! {
        () = delivery.run() => {}
        () = farewell => {}
    }
    let (kept, lost) = delivery.outbox.unfinished();
    if kept > 0 || lost > 0 {
        tracing::warn!(kept, lost, "validation hits were not delivered: analytics did not acknowledge them");
    }
}

struct Delivery {
    hits: HitStream,
    /// No further hit will come.
    ended: bool,
    outbox: Outbox,
    destination: Destination,
}

/// Why a stream is over.
enum Over {
    Finished,
    Broken(String),
}

impl Delivery {
    async fn run(&mut self) {
        let mut retry = FIRST_RETRY;
        loop {
            self.outbox.rewind();
            let since = Instant::now();
            match self.stream().await {
                Over::Finished => return,
                Over::Broken(why) => {
                    tracing::warn!(%why, "analytics is out of reach; hits are kept");
                    if since.elapsed() > LAST_RETRY {
                        retry = FIRST_RETRY;
                    }
                }
            }
            self.gather_until(Instant::now() + retry).await;
            if self.ended && self.outbox.is_empty() {
                return;
            }
            retry = (retry * 2).min(LAST_RETRY);
        }
    }

    /// One connection, from the greeting to its end.
    async fn stream(&mut self) -> Over {
        let broken = |error: &dyn std::fmt::Display| Over::Broken(error.to_string());
        let channel = match timeout(CONNECT_TIMEOUT, self.destination.analytics.connect()).await {
            Ok(Ok(channel)) => channel,
            Ok(Err(error)) => return broken(&error),
            Err(_) => return broken(&format!("no connection within {CONNECT_TIMEOUT:?}")),
        };
        let (batches, outgoing) = mpsc::channel(BATCHES_IN_FLIGHT);
        let greeting = self.batch(self.outbox.first(), Vec::new(), true);
        if batches.send(greeting).await.is_err() {
            return broken(&"the stream closed before it began");
        }
        let mut client = ResultsClient::new(channel);
        let call = timeout(CONNECT_TIMEOUT, client.deliver(ReceiverStream::new(outgoing)));
        let mut acks = match call.await {
            Ok(Ok(response)) => response.into_inner(),
            Ok(Err(status)) => return broken(&status.message()),
            Err(_) => return broken(&format!("no answer within {CONNECT_TIMEOUT:?}")),
        };
        self.converse(&batches, &mut acks).await
    }

    async fn converse(&mut self, batches: &mpsc::Sender<Batch>, acks: &mut Streaming<Ack>) -> Over {
        loop {
            self.outbox.report_loss(self.now());
            if self.ended && self.outbox.is_empty() {
                return Over::Finished;
            }
            while let Ok(place) = batches.try_reserve() {
                let Some((first, entries)) = self.outbox.next_batch(LARGEST_BATCH) else { break };
                place.send(self.batch(first, entries, false));
            }
            let mut hits = Vec::new();
            tokio::select! {
                ack = acks.message() => match ack {
                    Ok(Some(ack)) => self.outbox.acknowledge(ack.through_seq),
                    Ok(None) => return Over::Broken("analytics closed the stream".into()),
                    Err(status) => return Over::Broken(status.message().to_owned()),
                },
                count = self.hits.recv_many(&mut hits, LARGEST_BATCH), if !self.ended => {
                    self.take(count, hits);
                    self.gather_until(Instant::now() + GATHER).await;
                }
            }
        }
    }

    /// Moves hits from the channel to the outbox until `deadline`.
    async fn gather_until(&mut self, deadline: Instant) {
        while !self.ended {
            let mut hits = Vec::new();
            match timeout_at(deadline, self.hits.recv_many(&mut hits, LARGEST_BATCH)).await {
                Ok(count) => self.take(count, hits),
                Err(_) => return,
            }
        }
        tokio::time::sleep_until(deadline).await;
    }

    fn take(&mut self, count: usize, hits: Vec<ValidationHit>) {
        self.ended = count == 0;
        self.outbox.lose(self.hits.take_lost());
        for hit in hits {
            self.outbox.push(Content::Hit(hit.into()), self.now());
        }
    }

    fn now(&self) -> u64 {
        self.destination.clock.unix_ns(Instant::now())
    }

    fn batch(&self, first_seq: u64, entries: Vec<wec_proto::results::Entry>, greet: bool) -> Batch {
        let Destination { sender, node, token, clock, .. } = &self.destination;
        let hello =
            greet.then(|| Hello { node: node.clone(), header_json: String::new(), token: token.clone() });
        Batch {
            sender: sender.clone(),
            run: String::new(),
            origin_unix_ns: clock.origin_unix_ns(),
            first_seq,
            entries,
            hello,
        }
    }
}
