//! Waits between a chain's requests, by their reason.

use std::time::Duration;

use crate::clock::reading;

/// How long a chain waited between its requests, nanoseconds. Waits never overlap requests of the same chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waited {
    /// The CA asked for it (Retry-After).
    pub asked: u64,
    /// Our own poll interval or back-off, beyond what the CA asked for.
    pub poll: u64,
}

/// One wait, as long as the longer of the two.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    /// When it began, nanoseconds of the client's clock.
    began: u64,
    asked: Duration,
    own: Duration,
}

impl Wait {
    pub(crate) const fn new(began: u64, asked: Duration, own: Duration) -> Self {
        Self { began, asked, own }
    }

    /// Its planned length.
    pub(crate) fn length(&self) -> Duration {
        self.own.max(self.asked)
    }

    /// The parts of a wait that ended at `now`: first what the CA asked for, then what our interval added. The delay
    /// of a late timer is in neither.
    pub(crate) fn ended(&self, now: u64) -> Waited {
        let passed = now.saturating_sub(self.began);
        let asked = passed.min(nanos(self.asked));
        let own = nanos(self.own.saturating_sub(self.asked));
        Waited { asked, poll: reading((passed - asked).min(own)) }
    }
}

impl std::ops::AddAssign for Waited {
    fn add_assign(&mut self, other: Self) {
        self.asked += other.asked;
        self.poll += other.poll;
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cas_wait_counts_first_and_a_late_timer_counts_for_neither() {
        let second = 1_000_000_000;
        let cases = [
            // Asked s, own s, passed ns → asked, poll.
            (3, 1, 3 * second, (3 * second, 0)),
            (3, 1, 3 * second + 7, (3 * second, 0)),
            (1, 3, 3 * second, (second, 2 * second)),
            (0, 3, 3 * second + 7, (0, 3 * second)),
            (0, 0, 7, (0, 0)),
            // Interrupted.
            (1, 3, second / 2, (second / 2, 0)),
            (1, 3, 2 * second, (second, second)),
        ];
        for (asked, own, passed, (by_asked, by_poll)) in cases {
            let wait = Wait::new(10, Duration::from_secs(asked), Duration::from_secs(own));
            assert_eq!(
                wait.ended(10 + passed),
                Waited { asked: by_asked, poll: by_poll },
                "{asked} {own} {passed}"
            );
        }
    }
}
