//! "Simulate about 500 requests per second": as many workers as that takes at the measured response time.
//!
//! Little's law gives the number: requests per second, times the seconds that a worker needs for each. Some
//! more workers than that are kept, and *pacing* keeps them at the rate: each request takes at least `workers
//! ÷ rate` seconds of a worker. So the rate is exact with any whole number of workers, and there is no burst
//! after a stall of the CA.
//!
//! [`Controller`] decides, as a pure function of what it observed; [`Adapter`] passes it the gauges and
//! applies its decisions.
//!
//! | the rate is | and | then |
//! | --- | --- | --- |
//! | reached | the law requires more or fewer workers | a part of the difference |
//! | short | there are fewer workers than the law requires | up to half as many again, then the effect is measured |
//! | short | two such steps had almost no effect | back to the number before them: the CA is *saturated*; another try later |
//! | short | the law requires more than the cap | the cap |

mod controller;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use wec_acme::Clock;
use wec_record::Reach;
use wec_record::plan::{self, RateUnit, Stage};
use wec_startup::Stop;

use self::controller::{Controller, Observation, Steering};
use super::closed::ClosedModel;
use super::config::{self, RateKey, rate, rate_in, stages};
use super::worker_loop::LoopConfig;
use super::{ArrivalSchedule, Context, Executor, Gauges, Kind, Load, Start};
use crate::pace::Ramp;
use crate::settings::Key;
use crate::settings::KeyKind::Number;
use crate::settings::Scope;

/// The row of the table of executors.
pub(super) const KIND: Kind = Kind {
    name: "target-rps",
    keys: &[Key::of_executor(
        "target_rps",
        "RPS",
        Number,
        "Reach this many requests per second by adjusting the number of workers",
    )],
    staged: true,
    selected_by: Some("target_rps"),
    thinks: false,
    rate: Some(RateKey { name: "target_rps", read: rate }),
    read,
};

#[derive(Clone, Debug)]
struct TargetRps {
    /// Requests per second, at the start.
    target_rps: f64,
    stages: Vec<Stage>,
    /// The largest number of workers.
    workers: u32,
}

fn read(s: &mut Scope<'_>, staged: bool) -> Load {
    let workers = config::workers(s).unwrap_or(config::WORKERS_CAP);
    let requests = |text: &str| rate_in(text, RateUnit::Requests);
    let target_rps = s.take("target_rps", requests);
    if target_rps.is_none() && !s.is_given("target_rps") {
        s.mistake("target_rps", "missing: give the requests per second, as in 500");
    }
    let stages = stages(s, staged, "target_rps", requests).unwrap_or_default();
    Load::of(TargetRps { target_rps: target_rps.unwrap_or_default(), stages, workers })
}

impl Executor for TargetRps {
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
        Some(config::ramp(self.target_rps, &self.stages))
    }

    fn rate_unit(&self) -> Option<RateUnit> {
        Some(RateUnit::Requests)
    }

    fn adapts_workers(&self) -> bool {
        true
    }

    fn recorded(&self) -> plan::Load {
        let Self { target_rps, stages, workers } = self.clone();
        plan::Load::TargetRps { target_rps, stages, workers }
    }

    fn start(&self, context: Context) -> Start {
        let Context { gauges, schedule, back_off, clock, stop, permit, .. } = context;
        // The number on the board is the cap; the controller sets the number of workers.
        let (workers, pacing) = (watch::Sender::new(0), watch::Sender::new(Duration::ZERO));
        let (target, paced) = (workers.subscribe(), pacing.subscribe());
        let adapter = Adapter { gauges: Arc::clone(&gauges), schedule, workers, pacing, clock };
        let adapter = Mutex::new(Some(adapter));
        Box::new(move |workforce, place| {
            let config = LoopConfig {
                pacing: Some(paced.clone()),
                back_off,
                permit: Some(Arc::clone(&permit)),
                ..LoopConfig::default()
            };
            let (gauges, target) = (Arc::clone(&gauges), target.clone());
            let workers = ClosedModel { workforce, gauges, target, config, place };
            // One for the process, on the runtime that comes first.
            let adapter = adapter.lock().unwrap_or_else(PoisonError::into_inner).take();
            let stop = stop.clone();
            Box::pin(async move {
                let adapted = async {
                    if let Some(adapter) = adapter {
                        adapter.run(stop.clone()).await;
                    }
                };
                tokio::join!(adapted, workers.run(stop.clone()));
            })
        })
    }
}

/// Passes measurements to a [`Controller`] and applies its decisions: one for each scenario and process. The
/// [`ClosedModel`] of each runtime follows `workers`, and its workers follow `pacing`.
struct Adapter {
    /// Counts the workers of all runtimes.
    gauges: Arc<Gauges>,
    /// The schedule; the ramp is in requests per second.
    schedule: watch::Receiver<Arc<ArrivalSchedule>>,
    /// Target number of workers.
    workers: watch::Sender<u32>,
    /// The time of a worker for each request.
    pacing: watch::Sender<Duration>,
    /// The run's clock.
    clock: Clock,
}

