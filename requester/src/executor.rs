//! Executors: who decides when a virtual user starts its next iteration. One file each.

mod workers;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use wec_startup::Stop;
pub use workers::Workers;

/// A boxed future that a runtime of the requester can own.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a worker does over and over: pick a chain, run it, hand the result on.
pub trait VirtualUser: Send + 'static {
    /// Runs one iteration. When `cut` is cancelled it must end soon, handing on what it has.
    fn iterate<'a>(&'a mut self, cut: &'a CancellationToken) -> BoxFuture<'a, Iterated>;
}

/// Makes the workers of one runtime.
pub trait Workforce: Send + Sync + 'static {
    /// The worker of this number, unique in the process.
    fn worker(&self, number: u32) -> Box<dyn VirtualUser>;
}

/// How an iteration ended, as far as the executor cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Iterated {
    /// The CA answered, well or badly.
    Answered,
    /// The CA could not be reached at all.
    Unanswered,
    /// Nothing was allowed to run: limits reached, or all that exists is in use.
    Idle,
}

/// What executors count, for the live view.
#[derive(Debug, Default)]
pub struct Gauges {
    workers: AtomicU64,
    busy: AtomicU64,
    iterations: AtomicU64,
    idle: AtomicU64,
}

impl Gauges {
    /// Workers alive.
    pub fn workers(&self) -> u64 {
        self.workers.load(Ordering::Relaxed)
    }

    /// Workers in the middle of an iteration.
    pub fn busy(&self) -> u64 {
        self.busy.load(Ordering::Relaxed)
    }

    /// Iterations ended, idle ones not among them.
    pub fn iterations(&self) -> u64 {
        self.iterations.load(Ordering::Relaxed)
    }

    /// Times that a worker found nothing it was allowed to run.
    pub fn idle(&self) -> u64 {
        self.idle.load(Ordering::Relaxed)
    }
}

/// How long a worker waits before it asks again: not at all after an answer, longer and longer without one or with
/// nothing to do.
///
/// A CA that refuses connections would otherwise be met by a loop that does nothing but fail, and thousands of workers at
/// a limit would keep a processor busy with asking.
#[derive(Debug, Default)]
struct Pause {
    misses: u32,
    idle: u32,
}

impl Pause {
    const IDLE: Duration = Duration::from_millis(20);
    const LONGEST_IDLE: Duration = Duration::from_millis(640);
    const FIRST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_secs(2);

    /// The wait after an iteration that ended so.
    fn after(&mut self, iterated: Iterated) -> Duration {
        let doubled = |first: Duration, times: u32| first.saturating_mul(1 << times.min(8));
        match iterated {
            Iterated::Answered => {
                *self = Self::default();
                Duration::ZERO
            }
            Iterated::Idle => {
                let wait = doubled(Self::IDLE, self.idle).min(Self::LONGEST_IDLE);
                self.idle += 1;
                wait
            }
            Iterated::Unanswered => {
                let wait = doubled(Self::FIRST, self.misses).min(Self::LONGEST);
                self.misses += 1;
                self.idle = 0;
                wait
            }
        }
    }
}

/// One worker's life: iterations until `stays` says no or the run finishes.
async fn live(
    mut user: Box<dyn VirtualUser>,
    gauges: Arc<Gauges>,
    stop: Stop,
    mut stays: impl FnMut() -> bool,
) {
    let _alive = Counted::one(&gauges.workers);
    let mut pause = Pause::default();
    while stays() && !stop.finish.is_cancelled() {
        let iterated = {
            let _busy = Counted::one(&gauges.busy);
            user.iterate(&stop.cut).await
        };
        let counter = if iterated == Iterated::Idle { &gauges.idle } else { &gauges.iterations };
        counter.fetch_add(1, Ordering::Relaxed);
        let wait = pause.after(iterated);
        if !wait.is_zero() {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stop.finish.cancelled() => {}
            }
        }
    }
}

/// Counts something for as long as it lives, however it ends.
struct Counted<'a>(&'a AtomicU64);

impl<'a> Counted<'a> {
    fn one(gauge: &'a AtomicU64) -> Self {
        gauge.fetch_add(1, Ordering::Relaxed);
        Self(gauge)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_longer_and_longer_without_an_answer_and_not_at_all_after_one() {
        let mut pause = Pause::default();
        let waits: Vec<_> = (0..8).map(|_| pause.after(Iterated::Unanswered).as_millis()).collect();
        assert_eq!(waits, [50, 100, 200, 400, 800, 1600, 2000, 2000]);
        assert_eq!(pause.after(Iterated::Answered), Duration::ZERO);
        assert_eq!(pause.after(Iterated::Unanswered), Pause::FIRST);
        let waits: Vec<_> = (0..7).map(|_| pause.after(Iterated::Idle).as_millis()).collect();
        assert_eq!(waits, [20, 40, 80, 160, 320, 640, 640]);
        assert_eq!(pause.after(Iterated::Answered), Duration::ZERO);
        assert_eq!(pause.after(Iterated::Idle), Pause::IDLE);
    }
}
