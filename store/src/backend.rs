//! The operations that [`State`](crate::State) needs from a database, few and large: rows in, rows out.
//!
//! Decisions about which rows to keep, claim or give back are made elsewhere. One caller (the state's writer
//! task) uses a backend, one call at a time; other processes use the same database through their own.

mod catalogue;
mod common;
mod leftovers;
mod migrations;
mod postgres;
mod sqlite;

use std::sync::Arc;

use crate::challenge::BoxFuture;
use crate::error::StoreError;
use crate::url::StoreUrl;

pub(crate) use self::catalogue::Catalogued;
pub(crate) use self::leftovers::{Leftovers, Page};

/// The result of a backend's method.
pub(crate) type Answer<'a, T> = BoxFuture<'a, Result<T, sqlx::Error>>;

/// Connects to the database at `url` and migrates its schema.
pub(crate) async fn open(url: &StoreUrl) -> Result<Box<dyn Backend>, StoreError> {
    Ok(match url {
        StoreUrl::Sqlite { .. } => Box::new(sqlite::SqliteBackend::open(url).await?),
        StoreUrl::Postgres { .. } => Box::new(postgres::PostgresBackend::open(url).await?),
    })
}

/// The same, for use outside of a run.
pub(crate) async fn open_catalogued(url: &StoreUrl) -> Result<Box<dyn Catalogued>, StoreError> {
    Ok(match url {
        StoreUrl::Sqlite { .. } => Box::new(sqlite::SqliteBackend::open(url).await?),
        StoreUrl::Postgres { .. } => Box::new(postgres::PostgresBackend::open(url).await?),
    })
}

/// A database of state. Every method is one transaction.
pub(crate) trait Backend: Send + Sync {
    /// Registers a new owner for the CA at `directory`.
    fn enrol<'a>(&'a self, directory: &'a str, place: &'a str, lease_ms: i64) -> Answer<'a, Enrolment>;

    /// Extends the owner's lease and returns the numbers of all owners.
    fn beat<'a>(&'a self, standing: &'a Standing) -> Answer<'a, Beat>;

    /// Writes everything in `batch` or nothing. Writing a batch again changes nothing, so it can be retried
    /// after a lost answer.
    fn write<'a>(&'a self, standing: &'a Standing, batch: &'a Batch) -> Answer<'a, Written>;

    /// Reserves rights below a limit over all owners; near the limit at most the owner's fair share.
    fn reserve(&self, ca: i64, owner: i64, wanted: Wanted) -> Answer<'_, Granted>;

    /// Claims up to `limit` free exclusive registrations.
    fn claim_registrations(
        &self,
        ca: i64,
        owner: i64,
        limit: i64,
    ) -> Answer<'_, Vec<ExclusiveRegistrationRow>>;

    /// Claims up to `limit` free orders that do not expire before `usable_at`.
    fn claim_orders(&self, ca: i64, owner: i64, usable_at: i64, limit: i64) -> Answer<'_, Vec<OrderRow>>;

    /// Claims up to `limit` free certificates that do not expire before `usable_at`.
    fn claim_certificates(
        &self,
        ca: i64,
        owner: i64,
        usable_at: i64,
        limit: i64,
    ) -> Answer<'_, Vec<CertificateRow>>;

    /// Releases claims of `owner`. Objects that it does not own, or that have ended, are not changed.
    fn give_back<'a>(&'a self, owner: i64, items: &'a GivenBack) -> Answer<'a, ()>;

    /// The newest shared registrations of a CA.
    fn newest_registrations(&self, ca: i64, limit: i64) -> Answer<'_, Vec<RegistrationRow>>;

    /// Registrations by id.
    fn registrations<'a>(&'a self, ids: &'a [i64]) -> Answer<'a, Vec<RegistrationRow>>;

    /// Chains by id.
    fn chains<'a>(&'a self, ids: &'a [i64]) -> Answer<'a, Vec<ChainRow>>;

    /// All owners of a CA.
    fn owners(&self, ca: i64) -> Answer<'_, Vec<OwnerRow>>;

    /// Removes an owner and releases its claims as suspect; with `only_expired`, only when its lease has
    /// expired.
    fn release(&self, ca: i64, owner: i64, only_expired: bool) -> Answer<'_, Released>;

    /// Number of statements executed so far, including transaction control.
    fn statements(&self) -> u64;

    /// Closes the connections.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// A new owner.
