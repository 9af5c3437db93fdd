//! The path of every record: a bounded queue, then one thread (`runs/run_logs.rs`) that logs and counts it.
//!
//! With one thread the order in the log is the order of counting, and neither the disk nor JSON blocks a
//! runtime that makes load.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use wec_proto::results as wire;
use wec_record::{Record, RunHeader};

use crate::log::LogError;

/// Batches in the queue. A sender collects a batch in about 100 ms.
pub(crate) const QUEUE_BOUND: usize = 256;

/// An entry of the queue.
pub(crate) enum Delivery {
    /// A run of this process begins.
    Begin { header: RunHeader, opened: oneshot::Sender<Result<(), LogError>> },
    /// From this process: never repeated.
    Local(Vec<Record>),
    /// From this process, for the run with this id.
    Of { run: String, records: Vec<Record> },
    /// From another process: may be repeated.
    Remote { batch: wire::Batch, answer: Arc<Answer> },
}

/// Receives a stream's acknowledgements; only the latest matters.
pub(crate) type Answer = watch::Sender<Answered>;

/// The latest answer on a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Answered {
    /// Nothing yet.
    #[default]
    Nothing,
    /// Everything up to this number is in the log.
    Through(u64),
    /// A batch was refused; the stream is over.
    Refused(RefusedBatch),
}

/// Why a batch was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RefusedBatch {
    /// Try again later.
    #[error("{0}")]
    NotNow(String),
    /// The sender is at fault; another attempt would also fail.
    #[error("{0}")]
    Never(String),
}

/// The entry point for records of the same process. Clones share one queue.
#[derive(Clone, Debug)]
pub struct Ingest {
    queue: mpsc::Sender<Delivery>,
}

impl Ingest {
    pub(crate) const fn new(queue: mpsc::Sender<Delivery>) -> Self {
        Self { queue }
    }

    /// Begins a run, or continues it if its log exists. Records delivered afterwards belong to it.
    ///
    /// # Errors
    /// When the log cannot be written, or belongs to another run.
    pub async fn begin(&self, header: RunHeader) -> Result<(), LogError> {
        let (opened, outcome) = oneshot::channel();
        let sent = self.queue.send(Delivery::Begin { header, opened }).await.is_ok();
        match outcome.await {
            Ok(outcome) if sent => outcome,
            _ => Err(LogError::Ended),
        }
    }

    /// Delivers records of the current run without waiting.
    ///
    /// # Errors
    /// When the queue is full or analytics has ended, the records are returned.
    pub fn try_deliver(&self, records: Vec<Record>) -> Result<(), Vec<Record>> {
        self.queue.try_send(Delivery::Local(records)).map_err(|refused| returned(refused.into_inner()))
    }

    /// Delivers records, and waits while the queue is full.
    ///
    /// # Errors
    /// When analytics has ended, the records are returned.
    pub async fn deliver(&self, records: Vec<Record>) -> Result<(), Vec<Record>> {
        self.queue.send(Delivery::Local(records)).await.map_err(|refused| returned(refused.0))
    }

    /// Delivers records of a run, and waits while the queue is full.
    ///
    /// # Errors
    /// When analytics has ended, the records are returned.
    pub(crate) async fn deliver_of(&self, run: String, records: Vec<Record>) -> Result<(), Vec<Record>> {
        self.queue.send(Delivery::Of { run, records }).await.map_err(|refused| returned(refused.0))
    }

    pub(crate) async fn deliver_batch(&self, batch: wire::Batch, answer: Arc<Answer>) -> bool {
        self.queue.send(Delivery::Remote { batch, answer }).await.is_ok()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }
}

fn returned(delivery: Delivery) -> Vec<Record> {
    match delivery {
        Delivery::Local(records) | Delivery::Of { records, .. } => records,
        Delivery::Begin { .. } | Delivery::Remote { .. } => Vec::new(),
    }
}
