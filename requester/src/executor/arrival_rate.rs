//! The open model: iterations start when they are due, whether or not earlier ones have ended.
//!
//! Users of a CA do not wait for each other, so a CA that becomes slow gets more and more of them at once. A free worker takes what is
//! due; where none is, one is made, up to a cap. Past the cap what is due is *dropped*: counted and shown, never put off, because
//! a queue on our side would hide how late the CA is.
//!
//! A worker that finds nothing it may run looks again a few times, because what another one holds may be free a moment later. Until
//! then it is not busy: it takes what is due next when there is nobody else, and what it looked for counts as idle.
//!
//! When the n-th is due is computed from the schedule ([`Ramp`]), so a late wake-up delays one start and moves no later one. What is
//! found late is started at once, with the moment it was due.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use wec_acme::Clock;
use wec_startup::Stop;

use super::alarm::Alarm;
use super::relay::{Arrival, Inbox, Relay};
use super::{Counted, Gauges, Iterated, VirtualUser, Workforce, slots_of};
use crate::pace::{Arrivals, Ramp, RequestBudget, Spacing};

/// What an open executor follows: this process's part of the load, as the conductor last saw it.
#[derive(Clone, Debug, PartialEq)]
pub struct Course {
    /// How many per second, over active time.
    pub ramp: Ramp,
    /// When active time was 0, nanoseconds of the clock; moved on by the length of each pause when it ends. Before the
    /// clock's own beginning on a node that came later.
    pub origin: i64,
    /// Since when nothing starts, nanoseconds of the clock, if it is so; what is running ends.
    pub paused_at: Option<i64>,
    /// The most workers this process may have.
    pub workers_cap: u32,
}

impl Course {
    /// How many were asked for until `now`, nanoseconds of the clock.
    pub fn asked(&self, now: u64) -> f64 {
        self.ramp.total(self.active(now))
    }

    /// The same until `now`, and nothing from there on.
    #[must_use]
    pub fn ended(&self, now: u64) -> Self {
        Self { ramp: self.ramp.until(self.active(now)), ..self.clone() }
    }

    /// Whether the schedule is at work at `now`: begun, and not paused.
    pub(crate) fn runs(&self, now: u64) -> bool {
        self.paused_at.is_none() && i64::try_from(now).unwrap_or(i64::MAX) >= self.origin
    }

    pub(super) fn active(&self, now: u64) -> Duration {
        let now = self.paused_at.unwrap_or_else(|| i64::try_from(now).unwrap_or(i64::MAX));
        Duration::from_nanos(u64::try_from(now.saturating_sub(self.origin)).unwrap_or_default())
    }

    /// When the schedule reaches `position`, nanoseconds of the clock; none when it never does, or not before a pause ends.
    fn due(&self, position: f64) -> Option<u64> {
        if self.paused_at.is_some() {
            return None;
        }
        let active = i64::try_from(self.ramp.when(position)?.as_nanos()).ok()?;
        u64::try_from(self.origin.checked_add(active)?).ok()
    }
}

/// What the rate counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Iterations.
    Chains,
    /// HTTP requests: as many chains as make that many.
    Requests,
}

impl Unit {
    /// The name, as in scenario files, on the board and in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chains => "chains",
            Self::Requests => "requests",
        }
    }
}

/// Starts iterations when they are due, on the runtime it is run on.
pub struct ArrivalRate {
    /// Who the workers are.
    pub workforce: Arc<dyn Workforce>,
    /// Where this runtime's workers and arrivals are counted.
    pub gauges: Arc<Gauges>,
    /// What to follow; must already be what the run begins with.
    pub course: watch::Receiver<Arc<Course>>,
    /// What the rate counts.
    pub unit: Unit,
    /// How arrivals lie in time.
    pub spacing: Spacing,
    /// The run's clock.
    pub clock: Clock,
    /// This runtime's place among those of the process, from 0, and their number. It starts every so many-th arrival.
    pub place: (u32, u32),
    /// The way to the others of them.
    pub relay: Arc<Relay>,
}

