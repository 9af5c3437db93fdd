//! `Noticed`: posts a notice when a run has ended, for a service that outlives its runs.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::runtime::Handle;
use wec_consumer::{ClientOptions, notify};
use wec_figures::outcome::outcome;
use wec_outbound::Endpoint;
use wec_record::{Record, RunOutcome};
use wec_startup::Exit;

use super::ending::{Ending, Tasks};
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
    tasks: Tasks,
}

impl Notices {
    /// For the webhook in the options, if there is one. The page listens at this address, with or without TLS. Must be
    /// called within a tokio runtime.
    pub(crate) fn start(options: &ClientOptions, listens: (SocketAddr, bool)) -> Option<Self> {
        let webhook = options.webhook.clone()?;
        let (page_url, runtime, tasks) = (options.page_url.clone(), Handle::current(), Tasks::default());
        Some(Self { webhook, page_url, listens, runtime, tasks })
    }

    /// The consumer of the records of one run, which another consumer counts before it.
    pub(crate) fn of(&self, run: Arc<LiveRun>) -> Noticed {
        Noticed { notices: self.clone(), run, ending: Ending::new() }
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
        self.tasks.add(self.runtime.spawn(async move { notify(&webhook, &text).await }));
    }

    /// Waits until all notices have been posted or given up. The runs must be closed.
    pub(crate) async fn finish(&self) {
        for task in self.tasks.take() {
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
    ending: Ending,
}

impl RecordConsumer for Noticed {
    /// The process that wrote the footer of a run that has ended has posted its notice.
    fn known(&mut self, record: &Record) {
        if matches!(record, Record::Footer(_)) && self.run.figures().lock().is_stopped() {
            self.ending.take();
        }
    }

    fn take(&mut self, _: &[Record]) {
        self.ending.heard();
    }

    fn flush(&mut self) {
        if self.ending.is_there(&self.run) {
            self.end();
        }
    }

    fn close(&mut self) {
        self.end();
    }
}

impl Noticed {
    fn end(&mut self) {
        if self.ending.take() {
            self.notices.post(&self.run);
        }
    }
}
