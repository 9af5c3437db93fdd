//! Counters of the executors of one scenario in this process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use wec_record::Reach;

use super::Iterated;
use crate::saturation::Lag;
use crate::worker_seconds::WorkerSeconds;

/// Counters of the executors of one scenario in this process, and their targets, for the live view.
#[derive(Debug, Default)]
pub struct Gauges {
    pub(super) workers: AtomicU64,
    pub(super) busy: AtomicU64,
    pub(super) backing_off: AtomicU64,
    pub(super) due: AtomicU64,
    pub(super) started: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) late: AtomicU64,
    iterations: AtomicU64,
    idle: AtomicU64,
    requests: AtomicU64,
    local: AtomicU64,
    /// Time that workers of the closed model spent on iterations and on the waits after them, without pacing
    /// and back-off, nanoseconds.
    pub(super) occupied: AtomicU64,
    workers_target: AtomicU64,
    /// What the target of workers has required, if other nodes can share it.
    pub(crate) worker_seconds: WorkerSeconds,
    /// The bits of an `f64` plus one; 0 while there is none.
    rate_target: AtomicU64,
    /// A [`Reach`], as its position in [`Reach::ALL`] plus one; 0 before there is one.
    reach: AtomicU8,
    /// How late iterations started (an open model).
    pub(crate) lag: Lag,
}

impl Gauges {
    /// Current number of workers.
    pub fn workers(&self) -> u64 {
        self.workers.load(Ordering::Relaxed)
    }

    /// Workers that are running an iteration.
    pub fn busy(&self) -> u64 {
        self.busy.load(Ordering::Relaxed)
    }

    /// Workers of a closed model that back off.
    pub fn backing_off(&self) -> u64 {
        self.backing_off.load(Ordering::Relaxed)
    }

    /// Iterations that were due by schedule (an open model), cumulative: `started + dropped`.
    pub fn due(&self) -> u64 {
        self.due.load(Ordering::Relaxed)
    }

    /// How often a worker began an iteration, including idle ones, cumulative.
    pub fn started(&self) -> u64 {
        self.started.load(Ordering::Relaxed)
    }

    /// Iterations that were due and not started (an open model), because no worker was free or they were late,
    /// cumulative.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Those of them that were late: the process did not run when they were due.
    pub fn late(&self) -> u64 {
        self.late.load(Ordering::Relaxed)
    }

    /// HTTP attempts of the ended iterations, cumulative.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// How often our own machine refused: no descriptor, local port or memory; cumulative.
    pub fn local(&self) -> u64 {
        self.local.load(Ordering::Relaxed)
    }

    /// Adds refusals.
    pub(crate) fn count_local(&self, refusals: u64) {
        if refusals > 0 {
            self.local.fetch_add(refusals, Ordering::Relaxed);
        }
    }

    /// Time that workers of the closed model spent on ended iterations and on the waits after them. Pacing
    /// and back-off are not included: they are not the cost of an iteration and need no more workers.
    pub fn occupied(&self) -> Duration {
        Duration::from_nanos(self.occupied.load(Ordering::Relaxed))
    }

    /// Target number of workers (a closed model), or the largest number (an open one).
    pub fn workers_target(&self) -> u64 {
        self.workers_target.load(Ordering::Relaxed)
    }

    /// Sets [`workers_target`](Self::workers_target).
    pub fn set_workers_target(&self, workers: u64) {
        self.workers_target.store(workers, Ordering::Relaxed);
    }

    /// The target rate per second, if there is one.
    pub fn rate_target(&self) -> Option<f64> {
        let bits = self.rate_target.load(Ordering::Relaxed).checked_sub(1)?;
        Some(f64::from_bits(bits))
    }

    /// Sets [`rate_target`](Self::rate_target).
    pub fn set_rate_target(&self, rate: Option<f64>) {
        self.rate_target.store(rate.map_or(0, |rate| rate.to_bits().saturating_add(1)), Ordering::Relaxed);
    }

    /// How close the rate is to its target, if workers are adapted to it.
    pub fn reach(&self) -> Reach {
        let place = usize::from(self.reach.load(Ordering::Relaxed));
        place.checked_sub(1).and_then(|place| Reach::ALL.get(place)).copied().unwrap_or(Reach::Approaching)
    }

    pub(super) fn set_reach(&self, reach: Reach) {
        let place = Reach::ALL.iter().position(|known| *known == reach).unwrap_or_default();
        self.reach.store(place as u8 + 1, Ordering::Relaxed);
    }

    /// Counts an ended iteration.
    pub(super) fn ended(&self, iterated: Iterated) {
        match iterated.requests() {
            Some(requests) => {
                let ended = !matches!(iterated, Iterated::CutOff { .. });
                self.iterations.fetch_add(ended.into(), Ordering::Relaxed);
                self.requests.fetch_add(requests.into(), Ordering::Relaxed);
            }
            None => {
                self.idle.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Iterations ended, without idle ones.
    pub fn iterations(&self) -> u64 {
        self.iterations.load(Ordering::Relaxed)
    }

    /// How often a worker found no chain that it could run.
    pub fn idle(&self) -> u64 {
        self.idle.load(Ordering::Relaxed)
    }
}

/// Increments a counter for as long as it exists.
pub(super) struct Counted {
    gauges: Arc<Gauges>,
    gauge: fn(&Gauges) -> &AtomicU64,
}

impl Counted {
    pub(super) fn one(gauges: &Arc<Gauges>, gauge: fn(&Gauges) -> &AtomicU64) -> Self {
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
    fn a_rate_of_zero_differs_from_no_rate() {
        let gauges = Gauges::default();
        assert_eq!(gauges.rate_target(), None);
        for rate in [Some(0.0), Some(12.5), None] {
            gauges.set_rate_target(rate);
            assert_eq!(gauges.rate_target(), rate);
        }
    }

    #[test]
    fn a_rate_is_approaching_until_it_is_reached_capped_or_saturated() {
        let gauges = Gauges::default();
        assert_eq!(gauges.reach(), Reach::Approaching);
        for reach in Reach::ALL {
            gauges.set_reach(reach);
            assert_eq!(gauges.reach(), reach);
        }
    }
}
