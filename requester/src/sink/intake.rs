//! The near end of a sink: where many workers leave results, and one pump fetches them.
//!
//! The pump looks in by a clock rather than being woken for each result: waking costs more than a result does.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use wec_record::{ChainResult, LoadSample, StateCounts};

/// How often the pump looks in.
pub(super) const COLLECT_EVERY: Duration = Duration::from_millis(50);
/// Entries in a batch, and how many make the pump look in early.
pub(super) const BATCH: usize = 512;
/// Entries that wait for a pump that is held up. 10,000 a second fit for some 6 s.
pub(super) const BOUND: usize = 1 << 16;

/// Something on its way to analytics.
#[derive(Debug)]
pub(super) enum Entry {
    Chain(ChainResult),
    State { at_unix_ns: u64, counts: StateCounts },
    Load { at_unix_ns: u64, load: LoadSample },
}

impl Entry {
    pub(super) const fn is_result(&self) -> bool {
        matches!(self, Self::Chain(_))
    }
}

#[derive(Debug, Default)]
pub(super) struct Intake {
    waiting: Mutex<Waiting>,
    early: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    entries: Vec<Entry>,
    pushed: u64,
    lost: u64,
}

impl Intake {
    pub(super) fn push(&self, entry: Entry) {
        let mut waiting = self.lock();
        let is_result = entry.is_result();
        waiting.pushed += u64::from(is_result);
        if waiting.entries.len() >= BOUND {
            waiting.lost += u64::from(is_result);
            return;
        }
        waiting.entries.push(entry);
        if waiting.entries.len() == BATCH {
            self.early.notify_one();
        }
    }

    /// Takes all that waits, and how many results have been dropped since the last time.
    pub(super) fn collect(&self) -> (Vec<Entry>, u64) {
        let mut waiting = self.lock();
        let room = Vec::with_capacity(waiting.entries.len().min(BATCH));
        (std::mem::replace(&mut waiting.entries, room), std::mem::take(&mut waiting.lost))
    }

    /// Comes back when a batch is full.
    pub(super) async fn filled(&self) {
        self.early.notified().await;
    }

    /// Results handed over so far, those waiting here, and those dropped here that nobody has collected.
    pub(super) fn counts(&self) -> (u64, u64, u64) {
        let waiting = self.lock();
        let results = waiting.entries.iter().filter(|entry| entry.is_result()).count();
        (waiting.pushed, results as u64, waiting.lost)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_and_counts_what_does_not_fit() {
        let intake = Intake::default();
        for _ in 0..BOUND + 3 {
            intake.push(Entry::Chain(ChainResult::default()));
        }
        assert_eq!(intake.counts(), (BOUND as u64 + 3, BOUND as u64, 3));
        let (entries, lost) = intake.collect();
        assert_eq!((entries.len(), lost), (BOUND, 3));
        intake.push(Entry::Chain(ChainResult::default()));
        assert_eq!(intake.collect().0.len(), 1);
        assert_eq!(intake.counts(), (BOUND as u64 + 4, 0, 0));
    }

    #[tokio::test]
    async fn a_full_batch_is_told_at_once() {
        let intake = Intake::default();
        for _ in 0..BATCH {
            intake.push(Entry::Chain(ChainResult::default()));
        }
        intake.filled().await;
    }
}
