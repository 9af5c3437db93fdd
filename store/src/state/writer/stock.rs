//! The stock of this process: the objects that it claims from the database, the rights that it reserves below
//! the hard limits, and what it gives back for others.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use wec_acme::{Account, AccountKey};

use super::super::limits::limit_on;
use super::{Failed, Writer, within};
use crate::backend::{CertificateRow, GivenBack, Granted, OrderRow, RegistrationRow, Wanted, needs};
use crate::certificate::CertificateDetails;
use crate::state::limits::share;
use crate::state::pool::Pool;
use crate::state::{
    EXPIRED, ExclusiveRegistration, MOST_REGISTRATIONS, Object, REGISTRATIONS_AT_START, RESERVE_BATCH,
    ReadyOrder, Registration, StoredCertificate, USABLE_FOR,
};

impl Writer {
    /// Gives others a part of the stock that they need.
    pub(super) async fn share(&mut self) -> Result<(), Failed> {
        let wants_more = std::mem::take(&mut self.others_want_more);
        let items = {
            let mut local = self.shared.local();
            for kind in Object::ALL {
                let allowance = &mut local.allowances[kind.index()];
                let used = std::mem::take(&mut allowance.taken) > 0;
                if wants_more & needs::of(kind) != 0 {
                    let shared = share(usize::try_from(allowance.available).unwrap_or(0), used) as i64;
                    // The next write or beat reports it to the database.
                    allowance.available -= shared;
                    allowance.reserved -= shared;
                    allowance.exhausted |= shared > 0;
                    allowance.gave |= shared > 0;
                }
            }
            let exclusive = shared_of(&mut local.exclusive, wants_more & needs::EXCLUSIVE != 0);
            let orders = shared_of(&mut local.orders, wants_more & needs::ORDERS != 0);
            let certificates = shared_of(&mut local.certificates, wants_more & needs::CERTIFICATES != 0);
            given_back(exclusive, orders, certificates)
        };
        self.give_back(items).await
    }

    pub(super) async fn give_back_surplus(&mut self) -> Result<(), Failed> {
        let items = {
            let mut local = self.shared.local();
            given_back(local.exclusive.surplus(), local.orders.surplus(), local.certificates.surplus())
        };
        self.give_back(items).await
    }

    /// After a failure, the items are no longer here but still claimed in the database until a lease ends:
    /// they are unused, but never used twice.
    pub(super) async fn give_back(&mut self, items: GivenBack) -> Result<(), Failed> {
        if items.is_empty() {
            return Ok(());
        }
        // They must be stored before they are released.
        self.write().await?;
        let owner = self.shared.owner.load(Ordering::Relaxed);
        within(self.shared.backend.give_back(owner, &items)).await.map_err(|error| ("free claims", error))
    }

    pub(super) async fn claim(&mut self) -> Result<(), Failed> {
        let shared = self.shared.clone();
        let batch = shared.options.claim_batch;
        let usable_at = shared.ca_now().saturating_add(2 * USABLE_FOR);
        let owner = shared.owner.load(Ordering::Relaxed);
        let (exclusive, orders, certificates) = {
            let local = shared.local();
            let exclusive = wanted(&local.exclusive, batch).filter(|_| local.claims_registrations);
            (exclusive, wanted(&local.orders, batch), wanted(&local.certificates, batch))
        };
        if let Some(limit) = exclusive {
            let rows = within(shared.backend.claim_registrations(shared.ca, owner, limit))
                .await
                .map_err(|error| ("claim registrations", error))?;
            let dry = (rows.len() as i64) < limit;
            let usable = rows.into_iter().filter_map(|(row, suspect)| {
                let registration = self.registration_of(row)?;
                Some(ExclusiveRegistration { registration, suspect })
            });
            let usable: Vec<_> = usable.collect();
            let mut local = shared.local();
            local.exclusive.dry = dry;
            usable.into_iter().for_each(|account| local.exclusive.put(account));
        }
        if let Some(limit) = orders {
            let rows = within(shared.backend.claim_orders(shared.ca, owner, usable_at, limit))
                .await
                .map_err(|error| ("claim orders", error))?;
            let dry = (rows.len() as i64) < limit;
            let orders = self.orders_of(rows).await?;
            let ready = {
                let mut local = shared.local();
                local.orders.dry = dry;
                orders.into_iter().for_each(|order| local.put_order(order));
                local.totals.orders_ready > 0
            };
            if dry && ready {
                self.drop_expired(owner, usable_at, limit).await?;
            }
        }
        if let Some(limit) = certificates {
            let rows = within(shared.backend.claim_certificates(shared.ca, owner, usable_at, limit))
                .await
                .map_err(|error| ("claim certificates", error))?;
            let dry = (rows.len() as i64) < limit;
            let certificates = self.certificates_of(rows).await?;
            let mut local = shared.local();
            local.certificates.dry = dry;
            certificates.into_iter().for_each(|certificate| local.put_certificate(certificate));
        }
        Ok(())
    }

