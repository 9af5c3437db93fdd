//! The number of workers for a rate: a pure function of measurements.

use std::collections::VecDeque;
use std::time::Duration;

use wec_record::Reach;

/// Measurements at one moment; counts and times are cumulative.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Observation {
    /// Active time.
    pub(super) at: Duration,
    /// Iterations ended.
    pub(super) iterations: u64,
    /// Requests of the iterations ended.
    pub(super) requests: u64,
    /// Time that workers spent on them, without pacing.
    pub(super) occupied: Duration,
}

/// The decision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Steering {
    /// Target number of workers.
    pub(super) workers: u32,
    /// The time of a worker for each request.
    pub(super) interval: Duration,
    /// How close the rate is to its target.
    pub(super) reach: Reach,
}

/// Decides the number of workers for a rate.
#[derive(Debug)]
pub(super) struct Controller {
    /// Requests per second.
    rate: f64,
    cap: u32,
    workers: u32,
    reach: Reach,
    seen: VecDeque<Observation>,
    /// Whether the response time has ever been known.
    informed: bool,
    /// Time of the last large change of workers or rate; earlier measurements do not apply.
    since: Duration,
    /// The step whose effect is being measured.
    step: Option<Step>,
    /// The number of workers before the first step without effect, and the number of such steps.
    futile: Option<(u32, u32)>,
    /// No more workers are added before this time.
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

/// Costs in a period.
#[derive(Clone, Copy, Debug)]
struct Cost {
    /// Time of a worker per request, seconds.
    per_request: f64,
    /// Time of a worker per iteration, seconds.
    per_iteration: f64,
}

impl Controller {
    /// Interval of observations.
    pub(super) const EVERY: Duration = Duration::from_millis(250);
    /// Factor of workers over Little's law: late workers catch up, and the response time may vary.
    const SPARE: f64 = 1.25;
    /// Below this share of the target, the rate is short.
    const SHORT: f64 = 0.96;
    /// The largest factor of one step, once the response time is known.
    const STEP: f64 = 1.5;
    /// The share of a step's growth that must appear in the rate for the step to have had an effect.
    const GAIN: f64 = 0.3;
    /// Steps in a row without effect before the CA counts as saturated: with one, the CA may just have become
    /// slower.
    const FUTILE: u32 = 2;
    const HOLD: Duration = Duration::from_secs(10);
    const LONGEST_HOLD: Duration = Duration::from_secs(60);
    /// How long observations are kept.
    const MEMORY: Duration = Duration::from_secs(20);
    /// Assumed time of a worker per request before it is known, seconds. It is small, so that it begins with
    /// few workers.
    const GUESS: f64 = 0.01;

