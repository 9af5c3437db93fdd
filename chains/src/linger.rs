//! Keeps challenge data for some time after its authorization is final, because CAs validate from several
//! places and decide before the last validation. One task of the requester removes the data afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use wec_store::{ChallengeData, ChallengeWriter};

/// Largest amount of data kept: that of 10,000 authorizations per second for 10 s, some 30 MiB. More data is
/// removed at once.
const MOST_WAITING: usize = 100_000;
/// Concurrent removals.
const AT_ONCE: usize = 16;

/// Receives challenge data that chains no longer need. Cloned for each of the requester's runtimes.
#[derive(Clone, Debug, Default)]
pub struct Linger {
    queue: Option<mpsc::Sender<Removal>>,
    time: Duration,
    early: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Removal {
    due: Instant,
    data: ChallengeData,
}

impl Linger {
    /// Data is not kept: chains remove it at their ends.
    pub fn none() -> Self {
        Self::default()
    }

    /// Data is kept for `time`, then a task on the current runtime removes it from `writer`.
    pub fn start(time: Duration, writer: Arc<dyn ChallengeWriter>) -> (Self, Remover) {
        Self::bounded(time, writer, MOST_WAITING)
    }

    fn bounded(time: Duration, writer: Arc<dyn ChallengeWriter>, most: usize) -> (Self, Remover) {
        let early = Arc::<AtomicU64>::default();
        let (end, hurry) = (CancellationToken::new(), CancellationToken::new());
        let (queue, waiting) = mpsc::channel(most);
        let task = tokio::spawn(remove(writer, waiting, end.clone(), hurry.clone()));
        let queue = (!time.is_zero()).then_some(queue);
        (Self { queue, time, early: Arc::clone(&early) }, Remover { task, end, hurry, early })
    }

    /// Passes `data` to the task. Returns it if data is not kept, or if too much is kept already, which is
    /// counted.
    pub(crate) fn leave(&self, data: ChallengeData) -> Option<ChallengeData> {
        let Some(queue) = &self.queue else { return Some(data) };
        let due = Instant::now() + self.time;
        match queue.try_send(Removal { due, data }) {
            Ok(()) => None,
            Err(TrySendError::Full(Removal { data, .. })) => {
                if self.early.fetch_add(1, Ordering::Relaxed) == 0 {
                    tracing::warn!(
                        waiting = queue.max_capacity(),
                        "too much challenge data is kept: some is removed early, and a late validation \
                         finds nothing; a shorter --challenge-linger needs less"
                    );
                }
                Some(data)
            }
            Err(TrySendError::Closed(Removal { data, .. })) => Some(data),
        }
    }
}

/// The task that removes data. Its creator ends it after the last chain.
#[derive(Debug)]
pub struct Remover {
    task: JoinHandle<u64>,
    end: CancellationToken,
    hurry: CancellationToken,
    early: Arc<AtomicU64>,
}

impl Remover {
    /// Waits until all data has been removed, after the last chain has ended. When `hurry` completes, the
    /// rest is removed at once.
    pub async fn finish(self, hurry: impl Future<Output = ()>) -> Removed {
        let Self { mut task, end, hurry: now, early } = self;
        end.cancel();
        let ended = tokio::select! {
            ended = &mut task => ended,
            () = hurry => {
                now.cancel();
                task.await
            }
        };
        let failed = ended.unwrap_or_else(|error| {
            tracing::error!(%error, "the task that removes challenge data ended by a panic");
            0
        });
        Removed { early: early.load(Ordering::Relaxed), failed }
    }
}

/// Irregular removals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Data removed at once because too much was kept.
    pub early: u64,
    /// Data that the store did not remove: it stays until the store's own expiry.
    pub failed: u64,
}

