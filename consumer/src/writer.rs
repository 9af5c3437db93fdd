//! `Writer`: writes points in the background, with retries. While the database is unreachable, points wait in a
//! bounded buffer. Dropped points are counted and reported.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::influx::{Influx, WriteError};
use crate::point::Point;

/// Points in one request.
const BATCH: usize = 500;
/// Pauses after a failed request: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(15));

/// Writes points. End it with [`Writer::finish`].
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// The counts of points so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriterCounts {
    /// Points in the database.
    pub written: u64,
    /// Points that were dropped, because the buffer was full or the database refused them.
    pub dropped: u64,
    /// Points that wait.
    pub waiting: u64,
    /// Why the latest failed request failed; none while writing succeeds.
    pub error: Option<String>,
    /// Why the database refused the first point that it refused.
    pub refusal: Option<String>,
}

#[derive(Debug)]
struct Shared {
    place: String,
    bound: usize,
    state: Mutex<State>,
    more: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<String>,
    /// The points of the request in progress.
    in_flight: u64,
    counts: WriterCounts,
}

impl Writer {
    /// Starts writing to `influx` within a tokio runtime. At most `bound` points wait.
    pub fn start(influx: Influx, bound: usize) -> Self {
        let shared = Arc::new(Shared {
            place: influx.place(),
            bound: bound.max(1),
            state: Mutex::default(),
            more: Notify::new(),
        });
        let stop = CancellationToken::new();
        let task = tokio::spawn(keep_writing(Arc::clone(&shared), influx, stop.clone()));
        Self { shared, stop, task }
    }

    /// Queues points. When the buffer is full, the oldest are dropped.
    pub fn push(&self, points: impl IntoIterator<Item = Point>) {
        let mut state = self.shared.lock();
        state.waiting.extend(points.into_iter().map(|point| point.line()));
        let surplus = state.waiting.len().saturating_sub(self.shared.bound);
        state.waiting.drain(..surplus);
        state.counts.dropped += surplus as u64;
        let first = surplus > 0 && state.counts.dropped == surplus as u64;
        drop(state);
        if first {
            let (place, bound) = (&self.shared.place, self.shared.bound);
            tracing::warn!(
                "{bound} points wait for the {place}: the oldest are dropped from now on, and counted"
            );
        }
        self.shared.more.notify_one();
    }

    /// The counts of points so far.
    pub fn counts(&self) -> WriterCounts {
        self.shared.counts()
    }

    /// Writes the waiting points within this time. Those that still wait after it count as dropped.
    pub async fn finish(mut self, within: Duration) -> WriterCounts {
        self.stop.cancel();
        if tokio::time::timeout(within, &mut self.task).await.is_err() {
            self.task.abort();
        }
        let mut counts = self.shared.counts();
        counts.dropped += std::mem::take(&mut counts.waiting);
        if counts.dropped > 0 {
            let why = counts.error.as_deref().or(counts.refusal.as_deref()).unwrap_or("the buffer was full");
            tracing::warn!("{} points did not reach the {}: {why}", counts.dropped, self.shared.place);
        }
        counts
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts(&self) -> WriterCounts {
        let state = self.lock();
        WriterCounts { waiting: state.waiting.len() as u64 + state.in_flight, ..state.counts.clone() }
    }

    /// The oldest points.
    fn batch(&self) -> Vec<String> {
        let mut state = self.lock();
        let count = state.waiting.len().min(BATCH);
        let batch: Vec<String> = state.waiting.drain(..count).collect();
        state.in_flight = batch.len() as u64;
        batch
    }
}

async fn keep_writing(shared: Arc<Shared>, influx: Influx, stop: CancellationToken) {
    loop {
        let batch = shared.batch();
        if batch.is_empty() {
            if stop.is_cancelled() {
                return;
            }
            tokio::select! {
                () = shared.more.notified() => {}
                () = stop.cancelled() => {}
            }
            continue;
        }
        write(&shared, &influx, batch).await;
    }
}

/// Writes a batch. If the database refuses it, its halves are written, so that one wrong point loses no other point.
async fn write(shared: &Shared, influx: &Influx, batch: Vec<String>) {
    let mut parts = vec![batch];
    let mut pause = PAUSES.0;
    while let Some(part) = parts.pop() {
        match influx.write(part.join("\n")).await {
            Ok(()) => {
                let mut state = shared.lock();
                state.in_flight -= part.len() as u64;
                state.counts.written += part.len() as u64;
                let back = state.counts.error.take().is_some();
                drop(state);
                if back {
                    tracing::info!("the {} is written again", shared.place);
                }
                pause = PAUSES.0;
            }
            Err(WriteError::Refused(why)) if part.len() == 1 => {
                let mut state = shared.lock();
                state.in_flight -= 1;
                state.counts.dropped += 1;
                let first = state.counts.refusal.is_none();
                if first {
                    state.counts.refusal = Some(why.clone());
                }
                drop(state);
                if first {
                    tracing::warn!(
                        "the {} refuses a point: {why}; further ones are only counted",
                        shared.place
                    );
                }
            }
            Err(WriteError::Refused(_)) => {
                let mut first = part;
                let second = first.split_off(first.len() / 2);
                parts.extend([second, first]);
            }
            Err(WriteError::Unavailable(why)) => {
                if shared.lock().counts.error.replace(why.clone()).is_none() {
                    tracing::warn!("the {} cannot be written: {why}; points wait", shared.place);
                }
                parts.push(part);
                sleep_until(Instant::now() + pause).await;
                pause = (2 * pause).min(PAUSES.1);
            }
        }
    }
}
