//! The stored objects, for chains: local pools of claimed objects, and changes that are written later in
//! batches.
//!
//! Calls do not wait for the database, except when the queue of changes is full. One task (`writer.rs`) uses
//! the database: it writes the queue at least every [`StateOptions::flush_interval`], claims objects before a
//! pool is empty, reserves below hard limits, extends this process's lease, and releases the claims of dead
//! processes. So a chain needs no query of its own, and everything older than the last flush survives a kill.

mod claim;
mod limits;
mod local;
mod names;
mod objects;
mod place;
mod pool;
mod report;
mod reservation;
mod rest;
mod serials;
mod shared;
mod writer;

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rand::RngExt as _;
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};
use wec_acme::{CaClock, Clock};
use wec_record::Object;
pub use wec_record::plan::Limits;

use self::limits::limit_on;
pub use claim::{Claim, Claimable};
pub use objects::{ExclusiveRegistration, NewCertificate, ReadyOrder, Registration, StoredCertificate};
pub use reservation::Reservation;

use crate::backend::{self, certificate_state};
use crate::certificate::Chains;
use crate::error::{StoreError, reason};
use crate::url::StoreUrl;
use local::Local;
use shared::Shared;

/// Options of the state. The defaults suit a load of 10,000 workers.
#[derive(Clone, Copy, Debug)]
pub struct StateOptions {
    /// Hard limits over all processes.
    pub limits: Limits,
    /// Number of orders, and of certificates, kept claimed for this process's chains.
    pub pool: usize,
    /// Number claimed at once when a pool falls below half of it.
    pub claim_batch: usize,
    /// Longest time before a change is written. It is limited to 100 ms, so that with the write itself a kill
    /// loses at most the last 250 ms.
    pub flush_interval: Duration,
    /// With this many changes they are written at once.
    pub flush_items: usize,
    /// With this many changes in the queue, chains wait.
    pub queue: usize,
    /// How long this process counts as alive without a heartbeat.
    pub owner_lease: Duration,
}

impl Default for StateOptions {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            pool: 2048,
            claim_batch: 256,
            flush_interval: Duration::from_millis(100),
            flush_items: 1024,
            queue: 16_384,
            owner_lease: Duration::from_secs(10),
        }
    }
}

const LONGEST_FLUSH_INTERVAL: Duration = Duration::from_millis(100);
/// With a shorter lease, a stall of a second would lose the claims.
const SHORTEST_LEASE: Duration = Duration::from_secs(1);
/// Registrations in memory, from which chains draw; more may exist.
const MOST_REGISTRATIONS: usize = 8192;
/// Registrations read at the start; their keys are parsed then.
const REGISTRATIONS_AT_START: i64 = 1024;
/// With this many exclusive accounts in memory, no further ones are made.
const EXCLUSIVE_STOCK: usize = 64;
/// Least number to reserve at once.
const RESERVE_BATCH: i64 = 64;
/// The note of an expired order.
const EXPIRED: &str = "expired before it was used";
/// Orders and certificates that expire within this time are not handed out, seconds.
const USABLE_FOR: i64 = 30;
/// Largest length of a note, which has the CA's message.
const LONGEST_NOTE: usize = 500;

/// The stored objects of all processes, plus those in this process's queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Accounts.
    pub registrations: u64,
    /// Orders that are ready to finalize.
    pub authorizations: u64,
    /// Certificates that are neither revoked nor replaced.
    pub certificates: u64,
    /// Certificates revoked.
    pub revoked: u64,
}

/// What this process can use now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Available {
    /// There is an account.
    pub registrations: bool,
    /// There is an account that one chain at a time uses, or it is not known because no chain has asked yet.
    pub exclusive_registrations: bool,
    /// There is a ready order.
    pub orders: bool,
    /// There is a live certificate.
    pub certificates: bool,
    /// The limit allows one more account.
    pub may_register: bool,
    /// The limit allows one more order.
    pub may_authorize: bool,
    /// The limit allows one more certificate.
    pub may_certify: bool,
}

