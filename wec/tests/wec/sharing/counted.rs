//! What the CA counted second by second, and what it is compared with.

use std::path::PathBuf;

use wec_null_ca::SecondCounts;

/// A process that was held up starts what was due for at most this long, seconds: a burst that the bounds of a
/// short test allow on a busy machine.
const LATE: f64 = 0.25;

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

    /// The largest count of a second, and of ten seconds in a row.
    pub(super) fn largest(&self, from: u64) -> (u64, u64) {
        let seconds: Vec<_> = self
            .seconds()
            .into_iter()
            .filter(|(second, _)| *second >= from)
            .map(|(_, count)| count)
            .collect();
        let ten = seconds.windows(10).map(|window| window.iter().sum()).max();
        (seconds.iter().copied().max().unwrap_or_default(), ten.unwrap_or_default())
    }

    /// Fails if there was ever more than the target.
    pub(super) fn assert_never_over(&self, rate: u32, nodes: u32) {
        let (rate, (second, ten)) = (f64::from(rate), self.largest(0));
        // Each node may have a request of the second before.
        let margin = (rate * 0.02).max(1.0) + f64::from(nodes) + rate * LATE;
        assert!(
            second as f64 <= rate + margin,
            "{second} in a second, the target is {rate}: {:?}",
            self.seconds()
        );
        let margin = rate * 0.2 + f64::from(nodes) + rate * LATE;
        assert!(
            ten as f64 <= rate * 10.0 + margin,
            "{ten} in ten seconds, the target is {rate}: {:?}",
            self.seconds()
        );
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
