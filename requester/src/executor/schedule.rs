//! Due times of arrivals in this process: a rate over active time, and the origin of active time.

use std::time::Duration;

use crate::pace::Ramp;
use crate::share::MemberShare;

/// The schedule of an executor with a rate: this process's share of the load, as last computed by the
/// conductor.
#[derive(Clone, Debug, PartialEq)]
pub struct ArrivalSchedule {
    /// The rate per second over active time.
    pub ramp: Ramp,
    /// The zero of active time, nanoseconds of the clock, moved by the length of each pause at its end. It is
    /// before the clock's own zero on a node that joined later.
    pub origin: i64,
    /// Start of the current pause, nanoseconds of the clock, if there is one. Nothing starts then; running
    /// iterations end.
    pub paused_at: Option<i64>,
    /// The largest number of workers of this process.
    pub workers_cap: u32,
    /// The registration of the node to which it was shared out.
    pub registration: i64,
    /// The members of a fleet that this node has.
    pub(crate) members: MemberShare,
    /// The rate of all nodes together, if this node shares it with others.
    pub of_all: Option<Ramp>,
}

impl ArrivalSchedule {
    /// Number of arrivals required until `now`, nanoseconds of the clock.
    pub fn asked(&self, now: u64) -> f64 {
        self.ramp.total(self.active(now))
    }

    /// The same schedule until `now`, and nothing afterwards.
    #[must_use]
    pub fn ended(&self, now: u64) -> Self {
        let active = self.active(now);
        let of_all = self.of_all.as_ref().map(|ramp| ramp.until(active));
        Self { ramp: self.ramp.until(active), of_all, ..self.clone() }
    }

    /// Number of arrivals required of all nodes together since this one was ready; none if it shares its target
    /// with no other.
    pub(crate) fn asked_of_all(&self, now: u64) -> Option<f64> {
        Some(self.of_all.as_ref()?.total(self.active(now)))
    }

    /// The rate of all nodes together; none if this node shares its target with no other.
    pub(crate) fn rate_of_all(&self, now: u64) -> Option<f64> {
        let rate = self.of_all.as_ref()?.at(self.active(now));
        Some(if self.runs(now) { rate } else { 0.0 })
    }

    /// Active time until `now`, or until the schedule's end; nanoseconds.
    pub(crate) fn active_ns(&self, now: u64) -> u64 {
        let active = self.active(now);
        let active = if self.ramp.held() > 0.0 { active } else { active.min(self.ramp.end()) };
        u64::try_from(active.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Whether the schedule is active at `now`: begun, and not paused.
    pub(crate) fn runs(&self, now: u64) -> bool {
        self.paused_at.is_none() && i64::try_from(now).unwrap_or(i64::MAX) >= self.origin
    }

    pub(super) fn active(&self, now: u64) -> Duration {
        let now = self.paused_at.unwrap_or_else(|| i64::try_from(now).unwrap_or(i64::MAX));
        Duration::from_nanos(u64::try_from(now.saturating_sub(self.origin)).unwrap_or_default())
    }

    /// When the schedule reaches `position`, nanoseconds of the clock; none if never, or not before a pause
    /// ends.
    pub(super) fn due(&self, position: f64) -> Option<u64> {
        if self.paused_at.is_some() {
            return None;
        }
        let active = i64::try_from(self.ramp.when(position)?.as_nanos()).ok()?;
        u64::try_from(self.origin.checked_add(active)?).ok()
    }
}