impl Available {
    /// Whether there is one of these.
    pub const fn has(&self, object: Object) -> bool {
        match object {
            Object::Registration => self.registrations,
            Object::Order => self.orders,
            Object::Certificate => self.certificates,
        }
    }

    /// Whether the limit allows one more of these.
    pub const fn may_make(&self, object: Object) -> bool {
        match object {
            Object::Registration => self.may_register,
            Object::Order => self.may_authorize,
            Object::Certificate => self.may_certify,
        }
    }
}

/// The condition of the writer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// The database's last error, while it fails; none otherwise.
    pub failing: Option<String>,
    /// Changes in the queue.
    pub queued: usize,
    /// Size of the queue; with more changes, chains wait.
    pub capacity: usize,
    /// How often chains had to wait for the queue.
    pub waits: u64,
    /// Transactions that wrote changes.
    pub flushes: u64,
    /// Changes written.
    pub written: u64,
    /// Statements executed, including transaction control.
    pub statements: u64,
    /// Steps that failed and were retried.
    pub retries: u64,
    /// Certificates whose issuer and serial another process or an earlier run had already stored.
    pub duplicate_serials: u64,
    /// Registrations that the CA no longer knew.
    pub registrations_gone: u64,
    /// How often this process stalled beyond its lease, was declared dead and registered again.
    pub expulsions: u64,
    /// Dead owners whose claims this process released.
    pub owners_released: u64,
    /// The lease is about to expire without an answer: nothing is handed out until the database answers.
    pub fenced: bool,
    /// Accounts, orders and certificates that rest because of a rate limit of the CA.
    pub resting: usize,
}

/// The state of one CA. One per process; clones share it.
#[derive(Clone)]
pub struct State {
    shared: Arc<Shared>,
    /// When the last clone is dropped, the writer task ends after its last flush.
    _stop: Arc<DropGuard>,
}

