//! `Pace`: the clock of a replay, a pure function of the time that has passed.

use std::time::Duration;

use tokio::time::Instant;

/// A clock in the time of a recorded run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Where it was at `since`, nanoseconds since the Unix epoch.
    at: u64,
    since: Instant,
    /// Seconds of the run in one second.
    speed: f64,
    runs: bool,
}

impl Pace {
    /// A clock that stands.
    pub(super) const fn new(at: u64, speed: f64, now: Instant) -> Self {
        Self { at, since: now, speed, runs: false }
    }

    /// Where it is, nanoseconds since the Unix epoch.
    pub(super) fn position(&self, now: Instant) -> u64 {
        if !self.runs {
            return self.at;
        }
        let passed = now.saturating_duration_since(self.since).as_nanos() as f64 * self.speed;
        self.at.saturating_add(passed as u64)
    }

    pub(super) const fn runs(&self) -> bool {
        self.runs
    }

    pub(super) const fn speed(&self) -> f64 {
        self.speed
    }

    /// The time until it reaches a position; none while it stands.
    pub(super) fn until(&self, position: u64, now: Instant) -> Option<Duration> {
        let left = position.saturating_sub(self.position(now)) as f64 / self.speed;
        self.runs.then(|| Duration::from_nanos(left as u64))
    }

    pub(super) const fn set_position(&mut self, at: u64, now: Instant) {
        (self.at, self.since) = (at, now);
    }

    pub(super) fn set_speed(&mut self, speed: f64, now: Instant) {
        self.set_position(self.position(now), now);
        self.speed = speed;
    }

    pub(super) fn set_runs(&mut self, runs: bool, now: Instant) {
        self.set_position(self.position(now), now);
        self.runs = runs;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_what_has_passed_times_the_speed() {
        let began = Instant::now();
        let after = |ms| began + Duration::from_millis(ms);
        let mut pace = Pace::new(1_000, 10.0, began);
        assert_eq!((pace.position(after(5)), pace.until(2_000, after(5))), (1_000, None), "it stands");
        pace.set_runs(true, after(5));
        assert_eq!(pace.position(after(7)), 1_000 + 20_000_000);
        assert_eq!(pace.until(1_000 + 50_000_000, after(7)), Some(Duration::from_millis(3)));
        assert_eq!(pace.until(5, after(7)), Some(Duration::ZERO), "it has passed already");
        pace.set_speed(1_000.0, after(7));
        assert_eq!(pace.position(after(8)), 1_000 + 20_000_000 + 1_000_000_000, "from then on only");
        pace.set_runs(false, after(8));
        assert_eq!(pace.position(after(90)), 1_000 + 1_020_000_000);
        pace.set_position(7, after(90));
        pace.set_runs(true, after(91));
        assert_eq!(pace.position(after(91)), 7);
        assert_eq!(pace.position(began), 7, "time never goes back");
    }
}
