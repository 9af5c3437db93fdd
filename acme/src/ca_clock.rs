//! The CA's clock, from the `Date` of its answers.
//!
//! Times that a CA writes (Retry-After as a date, the expiry of orders, windows of renewal information, validity of
//! certificates) are times of its clock. If our clock is hours off, a comparison with it makes orders look expired, and
//! turns a Retry-After into no wait or a wait of hours.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use http::HeaderMap;

use crate::clock::Clock;
use crate::time::http_date;

/// The CA has not answered yet.
const UNKNOWN: i64 = i64::MIN;
const SECOND: i128 = 1_000_000_000;

/// The CA's clock, at a resolution of one second. Clones share their knowledge.
#[derive(Clone, Debug)]
pub struct CaClock {
    ours: Clock,
    /// Seconds that the CA's clock is ahead of ours; negative if it is behind.
    ahead: Arc<AtomicI64>,
}

impl CaClock {
    /// The clock of a CA that has not answered yet: taken as equal to ours.
    pub fn new(ours: Clock) -> Self {
        Self { ours, ahead: Arc::new(AtomicI64::new(UNKNOWN)) }
    }

    /// Our own clock.
    pub const fn ours(&self) -> Clock {
        self.ours
    }

    /// How many seconds the CA's clock is ahead of ours; negative if it is behind, 0 if both may be equal. None
    /// before an answer with a `Date`.
    pub fn ahead(&self) -> Option<i64> {
        Some(self.ahead.load(Ordering::Relaxed)).filter(|ahead| *ahead != UNKNOWN)
    }

    /// The CA's time now, seconds since the Unix epoch; our time while the CA's is unknown.
    pub fn unix_now(&self) -> i64 {
        self.ours.unix_now().saturating_add(self.ahead().unwrap_or(0))
    }

    /// Learns from an answer to a request that was sent at `sent` and read by `done`, nanoseconds of our clock.
    ///
    /// An answer from a cache (it has an `Age`) has an old `Date` and is ignored.
    pub(crate) fn learn(&self, headers: &HeaderMap, sent: u64, done: u64) {
        let Some(date) = date(headers).filter(|_| !headers.contains_key("age")) else { return };
        let unix = |at: u64| self.ours.origin_unix_ns().saturating_add(at);
        let known = self.ahead().unwrap_or(0);
        self.ahead.store(ahead(date, (unix(sent), unix(done)), known), Ordering::Relaxed);
    }
}

/// The answer's own `Date` (RFC 9110 §6.6.1), seconds since the Unix epoch.
pub(crate) fn date(headers: &HeaderMap) -> Option<i64> {
    http_date(headers.get("date")?.to_str().ok()?)
}

/// How many seconds a clock is ahead that showed the second `date` at some moment between two of ours (nanoseconds
/// since the Unix epoch): the known value if it is possible, else the nearest possible one.
fn ahead(date: i64, (sent, done): (u64, u64), known: i64) -> i64 {
    // Its moment is in the second that began at `date`, and ours anywhere between sent and done.
    let least = i128::from(date) * SECOND - i128::from(done);
    let most = (i128::from(date) + 1) * SECOND - i128::from(sent);
    let whole = |nanoseconds: i128| i64::try_from(nanoseconds.div_euclid(SECOND)).unwrap_or(0);
    let known = i128::from(known) * SECOND;
    if known < least {
        whole(least + SECOND - 1)
    } else if known > most {
        whole(most)
    } else {
        whole(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_stays_as_long_as_answers_agree_with_it() {
        const NOW: u64 = 1_795_255_200;
        let at = |seconds: f64| NOW * 1_000_000_000 + (seconds * 1e9) as u64;
        for (date, sent, done, known, expected) in [
            // The same second, and a second that ended during the request.
            (0, 0.2, 0.4, 0, 0),
            (0, 0.9, 1.3, 0, 0),
            (1, 0.9, 1.3, 0, 0),
            // A slow answer's Date can be of any moment of the request.
            (12, 0.0, 30.0, 0, 0),
            (12, 0.0, 30.0, 5, 5),
            // The CA's clock is three hours ahead, and three hours behind.
            (10_800, 0.2, 0.4, 0, 10_800),
            (-10_800, 0.2, 0.4, 0, -10_800),
            (10_801, 0.9, 1.3, 10_800, 10_800),
            // The CA's clock was corrected.
            (0, 0.2, 0.4, 10_800, 0),
            (0, 0.2, 0.4, -10_800, 0),
        ] {
            let found = ahead(NOW as i64 + date, (at(sent), at(done)), known);
            assert_eq!(found, expected, "date {date}, {sent}..{done}, {known} before");
        }
    }

    #[test]
    fn the_date_of_a_cached_answer_is_not_used() {
        let clock = CaClock::new(Clock::start());
        assert_eq!((clock.ahead(), clock.unix_now()), (None, clock.ours().unix_now()));
        let mut headers = HeaderMap::new();
        headers.insert("date", "Sat, 21 Nov 2020 10:00:00 GMT".parse().unwrap());
        headers.insert("age", "60".parse().unwrap());
        clock.learn(&headers, 0, 1);
        assert_eq!(clock.ahead(), None);
        headers.remove("age");
        clock.learn(&headers, 0, 1);
        assert!(clock.ahead().is_some_and(|ahead| ahead < -86_400));
        assert!(clock.unix_now() < clock.ours().unix_now() - 86_400);
    }
}
