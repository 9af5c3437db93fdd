//! The plan made from the rules: it decides about each request, validation and certificate.
//!
//! Decisions depend only on the seed and on the number of earlier requests to the endpoint, so the n-th
//! request gets the same decision in every run with the same rules.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::rules::{
    Fault, FaultRule, Flaw, FlawRule, Latency, LatencyRule, ServeRule, Share, Stall, Target, fraction,
};
use crate::endpoint::Endpoint;

/// All rules, prepared for decisions.
pub(crate) struct Plan {
    seed: u64,
    endpoints: [Fate; Endpoint::ALL.len()],
    stalls: Vec<Stall>,
    bad_nonce: (Share, AtomicU64),
    flaws: (Vec<(Flaw, Share)>, AtomicU64),
    validation: (Latency, Share, AtomicU64),
}

/// The rules for one endpoint, and the number of its requests.
struct Fate {
    latency: Latency,
    faults: Vec<(Fault, Share)>,
    arrived: AtomicU64,
    queue: Option<Queue>,
}

/// A server with a queue.
struct Queue {
    /// Service time, nanoseconds.
    takes: u64,
    /// The longest time until a request that waits is served, nanoseconds; that of the queue and of the request itself.
    longest: u64,
    /// When all requests so far are served, nanoseconds since the CA's start.
    free: AtomicU64,
}

impl Queue {
    /// How long a request that arrives now waits until it is served; none if the queue is full.
    fn wait(&self, now: Duration) -> Option<Duration> {
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let served = |free: u64| free.max(now).saturating_add(self.takes);
        let joins = |free: &u64| served(*free) - now <= self.longest;
        let next = |free: u64| Some(free).filter(joins).map(served);
        let before = self.free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).ok()?;
        Some(Duration::from_nanos(served(before) - now))
    }
}

/// The decision about one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) latency: Duration,
    pub(crate) fault: Option<Fault>,
}

/// The input of a [`Plan`].
pub(crate) struct Rules<'a> {
    /// Seed of all random choices.
    pub(crate) seed: u64,
    pub(crate) latencies: &'a [LatencyRule],
    pub(crate) faults: &'a [FaultRule],
    pub(crate) stalls: &'a [Stall],
    /// Share of valid nonces that are refused.
    pub(crate) bad_nonce: Share,
    pub(crate) flaws: &'a [FlawRule],
    /// Delay of a validation, and the share that fails.
    pub(crate) validation: (Latency, Share),
}

impl Plan {
    pub(crate) fn new(rules: Rules<'_>) -> Self {
        let Rules { seed, latencies, faults, stalls, bad_nonce, flaws, validation } = rules;
        Self {
            seed,
            endpoints: Endpoint::ALL.map(|endpoint| {
                let specific = latencies.iter().rfind(|rule| rule.target == Target::One(endpoint));
                let general = latencies.iter().rfind(|rule| rule.target == Target::All);
                let about = faults.iter().filter(|rule| rule.target.is(endpoint));
                Fate {
                    latency: specific.or(general).map_or(Latency::NONE, |rule| rule.latency.clone()),
                    faults: about.map(|rule| (rule.fault, rule.share)).collect(),
                    arrived: AtomicU64::new(0),
                    queue: None,
                }
            }),
            stalls: stalls.to_vec(),
            bad_nonce: (bad_nonce, AtomicU64::new(0)),
            flaws: (flaws.iter().map(|rule| (rule.flaw, rule.share)).collect(), AtomicU64::new(0)),
            validation: (validation.0, validation.1, AtomicU64::new(0)),
        }
    }

    /// The same, with endpoints that serve a number of requests per second; of two rules for one endpoint the
    /// later counts.
    pub(crate) fn serving(mut self, rules: &[ServeRule]) -> Self {
        for rule in rules {
            let takes = (1e9 / rule.per_second) as u64;
            let longest = rule.queue.map_or(u64::MAX, |queue| takes.saturating_mul(queue.saturating_add(1)));
            self.endpoints[rule.endpoint as usize].queue =
                Some(Queue { takes, longest, free: AtomicU64::new(0) });
        }
        self
    }

