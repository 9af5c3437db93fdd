//! Adds the state's counts and load samples to the results, every second.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;
use wec_acme::Clock;
use wec_board::LoadUnit;
use wec_record::plan::RateUnit;
use wec_record::{Limit, LoadSample, StateCounts};

use super::Parts;
use crate::ca_watch::{CaWatch, SILENT_AFTER, Seen};
use crate::executor::{ArrivalSchedule, Gauges};
use crate::offer::Offer;
use crate::saturation::{Counted, Sampler};
use crate::scenario::Scenario;

/// Interval of the state's counts in the results.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Adds the counts of the state store and a load sample to the results every second, and once more at the
/// end. Returns the exceeded bounds of the load tester itself.
pub(super) async fn report(
    parts: Parts,
    scenarios: Vec<Counting>,
    mut sampler: Sampler,
    mut offer: Option<Offer>,
    done: CancellationToken,
) -> Vec<Limit> {
    let mut ticks = interval_at(Instant::now() + until_mid_second(parts.clock), REPORT_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut ca_watch = CaWatch::default();
    let mut limited_ns = 0;
    loop {
        let now = parts.clock.now();
        // The same moment as that of the counts, however long the reading of them takes.
        let at_unix_ns = parts.clock.origin_unix_ns().saturating_add(now);
        let counts = parts.state.counts();
        let counts = StateCounts {
            registrations: counts.registrations,
            authorizations: counts.authorizations,
            certificates: counts.certificates,
            revoked: counts.revoked,
            workers: scenarios.iter().map(|counting| counting.gauges.workers()).sum(),
            unwritten: 0,
            claimed: parts.state.claims(),
        };
        parts.sink.push_state(at_unix_ns, counts);
        let mut counted: Vec<_> = scenarios.iter().map(|counting| counting.counted(now)).collect();
        // Refusals at the listeners of this process belong to no scenario, but to this machine.
        if let Some(first) = counted.first_mut() {
            first.local += wec_listen::shortages();
        }
        let queued = parts.client.queueing().map_or((0, 0), wec_acme::transport::Queueing::totals);
        let ca = ca_watch.look(&Seen {
            orders_expired: parts.state.orders_expired(),
            ca_clock: parts.client.ca_clock(),
            silence: parts.client.pulse().silence(now, SILENT_AFTER.as_nanos() as u64),
            answers: parts.client.pulse().answers(),
        });
        let load = LoadSample { ca, ..sampler.sample(counted, parts.sink.health().backlog_share(), queued) };
        let limits = load.generator.limits.clone();
        if let Some(offer) = &mut offer {
            let limited =
                std::mem::replace(&mut limited_ns, load.generator.limited_ns) < load.generator.limited_ns;
            let target = |unit: LoadUnit| {
                let of_unit = load.scenarios.iter().filter(|scenario| scenario.rate_unit == unit.name());
                of_unit.filter_map(|scenario| scenario.rate_target_of_all).sum::<f64>()
            };
            offer.look(limited, &parts.board.shares(&parts.session).borrow(), target);
        }
        parts.sink.push_load(at_unix_ns, load);
        if done.is_cancelled() {
            return limits;
        }
        tokio::select! {
            _ = ticks.tick() => {}
            () = done.cancelled() => {}
        }
    }
}

/// Samples are taken in the middle of a second of the wall clock, so that each falls into its own second of
/// the figures over time, even if it is slightly early or late.
fn until_mid_second(clock: Clock) -> Duration {
    let into = clock.unix_now_ns() % 1_000_000_000;
    Duration::from_nanos((1_500_000_000 - into) % 1_000_000_000)
}

/// The parts of a scenario that a sample reads.
pub(super) struct Counting {
    pub(super) scenario: Scenario,
    pub(super) gauges: Arc<Gauges>,
    pub(super) schedule: watch::Receiver<Arc<ArrivalSchedule>>,
}

impl Counting {
    fn counted(&self, now: u64) -> Counted {
        let Self { scenario, gauges, schedule } = self;
        let unit = scenario.load.rate_unit();
        let asked = match unit {
            Some(RateUnit::Requests) => schedule.borrow().asked(now).round() as u64,
            // The arrivals, also for Poisson and of a fleet, are what was required.
            _ => gauges.due(),
        };
        let steered = schedule.borrow().runs(now) && gauges.rate_target().is_some_and(|rate| rate > 0.0);
        let active_ns = unit.map(|_| schedule.borrow().active_ns(now));
        let schedule = schedule.borrow();
        let workers = gauges.worker_seconds.until(now);
        let scheduled = match workers {
            Some(workers) => Some((workers.of_all, workers.part)),
            None => unit.and_then(|_| Some((schedule.asked_of_all(now)?, schedule.asked(now)))),
        };
        let (scheduled_of_all, scheduled) = scheduled.unwrap_or_default();
        Counted {
            steered,
            active_ns,
            name: scenario.name.clone(),
            executor: scenario.load.executor(),
            rate_unit: unit.map(RateUnit::name).unwrap_or_default(),
            workers_target: gauges.workers_target(),
            workers: gauges.workers(),
            busy: gauges.busy(),
            backing_off: gauges.backing_off(),
            rate_target: gauges.rate_target(),
            rate_target_of_all: unit.and_then(|_| schedule.rate_of_all(now)),
            workers_target_of_all: workers.map(|workers| workers.target),
            scheduled,
            scheduled_of_all,
            asked,
            due: gauges.due(),
            started: gauges.started(),
            ended: gauges.iterations(),
            requests: gauges.requests(),
            dropped: gauges.dropped(),
            late: gauges.late(),
            idle: gauges.idle(),
            local: gauges.local(),
            reach: scenario.load.adapts_workers().then(|| gauges.reach()),
            lag: gauges.lag.clone(),
        }
    }
}