impl ArrivalRate {
    /// Runs until the last iteration has ended after `stop.finish`.
    ///
    /// What was due before that and not started yet, because this wake-up came late, is still started.
    pub async fn run(mut self, stop: Stop) {
        let mut alarm = Alarm::new(self.clock);
        let mut pace = Pace::new(self.unit, self.spacing, self.place);
        let mut crew = Crew::new(&self, &stop);
        let mut inbox = self.relay.inbox(self.place.0);
        let mut watched = true;
        loop {
            let course = Arc::clone(&self.course.borrow_and_update());
            crew.cap(slots_of(course.workers_cap, self.place));
            if course.paused_at.is_some() {
                crew.give_up_looking();
            }
            let now = self.clock.now();
            let next = loop {
                match course.due(pace.position()) {
                    Some(due) if due <= now => {
                        crew.take(Arrival { due, expected: pace.advance(), handed: false });
                    }
                    next => break next,
                }
            };
            // After what is due: that may want those who look again.
            crew.look_again(now);
            crew.say_spare(inbox.as_ref().map_or(0, Inbox::len));
            if stop.finish.is_cancelled() {
                break;
            }
            tokio::select! {
                () = alarm.at(next.unwrap_or(u64::MAX)), if next.is_some() => {}
                () = until_look(crew.next_look(), now) => {}
                changed = self.course.changed(), if watched => watched = changed.is_ok(),
                Some(arrival) = handed_over(&mut inbox) => crew.take(arrival),
                Some(ended) = crew.tasks.join_next() => crew.ended(ended, &mut pace),
                () = stop.finish.cancelled() => {}
            }
        }
        self.relay.say_spare(self.place.0, 0);
        if let Some(inbox) = &mut inbox {
            inbox.close();
            while let Some(arrival) = inbox.recv().await {
                crew.take(arrival);
            }
        }
        crew.give_up_looking();
        while let Some(ended) = crew.tasks.join_next().await {
            crew.ended(ended, &mut pace);
        }
    }
}

/// The next arrival that another runtime hands over; none for ever where none can.
async fn handed_over(inbox: &mut Option<Inbox>) -> Option<Arrival> {
    match inbox {
        Some(inbox) => inbox.recv().await,
        None => None,
    }
}

/// Where on the ramp's total the next arrival of this runtime lies.
struct Pace {
    arrivals: Arrivals,
    /// For requests: what the next chain lies at and what chains cost, in requests of this runtime.
    requests: Option<(f64, RequestBudget)>,
    /// Among how many runtimes, and this one's place.
    place: (u32, u32),
}

impl Pace {
    fn new(unit: Unit, spacing: Spacing, (place, of): (u32, u32)) -> Self {
        let (arrivals, requests) = match unit {
            Unit::Chains => (Arrivals::new(spacing, (place, of)), None),
            Unit::Requests => {
                // Chains' costs differ, so there is no one sequence to share: each runtime has its own.
                let spacing = match spacing {
                    Spacing::Even => Spacing::Even,
                    Spacing::Poisson { seed } => {
                        Spacing::Poisson { seed: seed.wrapping_add(u64::from(place) << 48) }
                    }
                };
                let budget = RequestBudget::new();
                let offset = match spacing {
                    Spacing::Even => f64::from(place) / f64::from(of),
                    Spacing::Poisson { .. } => Arrivals::new(spacing, (0, 1)).next(),
                };
                (Arrivals::new(spacing, (0, 1)), Some((offset * budget.per_chain(), budget)))
            }
        };
        Self { arrivals, requests, place: (place, of) }
    }

    fn position(&self) -> f64 {
        match &self.requests {
            Some((position, _)) => position * f64::from(self.place.1),
            None => self.arrivals.next(),
        }
    }

    /// Goes on to the next arrival; gives what the one before it is taken to make.
    fn advance(&mut self) -> f64 {
        let gap = self.arrivals.advance();
        let Some((position, budget)) = &mut self.requests else { return 1.0 };
        let charge = budget.charge();
        *position += gap * charge.requests;
        charge.expected
    }

    fn ended(&mut self, expected: f64, iterated: Iterated) {
        if let (Some((_, budget)), Some(requests)) = (&mut self.requests, iterated.requests()) {
            budget.ended(expected, requests);
        }
    }
}

