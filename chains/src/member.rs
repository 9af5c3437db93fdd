//! The members of a fleet: certificates whose names and account are always the same.
//!
//! Nothing is kept for a member that was never renewed: its names follow from its number, its account from its number
//! and the list of accounts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use wec_store::{Registration, State};

/// Most accounts that members have together.
const MOST_ACCOUNTS: usize = 8192;

/// The number of a member of a fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Member(pub u32);

impl Member {
    /// Draws what is always the same for this member.
    pub(crate) fn rng(self) -> StdRng {
        StdRng::seed_from_u64(self.0.into())
    }

    /// The place of its account among so many, of which the first has this share of all members.
    fn account(self, accounts: usize, largest: f64) -> usize {
        // Names are drawn from another stream of numbers.
        let mut rng = StdRng::seed_from_u64(u64::from(self.0) | 1 << 32);
        if accounts < 2 || rng.random_bool(largest.clamp(0.0, 1.0)) {
            return 0;
        }
        let first = usize::from(largest > 0.0);
        rng.random_range(first..accounts)
    }
}

/// What is known of the members of a fleet. One for all runtimes of a process.
#[derive(Debug, Default)]
pub struct Members {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// The accounts that there were when the first member needed one, the oldest first.
    accounts: Vec<Arc<Registration>>,
    /// The identifiers of the present certificates (RFC 9773 §4.1), of members that were renewed.
    certificates: HashMap<Member, Box<str>>,
}

impl Members {
    /// The account of a member; none if there are no accounts yet. The first account has this share of all members.
    pub(crate) fn account(&self, member: Member, state: &State, largest: f64) -> Option<Arc<Registration>> {
        let mut known = self.known();
        if known.accounts.is_empty() {
            known.accounts = state.newest_registrations(MOST_ACCOUNTS);
            known.accounts.reverse();
        }
        let place = member.account(known.accounts.len(), largest);
        known.accounts.get(place).cloned()
    }

    /// The identifier of its certificate, if it was renewed before.
    pub(crate) fn certificate(&self, member: Member) -> Option<Box<str>> {
        self.known().certificates.get(&member).cloned()
    }

    /// It has this certificate from now on; none if the last one cannot be replaced any more.
    pub(crate) fn renewed(&self, member: Member, identifier: Option<&str>) {
        let mut known = self.known();
        match identifier {
            Some(identifier) => known.certificates.insert(member, identifier.into()),
            None => known.certificates.remove(&member),
        };
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Each change is a single insertion or removal, or a list as a whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_always_has_the_same_account_and_the_largest_one_its_share() {
        let accounts = |largest: f64| {
            let mut members = vec![0; 10];
            for number in 1..=20_000 {
                let place = Member(number).account(10, largest);
                assert_eq!(place, Member(number).account(10, largest));
                members[place] += 1;
            }
            members
        };
        for (largest, first, other) in [
            (0.0, 1_850..2_150, 1_850..2_150),
            (0.4, 7_700..8_300, 1_230..1_440),
            (1.0, 20_000..20_001, 0..1),
        ] {
            let members = accounts(largest);
            assert!(first.contains(&members[0]), "{largest}: {members:?}");
            assert!(members[1..].iter().all(|count| other.contains(count)), "{largest}: {members:?}");
        }
        assert_eq!([Member(5).account(1, 0.0), Member(5).account(0, 0.5)], [0, 0]);
    }
}
