//! Recent serial numbers, to detect a repeated one at once in bounded memory.
//!
//! The database's unique index detects others when the certificate is written.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, PoisonError};

/// The last [`GENERATION`] to twice as many serials, by a 64-bit keyed hash: a false alarm occurs about once
/// in 10^13 serials.
#[derive(Debug, Default)]
pub(super) struct Serials {
    hasher: RandomState,
    seen: Mutex<Generations>,
}

const GENERATION: usize = 1 << 17;

#[derive(Debug, Default)]
struct Generations {
    young: HashSet<u64>,
    old: HashSet<u64>,
}

impl Serials {
    /// Stores a serial; returns whether it is new.
    pub(super) fn is_new(&self, issuer: &str, serial: &str) -> bool {
        let hash = self.hasher.hash_one((issuer, serial));
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.old.contains(&hash) || !seen.young.insert(hash) {
            return false;
        }
        if seen.young.len() >= GENERATION {
            seen.old = std::mem::take(&mut seen.young);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_is_new_once_for_each_issuer() {
        let serials = Serials::default();
        assert!(serials.is_new("a", "01"));
        assert!(serials.is_new("b", "01"));
        assert!(serials.is_new("a", "0101"));
        assert!(!serials.is_new("a", "01"));
    }

    #[test]
    fn remembers_at_least_one_generation_and_at_most_two() {
        let serials = Serials::default();
        for serial in 0..3 * GENERATION {
            assert!(serials.is_new("a", &serial.to_string()));
        }
        for serial in 2 * GENERATION..3 * GENERATION {
            assert!(!serials.is_new("a", &serial.to_string()));
        }
        let seen = serials.seen.lock().unwrap();
        assert!(seen.young.len() + seen.old.len() <= 2 * GENERATION);
    }
}
