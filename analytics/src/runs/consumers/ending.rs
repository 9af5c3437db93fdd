//! What consumers share that report the end of a run: when it is there, once, and the tasks that report it.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::runs::LiveRun;

/// A run that was stopped gets its last results within this time.
const LAST_RESULTS: Duration = Duration::from_secs(10);

/// Whether the end of a run is there, for a service that outlives its runs.
#[derive(Debug)]
pub(super) struct Ending {
    last_record: Instant,
    /// The end is reported.
    over: bool,
}

impl Ending {
    pub(super) fn new() -> Self {
        Self { last_record: Instant::now(), over: false }
    }

    /// Records have arrived.
    pub(super) fn heard(&mut self) {
        self.last_record = Instant::now();
    }

    pub(super) const fn is_over(&self) -> bool {
        self.over
    }

    /// Whether the end is to be reported: the run was stopped, and nothing arrives any more.
    pub(super) fn is_there(&self, run: &LiveRun) -> bool {
        !self.over && self.last_record.elapsed() > LAST_RESULTS && run.figures().lock().is_stopped()
    }

    /// Notes that the end is reported. Returns whether it had not been.
    pub(super) const fn take(&mut self) -> bool {
        !mem::replace(&mut self.over, true)
    }
}

/// The tasks of a process that have not ended.
#[derive(Clone, Debug, Default)]
pub(super) struct Tasks(Arc<Mutex<Vec<JoinHandle<()>>>>);

impl Tasks {
    pub(super) fn add(&self, task: JoinHandle<()>) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.retain(|task| !task.is_finished());
        tasks.push(task);
    }

    pub(super) fn take(&self) -> Vec<JoinHandle<()>> {
        mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
