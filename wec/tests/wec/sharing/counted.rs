//! What the CA counted second by second, and what it is compared with.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use wec_null_ca::SecondCounts;
use wec_record::{Record, RequestResult};

const SECOND: u64 = 1_000_000_000;

/// What nodes with this target may start in a second, at an even spacing: 2 % more than can be due in it, at least one.
/// One more than the target is due for each node but the first, because each has its own intervals. A start that was due
/// before the second is a burst of what was held up: each node but the first may have one of these, too.
fn allowed(rate: u32, nodes: usize, late: u64) -> f64 {
    let others = nodes.saturating_sub(1) as u64;
    let due = u64::from(rate) + others;
    (due as f64 * 1.02).max((due + 1 + late.min(others)) as f64)
}

/// The chains of the logs of a run, by their times.
pub(crate) struct Chains {
    spans: Vec<Span>,
    /// Requests for a new account that were sent. A chain whose node had lost its right to send has sent none.
    pub(crate) sent: u64,
}

/// The times of a chain, nanoseconds since the Unix epoch.
struct Span {
    due: u64,
    started: u64,
    done: u64,
}

impl Chains {
    pub(crate) fn of<'a>(records: impl IntoIterator<Item = &'a Record>) -> Self {
        let mut chains = Self { spans: Vec::new(), sent: 0 };
        for record in records {
            if let Record::Chain { origin_unix_ns, result, .. } = record {
                let [due, started, done] =
                    [result.due, result.started, result.done].map(|time| origin_unix_ns + time);
                chains.spans.push(Span { due, started, done });
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
        for span in &self.spans {
            *seconds.entry(span.started / SECOND).or_default() += 1;
        }
        seconds
    }

    /// What may be started in a second.
    fn allowed(&self, second: u64, rate: u32, nodes: usize) -> f64 {
        let late = |span: &&Span| span.started / SECOND == second && span.due / SECOND < second;
        allowed(rate, nodes, self.spans.iter().filter(late).count() as u64)
    }

    /// The most starts in one of these seconds.
    pub(crate) fn most_started(&self, seconds: Range<u64>) -> u64 {
        self.starts().range(seconds).map(|(_, count)| *count).max().unwrap_or_default()
    }

    /// The chains that were started before this second and had not ended: their requests may arrive in it.
    fn in_flight(&self, second: u64) -> u64 {
        let at = second * SECOND;
        self.spans.iter().filter(|span| span.started < at && at <= span.done).count() as u64
    }

    /// Fails if in any second more were started than the target allows.
    pub(crate) fn assert_starts(&self, rate: u32, nodes: usize) {
        let starts = self.starts();
        assert!(!starts.is_empty(), "there are results");
        let (second, most) = starts.iter().max_by_key(|(_, count)| **count).unwrap();
        println!("most started in a second: {most}, allowed {:.0}", self.allowed(*second, rate, nodes));
        let over = |(second, count): &(&u64, &u64)| **count as f64 > self.allowed(**second, rate, nodes);
        let over: Vec<_> = starts.iter().filter(over).collect();
        assert!(over.is_empty(), "more than {rate} chains were started in a second: {over:?} of {starts:?}");
    }
}

/// The log of a CA's seconds.
pub(crate) struct Counted {
    path: PathBuf,
}

impl Counted {
    pub(crate) fn in_file(path: PathBuf) -> Self {
        Self { path }
    }

    /// The new accounts of each second that has ended, without gaps, from the first one on.
    pub(crate) fn seconds(&self) -> Vec<(u64, u64)> {
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
    pub(crate) fn reached(&self, rate: f64, from: u64, long: usize) -> Option<u64> {
        let seconds: Vec<_> = self.seconds().into_iter().filter(|(second, _)| *second >= from).collect();
        let reaches = |window: &&[(u64, u64)]| {
            let sum: u64 = window.iter().map(|(_, count)| count).sum();
            let each = window.iter().all(|(_, count)| *count as f64 >= rate * 0.8);
            each && sum as f64 >= rate * 0.96 * long as f64
        };
        seconds.windows(long).find(reaches).map(|window| window[0].0)
    }

    /// The first second between two with less than 80 % of `rate`.
    pub(crate) fn first_short(&self, rate: f64, from: u64, to: u64) -> Option<u64> {
        let mut within = self.seconds().into_iter().filter(|(second, _)| (from..=to).contains(second));
        within.find(|(_, count)| (*count as f64) < rate * 0.8).map(|(second, _)| second)
    }

    /// The largest count of one of these seconds, and what was in flight when it began.
    pub(crate) fn most(&self, seconds: Range<u64>, chains: &Chains) -> (u64, u64) {
        let seconds = self.seconds().into_iter().filter(|(second, _)| seconds.contains(second));
        let (second, count) = seconds.max_by_key(|(_, count)| *count).unwrap_or_default();
        (count, chains.in_flight(second))
    }

    /// Fails if the CA ever got more in a second than the target and what was in flight when it began: one round
    /// trip's burst.
    pub(crate) fn assert_never_over(&self, rate: u32, nodes: usize, chains: &Chains) {
        let (count, in_flight) = self.most(0..u64::MAX, chains);
        println!("most counted in a second: {count}, in flight then {in_flight}");
        for (second, count) in self.seconds() {
            let in_flight = chains.in_flight(second);
            let most = chains.allowed(second, rate, nodes) + in_flight as f64;
            assert!(
                count as f64 <= most,
                "{count} in the second {second}, the target is {rate}, and {in_flight} were in flight: {:?}, started \
                 {:?}",
                self.seconds(),
                chains.starts()
            );
        }
    }

    pub(crate) fn all(&self) -> u64 {
        self.seconds().iter().map(|(_, count)| count).sum()
    }

    /// The missing requests between two seconds.
    pub(crate) fn missing(&self, rate: f64, from: u64, to: u64) -> f64 {
        let within = self.seconds().into_iter().filter(|(second, _)| (from..to).contains(second));
        within.map(|(_, count)| (rate - count as f64).max(0.0)).fold(0.0, |sum, more| sum + more)
    }
}
