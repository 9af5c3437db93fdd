//! A fleet of certificates: an iteration starts when one of its clients tries to renew.
//!
//! The fleet has a clock of its own. Its *speed*, seconds of the fleet in a second of the run, is the rate of the
//! scenario: so it is changed and paused as any rate, and the number of the fleet's seconds that have begun is the
//! integral of it. How an iteration ends decides what its client does next: one without a certificate tries again as
//! its class does. A Retry-After is counted on the fleet's clock.
//!
//! Several nodes share the members, not the speed: the clock of each runs at the whole speed. Each member is of one
//! node; for the others it is served at once.
//!
//! Events that people add during the run are given to the fleet when its next second begins.
//!
//! One runtime after the other may be the first to see a second begin. It gives the members that try to all runtimes in
//! turn, evenly spaced within the second. An attempt whose runtime has no free worker is *not sent*.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use wec_acme::Clock;
use wec_fleet::class::Weighted;
use wec_fleet::seat::hash;
use wec_fleet::{
    Cohorts, Event, Extremes, FleetSettings, Flow, LiveFleet, MAX_SPEED, Member, Outcome, Scenario, Second,
    Tick, time,
};
use wec_record::plan;
use wec_startup::Stop;

use super::config::{Rate, RateKey};
use super::gauges::Counted;
use super::{
    ArrivalSchedule, Context, Executor, Gauges, Kind, Load, Renewal, Start, VirtualUser, Workforce, config,
    slots_of,
};
use crate::alarm::Alarm;
use crate::pace::Ramp;
use crate::permit::Permit;
use crate::settings::Key;
use crate::settings::KeyKind::{Number, Text};
use crate::settings::Scope;

/// The row of the table of executors.
pub(super) const KIND: Kind = Kind {
    name: plan::FLEET,
    keys: &[
        Key::of_executor(
            "fleet_certificates",
            "N",
            Text,
            "Number of certificates of a fleet: chains start when its clients renew. See wec fleet for its events and \
             classes",
        ),
        Key::of_executor(
            "fleet_speed",
            "N",
            Number,
            "Seconds of the fleet's clock in a second: 1440 for a day in a minute [default: 1]",
        ),
    ],
    staged: false,
    selected_by: Some("fleet_certificates"),
    thinks: false,
    rate: Some(RateKey {
        name: "fleet_speed",
        read: |text| speed(text).map(|per_second| Rate { per_second, unit: None }),
    }),
    read,
};

/// A fleet that is driven: what an executor runs, and what others read of it.
#[derive(Clone, Debug)]
pub struct FleetDrive {
    scenario: Arc<Scenario>,
    from: Second,
    speed: f64,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    fleet: LiveFleet,
    /// The members that try, for each runtime.
    inboxes: Vec<VecDeque<Attempt>>,
    /// The runtime that gets the next one.
    next: usize,
    /// How many of the events that people added the fleet has.
    events: usize,
}

/// A member that tries.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    member: Member,
    /// Seconds of the fleet's clock since the beginning.
    position: f64,
}

/// What happened to a fleet that is driven.
#[derive(Clone, Debug)]
pub struct FleetAccount {
    /// What happened since the beginning, by class.
    pub classes: Vec<Flow>,
    /// The levels.
    pub tick: Tick,
    /// Attempts that have not ended.
    pub in_flight: u64,
    /// The worst second and the largest backlog.
    pub extremes: Extremes,
    /// The next second of the fleet's clock.
    pub now: Second,
}

impl FleetDrive {
    /// A fleet at the second at which it begins, with its speed.
    pub fn new(scenario: Scenario, fleet: LiveFleet, speed: f64) -> Self {
        let from = fleet.now();
        let shared = Shared { fleet, inboxes: Vec::new(), next: 0, events: 0 };
        Self { scenario: Arc::new(scenario), from, speed, shared: Arc::new(Mutex::new(shared)) }
    }

    /// The load of a scenario, with this cap on workers.
    pub fn load(&self, workers: u32) -> Load {
        Load::of(Fleet { drive: self.clone(), workers })
    }

