//! "Simulate about 500 requests per second": as many workers as that takes at the response time that is measured.
//!
//! Little's law says how many: so many requests per second, times the seconds that a worker is occupied with each. Some more
//! than that are kept, and *pacing* holds them to the rate: each request is worth `workers ÷ rate` seconds of a worker. So the rate is
//! exact with any whole number of workers, even where a fraction of one would do, and a CA that stalls is not met by a burst.
//!
//! [`Controller`] decides, as a pure function of what it was shown; [`TargetRps`] shows it the gauges and passes its decisions on.
//!
//! | the rate is | and | then |
//! | --- | --- | --- |
//! | reached | the law wants more or fewer than there are | some of the way there |
//! | short | fewer workers than the law wants | up to half as many again, and a look at what that brought |
//! | short | two such steps brought next to nothing | back to before them: the CA is *saturated*; another try later |
//! | short | the law wants more than the cap | the cap |

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use wec_acme::Clock;
use wec_record::Reach;
use wec_startup::Stop;

use super::{Course, Gauges};

/// What is measured at one moment; counts and times are cumulative.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Observation {
    /// Active time.
    pub at: Duration,
    /// Iterations ended.
    pub iterations: u64,
    /// Requests of the iterations ended.
    pub requests: u64,
    /// What workers spent on them, waits that are not pacing included.
    pub occupied: Duration,
}

/// What the workers are to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Steering {
    /// How many there should be.
    pub workers: u32,
    /// What each request is worth of a worker's time.
    pub interval: Duration,
    /// How it goes.
    pub verdict: Verdict,
}

/// How near the rate is to what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not there yet.
    Approaching,
    /// There.
    Reached,
    /// Not there, and the cap on workers is why.
    Capped,
    /// Not there, and more workers do not make it more: the CA gives no more than this.
    Saturated,
}

impl From<Verdict> for Reach {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Approaching => Self::Approaching,
            Verdict::Reached => Self::Reached,
            Verdict::Capped => Self::Capped,
            Verdict::Saturated => Self::Saturated,
        }
    }
}

/// Decides how many workers make a rate.
#[derive(Debug)]
pub struct Controller {
    /// Requests per second.
    rate: f64,
    cap: u32,
    workers: u32,
    verdict: Verdict,
    seen: VecDeque<Observation>,
    /// Whether the response time has been known at all.
    informed: bool,
    /// When the number of workers or the rate last changed by much: what was reached before says nothing of now.
    since: Duration,
    /// The step whose effect is awaited.
    step: Option<Step>,
    /// The number of workers before the first of the steps that brought nothing, and how many those were.
    futile: Option<(u32, u32)>,
    /// No more workers before this.
    holds_until: Duration,
    holds_for: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Step {
    /// Workers before.
    workers: u32,
    /// Requests per second before.
    rate: f64,
}

/// What a while looked like.
#[derive(Clone, Copy, Debug)]
struct Cost {
    /// Seconds of a worker for each request.
    per_request: f64,
    /// Seconds of a worker for each iteration.
    per_iteration: f64,
}

impl Controller {
    /// How often it should be shown what is.
    pub const EVERY: Duration = Duration::from_millis(250);
    /// More workers than the law wants: late ones catch up, and the response time may vary.
    const SPARE: f64 = 1.25;
    /// Under this part of the rate it counts as short.
    const SHORT: f64 = 0.96;
    /// The most that one step multiplies the workers by, once the response time is known.
    const STEP: f64 = 1.5;
    /// The part of a step's growth that must be seen in the rate for the step to have brought something.
    const GAIN: f64 = 0.3;
    /// Steps in a row that bring nothing before the CA counts as saturated: one may have met a CA that just became slower.
    const FUTILE: u32 = 2;
    const HOLD: Duration = Duration::from_secs(10);
    const LONGEST_HOLD: Duration = Duration::from_secs(60);
    /// What it remembers.
    const MEMORY: Duration = Duration::from_secs(20);
    /// What a worker is taken to need for a request before it is known, in seconds: little, so that it begins with few.
    const GUESS: f64 = 0.01;

    /// A controller towards `rate` requests per second with at most `cap` workers.
    pub fn new(rate: f64, cap: u32) -> Self {
        let mut controller = Self {
            rate: 0.0,
            cap: 0,
            workers: 0,
            verdict: Verdict::Approaching,
            seen: VecDeque::new(),
            informed: false,
            since: Duration::ZERO,
            step: None,
            futile: None,
            holds_until: Duration::ZERO,
            holds_for: Self::HOLD,
        };
        controller.steer(rate, cap);
        controller
    }

