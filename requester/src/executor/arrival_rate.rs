//! The open model: iterations start when they are due, whether or not earlier ones have ended.
//!
//! Users of a CA do not wait for each other, so a slow CA gets more and more of them at once. A free worker
//! takes the due iteration; if there is none, one is created, up to a cap. At the cap, due iterations are
//! *dropped*: counted and shown, but never delayed, because a queue in the load tester would hide how slow
//! the CA is.
//!
//! A worker that finds no chain to run looks again a few times, because objects in use may be released a
//! moment later. Until then it is not busy: it takes the next due iteration if no other worker is free, and
//! its own counts as idle.
//!
//! The due time of the n-th iteration is computed from the schedule ([`Ramp`]), so a late wake-up delays one
//! start and no later ones. Late iterations are started at once, with their original due time.

mod pool;
mod position;
mod run;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use wec_acme::Clock;
use wec_record::plan::{self, RateUnit, Stage, Time};

use super::config::{self, Rate, RateKey, rate, rate_in, stages, unit};
use super::relay::Relay;
use super::{ArrivalSchedule, Context, Executor, Gauges, Kind, Load, Start, Workforce};
use crate::pace::{Ramp, Spacing};
use crate::permit::Permit;
use crate::settings::KeyKind::{Number, OneOf};
use crate::settings::{Key, Scope};

/// The row of the table of executors.
pub(super) const KIND: Kind = Kind {
    name: "arrival-rate",
    keys: &[
        Key::of_executor(
            "rate",
            "RATE",
            Number,
            "Open model: start this many chains per second, however long they take: 50/s, 3000/min, \"500 requests/s\"",
        )
        .short('r')
        .usual(),
        Key::of_executor(
            "rate_unit",
            "UNIT",
            OneOf(&["chains", "requests"]),
            "What rates count: chains or requests [default: chains]",
        )
        .only_in_files(),
        Key::of_executor(
            "spacing",
            "HOW",
            OneOf(&["poisson", "even"]),
            "Spacing of the arrivals of --rate: poisson or even [default: poisson]",
        ),
    ],
    staged: true,
    selected_by: Some("rate"),
    thinks: false,
    rate: Some(RateKey { name: "rate", read: rate }),
    read,
};

/// A rate of iterations, or of requests, per second.
#[derive(Clone, Debug)]
struct ArrivalRate {
    /// Rate per second at the start.
    rate: f64,
    unit: RateUnit,
    /// Whether arrivals are independent (Poisson), or at equal intervals.
    poisson: bool,
    stages: Vec<Stage>,
    /// The largest number of workers.
    workers: u32,
}

fn read(s: &mut Scope<'_>, staged: bool) -> Load {
    let given = s.take("rate", rate);
    if given.is_none() && !s.is_given("rate") {
        s.mistake("rate", "missing: give the iterations per second, as in 50/s");
    }
    with_rate(s, given, staged)
}

/// Without a rate at first: a search sets it. Settings give the spacing and the cap on workers.
pub(super) fn searched(s: &mut Scope<'_>) -> Load {
    with_rate(s, None, false)
}

/// So many arrivals in each step, evenly spaced within it.
pub(super) fn counted(counts: &[u64], step: Duration) -> Load {
    let mut stages: Vec<Stage> = Vec::new();
    let mut held = 0.0;
    let mut hold = |count: f64| {
        let rate = count / step.as_secs_f64();
        match stages.last_mut().filter(|_| rate == held) {
            Some(stage) => stage.duration.0 += step,
            None => {
                let jump = (rate != held).then_some(Stage { duration: Time(Duration::ZERO), target: rate });
                stages.extend(jump);
                stages.push(Stage { duration: Time(step), target: rate });
                held = rate;
            }
        }
    };
    // The n-th arrival is due when the total exceeds n. Half an arrival less keeps all totals at the ends of steps
    // away from whole numbers, so that rounding moves no arrival into another step.
    let first = counts.iter().position(|count| *count > 0);
    for (place, count) in counts.iter().enumerate() {
        hold(*count as f64 - if Some(place) == first { 0.5 } else { 0.0 });
    }
    stages.push(Stage { duration: Time(Duration::ZERO), target: 0.0 });
    let workers = config::WORKERS_CAP;
    Load::of(ArrivalRate { rate: 0.0, unit: RateUnit::Chains, poisson: false, stages, workers })
}

