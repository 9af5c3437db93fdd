//! RSA keys made before a run, because one takes as long as hundreds of issuances; and new ones for those that a CA
//! has blocked.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use aws_lc_rs::rsa;
use tokio::sync::Notify;

use crate::certificate::{CertificateKey, RsaKey};
use crate::failure::Failure;
use crate::key_type::KeyType;

/// Certificate keys of every type. Elliptic ones are made on request; RSA ones are drawn in turn from a stock, so
/// each is used for many certificates.
///
/// CAs refuse a key after a certificate of it was revoked for keyCompromise, or by the key itself. Such a key is
/// retired: it leaves the stock, and a single thread makes its replacement while the others are used.
pub struct KeyPool {
    shared: Arc<Shared>,
    /// The thread that was started last.
    maker: Mutex<Option<JoinHandle<()>>>,
}

/// Shared by the pool and the thread that makes keys.
#[derive(Default)]
struct Shared {
    stocks: Mutex<Stocks>,
    /// Notified after every change.
    changed: Notify,
    next: AtomicUsize,
    closing: AtomicBool,
    retired: AtomicU64,
    waits: AtomicU64,
}

#[derive(Default)]
struct Stocks {
    kinds: Vec<Stock>,
    /// Whether a thread makes keys. It sets this to false under the same lock under which it finds nothing to make.
    making: bool,
}

struct Stock {
    kind: KeyType,
    keys: Vec<Arc<RsaKey>>,
    /// How many replacements of retired keys are to be made.
    missing: usize,
}

impl KeyPool {
    /// Without RSA keys.
    pub fn empty() -> Self {
        Self { shared: Arc::default(), maker: Mutex::new(None) }
    }

    /// With a stock of each RSA type among `types`: 16 of 2048 bits, 8 of 3072 and 4 of 4096, which takes a few
    /// seconds of computing. Do not call it on a thread with other work.
    ///
    /// # Errors
    /// [`crate::FailureClass::Internal`] if the cryptography library fails.
    pub fn generate(types: impl IntoIterator<Item = KeyType>) -> Result<Self, Failure> {
        let mut stocks = Stocks::default();
        for kind in types {
            if !kind.is_rsa() || stocks.kinds.iter().any(|known| known.kind == kind) {
                continue;
            }
            let count = match kind {
                KeyType::Rsa4096 => 4,
                KeyType::Rsa3072 => 8,
                _ => 16,
            };
            let keys = (0..count).map(|_| make(kind)).collect::<Result<_, _>>()?;
            stocks.kinds.push(Stock { kind, keys, missing: 0 });
        }
        let shared = Shared { stocks: Mutex::new(stocks), ..Shared::default() };
        Ok(Self { shared: Arc::new(shared), maker: Mutex::new(None) })
    }

    /// Whether there is a stock of this type, or none is needed.
    pub fn has(&self, kind: KeyType) -> bool {
        !kind.is_rsa() || self.shared.stocks().kinds.iter().any(|known| known.kind == kind)
    }

    /// A key for a certificate: a new one, or the next of the stock. None while all of the stock are being replaced:
    /// see [`KeyPool::restocked`].
    ///
    /// # Errors
    /// [`crate::FailureClass::Internal`] if there is no stock of this type, or the cryptography library fails.
    pub fn certificate_key(&self, kind: KeyType) -> Result<Option<CertificateKey>, Failure> {
        if !kind.is_rsa() {
            return CertificateKey::generate(kind).map(Some);
        }
        let stocks = self.shared.stocks();
        let stock = stocks
            .kinds
            .iter()
            .find(|known| known.kind == kind)
            .ok_or_else(|| Failure::internal(format!("no {kind} keys were made before the run")))?;
        if stock.keys.is_empty() {
            return if stock.missing > 0 {
                Ok(None)
            } else {
                Err(Failure::internal(format!(
                    "the CA has blocked every {kind} key, and no new one was made"
                )))
            };
        }
        let next = self.shared.next.fetch_add(1, Ordering::Relaxed);
        Ok(Some(CertificateKey::drawn(kind, Arc::clone(&stock.keys[next % stock.keys.len()]))))
    }

    /// Waits until the stock of this type has a key again, or will never have one. Counted in [`KeyPool::waits`].
    pub async fn restocked(&self, kind: KeyType) {
        self.shared.waits.fetch_add(1, Ordering::Relaxed);
        loop {
            let changed = self.shared.changed.notified();
            let waits = |stock: &Stock| stock.kind == kind && stock.keys.is_empty() && stock.missing > 0;
            if !self.shared.stocks().kinds.iter().any(waits) {
                return;
            }
            changed.await;
        }
    }

