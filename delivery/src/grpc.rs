//! Delivers records to analytics in another process, by gRPC.
//!
//! A separate thread numbers, encodes and sends, so neither the network nor a slow disk delays a runtime that makes
//! load. A batch is encoded once, and is the same bytes in memory, on disk and on the wire. What happens to a batch:
//!
//! | analytics | the spool | the batch goes |
//! | --- | --- | --- |
//! | takes batches | empty | into the outbox and from there on the stream; it is kept until acknowledged |
//! | is behind or cannot be reached, or the spool is not empty | any | to the end of the spool |
//! | is back | not empty | from the spool into the outbox, oldest first |
//! | cannot be reached | full or not writable | nowhere: its results are counted as lost, and analytics gets their number and the reason |
//! | refuses a batch for good | any | nowhere: only this batch is counted as lost, with the reason |
//!
//! Without a disk ([`Keep::Memory`]) the outbox replaces the spool, up to a number of entries.
//!
//! A refusal ends the stream without naming the batch. So the next stream carries one batch at a time until one is
//! acknowledged: the batch that is refused then is the one that was meant.

mod codec;
mod connection;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{io, thread};

use prost::Message;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;
use tonic::{Code, Status};
use wec_clock::Clock;
use wec_pki::Tls;
use wec_proto::results as wire;
use wec_record::RunHeader;
use wec_record::wire::{event_to_wire, load_to_wire, state_to_wire};

use self::codec::{Bearer, chain};
use self::connection::{CONNECT, Connection, LinkEvent, next_event, open_within};
use crate::intake::{BATCH, Entry, Intake};
use crate::losses::Losses;
use crate::numbered::{Batch, Numbering};
use crate::spool::{Frame, Owner, Spool};
use crate::{Health, Sink};

/// Batches that are sent and not acknowledged, or about to be sent; a spool takes the others.
const OUTBOX: usize = 32;
/// How often an unreadable spool is tried again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Waits between attempts to reach analytics: the first, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// A connection without any answer for this long is given up.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// Where to deliver, and from whom.
#[derive(Clone, Debug)]
pub struct GrpcOptions {
    /// `http://host:port` of analytics, or `https://host:port`.
    pub analytics: String,
    /// The token that analytics beyond loopback requires.
    pub token: Option<String>,
    /// For analytics with `https`.
    pub tls: Option<Tls>,
    /// The sender's id, new with each start of the process.
    pub sender: String,
    /// The node's name, for people.
    pub node: String,
    /// The run of the results; none for hits, which belong to the current run.
    pub header: Option<RunHeader>,
    /// What happens to records while analytics cannot be reached.
    pub keep: Keep,
}

/// Where records wait while analytics cannot be reached, and how many.
#[derive(Clone, Debug)]
pub enum Keep {
    /// On disk, where the next start finds what was not delivered.
    Spool {
        /// The folder; it has one folder per sender.
        folder: PathBuf,
        /// Most bytes.
        bytes: u64,
    },
    /// In memory only.
    Memory {
        /// Most entries.
        entries: usize,
    },
}

/// Why a sink could not start.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The address is not valid.
    #[error("{address:?} is not an address of analytics ({reason}): write it like http://127.0.0.1:8090")]
    BadAddress {
        /// As given.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The token is not valid in a header.
    #[error(
        "the token (WEC_TOKEN) has a character that is not allowed in a header, such as a line break: choose another token"
    )]
    BadToken,
    /// The run's header cannot be sent.
    #[error("the run's header cannot be written as JSON: {0}")]
    BadHeader(serde_json::Error),
    /// The system gave no thread.
    #[error("cannot start the thread that sends results: {0}")]
    Thread(io::Error),
}

/// Delivers results to analytics in another process.
#[derive(Debug)]
pub struct GrpcSink {
    intake: Arc<Intake>,
    told: Arc<Mutex<Health>>,
    /// When cancelled, the rest is delivered for as long as the pump gets over `until`.
    closing: CancellationToken,
    /// Cancelled when nobody waits for the rest any longer.
    hurry: CancellationToken,
    until: Mutex<Option<oneshot::Sender<Duration>>>,
    pump: Mutex<Option<thread::JoinHandle<()>>>,
}

