//! The one place of this crate that reads the wall clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// A monotonic clock that knows its wall time: hits of one server never go backwards.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
    origin_unix_ns: u64,
}

impl Clock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the wall clock is read once; everything after is monotonic"
    )]
    pub(crate) fn start() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self { origin: Instant::now(), origin_unix_ns: nanoseconds(unix) }
    }

    pub(crate) fn origin_unix_ns(&self) -> u64 {
        self.origin_unix_ns
    }

    pub(crate) fn unix_ns(&self, at: Instant) -> u64 {
        self.origin_unix_ns + nanoseconds(at.saturating_duration_since(self.origin))
    }
}

/// Saturates after 584 years.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