    /// What has happened so far.
    pub fn account(&self) -> FleetAccount {
        let shared = self.lock();
        let (classes, tick) = (shared.fleet.totals(), shared.fleet.tick().clone());
        let extremes = shared.fleet.extremes();
        FleetAccount { classes, tick, in_flight: shared.fleet.in_flight(), extremes, now: shared.fleet.now() }
    }

    /// The fleet.
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// The second of its clock at which the run begins.
    pub const fn from(&self) -> Second {
        self.from
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        // A panic of another runtime is reported elsewhere; the counts are still the best there are.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins the seconds that are due, and takes the attempts of the runtime at this place. Returns when the next
    /// second begins.
    fn advance(
        &self,
        schedule: &ArrivalSchedule,
        now: u64,
        place: (u32, u32),
        mine: &mut VecDeque<Attempt>,
    ) -> Option<u64> {
        let mut shared = self.lock();
        let next = loop {
            let second = shared.fleet.now() - self.from;
            match schedule.due(f64::from(second)) {
                Some(due) if due <= now => shared.begin(second, place.1, (schedule, due)),
                next => break next,
            }
        };
        if let Some(inbox) = shared.inboxes.get_mut(place.0 as usize) {
            mine.append(inbox);
        }
        next
    }

    /// Gives the fleet the events that it does not have yet. They begin with its next second, if they have no time.
    fn happen(&self, events: &[String]) {
        let mut shared = self.lock();
        let now = shared.fleet.now();
        for event in events.iter().skip(shared.events) {
            match Event::live(event, now) {
                Ok(begins) => {
                    if event.parse::<Event>().is_ok_and(|asked| event.contains(" at ") && asked.at() < now) {
                        let at = time::moment_text(self.scenario.start_day, now);
                        tracing::warn!(
                            "\"{event}\" begins now, at {at} of the fleet's clock: its time is over"
                        );
                    }
                    shared.fleet.add(begins);
                }
                // The board has checked it; another version may know more kinds.
                Err(why) => tracing::warn!("the fleet ignores an event: {why}"),
            }
        }
        shared.events = shared.events.max(events.len());
    }

    fn ended(&self, member: Member, outcome: Outcome) {
        self.lock().fleet.ended(member, outcome);
    }
}

impl Shared {
    /// Begins a second that is due at a moment of the clock.
    fn begin(&mut self, second: Second, runtimes: u32, (schedule, due): (&ArrivalSchedule, u64)) {
        let Self { fleet, inboxes, next, .. } = self;
        inboxes.resize_with(runtimes as usize, VecDeque::new);
        let mut tries = Vec::new();
        let members = &schedule.members;
        fleet.step_part((members.nodes(), |number| members.has(number, due)), |member| tries.push(member));
        // In no order of classes: the CA would refuse those at the end of a busy second.
        tries.sort_unstable_by_key(|member| hash(u64::from(second.unsigned_abs()), member.number.into()));
        let count = tries.len() as f64;
        for (number, member) in (0u32..).zip(tries) {
            let position = f64::from(second) + (f64::from(number) + 0.5) / count;
            inboxes[*next].push_back(Attempt { member, position });
            *next = (*next + 1) % inboxes.len();
        }
    }
}

/// The executor's configuration.
#[derive(Clone, Debug)]
struct Fleet {
    drive: FleetDrive,
    /// The largest number of workers.
    workers: u32,
}

/// A fleet of this size as it is by default; `wec fleet drive` makes others.
fn read(s: &mut Scope<'_>, _staged: bool) -> Load {
    let settings =
        |text: &str| FleetSettings { certificates: text.to_owned(), ..FleetSettings::default() }.read();
    let scenario = s.take("fleet_certificates", |text| settings(text).map_err(|wrong| wrong.to_string()));
    if scenario.is_none() && !s.is_given("fleet_certificates") {
        s.mistake("fleet_certificates", "missing: give the number of certificates, as in 100000");
    }
    let speed = s.take("fleet_speed", speed).unwrap_or(1.0);
    let workers = config::workers(s).unwrap_or(config::WORKERS_CAP);
    match scenario.or_else(|| settings("1").ok()) {
        Some(scenario) => {
            let fleet = LiveFleet::of(Cohorts::new(scenario.clone()));
            FleetDrive::new(scenario, fleet, speed).load(workers)
        }
        None => Load::of_workers(0, Vec::new()),
    }
}

/// Seconds of the fleet in a second.
///
/// # Errors
/// The message has the text and what is allowed.
pub fn speed(text: &str) -> Result<f64, String> {
    let speed = text.trim().parse::<f64>().ok().filter(|speed| (0.001..=MAX_SPEED).contains(speed));
    speed.ok_or_else(|| {
        format!("{text:?} is not a speed from 0.001 to {MAX_SPEED}, as 1440 for a day in a minute")
    })
}

impl Executor for Fleet {
    fn kind(&self) -> &'static Kind {
        &KIND
    }

