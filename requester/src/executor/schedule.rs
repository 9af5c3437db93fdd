//! When arrivals are due in this process: a rate over active time, and what active time is.

use std::time::Duration;

use crate::pace::Ramp;

/// What an executor with a rate follows: this process's share of the load, as the conductor last computed it.
#[derive(Clone, Debug, PartialEq)]
pub struct ArrivalSchedule {
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

impl ArrivalSchedule {
    /// How many were asked for until `now`, nanoseconds of the clock.
    pub fn asked(&self, now: u64) -> f64 {
        self.ramp.total(self.active(now))
    }

    /// The same until `now`, and nothing from there on.
    #[must_use]
    pub fn ended(&self, now: u64) -> Self {
        Self { ramp: self.ramp.until(self.active(now)), ..self.clone() }
    }

    /// For how long the schedule had been at work by `now`, until its end; nanoseconds.
    pub(crate) fn active_ns(&self, now: u64) -> u64 {
        let active = self.active(now);
        let active = if self.ramp.held() > 0.0 { active } else { active.min(self.ramp.end()) };
        u64::try_from(active.as_nanos()).unwrap_or(u64::MAX)
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
    pub(super) fn due(&self, position: f64) -> Option<u64> {
        if self.paused_at.is_some() {
            return None;
        }
        let active = i64::try_from(self.ramp.when(position)?.as_nanos()).ok()?;
        u64::try_from(self.origin.checked_add(active)?).ok()
    }
}
