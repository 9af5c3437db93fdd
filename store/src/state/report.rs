//! Reports of chains: objects that they made, used up, or found missing at the CA.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use wec_acme::{Account, Order};
use wec_record::Object;

use super::claim::Claim;
use super::objects::{ExclusiveRegistration, NewCertificate, ReadyOrder, Registration, StoredCertificate};
use super::reservation::Reservation;
use super::{EXPIRED, LONGEST_NOTE, State};
use crate::backend::{ChangedRegistrationRow, Ending, NewOrderRow, NewRegistrationRow, certificate_state};

impl State {
    /// A shared account was made. Returns it as stored.
    pub async fn add_registration(
        &self,
        reservation: Reservation,
        account: &Account,
        contact: &[String],
    ) -> Arc<Registration> {
        let (registration, row) = self.new_registration(reservation, account, contact);
        self.shared.change(|local| {
            local.queue.registrations.push(row);
            local.pending.registrations += 1;
            local.remember(&registration);
            local.add_registration(registration.clone());
        });
        self.shared.room().await;
        registration
    }

    /// An exclusive account was made: one chain at a time claims it.
    pub async fn add_exclusive_registration(
        &self,
        reservation: Reservation,
        account: &Account,
        contact: &[String],
    ) {
        let (registration, row) = self.new_registration(reservation, account, contact);
        self.shared.change(|local| {
            let owned = !local.exclusive.is_full();
            if owned {
                local.exclusive.put(ExclusiveRegistration { registration, suspect: false });
            }
            local.queue.registrations.push(NewRegistrationRow { exclusive: true, owned, ..row });
            local.pending.registrations += 1;
        });
        self.shared.room().await;
    }

    fn new_registration(
        &self,
        reservation: Reservation,
        account: &Account,
        contact: &[String],
    ) -> (Arc<Registration>, NewRegistrationRow) {
        reservation.spend(Object::Registration);
        let id = self.shared.next_id();
        let row = NewRegistrationRow {
            id,
            url: account.url.clone(),
            key: account.key.to_pkcs8(),
            contact: contact.join(" "),
            exclusive: false,
            owned: false,
        };
        (Arc::new(Registration::new(id, account.clone())), row)
    }

    /// The account has another key.
    pub async fn registration_rekeyed(&self, claim: Claim<ExclusiveRegistration>, account: Account) {
        let id = claim.registration.id;
        let key = Some(account.key.to_pkcs8());
        self.shared.change(|local| {
            local.queue.changed.push(ChangedRegistrationRow { id, key, contact: None });
        });
        let registration = Arc::new(Registration::new(id, account));
        claim.replace(ExclusiveRegistration { registration, suspect: false });
        self.shared.room().await;
    }

    /// The account has other contacts.
    pub async fn registration_recontacted(&self, claim: Claim<ExclusiveRegistration>, contact: &[String]) {
        let id = claim.registration.id;
        let contact = Some(contact.join(" "));
        self.shared.change(|local| {
            local.queue.changed.push(ChangedRegistrationRow { id, key: None, contact });
        });
        let registration = Arc::clone(&claim.registration);
        claim.replace(ExclusiveRegistration { registration, suspect: false });
        self.shared.room().await;
    }

    /// The account no longer exists at the CA.
    pub async fn registration_ended(&self, registration: Claim<ExclusiveRegistration>) {
        let ended = registration.conclude();
        self.shared.change(|local| local.end_registration(ended.registration.id));
        self.shared.room().await;
    }

    /// An order became ready. `profile` is the certificate profile in newOrder, empty without one;
    /// `authorize_ns` is the time since newOrder, if it was measured.
    pub async fn add_order(
        &self,
        reservation: Reservation,
        registration: &Arc<Registration>,
        order: &Order,
        profile: &str,
        authorize_ns: Option<u64>,
    ) {
        reservation.spend(Object::Order);
        let ready = ReadyOrder {
            id: self.shared.next_id(),
            registration: registration.clone(),
            url: order.url.clone(),
            finalize_url: order.finalize.clone(),
            names: order.identifiers.iter().map(|identifier| identifier.value().into_owned()).collect(),
            expires_unix: order.expires_unix().unwrap_or(i64::MAX),
            profile: profile.to_owned(),
            authorize_ns,
            suspect: false,
        };
        let mut row = NewOrderRow {
            id: ready.id,
            registration: registration.id,
            url: order.url.clone(),
            finalize_url: order.finalize.clone(),
            names: ready.names.join(" "),
            expires: ready.expires_unix,
            profile: ready.profile.clone(),
            authorize_ns: authorize_ns.and_then(|ns| i64::try_from(ns).ok()),
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
        reservation.spend(Object::Certificate);
        let order = order.conclude();
        let added = self.shared.new_certificate(&order.registration, new);
        self.shared.change(|local| {
            local.queue.issued.push(order.id);
            local.pending.orders_ready -= 1;
            local.add_certificate(added);
        });
        self.shared.room().await;
    }

    /// The order is unusable.
    pub async fn order_failed(&self, order: Claim<ReadyOrder>, why: &str) {
        let order = order.conclude();
        self.shared.change(|local| local.end_order(order.id, Some(note(why))));
        self.shared.room().await;
    }

    /// The order expires too soon to be used.
    pub async fn order_expired(&self, order: Claim<ReadyOrder>) {
        self.shared.orders_expired.fetch_add(1, Ordering::Relaxed);
        self.order_failed(order, EXPIRED).await;
    }

    /// The certificate was renewed; the new one belongs to `registration`.
    pub async fn certificate_replaced(
        &self,
        old: Claim<StoredCertificate>,
        reservation: Reservation,
        registration: &Arc<Registration>,
        new: NewCertificate,
    ) {
        reservation.spend(Object::Certificate);
        let old = old.conclude();
        let added = self.shared.new_certificate(registration, new);
        self.shared.change(|local| {
            local.end_certificate(old.id, certificate_state::REPLACED, None);
            local.add_certificate(added);
        });
        self.shared.room().await;
    }

    /// A certificate was issued for an order that was never stored.
    pub async fn certificate_issued(
        &self,
        reservation: Reservation,
        registration: &Arc<Registration>,
        new: NewCertificate,
    ) {
        reservation.spend(Object::Certificate);
        let added = self.shared.new_certificate(registration, new);
        self.shared.change(|local| local.add_certificate(added));
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

    /// The certificate is unusable, for example because an interrupted chain revoked it.
    pub async fn certificate_gone(&self, certificate: Claim<StoredCertificate>, why: &str) {
        let id = certificate.conclude().id;
        self.shared.change(|local| local.end_certificate(id, certificate_state::GONE, Some(note(why))));
        self.shared.room().await;
    }

    /// The CA no longer knows the account: neither the account nor its objects are handed out again.
    ///
    /// Otherwise a CA that loses its data at a restart would get requests for the same lost accounts again
    /// and again.
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
                "the CA no longer knows this stored account; such accounts are dropped when they are used, with their \
                 objects. If the CA has lost all its data, use a new state database"
            );
        }
        self.shared.room().await;
    }
}

fn note(why: &str) -> String {
    why.chars().filter(|char| *char != '\0').take(LONGEST_NOTE).collect()
}
