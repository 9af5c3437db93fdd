//! Account keys made in advance.
//!
//! A key identifies its account (RFC 8555 §7.3), so each registration needs a key of its own. RSA keys of certificates,
//! in contrast, are reused from a stock. Elliptic keys are made on request. RSA keys, each of which takes as long as
//! hundreds of issuances, are made before the run, and then by a thread that refills the stock.

use std::fmt;
use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};

use crate::failure::Failure;
use crate::key::AccountKey;
use crate::key_type::KeyType;

/// Keys for new accounts.
pub struct AccountKeys {
    stocks: Vec<Stock>,
}

struct Stock {
    kind: KeyType,
    /// If it is empty, callers wait in turn for the next key.
    keys: Mutex<mpsc::Receiver<Result<Arc<AccountKey>, Failure>>>,
}

impl AccountKeys {
    /// Without RSA keys.
    pub const fn empty() -> Self {
        Self { stocks: Vec::new() }
    }

    /// With a stock of each RSA type among `types`: 64 keys of 2048 bits, 16 of 3072 and 8 of 4096, which takes some
    /// seconds of computing. A thread makes the next key when one has been taken. Do not call it on a thread with
    /// other work.
    ///
    /// # Errors
    /// [`crate::FailureClass::Internal`] if the cryptography library fails, or the system gives no thread.
    pub fn generate(types: impl IntoIterator<Item = KeyType>) -> Result<Self, Failure> {
        let mut stocks: Vec<Stock> = Vec::new();
        for kind in types {
            if !kind.is_rsa() || stocks.iter().any(|known| known.kind == kind) {
                continue;
            }
            let count = match kind {
                KeyType::Rsa4096 => 8,
                KeyType::Rsa3072 => 16,
                _ => 64,
            };
            let (stock, keys) = mpsc::channel(count);
            for _ in 0..count {
                // There is room for all of them, and the receiver exists.
                let _ = stock.try_send(Ok(AccountKey::generate_of(kind)?));
            }
            // Ends when the receiver is dropped, at most one key later.
            let make = move || while stock.blocking_send(AccountKey::generate_of(kind)).is_ok() {};
            let started = std::thread::Builder::new().name("wec-account-keys".into()).spawn(make);
            started.map_err(|error| {
                Failure::internal(format!("no thread can be started that makes {kind} keys: {error}"))
            })?;
            stocks.push(Stock { kind, keys: Mutex::new(keys) });
        }
        Ok(Self { stocks })
    }

    /// Whether there are keys of this type.
    pub fn has(&self, kind: KeyType) -> bool {
        !kind.is_rsa() || self.stocks.iter().any(|known| known.kind == kind)
    }

    /// A new key. It waits if RSA keys are used faster than they are made: count that with
    /// [`crate::Trace::waits_for_key`].
    ///
    /// # Errors
    /// [`crate::FailureClass::Internal`] if there is no stock of this type, or the cryptography library fails.
    pub async fn next(&self, kind: KeyType) -> Result<Arc<AccountKey>, Failure> {
        if !kind.is_rsa() {
            return AccountKey::generate_of(kind);
        }
        let none = || Failure::internal(format!("no {kind} account keys were made before the run"));
        let stock = self.stocks.iter().find(|known| known.kind == kind).ok_or_else(none)?;
        stock.keys.lock().await.recv().await.ok_or_else(none)?
    }
}

impl fmt::Debug for AccountKeys {
    /// Shows no keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.stocks.iter().map(|stock| stock.kind)).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::FailureClass;

    #[tokio::test]
    async fn each_account_gets_its_own_key_and_an_empty_stock_is_refilled() {
        let keys = AccountKeys::generate([KeyType::P256, KeyType::Rsa2048, KeyType::Rsa2048]).unwrap();
        assert_eq!(format!("{keys:?}"), "[Rsa2048]");
        let mut seen = BTreeSet::new();
        for _ in 0..66 {
            let key = keys.next(KeyType::Rsa2048).await.unwrap();
            assert_eq!(key.kind(), KeyType::Rsa2048);
            assert!(seen.insert(key.thumbprint().to_owned()));
        }
        assert_eq!(keys.next(KeyType::P384).await.unwrap().kind(), KeyType::P384);
        let failure = keys.next(KeyType::Rsa4096).await.unwrap_err();
        assert_eq!(failure.kind, FailureClass::Internal);
        assert!(keys.has(KeyType::P256) && !keys.has(KeyType::Rsa3072));
    }
}