/// How long to wait before a worker that found nothing looks again: what another one holds may be free a moment later.
const LOOKS_AGAIN: [Duration; 3] = [Duration::ZERO, Duration::from_millis(10), Duration::from_millis(40)];

/// Waits for the moment at which somebody looks again; for ever where there is none.
async fn until_look(at: Option<u64>, now: u64) {
    match at {
        Some(at) => tokio::time::sleep(Duration::from_nanos(at.saturating_sub(now))).await,
        None => std::future::pending().await,
    }
}

/// The workers of one runtime: free ones, those in an iteration, and those that found nothing and will look again.
struct Crew {
    workforce: Arc<dyn Workforce>,
    gauges: Arc<Gauges>,
    stop: Stop,
    clock: Clock,
    place: (u32, u32),
    relay: Arc<Relay>,
    cap: u32,
    /// How many there are, free or not.
    alive: u32,
    /// The last one to become free is the first to be used again: fewer stay warm.
    free: Vec<Member>,
    /// Who will look again, by how often they have; in each the first to do so is at the front.
    looking: [VecDeque<Looking>; LOOKS_AGAIN.len()],
    /// Slots that were given up.
    slots: Vec<u32>,
    /// How many slots there ever were.
    highest: u32,
    tasks: JoinSet<(Member, Errand, Iterated)>,
}

struct Member {
    slot: u32,
    user: Box<dyn VirtualUser>,
    _alive: Counted,
}

/// What a worker was given to do.
#[derive(Clone, Copy)]
struct Errand {
    due: u64,
    /// How many requests it is taken to make, where the rate counts them.
    expected: f64,
    /// How often its worker has looked again for something to run.
    looks: usize,
}

struct Looking {
    /// When it looks again, nanoseconds of the clock.
    at: u64,
    member: Member,
    errand: Errand,
}

impl Crew {
    fn new(executor: &ArrivalRate, stop: &Stop) -> Self {
        Self {
            workforce: Arc::clone(&executor.workforce),
            gauges: Arc::clone(&executor.gauges),
            stop: stop.clone(),
            clock: executor.clock,
            place: executor.place,
            relay: Arc::clone(&executor.relay),
            cap: 0,
            alive: 0,
            free: Vec::new(),
            looking: Default::default(),
            slots: Vec::new(),
            highest: 0,
            tasks: JoinSet::new(),
        }
    }

    /// Follows a cap: free workers beyond it go now, others when their iteration has ended.
    fn cap(&mut self, cap: u32) {
        self.cap = cap;
        while self.alive > cap
            && let Some(member) = self.free.pop()
        {
            self.dismiss(&member);
        }
    }

    fn dismiss(&mut self, member: &Member) {
        self.alive -= 1;
        self.slots.push(member.slot);
    }

    /// Has a worker do what is due, or another runtime, or drops it.
    fn take(&mut self, arrival: Arrival) {
        let member = self.free.pop().or_else(|| self.recruit()).or_else(|| self.called_back());
        let Some(member) = member else {
            let refused =
                if arrival.handed { Err(arrival) } else { self.relay.hand_over(self.place.0, arrival) };
            if refused.is_err() {
                self.gauges.due.fetch_add(1, Ordering::Relaxed);
                self.gauges.dropped.fetch_add(1, Ordering::Relaxed);
            }
            return;
        };
        let Arrival { due, expected, .. } = arrival;
        self.gauges.due.fetch_add(1, Ordering::Relaxed);
        self.gauges.started.fetch_add(1, Ordering::Relaxed);
        self.set_out(member, Errand { due, expected, looks: 0 });
    }

    /// Tells the other runtimes how many workers there are for what they cannot do, beside so many arrivals that wait here.
    fn say_spare(&self, waiting: usize) {
        let busy = u32::try_from(self.tasks.len() + waiting).unwrap_or(u32::MAX);
        self.relay.say_spare(self.place.0, self.cap.saturating_sub(busy));
    }

