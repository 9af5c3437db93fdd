//! Results to analytics of another process, by gRPC.
//!
//! One thread of its own numbers, encodes and sends, so that neither the network nor a slow disk holds up a
//! runtime that makes load. A batch is encoded once and then is the same bytes in memory, on disk and on the
//! wire. The way of a batch:
//!
//! | analytics | the spool | goes |
//! | --- | --- | --- |
//! | takes batches | empty | into the outbox, and from there on the stream, where it is kept until acknowledged |
//! | is behind or away, or the spool is not empty | any | behind all others on the spool |
//! | is back | not empty | from the spool into the outbox, oldest first |
//! | is away | full | nowhere: its results are counted as lost, and analytics is told how many |

mod codec;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{io, thread};

use prost::Message;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::Endpoint;
use wec_acme::Clock;
use wec_proto::results as wire;
use wec_record::wire::{load_to_wire, state_to_wire};
use wec_record::{ChainResult, LoadSample, RunHeader, StateCounts};

use self::codec::{Link, Outgoing, open};
use super::intake::{BATCH, COLLECT_EVERY, Entry, Intake};
use super::spool::{Frame, Owner, Spool};
use super::{Health, Sink};

/// Batches that are sent and not acknowledged, or about to be sent.
const OUTBOX: usize = 32;
/// Between attempts to reach analytics: first, and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// An attempt takes no longer.
const CONNECT: Duration = Duration::from_secs(5);
/// A connection on which nothing comes back for so long is given up.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// Where to deliver, and for whom.
#[derive(Clone, Debug)]
pub struct GrpcOptions {
    /// `http://host:port` of analytics.
    pub analytics: String,
    /// What analytics beyond loopback wants to be shown.
    pub token: Option<String>,
    /// The sender's id, new with each start of the process.
    pub sender: String,
    /// The node's name, for people.
    pub node: String,
    /// The run that results belong to.
    pub header: RunHeader,
    /// Where results wait on disk while analytics is away.
    pub spool: PathBuf,
    /// How many bytes of them.
    pub spool_bytes: u64,
}

/// Why a sink could not start.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The address is none.
    #[error("{address:?} is no address of analytics ({reason}): write it like http://127.0.0.1:8090")]
    BadAddress {
        /// As given.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The run's header cannot be told to analytics.
    #[error("the run's header cannot be written as JSON: {0}")]
    BadHeader(serde_json::Error),
    /// The system gave no thread.
    #[error("cannot start the thread that sends results: {0}")]
    Thread(io::Error),
}

/// Hands results to analytics of another process.
#[derive(Debug)]
pub struct GrpcSink {
    intake: Arc<Intake>,
    told: Arc<Mutex<Health>>,
    /// Drains when cancelled, for as long as the pump is told over `until`.
    closing: CancellationToken,
    /// Cancelled when nobody waits any longer for what is left.
    hurry: CancellationToken,
    until: Mutex<Option<oneshot::Sender<Duration>>>,
    pump: Mutex<Option<thread::JoinHandle<()>>>,
}

impl GrpcSink {
    /// Starts delivering; what dead senders left in the spool's folder too. Analytics need not be there yet.
    ///
    /// # Errors
    /// When the address is none, or the system gives no thread.
    pub fn start(options: GrpcOptions, clock: Clock) -> Result<Self, SinkError> {
        let endpoint = Endpoint::from_shared(options.analytics.clone())
            .map_err(|error| SinkError::BadAddress { address: options.analytics, reason: error.to_string() })?
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE)
            .keep_alive_while_idle(true);
        let owner = Owner {
            sender: options.sender,
            node: options.node,
            header: serde_json::to_string(&options.header).map_err(SinkError::BadHeader)?,
        };
        let (intake, told, closing) = (Arc::<Intake>::default(), Arc::default(), CancellationToken::new());
        let (until, told_until) = oneshot::channel();
        let mut post = Post { endpoint, token: options.token.unwrap_or_default(), pumps: Vec::new() };
        for spool in Spool::leftovers(&options.spool) {
            tracing::info!(
                "delivering {} results that sender {} left in the spool",
                spool.results(),
                spool.owner().sender
            );
            post.pumps.push(post.pump(spool, None, Arc::default(), clock));
        }
        let spool = Spool::new(&options.spool, owner, options.spool_bytes);
        let header = Numbering { intake: Arc::clone(&intake), run: options.header.run, seq: 0, untold: 0 };
        post.pumps.push(post.pump(spool, Some(header), Arc::clone(&told), clock));
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(SinkError::Thread)?;
        let (stop, hurry) = (closing.clone(), CancellationToken::new());
        let hurried = hurry.clone();
        let pump = thread::Builder::new()
            .name("wec-sink".to_owned())
            .spawn(move || runtime.block_on(post.deliver(stop, told_until, hurried)))
            .map_err(SinkError::Thread)?;
        Ok(Self {
            intake,
            told,
            closing,
            hurry,
            until: Mutex::new(Some(until)),
            pump: Mutex::new(Some(pump)),
        })
    }

    /// Ends a [`finish`](Self::finish) that is under way: what is left goes to disk now.
    pub fn hurry(&self) {
        self.hurry.cancel();
    }

    /// Delivers what is left, for at most so long; what could not be delivered waits on disk for the next start.
    /// After it nothing more is taken.
    pub async fn finish(&self, within: Duration) -> Health {
        if let Some(until) = self.until.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // The thread ends only after it has heard this.
            let _ = until.send(within);
        }
        self.closing.cancel();
        let pump = self.pump.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(pump) = pump {
            // A panic of that thread has been reported by the panic hook; health shows what was not delivered.
            let _ = tokio::task::spawn_blocking(move || pump.join()).await;
        }
        self.health()
    }
}

