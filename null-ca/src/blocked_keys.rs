//! Public keys that certificates may no longer have, because a revocation showed that they are compromised.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

/// The newest blocked keys, by their digests; when there are too many, the oldest is removed.
pub(crate) struct BlockedKeys {
    kept: Mutex<Kept>,
    most: usize,
}

#[derive(Default)]
struct Kept {
    digests: HashSet<[u8; 32]>,
    by_age: VecDeque<[u8; 32]>,
}

impl BlockedKeys {
    pub(crate) fn new(most: usize) -> Self {
        Self { kept: Mutex::default(), most: most.max(1) }
    }

    pub(crate) fn block(&self, digest: [u8; 32]) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if !kept.digests.insert(digest) {
            return;
        }
        kept.by_age.push_back(digest);
        if kept.by_age.len() > self.most
            && let Some(oldest) = kept.by_age.pop_front()
        {
            kept.digests.remove(&oldest);
        }
    }

    pub(crate) fn has(&self, digest: &[u8; 32]) -> bool {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).digests.contains(digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_newest_each_once() {
        let keys = BlockedKeys::new(2);
        for digest in [[1; 32], [1; 32], [2; 32]] {
            keys.block(digest);
        }
        assert!(keys.has(&[1; 32]) && keys.has(&[2; 32]));
        keys.block([3; 32]);
        assert!(!keys.has(&[1; 32]) && keys.has(&[2; 32]) && keys.has(&[3; 32]));
    }
}