    /// Follows another rate or cap from now on.
    pub fn steer(&mut self, rate: f64, cap: u32) {
        if (rate, cap) == (self.rate, self.cap) {
            return;
        }
        // A schedule's slow climb is many small changes: what was measured stays good through them.
        let anew = cap != self.cap || self.rate == 0.0 || (rate / self.rate - 1.0).abs() > 0.05;
        (self.rate, self.cap) = (rate, cap);
        let lawful = self.lawful(self.cost().map_or(Self::GUESS, |cost| cost.per_request));
        if anew {
            self.workers = lawful;
            self.since = self.seen.back().map_or(Duration::ZERO, |last| last.at);
            (self.step, self.futile) = (None, None);
            (self.holds_until, self.holds_for) = (self.since, Self::HOLD);
            // Nothing is asked for any more, as at the end of a run: what was reached stays what was reached.
            if rate > 0.0 {
                self.verdict = Verdict::Approaching;
            }
        } else if self.verdict == Verdict::Reached {
            self.workers = self.workers.max(lawful);
        }
    }

    /// What the workers are to do as long as nothing else is decided.
    pub fn steering(&self) -> Steering {
        let interval = if self.rate > 0.0 { f64::from(self.workers) / self.rate } else { 0.0 };
        Steering {
            workers: self.workers,
            interval: Duration::try_from_secs_f64(interval).unwrap_or(Duration::MAX),
            verdict: self.verdict,
        }
    }

    /// Decides anew, after what is now.
    pub fn observe(&mut self, now: Observation) -> Steering {
        self.seen.push_back(now);
        while self.seen.front().is_some_and(|first| now.at.saturating_sub(first.at) > Self::MEMORY) {
            self.seen.pop_front();
        }
        if self.rate > 0.0
            && let Some(cost) = self.cost()
        {
            self.decide(now, cost);
        }
        self.steering()
    }

    fn decide(&mut self, now: Observation, cost: Cost) {
        let lawful = self.lawful(cost.per_request);
        if !self.informed {
            // Short iterations end first, and would make it too few: one of each worker must have.
            self.informed = now.iterations >= self.workers.min(20).into();
            if self.informed {
                self.workers = lawful;
                self.since = now.at;
            }
            return;
        }
        let Some(rate) = self.reached(now, cost) else { return };
        if rate >= Self::SHORT * self.rate {
            self.verdict = Verdict::Reached;
            (self.step, self.futile, self.holds_for) = (None, None, Self::HOLD);
            self.workers = drawn(self.workers, lawful);
            return;
        }
        if let Some(step) = self.step.take() {
            let grown = f64::from(self.workers) / f64::from(step.workers) - 1.0;
            if rate / step.rate - 1.0 < Self::GAIN * grown {
                let (before, times) = self.futile.unwrap_or((step.workers, 0));
                if times + 1 >= Self::FUTILE || self.verdict == Verdict::Saturated {
                    self.settle_for(before, now.at);
                    return;
                }
                self.futile = Some((before, times + 1));
            } else {
                self.futile = None;
                self.verdict = Verdict::Approaching;
            }
        }
        if now.at < self.holds_until || lawful <= self.workers {
            if self.workers >= self.cap && self.wanted(cost.per_request) > f64::from(self.cap) {
                self.verdict = Verdict::Capped;
            }
            return;
        }
        self.step = Some(Step { workers: self.workers, rate });
        self.workers = lawful.min((f64::from(self.workers) * Self::STEP).ceil() as u32);
        self.since = now.at;
        if self.verdict != Verdict::Saturated {
            self.verdict = Verdict::Approaching;
        }
    }

    /// The CA gives no more than this: no more workers for a while than gave it.
    fn settle_for(&mut self, workers: u32, now: Duration) {
        self.workers = workers;
        self.verdict = Verdict::Saturated;
        self.futile = None;
        self.since = now;
        self.holds_until = now + self.holds_for;
        self.holds_for = (self.holds_for * 2).min(Self::LONGEST_HOLD);
    }