pub(crate) struct Enrolment {
    pub(crate) ca: i64,
    pub(crate) owner: i64,
}

/// An owner's report with every heartbeat.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    pub(crate) ca: i64,
    pub(crate) owner: i64,
    pub(crate) lease_ms: i64,
    /// Reserved below the hard limits and not yet stored as made. Totals, so that a repeated report changes
    /// nothing.
    pub(crate) reserved: [i64; 3],
    /// The kinds that it needs: bits of [`needs`].
    pub(crate) wants_more: i64,
}

/// The numbers of all owners.
#[derive(Debug)]
pub(crate) struct Beat {
    /// Whether the owner is still registered; if not, others have its claims.
    pub(crate) alive: bool,
    pub(crate) totals: Totals,
    /// The kinds that other owners need, combined with OR.
    pub(crate) others_want_more: i64,
}

/// Counts over all processes of one CA.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) registrations: i64,
    pub(crate) orders_ready: i64,
    pub(crate) certificates_live: i64,
    pub(crate) certificates_revoked: i64,
}

impl std::ops::AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.registrations += other.registrations;
        self.orders_ready += other.orders_ready;
        self.certificates_live += other.certificates_live;
        self.certificates_revoked += other.certificates_revoked;
    }
}

impl std::ops::SubAssign for Totals {
    fn sub_assign(&mut self, other: Self) {
        self.registrations -= other.registrations;
        self.orders_ready -= other.orders_ready;
        self.certificates_live -= other.certificates_live;
        self.certificates_revoked -= other.certificates_revoked;
    }
}

impl From<(i64, i64, i64, i64)> for Totals {
    fn from(
        (registrations, orders_ready, certificates_live, certificates_revoked): (i64, i64, i64, i64),
    ) -> Self {
        Self { registrations, orders_ready, certificates_live, certificates_revoked }
    }
}

/// The result of a write.
#[derive(Debug)]
pub(crate) enum Written {
    /// Everything is stored.
    Stored {
        totals: Totals,
        /// Ids of certificates that were not stored, because their issuer and serial already exist.
        duplicates: Vec<i64>,
    },
    /// Nothing is stored: the owner was declared dead in the meantime.
    Expelled,
}

/// The kinds that a process can need, as bits.
pub(crate) mod needs {
    use crate::Object;

    pub(crate) const ORDERS: i64 = 1;
    pub(crate) const CERTIFICATES: i64 = 2;
    pub(crate) const EXCLUSIVE: i64 = 32;

    pub(crate) const fn of(kind: Object) -> i64 {
        4 << kind.index()
    }
}

/// Changes that are written together.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) registrations: Vec<NewRegistrationRow>,
    pub(crate) orders: Vec<NewOrderRow>,
    pub(crate) chains: Vec<ChainRow>,
    pub(crate) certificates: Vec<NewCertificateRow>,
    /// Orders that were issued.
    pub(crate) issued: Vec<i64>,
    /// Orders that failed, with the reasons.
    pub(crate) failed: Vec<Ending>,
    /// Certificates that were revoked.
    pub(crate) revoked: Vec<Ending>,
    /// Certificates that ended in other ways.
    pub(crate) ended: Vec<Ending>,
    /// Registrations with another key or other contacts.
    pub(crate) changed: Vec<ChangedRegistrationRow>,
    /// Registrations that the CA no longer knows; their unclaimed objects end with them.
    pub(crate) gone: Vec<i64>,
}

/// The note of objects that ended with their registration.
pub(crate) const WITH_REGISTRATION: &str = "the CA no longer knows its account";

impl Batch {
    /// Number of changes.
    pub(crate) fn len(&self) -> usize {
        self.registrations.len()
            + self.orders.len()
            + self.certificates.len()
            + self.issued.len()
            + self.failed.len()
            + self.revoked.len()
            + self.ended.len()
            + self.changed.len()
            + self.gone.len()
    }

