//! What the CA did, as chains use it: local pools of claimed objects, and changes written behind in batches.
//!
//! Nothing here waits for the database, except when the queue of changes is full. One task (`writer.rs`) talks to the
//! database: it writes the queue at least every [`StateOptions::flush_interval`], claims more before a pool runs
//! dry, reserves below hard limits, shows that this process is alive, and frees what dead processes left. So a chain
//! costs no query of its own, and everything older than the last flush survives a kill.

mod claim;
mod limits;
mod names;
mod objects;
mod place;
mod pool;
mod serials;
mod url;
mod writer;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use rand::RngExt as _;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use wec_acme::{Account, Clock, Order};

pub use claim::{Claim, Claimable};
pub use limits::{Kind, Limits, Reservation};
pub use objects::{
    CertificateDetails, IssuerChain, NewCertificate, ReadyOrder, Registration, StoredCertificate,
};
pub(crate) use url::{StoreUrl, redacted};

use crate::backend::{
    self, Backend, Batch, ChainRow, Ending, NewCertificateRow, NewOrderRow, NewRegistrationRow, Totals,
    WITH_REGISTRATION, certificate_state, order_state,
};
use crate::error::{StoreError, reason};
use claim::Pooled;
use limits::Allowance;
use pool::Pool;

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
            chains: objects::Chains::default(),
            serials: serials::Serials::default(),
            wake: Notify::new(),
            room: Notify::new(),
            stop: stop.clone(),
            writer: Mutex::new(None),
            clock,
            options,
            backend,
        });
        let mut writer = writer::Writer::new(shared.clone());
        writer.start().await.map_err(|(doing, error)| shared.failed(doing, &error))?;
        let task = tokio::spawn(writer.run());
        *shared.writer.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
        Ok(Self { shared, _stop: Arc::new(stop.drop_guard()) })
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
        let local = self.shared.local();
        let may =
            |kind: Kind| local.limits.of(kind).is_none() || local.allowances[kind.index()].available > 0;
        Available {
            registrations: !local.registrations.is_empty(),
            orders: !local.orders.is_empty(),
            certificates: !local.certificates.is_empty(),
            may_register: may(Kind::Registration),
            may_authorize: may(Kind::Authorization),
            may_certify: may(Kind::Certificate),
        }
    }

    /// The limits that are reached by what was ever made, over all processes, and not only by what others may yet make:
    /// each with its number. As of when some were last asked for.
    pub fn limits_reached(&self) -> Vec<(Kind, u64)> {
        let local = self.shared.local();
        let reached = |kind: Kind| {
            let limit = local.limits.of(kind)?;
            (local.allowances[kind.index()].made >= limit).then_some((kind, limit.unsigned_abs()))
        };
        Kind::ALL.into_iter().filter_map(reached).collect()
    }

    /// Any account. Not exclusive: accounts are used by many at once.
    pub fn registration(&self) -> Option<Arc<Registration>> {
        let local = self.shared.local();
        if local.registrations.is_empty() {
            return None;
        }
        let index = rand::rng().random_range(0..local.registrations.len());
        Some(local.registrations[index].clone())
    }

    /// The right to make one more of `kind`; none when the hard limit is reached, or for the moment while more is
    /// being reserved.
    pub fn reserve(&self, kind: Kind) -> Option<Reservation> {
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
        for kind in Kind::ALL {
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

    /// Any ready order, for exclusive use.
    pub fn claim_order(&self) -> Option<Claim<ReadyOrder>> {
        self.shared.claim(
            |order: &ReadyOrder| order.expires_unix,
            |local, order| {
                local.end_order(order.id, Some("expired before it was used".into()));
            },
        )
    }

    /// Any live certificate, for exclusive use.
    pub fn claim_certificate(&self) -> Option<Claim<StoredCertificate>> {
        self.shared.claim(
            |certificate: &StoredCertificate| certificate.not_after_unix,
            |local, certificate| {
                local.end_certificate(certificate.id, certificate_state::GONE, Some("expired".into()));
            },
        )
    }

    /// An account was made.
    pub async fn add_registration(&self, reservation: Reservation, account: &Account, contact: &[String]) {
        reservation.spend(Kind::Registration);
        let id = self.shared.next_id();
        let registration = Arc::new(Registration::new(id, account.clone()));
        let row = NewRegistrationRow {
            id,
            url: account.url.clone(),
            key: account.key.to_pkcs8(),
            contact: contact.join(" "),
        };
        self.shared.change(|local| {
            local.queue.registrations.push(row);
            local.pending.registrations += 1;
            local.remember(&registration);
            local.add_registration(registration);
        });
        self.shared.room().await;
    }

    /// An order became ready.
    pub async fn add_order(&self, reservation: Reservation, registration: &Arc<Registration>, order: &Order) {
        reservation.spend(Kind::Authorization);
        let ready = ReadyOrder {
            id: self.shared.next_id(),
            registration: registration.clone(),
            url: order.url.clone(),
            finalize_url: order.finalize.clone(),
            names: order.identifiers.iter().map(|identifier| identifier.value.clone()).collect(),
            expires_unix: order.expires_unix().unwrap_or(i64::MAX),
            suspect: false,
        };
        let mut row = NewOrderRow {
            id: ready.id,
            registration: registration.id,
            url: order.url.clone(),
            finalize_url: order.finalize.clone(),
            names: ready.names.join(" "),
            expires: ready.expires_unix,
            owned: false,
        };
        self.shared.change(|local| {
            row.owned = !local.orders.is_full();
            if row.owned {
                local.orders.put(ready);
            }
            local.queue.orders.push(row);
            local.pending.orders_ready += 1;
        });
        self.shared.room().await;
    }

    /// The order was finalized and its certificate downloaded.
    pub async fn order_issued(
        &self,
        order: Claim<ReadyOrder>,
        reservation: Reservation,
        new: NewCertificate,
    ) {
        reservation.spend(Kind::Certificate);
        let order = order.conclude();
        let added = self.shared.new_certificate(&order.registration, new);
        self.shared.change(|local| {
            local.queue.issued.push(order.id);
            local.pending.orders_ready -= 1;
            local.add_certificate(added);
        });
        self.shared.room().await;
    }

    /// The order cannot be used any more.
    pub async fn order_failed(&self, order: Claim<ReadyOrder>, why: &str) {
        let order = order.conclude();
        self.shared.change(|local| local.end_order(order.id, Some(note(why))));
        self.shared.room().await;
    }

    /// The certificate was renewed; the new one belongs to `registration`.
    pub async fn certificate_replaced(
        &self,
        old: Claim<StoredCertificate>,
        reservation: Reservation,
        registration: &Arc<Registration>,
        new: NewCertificate,
    ) {
        reservation.spend(Kind::Certificate);
        let old = old.conclude();
        let added = self.shared.new_certificate(registration, new);
        self.shared.change(|local| {
            local.end_certificate(old.id, certificate_state::REPLACED, None);
            local.add_certificate(added);
        });
        self.shared.room().await;
    }

    /// The certificate was revoked, with this reason code (RFC 5280 §5.3.1).
    pub async fn certificate_revoked(&self, certificate: Claim<StoredCertificate>, reason: u8) {
        let id = certificate.conclude().id;
        self.shared.change(|local| {
            let ending =
                Ending { id, state: certificate_state::REVOKED, reason: Some(i16::from(reason)), note: None };
            local.queue.revoked.push(ending);
            local.pending.certificates_live -= 1;
            local.pending.certificates_revoked += 1;
        });
        self.shared.room().await;
    }

    /// The certificate cannot be used any more, for example because it was revoked by a chain that was cut off.
    pub async fn certificate_gone(&self, certificate: Claim<StoredCertificate>, why: &str) {
        let id = certificate.conclude().id;
        self.shared.change(|local| local.end_certificate(id, certificate_state::GONE, Some(note(why))));
        self.shared.room().await;
    }

    /// The CA does not know the account any more: it is not handed out again, nor what hangs on it.
    ///
    /// A CA that keeps nothing over a restart would otherwise be asked for the same lost accounts for ever.
    pub async fn registration_gone(&self, registration: &Arc<Registration>) {
        if registration.gone.swap(true, Ordering::Relaxed) {
            return;
        }
        let mut first = false;
        self.shared.change(|local| {
            first = local.health.registrations_gone == 0;
            local.health.registrations_gone += 1;
            local.end_registration(registration.id);
        });
        if first {
            tracing::warn!(
                store = self.shared.store,
                account = registration.account.url,
                "the CA does not know this stored account any more; such accounts are dropped as they are met, with what \
                 hangs on them. If the CA has lost all its data, a new state database is quicker"
            );
        }
        self.shared.room().await;
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

/// What the clones and the writer task have in common.
pub(crate) struct Shared {
    /// The URL without its password.
    store: String,
    directory: String,
    place: String,
    options: StateOptions,
    backend: Box<dyn Backend>,
    clock: Clock,
    ca: i64,
    owner: AtomicI64,
    /// On `clock`: from then on others may think us dead, and nothing is handed out.
    valid_until: AtomicU64,
    next_object: AtomicU64,
    next_name: AtomicU64,
    local: Mutex<Local>,
    chains: objects::Chains,
    serials: serials::Serials,
    /// For the writer: something is due before its next tick.
    wake: Notify,
    /// From the writer: the queue became shorter, or a write failed.
    room: Notify,
    stop: CancellationToken,
    writer: Mutex<Option<JoinHandle<Result<(), StoreError>>>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("store", &self.store).finish_non_exhaustive()
    }
}

/// What lives in memory. Every operation under its lock is short and O(1).
struct Local {
    registrations: Vec<Arc<Registration>>,
    /// Accounts of claimed objects, beyond those in `registrations`: each key is parsed once.
    known: HashMap<i64, Weak<Registration>>,
    orders: Pool<ReadyOrder>,
    certificates: Pool<StoredCertificate>,
    limits: Limits,
    allowances: [Allowance; 3],
    /// Changes to be written.
    queue: Batch,
    /// How many changes the writer is writing.
    writing: usize,
    /// What the database had when it last said.
    totals: Totals,
    /// What the queue, and the writer's hands, will change about it.
    pending: Totals,
    /// What the database refuses to do at the moment, and why.
    refusal: Option<(&'static str, String)>,
    /// The writer task is gone: nothing will be written any more.
    closed: bool,
    health: Health,
}

/// A certificate on its way into pool and queue.
struct AddedCertificate {
    certificate: StoredCertificate,
    row: NewCertificateRow,
    chain: Option<ChainRow>,
}

impl Local {
    fn new(options: &StateOptions) -> Self {
        Self {
            registrations: Vec::new(),
            known: HashMap::new(),
            orders: Pool::new(options.pool),
            certificates: Pool::new(options.pool),
            limits: options.limits,
            allowances: [Allowance::default(); 3],
            queue: Batch::default(),
            writing: 0,
            totals: Totals::default(),
            pending: Totals::default(),
            refusal: None,
            closed: false,
            health: Health::default(),
        }
    }

    fn queued(&self) -> usize {
        self.queue.len() + self.writing
    }

    /// Into the bag of accounts; when it is full, in the place of any.
    fn add_registration(&mut self, registration: Arc<Registration>) {
        if self.registrations.len() < MOST_REGISTRATIONS {
            self.registrations.push(registration);
        } else {
            let index = rand::rng().random_range(0..self.registrations.len());
            self.registrations[index] = registration;
        }
    }

    fn add_certificate(&mut self, added: AddedCertificate) {
        let AddedCertificate { certificate, mut row, chain } = added;
        row.owned = !self.certificates.is_full();
        if row.owned {
            self.certificates.put(certificate);
        }
        self.queue.chains.extend(chain);
        self.queue.certificates.push(row);
        self.pending.certificates_live += 1;
    }

    fn end_order(&mut self, id: i64, note: Option<String>) {
        self.queue.failed.push(Ending { id, state: order_state::FAILED, reason: None, note });
        self.pending.orders_ready -= 1;
    }

    fn end_certificate(&mut self, id: i64, state: i16, note: Option<String>) {
        self.queue.ended.push(Ending { id, state, reason: None, note });
        self.pending.certificates_live -= 1;
    }

    /// What of it is claimed here ends here; what nobody has claimed ends in the database; others find out themselves.
    fn end_registration(&mut self, id: i64) {
        self.registrations.retain(|registration| registration.id != id);
        for order in self.orders.extract(|order| order.registration.id == id) {
            self.end_order(order.id, Some(WITH_REGISTRATION.into()));
        }
        for certificate in self.certificates.extract(|certificate| certificate.registration.id == id) {
            self.end_certificate(certificate.id, certificate_state::GONE, Some(WITH_REGISTRATION.into()));
        }
        self.queue.gone.push(id);
        self.pending.registrations -= 1;
    }

    /// Into the pool, unless its account was lost while it was being claimed.
    fn put_order(&mut self, order: ReadyOrder) {
        if order.registration.is_gone() {
            self.end_order(order.id, Some(WITH_REGISTRATION.into()));
        } else {
            self.orders.put(order);
        }
    }

    /// As [`Local::put_order`].
    fn put_certificate(&mut self, certificate: StoredCertificate) {
        if certificate.registration.is_gone() {
            self.end_certificate(certificate.id, certificate_state::GONE, Some(WITH_REGISTRATION.into()));
        } else {
            self.certificates.put(certificate);
        }
    }

    fn registration_of(&self, id: i64) -> Option<Arc<Registration>> {
        self.known.get(&id).and_then(Weak::upgrade)
    }

    fn remember(&mut self, registration: &Arc<Registration>) {
        // Forget those that nobody holds when their number could have doubled.
        if self.known.len() == self.known.capacity() {
            self.known.retain(|_, known| known.strong_count() > 0);
        }
        self.known.insert(registration.id, Arc::downgrade(registration));
    }
}

impl Shared {
    fn local(&self) -> MutexGuard<'_, Local> {
        // No operation under the lock can leave half a change behind.
        self.local.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, doing: &'static str, error: &sqlx::Error) -> StoreError {
        StoreError::Failed { store: self.store.clone(), doing, reason: reason(error) }
    }

    /// Owner and counter: unique over processes and restarts without asking anybody.
    fn next_id(&self) -> i64 {
        let counter = self.next_object.fetch_add(1, Ordering::Relaxed);
        (self.owner.load(Ordering::Relaxed) << 32) | i64::from(counter as u32)
    }

    fn is_fenced(&self) -> bool {
        self.clock.now() >= self.valid_until.load(Ordering::Relaxed)
    }

    /// Changes pools and queue together, and has the queue written when it is long enough.
    fn change(&self, change: impl FnOnce(&mut Local)) {
        let long = {
            let mut local = self.local();
            change(&mut local);
            local.queue.len() >= self.options.flush_items
        };
        if long {
            self.wake.notify_one();
        }
    }

    /// Waits while the queue is too long. What was put into it stays, even if the caller is gone by then.
    async fn room(&self) {
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

    fn claim<T: Claimable + Pooled>(
        self: &Arc<Self>,
        expires: impl Fn(&T) -> i64,
        expire: impl Fn(&mut Local, T),
    ) -> Option<Claim<T>> {
        if self.is_fenced() {
            return None;
        }
        let usable_at = self.clock.unix_now().saturating_add(USABLE_FOR);
        let (item, low) = {
            let mut local = self.local();
            let item = loop {
                let item = T::pool(&mut local).draw();
                match item {
                    Some(item) if expires(&item) <= usable_at => expire(&mut local, item),
                    item => break item,
                }
            };
            let pool = T::pool(&mut local);
            (item, pool.len() < self.options.claim_batch / 2 && !pool.dry)
        };
        if low {
            self.wake.notify_one();
        }
        item.map(|item| Claim::new(item, self.clone(), self.owner.load(Ordering::Relaxed)))
    }

    fn put_back<T: Pooled>(&self, item: T, owner: i64) {
        let mut local = self.local();
        // After an expulsion others have it.
        if owner == self.owner.load(Ordering::Relaxed) {
            T::pool(&mut local).put(item);
        }
    }

    fn unreserve(&self, kind: Kind) {
        self.local().allowances[kind.index()].available += 1;
    }

    fn new_certificate(&self, registration: &Arc<Registration>, new: NewCertificate) -> AddedCertificate {
        let (chain, unknown) = self.chains.intern(objects::above_leaf(&new.pem));
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

fn note(why: &str) -> String {
    why.chars().filter(|char| *char != '\0').take(LONGEST_NOTE).collect()
}

/// What a process can lack, as bits.
pub(crate) mod hunger {
    use super::Kind;

    pub(crate) const ORDERS: i64 = 1;
    pub(crate) const CERTIFICATES: i64 = 2;

    pub(crate) const fn of(kind: Kind) -> i64 {
        4 << kind.index()
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
