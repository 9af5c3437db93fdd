//! What the CA counted second by second, and what it is compared with.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use wec_null_ca::SecondCounts;
use wec_record::{Record, RequestResult};

const SECOND: u64 = 1_000_000_000;

/// What nodes with this target may start in a second, at an even spacing: 2 % more, at least one, and two for each
/// node but the first, because each has its own intervals and may start one late.
fn allowed(rate: u32, nodes: usize) -> f64 {
    let rate = f64::from(rate);
    (rate * 1.02).max(rate + 1.0) + 2.0 * nodes.saturating_sub(1) as f64
}

/// The chains of the logs of a run, by their times.
pub(super) struct Chains {
    /// Start and end of each, nanoseconds since the Unix epoch.
    spans: Vec<(u64, u64)>,
    /// Requests for a new account that were sent. A chain whose node had lost its right to send has sent none.
    pub(super) sent: u64,
}

impl Chains {
    pub(super) fn of<'a>(records: impl IntoIterator<Item = &'a Record>) -> Self {
        let mut chains = Self { spans: Vec::new(), sent: 0 };
        for record in records {
            if let Record::Chain { origin_unix_ns, result, .. } = record {
                chains.spans.push((origin_unix_ns + result.started, origin_unix_ns + result.done));
                let asks =
                    |request: &&RequestResult| request.endpoint == "newAccount" && request.bytes_sent > 0;
                chains.sent += result.requests.iter().filter(asks).count() as u64;
            }
        }
        chains
    }

    /// The number of starts in each second.
    fn starts(&self) -> BTreeMap<u64, u64> {
        let mut seconds = BTreeMap::new();
        for (started, _) in &self.spans {
            *seconds.entry(started / SECOND).or_default() += 1;
        }
        seconds
    }

    /// The most starts in one of these seconds.
    pub(super) fn most_started(&self, seconds: Range<u64>) -> u64 {
        self.starts().range(seconds).map(|(_, count)| *count).max().unwrap_or_default()
    }

    /// The chains that were started before this second and had not ended: their requests may arrive in it.
    fn in_flight(&self, second: u64) -> u64 {
        let at = second * SECOND;
        self.spans.iter().filter(|(started, done)| *started < at && at <= *done).count() as u64
    }

    /// Fails if in any second more were started than the target allows.
    pub(super) fn assert_starts(&self, rate: u32, nodes: usize) {
        let starts = self.starts();
        assert!(!starts.is_empty(), "there are results");
        let most = starts.values().max().unwrap();
        println!("most started in a second: {most}, allowed {:.0}", allowed(rate, nodes));
        let over: Vec<_> = starts.iter().filter(|(_, count)| **count as f64 > allowed(rate, nodes)).collect();
        assert!(over.is_empty(), "more than {rate} chains were started in a second: {over:?} of {starts:?}");
    }
}

/// The log of a CA's seconds.
pub(super) struct Counted {
    path: PathBuf,
}

impl Counted {
    pub(super) fn in_file(path: PathBuf) -> Self {
        Self { path }
    }

    /// The new accounts of each second that has ended, without gaps, from the first one on.
    pub(super) fn seconds(&self) -> Vec<(u64, u64)> {
        let text = std::fs::read_to_string(&self.path).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let mut seconds: Vec<(u64, u64)> = Vec::new();
        for line in whole.lines() {
            let SecondCounts { unix_s, new_accounts, .. } = serde_json::from_str(line).expect("a second");
            if let Some((last, _)) = seconds.last().copied() {
                seconds.extend((last + 1..unix_s).map(|second| (second, 0)));
            }
            seconds.push((unix_s, new_accounts));
        }
        seconds
    }

    /// The first of `long` seconds in a row, all at or after `from`, with at least 96 % of `rate` on average and at
    /// least 80 % each.
    pub(super) fn reached(&self, rate: f64, from: u64, long: usize) -> Option<u64> {
        let seconds: Vec<_> = self.seconds().into_iter().filter(|(second, _)| *second >= from).collect();
        let reaches = |window: &&[(u64, u64)]| {
            let sum: u64 = window.iter().map(|(_, count)| count).sum();
            let each = window.iter().all(|(_, count)| *count as f64 >= rate * 0.8);
            each && sum as f64 >= rate * 0.96 * long as f64
        };
        seconds.windows(long).find(reaches).map(|window| window[0].0)
    }

    /// The first second between two with less than 80 % of `rate`.
    pub(super) fn first_short(&self, rate: f64, from: u64, to: u64) -> Option<u64> {
        let mut within = self.seconds().into_iter().filter(|(second, _)| (from..=to).contains(second));
        within.find(|(_, count)| (*count as f64) < rate * 0.8).map(|(second, _)| second)
    }

    /// The largest count of one of these seconds, and what was in flight when it began.
    pub(super) fn most(&self, seconds: Range<u64>, chains: &Chains) -> (u64, u64) {
        let seconds = self.seconds().into_iter().filter(|(second, _)| seconds.contains(second));
        let (second, count) = seconds.max_by_key(|(_, count)| *count).unwrap_or_default();
        (count, chains.in_flight(second))
    }

    /// Fails if the CA ever got more in a second than the target and what was in flight when it began: one round
    /// trip's burst.
    pub(super) fn assert_never_over(&self, rate: u32, nodes: usize, chains: &Chains) {
        let (count, in_flight) = self.most(0..u64::MAX, chains);
        println!("most counted in a second: {count}, in flight then {in_flight}");
        for (second, count) in self.seconds() {
            let in_flight = chains.in_flight(second);
            let most = allowed(rate, nodes) + in_flight as f64;
            assert!(
                count as f64 <= most,
                "{count} in the second {second}, the target is {rate}, and {in_flight} were in flight: {:?}, started \
                 {:?}",
                self.seconds(),
                chains.starts()
            );
        }
    }

    pub(super) fn all(&self) -> u64 {
        self.seconds().iter().map(|(_, count)| count).sum()
    }

    /// The missing requests between two seconds.
    pub(super) fn missing(&self, rate: f64, from: u64, to: u64) -> f64 {
        let within = self.seconds().into_iter().filter(|(second, _)| (from..to).contains(second));
        within.map(|(_, count)| (rate - count as f64).max(0.0)).fold(0.0, |sum, more| sum + more)
    }
}