    /// What requests and iterations cost lately: over at least a second, two iterations and some requests, or over all that is
    /// remembered; none when nothing has ended.
    fn cost(&self) -> Option<Cost> {
        let now = self.seen.back()?;
        let between = |then: &Observation| {
            let occupied = now.occupied.saturating_sub(then.occupied).as_secs_f64();
            let requests = now.requests.saturating_sub(then.requests) as f64;
            let iterations = now.iterations.saturating_sub(then.iterations) as f64;
            let cost = Cost { per_request: occupied / requests, per_iteration: occupied / iterations };
            (requests > 0.0 && iterations > 0.0).then_some((cost, requests))
        };
        let enough = |then: &Observation| {
            let span = (now.at - then.at).as_secs_f64();
            between(then)
                .filter(|(cost, requests)| span >= (2.0 * cost.per_iteration).max(1.0) && *requests >= 20.0)
        };
        let (cost, _) = self.seen.iter().rev().find_map(enough).or_else(|| between(self.seen.front()?))?;
        Some(cost)
    }

    /// Requests per second since what was decided last has come into effect; none while that takes.
    fn reached(&self, now: Observation, cost: Cost) -> Option<f64> {
        // New workers' first iterations begin over the length of one, and are seen when they end.
        let effect = self.since + seconds((2.5 * cost.per_iteration).max(0.75));
        let longest = seconds((3.0 * cost.per_iteration).max(2.0).max(100.0 / self.rate).min(10.0));
        let shortest = seconds(cost.per_iteration.clamp(1.0, 10.0));
        let from = effect.max(now.at.saturating_sub(longest));
        let then = self.seen.iter().find(|then| then.at >= from)?;
        let span = now.at - then.at;
        (span >= shortest).then(|| (now.requests - then.requests) as f64 / span.as_secs_f64())
    }

    /// What the law says, within the cap.
    fn lawful(&self, per_request: f64) -> u32 {
        let least = u32::from(self.rate > 0.0).min(self.cap);
        (self.wanted(per_request).min(self.cap.into()) as u32).max(least)
    }

