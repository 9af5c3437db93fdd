//! RSA keys made before a run, because making one takes as long as hundreds of issuances.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::rsa;

use crate::certificate::{CertificateKey, RsaKey};
use crate::failure::Failure;
use crate::key_type::KeyType;

/// Certificate keys of every type: elliptic ones are made when they are asked for, RSA ones are drawn in turn from a
/// stock, so that each is used for many certificates.
///
/// Some CAs refuse a key for ever once a certificate of it was revoked for keyCompromise: with a stock that would end
/// a run, so do not give that reason for RSA certificates.
pub struct KeyPool {
    stock: Vec<(KeyType, Vec<Arc<RsaKey>>)>,
    next: AtomicUsize,
}

impl KeyPool {
    /// Without RSA keys.
    pub const fn empty() -> Self {
        Self { stock: Vec::new(), next: AtomicUsize::new(0) }
    }

    /// With a stock of each RSA type among `types`: 16 of 2048 bits, 8 of 3072 and 4 of 4096, which takes a few seconds
    /// of computing. Not for a thread that has anything else to do.
    ///
    /// # Errors
    /// [`crate::FailureKind::Internal`] when the cryptography library refuses.
    pub fn generate(types: impl IntoIterator<Item = KeyType>) -> Result<Self, Failure> {
        let mut stock: Vec<(KeyType, Vec<Arc<RsaKey>>)> = Vec::new();
        for kind in types {
            let Some(size) = kind.rsa_size() else { continue };
            if stock.iter().any(|(known, _)| *known == kind) {
                continue;
            }
            let count = match kind {
                KeyType::Rsa4096 => 4,
                KeyType::Rsa3072 => 8,
                _ => 16,
            };
            let made = (0..count).map(|_| {
                let pair = rsa::KeyPair::generate(size)
                    .map_err(|_| Failure::internal(format!("cannot generate an {kind} key")))?;
                RsaKey::of(pair).map(Arc::new)
            });
            stock.push((kind, made.collect::<Result<_, _>>()?));
        }
        Ok(Self { stock, next: AtomicUsize::new(0) })
    }

    /// Whether there are keys of this type.
    pub fn has(&self, kind: KeyType) -> bool {
        !kind.is_rsa() || self.stock.iter().any(|(known, _)| *known == kind)
    }

    /// A key for a certificate: fresh, or the next of the stock.
    ///
    /// # Errors
    /// [`crate::FailureKind::Internal`] when the stock has none of this type, or the cryptography library refuses.
    pub fn certificate_key(&self, kind: KeyType) -> Result<CertificateKey, Failure> {
        if !kind.is_rsa() {
            return CertificateKey::generate(kind);
        }
        let (_, keys) = self
            .stock
            .iter()
            .find(|(known, _)| *known == kind)
            .ok_or_else(|| Failure::internal(format!("no {kind} keys were made before the run")))?;
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        Ok(CertificateKey::drawn(kind, Arc::clone(&keys[next % keys.len()])))
    }
}

impl fmt::Debug for KeyPool {
    /// Without the keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sizes = self.stock.iter().map(|(kind, keys)| (kind, keys.len()));
        f.debug_map().entries(sizes).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FailureKind;

    #[test]
    fn elliptic_keys_are_fresh_and_rsa_keys_come_round_again() {
        let pool = KeyPool::generate([KeyType::P256, KeyType::Rsa2048, KeyType::Rsa2048]).unwrap();
        let public = |kind| pool.certificate_key(kind).unwrap().public_key().to_vec();
        assert_ne!(public(KeyType::P384), public(KeyType::P384));
        let round: Vec<_> = (0..16).map(|_| public(KeyType::Rsa2048)).collect();
        let distinct: std::collections::BTreeSet<_> = round.iter().collect();
        assert_eq!(distinct.len(), 16);
        assert_eq!(public(KeyType::Rsa2048), round[0]);
        assert_eq!(format!("{pool:?}"), "{Rsa2048: 16}");
    }

    #[test]
    fn a_type_that_was_not_prepared_is_our_own_failure() {
        let failure = KeyPool::empty().certificate_key(KeyType::Rsa4096).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Internal);
        assert!(failure.message.contains("rsa4096"), "{failure}");
    }
}
