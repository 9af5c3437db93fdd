//! The loop of one worker in a closed model: iterate, wait as configured, repeat.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::watch;
use tokio::time::Instant;
use wec_startup::Stop;

use super::back_off::Pause;
use super::gauges::Counted;
use super::{BackOff, Gauges, Iterated, Quota, VirtualUser};
use crate::pace::Turns;
use crate::permit::Permit;

/// Interval of checks whether iterations may start again.
const WITHOUT_PERMIT: Duration = Duration::from_millis(20);

/// A worker's behaviour between iterations.
#[derive(Clone, Debug, Default)]
pub(super) struct LoopConfig {
    /// Think time after each iteration: drawn uniformly from this range.
    pub(super) think: Option<RangeInclusive<Duration>>,
    /// The time of each request of an iteration: the next iteration starts no sooner.
    pub(super) pacing: Option<watch::Receiver<Duration>>,
    /// The source of iterations, until it is empty.
    pub(super) quota: Option<Arc<Quota>>,
    /// The behaviour after failures.
    pub(super) back_off: BackOff,
    /// Whether iterations may start; none if they always may.
    pub(super) permit: Option<Arc<Permit>>,
}

/// A worker's slot among the workers of a process. It has the slot while the target is above its number.
pub(super) struct WorkerSlot {
    pub(super) number: u32,
    pub(super) target: watch::Receiver<u32>,
    pub(super) stop: Stop,
}

impl WorkerSlot {
    fn stays(&self) -> bool {
        self.number < *self.target.borrow() && !self.stop.finish.is_cancelled()
    }

    /// Waits until `wake`, or until the slot is lost.
    async fn rest_until(&mut self, wake: Instant) {
        let number = self.number;
        tokio::select! {
            () = tokio::time::sleep_until(wake) => {}
            // Without a sender the target does not change.
            Ok(_) = self.target.wait_for(|target| number >= *target) => {}
            () = self.stop.finish.cancelled() => {}
        }
    }
}

/// Runs the iterations of one worker until it loses its slot, or until its quota is used up.
pub(super) async fn run_worker(
    mut user: Box<dyn VirtualUser>,
    gauges: Arc<Gauges>,
    mut config: LoopConfig,
    mut slot: WorkerSlot,
) {
    let _alive = Counted::one(&gauges, |gauges| &gauges.workers);
    let mut pause = Pause::new(config.back_off, slot.number);
    // Boxed, as far as few runs use it: ten thousand workers hold ten thousand of these futures.
    let mut turns =
        config.pacing.take().map(|pacing| Box::new(PacedTurns::new(pacing, slot.number, &gauges)));
    let mut thinks = config.think.map(|range| Box::new((range, StdRng::seed_from_u64(slot.number.into()))));
    let mut ticket = None;
    if let Some(turns) = &mut turns {
        Box::pin(turns.wait(&mut slot)).await;
    }
    while slot.stays() {
        if config.permit.as_ref().is_some_and(|permit| !permit.holds()) {
            // The conductor takes the slot soon.
            Box::pin(slot.rest_until(Instant::now() + WITHOUT_PERMIT)).await;
            continue;
        }
        if let (Some(quota), None) = (&config.quota, &ticket) {
            ticket = quota.take();
            if ticket.is_none() {
                break;
            }
        }
        let began = Instant::now();
        let iterated = {
            let _busy = Counted::one(&gauges, |gauges| &gauges.busy);
            gauges.started.fetch_add(1, Ordering::Relaxed);
            user.iterate(None, &slot.stop.cut).await
        };
        gauges.ended(iterated);
        let mut wait = pause.after(iterated);
        if iterated.requests().is_some() {
            if let Some(ticket) = ticket.take() {
                ticket.used();
            }
            if let Some((range, rng)) = thinks.as_deref_mut() {
                wait += rng.random_range(range.clone());
            }
        }
        let mut occupied = began.elapsed();
        if !wait.is_zero() {
            let backs_off = matches!(iterated, Iterated::Failed { .. });
            let _backs_off = backs_off.then(|| Counted::one(&gauges, |gauges| &gauges.backing_off));
            Box::pin(slot.rest_until(Instant::now() + wait)).await;
            if !backs_off {
                occupied = began.elapsed();
            }
        }
        let occupied = u64::try_from(occupied.as_nanos()).unwrap_or(u64::MAX);
        gauges.occupied.fetch_add(occupied, Ordering::Relaxed);
        if let Some(turns) = &mut turns {
            turns.ended(iterated.requests().unwrap_or_default());
            Box::pin(turns.wait(&mut slot)).await;
        }
    }
}

/// A worker's turns, with a pacing that may change while it waits.
struct PacedTurns {
    pacing: watch::Receiver<Duration>,
    origin: Instant,
    turns: Turns,
}

impl PacedTurns {
    /// The first turns of workers that start together are spread over the length of one.
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

    async fn wait(&mut self, slot: &mut WorkerSlot) {
        loop {
            let interval = *self.pacing.borrow_and_update();
            let start = self.turns.start(interval);
            if start <= self.origin.elapsed() || !slot.stays() {
                self.turns.taken(interval);
                return;
            }
            tokio::select! {
                () = slot.rest_until(self.origin + start) => {}
                Ok(()) = self.pacing.changed() => {}
            }
        }
    }
}
