//! Executors: who decides when a virtual user starts its next iteration. One file each.

mod alarm;
mod arrival_rate;
mod iterations;
mod relay;
mod target_rps;
mod workers;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wec_startup::Stop;

use crate::pace::Turns;
use crate::saturation::Lag;

pub use alarm::Alarm;
pub use arrival_rate::{ArrivalRate, Course, Unit};
pub use iterations::Quota;
pub use relay::Relay;
pub use target_rps::{Controller, Observation, Steering, TargetRps, Verdict};
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
    /// Nanoseconds that workers of the closed model spent on iterations and on the waits after them, pacing apart.
    occupied: AtomicU64,
    workers_target: AtomicU64,
    /// The bits of an `f64` and one more; 0 while there is none.
    rate_target: AtomicU64,
    /// A [`Verdict`], by its place among them.
    verdict: AtomicU8,
    /// How much later than due iterations started (an open model).
    pub(crate) lag: Lag,
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

    /// Time that workers of the closed model spent on the iterations ended and on the waits after them, pacing apart.
    pub fn occupied(&self) -> Duration {
        Duration::from_nanos(self.occupied.load(Ordering::Relaxed))
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

    /// How near the rate is to its target, where workers are adapted to it.
    pub fn verdict(&self) -> Verdict {
        match self.verdict.load(Ordering::Relaxed) {
            0 => Verdict::Approaching,
            1 => Verdict::Reached,
            2 => Verdict::Capped,
            _ => Verdict::Saturated,
        }
    }

    fn set_verdict(&self, verdict: Verdict) {
        self.verdict.store(verdict as u8, Ordering::Relaxed);
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

/// What a worker of the closed model does between iterations.
#[derive(Clone, Debug, Default)]
pub struct Habits {
    /// How long it thinks after each one: a length drawn evenly from this range.
    pub think: Option<RangeInclusive<Duration>>,
    /// The time that each request of an iteration is worth: it starts its next one no sooner.
    pub pacing: Option<watch::Receiver<Duration>>,
    /// What iterations are taken from, until nothing is left.
    pub quota: Option<Arc<Quota>>,
}

/// A worker's place among the workers of a process: it has it for as long as there should be more than its number.
struct Post {
    number: u32,
    target: watch::Receiver<u32>,
    stop: Stop,
}

impl Post {
    fn stays(&self) -> bool {
        self.number < *self.target.borrow() && !self.stop.finish.is_cancelled()
    }

    /// Waits until `wake`, or until it is lost.
    async fn rest_until(&mut self, wake: Instant) {
        let number = self.number;
        tokio::select! {
            () = tokio::time::sleep_until(wake) => {}
            // Whoever set the target is gone: it stays what it is.
            Ok(_) = self.target.wait_for(|target| number >= *target) => {}
            () = self.stop.finish.cancelled() => {}
        }
    }
}

/// One worker's life: iterations until it has lost its post, or its habits know no further one.
async fn live(mut user: Box<dyn VirtualUser>, gauges: Arc<Gauges>, mut habits: Habits, mut post: Post) {
    let _alive = Counted::one(&gauges, |gauges| &gauges.workers);
    let mut pause = Pause::default();
    let mut turns = habits.pacing.take().map(|pacing| PacedTurns::new(pacing, post.number, &gauges));
    let mut thinks = habits.think.map(|range| (range, StdRng::seed_from_u64(post.number.into())));
    let mut ticket = None;
    if let Some(turns) = &mut turns {
        turns.wait(&mut post).await;
    }
    while post.stays() {
        if let (Some(quota), None) = (&habits.quota, &ticket) {
            ticket = quota.take();
            if ticket.is_none() {
                break;
            }
        }
        let began = Instant::now();
        let iterated = {
            let _busy = Counted::one(&gauges, |gauges| &gauges.busy);
            gauges.started.fetch_add(1, Ordering::Relaxed);
            user.iterate(None, &post.stop.cut).await
        };
        gauges.ended(iterated);
        let mut wait = pause.after(iterated);
        if iterated.requests().is_some() {
            if let Some(ticket) = ticket.take() {
                ticket.used();
            }
            if let Some((range, rng)) = &mut thinks {
                wait += rng.random_range(range.clone());
            }
        }
        if !wait.is_zero() {
            post.rest_until(Instant::now() + wait).await;
        }
        let occupied = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        gauges.occupied.fetch_add(occupied, Ordering::Relaxed);
        if let Some(turns) = &mut turns {
            turns.ended(iterated.requests().unwrap_or_default());
            turns.wait(&mut post).await;
        }
    }
}

/// A worker's turns under a pacing that may change while it waits for one.
struct PacedTurns {
    pacing: watch::Receiver<Duration>,
    origin: Instant,
    turns: Turns,
}

impl PacedTurns {
    /// Workers that begin together have their first turns spread over the length of one.
    fn new(pacing: watch::Receiver<Duration>, number: u32, gauges: &Gauges) -> Self {
        let per_chain = match gauges.iterations() {
            0 => 0.0,
            iterations => gauges.requests() as f64 / iterations as f64,
        };
        Self { pacing, origin: Instant::now(), turns: Turns::staggered(number, per_chain) }
    }

    fn ended(&mut self, requests: u32) {
        self.turns.ended(self.origin.elapsed(), requests);
    }

    async fn wait(&mut self, post: &mut Post) {
        loop {
            let interval = *self.pacing.borrow_and_update();
            let start = self.turns.start(interval);
            if start <= self.origin.elapsed() || !post.stays() {
                self.turns.taken(interval);
                return;
            }
            tokio::select! {
                () = post.rest_until(self.origin + start) => {}
                Ok(()) = self.pacing.changed() => {}
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
