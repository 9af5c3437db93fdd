//! Measures how late a runtime is: a timer is set at regular times, and the delay of its wake-up is recorded.
//!
//! | the runtime | next probe |
//! | --- | --- |
//! | worked for more than a tenth of the time since the last probe, or was late | after 2 ms |
//! | did neither | after twice the time, up to 256 ms |
//!
//! Probing an idle runtime every 2 ms costs more than all its other work. A lag counts for all periods of 2
//! ms since the last probe, so that percentiles have the same weights at every interval.

use tokio::runtime::Handle;
use wec_acme::Clock;

use super::Lag;
use crate::alarm::Alarm;

/// Interval of the probes of a busy runtime, nanoseconds. It gives enough samples for a 99th percentile each
/// second, and leaves the processor to the load.
const TICK_NS: u64 = 2_000_000;
/// Longest interval for an idle runtime, in ticks: 256 ms. Lag limits a run only if it lasts for seconds, so
/// several probes detect it.
const MOST_TICKS: u32 = 128;

/// Records lags until it is dropped.
pub(super) async fn run(clock: Clock, lag: Lag) {
    // A probe that used processor time would cause the lag that it measures.
    let mut alarm = Alarm::frugal(clock);
    let (mut due, mut pace, mut worked) = (clock.now(), Pace::default(), worked_ns());
    loop {
        let ticks = pace.ticks;
        due += u64::from(ticks) * TICK_NS;
        alarm.at(due).await;
        let (now, before) = (clock.now(), std::mem::replace(&mut worked, worked_ns()));
        let late = now.saturating_sub(due);
        // The lag of skipped ticks is not known, unless there was none.
        lag.record_n(late, if late < TICK_NS { ticks } else { 1 });
        // Ticks that passed without a wake-up also count: each was late.
        while due + TICK_NS <= now {
            due += TICK_NS;
            lag.record(now - due);
        }
        pace.look(late, worked - before);
    }
}

/// Working time of the calling thread's runtime since its start, nanoseconds.
fn worked_ns() -> u64 {
    let worked = Handle::current().metrics().worker_total_busy_duration(0);
    u64::try_from(worked.as_nanos()).unwrap_or(u64::MAX)
}

/// The number of ticks to the next probe.
#[derive(Debug, PartialEq, Eq)]
struct Pace {
    ticks: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self { ticks: 1 }
    }
}

impl Pace {
    /// It was `late_ns` late, and has worked for `worked_ns` since the last probe.
    fn look(&mut self, late_ns: u64, worked_ns: u64) {
        let working = worked_ns.saturating_mul(10) > u64::from(self.ticks) * TICK_NS;
        self.ticks = if working || late_ns >= TICK_NS { 1 } else { (self.ticks * 2).min(MOST_TICKS) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_idle_runtime_is_probed_seldom() {
        let mut pace = Pace::default();
        let mut after = |late_ns, worked_ns| {
            pace.look(late_ns, worked_ns);
            pace.ticks
        };
        let table = [
            // When idle, probes come after 2, 4, 8, 16, 32, 64, 128 and 256 ms, which is the maximum.
            (20_000, 10_000, 2),
            (20_000, 10_000, 4),
            (20_000, 800_000, 8),
            (20_000, 10_000, 16),
            (20_000, 10_000, 32),
            (20_000, 10_000, 64),
            (20_000, 10_000, 128),
            (20_000, 10_000, 128),
            // It was busy for a tenth of 256 ms, then for more.
            (20_000, 25_600_000, 128),
            (20_000, 25_600_001, 1),
            (20_000, 200_001, 1),
            (20_000, 200_000, 2),
            // It was late.
            (1_999_999, 0, 4),
            (2_000_000, 0, 1),
        ];
        for (step, (late_ns, worked_ns, ticks)) in table.into_iter().enumerate() {
            assert_eq!(after(late_ns, worked_ns), ticks, "step {step}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_resting_runtime_has_as_many_lags_as_a_working_one() {
        let (clock, lag) = (Clock::start(), Lag::default());
        let probe = tokio::spawn(run(clock, lag.clone()));
        tokio::time::sleep(std::time::Duration::from_secs(10)).await;
        probe.abort();
        let mut all = super::super::empty();
        lag.drain(&mut all);
        assert!((4_872..=5_000).contains(&all.len()), "{} of 5,000 times 2 ms", all.len());
    }
}
