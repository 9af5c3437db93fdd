//! Nonces (RFC 8555 §6.5): every answer's is kept for the next request.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Longer ones are not a nonce but an attack on our memory. Boulder's have 43 characters, smallstep's 44.
const LONGEST: usize = 256;

/// A bounded stack of nonces: the freshest is used first, the oldest is dropped.
///
/// Fresh first, because servers forget (Boulder by count, others by age); and because the retry after `badNonce`
/// then gets the very nonce that came with the error.
#[derive(Debug)]
pub(crate) struct NoncePool {
    capacity: usize,
    /// Nanoseconds.
    max_age: u64,
    /// Oldest first, with the time each arrived, nanoseconds.
    nonces: Mutex<VecDeque<(Box<str>, u64)>>,
}

impl NoncePool {
    /// Keeps at least one, without which no retry after `badNonce` could use the error's.
    pub(crate) fn new(capacity: usize, max_age: Duration) -> Self {
        Self {
            capacity: capacity.max(1),
            max_age: u64::try_from(max_age.as_nanos()).unwrap_or(u64::MAX),
            nonces: Mutex::default(),
        }
    }

    /// Keeps a nonce that arrived at `now`; what is not base64url is ignored (RFC 8555 §6.5.1).
    pub(crate) fn put(&self, nonce: &[u8], now: u64) {
        let Some(nonce) = valid(nonce) else { return };
        let mut nonces = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        if nonces.len() == self.capacity {
            nonces.pop_front();
        }
        nonces.push_back((nonce.into(), now));
    }

    /// The freshest nonce, unless even that is too old.
    pub(crate) fn take(&self, now: u64) -> Option<Box<str>> {
        let mut nonces = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        let (nonce, arrived) = nonces.pop_back()?;
        if now.saturating_sub(arrived) <= self.max_age {
            return Some(nonce);
        }
        // Everything below is older still.
        nonces.clear();
        None
    }
}

/// A nonce is base64url, hence safe to put into JSON as it is.
fn valid(nonce: &[u8]) -> Option<&str> {
    let fine = !nonce.is_empty()
        && nonce.len() <= LONGEST
        && nonce.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if fine { std::str::from_utf8(nonce).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_freshest_first() {
        let pool = NoncePool::new(8, Duration::from_secs(1));
        pool.put(b"a", 0);
        pool.put(b"b", 1);
        assert_eq!(pool.take(2).as_deref(), Some("b"));
        assert_eq!(pool.take(2).as_deref(), Some("a"));
        assert_eq!(pool.take(2), None);
    }

    #[test]
    fn drops_the_oldest_when_full() {
        let pool = NoncePool::new(2, Duration::from_secs(1));
        for nonce in [b"a", b"b", b"c"] {
            pool.put(nonce, 0);
        }
        assert_eq!(pool.take(0).as_deref(), Some("c"));
        assert_eq!(pool.take(0).as_deref(), Some("b"));
        assert_eq!(pool.take(0), None);
    }

    #[test]
    fn does_not_use_what_is_too_old() {
        let pool = NoncePool::new(8, Duration::from_nanos(10));
        pool.put(b"a", 0);
        pool.put(b"b", 5);
        assert_eq!(pool.take(15).as_deref(), Some("b"));
        assert_eq!(pool.take(15), None);
    }

    #[test]
    fn ignores_what_is_no_nonce() {
        let pool = NoncePool::new(8, Duration::from_secs(1));
        let long = [b'a'; LONGEST + 1];
        for bad in [&b""[..], b"a\"b", b"a b", b"a=", b"\xff", &long] {
            pool.put(bad, 0);
        }
        assert_eq!(pool.take(0), None);
    }

    #[test]
    fn keeps_one_even_when_asked_for_none() {
        let pool = NoncePool::new(0, Duration::from_secs(1));
        pool.put(b"a", 0);
        assert_eq!(pool.take(0).as_deref(), Some("a"));
    }
}