impl GrpcSink {
    /// Starts to deliver, also what dead senders left in the spool's folder. Analytics may start later.
    ///
    /// # Errors
    /// If the address is not valid, or the system gives no thread.
    pub fn start(options: GrpcOptions, clock: Clock) -> Result<Self, SinkError> {
        let bad = |reason: String| SinkError::BadAddress { address: options.analytics.clone(), reason };
        let mut endpoint =
            Endpoint::from_shared(options.analytics.clone()).map_err(|error| bad(error.to_string()))?;
        if options.analytics.starts_with("https://") {
            let tls =
                options.tls.as_ref().ok_or_else(|| bad("https needs the CA: give --tls-ca".to_owned()))?;
            let config = codec::tls(tls).map_err(bad)?;
            endpoint = endpoint.tls_config(config).map_err(|error| bad(chain(&error)))?;
        }
        let endpoint = endpoint
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE)
            .keep_alive_while_idle(true);
        let header = options.header.as_ref().map(serde_json::to_string);
        let owner = Owner {
            sender: options.sender,
            node: options.node,
            header: header.transpose().map_err(SinkError::BadHeader)?.unwrap_or_default(),
        };
        let (intake, told, closing) = (Arc::<Intake>::default(), Arc::default(), CancellationToken::new());
        let (until, told_until) = oneshot::channel();
        let token = options.token.filter(|token| !token.is_empty());
        let token = token.map(|token| Bearer::new(&token)).transpose()?;
        let mut pumps = Pumps { endpoint, token, tls: options.tls, most_in_memory: None, pumps: Vec::new() };
        let spool = match options.keep {
            Keep::Memory { entries } => {
                pumps.most_in_memory = Some(entries);
                Spool::nowhere(owner)
            }
            Keep::Spool { folder, bytes } => {
                for spool in Spool::leftovers(&folder) {
                    pumps.add_leftover(spool, clock);
                }
                Spool::new(&folder, owner, bytes)
            }
        };
        let run = options.header.map(|header| header.run).unwrap_or_default();
        let made = Made { intake: Some(Arc::clone(&intake)), run, numbering: Numbering::default() };
        pumps.pumps.push(pumps.pump(spool, made, Arc::clone(&told), clock));
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(SinkError::Thread)?;
        let (stop, hurry) = (closing.clone(), CancellationToken::new());
        let hurried = hurry.clone();
        let pump = thread::Builder::new()
            .name("wec-sink".to_owned())
            .spawn(move || runtime.block_on(pumps.deliver(stop, told_until, hurried)))
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

    /// Ends a running [`finish`](Self::finish): the rest goes to disk now.
    pub fn hurry(&self) {
        self.hurry.cancel();
    }

    /// Delivers the rest within this time; what was not delivered stays on disk for the next start. After it nothing
    /// more is accepted.
    pub async fn finish(&self, within: Duration) -> Health {
        if let Some(until) = self.until.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // The thread is still there: it ends only after this message.
            let _ = until.send(within);
        }
        self.closing.cancel();
        let pump = self.pump.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(pump) = pump {
            // The panic hook has reported a panic of that thread; the health shows what was not delivered.
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
    fn push_entry(&self, entry: Entry) {
        self.intake.push(entry);
    }

    fn lose(&self, count: u64, why: &str) {
        self.intake.lose(count, why);
    }

    fn health(&self) -> Health {
        self.intake.health(&self.told)
    }
}

/// All pumps of a process: its own, and those for leftover spools.
struct Pumps {
    endpoint: Endpoint,
    token: Option<Bearer>,
    tls: Option<Tls>,
    /// Entries that may wait in memory; none if a spool takes them.
    most_in_memory: Option<usize>,
    pumps: Vec<Pump>,
}

impl Pumps {
    /// Delivers what a dead sender left.
    fn add_leftover(&mut self, spool: Spool, clock: Clock) {
        let (results, sender) = (spool.results(), &spool.owner().sender);
        tracing::info!("delivering {results} results that sender {sender} left in the spool");
        let run = serde_json::from_str(&spool.owner().header)
            .map_or_else(|_| String::new(), |header: RunHeader| header.run);
        let made = Made { intake: None, run, numbering: Numbering::default() };
        self.pumps.push(self.pump(spool, made, Arc::default(), clock));
    }