    fn wanted(&self, per_request: f64) -> f64 {
        (self.rate * per_request * Self::SPARE).ceil()
    }
}

/// Half of the way up, or a fifth of the way down: pacing holds the rate anyway, so there is no hurry. Not down for a little.
fn drawn(from: u32, to: u32) -> u32 {
    if to > from {
        from + (to - from).div_ceil(2)
    } else if f64::from(to) < 0.8 * f64::from(from) {
        from - (from - to).div_ceil(5)
    } else {
        from
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

/// Shows a [`Controller`] what is, and has the process's workers do what it says: one for each scenario and process, beside
/// the [`Workers`](super::Workers) of each runtime, which follow its `workers` and, by their habits, its `pacing`.
pub struct TargetRps {
    /// Where the workers of all runtimes are counted.
    pub gauges: Arc<Gauges>,
    /// What to follow; the ramp is in requests per second.
    pub course: watch::Receiver<Arc<Course>>,
    /// How many workers there should be.
    pub workers: watch::Sender<u32>,
    /// What each request is worth of a worker's time.
    pub pacing: watch::Sender<Duration>,
    /// The run's clock.
    pub clock: Clock,
}

impl TargetRps {
    /// Runs until `stop.finish`.
    pub async fn run(mut self, stop: Stop) {
        let mut controller = Controller::new(0.0, 0);
        let mut ticks = interval(Controller::EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut said = Verdict::Approaching;
        let mut watched = true;
        loop {
            let ticked = tokio::select! {
                _ = ticks.tick() => true,
                changed = self.course.changed(), if watched => {
                    watched = changed.is_ok();
                    false
                }
                () = stop.finish.cancelled() => return,
            };
            let course = Arc::clone(&self.course.borrow_and_update());
            let now = self.clock.now();
            if !course.runs(now) {
                self.set(0, Duration::ZERO);
                continue;
            }
            let at = course.active(now);
            let rate = course.ramp.at(at);
            controller.steer(rate, course.workers_cap);
            let steering =
                if ticked { controller.observe(self.observation(at)) } else { controller.steering() };
            self.set(steering.workers, steering.interval);
            self.gauges.set_verdict(steering.verdict);
            if std::mem::replace(&mut said, steering.verdict) != steering.verdict {
                say(steering, rate);
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
            // Their turns are left alone: one that comes sooner would be taken before its worker knows that it is dismissed.
            self.workers.send_if_modified(|now| std::mem::replace(now, 0) != 0);
            return;
        }
        self.pacing.send_if_modified(|now| std::mem::replace(now, interval) != interval);
        self.workers.send_if_modified(|now| std::mem::replace(now, workers) != workers);
    }
}

fn say(Steering { workers, verdict, .. }: Steering, rate: f64) {
    match verdict {
        Verdict::Approaching => {}
        Verdict::Reached => tracing::info!(workers, "{rate} requests/s are reached"),
        Verdict::Capped => tracing::warn!(
            workers,
            "{rate} requests/s are not reached: the cap on workers is too low for this CA's response time"
        ),
        Verdict::Saturated => tracing::warn!(
            workers,
            "{rate} requests/s are not reached, and more workers do not bring more: the CA gives no more than this"
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;

    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::super::Habits;
    use super::*;
    use crate::pace::Turns;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// How long a CA takes for a request.
    enum Ca {
        /// As long at this moment, however many there are.
        Latency(fn(Duration) -> Duration),
        /// So many at once, each for an exponential time of this mean; others wait in order of arrival.
        Servers { free_at: BinaryHeap<Reverse<Duration>>, mean: Duration },
    }

    impl Ca {
        fn servers(count: usize, mean: Duration) -> Self {
            Self::Servers { free_at: (0..count).map(|_| Reverse(Duration::ZERO)).collect(), mean }
        }

        fn answers(&mut self, now: Duration, rng: &mut StdRng) -> Duration {
            match self {
                Self::Latency(latency) => now + latency(now),
                Self::Servers { free_at, mean } => {
                    let Reverse(free) = free_at.pop().expect("there is a server");
                    let takes = mean.mul_f64(-(1.0 - rng.random::<f64>()).ln());
                    let done = free.max(now) + takes;
                    free_at.push(Reverse(done));
                    done
                }
            }
        }
    }

    struct Worker {
        began: Duration,
        turns: Turns,
        /// When its iteration began, what is left of it and what it has in all; none while it waits for its turn.
        iteration: Option<(Duration, u32, u32)>,
        /// Which of the events for its next turn counts.
        turn: u64,
        gone: bool,
    }

    #[derive(PartialEq, Eq, PartialOrd, Ord)]
    enum Event {
        Answer(usize),
        Turn(usize, u64),
        Tick,
    }

    /// Workers as `live` has them live, a CA, and the controller between them, on a time of its own.
    struct Loop {
        ca: Ca,
        controller: Controller,
        rng: StdRng,
        per_chain: std::ops::RangeInclusive<u32>,
        workers: Vec<Worker>,
        steering: Steering,
        events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
        count: u64,
        total: Observation,
        /// Answers in each second.
        answered: Vec<u32>,
        /// What was decided at each tick.
        decided: Vec<(Duration, Steering)>,
    }

    impl Loop {
        fn new(rate: f64, cap: u32, ca: Ca, per_chain: std::ops::RangeInclusive<u32>) -> Self {
            let controller = Controller::new(rate, cap);
            let mut this = Self {
                ca,
                steering: controller.steering(),
                controller,
                rng: StdRng::seed_from_u64(11),
                per_chain,
                workers: Vec::new(),
                events: BinaryHeap::new(),
                count: 0,
                total: Observation::default(),
                answered: Vec::new(),
                decided: Vec::new(),
            };
            this.follow(Duration::ZERO, this.steering);
            this.push(Controller::EVERY, Event::Tick);
            this
        }

        fn push(&mut self, at: Duration, event: Event) {
            self.count += 1;
            self.events.push(Reverse((at, self.count, event)));
        }

        fn run(&mut self, until: Duration) -> &mut Self {
            while self.events.peek().is_some_and(|Reverse((at, ..))| *at < until) {
                let Reverse((now, _, event)) = self.events.pop().expect("just peeked");
                match event {
                    Event::Tick => {
                        self.total.at = now;
                        let steering = self.controller.observe(self.total);
                        self.decided.push((now, steering));
                        self.follow(now, steering);
                        self.push(now + Controller::EVERY, Event::Tick);
                    }
                    Event::Turn(number, turn) => self.turn(now, number, turn),
                    Event::Answer(number) => self.answer(now, number),
                }
            }
            self
        }

        fn follow(&mut self, now: Duration, steering: Steering) {
            let changed = steering.interval != self.steering.interval;
            self.steering = steering;
            for number in 0..self.workers.len().max(steering.workers as usize) {
                let stays = number < steering.workers as usize;
                let per_chain = self.total.requests as f64 / self.total.iterations.max(1) as f64;
                let new = || Worker {
                    began: now,
                    turns: Turns::staggered(number as u32, per_chain),
                    iteration: None,
                    turn: 0,
                    gone: false,
                };
                let begins = match self.workers.get_mut(number) {
                    None => {
                        self.workers.push(new());
                        true
                    }
                    Some(worker) if worker.gone && stays => {
                        let turn = worker.turn;
                        *worker = Worker { turn, ..new() };
                        true
                    }
                    Some(worker) if worker.iteration.is_none() && !worker.gone => {
                        worker.gone = !stays;
                        stays && changed
                    }
                    Some(_) => false,
                };
                if begins {
                    self.wait(now, number);
                }
            }
        }

        fn wait(&mut self, now: Duration, number: usize) {
            let worker = &mut self.workers[number];
            worker.turn += 1;
            let (at, turn) = (worker.began + worker.turns.start(self.steering.interval), worker.turn);
            self.push(at.max(now), Event::Turn(number, turn));
        }

        fn turn(&mut self, now: Duration, number: usize, turn: u64) {
            let worker = &mut self.workers[number];
            if worker.turn != turn || worker.gone {
                return;
            }
            worker.turns.taken(self.steering.interval);
            let requests = self.rng.random_range(self.per_chain.clone());
            worker.iteration = Some((now, requests, requests));
            let done = self.ca.answers(now, &mut self.rng);
            self.push(done, Event::Answer(number));
        }

        fn answer(&mut self, now: Duration, number: usize) {
            let second = now.as_secs() as usize;
            self.answered.resize(self.answered.len().max(second + 1), 0);
            self.answered[second] += 1;
            let worker = &mut self.workers[number];
            let (began, left, requests) = worker.iteration.expect("it asked");
            if left > 1 {
                worker.iteration = Some((began, left - 1, requests));
                let done = self.ca.answers(now, &mut self.rng);
                self.push(done, Event::Answer(number));
                return;
            }
            worker.iteration = None;
            worker.turns.ended(now - worker.began, requests);
            self.total.iterations += 1;
            self.total.requests += u64::from(requests);
            self.total.occupied += now - began;
            worker.gone = number >= self.steering.workers as usize;
            if !worker.gone {
                self.wait(now, number);
            }
        }

        /// Mean rate in each stretch of five seconds from `from` to `to`.
        fn rates(&self, from: usize, to: usize) -> Vec<f64> {
            self.answered[from..to]
                .chunks(5)
                .map(|five| five.iter().sum::<u32>() as f64 / five.len() as f64)
                .collect()
        }

        fn most_workers(&self, from: Duration) -> u32 {
            self.decided
                .iter()
                .filter(|(at, _)| *at >= from)
                .map(|(_, steering)| steering.workers)
                .max()
                .unwrap_or(0)
        }

        fn near(&self, case: &str, rate: f64, from: usize, to: usize) {
            let rates = self.rates(from, to);
            let near = rates.iter().all(|is| (is / rate - 1.0).abs() <= 0.05);
            assert!(near, "{case}: {rate} wanted, from {from} s on {rates:.1?}; {}", self.trace());
        }

        fn trace(&self) -> String {
            let each = self.decided.iter().step_by(4);
            let each = each.map(|(at, now)| format!("{}s {} {:?}", at.as_secs(), now.workers, now.verdict));
            format!("{:?}: {}", self.answered, each.collect::<Vec<_>>().join(", "))
        }
    }

    #[test]
    fn converges_within_ten_seconds_and_stays() {
        // Rate, latency, requests of a chain, what Little's law wants.
        type Latency = fn(Duration) -> Duration;
        let cases: [(&str, f64, Latency, _, f64); 7] = [
            ("an ordinary CA", 500.0, |_| ms(20), 1..=12, 10.0),
            ("a slow CA", 500.0, |_| ms(200), 1..=12, 100.0),
            ("long chains on a slow CA", 500.0, |_| ms(200), 12..=12, 100.0),
            ("a fast CA, of which a part of one worker is enough", 50.0, |_| ms(1), 1..=12, 0.05),
            ("a hard push", 20_000.0, |_| ms(10), 5..=5, 200.0),
            ("single requests", 300.0, |_| ms(50), 1..=1, 15.0),
            ("a slow trickle", 20.0, |_| ms(100), 5..=5, 2.0),
        ];
        for (case, rate, latency, per_chain, law) in cases {
            let mut run = Loop::new(rate, 10_000, Ca::Latency(latency), per_chain);
            run.run(s(60));
            run.near(case, rate, 10, 60);
            let most = f64::from(run.most_workers(Duration::ZERO));
            assert!(
                most <= (law * 2.0).max(rate * Controller::GUESS * Controller::SPARE + 1.0),
                "{case}: {most} workers"
            );
            assert_eq!(run.steering.verdict, Verdict::Reached, "{case}");
        }
    }

    #[test]
    fn a_latency_that_doubles_is_met_by_twice_the_workers_without_swinging() {
        let mut run = Loop::new(
            500.0,
            10_000,
            Ca::Latency(|at| if at < Duration::from_secs(30) { ms(40) } else { ms(80) }),
            1..=12,
        );
        run.run(s(90));
        run.near("before", 500.0, 10, 30);
        run.near("after", 500.0, 40, 90);
        // 40 workers are wanted then, 50 with what is kept beside.
        assert!(run.most_workers(s(30)) <= 75, "{}", run.trace());
        let late: Vec<u32> =
            run.decided.iter().filter(|(at, _)| *at >= s(45)).map(|(_, now)| now.workers).collect();
        assert!(late.iter().max().unwrap() - late.iter().min().unwrap() <= 12, "{late:?}");
        assert!(late.windows(3).filter(|now| now[1] > now[0] && now[2] < now[1]).count() <= 1, "{late:?}");
    }

    #[test]
    fn a_latency_that_halves_lets_workers_go_and_keeps_the_rate() {
        let mut run = Loop::new(
            500.0,
            10_000,
            Ca::Latency(|at| if at < Duration::from_secs(30) { ms(80) } else { ms(40) }),
            1..=12,
        );
        run.run(s(90));
        run.near("before", 500.0, 10, 30);
        // Each worker that was late is less so now, by a turn at most: no burst.
        assert!(run.answered[30..35].iter().sum::<u32>() < 2800, "{}", run.trace());
        run.near("after", 500.0, 35, 90);
        assert!(run.steering.workers <= 40, "{}", run.trace());
    }

    #[test]
    fn a_saturated_ca_is_called_so_and_not_buried_in_workers() {
        // Ten at once, 20 ms each: 500/s at most.
        let mut run = Loop::new(1000.0, 10_000, Ca::servers(10, ms(20)), 1..=12);
        run.run(s(60));
        let verdicts: Vec<_> = run.decided.iter().map(|(_, steering)| steering.verdict).collect();
        let called =
            verdicts.iter().position(|verdict| *verdict == Verdict::Saturated).expect("it is called so");
        assert!(called <= 60, "within 15 s: {}", run.trace());
        assert!(verdicts[called..].iter().all(|verdict| *verdict == Verdict::Saturated), "{}", run.trace());
        run.near("all it can give", 500.0, 10, 60);
        assert!(run.most_workers(Duration::ZERO) <= 25 * 3, "{}", run.trace());
    }

    #[test]
    fn a_ca_with_room_is_reached_near_its_limit() {
        let mut run = Loop::new(400.0, 10_000, Ca::servers(10, ms(20)), 1..=12);
        run.run(s(60));
        run.near("four fifths of what it can", 400.0, 10, 60);
    }

    #[test]
    fn a_saturated_ca_that_recovers_is_noticed() {
        let mut run = Loop::new(800.0, 10_000, Ca::servers(10, ms(20)), 1..=12);
        run.run(s(40));
        assert_eq!(run.steering.verdict, Verdict::Saturated);
        run.ca = Ca::servers(100, ms(20));
        run.run(s(120));
        run.near("recovered", 800.0, 90, 120);
        assert_eq!(run.steering.verdict, Verdict::Reached);
        run.controller.steer(0.0, 1_000);
        assert_eq!(run.controller.steering().verdict, Verdict::Reached, "nothing is asked for: the run ends");
        run.controller.steer(50.0, 1_000);
        assert_eq!(run.controller.steering().verdict, Verdict::Approaching);
    }

    #[test]
    fn stays_inside_its_cap_and_says_that_it_is_the_cap() {
        let mut run = Loop::new(500.0, 30, Ca::Latency(|_| ms(200)), 1..=12);
        run.run(s(30));
        assert_eq!((run.most_workers(Duration::ZERO), run.steering.verdict), (30, Verdict::Capped));
        run.near("30 workers at 200 ms", 150.0, 10, 30);
    }

    #[test]
    fn a_stall_is_not_met_by_a_burst() {
        let mut run = Loop::new(
            500.0,
            10_000,
            Ca::Latency(|at| {
                let stalls = s(30)..s(35);
                if stalls.contains(&at) { s(35) - at + ms(20) } else { ms(20) }
            }),
            1..=12,
        );
        run.run(s(80));
        let burst = run.answered[35..40].iter().max().unwrap();
        assert!(*burst < 800, "{}", run.trace());
        run.near("again", 500.0, 45, 80);
        assert!(run.most_workers(s(30)) <= 40, "{}", run.trace());
    }

    #[test]
    fn another_rate_is_followed_at_once() {
        let mut run = Loop::new(100.0, 10_000, Ca::Latency(|_| ms(40)), 1..=12);
        run.run(s(20));
        for (rate, from) in [(1000.0, 20), (50.0, 40), (400.0, 60)] {
            run.controller.steer(rate, 10_000);
            run.run(s(from as u64 + 20));
            run.near("changed", rate, from + 5, from + 20);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn steers_real_workers_to_the_rate_through_changes_and_pauses() {
        use std::sync::atomic::{AtomicU32, Ordering};

        use tokio_util::sync::CancellationToken;

        use super::super::{BoxFuture, Iterated, VirtualUser, Workers, Workforce};
        use crate::pace::Ramp;

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
                    tokio::time::sleep(ms(30) * self.0).await;
                    Iterated::Answered { requests: self.0 }
                })
            }
        }

        let clock = Clock::start();
        let (gauges, stop) = (Arc::new(Gauges::default()), Stop::default());
        let origin = 20_000_000_000;
        let course = Course { ramp: Ramp::constant(300.0), origin, paused_at: None, workers_cap: 1000 };
        let (steer, course) = watch::channel(Arc::new(course));
        let (workers, pacing) = (watch::Sender::new(0), watch::Sender::new(Duration::ZERO));
        let mut tasks = tokio::task::JoinSet::new();
        for place in 0..2 {
            let workers = Workers {
                workforce: Arc::new(Steady(AtomicU32::new(place))),
                gauges: Arc::clone(&gauges),
                target: workers.subscribe(),
                habits: Habits { pacing: Some(pacing.subscribe()), ..Habits::default() },
                place: (place, 2),
            };
            tasks.spawn(workers.run(stop.clone()));
        }
        let driver = TargetRps { gauges: Arc::clone(&gauges), course, workers, pacing, clock };
        tasks.spawn(driver.run(stop.clone()));

        let rate_over = async |seconds: u64| {
            let before = gauges.requests();
            tokio::time::sleep(s(seconds)).await;
            (gauges.requests() - before) as f64 / seconds as f64
        };
        assert_eq!((rate_over(19).await, gauges.workers()), (0.0, 0), "it starts later");
        rate_over(11).await;
        let rate = rate_over(30).await;
        assert!((rate / 300.0 - 1.0).abs() <= 0.05, "{rate}");
        assert_eq!(gauges.verdict(), Verdict::Reached);

        steer.send_modify(|course| Arc::make_mut(course).ramp = Ramp::constant(60.0));
        rate_over(5).await;
        let rate = rate_over(30).await;
        assert!((rate / 60.0 - 1.0).abs() <= 0.05, "{rate}");

        steer.send_modify(|course| Arc::make_mut(course).paused_at = Some(0));
        rate_over(2).await;
        assert_eq!((rate_over(60).await, gauges.workers()), (0.0, 0));
        steer.send_modify(|course| {
            let course = Arc::make_mut(course);
            course.paused_at = None;
            course.origin += 62_000_000_000;
        });
        rate_over(5).await;
        let rate = rate_over(30).await;
        assert!((rate / 60.0 - 1.0).abs() <= 0.05, "{rate}");

        stop.finish.cancel();
        while tasks.join_next().await.transpose().unwrap().is_some() {}
        assert_eq!((gauges.workers(), gauges.busy()), (0, 0));
    }
}
