//! Shared by the clones of a state and its writer task.

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wec_acme::{CaClock, Clock};
use wec_record::Object;

use super::local::{AddedCertificate, Local, Pooled};
use super::objects::{NewCertificate, Registration, StoredCertificate};
use super::{StateOptions, serials};
use crate::backend::{Backend, ChainRow, NewCertificateRow};
use crate::certificate::{CertificateDetails, Chains, above_leaf};
use crate::error::{StoreError, reason};

/// Shared by the clones of a state and its writer task.
pub(super) struct Shared {
    /// The URL without its password.
    pub(super) store: String,
    pub(super) directory: String,
    pub(super) place: String,
    pub(super) options: StateOptions,
    pub(super) backend: Box<dyn Backend>,
    pub(super) clock: Clock,
    /// The clock for the expiry of orders and certificates; our own until the CA's is known.
    pub(super) ca_clock: OnceLock<CaClock>,
    pub(super) orders_expired: AtomicU64,
    /// Claims that exist.
    pub(super) claims: AtomicU64,
    pub(super) ca: i64,
    pub(super) owner: AtomicI64,
    /// On `clock`: after this time others may consider the owner dead, and nothing is handed out.
    pub(super) valid_until: AtomicU64,
    pub(super) next_object: AtomicU64,
    pub(super) next_name: AtomicU64,
    pub(super) local: Mutex<Local>,
    pub(super) chains: Chains,
    pub(super) serials: serials::Serials,
    /// Wakes the writer before its next tick.
    pub(super) wake: Notify,
    /// Wakes the writer because the queue is no longer empty, so a tick is due.
    pub(super) filled: Notify,
    /// Wakes callers: the queue became shorter, or a write failed.
    pub(super) room: Notify,
    pub(super) stop: CancellationToken,
    pub(super) writer: Mutex<Option<JoinHandle<Result<(), StoreError>>>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn local(&self) -> MutexGuard<'_, Local> {
        // Operations under the lock never leave a partial change.
        self.local.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn failed(&self, doing: &'static str, error: &sqlx::Error) -> StoreError {
        StoreError::Failed { store: self.store.clone(), doing, reason: reason(error) }
    }

    /// Owner and counter: unique over processes and restarts without a query.
    pub(super) fn next_id(&self) -> i64 {
        let counter = self.next_object.fetch_add(1, Ordering::Relaxed);
        (self.owner.load(Ordering::Relaxed) << 32) | i64::from(counter as u32)
    }

    /// The CA's time, seconds since the Unix epoch.
    pub(super) fn ca_now(&self) -> i64 {
        self.ca_clock.get().map_or_else(|| self.clock.unix_now(), CaClock::unix_now)
    }

    pub(super) fn is_fenced(&self) -> bool {
        self.clock.now() >= self.valid_until.load(Ordering::Relaxed)
    }

    /// Changes pools and queue together, and wakes the writer if the queue is long enough.
    pub(super) fn change(&self, change: impl FnOnce(&mut Local)) {
        let mut local = self.local();
        let before = local.queue.len();
        change(&mut local);
        self.queued(before, local.queue.len());
    }

    /// Wakes the writer after the queue became longer: soon, or at once if it is long enough.
    pub(super) fn queued(&self, before: usize, after: usize) {
        if after >= self.options.flush_items {
            self.wake.notify_one();
        } else if before == 0 && after > 0 {
            self.filled.notify_one();
        }
    }

    /// Waits while the queue is too long. Queued changes stay, even if the caller is dropped.
    pub(super) async fn room(&self) {
        let mut waited = false;
        loop {
            let room = self.room.notified();
            {
                let mut local = self.local();
                if local.queued() <= self.options.queue || local.closed {
                    return;
                }
                if !std::mem::replace(&mut waited, true) {
                    local.health.waits += 1;
                }
            }
            room.await;
        }
    }

    pub(super) fn put_back<T: Pooled>(&self, item: T, owner: i64) {
        let mut local = self.local();
        // After an expulsion others have it.
        if owner == self.owner.load(Ordering::Relaxed) {
            T::pool(&mut local).put(item);
        }
    }

    pub(super) fn put_to_rest<T: Pooled>(&self, item: T, owner: i64, time: Duration) {
        let until = self.wakes(time);
        let mut local = self.local();
        if owner == self.owner.load(Ordering::Relaxed) {
            T::pool(&mut local).rest(item, until);
        }
    }

    /// The end of a rest of this length that begins now, on `clock`.
    pub(super) fn wakes(&self, time: Duration) -> u64 {
        self.clock.now().saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
    }

    pub(super) fn unreserve(&self, kind: Object) {
        self.local().allowances[kind.index()].available += 1;
    }

    pub(super) fn new_certificate(
        &self,
        registration: &Arc<Registration>,
        new: NewCertificate,
    ) -> AddedCertificate {
        let (chain, unknown) = self.chains.intern(above_leaf(&new.pem));
        let row = unknown.then(|| ChainRow { id: chain.id(), pem: chain.pem.clone() });
        let names = new.names.join(" ");
        let details = Arc::new(CertificateDetails {
            issuer: new.issuer,
            serial: new.serial,
            ari_id: new.ari_id,
            names: new.names,
            leaf_der: new.leaf_der,
            chain,
            key_pkcs8: new.key_pkcs8,
            not_before_unix: new.not_before_unix,
            not_after_unix: new.not_after_unix,
            url: new.url,
        });
        let id = self.next_id();
        AddedCertificate {
            certificate: StoredCertificate {
                id,
                registration: registration.clone(),
                suspect: false,
                details: details.clone(),
            },
            row: NewCertificateRow { id, registration: registration.id, details, names, owned: false },
            chain: row,
        }
    }
}