    fn set_out(&mut self, mut member: Member, errand: Errand) {
        let (gauges, cut, clock) = (Arc::clone(&self.gauges), self.stop.cut.clone(), self.clock);
        self.tasks.spawn(async move {
            if errand.looks == 0 {
                gauges.lag.record(clock.now().saturating_sub(errand.due));
            }
            let _busy = Counted::one(&gauges, |gauges| &gauges.busy);
            let iterated = member.user.iterate(Some(errand.due), &cut).await;
            (member, errand, iterated)
        });
    }

    /// The worker that has looked most often and found nothing; that is over now.
    fn called_back(&mut self) -> Option<Member> {
        let Looking { member, .. } = self.looking.iter_mut().rev().find_map(VecDeque::pop_front)?;
        self.gauges.ended(Iterated::Idle);
        Some(member)
    }

    fn next_look(&self) -> Option<u64> {
        self.looking.iter().filter_map(|looking| Some(looking.front()?.at)).min()
    }

    fn look_again(&mut self, now: u64) {
        for times in 0..self.looking.len() {
            while let Some(Looking { member, mut errand, .. }) =
                self.looking[times].pop_front_if(|looking| looking.at <= now)
            {
                errand.looks += 1;
                self.set_out(member, errand);
            }
        }
    }

    /// Nobody looks again: what they looked for was not there.
    fn give_up_looking(&mut self) {
        while let Some(member) = self.called_back() {
            self.released(member);
        }
    }

    fn recruit(&mut self) -> Option<Member> {
        if self.alive >= self.cap {
            return None;
        }
        self.alive += 1;
        let slot = self.slots.pop().unwrap_or_else(|| {
            self.highest += 1;
            self.highest - 1
        });
        let (place, of) = self.place;
        let user = self.workforce.worker(slot * of + place);
        Some(Member { slot, user, _alive: Counted::one(&self.gauges, |gauges| &gauges.workers) })
    }

    fn ended(&mut self, ended: Result<(Member, Errand, Iterated), JoinError>, pace: &mut Pace) {
        match ended {
            Ok((member, errand, iterated)) => {
                if iterated == Iterated::Idle
                    && self.alive <= self.cap
                    && !self.stop.finish.is_cancelled()
                    && let Some(wait) = LOOKS_AGAIN.get(errand.looks)
                {
                    let at = self.clock.now() + wait.as_nanos() as u64;
                    self.looking[errand.looks].push_back(Looking { at, member, errand });
                    return;
                }
                self.gauges.ended(iterated);
                pace.ended(errand.expected, iterated);
                self.released(member);
            }
            Err(error) => {
                tracing::error!(%error, "a worker ended by a panic; another takes its place");
                self.alive -= 1;
            }
        }
    }

    /// A worker has nothing to do any more.
    fn released(&mut self, member: Member) {
        if self.alive > self.cap {
            self.dismiss(&member);
        } else {
            self.free.push(member);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Mutex;

    use tokio_util::sync::CancellationToken;

    use super::super::BoxFuture;
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Workers that take `takes` for an iteration, and what they were given to do.
    struct Diary {
        clock: Clock,
        takes: Mutex<Duration>,
        /// When each iteration was due and when it started.
        started: Mutex<Vec<(u64, u64)>>,
        cut: Mutex<u32>,
        /// How often the next asks find nothing.
        idle: Mutex<u32>,
        by_worker: Mutex<HashMap<u32, u32>>,
        requests: u32,
    }

    struct Keeper(Arc<Diary>, u32);

    impl Workforce for Arc<Diary> {
        fn worker(&self, number: u32) -> Box<dyn VirtualUser> {
            Box::new(Keeper(Self::clone(self), number))
        }
    }

    impl VirtualUser for Keeper {
        fn iterate<'a>(
            &'a mut self,
            due: Option<u64>,
            cut: &'a CancellationToken,
        ) -> BoxFuture<'a, Iterated> {
            Box::pin(async move {
                let diary = &self.0;
                let idle = {
                    let mut left = diary.idle.lock().unwrap();
                    let idle = *left > 0;
                    *left = left.saturating_sub(1);
                    idle
                };
                if idle {
                    return Iterated::Idle;
                }
                diary.started.lock().unwrap().push((due.unwrap(), diary.clock.now()));
                *diary.by_worker.lock().unwrap().entry(self.1).or_default() += 1;
                let takes = *diary.takes.lock().unwrap();
                tokio::select! {
                    () = tokio::time::sleep(takes) => {}
                    () = cut.cancelled() => *diary.cut.lock().unwrap() += 1,
                }
                Iterated::Answered { requests: diary.requests }
            })
        }
    }

