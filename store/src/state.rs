//! What the CA did, as chains use it: local pools of claimed objects, and changes written behind in batches.
//!
//! Nothing here waits for the database, except when the queue of changes is full. One task (`writer.rs`) talks to the
//! database: it writes the queue at least every [`StateOptions::flush_interval`], claims more before a pool runs
//! dry, reserves below hard limits, shows that this process is alive, and frees what dead processes left. So a chain
//! costs no query of its own, and everything older than the last flush survives a kill.

mod claim;
mod limits;
mod local;
mod names;
mod objects;
mod place;
mod pool;
mod report;
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

pub use claim::{Claim, Claimable};
pub use limits::{Limits, Reservation};
pub use objects::{ExclusiveRegistration, NewCertificate, ReadyOrder, Registration, StoredCertificate};

use crate::backend::{self, certificate_state};
use crate::certificate::Chains;
use crate::error::{StoreError, reason};
use crate::url::StoreUrl;
use local::Local;
use shared::Shared;

/// How the state behaves. The defaults suit a load of 10,000 workers.
#[derive(Clone, Copy, Debug)]
pub struct StateOptions {
    /// Hard limits over all processes.
    pub limits: Limits,
    /// How many orders, and as many certificates, are kept claimed for this process's chains.
    pub pool: usize,
    /// How many are claimed at once when a pool falls below half of this.
    pub claim_batch: usize,
    /// The longest that a change waits before it is written. At most 100 ms are kept, whatever is asked for, so that
    /// with the writing itself a kill loses no more than the last 250 ms.
    pub flush_interval: Duration,
    /// So many changes are written at once, without waiting.
    pub flush_items: usize,
    /// So many changes may wait while the database is slow; then chains wait.
    pub queue: usize,
    /// How long this process counts as alive without a sign of life.
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
/// Below this a stall of a second would cost the claims.
const SHORTEST_LEASE: Duration = Duration::from_secs(1);
/// Registrations held in memory: what is drawn from, not what exists.
const MOST_REGISTRATIONS: usize = 8192;
/// Registrations read at the start; their keys are parsed then.
const REGISTRATIONS_AT_START: i64 = 1024;
/// The least to reserve at once.
const RESERVE_BATCH: i64 = 64;
/// What is noted of an order that expired.
const EXPIRED: &str = "expired before it was used";
/// An order or a certificate is not handed out when it expires sooner, in seconds.
const USABLE_FOR: i64 = 30;
/// Notes say what a CA said, and are kept short.
const LONGEST_NOTE: usize = 500;

/// What is stored over all processes, plus what waits to be.
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

/// What this process could use at this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Available {
    /// There is an account.
    pub registrations: bool,
    /// There is a ready order.
    pub orders: bool,
    /// There is a live certificate.
    pub certificates: bool,
    /// The limit allows an account more.
    pub may_register: bool,
    /// The limit allows an order more.
    pub may_authorize: bool,
    /// The limit allows a certificate more.
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

/// How the state's writing goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// What the database said last, while it refuses; none when all is well.
    pub failing: Option<String>,
    /// Changes that wait to be written.
    pub queued: usize,
    /// From how many waiting changes on chains wait too.
    pub capacity: usize,
    /// How often chains had to wait for room.
    pub waits: u64,
    /// Transactions that wrote changes.
    pub flushes: u64,
    /// Changes written.
    pub written: u64,
    /// Statements executed, transaction control included.
    pub statements: u64,
    /// Steps that failed and were tried again.
    pub retries: u64,
    /// Certificates whose issuer and serial another process (or an earlier run) had stored before.
    pub duplicate_serials: u64,
    /// Registrations that the CA turned out not to know any more.
    pub registrations_gone: u64,
    /// How often this process stalled past its lease, was declared dead and signed in anew.
    pub expulsions: u64,
    /// Dead owners whose claims this process freed.
    pub owners_released: u64,
    /// The lease is about to run out for want of an answer: nothing is handed out until the database is back.
    pub fenced: bool,
    /// Accounts, orders and certificates that are not handed out because a limit of the CA is about them.
    pub resting: usize,
}

