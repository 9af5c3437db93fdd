//! Figures of certificates beside those of chains: by profile, and certificates that were not verified.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wec_record::{Chain, ChainResult};

use super::{OTHER, shortened};
use crate::distribution::{MOST, Times};
use crate::snapshot::ProfileFigures;

/// Profiles with their own figures. CAs have a handful; each has histograms.
const MAX_PROFILES: usize = 16;
/// Reasons with their own counts. A CA uses few algorithms.
const MAX_REASONS: usize = 16;

/// Figures of certificates.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Certificates {
    /// Number of certificates that were not verified, by reason.
    unverified: BTreeMap<String, u64>,
    /// By profile, in the order in which they came; the name for orders without one is empty. They are few: the first
    /// one is nearly always the one that is looked for.
    profiles: Vec<(String, Vec<(Chain, Totals)>)>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Totals {
    count: u64,
    failed: u64,
    response: Times,
    service: Times,
}

impl Certificates {
    /// Counts a chain that did not leave its order unfinished on purpose. `service` is its service time.
    pub(super) fn record(&mut self, chain: Chain, result: &ChainResult, service: u64) {
        if !result.unverified.is_empty() {
            *self.unverified_for(shortened(&result.unverified)) += 1;
        }
        if !chain.orders() {
            return;
        }
        let place = self.profiles.iter().position(|(name, _)| *name == result.profile);
        let totals = match place {
            Some(place) => of_chain(&mut self.profiles[place].1, chain),
            None => of_chain(self.profile(shortened(&result.profile)), chain),
        };
        totals.count += 1;
        if result.successful {
            totals.response.record(result.took);
            totals.service.record(service);
        } else {
            totals.failed += 1;
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        for (reason, count) in other.unverified {
            *self.unverified_for(reason) += count;
        }
        for (name, theirs) in other.profiles {
            let profile = self.profile(name);
            for (chain, theirs) in theirs {
                let ours = of_chain(profile, chain);
                ours.count += theirs.count;
                ours.failed += theirs.failed;
                ours.response.merge(theirs.response);
                ours.service.merge(theirs.service);
            }
        }
    }

    pub(super) fn is_sound(&self) -> bool {
        let is_sound = |totals: &Totals| {
            let Totals { count, failed, response, service } = totals;
            failed <= count && *count <= MOST && response.is_sound() && service.is_sound()
        };
        self.unverified.len() <= MAX_REASONS + 1
            && self.unverified.values().all(|count| *count <= MOST)
            && self.profiles.len() <= MAX_PROFILES + 1
            && self.profiles.iter().all(|(_, chains)| chains.len() <= Chain::ALL.len())
            && self.profiles.iter().flat_map(|(_, chains)| chains).all(|(_, totals)| is_sound(totals))
    }

    /// Whether no profile and no reason was counted as another one.
    pub(super) fn is_within_bounds(&self) -> bool {
        !self.unverified.contains_key(OTHER) && self.profiles.iter().all(|(name, _)| name != OTHER)
    }

    pub(super) fn unverified(&self) -> BTreeMap<String, u64> {
        self.unverified.clone()
    }

    /// The chains of each profile; empty where no order had one.
    pub(super) fn profiles(&self) -> BTreeMap<String, BTreeMap<Chain, ProfileFigures>> {
        if self.profiles.iter().all(|(name, _)| name.is_empty()) {
            return BTreeMap::new();
        }
        let figures = |totals: &Totals| ProfileFigures {
            count: totals.count,
            failed: totals.failed,
            response_time_ns: totals.response.timing(),
            service_time_ns: totals.service.timing(),
        };
        let ran = |totals: &[(Chain, Totals)]| {
            totals.iter().map(|(chain, totals)| (*chain, figures(totals))).collect()
        };
        let shown = |name: &str| if name.is_empty() { "default".to_owned() } else { name.to_owned() };
        self.profiles.iter().map(|(name, totals)| (shown(name), ran(totals))).collect()
    }

    fn unverified_for(&mut self, reason: String) -> &mut u64 {
        let fits = self.unverified.contains_key(&reason) || self.unverified.len() < MAX_REASONS;
        self.unverified.entry(if fits { reason } else { OTHER.to_owned() }).or_default()
    }

    fn profile(&mut self, name: String) -> &mut Vec<(Chain, Totals)> {
        let place_of = |profiles: &[(String, _)], name: &str| profiles.iter().position(|(it, _)| it == name);
        let known = place_of(&self.profiles, &name);
        let fits = known.is_some() || self.profiles.len() < MAX_PROFILES;
        let name = if fits { name } else { OTHER.to_owned() };
        let place = known.or_else(|| place_of(&self.profiles, &name)).unwrap_or_else(|| {
            self.profiles.push((name, Vec::new()));
            self.profiles.len() - 1
        });
        &mut self.profiles[place].1
    }
}

/// The totals of a chain, of which few make orders.
fn of_chain(totals: &mut Vec<(Chain, Totals)>, chain: Chain) -> &mut Totals {
    let place = totals.iter().position(|(known, _)| *known == chain).unwrap_or_else(|| {
        totals.push((chain, Totals::default()));
        totals.len() - 1
    });
    &mut totals[place].1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(profile: &str, unverified: &str, took: u64) -> ChainResult {
        let (profile, unverified) = (profile.to_owned(), unverified.to_owned());
        ChainResult { profile, unverified, took, successful: took > 0, ..ChainResult::default() }
    }

    #[test]
    fn profiles_are_counted_separately_and_omitted_when_unused() {
        let mut certificates = Certificates::default();
        certificates.record(Chain::Certificate, &result("", "", 5), 5);
        assert!(certificates.profiles().is_empty());
        for took in [10, 20, 0] {
            certificates.record(Chain::Certificate, &result("shortlived", "", took), took);
        }
        certificates.record(Chain::Revoke, &result("", "", 1), 1);
        let mut merged = Certificates::default();
        merged.merge(certificates.clone());
        merged.merge(certificates);
        let profiles = merged.profiles();
        assert_eq!(profiles.keys().collect::<Vec<_>>(), ["default", "shortlived"]);
        let figures = &profiles["shortlived"][&Chain::Certificate];
        assert_eq!((figures.count, figures.failed, figures.response_time_ns.n), (6, 2, 4));
        assert_eq!(figures.response_time_ns.max, Some(20));
        assert_eq!(profiles["default"].len(), 1, "revocations have no profile");
    }

    #[test]
    fn profiles_and_reasons_above_the_bound_are_counted_as_one() {
        let mut certificates = Certificates::default();
        for number in 0..50 {
            certificates.record(Chain::Refresh, &result(&format!("p{number}"), &format!("r{number}"), 1), 1);
        }
        assert_eq!(certificates.unverified().values().sum::<u64>(), 50);
        assert!(certificates.unverified().len() <= MAX_REASONS + 1);
        let profiles = certificates.profiles();
        assert_eq!(profiles.values().map(|chains| chains[&Chain::Refresh].count).sum::<u64>(), 50);
        assert!(profiles.len() <= MAX_PROFILES + 1);
    }
}