fn with_rate(s: &mut Scope<'_>, given: Option<Rate>, staged: bool) -> Load {
    let workers = config::workers(s).unwrap_or(config::WORKERS_CAP);
    let Rate { per_second, unit: of_rate } = given.unwrap_or(Rate { per_second: 0.0, unit: None });
    let named = s.take("rate_unit", unit);
    if let (Some(one), Some(other)) = (of_rate, named)
        && one != other
    {
        s.mistake("rate_unit", "contradicts the unit in the rate: give one of them");
    }
    let unit = of_rate.or(named).unwrap_or_default();
    Load::of(ArrivalRate {
        rate: per_second,
        unit,
        poisson: s.take("spacing", spacing).unwrap_or(true),
        stages: stages(s, staged, "rate", |text| rate_in(text, unit)).unwrap_or_default(),
        workers,
    })
}

fn spacing(text: &str) -> Result<bool, String> {
    match text {
        "poisson" => Ok(true),
        "even" => Ok(false),
        _ => Err(format!("{text:?} is neither poisson nor even")),
    }
}

impl Executor for ArrivalRate {
    fn kind(&self) -> &'static Kind {
        &KIND
    }

    fn stages(&self) -> &[Stage] {
        &self.stages
    }

    fn workers(&self) -> Ramp {
        Ramp::constant(self.workers.into())
    }

    fn rate(&self) -> Option<Ramp> {
        Some(config::ramp(self.rate, &self.stages))
    }

    fn rate_unit(&self) -> Option<RateUnit> {
        Some(self.unit)
    }

    fn recorded(&self) -> plan::Load {
        let Self { rate, unit, poisson, stages, workers } = self.clone();
        plan::Load::ArrivalRate { rate, unit, poisson, stages, workers }
    }

    fn start(&self, context: Context) -> Start {
        let Context { gauges, schedule, back_off, clock, runtimes, stop, permit, .. } = context;
        let unit = self.unit;
        let spacing = if self.poisson { Spacing::Poisson { seed: back_off.seed } } else { Spacing::Even };
        let relay = Arc::new(Relay::new(runtimes));
        Box::new(move |workforce, place| {
            let (gauges, schedule, relay) = (Arc::clone(&gauges), schedule.clone(), Arc::clone(&relay));
            let permit = Arc::clone(&permit);
            let runtime =
                ArrivalLoop { workforce, gauges, schedule, unit, spacing, clock, place, relay, permit };
            Box::pin(runtime.run(stop.clone()))
        })
    }
}

/// Starts due iterations on its runtime; [`run`] has its loop.
struct ArrivalLoop {
    /// Creates the workers.
    workforce: Arc<dyn Workforce>,
    /// Counts this runtime's workers and arrivals.
    gauges: Arc<Gauges>,
    /// The schedule; must have its first value already.
    schedule: watch::Receiver<Arc<ArrivalSchedule>>,
    /// The unit of the rate.
    unit: RateUnit,
    /// The spacing of arrivals.
    spacing: Spacing,
    /// The run's clock.
    clock: Clock,
    /// This runtime's place in the process, from 0, and the number of runtimes n. It starts every n-th
    /// arrival.
    place: (u32, u32),
    /// The connection to the other runtimes.
    relay: Arc<Relay>,
    /// Whether arrivals may start.
    permit: Arc<Permit>,
}

#[cfg(test)]
mod tests;