impl Drop for GrpcSink {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

impl Sink for GrpcSink {
    fn push(&self, result: ChainResult) {
        self.intake.push(Entry::Chain(result));
    }

    fn push_state(&self, at_unix_ns: u64, counts: StateCounts) {
        self.intake.push(Entry::State { at_unix_ns, counts });
    }

    fn push_load(&self, at_unix_ns: u64, load: LoadSample) {
        self.intake.push(Entry::Load { at_unix_ns, load });
    }

    fn health(&self) -> Health {
        let (pushed, waiting, dropped) = self.intake.counts();
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Health { pushed, queued: told.queued + waiting, lost: told.lost + dropped, ..told }
    }
}

/// All pumps of a process: its own, and those of leftovers.
struct Post {
    endpoint: Endpoint,
    token: String,
    pumps: Vec<Pump>,
}

impl Post {
    fn pump(
        &self,
        spool: Spool,
        numbering: Option<Numbering>,
        told: Arc<Mutex<Health>>,
        clock: Clock,
    ) -> Pump {
        let owner = spool.owner();
        let hello = wire::Batch {
            hello: Some(wire::Hello {
                node: owner.node.clone(),
                header_json: owner.header.clone(),
                token: self.token.clone(),
            }),
            ..wire::Batch::default()
        };
        Pump {
            endpoint: self.endpoint.clone(),
            sender: owner.sender.clone(),
            hello: hello.encode_to_vec().into(),
            clock,
            numbering,
            spool,
            outbox: VecDeque::new(),
            sent: 0,
            told,
            delivered: 0,
            lost: 0,
            retry: RETRY.0,
            trouble: None,
            dropping: None,
        }
    }