    /// The decision about the request that has just arrived.
    pub(crate) fn request(&self, endpoint: Endpoint) -> Decision {
        let fate = &self.endpoints[endpoint as usize];
        let n = fate.arrived.fetch_add(1, Ordering::Relaxed);
        Decision {
            latency: fate.latency.of(n, self.roll(Stream::Latency(endpoint), n)),
            fault: choose(&fate.faults, self.roll(Stream::Fault(endpoint), n)),
        }
    }

    /// How long the request that has just arrived waits until it is served, this long after the start; none if the queue
    /// is full.
    pub(crate) fn queued(&self, endpoint: Endpoint, since_start: Duration) -> Option<Duration> {
        let queue = &self.endpoints[endpoint as usize].queue;
        queue.as_ref().map_or(Some(Duration::ZERO), |queue| queue.wait(since_start))
    }

    /// Rest of a stall, this long after the start.
    pub(crate) fn stalled(&self, since_start: Duration) -> Duration {
        let remaining = |stall: &Stall| {
            let end = stall.at + stall.lasting;
            if since_start >= stall.at { end.saturating_sub(since_start) } else { Duration::ZERO }
        };
        self.stalls.iter().map(remaining).max().unwrap_or_default()
    }

    /// Whether a valid nonce is refused.
    pub(crate) fn refuses_nonce(&self) -> bool {
        let (share, tried) = &self.bad_nonce;
        *share != Share::default()
            && share.covers(self.roll(Stream::Nonce, tried.fetch_add(1, Ordering::Relaxed)))
    }

    /// The flaw of the next certificate.
    pub(crate) fn flaw(&self) -> Option<Flaw> {
        let (shares, issued) = &self.flaws;
        let roll = self.roll(Stream::Flaw, issued.fetch_add(1, Ordering::Relaxed));
        choose(shares, roll)
    }

    /// Delay of the next validation, and whether it fails on purpose.
    pub(crate) fn validation(&self) -> (Duration, bool) {
        let (delay, failing, started) = &self.validation;
        let n = started.fetch_add(1, Ordering::Relaxed);
        (
            delay.of(n, self.roll(Stream::ValidationDelay, n)),
            failing.covers(self.roll(Stream::ValidationFailure, n)),
        )
    }

    fn roll(&self, stream: Stream, n: u64) -> u64 {
        mix(mix(self.seed ^ stream.number()).wrapping_add(n))
    }
}

/// Each kind of decision has its own random numbers, so that a new fault rule does not change latencies.
#[derive(Clone, Copy)]
enum Stream {
    Nonce,
    Flaw,
    ValidationDelay,
    ValidationFailure,
    Latency(Endpoint),
    Fault(Endpoint),
}

impl Stream {
    fn number(self) -> u64 {
        match self {
            Stream::Nonce => 1,
            Stream::Flaw => 2,
            Stream::ValidationDelay => 3,
            Stream::ValidationFailure => 4,
            Stream::Latency(endpoint) => 0x100 + endpoint as u64,
            Stream::Fault(endpoint) => 0x200 + endpoint as u64,
        }
    }
}

