//! The thread that processes the records of all runs: their open logs, and which run is shown. `run_log` has one
//! of them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wec_board::{Board, Session, Versioned};
use wec_delivery::event_of;
use wec_log::{LOOK_EVERY, judge_header};
use wec_proto::results as wire;
use wec_record::{Event, Record, RunHeader};
use wec_startup::Warnings;

use super::run_log::RunLog;
use super::{ConsumerOptions, LogPlace, Shown};
use crate::ingest::{Answered, Delivery, Ingest, QUEUE_BOUND, RefusedBatch};
use crate::log::LogError;

/// The longest time until a changed target is in the log, and what the disk refused is tried again.
const SOON: Duration = Duration::from_millis(200);
/// How often the warnings of this process are written.
const WARN_EVERY: Duration = Duration::from_secs(1);
/// The node of this process's own warnings.
const ANALYTICS: &str = "analytics";
/// Open logs of runs other than the shown one: the spool of a killed requester may still deliver their
/// results.
const MAX_OPEN: usize = 4;

/// The open logs of all runs; only the thread of this type accesses it.
pub(crate) struct RunLogs {
    place: LogPlace,
    options: ConsumerOptions,
    target: watch::Receiver<Option<Versioned<Session>>>,
    /// The sessions of the runs.
    board: Board,
    shown: Arc<Shown>,
    logs: HashMap<String, RunLog>,
    /// The run that is shown.
    current: Option<String>,
    /// What this process warns of; empty where a requester in this process delivers it.
    warnings: Warnings,
}

impl RunLogs {
    pub(crate) fn new(
        place: LogPlace,
        options: ConsumerOptions,
        (board, session): (Board, &str),
        shown: Arc<Shown>,
    ) -> Self {
        Self {
            place,
            options,
            target: board.session(session),
            board,
            shown,
            logs: HashMap::new(),
            current: None,
            warnings: Warnings::gather_rest(),
        }
    }

    pub(crate) async fn keep(mut self, mut deliveries: mpsc::Receiver<Delivery>, drain: CancellationToken) {
        let mut flush_at = self.flush_at();
        let (mut target_is_known, mut warned) = (true, Instant::now());
        let mut some = Vec::new();
        loop {
            tokio::select! {
                // A steady stream of deliveries must not delay the flush.
                biased;
                () = tokio::time::sleep_until(flush_at) => {
                    self.note_target();
                    if warned.elapsed() >= WARN_EVERY {
                        warned = Instant::now();
                        self.note_warnings();
                    }
                    self.logs.values_mut().for_each(RunLog::flush);
                    // What the disk refused is tried again soon.
                    let refused = self.logs.values().any(RunLog::is_unwritten);
                    flush_at = Instant::now() + if refused { SOON } else { LOOK_EVERY };
                }
                () = drain.cancelled(), if !deliveries.is_closed() => deliveries.close(),
                changed = self.target.changed(), if target_is_known => {
                    target_is_known = changed.is_ok();
                    flush_at = flush_at.min(Instant::now() + SOON);
                }
                taken = deliveries.recv_many(&mut some, 16) => {
                    if taken == 0 {
                        break;
                    }
                    some.drain(..).for_each(|delivery| self.take(delivery));
                    flush_at = flush_at.min(self.flush_at());
                    // Before any acknowledgement, because its receiver may read the figures at once.
                    self.report();
                    self.logs.values_mut().filter(|log| log.wants_flush()).for_each(RunLog::flush);
                }
            }
            self.report();
        }
        self.note_warnings();
        self.logs.values_mut().for_each(RunLog::close);
        self.report();
    }

    /// When records that come now must be written to the operating system.
    fn flush_at(&self) -> Instant {
        Instant::now() + self.logs.values().map(RunLog::flush_within).min().unwrap_or(SOON)
    }

