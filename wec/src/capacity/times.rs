//! How long parts of a search take: what was asked for, and what so many chains need at a rate.

use std::time::Duration;

/// Results reach analytics within some tenths of a second.
pub(super) const LATE_NS: u64 = 750_000_000;
/// A window is as long as so many chains take to become due, if that is longer than what was asked for. With fewer, chance decides
/// whether anything ends at all.
const ENOUGH_CHAINS: f64 = 10.0;
/// But no longer than this.
const LONGEST: Duration = Duration::from_secs(600);
/// So many chains in a row must succeed before a CA is held to have recovered, over at least this time.
pub(super) const BACK_CHAINS: u64 = 3;
pub(super) const BACK_NS: u64 = 2_000_000_000;

/// How long so many chains take to become due at a rate, or what people asked for, if that is longer.
fn long_enough(asked: Duration, chains: f64, rate: f64) -> Duration {
    asked.max(Duration::try_from_secs_f64(chains / rate).unwrap_or(LONGEST).min(LONGEST))
}

/// How long a step, or the hold, measures at a rate.
pub(super) fn measuring(asked: Duration, rate: f64) -> Duration {
    long_enough(asked, ENOUGH_CHAINS, rate)
}

/// How long a CA has to come back at a trickle.
pub(super) fn coming_back(asked: Duration, trickle: f64) -> Duration {
    long_enough(asked, 2.0 * BACK_CHAINS as f64, trickle)
}

pub(super) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
