//! The closed model: a number of workers, each of which starts its next iteration when its last one has
//! ended.
//!
//! The number can change at any time. More workers start at once; surplus workers end after their running
//! iteration.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::{Id, JoinSet};

use wec_startup::Stop;

use super::worker_loop::{LoopConfig, WorkerSlot, run_worker};
use super::{Gauges, Workforce, slots_of};

/// Keeps the target number of workers on its runtime.
pub(super) struct ClosedModel {
    /// Creates the workers.
    pub(super) workforce: Arc<dyn Workforce>,
    /// Counts this runtime's workers.
    pub(super) gauges: Arc<Gauges>,
    /// Target number of workers of the process.
    pub(super) target: watch::Receiver<u32>,
    /// The behaviour between iterations.
    pub(super) config: LoopConfig,
    /// This runtime's place in the process, from 0, and the number of runtimes. It runs the workers whose
    /// number modulo the number of runtimes is `place`.
    pub(super) place: (u32, u32),
}

impl ClosedModel {
    /// Runs until the last worker has ended after `stop.finish`, or after the last iteration of a quota.
    pub(super) async fn run(mut self, stop: Stop) {
        let mut tasks = JoinSet::new();
        let mut slots: HashMap<Id, u32> = HashMap::new();
        let mut taken: Vec<bool> = Vec::new();
        let mut watched = true;
        let quota = self.config.quota.clone();
        let mut left = quota.as_ref().map(|quota| quota.watch());
        while !stop.finish.is_cancelled() && !quota.as_ref().is_some_and(|quota| quota.is_used_up()) {
            let target = *self.target.borrow_and_update();
            let slots_here = slots_of(target, self.place);
            if taken.len() < slots_here as usize {
                taken.resize(slots_here as usize, false);
            }
            // No more workers than free iterations: another one would find none, end, and be started again.
            let wanted = quota.as_ref().map_or(u64::MAX, |quota| quota.free());
            let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
            let open = (0..slots_here).filter(|slot| !taken[*slot as usize]).take(wanted).collect::<Vec<_>>();
            for slot in open {
                taken[slot as usize] = true;
                slots.insert(tasks.spawn(self.worker(slot, &stop)).id(), slot);
            }
            tokio::select! {
                changed = self.target.changed(), if watched => watched = changed.is_ok(),
                Some(ended) = tasks.join_next_with_id() => free(ended, &mut slots, &mut taken),
                () = changed(&mut left) => {}
                () = stop.finish.cancelled() => {}
            }
        }
        while let Some(ended) = tasks.join_next_with_id().await {
            free(ended, &mut slots, &mut taken);
        }
    }

    fn worker(&self, slot: u32, stop: &Stop) -> impl Future<Output = ()> + Send + use<> {
        let target = self.target.clone();
        let (place, of) = self.place;
        let worker = slot * of + place;
        let held = WorkerSlot { number: worker, target, stop: stop.clone() };
        run_worker(self.workforce.worker(worker), Arc::clone(&self.gauges), self.config.clone(), held)
    }
}

