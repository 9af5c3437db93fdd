//! Replay nonces (RFC 8555 §6.5): each is valid once, and only the newest are kept.

use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A nonce has a number and a random value. The value is kept in the slot given by the number until it is
/// used, or until a newer nonce uses the slot. This needs no lock, no growth and no cleaning.
pub(crate) struct Nonces {
    places: Box<[AtomicU64]>,
    next: AtomicU64,
}

/// Marks a slot as used or empty.
const SPENT: u64 = 0;

impl Nonces {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            places: (0..capacity.max(1)).map(|_| AtomicU64::new(SPENT)).collect(),
            next: AtomicU64::new(0),
        }
    }

    /// A fresh nonce, in base64url.
    pub(crate) fn issue(&self) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let value = rand::random::<u64>().max(SPENT + 1);
        self.place(number).store(value, Ordering::Relaxed);
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        bytes[8..].copy_from_slice(&value.to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Whether this nonce was issued, is still kept and has not been used. It is used now.
    pub(crate) fn spend(&self, nonce: &str) -> bool {
        let mut bytes = [0; 16];
        if URL_SAFE_NO_PAD.decode_slice(nonce, &mut bytes) != Ok(bytes.len()) {
            return false;
        }
        let (number, value) = bytes.split_at(8);
        let number = u64::from_be_bytes(number.try_into().expect("half of sixteen bytes"));
        let value = u64::from_be_bytes(value.try_into().expect("half of sixteen bytes"));
        value != SPENT
            && self.place(number).compare_exchange(value, SPENT, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    pub(crate) fn issued(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    fn place(&self, number: u64) -> &AtomicU64 {
        &self.places[(number % self.places.len() as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_accepted_once() {
        let nonces = Nonces::new(8);
        let nonce = nonces.issue();
        assert!(nonces.spend(&nonce));
        assert!(!nonces.spend(&nonce));
    }

    #[test]
    fn an_old_nonce_is_forgotten_when_its_place_is_needed() {
        let nonces = Nonces::new(2);
        let issued: Vec<String> = (0..3).map(|_| nonces.issue()).collect();
        let accepted: Vec<bool> = issued.iter().map(|nonce| nonces.spend(nonce)).collect();
        assert_eq!(accepted, [false, true, true]);
    }

    #[test]
    fn refuses_nonces_that_it_never_issued() {
        let nonces = Nonces::new(4);
        nonces.issue();
        for invented in ["", "nonsense", "AAAAAAAAAAAAAAAAAAAAAA", "!!!!", &"A".repeat(300)] {
            assert!(!nonces.spend(invented), "{invented}");
        }
    }
}
