//! Splits a chain's time, started to done, by who used it. The parts add up to the whole.

use crate::{ChainResult, FailureClass, RequestResult};

/// The parts of a chain's time, nanoseconds. Their sum is exactly `done − started`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Requests, including nonce fetches, retries and polls: the sum of their service times. Used by the CA
    /// and the network.
    pub requests: u64,
    /// Making connections: DNS, TCP and TLS. Used by the CA and the network.
    pub connecting: u64,
    /// Waits that the CA asked for (Retry-After).
    pub asked: u64,
    /// Waits for our own poll interval or back-off, beyond what the CA asked for.
    pub polls: u64,
    /// Keys and CSRs. Used by the load tester.
    pub keys: u64,
    /// The rest, also used by the load tester: waits for a free connection, a processor or the challenge
    /// store; signing; checking.
    pub own: u64,
}

impl Spent {
    /// The sum of all parts.
    pub const fn sum(&self) -> u64 {
        self.requests + self.connecting + self.asked + self.polls + self.keys + self.own
    }
}

impl ChainResult {
    /// The parts of this chain's time. None without times, as in records of the 2015 design, which have only
    /// `chaintook`.
    pub fn spent(&self) -> Option<Spent> {
        if self.done == 0 {
            return None;
        }
        // A chain's parts never overlap, but a log may contain anything: limit the sum to the whole.
        let mut left = self.done.saturating_sub(self.started);
        let mut take = |part: u64| {
            let taken = part.min(left);
            left -= taken;
            taken
        };
        let (requests, connecting) =
            self.requests.iter().fold((0_u64, 0_u64), |(requests, connecting), it| {
                (requests.saturating_add(it.service_time()), connecting.saturating_add(it.connecting_time()))
            });
        let (requests, connecting) = (take(requests), take(connecting));
        let (asked, polls, keys) = (take(self.waited_asked), take(self.waited_poll), take(self.keygen));
        Some(Spent { requests, connecting, asked, polls, keys, own: left })
    }
}

impl RequestResult {
    /// Time for making the connection before the request was sent, nanoseconds. It is not part of the service
    /// time.
    pub fn connecting_time(&self) -> u64 {
        // For an attempt without a connection, `sent` is the start of connecting, so its service time
        // includes that.
        if matches!(
            self.class,
            Some(
                FailureClass::Connect | FailureClass::Tls | FailureClass::RefusedOrigin | FailureClass::Local
            )
        ) {
            return 0;
        }
        let phases = &self.phases;
        let made = phases.dns.saturating_add(phases.connect).saturating_add(phases.tls);
        made.min(self.sent.saturating_sub(self.due))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Phases;

    fn request(due: u64, sent: u64, done: u64, phases: Phases) -> RequestResult {
        RequestResult { due, sent, done, phases, ..RequestResult::default() }
    }

    #[test]
    fn each_part_is_named_and_the_rest_is_our_own() {
        let phases = Phases { dns: 1, connect: 10, tls: 20, first_byte: 7 };
        let result = ChainResult {
            started: 1_000,
            done: 2_000,
            keygen: 40,
            waited_asked: 300,
            waited_poll: 50,
            // 9 waiting for a nonce, 31 connecting, 100 and 60 in requests.
            requests: vec![
                request(1_000, 1_040, 1_140, phases),
                request(1_500, 1_500, 1_560, Phases::default()),
            ],
            ..ChainResult::default()
        };
        let spent = result.spent().unwrap();
        assert_eq!(spent, Spent { requests: 160, connecting: 31, asked: 300, polls: 50, keys: 40, own: 419 });
        assert_eq!(spent.sum(), 1_000);
    }

    #[test]
    fn a_connection_that_failed_is_counted_once() {
        let phases = Phases { connect: 500, ..Phases::default() };
        let refused = RequestResult { class: Some(FailureClass::Connect), ..request(0, 100, 600, phases) };
        let result = ChainResult { done: 700, requests: vec![refused], ..ChainResult::default() };
        let spent = result.spent().unwrap();
        assert_eq!((spent.requests, spent.connecting, spent.own), (500, 0, 200));
    }

    #[test]
    fn the_designs_records_have_no_parts() {
        assert_eq!(ChainResult { took: 5, ..ChainResult::default() }.spent(), None);
    }

    proptest! {
        #[test]
        fn the_parts_add_up_whatever_the_record_holds(
            times in any::<[u64; 2]>(),
            parts in any::<[u64; 3]>(),
            requests in prop::collection::vec(any::<[u64; 6]>(), 0..5),
        ) {
            let [started, done] = times;
            let [keygen, waited_asked, waited_poll] = parts;
            let requests = requests.into_iter().map(|[due, sent, done, dns, connect, tls]| {
                request(due, sent, done, Phases { dns, connect, tls, first_byte: 0 })
            });
            let result = ChainResult {
                started, done, keygen, waited_asked, waited_poll,
                requests: requests.collect(),
                ..ChainResult::default()
            };
            if let Some(spent) = result.spent() {
                prop_assert_eq!(spent.sum(), done.saturating_sub(started));
            }
        }
    }
}
