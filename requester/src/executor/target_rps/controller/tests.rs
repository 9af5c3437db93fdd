//! Tests of the controller with simulated CAs.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::pace::Turns;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A CA's time for a request.
enum Ca {
    /// A function of the time, independent of the number of requests.
    Latency(fn(Duration) -> Duration),
    /// This many requests at once, each with an exponential time of this mean; others wait in order of arrival.
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
    /// When its iteration began, its remaining and its total requests. None while it waits for its turn.
    iteration: Option<(Duration, u32, u32)>,
    /// The number of the valid event for its next turn; earlier events are ignored.
    turn: u64,
    gone: bool,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Answer(usize),
    Turn(usize, u64),
    Tick,
}

/// Workers, a CA and the controller, in simulated time.
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
    /// The decision at each tick.
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
        let (began, left, requests) = worker.iteration.expect("the worker has sent a request");
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

    /// Mean rate in each period of five seconds from `from` to `to`.
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
        assert!(
            near,
            "{case}: the target is {rate}, the rates from {from} s are {rates:.1?}; {}",
            self.trace()
        );
    }

    fn trace(&self) -> String {
        let each = self.decided.iter().step_by(4);
        let each = each.map(|(at, now)| format!("{}s {} {:?}", at.as_secs(), now.workers, now.reach));
        format!("{:?}: {}", self.answered, each.collect::<Vec<_>>().join(", "))
    }
}

#[test]
fn converges_within_ten_seconds_and_stays() {
    // Rate, latency, requests of a chain, workers by Little's law.
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
        assert_eq!(run.steering.reach, Reach::Reached, "{case}");
    }
}

#[test]
fn a_doubled_latency_doubles_the_workers_without_oscillation() {
    let mut run = Loop::new(
        500.0,
        10_000,
        Ca::Latency(|at| if at < Duration::from_secs(30) { ms(40) } else { ms(80) }),
        1..=12,
    );
    run.run(s(90));
    run.near("before", 500.0, 10, 30);
    run.near("after", 500.0, 40, 90);
    // 40 workers are needed, and 10 more are spare.
    assert!(run.most_workers(s(30)) <= 75, "{}", run.trace());
    let late: Vec<u32> =
        run.decided.iter().filter(|(at, _)| *at >= s(45)).map(|(_, now)| now.workers).collect();
    assert!(late.iter().max().unwrap() - late.iter().min().unwrap() <= 12, "{late:?}");
    assert!(late.windows(3).filter(|now| now[1] > now[0] && now[2] < now[1]).count() <= 1, "{late:?}");
}

#[test]
fn a_halved_latency_reduces_the_workers_and_keeps_the_rate() {
    let mut run = Loop::new(
        500.0,
        10_000,
        Ca::Latency(|at| if at < Duration::from_secs(30) { ms(80) } else { ms(40) }),
        1..=12,
    );
    run.run(s(90));
    run.near("before", 500.0, 10, 30);
    // Each late worker catches up by at most one turn, so there is no burst.
    assert!(run.answered[30..35].iter().sum::<u32>() < 2800, "{}", run.trace());
    run.near("after", 500.0, 35, 90);
    assert!(run.steering.workers <= 40, "{}", run.trace());
}

#[test]
fn a_saturated_ca_is_detected_and_gets_few_more_workers() {
    // Ten requests at once of 20 ms each: at most 500/s.
    let mut run = Loop::new(1000.0, 10_000, Ca::servers(10, ms(20)), 1..=12);
    run.run(s(60));
    let verdicts: Vec<_> = run.decided.iter().map(|(_, steering)| steering.reach).collect();
    let called =
        verdicts.iter().position(|verdict| *verdict == Reach::Saturated).expect("saturation is detected");
    assert!(called <= 60, "within 15 s: {}", run.trace());
    assert!(verdicts[called..].iter().all(|verdict| *verdict == Reach::Saturated), "{}", run.trace());
    run.near("all it can give", 500.0, 10, 60);
    assert!(run.most_workers(Duration::ZERO) <= 25 * 3, "{}", run.trace());
}

#[test]
fn a_rate_near_the_cas_limit_is_reached() {
    let mut run = Loop::new(400.0, 10_000, Ca::servers(10, ms(20)), 1..=12);
    run.run(s(60));
    run.near("four fifths of what it can", 400.0, 10, 60);
}

#[test]
fn the_recovery_of_a_saturated_ca_is_detected() {
    let mut run = Loop::new(800.0, 10_000, Ca::servers(10, ms(20)), 1..=12);
    run.run(s(40));
    assert_eq!(run.steering.reach, Reach::Saturated);
    run.ca = Ca::servers(100, ms(20));
    run.run(s(120));
    run.near("recovered", 800.0, 90, 120);
    assert_eq!(run.steering.reach, Reach::Reached);
    run.controller.steer(0.0, 1_000);
    assert_eq!(
        run.controller.steering().reach,
        Reach::Reached,
        "a target of zero at the end of a run is reached"
    );
    run.controller.steer(50.0, 1_000);
    assert_eq!(run.controller.steering().reach, Reach::Approaching);
}

#[test]
fn stays_within_its_cap_and_reports_it() {
    let mut run = Loop::new(500.0, 30, Ca::Latency(|_| ms(200)), 1..=12);
    run.run(s(30));
    assert_eq!((run.most_workers(Duration::ZERO), run.steering.reach), (30, Reach::Capped));
    run.near("30 workers at 200 ms", 150.0, 10, 30);
}

#[test]
fn there_is_no_burst_after_a_stall() {
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
fn a_changed_rate_is_followed_at_once() {
    let mut run = Loop::new(100.0, 10_000, Ca::Latency(|_| ms(40)), 1..=12);
    run.run(s(20));
    for (rate, from) in [(1000.0, 20), (50.0, 40), (400.0, 60)] {
        run.controller.steer(rate, 10_000);
        run.run(s(from as u64 + 20));
        run.near("changed", rate, from + 5, from + 20);
    }
}
