//! The way of every record: a bounded queue, then one thread that logs and counts.
//!
//! One thread, so that the log's order is the order of counting, and so that neither the disk nor JSON ever holds
//! up a runtime that makes load.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use wec_board::{Session, Versioned};
use wec_proto::results as wire;
use wec_record::threshold::Threshold;
use wec_record::{Record, RunHeader};

use crate::Aggregate;
use crate::book::{Answer, Answered, Book, Refusal};
use crate::log::LogError;
use crate::snapshot::Health;

/// Batches that may wait. A batch is what a sender collected in some 50 ms.
pub(crate) const QUEUE_BOUND: usize = 256;
/// The log is handed to the operating system at least so often.
const FLUSH_INTERVAL: Duration = Duration::from_millis(200);
/// Runs other than the shown one whose logs are kept open: spools of killed requesters may bring results of them.
const MAX_BOOKS: usize = 4;

/// Where logs go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogPlace {
    /// `<run>.jsonl` in this folder, one file for each run.
    Folder(PathBuf),
    /// This file; there can be one run only.
    File(PathBuf),
}

/// What travels through the queue.
pub(crate) enum Delivery {
    /// A run of this process begins.
    Begin { header: RunHeader, opened: oneshot::Sender<Result<(), LogError>> },
    /// From this process: never comes twice.
    Local(Vec<Record>),
    /// From another: may come again.
    Remote { batch: wire::Batch, answer: Arc<Answer> },
}

/// The entrance for records of the same process. Clones are the same entrance.
#[derive(Clone, Debug)]
pub struct Ingest {
    queue: mpsc::Sender<Delivery>,
}

impl Ingest {
    pub(crate) const fn new(queue: mpsc::Sender<Delivery>) -> Self {
        Self { queue }
    }

    /// Begins a run, or goes on with it where its log is there already. Records delivered afterwards belong to it.
    ///
    /// # Errors
    /// When the log cannot be written to, or is another run's.
    pub async fn begin(&self, header: RunHeader) -> Result<(), LogError> {
        let (opened, outcome) = oneshot::channel();
        let sent = self.queue.send(Delivery::Begin { header, opened }).await.is_ok();
        match outcome.await {
            Ok(outcome) if sent => outcome,
            _ => Err(LogError::Ended),
        }
    }

    /// Delivers records of the run that has begun, without waiting.
    ///
    /// # Errors
    /// When the queue is full or analytics has ended the records come back.
    pub fn try_deliver(&self, records: Vec<Record>) -> Result<(), Vec<Record>> {
        self.queue.try_send(Delivery::Local(records)).map_err(|refused| returned(refused.into_inner()))
    }

    /// Delivers records, waiting while the queue is full.
    ///
    /// # Errors
    /// When analytics has ended the records come back.
    pub async fn deliver(&self, records: Vec<Record>) -> Result<(), Vec<Record>> {
        self.queue.send(Delivery::Local(records)).await.map_err(|refused| returned(refused.0))
    }

    pub(crate) async fn deliver_batch(&self, batch: wire::Batch, answer: Arc<Answer>) -> bool {
        self.queue.send(Delivery::Remote { batch, answer }).await.is_ok()
    }

    fn waiting(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }
}

fn returned(delivery: Delivery) -> Vec<Record> {
    match delivery {
        Delivery::Local(records) => records,
        Delivery::Begin { .. } | Delivery::Remote { .. } => Vec::new(),
    }
}

/// What the thread shows to the rest.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    run: Mutex<ShownRun>,
    health: Mutex<Health>,
}

/// The run that is shown. Its number tells readers of the series that it is another one.
#[derive(Clone, Debug, Default)]
pub(crate) struct ShownRun {
    pub(crate) number: u64,
    pub(crate) aggregate: Arc<Mutex<Aggregate>>,
}

