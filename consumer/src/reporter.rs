//! `RunReporter`: reports a run to a consumer, beside the run. An unreachable consumer does not affect the
//! run: the reports that it misses are counted, and their number is reported at the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use wec_record::RequestStats;

use crate::client::{ClientError, ConsumerClient, RunStart};

/// Reports that may wait: a quarter of an hour of them.
const QUEUE: usize = 64;
/// Time limit for sending the result after the end of the run.
const RESULT_WITHIN: Duration = Duration::from_secs(5);
/// Pause between two attempts to send it.
const PAUSE: Duration = Duration::from_millis(500);

/// What happened in a run.
#[derive(Clone, Debug, PartialEq)]
pub enum RunReport {
    /// It began.
    Started(RunStart),
    /// It continues.
    Update(u64, RequestStats),
    /// It ended.
    Ended(u64, RequestStats),
}

/// Reports one run from a task of its own.
#[derive(Debug)]
pub struct RunReporter {
    queue: mpsc::Sender<RunReport>,
    missed: Arc<AtomicU64>,
}

impl RunReporter {
    /// Starts the task in this runtime. The task ends after [`RunReport::Ended`], or when the reporter is dropped.
    pub fn start(client: ConsumerClient, runtime: &Handle) -> (Self, JoinHandle<()>) {
        // One more place is for the result.
        let (queue, reports) = mpsc::channel(QUEUE + 1);
        let missed = Arc::new(AtomicU64::new(0));
        let task = runtime.spawn(report(client, reports, Arc::clone(&missed)));
        (Self { queue, missed }, task)
    }

    /// Queues a report. Never waits.
    pub fn send(&self, report: RunReport) {
        let is_last = matches!(report, RunReport::Ended(..));
        if !is_last && self.queue.capacity() <= 1 || self.queue.try_send(report).is_err() {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What is known of one run and its consumer.
struct Reporting {
    client: ConsumerClient,
    start: Option<RunStart>,
    uuid: Option<String>,
    missed: Arc<AtomicU64>,
    /// Whether the latest request failed.
    unavailable: bool,
    why: String,
}

async fn report(client: ConsumerClient, mut reports: mpsc::Receiver<RunReport>, missed: Arc<AtomicU64>) {
    let mut run =
        Reporting { client, start: None, uuid: None, missed, unavailable: false, why: String::new() };
    while let Some(report) = reports.recv().await {
        match report {
            RunReport::Started(start) => {
                run.start = Some(start);
                // The first update tries again.
                let _ = run.registered().await;
            }
            RunReport::Update(at, stats) => {
                if run.update(at, &stats).await.is_err() {
                    run.missed.fetch_add(1, Ordering::Relaxed);
                }
            }
            RunReport::Ended(at, stats) => {
                let committed = run.commit(at, &stats).await;
                run.conclude(committed);
                return;
            }
        }
    }
}

impl Reporting {
    /// The job's uuid; registers the run if it has none.
    async fn registered(&mut self) -> Result<String, ClientError> {
        if let Some(uuid) = &self.uuid {
            return Ok(uuid.clone());
        }
        let start = self
            .start
            .as_ref()
            .ok_or_else(|| ClientError::Unavailable("the run has not begun".to_owned()))?;
        let registered = self.client.register(start).await;
        self.uuid = self.noted(registered).ok();
        self.uuid.clone().ok_or_else(|| ClientError::Unavailable(self.why.clone()))
    }

    async fn update(&mut self, at: u64, stats: &RequestStats) -> Result<(), ClientError> {
        let uuid = self.registered().await?;
        let updated = self.client.update(&uuid, at, stats).await;
        match self.noted(updated) {
            // The consumer has lost the job, or ended it.
            Err(ClientError::UnknownJob) => {
                self.uuid = None;
                let uuid = self.registered().await?;
                let updated = self.client.update(&uuid, at, stats).await;
                self.noted(updated)
            }
            other => other,
        }
    }

    /// Sends the result, with retries.
    async fn commit(&mut self, at: u64, stats: &RequestStats) -> Result<(), ClientError> {
        let deadline = Instant::now() + RESULT_WITHIN;
        loop {
            let committed = match self.registered().await {
                Ok(uuid) => {
                    let committed = self.client.commit(&uuid, at, stats).await;
                    self.noted(committed)
                }
                Err(error) => Err(error),
            };
            match committed {
                // The answer to an earlier attempt was lost.
                Ok(()) | Err(ClientError::Committed) => return Ok(()),
                Err(error) if Instant::now() + PAUSE >= deadline => return Err(error),
                Err(ClientError::UnknownJob) => self.uuid = None,
                Err(ClientError::Unavailable(_)) => {}
            }
            sleep(PAUSE).await;
        }
    }

    /// Warns once when the consumer becomes unreachable.
    fn noted<T>(&mut self, result: Result<T, ClientError>) -> Result<T, ClientError> {
        match &result {
            Err(ClientError::Unavailable(why)) => {
                if !self.unavailable {
                    tracing::warn!(
                        "the consumer at {} does not accept reports: {why}",
                        self.client.endpoint()
                    );
                }
                self.why.clone_from(why);
                self.unavailable = true;
            }
            Ok(_) if self.unavailable => {
                tracing::info!("the consumer at {} accepts reports again", self.client.endpoint());
                self.unavailable = false;
            }
            _ => {}
        }
        result
    }

    fn conclude(&self, committed: Result<(), ClientError>) {
        let endpoint = self.client.endpoint();
        let count = self.missed.load(Ordering::Relaxed);
        let missed = match count {
            0 => String::new(),
            1 => "; it also missed 1 report during the run".to_owned(),
            more => format!("; it also missed {more} reports during the run"),
        };
        match committed {
            Err(error) => {
                tracing::warn!("the consumer at {endpoint} has no result of this run: {error}{missed}");
            }
            Ok(()) if count > 0 => {
                tracing::warn!(
                    "the consumer at {endpoint} has the result of this run{missed} ({})",
                    self.why
                );
            }
            Ok(()) => {}
        }
    }
}