    fn pump(&self, spool: Spool, made: Made, told: Arc<Mutex<Health>>, clock: Clock) -> Pump {
        let owner = spool.owner();
        let hello = wire::Hello { node: owner.node.clone(), header_json: owner.header.clone() };
        Pump {
            endpoint: self.endpoint.clone(),
            token: self.token.clone(),
            tls: self.tls.clone(),
            sender: owner.sender.clone(),
            hello,
            clock,
            made,
            most_in_memory: self.most_in_memory,
            spool,
            outbox: VecDeque::new(),
            sent: 0,
            told,
            delivered: 0,
            lost: 0,
            retry: RETRY.0,
            trouble: None,
            dropping: None,
            cautious: false,
            lost_why: None,
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
        // A dropped sink sends nothing here: the rest goes to disk at once.
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

/// The source of batches.
struct Made {
    /// None for a leftover spool, to which only its losses are added.
    intake: Option<Arc<Intake>>,
    run: String,
    numbering: Numbering,
}

/// The deliveries of one sender.
struct Pump {
    endpoint: Endpoint,
    token: Option<Bearer>,
    tls: Option<Tls>,
    sender: String,
    /// The first message of each stream.
    hello: wire::Hello,
    clock: Clock,
    made: Made,
    /// Entries that may wait in the outbox; none if the spool takes everything beyond [`OUTBOX`] batches.
    most_in_memory: Option<usize>,
    spool: Spool,
    outbox: VecDeque<Parcel>,
    /// How many of the outbox are on the stream.
    sent: usize,
    told: Arc<Mutex<Health>>,
    delivered: u64,
    lost: u64,
    retry: Duration,
    /// Why analytics takes no results; none while it does.
    trouble: Option<String>,
    /// Why a batch was dropped since analytics last took one. It is reported instead of `trouble`, because it is
    /// worse. That a small batch still fits does not mean that the next one does.
    dropping: Option<String>,
    /// A batch was refused for good, and it is unknown which one: batches are sent one at a time.
    cautious: bool,
    /// Why results were lost last.
    lost_why: Option<String>,
}

struct Parcel {
    frame: Frame,
    /// Whether the spool holds it too.
    spooled: bool,
}

impl Pump {
    async fn run(mut self, closing: CancellationToken, deadline: CancellationToken) {
        let mut look = interval(LOOK_AGAIN);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut connection = Connection::Waiting(Instant::now());
        let leftover = self.made.intake.is_none();
        let mut ending = false;
        loop {
            let last = closing.is_cancelled();
            if last && !std::mem::replace(&mut ending, last) && leftover {
                // Analytics may have come back since the last attempt.
                self.trouble = None;
                if matches!(connection, Connection::Waiting(_)) {
                    connection = Connection::Waiting(Instant::now());
                }
            }
            self.collect();
            if matches!(connection, Connection::Open(_)) {
                self.refill();
            }
            self.tell();
            // After one more attempt leftover spools stay: they do not delay the end of this run.
            let hopeless = leftover && last && self.trouble.is_some();
            if (last || leftover) && self.is_empty() || hopeless || deadline.is_cancelled() {
                break;
            }
            let more = self.sent < self.outbox.len() && (self.sent == 0 || !self.cautious);
            let gathered = async {
                match &self.made.intake {
                    Some(intake) => intake.gathered().await,
                    None => std::future::pending().await,
                }
            };
            let event = tokio::select! {
                event = next_event(&mut connection, more) => event,
                _ = look.tick() => LinkEvent::Tick,
                () = gathered => LinkEvent::Tick,
                () = closing.cancelled(), if !last => LinkEvent::Tick,
                () = deadline.cancelled() => LinkEvent::Tick,
            };
            self.handle(event, &mut connection);
        }
        self.collect();
        self.leave();
        self.tell();
        self.spool.close();
    }

    fn handle(&mut self, event: LinkEvent, connection: &mut Connection) {
        match event {
            LinkEvent::Tick => {
                if matches!(connection, Connection::Waiting(until) if *until <= Instant::now()) {
                    *connection = Connection::Connecting(Box::pin(open_within(
                        self.endpoint.clone(),
                        self.token.clone(),
                        self.tls.clone(),
                    )));
                }
            }
            LinkEvent::Opened(Ok(link)) => *connection = Connection::Open(link),
            LinkEvent::MaySend => {
                let Connection::Open(link) = connection else { return };
                let Some(parcel) = self.outbox.get(self.sent) else { return };
                if !link.greeted {
                    let greeting = greeting(&parcel.frame, &self.hello);
                    link.greeted = link.batches.try_send(greeting).is_ok();
                } else if link.batches.try_send(Arc::clone(&parcel.frame.bytes)).is_ok() {
                    self.sent += 1;
                }
            }
            LinkEvent::Acknowledged(Ok(Some(through))) => {
                // The acknowledgement of a greeting is about no batch.
                if self.acknowledge(through) {
                    self.retry = RETRY.0;
                    self.trouble = None;
                    self.dropping = None;
                    self.cautious = false;
                }
            }
            LinkEvent::Acknowledged(Err(status)) if is_final(&status) && !self.outbox.is_empty() => {
                self.refused(connection, status.message());
            }
            LinkEvent::Opened(Err(status)) | LinkEvent::Acknowledged(Err(status)) => {
                self.lose(connection, status.message())
            }
            LinkEvent::Acknowledged(Ok(None)) => self.lose(connection, "analytics ended the stream"),
        }
    }

    /// The connection is lost: everything unacknowledged will be sent again.
    fn lose(&mut self, connection: &mut Connection, why: &str) {
        if self.trouble.is_none() {
            tracing::warn!("analytics does not accept results, so they wait: {why}");
        }
        self.trouble = Some(why.to_owned());
        self.sent = 0;
        self.spill();
        *connection = Connection::Waiting(Instant::now() + self.retry);
        self.retry = (self.retry * 2).min(RETRY.1);
    }

    /// A batch on the stream, or the greeting for the first of them, was refused for good. If only one batch can be
    /// meant, it ends here.
    fn refused(&mut self, connection: &mut Connection, why: &str) {
        let culprit = self.sent <= 1;
        self.sent = 0;
        self.cautious = !culprit;
        *connection = Connection::Waiting(Instant::now());
        let Some(parcel) = self.outbox.pop_front_if(|_| culprit) else { return };
        if parcel.spooled {
            self.spool.acknowledged();
        }
        let results = u64::from(parcel.frame.results);
        self.lose_results(results, &format!("analytics refuses them permanently: {why}"));
    }

    /// Counts results as lost and reports this, also to analytics with the next batch.
    fn lose_results(&mut self, results: u64, why: &str) {
        // Without results it is not worth an event, which would be refused again.
        if results > 0 && self.lost_why.as_deref() != Some(why) {
            tracing::error!(sender = self.sender, "{results} results are lost: {why}");
        }
        self.lost += results;
        self.lost_why = Some(why.to_owned());
        self.made.numbering.lose(results, why);
    }

    /// Whether anything was acknowledged for the first time.
    fn acknowledge(&mut self, through: u64) -> bool {
        let before = self.outbox.len();
        while let Some(parcel) = self.outbox.pop_front_if(|parcel| parcel.frame.last_seq <= through) {
            self.sent = self.sent.saturating_sub(1);
            self.delivered += u64::from(parcel.frame.results);
            if parcel.spooled {
                self.spool.acknowledged();
            }
        }
        self.outbox.len() < before
    }

    /// Makes batches of the records in the intake.
    fn collect(&mut self) {
        let damaged = self.spool.take_lost();
        if damaged > 0 {
            self.lose_results(damaged, "the spool was damaged");
        }
        let Some(intake) = &self.made.intake else {
            // Reported after the last of them, with the next number.
            if self.is_empty() && self.made.numbering.has_untold() {
                self.made.numbering.skip_to(self.spool.last_seq());
                let batch = self.made.numbering.number(Vec::new(), self.clock.unix_now_ns());
                let (frame, _) = self.frame(batch);
                self.outbox.push_back(Parcel { frame, spooled: false });
            }
            return;
        };
        let (entries, losses) = intake.collect();
        self.dropped(losses);
        let mut entries = entries.into_iter();
        loop {
            let batch: Vec<_> = entries.by_ref().take(BATCH).collect();
            if batch.is_empty() && !self.made.numbering.has_untold() {
                return;
            }
            let end = batch.is_empty();
            self.add(batch);
            if end {
                return;
            }
        }
    }

    /// Records that did not fit into the intake.
    fn dropped(&mut self, losses: Losses) {
        for (count, why) in losses {
            self.lost += count;
            self.made.numbering.lose(count, &why);
            self.lost_why = Some(why);
        }
    }

    fn add(&mut self, entries: Vec<Entry>) {
        let batch = self.made.numbering.number(entries, self.clock.unix_now_ns());
        let (frame, batch) = self.frame(batch);
        let spooled = match self.most_in_memory {
            Some(most) if self.kept() + frame.entries as usize > most => {
                Err(format!("{most} records waited in memory already"))
            }
            Some(_) => Ok(false),
            // Order is kept: nothing overtakes the spool, nor its batches that are being sent.
            None if self.spool.is_empty() && self.outbox.len() < OUTBOX && self.trouble.is_none() => {
                Ok(false)
            }
            None => self.spool.append(&frame).map(|()| true).map_err(|error| error.to_string()),
        };
        let why = match spooled {
            Ok(true) => return,
            Ok(false) => return self.outbox.push_back(Parcel { frame, spooled: false }),
            Err(why) => why,
        };
        self.lost += batch.counted;
        if batch.counted > 0 {
            self.lost_why = Some(why.clone());
        }
        self.made.numbering.take_back(batch, &why);
        if self.dropping.is_none() {
            tracing::error!("results are being lost: {why}");
        }
        self.dropping = Some(why);
    }

    /// Entries in the outbox.
    fn kept(&self) -> usize {
        self.outbox.iter().map(|parcel| parcel.frame.entries as usize).sum()
    }

    /// Encodes a batch, and returns what is still needed of it if it cannot be kept.
    fn frame(&self, mut batch: Batch) -> (Frame, Batch) {
        let (last_seq, first_seq) = (batch.last(), batch.first);
        let entries = std::mem::take(&mut batch.entries).into_iter();
        let encoded = wire::Batch {
            sender: self.sender.clone(),
            run: self.made.run.clone(),
            origin_unix_ns: self.clock.origin_unix_ns(),
            first_seq,
            entries: entries.map(|entry| wire::Entry { entry: Some(to_wire(entry)) }).collect(),
            hello: None,
        };
        let (results, entries) = (batch.counted as u32, encoded.entries.len() as u32);
        (Frame { last_seq, results, entries, bytes: encoded.encode_to_vec().into() }, batch)
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

    /// Writes what is only in memory to disk, if nothing is there yet, so that a kill loses none of it.
    fn spill(&mut self) {
        if !self.spool.is_empty() || self.most_in_memory.is_some() {
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
        if self.most_in_memory.is_some() {
            return;
        }
        self.spill();
        // Of the outbox only the front is not on disk; it belongs before what is.
        let front: Vec<_> =
            self.outbox.drain(..).filter(|parcel| !parcel.spooled).map(|parcel| parcel.frame).collect();
        if let Err(error) = self.spool.prepend(&front) {
            let results: u64 = front.iter().map(|frame| u64::from(frame.results)).sum();
            tracing::error!("{results} results are lost: {error}");
            self.lost += results;
            self.lost_why = Some(error.to_string());
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
            lost_why: self.lost_why.clone(),
            trouble: self.dropping.clone().or_else(|| self.trouble.clone()),
        };
    }
}

fn to_wire(entry: Entry) -> wire::entry::Entry {
    match entry {
        Entry::Chain(result) => wire::entry::Entry::Chain(result.into()),
        Entry::State { at_unix_ns, counts } => wire::entry::Entry::State(state_to_wire(counts, at_unix_ns)),
        Entry::Load { at_unix_ns, load } => wire::entry::Entry::Load(load_to_wire(load, at_unix_ns)),
        Entry::Hit(hit) => wire::entry::Entry::Hit(hit.into()),
        Entry::Event(event) => wire::entry::Entry::Json(event_to_wire(*event)),
        Entry::Lost { at_unix_ns, count, why } => {
            wire::entry::Entry::Lost(wire::Lost { count, why, at_unix_ns })
        }
    }
}

/// Whether the same attempt would always fail. All other errors may end: analytics cannot be reached, has no room, or its
/// operator must correct something.
fn is_final(status: &Status) -> bool {
    matches!(status.code(), Code::InvalidArgument | Code::OutOfRange | Code::FailedPrecondition)
}

/// The first message of a stream: its sender, without batches. It must be small.
fn greeting(first: &Frame, hello: &wire::Hello) -> Arc<[u8]> {
    // A batch that is no protobuf was not written by us; analytics refuses the result.
    let first = wire::Batch::decode(&*first.bytes).unwrap_or_default();
    wire::Batch { entries: Vec::new(), hello: Some(hello.clone()), ..first }.encode_to_vec().into()
}

#[cfg(test)]
mod tests;