    fn workers(&self) -> Ramp {
        Ramp::constant(self.workers.into())
    }

    fn rate(&self) -> Option<Ramp> {
        Some(Ramp::constant(self.drive.speed))
    }

    fn fleet(&self) -> Option<&FleetDrive> {
        Some(&self.drive)
    }

    fn recorded(&self) -> plan::Load {
        let Scenario { certificates, lifetime, classes, events, seed, .. } = &*self.drive.scenario;
        let seconds = |seconds: i32| plan::Time(Duration::from_secs(u64::from(seconds.unsigned_abs())));
        plan::Load::Fleet {
            certificates: *certificates,
            lifetime: seconds(*lifetime),
            classes: classes.iter().map(|(class, weight)| Weighted(*class, *weight).to_string()).collect(),
            events: events.iter().map(ToString::to_string).collect(),
            from: seconds(self.drive.from),
            seed: *seed,
            speed: self.drive.speed,
            workers: self.workers,
        }
    }

    fn start(&self, context: Context) -> Start {
        let Context { gauges, schedule, events, clock, permit, stop, .. } = context;
        let drive = self.drive.clone();
        Box::new(move |workforce, place| {
            let (gauges, schedule, events) = (Arc::clone(&gauges), schedule.clone(), events.clone());
            let (drive, permit) = (drive.clone(), Arc::clone(&permit));
            let runtime = FleetLoop { workforce, gauges, schedule, events, clock, permit, place, drive };
            Box::pin(runtime.run(stop.clone()))
        })
    }
}

/// Starts the attempts of its runtime.
struct FleetLoop {
    workforce: Arc<dyn Workforce>,
    gauges: Arc<Gauges>,
    schedule: watch::Receiver<Arc<ArrivalSchedule>>,
    events: watch::Receiver<Arc<Vec<String>>>,
    clock: Clock,
    permit: Arc<Permit>,
    place: (u32, u32),
    drive: FleetDrive,
}

impl FleetLoop {
    /// Runs until the last iteration has ended after `stop.finish`.
    async fn run(mut self, stop: Stop) {
        let mut alarm = Alarm::new(self.clock);
        let mut workers =
            Workers { free: Vec::new(), slots: Vec::new(), highest: 0, lost: 0, tasks: JoinSet::new() };
        let mut mine = VecDeque::new();
        let (mut watched, mut told) = (true, true);
        loop {
            self.drive.happen(&Arc::clone(&self.events.borrow_and_update()));
            let schedule = Arc::clone(&self.schedule.borrow_and_update());
            let now = self.clock.now();
            let next_second = self.drive.advance(&schedule, now, self.place, &mut mine);
            let next = loop {
                let due = mine.front().and_then(|attempt: &Attempt| schedule.due(attempt.position));
                match (due, mine.pop_front_if(|_| due.is_some_and(|due| due <= now))) {
                    (Some(due), Some(attempt)) => {
                        self.take(&mut workers, attempt.member, (due, now, &schedule), &stop)
                    }
                    (due, _) => break [due, next_second].into_iter().flatten().min(),
                }
            };
            if stop.finish.is_cancelled() {
                break;
            }
            tokio::select! {
                () = alarm.at(next.unwrap_or(u64::MAX)), if next.is_some() => {}
                changed = self.schedule.changed(), if watched => watched = changed.is_ok(),
                changed = self.events.changed(), if told => told = changed.is_ok(),
                Some(ended) = workers.tasks.join_next() => self.ended(&mut workers, ended, &schedule),
                () = stop.finish.cancelled() => {}
            }
        }
        let schedule = Arc::clone(&self.schedule.borrow());
        while let Some(ended) = workers.tasks.join_next().await {
            self.ended(&mut workers, ended, &schedule);
        }
    }

