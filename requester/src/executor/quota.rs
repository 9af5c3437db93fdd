//! A quota of iterations: the workers of all runtimes take each iteration from a [`Quota`], so exactly this
//! many run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Notify, watch};

/// The iterations that may still be run.
#[derive(Debug)]
pub struct Quota {
    left: watch::Sender<Left>,
    /// Below this number of free ones, the quota is low.
    mark: AtomicU64,
    low: Notify,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Left {
    /// Iterations that no worker has taken.
    free: u64,
    /// Iterations not used up: free, or taken and not ended.
    unused: u64,
    /// Total number given.
    given: u64,
    /// Whether more may be added.
    open: bool,
}

impl Quota {
    /// A quota of this many.
    pub fn new(iterations: u64) -> Arc<Self> {
        Arc::new(Self::of(Left { free: iterations, unused: iterations, given: iterations, open: false }))
    }

    /// An empty quota, to which iterations can be added until it is closed.
    pub fn open() -> Arc<Self> {
        Arc::new(Self::of(Left { free: 0, unused: 0, given: 0, open: true }))
    }

    fn of(left: Left) -> Self {
        Self { left: watch::Sender::new(left), mark: AtomicU64::new(0), low: Notify::new() }
    }

    /// Adds iterations.
    pub fn add(&self, iterations: u64) {
        self.left.send_modify(|left| {
            left.free += iterations;
            left.unused += iterations;
            left.given += iterations;
        });
    }

    /// Removes those that no worker has taken; returns their number.
    pub fn take_back(&self) -> u64 {
        let mut back = 0;
        self.left.send_if_modified(|left| {
            back = std::mem::take(&mut left.free);
            left.unused -= back;
            left.given -= back;
            left.unused == 0
        });
        back
    }

    /// No more will be added.
    pub fn close(&self) {
        self.left.send_modify(|left| left.open = false);
    }

    /// Sets the number below which the quota is low.
    pub fn keep(&self, mark: u64) {
        if self.mark.swap(mark, Ordering::Relaxed) < mark {
            self.low.notify_one();
        }
    }

    /// The number below which the quota is low.
    pub fn mark(&self) -> u64 {
        self.mark.load(Ordering::Relaxed)
    }

    /// Waits until the quota is low.
    pub async fn runs_low(&self) {
        while self.free() >= self.mark() {
            self.low.notified().await;
        }
    }

    /// Number of used iterations.
    pub fn used(&self) -> u64 {
        let left = self.left.borrow();
        left.given - left.unused
    }

    /// Number of iterations not used up: free ones, and those that are running.
    pub fn unused(&self) -> u64 {
        self.left.borrow().unused
    }

    /// Number of iterations that no worker has taken.
    pub fn free(&self) -> u64 {
        self.left.borrow().free
    }

    /// Whether all have been used.
    pub fn is_used_up(&self) -> bool {
        let left = self.left.borrow();
        left.unused == 0 && !left.open
    }

    /// Takes one. A worker that finds no chain keeps it and tries again.
    pub(super) fn take(self: &Arc<Self>) -> Option<Ticket> {
        let mut taken = false;
        // Watchers need to know of more iterations, not of fewer.
        let mut few = false;
        self.left.send_if_modified(|left| {
            taken = left.free > 0;
            left.free = left.free.saturating_sub(1);
            few = left.open && left.free < self.mark();
            false
        });
        if few {
            self.low.notify_one();
        }
        taken.then(|| Ticket { quota: Arc::clone(self), used: false })
    }

    /// Changes when one was returned, and when all are used up.
    pub(super) fn watch(&self) -> watch::Receiver<Left> {
        self.left.subscribe()
    }
}

/// The right to one iteration. If unused, it is returned: its worker ended before it found a chain to run.
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
        // A panic is a bug in a chain, and repeating it would never end.
        let used = self.used || std::thread::panicking();
        self.quota.left.send_if_modified(|left| {
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

    use super::super::closed::ClosedModel;
    use super::super::worker_loop::LoopConfig;
    use super::super::{BoxFuture, Gauges, Iterated, VirtualUser, Workforce};
    use super::*;

    /// Works for ten milliseconds; every `idle_every`-th attempt finds nothing to run.
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
        start_with(&Quota::new(iterations), workers, runtimes, idle_every)
    }

    fn start_with(quota: &Arc<Quota>, workers: u32, runtimes: u32, idle_every: u32) -> Running {
        let shift = Arc::new(Shift { asked: AtomicU32::new(0), idle_every });
        let (target, followed) = watch::channel(workers);
        let (gauges, stop, quota) = (Arc::new(Gauges::default()), Stop::default(), Arc::clone(quota));
        let mut tasks = JoinSet::new();
        for place in 0..runtimes {
            let workers = ClosedModel {
                workforce: Arc::new(Arc::clone(&shift)),
                gauges: Arc::clone(&gauges),
                target: followed.clone(),
                config: LoopConfig { quota: Some(Arc::clone(&quota)), ..LoopConfig::default() },
                place: (place, runtimes),
            };
            tasks.spawn(workers.run(stop.clone()));
        }
        Running { gauges, target, quota, stop, tasks }
    }

    async fn ended(mut tasks: JoinSet<()>) {
        let all = async { while tasks.join_next().await.transpose().unwrap().is_some() {} };
        tokio::time::timeout(Duration::from_secs(3600), all).await.expect("the executor ends");
    }

    #[tokio::test(start_paused = true)]
    async fn runs_exactly_the_given_number_and_ends() {
        for (iterations, workers, runtimes) in [(1, 1, 1), (1000, 7, 3), (3, 50, 2), (10, 1, 4), (0, 5, 2)] {
            let running = start(iterations, workers, runtimes, u32::MAX);
            ended(running.tasks).await;
            assert_eq!(running.gauges.iterations(), iterations, "{workers} workers, {runtimes} runtimes");
            assert_eq!((running.gauges.workers(), running.gauges.started()), (0, iterations));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_open_quota_waits_for_more_until_it_is_closed() {
        let running = start(0, 4, 2, u32::MAX);
        ended(running.tasks).await;
        let quota = Quota::open();
        let running = start_with(&quota, 4, 2, u32::MAX);
        quota.keep(8);
        for round in 1..=5 {
            quota.runs_low().await;
            quota.add(20);
            tokio::time::sleep(Duration::from_secs(5)).await;
            assert_eq!((running.gauges.iterations(), quota.unused()), (round * 20, 0));
            assert_eq!(quota.used(), round * 20);
            assert!(!quota.is_used_up());
        }
        quota.close();
        ended(running.tasks).await;
        assert!(quota.is_used_up());
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_attempt_uses_no_iteration() {
        let running = start(500, 20, 2, 3);
        ended(running.tasks).await;
        assert_eq!(running.gauges.iterations(), 500);
        assert!(running.gauges.idle() >= 200);
    }

    #[tokio::test(start_paused = true)]
    async fn the_iteration_of_a_dismissed_worker_is_run_by_another() {
        // At first every attempt finds nothing to run: waiting workers hold all eight iterations.
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
    async fn more_workers_end_sooner_and_no_worker_waits() {
        let running = start(1000, 0, 2, u32::MAX);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(running.gauges.started(), 0);
        running.target.send(10).unwrap();
        ended(running.tasks).await;
        assert_eq!(running.gauges.iterations(), 1000);
    }
}