    struct Running {
        diary: Arc<Diary>,
        gauges: Arc<Gauges>,
        course: watch::Sender<Arc<Course>>,
        stop: Stop,
        tasks: JoinSet<()>,
    }

    impl Running {
        fn start(ramp: Ramp, cap: u32, takes: Duration) -> Self {
            Self::with(ramp, cap, takes, Unit::Chains, Spacing::Even, 1)
        }

        fn with(ramp: Ramp, cap: u32, takes: Duration, unit: Unit, spacing: Spacing, of: u32) -> Self {
            let clock = Clock::start();
            let diary = Arc::new(Diary {
                clock,
                takes: Mutex::new(takes),
                started: Mutex::default(),
                cut: Mutex::default(),
                idle: Mutex::default(),
                by_worker: Mutex::default(),
                requests: 4,
            });
            let (course, followed) =
                watch::channel(Arc::new(Course { ramp, origin: 0, paused_at: None, workers_cap: cap }));
            let gauges = Arc::new(Gauges::default());
            let stop = Stop::default();
            let mut tasks = JoinSet::new();
            let relay = Arc::new(Relay::new(of));
            for place in 0..of {
                let executor = ArrivalRate {
                    workforce: Arc::new(Arc::clone(&diary)),
                    gauges: Arc::clone(&gauges),
                    course: followed.clone(),
                    unit,
                    spacing,
                    clock,
                    place: (place, of),
                    relay: Arc::clone(&relay),
                };
                tasks.spawn(executor.run(stop.clone()));
            }
            Self { diary, gauges, course, stop, tasks }
        }

        fn steer(&self, change: impl FnOnce(&mut Course)) {
            self.course.send_modify(|course| change(Arc::make_mut(course)));
        }

        fn started(&self) -> Vec<(u64, u64)> {
            self.diary.started.lock().unwrap().clone()
        }

        fn count(&self) -> u64 {
            self.started().len() as u64
        }

        async fn finish(&mut self) {
            self.stop.finish.cancel();
            while self.tasks.join_next().await.transpose().unwrap().is_some() {}
            assert_eq!((self.gauges.workers(), self.gauges.busy()), (0, 0), "nothing leaks");
            assert_eq!(self.gauges.due(), self.gauges.started() + self.gauges.dropped());
        }
    }

