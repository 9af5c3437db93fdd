//! The live runs, as the API reads them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use crate::consume::RecordConsumer;
use wec_figures::families::Family;
use wec_listen::Connections;
use wec_record::{Record, RunHeader};

use super::log_file::LogFile;
use super::written::Written;
use super::{Figures, Run};
use crate::Aggregate;
use crate::ingest::{Ingest, QUEUE_BOUND};
use crate::log::LogError;
use crate::metrics::service_families;
use crate::views::{Health, RunSource};

/// Bytes of the logs of a run that has not ended that are read for a part of it.
pub(super) const READ_BY_WINDOW: u64 = 128 << 20;

/// A run that is receiving results.
#[derive(Debug)]
pub(crate) struct LiveRun {
    figures: Arc<Figures>,
    /// Everything except the queue and the listeners.
    health: Mutex<Health>,
    /// None if its log is read from its start.
    written: Mutex<Option<Written>>,
}

impl LiveRun {
    fn new(number: u64) -> Self {
        let figures = Arc::new(Figures::new(number, Aggregate::default()));
        Self { figures, health: Mutex::default(), written: Mutex::default() }
    }

    /// Its log has begun there: the number of the file, and where the first record starts.
    pub(super) fn begin_log(&self, path: &Path, header: &RunHeader, start: Option<(u64, u64)>) {
        *self.written() = start.map(|(file, _)| Written::new(path, file, header));
    }

    /// These records are in the log between these starts.
    pub(super) fn logged(&self, records: &[Record], from: Option<(u64, u64)>, to: Option<(u64, u64)>) {
        let mut written = self.written();
        let Some(known) = written.as_mut() else { return };
        let kept = match (from, to) {
            (Some((file, start)), Some((same, end))) if file == same => known.take(records, file, start..end),
            _ => false,
        };
        if !kept {
            // The file was moved away, truncated or rotated.
            *written = None;
        }
    }

    fn written(&self) -> MutexGuard<'_, Option<Written>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn figures(&self) -> &Figures {
        &self.figures
    }

    pub(crate) fn report(&self, health: Health) {
        *self.health.lock().unwrap_or_else(PoisonError::into_inner) = health;
    }
}

impl Run for LiveRun {
    fn figures(&self) -> Arc<Figures> {
        Arc::clone(&self.figures)
    }

    fn health(&self) -> Health {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn source(&self) -> RunSource {
        RunSource::Live
    }

    fn part(&self, from_ns: u64, to_ns: u64) -> Option<Result<Aggregate, LogError>> {
        let times = self.figures.lock().sure_times()?.clone();
        let (parts, log) = {
            let written = self.written();
            let known = written.as_ref()?;
            (known.so_far(times.clone())?, LogFile::named(known.path()))
        };
        if parts.length((from_ns, to_ns)) > READ_BY_WINDOW {
            return None;
        }
        let period = (Duration::from_nanos(from_ns), Some(Duration::from_nanos(to_ns)));
        let mut aggregate = Aggregate::of_period(period.0, period.1);
        let read = parts.read(&mut aggregate, &[log], (from_ns, to_ns));
        // The end of the run so far decides the end of a part that is longer.
        aggregate.reach(times.latest());
        Some(read.map(|()| aggregate))
    }
}

/// Figures do not distinguish new records from those read again.
impl RecordConsumer for Arc<LiveRun> {
    fn known(&mut self, record: &Record) {
        self.figures.lock().record(record);
    }

    fn take(&mut self, records: &[Record]) {
        let mut figures = self.figures.lock();
        records.iter().for_each(|record| figures.record(record));
    }
}

/// What the thread that processes records shares with the API.
#[derive(Debug)]
pub(crate) struct Shown {
    /// Number of runs that have been shown or received.
    numbers: AtomicU64,
    /// By id.
    open: Mutex<BTreeMap<String, Arc<LiveRun>>>,
    /// The run that is shown by default: the one that started last. Empty before the first.
    current: Mutex<Arc<LiveRun>>,
    /// The service's listeners, set once.
    listeners: OnceLock<Vec<Arc<Connections>>>,
}

impl Default for Shown {
    fn default() -> Self {
        Self {
            numbers: AtomicU64::new(1),
            open: Mutex::default(),
            current: Mutex::new(Arc::new(LiveRun::new(0))),
            listeners: OnceLock::new(),
        }
    }
}

impl Shown {
    /// The run that started last.
    pub(crate) fn current(&self) -> Arc<LiveRun> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The run with that id, if it is receiving results.
    pub(crate) fn run(&self, id: &str) -> Option<Arc<LiveRun>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// All runs that are receiving results.
    pub(crate) fn runs(&self) -> Vec<Arc<LiveRun>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The workers in that session, over all its runs.
    pub(crate) fn workers_running(&self, session: &str) -> u64 {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let of_session = open.values().map(|run| run.figures.lock());
        let of_session = of_session
            .filter(|figures| figures.header().is_some_and(|header| header.session == session))
            .map(|figures| figures.workers_running());
        of_session.fold(0, u64::saturating_add)
    }

    /// A run's condition, including that of the service.
    pub(crate) fn health(&self, run: &dyn Run, ingest: &Ingest) -> Health {
        let listeners = self.listeners.get().into_iter().flatten();
        Health {
            queued_batches: ingest.waiting() as u64,
            queue_bound: QUEUE_BOUND as u64,
            listeners: listeners.map(|connections| connections.counts()).collect(),
            ..run.health()
        }
    }

    /// The figures of the run that started last, and the condition of the service.
    pub(crate) fn current_families(&self, ingest: &Ingest) -> Vec<Family> {
        self.families(&*self.current(), ingest)
    }

    /// The figures of a run, and the condition of the service.
    pub(crate) fn families(&self, run: &dyn Run, ingest: &Ingest) -> Vec<Family> {
        let figures = run.figures();
        let mut families = figures.lock().families();
        families.extend(service_families(&self.health(run, ingest)));
        families
    }

    pub(crate) fn watch_listeners(&self, listeners: Vec<Arc<Connections>>) {
        // Never set a second time: a service starts once.
        let _ = self.listeners.set(listeners);
    }

    /// A number for a run that can be shown.
    pub(crate) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn new_run(&self) -> Arc<LiveRun> {
        Arc::new(LiveRun::new(self.number()))
    }

    pub(super) fn add(&self, id: &str, run: &Arc<LiveRun>) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned(), run.clone());
    }

    pub(super) fn remove(&self, id: &str) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    pub(super) fn show(&self, run: &Arc<LiveRun>) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = run.clone();
    }

    pub(super) fn fail(&self, error: String) {
        let current = self.current();
        current.report(Health { log_error: Some(error), ..current.health() });
    }
}
