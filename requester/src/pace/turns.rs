//! When a paced worker starts its next iteration: each request takes a fixed time, and a turn lasts for the
//! sum of its requests' times.
//!
//! Together, n workers make exactly the target rate, however many requests an iteration has, as long as the
//! CA answers in time. A late worker catches up by at most one turn, so there is no burst after a stall.

use std::time::Duration;

/// The turns of one worker, in time since its start.
#[derive(Clone, Copy, Debug)]
pub struct Turns {
    /// When the last turn should have started.
    last: Duration,
    /// Requests of the turn since then.
    requests: f64,
    /// When its iteration ended.
    ended: Duration,
}

impl Turns {
    /// The turns of worker `number` of several that start together: their first turns are spread over the
    /// length of one, which has about `per_chain` requests.
    pub fn staggered(number: u32, per_chain: f64) -> Self {
        // Multiples of the golden ratio fill the unit interval evenly, however many there are.
        let part = (f64::from(number) * 0.618_033_988_749_894_9).fract();
        Self { last: Duration::ZERO, requests: part * per_chain, ended: Duration::MAX }
    }

    /// The iteration of this turn has ended after this many requests.
    pub fn ended(&mut self, now: Duration, requests: u32) {
        self.requests = requests.into();
        self.ended = now;
    }

    /// When the next turn starts if each request takes `interval`.
    pub fn start(&self, interval: Duration) -> Duration {
        let worth =
            Duration::try_from_secs_f64(interval.as_secs_f64() * self.requests).unwrap_or(Duration::MAX);
        let start = self.last.saturating_add(worth);
        if self.ended == Duration::MAX { start } else { start.max(self.ended.saturating_sub(worth)) }
    }

    /// The next turn starts.
    pub fn taken(&mut self, interval: Duration) {
        self.last = self.start(interval);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_turn_lasts_as_long_as_its_requests_are_worth() {
        let mut turns = Turns::staggered(0, 5.0);
        let mut starts = Vec::new();
        for requests in [1, 12, 3, 3] {
            let start = turns.start(ms(10));
            turns.taken(ms(10));
            starts.push(start.as_millis());
            turns.ended(start + ms(7), requests);
        }
        assert_eq!(starts, [0, 10, 130, 160]);
    }

    #[test]
    fn a_late_turn_is_caught_up_but_a_stall_is_not() {
        let mut turns = Turns::staggered(0, 5.0);
        turns.taken(ms(10));
        turns.ended(ms(130), 10);
        assert_eq!(turns.start(ms(10)), ms(100), "it was due 30 ms ago and starts at once");
        turns.taken(ms(10));
        turns.ended(ms(150), 10);
        assert_eq!(turns.start(ms(10)), ms(200), "the next start is as if there had been no delay");
        turns.taken(ms(10));
        turns.ended(ms(9_000), 10);
        assert_eq!(turns.start(ms(10)), ms(8_900), "not the 88 turns that were missed");
    }

    #[test]
    fn workers_that_begin_together_start_at_different_times() {
        let mut starts: Vec<_> =
            (0..100).map(|number| Turns::staggered(number, 10.0).start(ms(10))).collect();
        starts.sort_unstable();
        assert_eq!(starts[0], Duration::ZERO);
        assert!(
            starts.windows(2).all(|pair| pair[1] - pair[0] <= ms(2)),
            "neighbours are at most two equal parts apart"
        );
        assert!(starts[99] < ms(100));
    }

    #[test]
    fn a_changed_worth_applies_to_the_current_wait() {
        let mut turns = Turns::staggered(0, 5.0);
        turns.taken(ms(10_000));
        turns.ended(ms(5), 10);
        assert_eq!((turns.start(ms(10_000)), turns.start(ms(1))), (ms(100_000), ms(10)));
    }
}
