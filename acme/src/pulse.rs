//! Whether the CA answers at all.

use std::sync::atomic::{AtomicU64, Ordering};

/// Requests in flight, and since when none has been answered. Shared by all clients of a CA; times are of their
/// clock, nanoseconds.
#[derive(Debug, Default)]
pub struct Pulse {
    in_flight: AtomicU64,
    /// When the first request without a later answer was sent; 0 if the last event was an answer.
    unanswered_since: AtomicU64,
    /// When the latest request was sent.
    sent: AtomicU64,
    answers: AtomicU64,
}

/// Requests are sent and none is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silence {
    /// When the first of them was sent.
    pub since: u64,
    /// Requests under way now.
    pub in_flight: u64,
}

impl Pulse {
    /// The silence at `now`, if it has lasted at least `at_least` nanoseconds. There is none if nothing is sent.
    pub fn silence(&self, now: u64, at_least: u64) -> Option<Silence> {
        let since = self.unanswered_since.load(Ordering::Relaxed);
        let in_flight = self.in_flight.load(Ordering::Relaxed);
        // A request that fails at once is in flight only briefly.
        let asks = in_flight > 0 || now.saturating_sub(self.sent.load(Ordering::Relaxed)) < at_least;
        (since > 0 && asks && now.saturating_sub(since) >= at_least).then_some(Silence { since, in_flight })
    }

    /// How many requests were answered, with any status.
    pub fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    /// A request is sent at `now`; it is in flight as long as the guard exists.
    pub(crate) fn begin(&self, now: u64) -> UnderWay<'_> {
        let now = now.max(1);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.sent.store(now, Ordering::Relaxed);
        let _ = self.unanswered_since.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        UnderWay(self)
    }
}

/// A request in flight.
#[derive(Debug)]
pub(crate) struct UnderWay<'a>(&'a Pulse);

impl UnderWay<'_> {
    /// It was answered, with any status.
    pub(crate) fn answered(&self) {
        self.0.unanswered_since.store(0, Ordering::Relaxed);
        self.0.answers.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_begins_with_the_first_request_after_the_last_answer() {
        let pulse = Pulse::default();
        assert_eq!(pulse.silence(1_000, 10), None, "no request was sent");
        let first = pulse.begin(100);
        let second = pulse.begin(105);
        assert_eq!(pulse.silence(109, 10), None);
        assert_eq!(pulse.silence(110, 10), Some(Silence { since: 100, in_flight: 2 }));
        first.answered();
        drop(first);
        assert_eq!(pulse.silence(200, 10), None, "a request in flight may still be answered");
        drop(second);
        assert_eq!(pulse.silence(300, 10), None);
    }

    #[test]
    fn failing_requests_are_a_silence_and_a_pause_is_not() {
        let pulse = Pulse::default();
        for at in (100..200).step_by(5) {
            drop(pulse.begin(at));
        }
        assert_eq!(pulse.silence(200, 10), Some(Silence { since: 100, in_flight: 0 }));
        assert_eq!(pulse.silence(300, 10), None, "no more requests are sent");
    }
}