/// The finalizer of SplitMix64: similar inputs give unrelated outputs.
fn mix(input: u64) -> u64 {
    let mut z = input.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The shares are adjacent intervals from 0; the random number is in one of them or in the rest.
fn choose<T: Copy>(shares: &[(T, Share)], roll: u64) -> Option<T> {
    let mut position = fraction(roll);
    for (choice, share) in shares {
        if position < share.0 {
            return Some(*choice);
        }
        position -= share.0;
    }
    None
}
#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn plan(latencies: &[&str], faults: &[&str]) -> Plan {
        let latencies: Vec<_> = latencies.iter().map(|rule| rule.parse().unwrap()).collect();
        let faults: Vec<_> = faults.iter().map(|rule| rule.parse().unwrap()).collect();
        Plan::new(Rules {
            seed: 7,
            latencies: &latencies,
            faults: &faults,
            stalls: &[Stall { at: ms(100), lasting: ms(50) }],
            bad_nonce: Share(0.25),
            flaws: &[FlawRule { flaw: Flaw::WrongName, share: Share(0.5) }],
            validation: (Latency::NONE, Share(0.0)),
        })
    }

    #[test]
    fn an_endpoint_serves_so_many_a_second_and_the_others_wait() {
        let plan = plan(&[], &[]).serving(&["newAccount=10/s".parse().unwrap()]);
        let waits = |plan: &Plan| [0, 0, 0, 150, 1_000].map(|now| plan.queued(Endpoint::NewAccount, ms(now)));
        assert_eq!(waits(&plan), [100, 200, 300, 250, 100].map(|wait| Some(ms(wait))));
        assert_eq!(plan.queued(Endpoint::NewOrder, ms(0)), Some(ms(0)));
        let plan = super::tests::plan(&[], &[]).serving(&["newAccount=10/s:1".parse().unwrap()]);
        assert_eq!(
            waits(&plan),
            [Some(ms(100)), Some(ms(200)), None, Some(ms(150)), Some(ms(100))],
            "one waits"
        );
        for wrong in [
            "newOrder",
            "newOrder=50",
            "newOrder=0/s",
            "newOrder=-1/s",
            "newOrder=5/s:",
            "newOrder=5/s:-1",
            "*=5/s",
            "order=NaN/s",
        ] {
            assert!(wrong.parse::<ServeRule>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_rule_for_one_endpoint_overrides_a_rule_for_all() {
        let plan = plan(&["newOrder=1ms", "20ms", "newOrder=2ms"], &[]);
        assert_eq!(plan.request(Endpoint::NewOrder).latency, ms(2));
        assert_eq!(plan.request(Endpoint::Order).latency, ms(20));
    }

    #[test]
    fn latencies_in_turn_repeat_exactly() {
        let plan = plan(&["10ms,20ms,500ms"], &[]);
        let met: Vec<_> = (0..6).map(|_| plan.request(Endpoint::Order).latency).collect();
        assert_eq!(met, [10, 20, 500, 10, 20, 500].map(ms));
    }

    #[test]
    fn uniform_latencies_stay_within_their_bounds_and_fill_them() {
        let plan = plan(&["10ms..20ms"], &[]);
        let mut met: Vec<_> = (0..1000).map(|_| plan.request(Endpoint::Order).latency).collect();
        met.sort();
        assert!(met[0] >= ms(10) && met[0] < ms(11), "{:?}", met[0]);
        assert!(met[999] < ms(20) && met[999] > ms(19), "{:?}", met[999]);
        assert!(met[500] > ms(14) && met[500] < ms(16), "{:?}", met[500]);
    }

    #[test]
    fn faults_occur_in_their_shares() {
        let plan = plan(&[], &["order=500:0.1", "*=429:0.2"]);
        let mut met = [0; Fault::ALL.len()];
        for _ in 0..10_000 {
            if let Some(fault) = plan.request(Endpoint::Order).fault {
                met[fault as usize] += 1;
            }
        }
        assert!((900..1100).contains(&met[Fault::ServerError as usize]), "{met:?}");
        assert!((1850..2150).contains(&met[Fault::RateLimited as usize]), "{met:?}");
        assert_eq!(met[2..], [0; 6]);
    }

    #[test]
    fn the_same_seed_decides_the_same() {
        let rules = (&["5ms..50ms"][..], &["*=500:0.3"][..]);
        let (one, other) = (plan(rules.0, rules.1), plan(rules.0, rules.1));
        for _ in 0..100 {
            assert_eq!(one.request(Endpoint::Finalize), other.request(Endpoint::Finalize));
            assert_eq!(one.refuses_nonce(), other.refuses_nonce());
            assert_eq!(one.flaw(), other.flaw());
        }
    }

    #[test]
    fn a_share_of_1_affects_every_request_and_a_share_of_0_none() {
        let plan = plan(&[], &["order=empty:1", "newOrder=empty:0"]);
        for _ in 0..1000 {
            assert_eq!(plan.request(Endpoint::Order).fault, Some(Fault::Empty));
            assert_eq!(plan.request(Endpoint::NewOrder).fault, None);
        }
    }

    #[test]
    fn requests_that_arrive_in_a_stall_wait_for_its_end() {
        let plan = plan(&[], &[]);
        for (since_start, wait) in [(0, 0), (99, 0), (100, 50), (149, 1), (150, 0), (10_000, 0)] {
            assert_eq!(plan.stalled(ms(since_start)), ms(wait), "{since_start} ms");
        }
    }
}
