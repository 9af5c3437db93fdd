//! Time since the machine was booted. It goes on while this process is stopped (SIGSTOP) and while the machine
//! is suspended, so a lease that is counted by it ends in time.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

/// A moment by two clocks: the time since boot, and tokio's clock, which tests can pause.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Nanoseconds since boot, including time in suspend.
    boot_ns: u64,
    instant: Instant,
}

impl Moment {
    /// Now.
    pub fn now() -> Self {
        Self { boot_ns: boot_ns(), instant: Instant::now() }
    }

    /// The moment this much later, by both clocks.
    #[must_use]
    pub fn after(self, time: Duration) -> Self {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Self { boot_ns: self.boot_ns.saturating_add(nanoseconds), instant: self.instant + time }
    }

    /// Whether it is in the past by one of the clocks.
    pub fn has_passed(&self) -> bool {
        boot_ns() >= self.boot_ns || Instant::now() >= self.instant
    }

    /// It as nanoseconds since boot.
    pub const fn boot_ns(&self) -> u64 {
        self.boot_ns
    }

    /// It by tokio's clock, to wait for it. That clock may stand still in suspend.
    pub const fn instant(&self) -> Instant {
        self.instant
    }
}

/// Nanoseconds since the machine was booted (`CLOCK_BOOTTIME`).
pub fn boot_ns() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    // Neither is negative.
    let (seconds, nanoseconds) = (now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs());
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn passes_by_either_clock() {
        let moment = Moment::now().after(Duration::from_secs(3_600));
        assert!(!moment.has_passed());
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        assert!(moment.has_passed(), "by the paused clock");
        let passed = Moment { boot_ns: boot_ns(), ..Moment::now().after(Duration::from_secs(60)) };
        assert!(passed.has_passed(), "by the time since boot");
        assert!(boot_ns() >= passed.boot_ns());
    }
}