    /// The change of the totals.
    pub(crate) fn deltas(&self) -> Totals {
        let [orders, issued, failed, certificates, revoked, ended] = [
            self.orders.len(),
            self.issued.len(),
            self.failed.len(),
            self.certificates.len(),
            self.revoked.len(),
            self.ended.len(),
        ]
        .map(|number| number as i64);
        Totals {
            registrations: self.registrations.len() as i64 - self.gone.len() as i64,
            orders_ready: orders - issued - failed,
            certificates_live: certificates - revoked - ended,
            certificates_revoked: revoked,
        }
    }
}

/// An order or a certificate that has ended, with the reason.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) id: i64,
    /// [`order_state`] or [`certificate_state`].
    pub(crate) state: i16,
    /// RFC 5280 §5.3.1, of a revocation.
    pub(crate) reason: Option<i16>,
    pub(crate) note: Option<String>,
}

/// The `state` column of `orders`; 0 is ready, 1 issued, 3 ended by `wec clean`.
pub(crate) mod order_state {
    pub(crate) const FAILED: i16 = 2;
}

/// The `state` column of `certificates`; 0 is live.
pub(crate) mod certificate_state {
    pub(crate) const REPLACED: i16 = 1;
    pub(crate) const REVOKED: i16 = 2;
    pub(crate) const GONE: i16 = 3;
}

#[derive(Debug)]
pub(crate) struct NewRegistrationRow {
    pub(crate) id: i64,
    pub(crate) url: String,
    pub(crate) key: Vec<u8>,
    pub(crate) contact: String,
    /// Whether only one chain at a time may use it.
    pub(crate) exclusive: bool,
    /// Whether it was added to the local pool of exclusive registrations, and so is claimed from the start.
    pub(crate) owned: bool,
}

/// An exclusive registration that its chain has changed; none is what stays as it was.
#[derive(Debug)]
pub(crate) struct ChangedRegistrationRow {
    pub(crate) id: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) contact: Option<String>,
}

#[derive(Debug)]
pub(crate) struct NewOrderRow {
    pub(crate) id: i64,
    pub(crate) registration: i64,
    pub(crate) url: String,
    pub(crate) finalize_url: String,
    pub(crate) names: String,
    pub(crate) expires: i64,
    pub(crate) profile: String,
    pub(crate) authorize_ns: Option<i64>,
    /// Whether it was added to the local pool, and so is claimed from the start.
    pub(crate) owned: bool,
}

#[derive(Debug)]
pub(crate) struct NewCertificateRow {
    pub(crate) id: i64,
    pub(crate) registration: i64,
    pub(crate) details: Arc<crate::certificate::CertificateDetails>,
    pub(crate) names: String,
    /// Whether it was added to the local pool, and so is claimed from the start.
    pub(crate) owned: bool,
}

#[derive(Debug)]
pub(crate) struct RegistrationRow {
    pub(crate) id: i64,
    pub(crate) url: String,
    pub(crate) key: Vec<u8>,
}

impl From<(i64, String, Vec<u8>)> for RegistrationRow {
    fn from((id, url, key): (i64, String, Vec<u8>)) -> Self {
        Self { id, url, key }
    }
}

/// A registration that was claimed, and whether it is suspect.
pub(crate) type ExclusiveRegistrationRow = (RegistrationRow, bool);

fn exclusive_registration((id, url, key, suspect): (i64, String, Vec<u8>, bool)) -> ExclusiveRegistrationRow {
    (RegistrationRow { id, url, key }, suspect)
}

#[derive(Debug)]
pub(crate) struct OrderRow {
    pub(crate) id: i64,
    pub(crate) registration: i64,
    pub(crate) url: String,
    pub(crate) finalize_url: String,
    pub(crate) names: String,
    pub(crate) expires: i64,
    pub(crate) profile: String,
    pub(crate) authorize_ns: Option<i64>,
    pub(crate) suspect: bool,
}

/// The columns of [`OrderRow`], in this order.
pub(crate) type OrderColumns = (i64, i64, String, String, String, i64, String, Option<i64>, bool);

impl From<OrderColumns> for OrderRow {
    fn from(columns: OrderColumns) -> Self {
        let (id, registration, url, finalize_url, names, expires, profile, authorize_ns, suspect) = columns;
        Self { id, registration, url, finalize_url, names, expires, profile, authorize_ns, suspect }
    }
}