    /// Orders that have expired would otherwise be counted as ready forever.
    async fn drop_expired(&mut self, owner: i64, usable_at: i64, limit: i64) -> Result<(), Failed> {
        let shared = self.shared.clone();
        // Before the CA's clock is known, an order may only seem expired.
        if shared.ca_clock.get().is_none() {
            return Ok(());
        }
        let rows = within(shared.backend.claim_orders(shared.ca, owner, i64::MIN, limit))
            .await
            .map_err(|error| ("drop expired orders", error))?;
        // Others may have given some back in the meantime.
        let (usable, expired): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.expires > usable_at);
        let usable = self.orders_of(usable).await?;
        let mut local = shared.local();
        usable.into_iter().for_each(|order| local.put_order(order));
        for order in &expired {
            local.end_order(order.id, Some(EXPIRED.into()));
        }
        shared.orders_expired.fetch_add(expired.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    pub(super) async fn reserve(&mut self) -> Result<(), Failed> {
        let shared = self.shared.clone();
        let owner = shared.owner.load(Ordering::Relaxed);
        for kind in Object::ALL {
            let Some(limit) = limit_on(kind, shared.local().limits) else { continue };
            let index = kind.index();
            let allowance = shared.local().allowances[index];
            if allowance.exhausted || allowance.available >= RESERVE_BATCH / 2 {
                continue;
            }
            let want = RESERVE_BATCH.max(allowance.taken);
            let wanted = Wanted { kind: index, want, limit };
            let Granted { granted, made } = within(shared.backend.reserve(shared.ca, owner, wanted))
                .await
                .map_err(|error| ("reserve below a hard limit", error))?;
            let mut local = shared.local();
            let allowance = &mut local.allowances[index];
            allowance.reserved += granted;
            allowance.available += granted;
            allowance.exhausted = granted < want;
            allowance.made = made;
        }
        Ok(())
    }

    pub(super) async fn read_registrations(&mut self) -> Result<(), Failed> {
        let shared = self.shared.clone();
        let rows = within(shared.backend.newest_registrations(shared.ca, REGISTRATIONS_AT_START))
            .await
            .map_err(|error| ("read registrations", error))?;
        for registration in rows.into_iter().filter_map(|row| self.registration_of(row)) {
            let mut local = shared.local();
            local.remember(&registration);
            if local.registrations.len() < MOST_REGISTRATIONS {
                local.registrations.push(registration);
            }
        }
        Ok(())
    }

    /// None if the key is unusable, which is logged: the rest of the state is still usable.
    fn registration_of(&self, row: RegistrationRow) -> Option<Arc<Registration>> {
        let RegistrationRow { id, url, key } = row;
        match AccountKey::from_pkcs8(&key) {
            Ok(key) => Some(Arc::new(Registration::new(id, Account { url, key }))),
            Err(failure) => {
                tracing::warn!(store = self.shared.store, account = url, %failure, "a stored registration is unusable");
                None
            }
        }
    }

    async fn orders_of(&mut self, rows: Vec<OrderRow>) -> Result<Vec<ReadyOrder>, Failed> {
        self.learn_registrations(rows.iter().map(|row| row.registration)).await?;
        let local = self.shared.local();
        let order_of = |row: OrderRow| {
            Some(ReadyOrder {
                id: row.id,
                registration: local.registration_of(row.registration)?,
                url: row.url,
                finalize_url: row.finalize_url,
                names: words(&row.names),
                expires_unix: row.expires,
                profile: row.profile,
                authorize_ns: row.authorize_ns.and_then(|ns| u64::try_from(ns).ok()),
                suspect: row.suspect,
            })
        };
        Ok(rows.into_iter().filter_map(order_of).collect())
    }

    async fn certificates_of(&mut self, rows: Vec<CertificateRow>) -> Result<Vec<StoredCertificate>, Failed> {
        let shared = self.shared.clone();
        self.learn_registrations(rows.iter().map(|row| row.registration)).await?;
        let unknown: HashSet<i64> =
            rows.iter().map(|row| row.chain).filter(|id| shared.chains.by_id(*id).is_none()).collect();
        if !unknown.is_empty() {
            let ids: Vec<i64> = unknown.into_iter().collect();
            let chains =
                within(shared.backend.chains(&ids)).await.map_err(|error| ("read issuers' chains", error))?;
            for chain in chains {
                shared.chains.intern(&chain.pem);
            }
        }
        let local = shared.local();
        let certificate_of = |row: CertificateRow| {
            let registration = local.registration_of(row.registration)?;
            let details = CertificateDetails {
                issuer: row.issuer,
                serial: row.serial,
                ari_id: row.ari_id,
                names: words(&row.names),
                leaf_der: row.leaf,
                chain: shared.chains.by_id(row.chain)?,
                key_pkcs8: row.key,
                not_before_unix: row.not_before,
                not_after_unix: row.not_after,
                url: row.url,
            };
            Some(StoredCertificate {
                id: row.id,
                registration,
                suspect: row.suspect,
                details: Arc::new(details),
            })
        };
        Ok(rows.into_iter().filter_map(certificate_of).collect())
    }

    /// Loads the accounts of claimed objects.
    async fn learn_registrations(&mut self, ids: impl Iterator<Item = i64>) -> Result<(), Failed> {
        let shared = self.shared.clone();
        let unknown: HashSet<i64> = {
            let local = shared.local();
            ids.filter(|id| local.registration_of(*id).is_none()).collect()
        };
        if unknown.is_empty() {
            return Ok(());
        }
        let ids: Vec<i64> = unknown.into_iter().collect();
        let rows = within(shared.backend.registrations(&ids))
            .await
            .map_err(|error| ("read registrations", error))?;
        for registration in rows.into_iter().filter_map(|row| self.registration_of(row)) {
            let mut local = shared.local();
            local.remember(&registration);
            local.add_registration(registration);
        }
        Ok(())
    }
}

/// Number to claim, if any: a pool below half a batch gets one batch, within its bound.
fn wanted<T>(pool: &Pool<T>, batch: usize) -> Option<i64> {
    let wanted = batch.min(pool.room());
    (!pool.dry && pool.len() < batch.div_ceil(2)).then_some(wanted as i64)
}

/// Takes the part of a pool that goes to others; until the next beat it is theirs to claim. Also starts a new
/// interval of counting use.
fn shared_of<T>(pool: &mut Pool<T>, wants_more: bool) -> Vec<T> {
    let used = std::mem::take(&mut pool.drawn) > 0;
    if !wants_more {
        return Vec::new();
    }
    let items = pool.take(share(pool.len(), used));
    pool.dry |= !items.is_empty();
    items
}

pub(super) fn given_back(
    registrations: Vec<ExclusiveRegistration>,
    orders: Vec<ReadyOrder>,
    certificates: Vec<StoredCertificate>,
) -> GivenBack {
    let mut items = GivenBack::default();
    for account in registrations {
        if account.suspect { &mut items.suspect_registrations } else { &mut items.registrations }
            .push(account.registration.id);
    }
    for order in orders {
        if order.suspect { &mut items.suspect_orders } else { &mut items.orders }.push(order.id);
    }
    for certificate in certificates {
        if certificate.suspect { &mut items.suspect_certificates } else { &mut items.certificates }
            .push(certificate.id);
    }
    items
}

/// Names are stored separated by blanks: neither a domain name nor an address contains one.
fn words(names: &str) -> Vec<String> {
    names.split_whitespace().map(str::to_owned).collect()
}