impl ShownRun {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Aggregate> {
        self.aggregate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shown {
    pub(crate) fn run(&self) -> ShownRun {
        self.run.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn health(&self, ingest: &Ingest) -> Health {
        let health = self.health.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Health { queued_batches: ingest.waiting() as u64, queue_bound: QUEUE_BOUND as u64, ..health }
    }

    fn show(&self, aggregate: Arc<Mutex<Aggregate>>) {
        let mut run = self.run.lock().unwrap_or_else(PoisonError::into_inner);
        *run = ShownRun { number: run.number + 1, aggregate };
    }
}

/// Starts the thread. It ends once `drain` is cancelled and the queue is empty; the logs are on the disk then.
pub(crate) fn start(
    place: LogPlace,
    thresholds: Vec<Threshold>,
    target: watch::Receiver<Option<Versioned<Session>>>,
    drain: CancellationToken,
) -> std::io::Result<(Ingest, Arc<Shown>, thread::JoinHandle<()>)> {
    let (queue, deliveries) = mpsc::channel(QUEUE_BOUND);
    let shown = Arc::new(Shown::default());
    let library =
        Library { place, thresholds, target, shown: shown.clone(), books: HashMap::new(), current: None };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let thread = thread::Builder::new()
        .name("wec-log".to_owned())
        .spawn(move || runtime.block_on(library.keep(deliveries, drain)))?;
    Ok((Ingest::new(queue), shown, thread))
}

/// The books of all runs; only its thread touches it.
struct Library {
    place: LogPlace,
    /// What runs must hold beside what their headers say.
    thresholds: Vec<Threshold>,
    target: watch::Receiver<Option<Versioned<Session>>>,
    shown: Arc<Shown>,
    books: HashMap<String, Book>,
    /// The run that is shown.
    current: Option<String>,
}

impl Library {
    async fn keep(mut self, mut deliveries: mpsc::Receiver<Delivery>, drain: CancellationToken) {
        let mut flush = tokio::time::interval(FLUSH_INTERVAL);
        flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut some = Vec::new();
        loop {
            tokio::select! {
                // A steady stream of deliveries must not put off the flush.
                biased;
                _ = flush.tick() => {
                    self.note_target();
                    self.books.values_mut().for_each(Book::flush);
                }
                () = drain.cancelled(), if !deliveries.is_closed() => deliveries.close(),
                taken = deliveries.recv_many(&mut some, 16) => {
                    if taken == 0 {
                        break;
                    }
                    some.drain(..).for_each(|delivery| self.take(delivery));
                    self.books.values_mut().filter(|book| book.wants_flush()).for_each(Book::flush);
                }
            }
            self.report();
        }
        self.books.values_mut().for_each(Book::close);
        self.report();
    }

    fn take(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Begin { header, opened } => {
                // Whoever began it may have gone; the run is there all the same.
                let _ = opened.send(self.open(&header));
            }
            Delivery::Local(records) => records.into_iter().for_each(|record| self.take_record(&record)),
            Delivery::Remote { batch, answer } => {
                let taken = self.book_for(&batch).and_then(|book| book.accept_batch(batch, answer.clone()));
                if let Err(refusal) = taken {
                    answer.send_replace(Answered::Refused(refusal));
                }
            }
        }
    }

    fn take_record(&mut self, record: &Record) {
        match self.current_book() {
            Some(book) => book.accept(record),
            None => tracing::debug!("a record came before its run had begun"),
        }
    }

    fn book_for(&mut self, batch: &wire::Batch) -> Result<&mut Book, Refusal> {
        if batch.run.is_empty() {
            let none = || Refusal::NotNow("no run has begun".to_owned());
            return self.current_book().ok_or_else(none);
        }
        if !self.books.contains_key(&batch.run) {
            let json = batch.hello.as_ref().map(|hello| hello.header_json.as_str()).unwrap_or_default();
            let header: RunHeader = serde_json::from_str(json).map_err(|error| {
                Refusal::Never(format!("run {:?} has no usable header: {error}", batch.run))
            })?;
            if header.run != batch.run {
                return Err(Refusal::Never(format!(
                    "run {:?} has the header of {:?}",
                    batch.run, header.run
                )));
            }
            self.open(&header).map_err(|error| {
                tracing::error!("{error}");
                self.fail(error.to_string());
                Refusal::NotNow(error.to_string())
            })?;
        }
        self.books.get_mut(&batch.run).ok_or_else(|| Refusal::NotNow("the run has no log".to_owned()))
    }

    /// Opens a run's book unless it is open, and shows the run if it is the latest.
    fn open(&mut self, header: &RunHeader) -> Result<(), LogError> {
        let Entry::Vacant(vacant) = self.books.entry(header.run.clone()) else { return Ok(()) };
        let path = path_of(&self.place, &header.run)?;
        let mut asked = header.clone();
        asked.stamp.ask(&self.thresholds);
        let mut book = Book::open(&path, &asked)?;
        if let Some(session) = self.target.borrow().as_ref() {
            book.note_target(&session.value);
        }
        vacant.insert(book);
        let book = &self.books[&header.run];
        if self.current_ref().is_none_or(|current| book.is_started_after(current)) {
            self.shown.show(book.shared());
            self.current = Some(header.run.clone());
        }
        self.close_surplus(&header.run);
        Ok(())
    }

    /// A session may be seen on the board only after its run has begun.
    fn note_target(&mut self) {
        let session = self.target.borrow().as_ref().map(|session| session.value.clone());
        if let (Some(session), Some(book)) = (session, self.current_book())
            && book.lacks_target()
        {
            book.note_target(&session);
        }
    }

    fn close_surplus(&mut self, opened: &str) {
        while self.books.len() > MAX_BOOKS {
            let keep = |run: &str| run == opened || self.current.as_deref() == Some(run);
            let Some(run) = self.books.keys().find(|run| !keep(run)).cloned() else { return };
            if let Some(mut book) = self.books.remove(&run) {
                book.close();
            }
        }
    }

    fn current_book(&mut self) -> Option<&mut Book> {
        self.books.get_mut(self.current.as_ref()?)
    }

    fn current_ref(&self) -> Option<&Book> {
        self.books.get(self.current.as_ref()?)
    }

    fn fail(&self, error: String) {
        self.shown.health.lock().unwrap_or_else(PoisonError::into_inner).log_error = Some(error);
    }

    fn report(&self) {
        let Some(book) = self.current_ref() else { return };
        let log = book.log();
        let health = Health {
            log: log.path().display().to_string(),
            log_bytes: log.written(),
            log_failed: book.failed,
            log_error: log.error().map(str::to_owned),
            duplicates: book.duplicates,
            gaps: book.gaps,
            senders: book.senders() as u64,
            ..Health::default()
        };
        *self.shown.health.lock().unwrap_or_else(PoisonError::into_inner) = health;
    }
}

/// A run's id comes over the network; it must not choose a folder.
fn path_of(place: &LogPlace, run: &str) -> Result<PathBuf, LogError> {
    match place {
        LogPlace::File(path) => Ok(path.clone()),
        LogPlace::Folder(folder) if is_file_name(run) => Ok(folder.join(format!("{run}.jsonl"))),
        LogPlace::Folder(folder) => Err(LogError::BadRun { folder: folder.clone(), run: run.to_owned() }),
    }
}

fn is_file_name(run: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=128).contains(&run.len()) && !run.starts_with('.') && run.bytes().all(plain)
}
