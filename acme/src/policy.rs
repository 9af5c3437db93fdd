//! Bounds of every wait and every repetition of the client.

use std::time::Duration;

/// Bounds on retries and polls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Retries of one request after `badNonce`.
    pub bad_nonce_retries: u32,
    /// Retries of one request after 429 or 503 with Retry-After. Without Retry-After there is no retry. Nor is there
    /// one if the limit is on an account or on names ([`Subject`](crate::Subject)): the caller can continue with
    /// others.
    pub busy_retries: u32,
    /// The longest Retry-After that the client waits; a longer one is a failure that names both.
    pub max_retry_after: Duration,
    /// The wait before the first poll; each further one is 1.5 times as long.
    pub poll_interval: Duration,
    /// The longest wait between polls, unless the first is longer.
    pub poll_max_interval: Duration,
    /// How long one object is polled in total.
    pub poll_timeout: Duration,
    /// Most nonces kept; the oldest are dropped. Boulder keeps 65,536 for all its clients.
    pub nonce_pool: usize,
    /// Nonces older than this are not used.
    pub nonce_max_age: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            bad_nonce_retries: 20,
            busy_retries: 3,
            max_retry_after: Duration::from_secs(60),
            poll_interval: Duration::from_millis(50),
            poll_max_interval: Duration::from_secs(2),
            poll_timeout: Duration::from_secs(60),
            nonce_pool: 2_048,
            nonce_max_age: Duration::from_secs(120),
        }
    }
}

impl Policy {
    /// The wait after `previous`; before the first poll `previous` is none.
    pub(crate) fn next_interval(&self, previous: Option<Duration>) -> Duration {
        match previous {
            None => self.poll_interval,
            Some(previous) => (previous + previous / 2).max(self.poll_interval),
        }
        .min(self.poll_max_interval.max(self.poll_interval))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polls_grow_by_half_up_to_the_longest_interval() {
        let policy = Policy {
            poll_interval: Duration::from_millis(50),
            poll_max_interval: Duration::from_millis(200),
            ..Policy::default()
        };
        let mut waits = Vec::new();
        let mut last = None;
        for _ in 0..6 {
            last = Some(policy.next_interval(last));
            waits.push(last.unwrap().as_micros());
        }
        assert_eq!(waits, [50_000, 75_000, 112_500, 168_750, 200_000, 200_000]);
        let slow = Policy { poll_interval: Duration::from_secs(5), ..policy };
        assert_eq!([None, Some(slow.poll_interval)].map(|last| slow.next_interval(last).as_secs()), [5, 5]);
    }
}