    fn take(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Begin { header, opened } => {
                // The caller may be gone; the run exists nevertheless.
                let _ = opened.send(self.open(&header));
            }
            Delivery::Local(records) => match self.current_log() {
                Some(log) => log.accept(records),
                None => tracing::debug!("a record arrived before its run had begun"),
            },
            Delivery::Of { run, records } => match self.logs.get_mut(&run) {
                Some(log) => log.accept(records),
                None => tracing::debug!(run, "a record arrived for a run that has no open log"),
            },
            Delivery::Remote { batch, answer } => {
                // Batches after a refused one would be acknowledged together with it.
                if matches!(*answer.borrow(), Answered::Refused(_)) {
                    return;
                }
                let taken = self.log_for(&batch).and_then(|log| log.accept_batch(batch, answer.clone()));
                if let Err(refusal) = taken {
                    answer.send_replace(Answered::Refused(refusal));
                }
            }
        }
    }

    fn log_for(&mut self, batch: &wire::Batch) -> Result<&mut RunLog, RefusedBatch> {
        if batch.run.is_empty() {
            let none = || RefusedBatch::NotNow("no run has begun".to_owned());
            return self.current_log().ok_or_else(none);
        }
        if !self.logs.contains_key(&batch.run) {
            let json = batch.hello.as_ref().map(|hello| hello.header_json.as_str()).unwrap_or_default();
            let header: RunHeader = serde_json::from_str(json).map_err(|error| {
                RefusedBatch::Never(format!("run {:?} has no usable header: {error}", batch.run))
            })?;
            if header.run != batch.run {
                return Err(RefusedBatch::Never(format!(
                    "run {:?} has the header of {:?}",
                    batch.run, header.run
                )));
            }
            judge_header(&header)
                .map_err(|why| RefusedBatch::Never(format!("run {:?}: {why}", batch.run)))?;
            self.open(&header).map_err(|error| {
                if matches!(error, LogError::BadRun { .. }) {
                    return RefusedBatch::Never(error.to_string());
                }
                tracing::error!("{error}");
                self.shown.fail(error.to_string());
                RefusedBatch::NotNow(error.to_string())
            })?;
        }
        self.logs.get_mut(&batch.run).ok_or_else(|| RefusedBatch::NotNow("the run has no log".to_owned()))
    }

    /// Opens a run's log if necessary, and shows the run if it is the latest.
    fn open(&mut self, header: &RunHeader) -> Result<(), LogError> {
        let Entry::Vacant(vacant) = self.logs.entry(header.run.clone()) else { return Ok(()) };
        let path = self.place.path_of(&header.run, self.options.log.format)?;
        let mut asked = header.clone();
        asked.stamp.ask(&self.options.thresholds);
        let mut log = RunLog::open(&path, &asked, &self.options, self.shown.new_run())?;
        if let Some(session) = self.board.session(&header.session).borrow().as_ref() {
            log.note_target(&session.value);
        }
        vacant.insert(log);
        let log = &self.logs[&header.run];
        self.shown.add(&header.run, log.run());
        if self.current_ref().is_none_or(|current| log.is_started_after(current)) {
            self.shown.show(log.run());
            self.current = Some(header.run.clone());
        }
        self.close_surplus(&header.run);
        Ok(())
    }

    /// The session may appear on the board only after its run has begun.
    fn note_target(&mut self) {
        for log in self.logs.values_mut().filter(|log| log.lacks_target()) {
            let Some(session) = log.session() else { continue };
            let session = self.board.session(&session).borrow().clone();
            if let Some(session) = session {
                log.note_target(&session.value);
            }
        }
    }

    /// Warnings of a time without a run are in no log.
    fn note_warnings(&mut self) {
        let warnings = self.warnings.take();
        let node = || ANALYTICS.to_owned();
        let records: Vec<_> = warnings
            .into_iter()
            .map(|warning| Record::Event(Event { node: node(), ..event_of(warning) }))
            .collect();
        if let Some(log) = self.current_log().filter(|_| !records.is_empty()) {
            log.accept(records);
        }
    }

    fn close_surplus(&mut self, opened: &str) {
        while self.logs.len() > MAX_OPEN {
            let keep = |run: &str| run == opened || self.current.as_deref() == Some(run);
            let Some(run) = self.logs.keys().find(|run| !keep(run)).cloned() else { return };
            if let Some(mut log) = self.logs.remove(&run) {
                log.close();
                self.shown.remove(&run);
            }
        }
    }

    fn current_log(&mut self) -> Option<&mut RunLog> {
        self.logs.get_mut(self.current.as_ref()?)
    }

    fn current_ref(&self) -> Option<&RunLog> {
        self.logs.get(self.current.as_ref()?)
    }

    fn report(&self) {
        self.logs.values().for_each(RunLog::report);
    }
}

/// Starts the thread that processes all records. It ends when `drain` is cancelled and the queue is empty;
/// the logs are on disk then.
pub(crate) fn start(
    place: LogPlace,
    options: ConsumerOptions,
    session: (Board, &str),
    drain: CancellationToken,
) -> std::io::Result<(Ingest, Arc<Shown>, thread::JoinHandle<()>)> {
    let (queue, deliveries) = mpsc::channel(QUEUE_BOUND);
    let shown = Arc::new(Shown::default());
    let logs = RunLogs::new(place, options, session, shown.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let thread = thread::Builder::new()
        .name("wec-log".to_owned())
        .spawn(move || runtime.block_on(logs.keep(deliveries, drain)))?;
    Ok((Ingest::new(queue), shown, thread))
}