impl Adapter {
    /// Runs until `stop.finish`.
    async fn run(mut self, stop: Stop) {
        let mut controller = Controller::new(0.0, 0);
        let mut ticks = interval(Controller::EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut reported = Reach::Approaching;
        let mut watched = true;
        loop {
            let ticked = tokio::select! {
                _ = ticks.tick() => true,
                changed = self.schedule.changed(), if watched => {
                    watched = changed.is_ok();
                    false
                }
                () = stop.finish.cancelled() => return,
            };
            let schedule = Arc::clone(&self.schedule.borrow_and_update());
            let now = self.clock.now();
            if !schedule.runs(now) {
                self.set(0, Duration::ZERO);
                continue;
            }
            let at = schedule.active(now);
            let rate = schedule.ramp.at(at);
            controller.steer(rate, schedule.workers_cap);
            let steering =
                if ticked { controller.observe(self.observation(at)) } else { controller.steering() };
            self.set(steering.workers, steering.interval);
            self.gauges.set_reach(steering.reach);
            if std::mem::replace(&mut reported, steering.reach) != steering.reach {
                report(steering, rate);
            }
        }
    }

    fn observation(&self, at: Duration) -> Observation {
        Observation {
            at,
            iterations: self.gauges.iterations(),
            requests: self.gauges.requests(),
            occupied: self.gauges.occupied(),
        }
    }

    fn set(&self, workers: u32, interval: Duration) {
        if workers == 0 {
            // Pacing is not changed: a shorter one would let workers start an iteration before they know that
            // they have to end.
            self.workers.send_if_modified(|now| std::mem::replace(now, 0) != 0);
            return;
        }
        self.pacing.send_if_modified(|now| std::mem::replace(now, interval) != interval);
        self.workers.send_if_modified(|now| std::mem::replace(now, workers) != workers);
    }
}

fn report(Steering { workers, reach, .. }: Steering, rate: f64) {
    match reach {
        Reach::Approaching => {}
        Reach::Reached => tracing::info!(workers, "{rate} requests/s are reached"),
        Reach::Capped => tracing::warn!(
            workers,
            "{rate} requests/s were not reached: the cap on workers is too low for this CA's response time"
        ),
        Reach::Saturated => tracing::warn!(
            workers,
            "{rate} requests/s are not reached, and more workers do not increase the rate: this is the CA's limit"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn steers_real_workers_to_the_rate_through_changes_and_pauses() {
        use std::sync::atomic::{AtomicU32, Ordering};

        use tokio_util::sync::CancellationToken;

        use super::super::{BoxFuture, Iterated, VirtualUser, Workforce};

        struct Steady(AtomicU32);
        struct Hand(u32);
        impl Workforce for Steady {
            fn worker(&self, _number: u32) -> Box<dyn VirtualUser> {
                Box::new(Hand(self.0.fetch_add(1, Ordering::SeqCst)))
            }
        }
        impl VirtualUser for Hand {
            fn iterate<'a>(
                &'a mut self,
                _due: Option<u64>,
                _cut: &'a CancellationToken,
            ) -> BoxFuture<'a, Iterated> {
                Box::pin(async {
                    self.0 = self.0 % 9 + 1;
                    tokio::time::sleep(Duration::from_millis(30) * self.0).await;
                    Iterated::Answered { requests: self.0 }
                })
            }
        }

        let clock = Clock::start();
        let (gauges, stop) = (Arc::new(Gauges::default()), Stop::default());
        let origin = 20_000_000_000;
        let schedule = ArrivalSchedule {
            ramp: Ramp::constant(300.0),
            origin,
            paused_at: None,
            workers_cap: 1000,
            registration: 0,
            members: crate::share::MemberShare::default(),
            of_all: None,
        };
        let (steer, schedule) = watch::channel(Arc::new(schedule));
        let (workers, pacing) = (watch::Sender::new(0), watch::Sender::new(Duration::ZERO));
        let mut tasks = tokio::task::JoinSet::new();
        for place in 0..2 {
            let workers = ClosedModel {
                workforce: Arc::new(Steady(AtomicU32::new(place))),
                gauges: Arc::clone(&gauges),
                target: workers.subscribe(),
                config: LoopConfig { pacing: Some(pacing.subscribe()), ..LoopConfig::default() },
                place: (place, 2),
            };
            tasks.spawn(workers.run(stop.clone()));
        }
        let driver = Adapter { gauges: Arc::clone(&gauges), schedule, workers, pacing, clock };
        tasks.spawn(driver.run(stop.clone()));

        let rate_over = async |seconds: u64| {
            let before = gauges.requests();
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            (gauges.requests() - before) as f64 / seconds as f64
        };
        assert_eq!((rate_over(19).await, gauges.workers()), (0.0, 0), "the load starts later");
        rate_over(11).await;
        let rate = rate_over(30).await;
        assert!((rate / 300.0 - 1.0).abs() <= 0.05, "{rate}");
        assert_eq!(gauges.reach(), Reach::Reached);

        steer.send_modify(|schedule| Arc::make_mut(schedule).ramp = Ramp::constant(60.0));
        rate_over(5).await;
        let rate = rate_over(30).await;
        assert!((rate / 60.0 - 1.0).abs() <= 0.05, "{rate}");

        steer.send_modify(|schedule| Arc::make_mut(schedule).paused_at = Some(0));
        rate_over(2).await;
        assert_eq!((rate_over(60).await, gauges.workers()), (0.0, 0));
        steer.send_modify(|schedule| {
            let schedule = Arc::make_mut(schedule);
            schedule.paused_at = None;
            schedule.origin += 62_000_000_000;
        });
        rate_over(5).await;
        let rate = rate_over(30).await;
        assert!((rate / 60.0 - 1.0).abs() <= 0.05, "{rate}");

        stop.finish.cancel();
        while tasks.join_next().await.transpose().unwrap().is_some() {}
        assert_eq!((gauges.workers(), gauges.busy()), (0, 0));
    }
}