/// Removes what is due in the order of arrival, because all data is kept equally long. Returns how often the
/// store refused.
async fn remove(
    writer: Arc<dyn ChallengeWriter>,
    mut waiting: mpsc::Receiver<Removal>,
    end: CancellationToken,
    hurry: CancellationToken,
) -> u64 {
    let mut under_way = JoinSet::new();
    let mut failed = 0;
    let count = |gone: Result<bool, tokio::task::JoinError>| u64::from(!gone.unwrap_or(false));
    loop {
        let next = tokio::select! {
            biased;
            next = waiting.recv() => next,
            Some(gone) = under_way.join_next() => {
                failed += count(gone);
                continue;
            }
            () = end.cancelled(), if !waiting.is_closed() => {
                // Data that has arrived is still delivered.
                waiting.close();
                continue;
            }
        };
        let Some(Removal { due, data }) = next else { break };
        tokio::select! {
            () = sleep_until(due) => {}
            () = hurry.cancelled() => {}
        }
        while under_way.len() >= AT_ONCE
            && let Some(gone) = under_way.join_next().await
        {
            failed += count(gone);
        }
        let writer = Arc::clone(&writer);
        under_way.spawn(async move { take_back(&*writer, &data).await });
    }
    while let Some(gone) = under_way.join_next().await {
        failed += count(gone);
    }
    failed
}

/// Whether the store has removed it.
pub(crate) async fn take_back(writer: &dyn ChallengeWriter, data: &ChallengeData) -> bool {
    let Err(error) = writer.remove(data).await else { return true };
    tracing::warn!(name = %data.name, %error, "cannot remove challenge data");
    false
}

#[cfg(test)]
mod tests {
    use wec_record::ChallengeType;
    use wec_store::{ChallengeReader as _, MemoryChallenges};

    use super::*;

    async fn put(store: &MemoryChallenges, token: &str) -> ChallengeData {
        let data = ChallengeData {
            kind: ChallengeType::Http01,
            name: "a.test".into(),
            token: token.into(),
            key_authorization: format!("{token}.thumb"),
        };
        store.put(&data).await.unwrap();
        data
    }

    async fn has(store: &MemoryChallenges, token: &str) -> bool {
        store.http01("a.test", token).await.unwrap().is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn data_stays_for_its_time_and_is_then_removed() {
        let store = Arc::new(MemoryChallenges::new());
        let (linger, remover) = Linger::start(Duration::from_secs(10), Arc::clone(&store) as _);
        assert!(linger.leave(put(&store, "a").await).is_none());
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert!(linger.leave(put(&store, "b").await).is_none());
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(has(&store, "a").await && has(&store, "b").await);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(!has(&store, "a").await && has(&store, "b").await);
        // The end waits for the remaining data.
        assert_eq!(remover.finish(std::future::pending()).await, Removed::default());
        assert!(store.is_empty());
        let late = put(&store, "c").await;
        assert_eq!(linger.leave(late.clone()), Some(late), "after the end nothing removes data");
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancelled_end_removes_all_data_at_once() {
        let store = Arc::new(MemoryChallenges::new());
        let (linger, remover) = Linger::start(Duration::from_secs(3600), Arc::clone(&store) as _);
        for token in ["a", "b", "c"] {
            assert!(linger.leave(put(&store, token).await).is_none());
        }
        let began = Instant::now();
        remover.finish(std::future::ready(())).await;
        assert!(store.is_empty() && began.elapsed() < Duration::from_secs(3600));
    }

    #[tokio::test(start_paused = true)]
    async fn data_beyond_the_bound_is_returned_and_counted() {
        let store = Arc::new(MemoryChallenges::new());
        let (linger, remover) = Linger::bounded(Duration::from_secs(10), Arc::clone(&store) as _, 2);
        let mut returned = 0;
        for token in ["a", "b", "c", "d"] {
            returned += u64::from(linger.leave(put(&store, token).await).is_some());
        }
        assert!(returned >= 1);
        assert_eq!(remover.finish(std::future::pending()).await, Removed { early: returned, failed: 0 });
    }

    #[tokio::test]
    async fn without_a_linger_time_the_chain_removes_its_data() {
        let store = Arc::new(MemoryChallenges::new());
        let (linger, remover) = Linger::start(Duration::ZERO, Arc::clone(&store) as _);
        let data = put(&store, "a").await;
        assert_eq!(linger.leave(data.clone()), Some(data));
        assert_eq!(remover.finish(std::future::pending()).await, Removed::default());
    }
}
