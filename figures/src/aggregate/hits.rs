//! Where validations came from, and those for which no challenge data was stored.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use wec_record::{ValidationHit, Verdict};

use super::shortened;
use crate::distribution::MOST;
use crate::snapshot::{HitSource, UnknownHit};

/// Addresses that are counted by themselves. A CA validates from a few.
const MAX_SOURCES: usize = 64;
/// The latest validations without challenge data that are kept.
const MAX_UNKNOWN: usize = 50;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct HitSources {
    /// Validations, and those without challenge data, by address.
    sources: BTreeMap<String, (u64, u64)>,
    /// Validations of further addresses.
    others: u64,
    unknown: BTreeSet<UnknownHit>,
}

impl HitSources {
    pub(super) fn record(&mut self, hit: &ValidationHit) {
        let address = without_port(&hit.source);
        let unknown = hit.verdict == Verdict::Unknown;
        self.count(address, (1, u64::from(unknown)));
        if unknown {
            self.keep(UnknownHit {
                at_unix_ns: hit.at_unix_ns,
                name: shortened(&hit.name),
                challenge: hit.challenge,
                address: shortened(address),
            });
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        for (address, counts) in other.sources {
            self.count(&address, counts);
        }
        self.others += other.others;
        other.unknown.into_iter().for_each(|hit| self.keep(hit));
    }

    /// By address, most frequent first.
    pub(super) fn sources(&self) -> Vec<HitSource> {
        let of = |(address, &(count, unknown)): (&String, &(u64, u64))| HitSource {
            address: address.clone(),
            count,
            unknown,
        };
        let mut sources: Vec<_> = self.sources.iter().map(of).collect();
        sources.sort_by_key(|source| std::cmp::Reverse(source.count));
        sources
    }

    /// The latest validations without challenge data, latest first.
    pub(super) fn unknown(&self) -> Vec<UnknownHit> {
        self.unknown.iter().rev().cloned().collect()
    }

    /// Whether no address was left out.
    pub(super) const fn is_within_bounds(&self) -> bool {
        self.others == 0
    }

    pub(super) fn is_sound(&self) -> bool {
        self.sources.len() <= MAX_SOURCES
            && self.unknown.len() <= MAX_UNKNOWN
            && self.others <= MOST
            && self.sources.values().all(|(count, unknown)| *count <= MOST && unknown <= count)
    }

    fn count(&mut self, address: &str, (count, unknown): (u64, u64)) {
        if let Some(known) = self.sources.get_mut(address) {
            known.0 += count;
            known.1 += unknown;
        } else if self.sources.len() < MAX_SOURCES {
            self.sources.insert(shortened(address), (count, unknown));
        } else {
            self.others += count;
        }
    }

    /// Keeps it if it is among the latest. Which ones are does not depend on the order in which they come.
    fn keep(&mut self, hit: UnknownHit) {
        self.unknown.insert(hit);
        if self.unknown.len() > MAX_UNKNOWN {
            self.unknown.pop_first();
        }
    }
}

/// `127.0.0.1` of `127.0.0.1:4711`, `::1` of `[::1]:4711`.
pub(super) fn without_port(source: &str) -> &str {
    let address = source.rsplit_once(':').map_or(source, |(address, _)| address);
    address.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(address)
}

#[cfg(test)]
mod tests {
    use wec_record::ChallengeType;

    use super::*;

    fn hit(at_unix_ns: u64, source: &str, verdict: Verdict) -> ValidationHit {
        ValidationHit {
            seq: at_unix_ns,
            at_unix_ns,
            challenge: ChallengeType::Http01,
            name: format!("name-{at_unix_ns}.test"),
            source: source.to_owned(),
            verdict,
            answer: String::new(),
            took: 1,
        }
    }

    #[test]
    fn an_address_is_one_whatever_its_ports_are() {
        for (source, address) in
            [("127.0.0.1:80", "127.0.0.1"), ("[2001:db8::1]:80", "2001:db8::1"), ("", ""), ("unix", "unix")]
        {
            assert_eq!(without_port(source), address);
        }
        let mut hits = HitSources::default();
        hits.record(&hit(1, "127.0.0.1:80", Verdict::Answered));
        hits.record(&hit(2, "127.0.0.1:81", Verdict::Unknown));
        hits.record(&hit(3, "127.0.0.2:80", Verdict::Answered));
        let counts: Vec<_> =
            hits.sources().into_iter().map(|it| (it.address, it.count, it.unknown)).collect();
        assert_eq!(counts, [("127.0.0.1".to_owned(), 2, 1), ("127.0.0.2".to_owned(), 1, 0)]);
    }

    #[test]
    fn the_latest_unknown_names_are_kept_in_whatever_order_they_come() {
        let all: Vec<_> = (1..=200).map(|at| hit(at * 7 % 211, "127.0.0.1:80", Verdict::Unknown)).collect();
        let mut whole = HitSources::default();
        all.iter().for_each(|hit| whole.record(hit));
        let (mut first, mut second) = (HitSources::default(), HitSources::default());
        all[..90].iter().for_each(|hit| first.record(hit));
        all[90..].iter().for_each(|hit| second.record(hit));
        second.merge(first);
        assert_eq!(second.unknown(), whole.unknown());
        let latest: Vec<u64> = whole.unknown().iter().map(|hit| hit.at_unix_ns).collect();
        assert_eq!((latest.len(), latest[0]), (50, 210));
        assert!(latest.is_sorted_by(|a, b| a > b));
    }
}
