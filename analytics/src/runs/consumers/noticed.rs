//! `Noticed`: posts a notice when a run has ended, for a service that outlives its runs.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use wec_consumer::{ClientOptions, notify};
use wec_figures::outcome::outcome;
use wec_outbound::Endpoint;
use wec_record::{Record, RunOutcome};
use wec_startup::Exit;

use super::LAST_RESULTS;
use crate::consume::RecordConsumer;
use crate::notice::{NoticeDetails, notice, page_link};
use crate::runs::{LiveRun, Run as _};

/// Where the notices of a process go, and the tasks that post them.
#[derive(Clone, Debug)]
pub struct Notices {
    webhook: Endpoint,
    page_url: Option<Endpoint>,
    /// Where the page listens, and whether it has TLS.
    listens: (SocketAddr, bool),
    /// The log thread has no runtime for connections.
    runtime: Handle,
    tasks: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl Notices {
    /// For the webhook in the options, if there is one. The page listens at this address, with or without TLS. Must be
    /// called within a tokio runtime.
    pub(crate) fn start(options: &ClientOptions, listens: (SocketAddr, bool)) -> Option<Self> {
        let webhook = options.webhook.clone()?;
        let (page_url, runtime, tasks) = (options.page_url.clone(), Handle::current(), Arc::default());
        Some(Self { webhook, page_url, listens, runtime, tasks })
    }

    /// The consumer of the records of one run, which another consumer counts before it.
    pub(crate) fn of(&self, run: Arc<LiveRun>) -> Noticed {
        Noticed { notices: self.clone(), run, last_record: Instant::now(), over: false }
    }

    fn post(&self, run: &LiveRun) {
        let (snapshot, stopped) = {
            let figures = run.figures().lock();
            (figures.snapshot(), figures.is_stopped())
        };
        if snapshot.run.id.is_empty() {
            return;
        }
        let exit = match outcome(&snapshot) {
            RunOutcome::Passed if stopped => Exit::Passed,
            RunOutcome::Failed | RunOutcome::Empty if stopped => Exit::Failed,
            // The service may also end before the run.
            _ => Exit::Interrupted,
        };
        let health = run.health();
        let details = NoticeDetails {
            error: health.log_error.map(|error| format!("the log is not complete: {error}")),
            log: health.log,
            page: page_link(self.page_url.as_ref().map(Endpoint::url), Some(self.listens), &snapshot.run.id),
        };
        let (webhook, text) = (self.webhook.clone(), notice(&snapshot, exit, &details));
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.retain(|task| !task.is_finished());
        tasks.push(self.runtime.spawn(async move { notify(&webhook, &text).await }));
    }

    /// Waits until all notices have been posted or given up. The runs must be closed.
    pub(crate) async fn finish(&self) {
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            // The panic hook has reported a panic.
            let _ = task.await;
        }
    }
}

/// Posts the notice of one run, once.
#[derive(Debug)]
pub(crate) struct Noticed {
    notices: Notices,
    run: Arc<LiveRun>,
    last_record: Instant,
    /// The notice is posted.
    over: bool,
}

impl RecordConsumer for Noticed {
    /// The process that wrote the footer of a run that has ended has posted its notice.
    fn known(&mut self, record: &Record) {
        self.over |= matches!(record, Record::Footer(_)) && self.run.figures().lock().is_stopped();
    }

    fn take(&mut self, _: &[Record]) {
        self.last_record = Instant::now();
    }

    fn flush(&mut self) {
        if !self.over && self.last_record.elapsed() > LAST_RESULTS && self.run.figures().lock().is_stopped() {
            self.end();
        }
    }

    fn close(&mut self) {
        self.end();
    }
}

impl Noticed {
    fn end(&mut self) {
        if !std::mem::replace(&mut self.over, true) {
            self.notices.post(&self.run);
        }
    }
}