/// Waits for a change of the quota; pending forever without one.
async fn changed<T>(left: &mut Option<watch::Receiver<T>>) {
    if let Some(left) = left
        && left.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

/// Frees the slot of a worker that ended; a panic is a bug, which is logged and does not end the executor.
fn free(ended: Result<(Id, ()), tokio::task::JoinError>, slots: &mut HashMap<Id, u32>, taken: &mut [bool]) {
    let id = match ended {
        Ok((id, ())) => id,
        Err(error) => {
            tracing::error!(%error, "a worker ended by a panic; another takes its place");
            error.id()
        }
    };
    if let Some(slot) = slots.remove(&id) {
        taken[slot as usize] = false;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use tokio_util::sync::CancellationToken;

    use super::super::{BackOff, BoxFuture, Iterated, OnFailure, VirtualUser};
    use super::*;

    /// Takes `takes` per iteration and counts concurrent iterations.
    struct Sleeper {
        takes: Duration,
        running: AtomicU32,
        ended: AtomicU32,
        cut: AtomicU32,
    }

    impl Sleeper {
        fn new(takes: Duration) -> Arc<Self> {
            Arc::new(Self {
                takes,
                running: AtomicU32::new(0),
                ended: AtomicU32::new(0),
                cut: AtomicU32::new(0),
            })
        }
        fn running(&self) -> u32 {
            self.running.load(Ordering::SeqCst)
        }
    }

    struct SleepingWorker(Arc<Sleeper>);

    impl Workforce for Arc<Sleeper> {
        fn worker(&self, _number: u32) -> Box<dyn VirtualUser> {
            Box::new(SleepingWorker(Self::clone(self)))
        }
    }

    impl VirtualUser for SleepingWorker {
        fn iterate<'a>(
            &'a mut self,
            _due: Option<u64>,
            cut: &'a CancellationToken,
        ) -> BoxFuture<'a, Iterated> {
            Box::pin(async move {
                let sleeper = &self.0;
                sleeper.running.fetch_add(1, Ordering::SeqCst);
                tokio::select! {
                    () = tokio::time::sleep(sleeper.takes) => sleeper.ended.fetch_add(1, Ordering::SeqCst),
                    () = cut.cancelled() => sleeper.cut.fetch_add(1, Ordering::SeqCst),
                };
                sleeper.running.fetch_sub(1, Ordering::SeqCst);
                Iterated::Answered { requests: 1 }
            })
        }
    }

    type Running = (watch::Sender<u32>, Arc<Gauges>, Stop, tokio::task::JoinHandle<()>);

    fn start(user: &Arc<Sleeper>, workers: u32) -> Running {
        start_with(user, workers, LoopConfig::default())
    }

    fn start_with(user: &Arc<Sleeper>, workers: u32, config: LoopConfig) -> Running {
        let (target, receiver) = watch::channel(workers);
        let gauges = Arc::new(Gauges::default());
        let stop = Stop::default();
        let executor = ClosedModel {
            workforce: Arc::new(Arc::clone(user)),
            gauges: Arc::clone(&gauges),
            target: receiver,
            config,
            place: (0, 1),
        };
        let task = tokio::spawn(executor.run(stop.clone()));
        (target, gauges, stop, task)
    }

    async fn pass(time: Duration) {
        tokio::time::sleep(time).await;
    }

    #[test]
    fn runtimes_share_the_workers_without_remainder() {
        for (target, of, expected) in
            [(0, 3, [0, 0, 0]), (1, 3, [1, 0, 0]), (5, 3, [2, 2, 1]), (9, 3, [3, 3, 3])]
        {
            assert_eq!([0, 1, 2].map(|place| slots_of(target, (place, of))), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn runs_as_many_iterations_at_once_as_there_are_workers() {
        let user = Sleeper::new(Duration::from_secs(1));
        let (_target, gauges, stop, task) = start(&user, 5);
        pass(Duration::from_millis(10_500)).await;
        assert_eq!((user.running(), gauges.workers()), (5, 5));
        assert_eq!(user.ended.load(Ordering::SeqCst), 50);
        stop.finish.cancel();
        task.await.unwrap();
        assert_eq!(gauges.iterations(), 55);
        assert_eq!(gauges.workers(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn follows_a_changing_target_a_hundred_times_and_leaks_no_worker() {
        let user = Sleeper::new(Duration::from_millis(100));
        let (target, gauges, stop, task) = start(&user, 1);
        for round in 0..100u32 {
            let workers = [10_000, 1][round as usize % 2];
            target.send(workers).unwrap();
            // Surplus workers finish their running iteration first.
            pass(Duration::from_millis(130)).await;
            assert_eq!(gauges.workers(), u64::from(workers), "round {round}");
            assert_eq!(user.running(), workers, "round {round}");
        }
        stop.finish.cancel();
        task.await.unwrap();
        assert_eq!((user.running(), gauges.workers()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn shrinking_lets_iterations_finish() {
        let user = Sleeper::new(Duration::from_secs(10));
        let (target, gauges, stop, task) = start(&user, 8);
        pass(Duration::from_secs(1)).await;
        target.send(2).unwrap();
        pass(Duration::from_secs(1)).await;
        assert_eq!(user.running(), 8, "no iteration is interrupted");
        pass(Duration::from_secs(10)).await;
        assert_eq!((user.running(), gauges.workers()), (2, 2));
        stop.finish.cancel();
        task.await.unwrap();
        assert_eq!(user.cut.load(Ordering::SeqCst), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn thinks_for_the_configured_time_between_iterations() {
        let user = Sleeper::new(Duration::from_millis(100));
        let think = Some(Duration::from_millis(400)..=Duration::from_millis(1400));
        let (_target, gauges, stop, task) =
            start_with(&user, 10, LoopConfig { think, ..LoopConfig::default() });
        pass(Duration::from_secs(1000)).await;
        // 100 ms of work and a mean think time of 900 ms: each of ten workers does one per second. The bounds are
        // six standard deviations of the sum.
        assert!((9_830..10_170).contains(&gauges.iterations()), "{}", gauges.iterations());
        stop.finish.cancel();
        task.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_surplus_worker_that_thinks_ends_at_once() {
        let user = Sleeper::new(Duration::from_millis(100));
        let think = Some(Duration::from_secs(3600)..=Duration::from_secs(3600));
        let (target, gauges, stop, task) =
            start_with(&user, 1000, LoopConfig { think, ..LoopConfig::default() });
        pass(Duration::from_secs(1)).await;
        target.send(3).unwrap();
        pass(Duration::from_millis(5)).await;
        assert_eq!(gauges.workers(), 3);
        stop.finish.cancel();
        task.await.unwrap();
    }

    /// A CA that fails until it is repaired, each time after ten milliseconds.
    #[derive(Clone, Default)]
    struct Outage {
        mended: Arc<std::sync::atomic::AtomicBool>,
        failed: Arc<AtomicU32>,
        succeeded: Arc<AtomicU32>,
        asked: Option<Duration>,
    }

    impl Workforce for Outage {
        fn worker(&self, _number: u32) -> Box<dyn VirtualUser> {
            Box::new(self.clone())
        }
    }

    impl VirtualUser for Outage {
        fn iterate<'a>(
            &'a mut self,
            _due: Option<u64>,
            _cut: &'a CancellationToken,
        ) -> BoxFuture<'a, Iterated> {
            Box::pin(async move {
                tokio::time::sleep(Duration::from_millis(10)).await;
                if self.mended.load(Ordering::SeqCst) {
                    self.succeeded.fetch_add(1, Ordering::SeqCst);
                    return Iterated::Answered { requests: 1 };
                }
                self.failed.fetch_add(1, Ordering::SeqCst);
                Iterated::Failed { requests: 1, answered: true, asked: self.asked }
            })
        }
    }

    fn outage(user: &Outage, on_failure: OnFailure) -> Running {
        let (target, receiver) = watch::channel(8);
        let (gauges, stop) = (Arc::new(Gauges::default()), Stop::default());
        let back_off = BackOff { on_failure, ..BackOff::default() };
        let executor = ClosedModel {
            workforce: Arc::new(user.clone()),
            gauges: Arc::clone(&gauges),
            target: receiver,
            config: LoopConfig { back_off, ..LoopConfig::default() },
            place: (0, 1),
        };
        let task = tokio::spawn(executor.run(stop.clone()));
        (target, gauges, stop, task)
    }

    #[tokio::test(start_paused = true)]
    async fn workers_back_off_in_an_outage_and_all_return_at_its_end() {
        let mut failed = Vec::new();
        for on_failure in OnFailure::ALL {
            let user = Outage::default();
            let (_target, gauges, stop, task) = outage(&user, on_failure);
            pass(Duration::from_secs(120)).await;
            failed.push(user.failed.load(Ordering::SeqCst));
            if on_failure == OnFailure::BackOff {
                assert_eq!(gauges.backing_off(), 8, "all workers back off");
                assert!(
                    gauges.occupied() < Duration::from_secs(3),
                    "waiting does not count as occupied time"
                );
            }
            user.mended.store(true, Ordering::SeqCst);
            // After the longest wait no worker waits.
            pass(Duration::from_secs(30)).await;
            let before = user.succeeded.load(Ordering::SeqCst);
            pass(Duration::from_secs(10)).await;
            assert_eq!((gauges.backing_off(), gauges.busy()), (0, 8));
            assert!(user.succeeded.load(Ordering::SeqCst) - before >= 7_900, "{on_failure}");
            stop.finish.cancel();
            task.await.unwrap();
        }
        // For each of eight workers: at most nine waits to reach 30 s, then waits of at least 15 s.
        assert!((8 * 9..=8 * 17).contains(&failed[0]), "{failed:?}");
        assert!(failed[1] > 90_000, "{failed:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_permanent_429_is_not_retried_before_its_retry_after() {
        let user = Outage { asked: Some(Duration::from_secs(3600)), ..Outage::default() };
        let (_target, _gauges, stop, task) = outage(&user, OnFailure::BackOff);
        pass(Duration::from_secs(600)).await;
        // The bound is 60 s: attempts at 0, 60, …, 540 s.
        assert_eq!(user.failed.load(Ordering::SeqCst), 8 * 10);
        stop.finish.cancel();
        task.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_surplus_worker_that_backs_off_ends_at_once() {
        let user = Outage { asked: Some(Duration::from_secs(3600)), ..Outage::default() };
        let (target, gauges, stop, task) = outage(&user, OnFailure::BackOff);
        pass(Duration::from_secs(1)).await;
        target.send(3).unwrap();
        pass(Duration::from_millis(5)).await;
        assert_eq!((gauges.workers(), gauges.backing_off()), (3, 3));
        stop.finish.cancel();
        pass(Duration::from_millis(5)).await;
        assert!(task.is_finished());
        assert_eq!(gauges.backing_off(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_cut_interrupts_running_iterations() {
        let user = Sleeper::new(Duration::from_secs(3600));
        let (_target, _gauges, stop, task) = start(&user, 4);
        pass(Duration::from_secs(1)).await;
        stop.finish.cancel();
        pass(Duration::from_secs(1)).await;
        assert!(!task.is_finished());
        stop.cut.cancel();
        task.await.unwrap();
        assert_eq!(user.cut.load(Ordering::SeqCst), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_panics_is_replaced() {
        struct PanicsFirst(AtomicU32);
        impl Workforce for PanicsFirst {
            fn worker(&self, _number: u32) -> Box<dyn VirtualUser> {
                Box::new(Panics(self.0.fetch_add(1, Ordering::SeqCst) == 0))
            }
        }
        struct Panics(bool);
        impl VirtualUser for Panics {
            fn iterate<'a>(
                &'a mut self,
                _due: Option<u64>,
                _cut: &'a CancellationToken,
            ) -> BoxFuture<'a, Iterated> {
                Box::pin(async {
                    assert!(!self.0, "the first worker panics");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    Iterated::Answered { requests: 1 }
                })
            }
        }
        let (_target, receiver) = watch::channel(1);
        let gauges = Arc::new(Gauges::default());
        let stop = Stop::default();
        let executor = ClosedModel {
            workforce: Arc::new(PanicsFirst(AtomicU32::new(0))),
            gauges: Arc::clone(&gauges),
            target: receiver,
            config: LoopConfig::default(),
            place: (0, 1),
        };
        let task = tokio::spawn(executor.run(stop.clone()));
        pass(Duration::from_secs(1)).await;
        assert!(gauges.iterations() > 50);
        stop.finish.cancel();
        task.await.unwrap();
    }
}