impl State {
    /// Opens the database at `url` (`sqlite://path`, `sqlite::memory:`, `postgres://…`) for the CA whose
    /// directory is at `ca`: migrates its schema, releases the claims of dead processes, and claims the first
    /// objects.
    ///
    /// The writer task runs on the current tokio runtime.
    ///
    /// # Errors
    /// The message has the cause and the remedy: the URL, the file, the server, the login, the schema
    /// version.
    pub async fn open(url: &str, ca: &str, options: StateOptions) -> Result<Self, StoreError> {
        let url = StoreUrl::parse(url)?;
        let options = StateOptions {
            flush_interval: options.flush_interval.min(LONGEST_FLUSH_INTERVAL),
            owner_lease: options.owner_lease.max(SHORTEST_LEASE),
            claim_batch: options.claim_batch.max(1),
            pool: options.pool.max(options.claim_batch).max(1),
            ..options
        };
        let backend = backend::open(&url).await?;
        let clock = Clock::start();
        let asked = clock.now();
        let place = place::here();
        let lease_ms = writer::milliseconds(options.owner_lease);
        let enrolled = backend.enrol(ca, &place, lease_ms).await.map_err(|error| StoreError::Failed {
            store: url.to_string(),
            doing: "sign this process in",
            reason: reason(&error),
        })?;
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            store: url.to_string(),
            directory: ca.to_owned(),
            place,
            ca: enrolled.ca,
            owner: AtomicI64::new(enrolled.owner),
            valid_until: AtomicU64::new(writer::fence(asked, options.owner_lease)),
            next_object: AtomicU64::new(0),
            next_name: AtomicU64::new(0),
            local: Mutex::new(Local::new(&options)),
            chains: Chains::default(),
            serials: serials::Serials::default(),
            wake: Notify::new(),
            filled: Notify::new(),
            room: Notify::new(),
            stop: stop.clone(),
            writer: Mutex::new(None),
            clock,
            ca_clock: OnceLock::new(),
            orders_expired: AtomicU64::new(0),
            claims: AtomicU64::new(0),
            options,
            backend,
        });
        let mut writer = writer::Writer::new(shared.clone());
        writer.start().await.map_err(|(doing, error)| shared.failed(doing, &error))?;
        let task = tokio::spawn(writer.run());
        *shared.writer.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
        Ok(Self { shared, _stop: Arc::new(stop.drop_guard()) })
    }

    /// From now on uses the CA's clock for expiry instead of ours. Further calls have no effect.
    pub fn follow(&self, ca_clock: &CaClock) {
        if self.shared.ca_clock.set(ca_clock.clone()).is_ok() {
            // Objects that had expired by our clock may be usable.
            let mut local = self.shared.local();
            (local.orders.dry, local.certificates.dry) = (false, false);
            drop(local);
            self.shared.wake.notify_one();
        }
    }

    /// Counts over all processes at the last flush, plus this process's changes since. No query.
    pub fn counts(&self) -> Counts {
        let local = self.shared.local();
        let mut totals = local.totals;
        totals += local.pending;
        // A count is negative for a moment if another process's flush is seen before the object that it
        // ended.
        let count = |number: i64| u64::try_from(number).unwrap_or(0);
        Counts {
            registrations: count(totals.registrations),
            authorizations: count(totals.orders_ready),
            certificates: count(totals.certificates_live),
            revoked: count(totals.certificates_revoked),
        }
    }

    /// What chains can run now. No query.
    pub fn available(&self) -> Available {
        if self.shared.is_fenced() {
            return Available::default();
        }
        let mut local = self.shared.local();
        local.wake(self.shared.clock.now());
        let local = local;
        let may =
            |kind: Object| local.limits.on(kind).is_none() || local.allowances[kind.index()].available > 0;
        Available {
            registrations: !local.registrations.is_empty(),
            exclusive_registrations: !local.exclusive.is_empty() || !local.claims_registrations,
            orders: !local.orders.is_empty(),
            certificates: !local.certificates.is_empty(),
            may_register: may(Object::Registration),
            may_authorize: may(Object::Order),
            may_certify: may(Object::Certificate),
        }
    }

    /// The limits that are reached by objects made by all processes, without reservations, each with its
    /// number. As of the last reservation.
    pub fn limits_reached(&self) -> Vec<(Object, u64)> {
        let local = self.shared.local();
        let reached = |kind: Object| {
            let limit = limit_on(kind, local.limits)?;
            (local.allowances[kind.index()].made >= limit).then_some((kind, limit.unsigned_abs()))
        };
        Object::ALL.into_iter().filter_map(reached).collect()
    }

    /// Any account that does not rest. It is not exclusive: many chains use an account at once.
    pub fn registration(&self) -> Option<Arc<Registration>> {
        let mut local = self.shared.local();
        local.wake(self.shared.clock.now());
        if local.registrations.is_empty() {
            return None;
        }
        let index = rand::rng().random_range(0..local.registrations.len());
        Some(local.registrations[index].clone())
    }

    /// The oldest account in memory that does not rest: the same one, as long as it is usable.
    pub fn oldest_registration(&self) -> Option<Arc<Registration>> {
        let mut local = self.shared.local();
        local.wake(self.shared.clock.now());
        local.registrations.iter().min_by_key(|registration| registration.id).cloned()
    }

    /// Any exclusive account, claimed. From the first call on, some are kept claimed.
    pub fn claim_registration(&self) -> Option<Claim<ExclusiveRegistration>> {
        let first = !std::mem::replace(&mut self.shared.local().claims_registrations, true);
        if first {
            self.shared.wake.notify_one();
        }
        Claim::draw(&self.shared, |_: &ExclusiveRegistration| i64::MAX, |_, _| {})
    }

    /// Whether the next new account should be an exclusive one: chains claim them, and this process has less
    /// than a small stock. At most every second account is, so that chains that share accounts get some, too.
    pub fn next_registration_is_exclusive(&self) -> bool {
        let mut local = self.shared.local();
        let lacks = local.claims_registrations && local.exclusive.len() < EXCLUSIVE_STOCK;
        local.next_is_exclusive = lacks && !local.registrations.is_empty() && !local.next_is_exclusive;
        local.next_is_exclusive
    }

    /// Up to `most` accounts, the newest first, to check whether the CA still knows them.
    pub fn newest_registrations(&self, most: usize) -> Vec<Arc<Registration>> {
        let mut all = self.shared.local().registrations.clone();
        all.sort_by_key(|registration| std::cmp::Reverse(registration.id));
        all.truncate(most);
        all
    }

    /// The account rests for this time because of a rate limit of the CA: it is not handed out, nor are its
    /// certificates for renewal. Chains that already have it, and other processes, may still use it.
    pub fn rest_registration(&self, registration: &Arc<Registration>, time: Duration) {
        let until = self.shared.wakes(time);
        registration.rests_until.fetch_max(until, Ordering::Relaxed);
        let mut local = self.shared.local();
        let place = local.registrations.iter().position(|other| other.id == registration.id);
        if let Some(place) = place {
            let resting = local.registrations.swap_remove(place);
            let back = local.resting_registrations.put(resting, until);
            local.registrations.extend(back);
        }
    }

    /// The right to make one more of `kind`; none when the hard limit is reached, or while more is being
    /// reserved.
    pub fn reserve(&self, kind: Object) -> Option<Reservation> {
        if self.shared.is_fenced() {
            return None;
        }
        let mut local = self.shared.local();
        if local.limits.on(kind).is_none() {
            return Some(Reservation::free(kind));
        }
        let allowance = &mut local.allowances[kind.index()];
        let reservation = (allowance.available > 0).then(|| {
            allowance.available -= 1;
            allowance.taken += 1;
            Reservation::counted(kind, self.shared.clone())
        });
        if allowance.available < RESERVE_BATCH / 2 && !allowance.exhausted {
            self.shared.wake.notify_one();
        }
        reservation
    }

    /// Sets other hard limits. Rights that chains already have remain.
    pub fn set_limits(&self, limits: Limits) {
        let mut local = self.shared.local();
        for kind in Object::ALL {
            if local.limits.on(kind) != limits.on(kind) {
                let allowance = &mut local.allowances[kind.index()];
                allowance.reserved -= std::mem::take(&mut allowance.available);
                // Requested again once the database has the returned ones.
                allowance.exhausted = true;
                local.limits_changed = true;
            }
        }
        local.limits = limits;
        drop(local);
        self.shared.wake.notify_one();
    }

    /// Objects that chains of this process use now.
    pub fn claims(&self) -> u64 {
        self.shared.claims.load(Ordering::Relaxed)
    }

    /// Ready orders that this process dropped because they had expired, or were about to expire.
    pub fn orders_expired(&self) -> u64 {
        self.shared.orders_expired.load(Ordering::Relaxed)
    }

    /// Any ready order, claimed.
    pub fn claim_order(&self) -> Option<Claim<ReadyOrder>> {
        self.of_an_account_that_does_not_rest(
            |local| local.orders.len(),
            |order: &ReadyOrder| &order.registration,
            || {
                Claim::draw(
                    &self.shared,
                    |order: &ReadyOrder| order.expires_unix,
                    |local, order| {
                        local.end_order(order.id, Some(EXPIRED.into()));
                        self.shared.orders_expired.fetch_add(1, Ordering::Relaxed);
                    },
                )
            },
        )
    }

    /// Any live certificate, claimed.
    pub fn claim_certificate(&self) -> Option<Claim<StoredCertificate>> {
        self.of_an_account_that_does_not_rest(
            |local| local.certificates.len(),
            |certificate: &StoredCertificate| &certificate.registration,
            || {
                Claim::draw(
                    &self.shared,
                    |certificate: &StoredCertificate| certificate.not_after_unix,
                    |local, certificate| {
                        local.end_certificate(
                            certificate.id,
                            certificate_state::GONE,
                            Some("expired".into()),
                        );
                    },
                )
            },
        )
    }

    /// An object whose account rests is put to rest for as long. So each is drawn at most once, and one round
    /// over `all` suffices; `all` is counted only if necessary.
    fn of_an_account_that_does_not_rest<T: Claimable>(
        &self,
        all: impl Fn(&Local) -> usize,
        account: impl Fn(&T) -> &Registration,
        draw: impl Fn() -> Option<Claim<T>>,
    ) -> Option<Claim<T>> {
        let now = self.shared.clock.now();
        let mut left = None;
        loop {
            let claim = draw()?;
            let until = account(&claim).rests_until.load(Ordering::Relaxed);
            if until <= now {
                return Some(claim);
            }
            claim.rest(Duration::from_nanos(until - now));
            let others = left.unwrap_or_else(|| all(&self.shared.local()));
            left = Some(others.checked_sub(1)?);
        }
    }

    /// Whether this serial of this issuer is new; stores it. Duplicates of other processes are found when
    /// certificates are written, see [`Health::duplicate_serials`].
    pub fn serial_is_new(&self, issuer: &str, serial: &str) -> bool {
        self.shared.serials.is_new(issuer, serial)
    }

    /// A name under `base` that no worker, process or earlier run has used.
    pub fn unique_name(&self, base: &str) -> String {
        names::unique_name(self.owner(), self.shared.next_name.fetch_add(1, Ordering::Relaxed), base)
    }

    /// The names of any stored certificate that no chain uses; none if there is none in memory.
    pub fn names_of_a_certificate(&self) -> Option<Vec<String>> {
        self.shared.local().certificates.any().map(|certificate| certificate.names.clone())
    }

    /// This process's owner number in the database.
    pub fn owner(&self) -> i64 {
        self.shared.owner.load(Ordering::Relaxed)
    }

    /// The condition of the writer. No query.
    pub fn health(&self) -> Health {
        let local = self.shared.local();
        Health {
            failing: local.refusal.as_ref().map(|(doing, reason)| format!("failed to {doing}: {reason}")),
            queued: local.queued(),
            capacity: self.shared.options.queue,
            statements: self.shared.backend.statements(),
            fenced: self.shared.is_fenced(),
            resting: local.resting(),
            ..local.health.clone()
        }
    }

    /// Waits until everything reported before this call is written, or the database fails.
    ///
    /// # Errors
    /// The database's error; the changes stay in the queue and are retried. Or that the state is closed.
    pub async fn flush(&self) -> Result<(), StoreError> {
        loop {
            let written = self.shared.room.notified();
            {
                let local = self.shared.local();
                // Checked first: an error is kept until the end of a turn, and a turn begins with writing.
                if local.queued() == 0 {
                    return Ok(());
                }
                if let Some((doing, reason)) = &local.refusal {
                    let (store, reason) = (self.shared.store.clone(), reason.clone());
                    return Err(StoreError::Failed { store, doing, reason });
                }
                if local.closed {
                    return Err(StoreError::WriterGone { store: self.shared.store.clone() });
                }
            }
            self.shared.wake.notify_one();
            written.await;
        }
    }

    /// Writes the rest, releases this process's claims and removes its owner. Chains should have ended:
    /// claims that they still hold are released as suspect, and later reports are lost.
    ///
    /// # Errors
    /// When the database refuses the last changes for longer than the lease, or the writer task has ended.
    pub async fn close(self) -> Result<(), StoreError> {
        self.shared.stop.cancel();
        let task = self.shared.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Another clone closes it.
        let Some(task) = task else { return Ok(()) };
        task.await.unwrap_or_else(|_| Err(StoreError::WriterGone { store: self.shared.store.clone() }))
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("store", &self.shared.store)
            .field("owner", &self.owner())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_flush_succeeds_after_writing_is_possible_again() {
        let ca = "https://ca.test/directory";
        let state = State::open("sqlite::memory:", ca, StateOptions::default()).await.expect("a database");
        state.shared.local().refusal = Some(("write changes", "database is locked".to_owned()));
        state.flush().await.expect("nothing waits to be written");
    }
}
