//! `Reported`: counts a live run, and reports it to a consumer.

use std::sync::Arc;
use std::time::Duration;

use crate::consume::RecordConsumer;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};
use wec_consumer::{ClientOptions, ConsumerClient, RunReporter};
use wec_record::Record;

use super::RunReports;
use super::ending::{Ending, Tasks};
use crate::runs::LiveRun;

/// Time for the reports of all runs when analytics ends.
const LAST_REPORTS: Duration = Duration::from_secs(15);

/// Where the runs of a process are reported to, and the tasks that do it.
#[derive(Clone, Debug)]
pub struct Reporters {
    client: ConsumerClient,
    interval: Duration,
    /// The log thread has no runtime for connections.
    runtime: Handle,
    tasks: Tasks,
}

impl Reporters {
    /// For the consumer in the options, if there is one. Must be called within a tokio runtime.
    pub(crate) fn start(options: &ClientOptions) -> Option<Self> {
        let endpoint = options.consumer.clone()?;
        match ConsumerClient::new(endpoint, options.consumer_token.clone()) {
            Ok(client) => Some(Self {
                client,
                interval: options.interval(),
                runtime: Handle::current(),
                tasks: Tasks::default(),
            }),
            Err(error) => {
                tracing::warn!("runs are not reported to the consumer: {error}");
                None
            }
        }
    }

    /// The consumer of the records of one run.
    pub(crate) fn report(&self, run: Arc<LiveRun>) -> Reported {
        let (reporter, task) = RunReporter::start(self.client.clone(), &self.runtime);
        self.tasks.add(task);
        Reported { run, reports: RunReports::new(self.interval), reporter, ending: Ending::new() }
    }

    /// Waits until all results have been brought, but not long. The runs must be closed.
    pub(crate) async fn finish(&self) {
        let deadline = Instant::now() + LAST_REPORTS;
        for mut task in self.tasks.take() {
            if timeout(deadline.saturating_duration_since(Instant::now()), &mut task).await.is_err() {
                task.abort();
                tracing::warn!(
                    "the consumer at {} has no result of a run: it is too slow",
                    self.client.endpoint()
                );
            }
        }
    }
}

/// Counts the records of a run, and cuts its reports between them.
#[derive(Debug)]
pub(crate) struct Reported {
    run: Arc<LiveRun>,
    reports: RunReports,
    reporter: RunReporter,
    ending: Ending,
}

impl RecordConsumer for Reported {
    /// Of what the log had before a restart, only the start is reported again: the job continues.
    fn known(&mut self, record: &Record) {
        let report = self.reports.before(record, &self.run.figures().lock());
        if let Some(start @ wec_consumer::RunReport::Started(_)) = report {
            self.reporter.send(start);
        }
        self.run.known(record);
    }

    fn take(&mut self, records: &[Record]) {
        let mut figures = self.run.figures().lock();
        for record in records {
            if let Some(report) = self.reports.before(record, &figures).filter(|_| !self.ending.is_over()) {
                self.reporter.send(report);
            }
            figures.record(record);
        }
        drop(figures);
        self.ending.heard();
    }

    /// A service outlives its runs: the result of a stopped one is reported when nothing arrives any more.
    fn flush(&mut self) {
        if self.ending.is_there(&self.run) {
            self.end();
        }
    }

    fn close(&mut self) {
        self.end();
    }
}

impl Reported {
    fn end(&mut self) {
        if !self.ending.take() {
            return;
        }
        if let Some(result) = self.reports.result(&self.run.figures().lock()) {
            self.reporter.send(result);
        }
    }
}