#[derive(Debug)]
pub(crate) struct CertificateRow {
    pub(crate) id: i64,
    pub(crate) registration: i64,
    pub(crate) issuer: String,
    pub(crate) serial: String,
    pub(crate) ari_id: String,
    pub(crate) names: String,
    pub(crate) leaf: Vec<u8>,
    pub(crate) chain: i64,
    pub(crate) key: Vec<u8>,
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
    pub(crate) url: String,
    pub(crate) suspect: bool,
}

/// The columns of [`CertificateRow`], in this order.
pub(crate) type CertificateColumns =
    (i64, i64, String, String, String, String, Vec<u8>, i64, Vec<u8>, i64, i64, String, bool);

impl From<CertificateColumns> for CertificateRow {
    fn from(
        (
            id,
            registration,
            issuer,
            serial,
            ari_id,
            names,
            leaf,
            chain,
            key,
            not_before,
            not_after,
            url,
            suspect,
        ): CertificateColumns,
    ) -> Self {
        Self {
            id,
            registration,
            issuer,
            serial,
            ari_id,
            names,
            leaf,
            chain,
            key,
            not_before,
            not_after,
            url,
            suspect,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct ChainRow {
    pub(crate) id: i64,
    pub(crate) pem: Arc<[u8]>,
}

/// An owner as stored.
#[derive(Debug)]
pub(crate) struct OwnerRow {
    pub(crate) id: i64,
    pub(crate) place: String,
    pub(crate) expired: bool,
}

/// Claims to release.
#[derive(Debug, Default)]
pub(crate) struct GivenBack {
    pub(crate) registrations: Vec<i64>,
    pub(crate) suspect_registrations: Vec<i64>,
    pub(crate) orders: Vec<i64>,
    pub(crate) suspect_orders: Vec<i64>,
    pub(crate) certificates: Vec<i64>,
    pub(crate) suspect_certificates: Vec<i64>,
}

impl GivenBack {
    pub(crate) fn is_empty(&self) -> bool {
        self.registrations.is_empty()
            && self.suspect_registrations.is_empty()
            && self.orders.is_empty()
            && self.suspect_orders.is_empty()
            && self.certificates.is_empty()
            && self.suspect_certificates.is_empty()
    }
}

/// What a dead owner held.
#[derive(Debug, Default)]
pub(crate) struct Released {
    pub(crate) registrations: u64,
    pub(crate) orders: u64,
    pub(crate) certificates: u64,
}

/// A request for a reservation below a limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// An index of [`Object`](crate::Object).
    pub(crate) kind: usize,
    /// Largest number to reserve.
    pub(crate) want: i64,
    /// The limit over all owners.
    pub(crate) limit: i64,
}

/// The result of a reservation below a hard limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) granted: i64,
    /// Total number made, over all owners.
    pub(crate) made: i64,
}

/// `(made, reserved by all owners, owners)` against `limit`: how many of `want` may be reserved.
///
/// Near the limit no owner gets more than its share of the rest, so that several processes reach it together.
pub(crate) fn grant(want: i64, limit: i64, made: i64, reserved: i64, owners: i64) -> i64 {
    let left = (limit - made - reserved).max(0);
    let owners = owners.max(1);
    want.min((left + owners - 1) / owners).max(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_up_to_the_limit_and_a_fair_share_near_it() {
        // want, limit, made, reserved, owners => granted
        for (want, limit, made, reserved, owners, granted) in [
            (64, 1000, 0, 0, 1, 64),
            (64, 1000, 990, 0, 1, 10),
            (64, 1000, 990, 10, 1, 0),
            (64, 1000, 990, 4, 2, 3),
            (64, 1000, 999, 0, 8, 1),
            (64, 1000, 2000, 0, 1, 0),
            (0, 1000, 0, 0, 1, 0),
            (64, 0, 0, 0, 0, 0),
        ] {
            assert_eq!(
                grant(want, limit, made, reserved, owners),
                granted,
                "{want} {limit} {made} {reserved} {owners}"
            );
        }
    }
}