    /// A controller towards `rate` requests per second with at most `cap` workers.
    pub(super) fn new(rate: f64, cap: u32) -> Self {
        let mut controller = Self {
            rate: 0.0,
            cap: 0,
            workers: 0,
            reach: Reach::Approaching,
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

    /// Sets another rate or cap.
    pub(super) fn steer(&mut self, rate: f64, cap: u32) {
        if (rate, cap) == (self.rate, self.cap) {
            return;
        }
        // A slow ramp is many small changes; earlier measurements stay valid.
        let anew = cap != self.cap || self.rate == 0.0 || (rate / self.rate - 1.0).abs() > 0.05;
        (self.rate, self.cap) = (rate, cap);
        let lawful = self.lawful(self.cost().map_or(Self::GUESS, |cost| cost.per_request));
        if anew {
            self.workers = lawful;
            self.since = self.seen.back().map_or(Duration::ZERO, |last| last.at);
            (self.step, self.futile) = (None, None);
            (self.holds_until, self.holds_for) = (self.since, Self::HOLD);
            // At the end of a run the rate is 0; the last reach is kept.
            if rate > 0.0 {
                self.reach = Reach::Approaching;
            }
        } else if self.reach == Reach::Reached {
            self.workers = self.workers.max(lawful);
        }
    }

    /// The current decision.
    pub(super) fn steering(&self) -> Steering {
        let interval = if self.rate > 0.0 { f64::from(self.workers) / self.rate } else { 0.0 };
        Steering {
            workers: self.workers,
            interval: Duration::try_from_secs_f64(interval).unwrap_or(Duration::MAX),
            reach: self.reach,
        }
    }

    /// Decides from an observation.
    pub(super) fn observe(&mut self, now: Observation) -> Steering {
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
            // Short iterations end first and would bias the result: wait until each worker has ended one.
            self.informed = now.iterations >= self.workers.min(20).into();
            if self.informed {
                self.workers = lawful;
                self.since = now.at;
            }
            return;
        }
        let Some(rate) = self.reached(now, cost) else { return };
        if rate >= Self::SHORT * self.rate {
            self.reach = Reach::Reached;
            (self.step, self.futile, self.holds_for) = (None, None, Self::HOLD);
            self.workers = drawn(self.workers, lawful);
            return;
        }
        if let Some(step) = self.step.take() {
            let grown = f64::from(self.workers) / f64::from(step.workers) - 1.0;
            if rate / step.rate - 1.0 < Self::GAIN * grown {
                let (before, times) = self.futile.unwrap_or((step.workers, 0));
                if times + 1 >= Self::FUTILE || self.reach == Reach::Saturated {
                    self.settle_for(before, now.at);
                    return;
                }
                self.futile = Some((before, times + 1));
            } else {
                self.futile = None;
                self.reach = Reach::Approaching;
            }
        }
        if now.at < self.holds_until || lawful <= self.workers {
            if self.workers >= self.cap && self.wanted(cost.per_request) > f64::from(self.cap) {
                self.reach = Reach::Capped;
            }
            return;
        }
        self.step = Some(Step { workers: self.workers, rate });
        self.workers = lawful.min((f64::from(self.workers) * Self::STEP).ceil() as u32);
        self.since = now.at;
        if self.reach != Reach::Saturated {
            self.reach = Reach::Approaching;
        }
    }

    /// The CA is saturated: for a while, no more workers than had an effect.
    fn settle_for(&mut self, workers: u32, now: Duration) {
        self.workers = workers;
        self.reach = Reach::Saturated;
        self.futile = None;
        self.since = now;
        self.holds_until = now + self.holds_for;
        self.holds_for = (self.holds_for * 2).min(Self::LONGEST_HOLD);
    }

    /// The recent cost of requests and iterations: over at least a second, two iterations and some requests,
    /// or over everything that is kept; none when nothing has ended.
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

    /// Requests per second since the last decision took effect; none until then.
    fn reached(&self, now: Observation, cost: Cost) -> Option<f64> {
        // The first iterations of new workers start spread over the length of one, and are counted at their
        // ends.
        let effect = self.since + seconds((2.5 * cost.per_iteration).max(0.75));
        let longest = seconds((3.0 * cost.per_iteration).max(2.0).max(100.0 / self.rate).min(10.0));
        let shortest = seconds(cost.per_iteration.clamp(1.0, 10.0));
        let from = effect.max(now.at.saturating_sub(longest));
        let then = self.seen.iter().find(|then| then.at >= from)?;
        let span = now.at - then.at;
        (span >= shortest).then(|| (now.requests - then.requests) as f64 / span.as_secs_f64())
    }

    /// The number by Little's law, within the cap.
    fn lawful(&self, per_request: f64) -> u32 {
        let least = u32::from(self.rate > 0.0).min(self.cap);
        (self.wanted(per_request).min(self.cap.into()) as u32).max(least)
    }

    fn wanted(&self, per_request: f64) -> f64 {
        (self.rate * per_request * Self::SPARE).ceil()
    }
}

/// Half of the way up, or a fifth of the way down: pacing keeps the rate, so slow steps suffice. Small
/// decreases are skipped.
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

#[cfg(test)]
mod tests;