    /// The CA has blocked this key, or may have: removes it from the stock and has another one made. Returns whether
    /// it was in the stock. Elliptic keys, and keys that were retired before, are not.
    pub fn retire(&self, public_key: &[u8]) -> bool {
        let mut stocks = self.shared.stocks();
        let found = stocks.kinds.iter_mut().find_map(|stock| {
            let place = stock.keys.iter().position(|key| key.public_key() == public_key)?;
            stock.keys.swap_remove(place);
            stock.missing += 1;
            Some(stock.kind)
        });
        let Some(kind) = found else { return false };
        let start = !std::mem::replace(&mut stocks.making, true);
        drop(stocks);
        if self.shared.retired.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!(
                %kind,
                "the CA has blocked an RSA key: this key and later ones are replaced and not used again"
            );
        }
        if start {
            self.start_maker();
        }
        true
    }

    /// How many keys were retired.
    pub fn retired(&self) -> u64 {
        self.shared.retired.load(Ordering::Relaxed)
    }

    /// How often a certificate waited for a key because all of the stock were being replaced.
    pub fn waits(&self) -> u64 {
        self.shared.waits.load(Ordering::Relaxed)
    }

    /// Stops making keys, and waits for the one in progress. Do not call it on a thread with other work.
    pub fn close(&self) {
        self.shared.closing.store(true, Ordering::Relaxed);
        let maker = self.maker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if maker.is_some_and(|maker| maker.join().is_err()) {
            tracing::error!("the thread that makes RSA keys ended by a panic");
        }
    }

    fn start_maker(&self) {
        let shared = Arc::clone(&self.shared);
        let started = std::thread::Builder::new().name("wec-keys".into()).spawn(move || shared.restock());
        match started {
            // The thread before has noted its end, so there is nothing to wait for.
            Ok(maker) => *self.maker.lock().unwrap_or_else(PoisonError::into_inner) = Some(maker),
            Err(error) => {
                tracing::warn!(%error, "no thread can be started that makes RSA keys: the stock gets smaller");
                self.shared.give_up();
            }
        }
    }
}

impl Drop for KeyPool {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn stocks(&self) -> MutexGuard<'_, Stocks> {
        // Every change leaves the stocks consistent.
        self.stocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the missing keys one after the other: each uses a processor, and the load needs the others.
    fn restock(&self) {
        loop {
            let kind = {
                let mut stocks = self.stocks();
                let wanted = stocks.kinds.iter().find(|stock| stock.missing > 0).map(|stock| stock.kind);
                let wanted = wanted.filter(|_| !self.closing.load(Ordering::Relaxed));
                let Some(kind) = wanted else {
                    stocks.making = false;
                    return;
                };
                kind
            };
            let made = make(kind).inspect_err(|failure| tracing::warn!(%failure, "the stock gets smaller"));
            let mut stocks = self.stocks();
            if let Some(stock) = stocks.kinds.iter_mut().find(|stock| stock.kind == kind) {
                stock.missing -= 1;
                stock.keys.extend(made.ok());
            }
            drop(stocks);
            self.changed.notify_waiters();
        }
    }

    /// No thread will make the missing keys.
    fn give_up(&self) {
        let mut stocks = self.stocks();
        stocks.making = false;
        stocks.kinds.iter_mut().for_each(|stock| stock.missing = 0);
        drop(stocks);
        self.changed.notify_waiters();
    }
}

fn make(kind: KeyType) -> Result<Arc<RsaKey>, Failure> {
    let refused = || Failure::internal(format!("cannot generate an {kind} key"));
    let size = kind.rsa_size().ok_or_else(refused)?;
    let pair = rsa::KeyPair::generate(size).map_err(|_| refused())?;
    RsaKey::of(pair).map(Arc::new)
}

impl fmt::Debug for KeyPool {
    /// Shows no keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stocks = self.shared.stocks();
        f.debug_map().entries(stocks.kinds.iter().map(|stock| (stock.kind, stock.keys.len()))).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;
    use crate::FailureClass;

    fn public(pool: &KeyPool, kind: KeyType) -> Vec<u8> {
        pool.certificate_key(kind).unwrap().unwrap().public_key().to_vec()
    }

    #[test]
    fn elliptic_keys_are_new_and_rsa_keys_are_reused_in_turn() {
        let pool = KeyPool::generate([KeyType::P256, KeyType::Rsa2048, KeyType::Rsa2048]).unwrap();
        assert_ne!(public(&pool, KeyType::P384), public(&pool, KeyType::P384));
        let round: Vec<_> = (0..16).map(|_| public(&pool, KeyType::Rsa2048)).collect();
        assert_eq!(round.iter().collect::<BTreeSet<_>>().len(), 16);
        assert_eq!(public(&pool, KeyType::Rsa2048), round[0]);
        assert_eq!(format!("{pool:?}"), "{Rsa2048: 16}");
    }

    #[test]
    fn a_type_that_was_not_prepared_is_our_own_failure() {
        let failure = KeyPool::empty().certificate_key(KeyType::Rsa4096).unwrap_err();
        assert_eq!(failure.kind, FailureClass::Internal);
        assert!(failure.message.contains("rsa4096"), "{failure}");
    }

    #[tokio::test]
    async fn a_blocked_key_is_replaced_and_never_drawn_again() {
        let pool = KeyPool::generate([KeyType::Rsa2048]).unwrap();
        let blocked: BTreeSet<_> = (0..16).map(|_| public(&pool, KeyType::Rsa2048)).collect();
        for key in &blocked {
            assert!(pool.retire(key));
        }
        assert!(!pool.retire(blocked.first().unwrap()), "the key is no longer in the stock");
        assert!(!pool.retire(CertificateKey::generate(KeyType::P256).unwrap().public_key()));
        assert_eq!(pool.retired(), 16);
        let restocked = tokio::time::timeout(Duration::from_secs(120), pool.restocked(KeyType::Rsa2048));
        restocked.await.expect("a key is made");
        assert!(!blocked.contains(&public(&pool, KeyType::Rsa2048)));
        assert_eq!(pool.waits(), 1);
        pool.close();
    }
}
