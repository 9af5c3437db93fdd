//! Nonces (RFC 8555 §6.5): the nonce of every answer is kept for the next request.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A longer one is no nonce but an attack on our memory. Boulder's have 43 characters, smallstep's 44.
const LONGEST: usize = 256;

/// A nonce, to be used once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Nonce {
    pub(crate) value: Box<str>,
    /// When it arrived, nanoseconds of the client's clock.
    pub(crate) arrived: u64,
}

/// A bounded stack of nonces: the freshest is used first, the oldest is dropped.
///
/// Freshest first, because servers drop nonces (Boulder by count, others by age), and because the retry after
/// `badNonce` then gets the nonce that came with the error.
#[derive(Debug)]
pub(crate) struct NoncePool {
    capacity: usize,
    /// Nanoseconds.
    max_age: u64,
    /// Oldest first, with arrival times, nanoseconds.
    nonces: Mutex<VecDeque<(Box<str>, u64)>>,
}

impl NoncePool {
    /// Keeps at least one; otherwise no retry after `badNonce` could use the error's nonce.
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

    /// The freshest nonce, unless it is too old.
    pub(crate) fn take(&self, now: u64) -> Option<Nonce> {
        let mut nonces = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        let (nonce, arrived) = nonces.pop_back()?;
        if now.saturating_sub(arrived) <= self.max_age {
            return Some(Nonce { value: nonce, arrived });
        }
        // All others are older.
        nonces.clear();
        None
    }
}

/// A nonce is base64url, so it needs no escaping in JSON.
fn valid(nonce: &[u8]) -> Option<&str> {
    let fine = !nonce.is_empty()
        && nonce.len() <= LONGEST
        && nonce.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if fine { std::str::from_utf8(nonce).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(pool: &NoncePool, now: u64) -> Option<Box<str>> {
        pool.take(now).map(|nonce| nonce.value)
    }

    #[test]
    fn records_when_each_arrived() {
        let pool = NoncePool::new(8, Duration::from_secs(1));
        pool.put(b"a", 3);
        pool.put(b"b", 5);
        assert_eq!([pool.take(6).unwrap().arrived, pool.take(6).unwrap().arrived], [5, 3]);
    }

    #[test]
    fn gives_the_newest_first() {
        let pool = NoncePool::new(8, Duration::from_secs(1));
        pool.put(b"a", 0);
        pool.put(b"b", 1);
        assert_eq!(value(&pool, 2), Some("b".into()));
        assert_eq!(value(&pool, 2), Some("a".into()));
        assert_eq!(pool.take(2), None);
    }

    #[test]
    fn drops_the_oldest_when_full() {
        let pool = NoncePool::new(2, Duration::from_secs(1));
        for nonce in [b"a", b"b", b"c"] {
            pool.put(nonce, 0);
        }
        assert_eq!(value(&pool, 0), Some("c".into()));
        assert_eq!(value(&pool, 0), Some("b".into()));
        assert_eq!(pool.take(0), None);
    }

    #[test]
    fn does_not_use_what_is_too_old() {
        let pool = NoncePool::new(8, Duration::from_nanos(10));
        pool.put(b"a", 0);
        pool.put(b"b", 5);
        assert_eq!(value(&pool, 15), Some("b".into()));
        assert_eq!(pool.take(15), None);
    }

    #[test]
    fn ignores_invalid_nonces() {
        let pool = NoncePool::new(8, Duration::from_secs(1));
        let long = [b'a'; LONGEST + 1];
        for bad in [&b""[..], b"a\"b", b"a b", b"a=", b"\xff", &long] {
            pool.put(bad, 0);
        }
        assert_eq!(pool.take(0), None);
    }

    #[test]
    fn keeps_one_even_with_a_bound_of_zero() {
        let pool = NoncePool::new(0, Duration::from_secs(1));
        pool.put(b"a", 0);
        assert_eq!(value(&pool, 0), Some("a".into()));
    }
}