    async fn pass(time: Duration) {
        tokio::time::sleep(time).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_minute_at_500_a_second_is_30_000_whatever_the_number_of_runtimes() {
        for of in [1, 2, 7] {
            let ramp = Ramp::constant(500.0).until(s(60));
            let mut running =
                Running::with(ramp, 100, Duration::from_millis(20), Unit::Chains, Spacing::Even, of);
            pass(s(61)).await;
            running.finish().await;
            assert_eq!((running.count(), running.gauges.dropped()), (30_000, 0), "{of} runtimes");
            let mut dues: Vec<_> = running.started().iter().map(|(due, _)| *due).collect();
            dues.sort_unstable();
            let expected = (0..30_000u64).map(|n| n * SECOND / 500);
            assert!(dues.into_iter().eq(expected), "{of} runtimes");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_ramp_of_hours_does_not_drift_and_nothing_starts_early() {
        let mut running =
            Running::start(Ramp::stages(0.0, [(2.0, s(7200)), (2.0, s(3600)), (0.0, s(7200))]), 10, s(1));
        for hour in 1..=5u64 {
            pass(s(3600)).await;
            let due = running.course.borrow().ramp.total(s(3600 * hour));
            assert!((running.count() as f64 - due).abs() <= 2.0, "hour {hour}: {} of {due}", running.count());
        }
        running.finish().await;
        assert_eq!(running.count(), 7200 * 3);
        for (due, start) in running.started() {
            // tokio's own timer, which serves while time is paused, counts milliseconds.
            assert!((due..=due + 2_000_000).contains(&start), "due {due}, started {start}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_free_worker_is_used_again() {
        let mut running = Running::start(Ramp::constant(10.0).until(s(100)), 50, Duration::from_millis(150));
        pass(s(101)).await;
        assert_eq!(running.gauges.workers(), 2, "10 a second for 150 ms each");
        assert_eq!(running.diary.by_worker.lock().unwrap().values().sum::<u32>(), 1000);
        running.finish().await;
    }

    #[tokio::test(start_paused = true)]
    async fn drops_iterations_when_every_worker_is_busy_and_the_others_keep_their_moments() {
        let mut running = Running::start(Ramp::constant(10.0).until(s(10)), 3, Duration::from_millis(950));
        pass(s(12)).await;
        running.finish().await;
        // Three of each ten: the workers are busy for the seven after that.
        assert_eq!((running.gauges.due(), running.count(), running.gauges.dropped()), (100, 30, 70));
        for (n, (due, _)) in running.started().into_iter().enumerate() {
            let n = n as u64;
            assert_eq!(due, (n / 3) * SECOND + (n % 3) * SECOND / 10);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stall_does_not_put_off_what_is_due() {
        let mut running = Running::start(Ramp::constant(10.0).until(s(20)), 500, Duration::from_millis(50));
        pass(s(5)).await;
        *running.diary.takes.lock().unwrap() = s(5);
        pass(s(1)).await;
        *running.diary.takes.lock().unwrap() = Duration::from_millis(50);
        pass(s(20)).await;
        assert_eq!((running.count(), running.gauges.dropped()), (200, 0));
        assert!(running.gauges.workers() >= 10);
        running.finish().await;
    }

    #[tokio::test(start_paused = true)]
    async fn follows_a_live_change_without_loss_or_repetition() {
        let mut running = Running::start(Ramp::constant(100.0), 100, Duration::from_millis(10));
        pass(Duration::from_millis(10_005)).await;
        running.steer(|course| course.ramp = course.ramp.then_hold(s(10), 7.0));
        pass(s(10)).await;
        running.steer(|course| course.ramp = course.ramp.then_hold(s(20), 0.0));
        pass(s(100)).await;
        running.steer(|course| course.ramp = course.ramp.then_hold(s(120), 1000.0).until(s(121)));
        pass(s(10)).await;
        running.finish().await;
        let dues: Vec<_> = running.started().iter().map(|(due, _)| *due).collect();
        // The first in each stretch lies where the total is whole: 1000, 1070 and from there on.
        assert_eq!(dues.len(), 1000 + 70 + 1000);
        assert!(dues.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(dues.iter().filter(|due| (20 * SECOND + 1..120 * SECOND).contains(due)).count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_stands_the_schedule_still() {
        let mut running = Running::start(Ramp::constant(10.0).until(s(20)), 100, Duration::from_millis(10));
        pass(Duration::from_millis(4_950)).await;
        running.steer(|course| course.paused_at = Some(0));
        pass(s(1000)).await;
        assert_eq!(running.count(), 50, "nothing new");
        running.steer(|course| {
            course.paused_at = None;
            course.origin += 1000 * SECOND as i64;
        });
        pass(s(100)).await;
        running.finish().await;
        assert_eq!(running.count(), 200, "all that a run of 20 s has");
        let (due, start) = running.started()[50];
        assert_eq!(due, 1005 * SECOND);
        assert!(start >= due);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_found_late_is_started_at_once_with_its_own_moment() {
        let mut running = Running::start(Ramp::constant(10.0).until(s(10)), 1000, Duration::from_millis(10));
        // The whole run goes by before this executor is polled for the first time.
        tokio::time::advance(s(60)).await;
        pass(s(1)).await;
        running.finish().await;
        let started = running.started();
        assert_eq!(started.len(), 100);
        for (n, (due, start)) in started.into_iter().enumerate() {
            assert_eq!(due, n as u64 * SECOND / 10);
            assert_eq!(start / SECOND, 60);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_lets_iterations_end_and_a_cut_ends_them() {
        let mut running = Running::start(Ramp::constant(4.0), 100, s(3600));
        pass(Duration::from_millis(990)).await;
        running.stop.finish.cancel();
        pass(s(60)).await;
        assert_eq!((running.count(), running.gauges.busy()), (4, 4), "no more start, those go on");
        running.stop.cut.cancel();
        running.finish().await;
        assert_eq!(*running.diary.cut.lock().unwrap(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn what_finds_nothing_looks_again_and_then_counts_as_idle() {
        let mut running = Running::start(Ramp::constant(1.0).until(s(3)), 10, Duration::from_millis(10));
        *running.diary.idle.lock().unwrap() = 3 + 4;
        pass(s(4)).await;
        running.finish().await;
        assert_eq!((running.gauges.iterations(), running.gauges.idle()), (2, 1));
        assert_eq!(running.gauges.started(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn who_looks_again_is_not_busy_and_takes_what_is_due_next_instead_of_dropping_it() {
        for (cap, of) in [(1, 1), (3, 2), (1000, 2)] {
            let ramp = Ramp::constant(200.0).until(s(10));
            let mut running =
                Running::with(ramp, cap, Duration::from_millis(10), Unit::Chains, Spacing::Even, of);
            *running.diary.idle.lock().unwrap() = u32::MAX;
            for _ in 0..100 {
                pass(Duration::from_micros(97_300)).await;
                assert_eq!(running.gauges.busy(), 0, "cap {cap}");
            }
            pass(s(1)).await;
            let gauges = Arc::clone(&running.gauges);
            assert_eq!((gauges.started(), gauges.idle(), gauges.dropped()), (2000, 2000, 0), "cap {cap}");
            assert!(gauges.workers() <= 12, "200 a second for 50 ms each: {}", gauges.workers());
            running.finish().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_looks_again_in_a_pause_or_after_the_end() {
        let mut running = Running::start(Ramp::constant(1.0).until(s(3)), 10, Duration::from_millis(10));
        *running.diary.idle.lock().unwrap() = 2;
        pass(Duration::from_millis(5)).await;
        running.steer(|course| course.paused_at = Some(0));
        pass(s(10)).await;
        assert_eq!((running.gauges.idle(), running.count()), (1, 0));
        running.steer(|course| {
            course.paused_at = None;
            course.origin += 10 * SECOND as i64;
        });
        pass(Duration::from_millis(995)).await;
        *running.diary.idle.lock().unwrap() = u32::MAX;
        pass(Duration::from_millis(7)).await;
        running.stop.finish.cancel();
        pass(Duration::from_millis(1)).await;
        running.finish().await;
        assert_eq!((running.gauges.idle(), running.count(), running.gauges.started()), (2, 0, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lower_cap_dismisses_the_free_now_and_the_busy_at_their_end() {
        let mut running = Running::start(Ramp::constant(20.0), 100, s(1));
        pass(s(5)).await;
        assert!((20..=21).contains(&running.gauges.workers()), "{}", running.gauges.workers());
        running.steer(|course| course.workers_cap = 5);
        pass(Duration::from_millis(100)).await;
        assert!(running.gauges.workers() >= 15, "nothing is cut off");
        pass(s(5)).await;
        assert_eq!(running.gauges.workers(), 5);
        assert!(running.gauges.dropped() > 0);
        running.steer(|course| course.workers_cap = 100);
        pass(s(5)).await;
        assert!((20..=21).contains(&running.gauges.workers()), "{}", running.gauges.workers());
        running.finish().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_cap_below_the_number_of_runtimes_loses_no_arrival() {
        let ramp = Ramp::constant(5.0).until(s(10));
        let mut running = Running::with(ramp, 1, Duration::from_millis(10), Unit::Chains, Spacing::Even, 4);
        pass(s(11)).await;
        running.finish().await;
        assert_eq!((running.count(), running.gauges.dropped()), (50, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_dropped_does_not_depend_on_the_number_of_runtimes() {
        let mut dropped = Vec::new();
        for of in [1, 2, 5, 20] {
            let (ramp, spacing) = (Ramp::constant(100.0).until(s(60)), Spacing::Poisson { seed: 7 });
            // Seventeen are busy on average, of twenty: by Erlang's formula 8 % find none.
            let mut running = Running::with(ramp, 20, Duration::from_millis(170), Unit::Chains, spacing, of);
            pass(s(62)).await;
            running.finish().await;
            let gauges = &running.gauges;
            assert_eq!(gauges.due(), gauges.started() + gauges.dropped());
            dropped.push(gauges.dropped() as f64 / gauges.due() as f64);
        }
        assert!((0.05..0.11).contains(&dropped[0]), "{dropped:?}");
        assert!(dropped.iter().all(|share| (share - dropped[0]).abs() < 0.005), "{dropped:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_cap_that_leaves_runtimes_without_a_worker_and_gives_them_some_again_loses_no_arrival() {
        let ramp = Ramp::constant(100.0).until(s(40));
        let mut running = Running::with(ramp, 8, Duration::from_millis(4), Unit::Chains, Spacing::Even, 4);
        pass(s(10)).await;
        running.steer(|course| course.workers_cap = 2);
        pass(s(10)).await;
        assert_eq!(running.gauges.dropped(), 0, "two are enough for this");
        running.steer(|course| course.workers_cap = 0);
        pass(s(10)).await;
        let dropped = running.gauges.dropped();
        assert!((999..=1001).contains(&dropped), "{dropped}: nobody is left");
        running.steer(|course| course.workers_cap = 8);
        *running.diary.takes.lock().unwrap() = Duration::from_millis(70);
        pass(s(11)).await;
        running.finish().await;
        let gauges = &running.gauges;
        assert_eq!(gauges.dropped(), dropped, "seven of eight are wanted");
        assert_eq!((gauges.due(), gauges.started()), (4_000, 4_000 - dropped));
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_of_requests_starts_as_many_chains_as_make_them() {
        for (spacing, within) in [(Spacing::Even, 0.01), (Spacing::Poisson { seed: 4 }, 0.06)] {
            let ramp = Ramp::constant(200.0).until(s(100));
            let mut running =
                Running::with(ramp, 500, Duration::from_millis(700), Unit::Requests, spacing, 3);
            pass(s(102)).await;
            running.finish().await;
            let made = running.gauges.requests() as f64;
            assert!((made / 20_000.0 - 1.0).abs() < within, "{spacing:?}: {made}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_in_one_worker_is_survived() {
        struct Panics(std::sync::atomic::AtomicU32);
        struct Panicking(bool);
        impl Workforce for Panics {
            fn worker(&self, _number: u32) -> Box<dyn VirtualUser> {
                Box::new(Panicking(self.0.fetch_add(1, Ordering::SeqCst) == 0))
            }
        }
        impl VirtualUser for Panicking {
            fn iterate<'a>(
                &'a mut self,
                _due: Option<u64>,
                _cut: &'a CancellationToken,
            ) -> BoxFuture<'a, Iterated> {
                Box::pin(async {
                    assert!(!self.0, "the first worker panics");
                    Iterated::Answered { requests: 1 }
                })
            }
        }
        let ramp = Ramp::constant(10.0).until(s(1));
        let course = Course { ramp, origin: 0, paused_at: None, workers_cap: 1 };
        let (_sender, course) = watch::channel(Arc::new(course));
        let (gauges, stop) = (Arc::new(Gauges::default()), Stop::default());
        let executor = ArrivalRate {
            workforce: Arc::new(Panics(0.into())),
            gauges: Arc::clone(&gauges),
            course,
            unit: Unit::Chains,
            spacing: Spacing::Even,
            clock: Clock::start(),
            place: (0, 1),
            relay: Arc::new(Relay::new(1)),
        };
        let task = tokio::spawn(executor.run(stop.clone()));
        pass(s(2)).await;
        stop.finish.cancel();
        task.await.unwrap();
        assert_eq!((gauges.started(), gauges.iterations(), gauges.workers()), (10, 9, 0));
    }
}
