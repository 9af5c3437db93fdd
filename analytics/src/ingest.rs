//! The way of every record: a bounded queue, then one thread (`runs/run_logs.rs`) that logs and counts.
//!
//! One thread, so that the log's order is the order of counting, and so that neither the disk nor JSON ever holds
//! up a runtime that makes load.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use wec_proto::results as wire;
use wec_record::{Record, RunHeader};

use crate::log::LogError;

/// Batches that may wait. A batch is what a sender collected in some 50 ms.
pub(crate) const QUEUE_BOUND: usize = 256;

/// What travels through the queue.
pub(crate) enum Delivery {
    /// A run of this process begins.
    Begin { header: RunHeader, opened: oneshot::Sender<Result<(), LogError>> },
    /// From this process: never comes twice.
    Local(Vec<Record>),
    /// From another: may come again.
    Remote { batch: wire::Batch, answer: Arc<Answer> },
}

/// Where a stream's acknowledgements go; only the latest matters.
pub(crate) type Answer = watch::Sender<Answered>;

/// What a stream has been told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Answered {
    /// Nothing yet.
    #[default]
    Nothing,
    /// Everything up to this number is in the log.
    Through(u64),
    /// A batch was not taken; the stream is over.
    Refused(Refusal),
}

/// Why a batch was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// Try again later.
    #[error("{0}")]
    NotNow(String),
    /// The sender is at fault; trying again would end the same.
    #[error("{0}")]
    Never(String),
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

    pub(crate) fn waiting(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }
}

fn returned(delivery: Delivery) -> Vec<Record> {
    match delivery {
        Delivery::Local(records) => records,
        Delivery::Begin { .. } | Delivery::Remote { .. } => Vec::new(),
    }
}
