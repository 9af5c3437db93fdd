//! The one clock of a process: monotonic nanoseconds, and the wall time of their origin.
//!
//! All time in the project comes from here, through tokio's `Instant`, so that tests can pause it.
//!
//! The unit of all times is the nanosecond. The clock's readings are whole microseconds, so that times in records have no
//! digits that only cost space (ADR 78).

mod boot;
mod deadline;

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

pub use boot::{Moment, boot_ns};
pub use deadline::{Deadline, Term};

/// The resolution of the clock's readings, nanoseconds.
pub const RESOLUTION_NS: u64 = 1_000;

/// The latest reading of a clock that is not after this time, nanoseconds.
pub const fn reading(time_ns: u64) -> u64 {
    time_ns - time_ns % RESOLUTION_NS
}

/// Nanoseconds since an origin whose wall time is known. Copies share the origin.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
    origin_unix_ns: u64,
}

impl Clock {
    /// A clock that starts now.
    #[expect(clippy::disallowed_methods, reason = "the one place where the wall clock is read")]
    pub fn start() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { origin: Instant::now(), origin_unix_ns: u64::try_from(unix.as_nanos()).unwrap_or(u64::MAX) }
    }

    /// Nanoseconds since the origin, whole microseconds; never goes back.
    pub fn now(&self) -> u64 {
        self.at(Instant::now())
    }

    /// The same clock with a wall time that is this much later: of a machine whose clock is known to be off.
    #[must_use]
    pub const fn shifted(self, nanoseconds: i64) -> Self {
        Self { origin_unix_ns: self.origin_unix_ns.saturating_add_signed(nanoseconds), ..self }
    }

    /// Wall time of the origin, nanoseconds since the Unix epoch.
    pub const fn origin_unix_ns(&self) -> u64 {
        self.origin_unix_ns
    }

    /// Wall time now, nanoseconds since the Unix epoch: the origin's wall time plus the elapsed time, so a step of
    /// the system's clock does not affect a run.
    pub fn unix_now_ns(&self) -> u64 {
        self.origin_unix_ns.saturating_add(self.now())
    }

    /// `at` as nanoseconds since the origin, whole microseconds; 0 if it is before the origin.
    pub fn at(&self, at: Instant) -> u64 {
        // 2^64 ns are 584 years.
        let since = at.saturating_duration_since(self.origin).as_nanos();
        reading(u64::try_from(since).unwrap_or(u64::MAX))
    }

    /// Wall time of `at`; the origin's wall time if `at` is before the origin.
    pub fn unix_ns(&self, at: Instant) -> u64 {
        self.origin_unix_ns.saturating_add(self.at(at))
    }

    /// Wall time now, whole seconds since the Unix epoch.
    pub fn unix_now(&self) -> i64 {
        i64::try_from(self.unix_now_ns() / 1_000_000_000).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn wall_time_is_the_origins_plus_what_passed() {
        let clock = Clock::start();
        let (before, unix, after) = (clock.now(), clock.unix_now_ns(), clock.now());
        let since_origin = unix - clock.origin_unix_ns();
        assert!(before <= since_origin && since_origin <= after);
        // 2020-01-01: a machine with an earlier clock has no valid time.
        assert!(clock.unix_now() > 1_577_836_800);
    }

    #[tokio::test(start_paused = true)]
    async fn readings_are_whole_microseconds_that_are_not_late() {
        let clock = Clock::start();
        let origin = Instant::now();
        for (passed, read) in [(0, 0), (999, 0), (1_000, 1_000), (1_999, 1_000), (2_500_001, 2_500_000)] {
            assert_eq!(reading(passed), read);
            let at = origin + Duration::from_nanos(passed);
            assert_eq!(clock.unix_ns(at) - clock.origin_unix_ns(), read);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn follows_paused_time() {
        let clock = Clock::start();
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(clock.now() / 1_000_000_000, 3);
    }
}
