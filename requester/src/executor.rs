//! Executors: who decides when a virtual user starts its next iteration. One file each.

mod alarm;
mod arrival_rate;
mod workers;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use wec_startup::Stop;

pub use arrival_rate::{ArrivalRate, Course, Unit};
pub use workers::Workers;

/// A boxed future that a runtime of the requester can own.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a worker does over and over: pick a chain, run it, hand the result on.
pub trait VirtualUser: Send + 'static {
    /// Runs one iteration. `due` is when an open model wanted it started, nanoseconds of the run's clock; none in a closed one.
    /// When `cut` is cancelled it must end soon, handing on what it has.
    fn iterate<'a>(&'a mut self, due: Option<u64>, cut: &'a CancellationToken) -> BoxFuture<'a, Iterated>;
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
    Answered {
        /// HTTP attempts made.
        requests: u32,
    },
    /// The CA could not be reached at all.
    Unanswered {
        /// HTTP attempts made.
        requests: u32,
    },
    /// Nothing was allowed to run: limits reached, or all that exists is in use.
    Idle,
}

impl Iterated {
    /// HTTP attempts made; none when nothing ran.
    pub const fn requests(self) -> Option<u32> {
        match self {
            Self::Answered { requests } | Self::Unanswered { requests } => Some(requests),
            Self::Idle => None,
        }
    }
}

/// What the executors of one scenario count in this process, and what they were told to reach, for the live view.
#[derive(Debug, Default)]
pub struct Gauges {
    workers: AtomicU64,
    busy: AtomicU64,
    due: AtomicU64,
    started: AtomicU64,
    dropped: AtomicU64,
    iterations: AtomicU64,
    idle: AtomicU64,
    requests: AtomicU64,
    workers_target: AtomicU64,
    /// The bits of an `f64` and one more; 0 while there is none.
    rate_target: AtomicU64,
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

    /// Iterations that were due by schedule (an open model), cumulative: `started + dropped`.
    pub fn due(&self) -> u64 {
        self.due.load(Ordering::Relaxed)
    }

    /// Times that a worker set out on an iteration, idle ones among them, cumulative.
    pub fn started(&self) -> u64 {
        self.started.load(Ordering::Relaxed)
    }

    /// Iterations that were due and that no worker was free for (an open model), cumulative.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// HTTP attempts of the iterations ended, cumulative.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// How many workers there should be (a closed model), or may be (an open one).
    pub fn workers_target(&self) -> u64 {
        self.workers_target.load(Ordering::Relaxed)
    }

    /// Sets what [`workers_target`](Self::workers_target) says.
    pub fn set_workers_target(&self, workers: u64) {
        self.workers_target.store(workers, Ordering::Relaxed);
    }

    /// The rate asked for, per second, where there is one.
    pub fn rate_target(&self) -> Option<f64> {
        let bits = self.rate_target.load(Ordering::Relaxed).checked_sub(1)?;
        Some(f64::from_bits(bits))
    }

    /// Sets what [`rate_target`](Self::rate_target) says.
    pub fn set_rate_target(&self, rate: Option<f64>) {
        self.rate_target.store(rate.map_or(0, |rate| rate.to_bits().saturating_add(1)), Ordering::Relaxed);
    }

    /// Counts an iteration that has ended so.
    fn ended(&self, iterated: Iterated) {
        match iterated.requests() {
            Some(requests) => {
                self.iterations.fetch_add(1, Ordering::Relaxed);
                self.requests.fetch_add(requests.into(), Ordering::Relaxed);
            }
            None => {
                self.idle.fetch_add(1, Ordering::Relaxed);
            }
        }
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
            Iterated::Answered { .. } => {
                *self = Self::default();
                Duration::ZERO
            }
            Iterated::Idle => {
                let wait = doubled(Self::IDLE, self.idle).min(Self::LONGEST_IDLE);
                self.idle += 1;
                wait
            }
            Iterated::Unanswered { .. } => {
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
    let _alive = Counted::one(&gauges, |gauges| &gauges.workers);
    let mut pause = Pause::default();
    while stays() && !stop.finish.is_cancelled() {
        let iterated = {
            let _busy = Counted::one(&gauges, |gauges| &gauges.busy);
            gauges.started.fetch_add(1, Ordering::Relaxed);
            user.iterate(None, &stop.cut).await
        };
        gauges.ended(iterated);
        let wait = pause.after(iterated);
        if !wait.is_zero() {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stop.finish.cancelled() => {}
            }
        }
    }
}

/// How many of `total` fall to the runtime at `place` of so many.
fn slots_of(total: u32, (place, of): (u32, u32)) -> u32 {
    total / of + u32::from(place < total % of)
}

/// Counts something for as long as it lives, however it ends.
struct Counted {
    gauges: Arc<Gauges>,
    gauge: fn(&Gauges) -> &AtomicU64,
}

impl Counted {
    fn one(gauges: &Arc<Gauges>, gauge: fn(&Gauges) -> &AtomicU64) -> Self {
        gauge(gauges).fetch_add(1, Ordering::Relaxed);
        Self { gauges: Arc::clone(gauges), gauge }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.gauge)(&self.gauges).fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_longer_and_longer_without_an_answer_and_not_at_all_after_one() {
        let mut pause = Pause::default();
        let waits: Vec<_> =
            (0..8).map(|_| pause.after(Iterated::Unanswered { requests: 1 }).as_millis()).collect();
        assert_eq!(waits, [50, 100, 200, 400, 800, 1600, 2000, 2000]);
        assert_eq!(pause.after(Iterated::Answered { requests: 5 }), Duration::ZERO);
        assert_eq!(pause.after(Iterated::Unanswered { requests: 1 }), Pause::FIRST);
        let waits: Vec<_> = (0..7).map(|_| pause.after(Iterated::Idle).as_millis()).collect();
        assert_eq!(waits, [20, 40, 80, 160, 320, 640, 640]);
        assert_eq!(pause.after(Iterated::Answered { requests: 5 }), Duration::ZERO);
        assert_eq!(pause.after(Iterated::Idle), Pause::IDLE);
    }

    #[test]
    fn a_rate_of_nothing_is_not_no_rate() {
        let gauges = Gauges::default();
        assert_eq!(gauges.rate_target(), None);
        for rate in [Some(0.0), Some(12.5), None] {
            gauges.set_rate_target(rate);
            assert_eq!(gauges.rate_target(), rate);
        }
    }
}