/// The state of one CA. One per process; clones share it.
#[derive(Clone)]
pub struct State {
    shared: Arc<Shared>,
    /// When the last clone goes, so does the writer task, after its last flush.
    _stop: Arc<DropGuard>,
}

impl State {
    /// Opens the database at `url` (`sqlite://path`, `sqlite::memory:`, `postgres://…`) for the CA whose directory is
    /// at `ca`, brings its schema up to date, frees what dead processes left, and claims a first stock.
    ///
    /// The task that writes runs on the current tokio runtime.
    ///
    /// # Errors
    /// One that names the culprit and the way out: the URL, the file, the server, the login, the schema's version.
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
            options,
            backend,
        });
        let mut writer = writer::Writer::new(shared.clone());
        writer.start().await.map_err(|(doing, error)| shared.failed(doing, &error))?;
        let task = tokio::spawn(writer.run());
        *shared.writer.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
        Ok(Self { shared, _stop: Arc::new(stop.drop_guard()) })
    }

    /// Judges expiry by the CA's clock from now on, and no longer by ours. Once; a further call changes nothing.
    pub fn follow(&self, ca_clock: &CaClock) {
        if self.shared.ca_clock.set(ca_clock.clone()).is_ok() {
            // What looked expired by our clock may be claimed after all.
            let mut local = self.shared.local();
            (local.orders.dry, local.certificates.dry) = (false, false);
            drop(local);
            self.shared.wake.notify_one();
        }
    }

    /// Counts over all processes, as of the last flush, plus this process's since. No query.
    pub fn counts(&self) -> Counts {
        let local = self.shared.local();
        let mut totals = local.totals;
        totals += local.pending;
        // A negative count would be a flush of another process seen before the object it ended: never for long.
        let count = |number: i64| u64::try_from(number).unwrap_or(0);
        Counts {
            registrations: count(totals.registrations),
            authorizations: count(totals.orders_ready),
            certificates: count(totals.certificates_live),
            revoked: count(totals.certificates_revoked),
        }
    }

    /// What chains could run now. No query.
    pub fn available(&self) -> Available {
        if self.shared.is_fenced() {
            return Available::default();
        }
        let mut local = self.shared.local();
        local.wake(self.shared.clock.now());
        let local = local;
        let may =
            |kind: Object| local.limits.of(kind).is_none() || local.allowances[kind.index()].available > 0;
        Available {
            registrations: !local.registrations.is_empty(),
            orders: !local.orders.is_empty(),
            certificates: !local.certificates.is_empty(),
            may_register: may(Object::Registration),
            may_authorize: may(Object::Order),
            may_certify: may(Object::Certificate),
        }
    }

    /// The limits that are reached by what was ever made, over all processes, and not only by what others may yet make:
    /// each with its number. As of when some were last asked for.
    pub fn limits_reached(&self) -> Vec<(Object, u64)> {
        let local = self.shared.local();
        let reached = |kind: Object| {
            let limit = local.limits.of(kind)?;
            (local.allowances[kind.index()].made >= limit).then_some((kind, limit.unsigned_abs()))
        };
        Object::ALL.into_iter().filter_map(reached).collect()
    }

    /// Any account that does not rest. Not exclusive: accounts are used by many at once.
    pub fn registration(&self) -> Option<Arc<Registration>> {
        let mut local = self.shared.local();
        local.wake(self.shared.clock.now());
        if local.registrations.is_empty() {
            return None;
        }
        let index = rand::rng().random_range(0..local.registrations.len());
        Some(local.registrations[index].clone())
    }

    /// Any account of those that are never shared, for exclusive use. From the first call on, a stock of them is kept claimed.
    pub fn claim_registration(&self) -> Option<Claim<ExclusiveRegistration>> {
        let first = !std::mem::replace(&mut self.shared.local().claims_registrations, true);
        if first {
            self.shared.wake.notify_one();
        }
        self.shared.claim(|_: &ExclusiveRegistration| i64::MAX, |_, _| {})
    }

    /// Up to so many accounts, the newest first: what can be asked about to see whether the CA still knows them.
    pub fn newest_registrations(&self, most: usize) -> Vec<Arc<Registration>> {
        let mut all = self.shared.local().registrations.clone();
        all.sort_by_key(|registration| std::cmp::Reverse(registration.id));
        all.truncate(most);
        all
    }

    /// A limit of the CA is about this account: it is not handed out for so long, nor a certificate of it to be renewed. It may be
    /// used by chains that have it, and by other processes.
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

    /// The right to make one more of `kind`; none when the hard limit is reached, or for the moment while more is
    /// being reserved.
    pub fn reserve(&self, kind: Object) -> Option<Reservation> {
        if self.shared.is_fenced() {
            return None;
        }
        let mut local = self.shared.local();
        if local.limits.of(kind).is_none() {
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

    /// Other hard limits from now on. What chains have in hand is not taken back: they may still make it.
    pub fn set_limits(&self, limits: Limits) {
        let mut local = self.shared.local();
        for kind in Object::ALL {
            if local.limits.of(kind) != limits.of(kind) {
                let allowance = &mut local.allowances[kind.index()];
                allowance.reserved -= std::mem::take(&mut allowance.available);
                // Asked again once the database knows what has been given back.
                allowance.exhausted = true;
            }
        }
        local.limits = limits;
        drop(local);
        self.shared.wake.notify_one();
    }

    /// Ready orders that this process has dropped because they had expired, or were about to.
    pub fn orders_expired(&self) -> u64 {
        self.shared.orders_expired.load(Ordering::Relaxed)
    }

    /// Any ready order, for exclusive use.
    pub fn claim_order(&self) -> Option<Claim<ReadyOrder>> {
        self.of_an_account_that_does_not_rest(
            |local| local.orders.len(),
            |order: &ReadyOrder| &order.registration,
            || {
                self.shared.claim(
                    |order: &ReadyOrder| order.expires_unix,
                    |local, order| {
                        local.end_order(order.id, Some(EXPIRED.into()));
                        self.shared.orders_expired.fetch_add(1, Ordering::Relaxed);
                    },
                )
            },
        )
    }

    /// Any live certificate, for exclusive use.
    pub fn claim_certificate(&self) -> Option<Claim<StoredCertificate>> {
        self.of_an_account_that_does_not_rest(
            |local| local.certificates.len(),
            |certificate: &StoredCertificate| &certificate.registration,
            || {
                self.shared.claim(
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

    /// What is drawn while its account rests rests as long. So each is drawn in vain once, and a round of `all` is enough;
    /// they are counted only when there is one.
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

    /// Whether this serial was not seen before from this issuer; remembers it. Certificates that another process has
    /// are noticed when they are written, see [`Health::duplicate_serials`].
    pub fn serial_is_new(&self, issuer: &str, serial: &str) -> bool {
        self.shared.serials.is_new(issuer, serial)
    }

    /// A name under `base` that no worker, process or earlier run has used.
    pub fn unique_name(&self, base: &str) -> String {
        names::unique_name(self.owner(), self.shared.next_name.fetch_add(1, Ordering::Relaxed), base)
    }

    /// This process's number in the database.
    pub fn owner(&self) -> i64 {
        self.shared.owner.load(Ordering::Relaxed)
    }

    /// How the writing goes. No query.
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

    /// Waits until everything that was reported before this call is written, or the database refuses.
    ///
    /// # Errors
    /// What the database said; the changes stay queued and are tried again. Or that the state is closed.
    pub async fn flush(&self) -> Result<(), StoreError> {
        loop {
            let written = self.shared.room.notified();
            {
                let local = self.shared.local();
                // First: a refusal is remembered until the end of a turn, and the turn begins with writing.
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

    /// Writes what is left, frees this process's claims and signs it out. Chains should have ended: what they still
    /// hold is freed as suspect, and what they report from now on is lost.
    ///
    /// # Errors
    /// When the database refuses the last changes for longer than the lease, or the writer task is gone.
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
    async fn a_refusal_that_is_over_fails_no_flush() {
        let ca = "https://ca.test/directory";
        let state = State::open("sqlite::memory:", ca, StateOptions::default()).await.expect("a database");
        state.shared.local().refusal = Some(("write changes", "database is locked".to_owned()));
        state.flush().await.expect("nothing waits to be written");
    }
}
