//! A fixed number of iterations, shared by the workers of all runtimes: exactly so many run, then their executors end.
//!
//! The executor is [`Workers`](super::Workers); its workers take each iteration from a [`Quota`].

use std::sync::Arc;

use tokio::sync::watch;

/// Iterations that may still be run.
#[derive(Debug)]
pub struct Quota(watch::Sender<Left>);

#[derive(Clone, Copy, Debug)]
pub(super) struct Left {
    /// Not taken by any worker.
    free: u64,
    /// Not used: free, or taken and not ended.
    unused: u64,
}

impl Quota {
    /// A quota of so many.
    pub fn new(iterations: u64) -> Arc<Self> {
        Arc::new(Self(watch::Sender::new(Left { free: iterations, unused: iterations })))
    }

    /// How many no worker has taken.
    pub fn free(&self) -> u64 {
        self.0.borrow().free
    }

    /// Whether every one has been used.
    pub fn is_used_up(&self) -> bool {
        self.0.borrow().unused == 0
    }

    /// Takes one to use. One that finds nothing to do keeps it and tries again with it.
    pub(super) fn take(self: &Arc<Self>) -> Option<Ticket> {
        let mut taken = false;
        // Those who wait want to know of more, not of less.
        self.0.send_if_modified(|left| {
            taken = left.free > 0;
            left.free = left.free.saturating_sub(1);
            false
        });
        taken.then(|| Ticket { quota: Arc::clone(self), used: false })
    }

    /// Tells when one was given back, and when all are used up.
    pub(super) fn watch(&self) -> watch::Receiver<Left> {
        self.0.subscribe()
    }
}

/// The right to one iteration. Not used, it goes back: its worker was dismissed before it found something to do.
#[derive(Debug)]
pub(super) struct Ticket {
    quota: Arc<Quota>,
    used: bool,
}

impl Ticket {
    pub(super) fn used(mut self) {
        self.used = true;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // A panic is a bug in a chain, and repeating it would end never.
        let used = self.used || std::thread::panicking();
        self.quota.0.send_if_modified(|left| {
            if used {
                left.unused -= 1;
            } else {
                left.free += 1;
            }
            !used || left.unused == 0
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use tokio::task::JoinSet;
    use tokio_util::sync::CancellationToken;
    use wec_startup::Stop;

    use super::super::{BoxFuture, Gauges, Habits, Iterated, VirtualUser, Workers, Workforce};
    use super::*;

    /// Ten milliseconds of work; every `idle_every`-th ask finds nothing.
    struct Shift {
        asked: AtomicU32,
        idle_every: u32,
    }

    struct Hand(Arc<Shift>);

    impl Workforce for Arc<Shift> {
        fn worker(&self, _number: u32) -> Box<dyn VirtualUser> {
            Box::new(Hand(Self::clone(self)))
        }
    }

    impl VirtualUser for Hand {
        fn iterate<'a>(
            &'a mut self,
            _due: Option<u64>,
            cut: &'a CancellationToken,
        ) -> BoxFuture<'a, Iterated> {
            Box::pin(async move {
                let asked = self.0.asked.fetch_add(1, Ordering::SeqCst);
                if asked % self.0.idle_every == self.0.idle_every - 1 {
                    return Iterated::Idle;
                }
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_millis(10)) => {}
                    () = cut.cancelled() => {}
                }
                Iterated::Answered { requests: 3 }
            })
        }
    }

    struct Running {
        gauges: Arc<Gauges>,
        target: watch::Sender<u32>,
        quota: Arc<Quota>,
        stop: Stop,
        tasks: JoinSet<()>,
    }

    fn start(iterations: u64, workers: u32, runtimes: u32, idle_every: u32) -> Running {
        let shift = Arc::new(Shift { asked: AtomicU32::new(0), idle_every });
        let (target, followed) = watch::channel(workers);
        let (gauges, stop, quota) = (Arc::new(Gauges::default()), Stop::default(), Quota::new(iterations));
        let mut tasks = JoinSet::new();
        for place in 0..runtimes {
            let workers = Workers {
                workforce: Arc::new(Arc::clone(&shift)),
                gauges: Arc::clone(&gauges),
                target: followed.clone(),
                habits: Habits { quota: Some(Arc::clone(&quota)), ..Habits::default() },
                place: (place, runtimes),
            };
            tasks.spawn(workers.run(stop.clone()));
        }
        Running { gauges, target, quota, stop, tasks }
    }

    async fn ended(mut tasks: JoinSet<()>) {
        let all = async { while tasks.join_next().await.transpose().unwrap().is_some() {} };
        tokio::time::timeout(Duration::from_secs(3600), all).await.expect("it ends by itself");
    }

    #[tokio::test(start_paused = true)]
    async fn runs_exactly_so_many_and_ends() {
        for (iterations, workers, runtimes) in [(1, 1, 1), (1000, 7, 3), (3, 50, 2), (10, 1, 4), (0, 5, 2)] {
            let running = start(iterations, workers, runtimes, u32::MAX);
            ended(running.tasks).await;
            assert_eq!(running.gauges.iterations(), iterations, "{workers} workers, {runtimes} runtimes");
            assert_eq!((running.gauges.workers(), running.gauges.started()), (0, iterations));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_found_nothing_uses_none_up() {
        let running = start(500, 20, 2, 3);
        ended(running.tasks).await;
        assert_eq!(running.gauges.iterations(), 500);
        assert!(running.gauges.idle() >= 200);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_dismissed_worker_had_taken_is_done_by_another() {
        // Every ask finds nothing at first: all eight tickets are held by workers that wait to ask again.
        let running = start(8, 8, 2, 1);
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!((running.quota.free(), running.gauges.iterations()), (0, 0));
        running.target.send(1).unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!((running.quota.free(), running.gauges.workers()), (7, 1));
        assert!(!running.quota.is_used_up());
        running.stop.finish.cancel();
        ended(running.tasks).await;
        assert_eq!((running.quota.free(), running.gauges.workers()), (8, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn more_workers_end_sooner_and_none_wait() {
        let running = start(1000, 0, 2, u32::MAX);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(running.gauges.started(), 0);
        running.target.send(10).unwrap();
        ended(running.tasks).await;
        assert_eq!(running.gauges.iterations(), 1000);
    }
}