    async fn deliver(
        self,
        closing: CancellationToken,
        until: oneshot::Receiver<Duration>,
        hurry: CancellationToken,
    ) {
        let deadline = CancellationToken::new();
        let mut pumps: JoinSet<()> =
            self.pumps.into_iter().map(|pump| pump.run(closing.clone(), deadline.clone())).collect();
        let drained = async { while pumps.join_next().await.is_some() {} };
        tokio::pin!(drained);
        tokio::select! {
            () = &mut drained => return,
            () = closing.cancelled() => {}
        }
        // A sink that is dropped says nothing: then what is left goes to disk at once.
        let within = until.await.unwrap_or_default();
        tokio::select! {
            () = &mut drained => return,
            () = sleep(within) => {}
            () = hurry.cancelled() => {}
        }
        deadline.cancel();
        drained.await;
    }
}

/// What makes numbered batches of what workers hand over.
struct Numbering {
    intake: Arc<Intake>,
    run: String,
    /// Number of the last entry made.
    seq: u64,
    /// Dropped results that analytics has not been told of.
    untold: u64,
}

/// The deliveries of one sender.
struct Pump {
    endpoint: Endpoint,
    sender: String,
    /// Encoded; put behind the first batch of a stream it becomes a part of it.
    hello: Arc<[u8]>,
    clock: Clock,
    /// None for a leftover, to which nothing is added.
    numbering: Option<Numbering>,
    spool: Spool,
    outbox: VecDeque<Parcel>,
    /// How many of the outbox are on the stream.
    sent: usize,
    told: Arc<Mutex<Health>>,
    delivered: u64,
    lost: u64,
    retry: Duration,
    /// Why analytics does not take results; none while it does.
    trouble: Option<String>,
    /// Why a batch was dropped since analytics last took one. Worse than `trouble`, so it is what is told. A small
    /// batch that still fits says nothing about the next.
    dropping: Option<String>,
}

struct Parcel {
    frame: Frame,
    /// Whether the spool holds it too.
    spooled: bool,
}

/// How analytics is reached.
enum Road {
    /// Not before then.
    Blocked(Instant),
    Building(Building),
    Open(Box<Link>),
}

type Building = std::pin::Pin<Box<dyn Future<Output = Result<Box<Link>, Status>> + Send>>;

enum Event {
    Tick,
    Opened(Result<Box<Link>, Status>),
    MaySend,
    Acknowledged(Result<Option<u64>, Status>),
}

impl Pump {
    async fn run(mut self, closing: CancellationToken, deadline: CancellationToken) {
        let mut look = interval(COLLECT_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut road = Road::Blocked(Instant::now());
        loop {
            let last = closing.is_cancelled();
            self.collect();
            if matches!(road, Road::Open(_)) {
                self.refill();
            }
            self.tell();
            if (last || self.numbering.is_none()) && self.is_empty() || deadline.is_cancelled() {
                break;
            }
            let more = self.sent < self.outbox.len();
            let filled = async {
                match &self.numbering {
                    Some(numbering) => numbering.intake.filled().await,
                    None => std::future::pending().await,
                }
            };
            let event = tokio::select! {
                event = next_event(&mut road, more) => event,
                _ = look.tick() => Event::Tick,
                () = filled => Event::Tick,
                () = closing.cancelled(), if !last => Event::Tick,
                () = deadline.cancelled() => Event::Tick,
            };
            self.handle(event, &mut road);
        }
        self.collect();
        self.leave();
        self.tell();
        self.spool.close();
    }

    fn handle(&mut self, event: Event, road: &mut Road) {
        match event {
            Event::Tick => {
                if matches!(road, Road::Blocked(until) if *until <= Instant::now()) {
                    *road = Road::Building(Box::pin(open_within(self.endpoint.clone())));
                }
            }
            Event::Opened(Ok(link)) => *road = Road::Open(link),
            Event::MaySend => {
                let Road::Open(link) = road else { return };
                let Some(parcel) = self.outbox.get(self.sent) else { return };
                let hello = (!std::mem::replace(&mut link.greeted, true)).then(|| Arc::clone(&self.hello));
                if link.batches.try_send(Outgoing { batch: Arc::clone(&parcel.frame.bytes), hello }).is_ok() {
                    self.sent += 1;
                }
            }
            Event::Acknowledged(Ok(Some(through))) => {
                self.acknowledge(through);
                self.retry = RETRY.0;
                self.trouble = None;
                self.dropping = None;
            }
            Event::Opened(Err(status)) | Event::Acknowledged(Err(status)) => {
                self.lose(road, status.message())
            }
            Event::Acknowledged(Ok(None)) => self.lose(road, "analytics ended the stream"),
        }
    }

    /// The road is gone: everything unacknowledged will be sent again.
    fn lose(&mut self, road: &mut Road, why: &str) {
        if self.trouble.is_none() {
            tracing::warn!("analytics does not take results, they wait: {why}");
        }
        self.trouble = Some(why.to_owned());
        self.sent = 0;
        self.spill();
        *road = Road::Blocked(Instant::now() + self.retry);
        self.retry = (self.retry * 2).min(RETRY.1);
    }

    fn acknowledge(&mut self, through: u64) {
        while let Some(parcel) = self.outbox.pop_front_if(|parcel| parcel.frame.last_seq <= through) {
            self.sent = self.sent.saturating_sub(1);
            self.delivered += u64::from(parcel.frame.results);
            if parcel.spooled {
                self.spool.acknowledged();
            }
        }
    }

    /// Makes batches of what workers handed over.
    fn collect(&mut self) {
        let Some(numbering) = &mut self.numbering else { return };
        let (entries, dropped) = numbering.intake.collect();
        numbering.untold += dropped;
        self.lost += dropped;
        let mut entries = entries.into_iter();
        loop {
            let batch: Vec<_> = entries.by_ref().take(BATCH).collect();
            let untold = self.numbering.as_ref().is_some_and(|numbering| numbering.untold > 0);
            if batch.is_empty() && !untold {
                return;
            }
            let end = batch.is_empty();
            self.add(batch);
            if end {
                return;
            }
        }
    }

    fn add(&mut self, batch: Vec<Entry>) {
        let Some(numbering) = &mut self.numbering else { return };
        let results = batch.iter().filter(|entry| entry.is_result()).count() as u32;
        let (before, untold) = (numbering.seq, numbering.untold);
        let frame = numbering.frame(batch, results, &self.sender, &self.clock);
        // Nothing overtakes what the spool holds, not even what of it is under way.
        if self.spool.is_empty() && self.outbox.len() < OUTBOX && self.trouble.is_none() {
            self.outbox.push_back(Parcel { frame, spooled: false });
        } else if let Err(error) = self.spool.append(&frame) {
            // Its numbers were never used: the next batch has them.
            let Some(numbering) = &mut self.numbering else { return };
            (numbering.seq, numbering.untold) = (before, untold + u64::from(results));
            self.lost += u64::from(results);
            if self.dropping.is_none() {
                tracing::error!("results are being lost: {error}");
            }
            self.dropping = Some(error.to_string());
        }
    }

    /// Moves batches from the spool into the outbox.
    fn refill(&mut self) {
        while self.outbox.len() < OUTBOX {
            match self.spool.next() {
                Ok(Some(frame)) => self.outbox.push_back(Parcel { frame, spooled: true }),
                Ok(None) => return,
                Err(error) => {
                    self.trouble = Some(format!("cannot read the spool: {error}"));
                    return;
                }
            }
        }
    }

    /// Puts what only memory holds on disk, if nothing is there yet: a process that is killed then loses none of it.
    fn spill(&mut self) {
        if !self.spool.is_empty() {
            return;
        }
        while let Some(parcel) = self.outbox.front() {
            if let Err(error) = self.spool.append(&parcel.frame) {
                tracing::warn!("unacknowledged results stay in memory: {error}");
                return;
            }
            self.outbox.pop_front();
        }
    }

    /// Leaves everything unacknowledged on disk, in order, for the next start.
    fn leave(&mut self) {
        self.sent = 0;
        self.spill();
        // Of what is in the outbox still, only the front is not on disk, and belongs before what is.
        let front: Vec<_> =
            self.outbox.drain(..).filter(|parcel| !parcel.spooled).map(|parcel| parcel.frame).collect();
        if let Err(error) = self.spool.prepend(&front) {
            let results: u64 = front.iter().map(|frame| u64::from(frame.results)).sum();
            tracing::error!("{results} results are lost: {error}");
            self.lost += results;
            self.dropping = Some(error.to_string());
        }
    }

    fn is_empty(&self) -> bool {
        self.outbox.is_empty() && self.spool.is_empty()
    }

    fn tell(&self) {
        let in_memory = self.outbox.iter().filter(|parcel| !parcel.spooled);
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Health {
            pushed: 0,
            delivered: self.delivered,
            queued: in_memory.map(|parcel| u64::from(parcel.frame.results)).sum(),
            spooled: self.spool.results(),
            lost: self.lost,
            trouble: self.dropping.clone().or_else(|| self.trouble.clone()),
        };
    }
}

impl Numbering {
    /// Numbers and encodes a batch; a loss that analytics has not heard of is told with it.
    fn frame(&mut self, batch: Vec<Entry>, results: u32, sender: &str, clock: &Clock) -> Frame {
        let first_seq = self.seq + 1;
        let mut entries: Vec<_> =
            batch.into_iter().map(|entry| wire::Entry { entry: Some(to_wire(entry)) }).collect();
        if self.untold > 0 {
            let lost = wire::Lost {
                count: std::mem::take(&mut self.untold),
                why: "the sender's queue and spool were full".to_owned(),
                at_unix_ns: clock.unix_now_ns(),
            };
            entries.push(wire::Entry { entry: Some(wire::entry::Entry::Lost(lost)) });
        }
        self.seq += entries.len() as u64;
        let batch = wire::Batch {
            sender: sender.to_owned(),
            run: self.run.clone(),
            origin_unix_ns: clock.origin_unix_ns(),
            first_seq,
            entries,
            hello: None,
        };
        Frame { last_seq: self.seq, results, bytes: batch.encode_to_vec().into() }
    }
}

fn to_wire(entry: Entry) -> wire::entry::Entry {
    match entry {
        Entry::Chain(result) => wire::entry::Entry::Chain(result.into()),
        Entry::State { at_unix_ns, counts } => wire::entry::Entry::State(state_to_wire(counts, at_unix_ns)),
        Entry::Load { at_unix_ns, load } => wire::entry::Entry::Load(load_to_wire(load, at_unix_ns)),
    }
}

async fn open_within(endpoint: Endpoint) -> Result<Box<Link>, Status> {
    let opened = timeout(CONNECT, open(endpoint)).await;
    opened.unwrap_or_else(|_| Err(Status::unavailable("analytics does not answer"))).map(Box::new)
}

/// What happens next on the road; dropping it loses nothing.
async fn next_event(road: &mut Road, more: bool) -> Event {
    match road {
        Road::Blocked(until) => {
            sleep_until(*until).await;
            Event::Tick
        }
        Road::Building(building) => Event::Opened(building.await),
        Road::Open(link) => tokio::select! {
            acknowledged = link.acks.message() => {
                Event::Acknowledged(acknowledged.map(|ack| ack.map(|ack| ack.through_seq)))
            }
            _ = link.batches.reserve(), if more => Event::MaySend,
        },
    }
}