    /// Gives an attempt to a worker, or drops it.
    fn take(
        &self,
        workers: &mut Workers,
        renewed: Member,
        (due, now, schedule): (u64, u64, &ArrivalSchedule),
        stop: &Stop,
    ) {
        self.gauges.due.fetch_add(1, Ordering::Relaxed);
        let cap = slots_of(schedule.workers_cap, self.place);
        let may_start = self.permit.holds_for(schedule.registration)
            && !self.permit.is_late(now - due)
            && self.permit.starts(due, now);
        let worker = workers.free.pop_if(|_| may_start).or_else(|| {
            if !may_start {
                return None;
            }
            let slot = workers.slot(cap)?;
            let (place, of) = self.place;
            let user = self.workforce.worker(slot * of + place);
            Some(Worker { slot, user, _alive: Counted::one(&self.gauges, |gauges| &gauges.workers) })
        });
        let Some(mut worker) = worker else {
            self.gauges.dropped.fetch_add(1, Ordering::Relaxed);
            self.drive.ended(renewed, Outcome::NotSent);
            return;
        };
        self.gauges.started.fetch_add(1, Ordering::Relaxed);
        let (gauges, cut, clock) = (Arc::clone(&self.gauges), stop.cut.clone(), self.clock);
        workers.tasks.spawn(async move {
            gauges.lag.record(clock.now().saturating_sub(due));
            let _busy = Counted::one(&gauges, |gauges| &gauges.busy);
            let renewal = worker.user.renew(renewed.number, Some(due), &cut).await;
            (worker, renewed, renewal)
        });
    }

    fn ended(&self, workers: &mut Workers, ended: Result<Ended, JoinError>, schedule: &ArrivalSchedule) {
        match ended {
            Ok((worker, renewed, Renewal { iterated, outcome })) => {
                self.gauges.ended(iterated);
                if let Some(outcome) = outcome {
                    self.drive.ended(renewed, outcome);
                }
                // A lower cap ends workers.
                if workers.alive() <= slots_of(schedule.workers_cap, self.place) {
                    workers.free.push(worker);
                } else {
                    workers.slots.push(worker.slot);
                }
            }
            Err(error) => {
                tracing::error!(%error, "a worker ended by a panic; another takes its place");
                workers.lost += 1;
            }
        }
    }
}

/// The workers of one runtime.
struct Workers {
    /// The last one to become free is used first, so that fewer connections stay open.
    free: Vec<Worker>,
    /// Slots of workers that have ended.
    slots: Vec<u32>,
    /// Number of slots that were ever used.
    highest: u32,
    /// Workers that ended by a panic, whose slots are not used again.
    lost: u32,
    tasks: JoinSet<Ended>,
}

impl Workers {
    /// Number of workers, free or not.
    fn alive(&self) -> u32 {
        self.highest - self.lost - u32::try_from(self.slots.len()).unwrap_or(u32::MAX)
    }

    /// A slot for one more worker, below the cap.
    fn slot(&mut self, cap: u32) -> Option<u32> {
        if self.alive() >= cap {
            return None;
        }
        Some(self.slots.pop().unwrap_or_else(|| {
            self.highest += 1;
            self.highest - 1
        }))
    }
}

struct Worker {
    slot: u32,
    user: Box<dyn VirtualUser>,
    _alive: Counted,
}

type Ended = (Worker, Member, Renewal);
