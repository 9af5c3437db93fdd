//! The input of a sink: many workers put records into it, and one pump collects them.
//!
//! The first record wakes the pump; it waits a little for others and takes all of them. A wake-up per record would
//! cost more than the record, and regular wake-ups would cost CPU while nothing happens.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use wec_record::{ChainResult, Event, LoadSample, StateCounts, ValidationHit};

use crate::Health;
use crate::losses::Losses;

/// How long records gather after the first of a batch.
pub(crate) const GATHER: Duration = Duration::from_millis(100);
/// Entries in a batch; this many make the pump take them early.
pub(crate) const BATCH: usize = 512;
/// Entries that can wait for a delayed pump. This is some 6 s of 10,000 per second.
pub(crate) const BOUND: usize = 1 << 16;
/// Why records are dropped here.
pub(crate) const FULL: &str = "the queue in memory was full";

/// A record to be delivered to analytics.
#[derive(Debug)]
pub enum Entry {
    /// A chain's result.
    Chain(ChainResult),
    /// Counts of the state and of workers.
    State {
        /// When, by the wall clock.
        at_unix_ns: u64,
        /// The counts.
        counts: StateCounts,
    },
    /// Targets and results of the load, and whether the node kept up.
    Load {
        /// When, by the wall clock.
        at_unix_ns: u64,
        /// The sample.
        load: LoadSample,
    },
    /// A validation that arrived.
    Hit(ValidationHit),
    /// What the process warned of; its node and number are set on delivery.
    Event(Box<Event>),
    /// Records that will never arrive.
    Lost {
        /// When this was found, by the wall clock.
        at_unix_ns: u64,
        /// How many results or hits.
        count: u64,
        /// The reason, for people.
        why: String,
    },
}

impl Entry {
    /// Whether a loss of it is counted.
    pub(crate) const fn is_counted(&self) -> bool {
        matches!(self, Self::Chain(_) | Self::Hit(_))
    }
}

#[derive(Debug, Default)]
pub(crate) struct Intake {
    waiting: Mutex<Waiting>,
    /// The first record has come.
    first: Notify,
    /// A batch is full.
    full: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    entries: Vec<Entry>,
    /// When the first waiting record came.
    since: Option<Instant>,
    pushed: u64,
    lost: Losses,
}

/// Results and hits so far, those that wait here, and losses that nobody has collected yet.
#[derive(Debug, PartialEq, Eq)]
struct Counts {
    pushed: u64,
    waiting: u64,
    lost: Losses,
}

impl Intake {
    pub(crate) fn push(&self, entry: Entry) {
        let mut waiting = self.lock();
        let counted = u64::from(entry.is_counted());
        waiting.pushed += counted;
        if waiting.entries.len() >= BOUND {
            waiting.lost.add(counted, FULL);
            return;
        }
        waiting.entries.push(entry);
        let length = waiting.entries.len();
        self.begin(waiting);
        if length == BATCH {
            self.full.notify_one();
        }
    }

    /// Counts records that were lost earlier.
    pub(crate) fn lose(&self, count: u64, why: &str) {
        let mut waiting = self.lock();
        waiting.pushed += count;
        waiting.lost.add(count, why);
        if count > 0 {
            self.begin(waiting);
        }
    }

    fn begin(&self, mut waiting: MutexGuard<'_, Waiting>) {
        if waiting.since.is_none() {
            waiting.since = Some(Instant::now());
            drop(waiting);
            self.first.notify_one();
        }
    }

    /// Takes everything that waits, and the losses since the last call.
    pub(crate) fn collect(&self) -> (Vec<Entry>, Losses) {
        let mut waiting = self.lock();
        waiting.since = None;
        let room = Vec::with_capacity(waiting.entries.len().min(BATCH));
        (std::mem::replace(&mut waiting.entries, room), std::mem::take(&mut waiting.lost))
    }

    /// Returns when a batch is full, or [`GATHER`] after its first record. Dropping it loses nothing.
    pub(crate) async fn gathered(&self) {
        loop {
            let since = self.lock().since;
            let Some(since) = since else {
                self.first.notified().await;
                continue;
            };
            return tokio::select! {
                () = self.full.notified() => {}
                () = sleep_until(since + GATHER) => {}
            };
        }
    }

    /// The state of the delivery: what is here, and what the pump has reported of the rest.
    pub(crate) fn health(&self, told: &Mutex<Health>) -> Health {
        let Counts { pushed, waiting, lost } = self.counts();
        let told = told.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let lost_why = lost.last_why().map(str::to_owned).or(told.lost_why);
        Health { pushed, queued: told.queued + waiting, lost: told.lost + lost.total(), lost_why, ..told }
    }

    fn counts(&self) -> Counts {
        let waiting = self.lock();
        let counted = waiting.entries.iter().filter(|entry| entry.is_counted()).count();
        Counts { pushed: waiting.pushed, waiting: counted as u64, lost: waiting.lost.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(intake: &Intake) -> (u64, u64, u64) {
        let Counts { pushed, waiting, lost } = intake.counts();
        (pushed, waiting, lost.total())
    }

    #[test]
    fn drops_and_counts_what_does_not_fit() {
        let intake = Intake::default();
        for _ in 0..BOUND + 3 {
            intake.push(Entry::Chain(ChainResult::default()));
        }
        assert_eq!(counts(&intake), (BOUND as u64 + 3, BOUND as u64, 3));
        let (entries, lost) = intake.collect();
        assert_eq!((entries.len(), lost.total(), lost.last_why()), (BOUND, 3, Some(FULL)));
        intake.push(Entry::Chain(ChainResult::default()));
        assert_eq!(intake.collect().0.len(), 1);
        assert_eq!(counts(&intake), (BOUND as u64 + 4, 0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_batch_wakes_the_pump_at_once() {
        let (intake, began) = (Intake::default(), Instant::now());
        for _ in 0..BATCH {
            intake.push(Entry::Chain(ChainResult::default()));
        }
        intake.gathered().await;
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_partial_batch_wakes_the_pump_once_after_its_time() {
        let intake = Intake::default();
        let wait = |seconds| tokio::time::timeout(Duration::from_secs(seconds), intake.gathered());
        assert!(wait(3_600).await.is_err(), "there is nothing to deliver");
        let began = Instant::now();
        intake.push(Entry::Load { at_unix_ns: 1, load: LoadSample::default() });
        // A caller that waits for several events drops one wait and starts another.
        assert!(tokio::time::timeout(GATHER / 2, intake.gathered()).await.is_err());
        intake.gathered().await;
        assert_eq!(began.elapsed(), GATHER);
        intake.collect();
        assert!(wait(3_600).await.is_err());
        intake.lose(2, "elsewhere");
        intake.gathered().await;
        assert_eq!(intake.collect().1.last_why(), Some("elsewhere"));
    }
}
