//! The state in memory: pools of claimed objects, and the queue of changes.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use rand::RngExt as _;
use wec_record::plan::Limits;

use super::limits::Allowance;
use super::objects::{ExclusiveRegistration, ReadyOrder, Registration, StoredCertificate};
use super::pool::Pool;
use super::rest::Resting;
use super::{Health, MOST_REGISTRATIONS, StateOptions};
use crate::backend::{
    Batch, ChainRow, Ending, NewCertificateRow, Totals, WITH_REGISTRATION, certificate_state, order_state,
};

/// The state in memory. Every operation under its lock is short and O(1).
pub(super) struct Local {
    pub(super) registrations: Vec<Arc<Registration>>,
    pub(super) resting_registrations: Resting<Arc<Registration>>,
    /// Exclusive accounts.
    pub(super) exclusive: Pool<ExclusiveRegistration>,
    /// Whether chains claim exclusive accounts; otherwise none is claimed from the database.
    pub(super) claims_registrations: bool,
    /// Whether the last new account was made as an exclusive one.
    pub(super) next_is_exclusive: bool,
    /// Accounts of claimed objects, beyond those in `registrations`, so that each key is parsed once.
    pub(super) known: HashMap<i64, Weak<Registration>>,
    pub(super) orders: Pool<ReadyOrder>,
    pub(super) certificates: Pool<StoredCertificate>,
    pub(super) limits: Limits,
    pub(super) allowances: [Allowance; 3],
    /// A limit was changed: the database gets back what was reserved below the old one with a heartbeat, which
    /// is due at once.
    pub(super) limits_changed: bool,
    /// Changes to be written.
    pub(super) queue: Batch,
    /// Number of changes that are being written.
    pub(super) writing: usize,
    /// The totals as last reported by the database.
    pub(super) totals: Totals,
    /// The change of the totals by the queue and the current write.
    pub(super) pending: Totals,
    /// The operation that the database currently refuses, and the reason.
    pub(super) refusal: Option<(&'static str, String)>,
    /// The writer task has ended: nothing more will be written.
    pub(super) closed: bool,
    pub(super) health: Health,
}

/// A certificate for pool and queue.
pub(super) struct AddedCertificate {
    pub(super) certificate: StoredCertificate,
    pub(super) row: NewCertificateRow,
    pub(super) chain: Option<ChainRow>,
}

impl Local {
    pub(super) fn new(options: &StateOptions) -> Self {
        Self {
            registrations: Vec::new(),
            resting_registrations: Resting::new(MOST_REGISTRATIONS),
            exclusive: Pool::new(options.pool),
            claims_registrations: false,
            next_is_exclusive: false,
            known: HashMap::new(),
            orders: Pool::new(options.pool),
            certificates: Pool::new(options.pool),
            limits: options.limits,
            allowances: [Allowance::default(); 3],
            limits_changed: false,
            queue: Batch::default(),
            writing: 0,
            totals: Totals::default(),
            pending: Totals::default(),
            refusal: None,
            closed: false,
            health: Health::default(),
        }
    }

    /// Makes objects available whose rest is over.
    pub(super) fn wake(&mut self, now: u64) {
        while let Some(registration) = self.resting_registrations.wake(now) {
            self.add_registration(registration);
        }
        self.exclusive.wake(now);
        self.orders.wake(now);
        self.certificates.wake(now);
    }

    pub(super) fn resting(&self) -> usize {
        self.resting_registrations.len()
            + self.exclusive.resting()
            + self.orders.resting()
            + self.certificates.resting()
    }

    pub(super) fn queued(&self) -> usize {
        self.queue.len() + self.writing
    }

    /// Adds an account; if there are too many, it replaces a random one.
    pub(super) fn add_registration(&mut self, registration: Arc<Registration>) {
        if self.registrations.len() < MOST_REGISTRATIONS {
            self.registrations.push(registration);
        } else {
            let index = rand::rng().random_range(0..self.registrations.len());
            self.registrations[index] = registration;
        }
    }

    pub(super) fn add_certificate(&mut self, added: AddedCertificate) {
        let AddedCertificate { certificate, mut row, chain } = added;
        row.owned = !self.certificates.is_full();
        if row.owned {
            self.certificates.put(certificate);
        }
        self.queue.chains.extend(chain);
        self.queue.certificates.push(row);
        self.pending.certificates_live += 1;
    }

    pub(super) fn end_order(&mut self, id: i64, note: Option<String>) {
        self.queue.failed.push(Ending { id, state: order_state::FAILED, reason: None, note });
        self.pending.orders_ready -= 1;
    }

    pub(super) fn end_certificate(&mut self, id: i64, state: i16, note: Option<String>) {
        self.queue.ended.push(Ending { id, state, reason: None, note });
        self.pending.certificates_live -= 1;
    }

    /// Ends its objects claimed here, and in the database its unclaimed ones. Another process notices it at its next
    /// use of an object that it has claimed.
    pub(super) fn end_registration(&mut self, id: i64) {
        self.registrations.retain(|registration| registration.id != id);
        self.resting_registrations.retain(|registration| registration.id != id);
        self.exclusive.retain(|account| account.registration.id != id);
        for order in self.orders.extract(|order| order.registration.id == id) {
            self.end_order(order.id, Some(WITH_REGISTRATION.into()));
        }
        for certificate in self.certificates.extract(|certificate| certificate.registration.id == id) {
            self.end_certificate(certificate.id, certificate_state::GONE, Some(WITH_REGISTRATION.into()));
        }
        self.queue.gone.push(id);
        self.pending.registrations -= 1;
    }

    /// Adds it to the pool, unless its account was lost while it was being claimed.
    pub(super) fn put_order(&mut self, order: ReadyOrder) {
        if order.registration.is_gone() {
            self.end_order(order.id, Some(WITH_REGISTRATION.into()));
        } else {
            self.orders.put(order);
        }
    }

    /// As [`Local::put_order`].
    pub(super) fn put_certificate(&mut self, certificate: StoredCertificate) {
        if certificate.registration.is_gone() {
            self.end_certificate(certificate.id, certificate_state::GONE, Some(WITH_REGISTRATION.into()));
        } else {
            self.certificates.put(certificate);
        }
    }

    pub(super) fn registration_of(&self, id: i64) -> Option<Arc<Registration>> {
        self.known.get(&id).and_then(Weak::upgrade)
    }

    pub(super) fn remember(&mut self, registration: &Arc<Registration>) {
        // Removes unused entries when the number could have doubled.
        if self.known.len() == self.known.capacity() {
            self.known.retain(|_, known| known.strong_count() > 0);
        }
        self.known.insert(registration.id, Arc::downgrade(registration));
    }
}

/// Types that have a pool.
pub(super) trait Pooled: Sized {
    fn pool(local: &mut Local) -> &mut Pool<Self>;
    /// Marks it as suspect: its state at the CA is not known.
    fn suspect(&mut self);
}

impl Pooled for ExclusiveRegistration {
    fn pool(local: &mut Local) -> &mut Pool<Self> {
        &mut local.exclusive
    }

    fn suspect(&mut self) {
        self.suspect = true;
    }
}

impl Pooled for ReadyOrder {
    fn pool(local: &mut Local) -> &mut Pool<Self> {
        &mut local.orders
    }

    fn suspect(&mut self) {
        self.suspect = true;
    }
}

impl Pooled for StoredCertificate {
    fn pool(local: &mut Local) -> &mut Pool<Self> {
        &mut local.certificates
    }

    fn suspect(&mut self) {
        self.suspect = true;
    }
}
