//! Durations of the parts of a search: the configured time, or the time for enough chains at a rate.

use std::time::Duration;

/// Results reach analytics within some tenths of a second.
pub(super) const LATE_NS: u64 = 750_000_000;
/// A window lasts until this many chains have become due, if that is longer than configured. With fewer,
/// chance decides whether any chain ends.
const ENOUGH_CHAINS: f64 = 10.0;
/// The longest such window.
const LONGEST: Duration = Duration::from_secs(600);
/// This many chains in a row must succeed, over at least this time, before a CA counts as recovered.
pub(super) const BACK_CHAINS: u64 = 3;
pub(super) const BACK_NS: u64 = 2_000_000_000;

/// The time in which this many chains become due at a rate, or the configured time if that is longer.
fn long_enough(asked: Duration, chains: f64, rate: f64) -> Duration {
    asked.max(Duration::try_from_secs_f64(chains / rate).unwrap_or(LONGEST).min(LONGEST))
}

/// Measuring time of a step, or of the hold, at a rate.
pub(super) fn measuring(asked: Duration, rate: f64) -> Duration {
    long_enough(asked, ENOUGH_CHAINS, rate)
}

/// Time for a CA to recover at a low rate.
pub(super) fn coming_back(asked: Duration, trickle: f64) -> Duration {
    long_enough(asked, 2.0 * BACK_CHAINS as f64, trickle)
}

pub(super) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
