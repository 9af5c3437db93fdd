//! What the CA counted second by second, and what it is compared with.

use std::collections::BTreeMap;
use std::path::PathBuf;

use wec_null_ca::SecondCounts;
use wec_record::Record;

/// A process that was held up starts what was due for at most this long, seconds: a burst that the bounds of a
/// short test allow on a busy machine.
const LATE: f64 = 0.25;

/// What nodes with this target may send in so many seconds: 2 % more, at least one request, one of the second before
/// for each node, and what a node that was held up makes up for.
fn allowed(rate: f64, nodes: u32, seconds: usize) -> f64 {
    let whole = rate * seconds as f64;
    (whole * 1.02).max(whole + 1.0) + f64::from(nodes) + rate * LATE
}

/// Fails if more chains were started in a second than the target allows, by the results in a log.
pub(super) fn assert_starts(records: &[Record], rate: u32, nodes: u32) {
    let mut seconds = BTreeMap::<u64, u64>::new();
    for record in records {
        if let Record::Chain { origin_unix_ns, result, .. } = record {
            *seconds.entry((origin_unix_ns + result.started) / 1_000_000_000).or_default() += 1;
        }
    }
    assert!(!seconds.is_empty(), "there are results");
    let most = allowed(rate.into(), nodes, 1);
    let over: Vec<_> = seconds.iter().filter(|(_, count)| **count as f64 > most).collect();
    assert!(over.is_empty(), "more than {rate} chains were started in a second: {over:?}");
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

    /// The largest count of a second.
    pub(super) fn largest(&self, from: u64) -> u64 {
        let seconds = self.seconds().into_iter().filter(|(second, _)| *second >= from);
        seconds.map(|(_, count)| count).max().unwrap_or_default()
    }

    /// Fails if there was ever more than the target. On a busy machine requests that were started in time arrive
    /// late: then they are missing in the seconds before, up to `late`.
    pub(super) fn assert_never_over(&self, rate: u32, nodes: u32, late: usize) {
        let rate = f64::from(rate);
        let counts: Vec<_> = self.seconds().into_iter().map(|(_, count)| count).collect();
        let within = |end: usize, seconds: usize| {
            let sum: u64 = counts[(end + 1).saturating_sub(seconds)..=end].iter().sum();
            sum as f64 <= allowed(rate, nodes, seconds)
        };
        for (end, count) in counts.iter().enumerate() {
            let second = (1..=late + 1).any(|seconds| within(end, seconds));
            assert!(second, "{count} in a second, the target is {rate}: {:?}", self.seconds());
        }
    }

    pub(super) fn all(&self) -> u64 {
        self.seconds().iter().map(|(_, count)| count).sum()
    }

    /// The missing requests between two seconds.
    pub(super) fn missing(&self, rate: f64, from: u64, to: u64) -> f64 {
        let within = self.seconds().into_iter().filter(|(second, _)| (from..to).contains(second));
        within.map(|(_, count)| (rate - count as f64).max(0.0)).sum()
    }
}
