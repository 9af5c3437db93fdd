//! What runs left at a CA, for `wec clean`: certificates, orders and accounts, read in pages, and ended one by one.
//!
//! No claim is needed: `wec clean` is refused while a process uses the state.

use wec_acme::{Account, AccountKey};

use crate::backend::{Page, certificate_state};
use crate::catalogue::{Catalogue, StoredCa};
use crate::error::StoreError;

/// Rows that are in memory at a time.
const PAGE: i64 = 256;

/// How much is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Certificates that are neither revoked nor expired; those that were replaced by a renewal are among them.
    pub certificates: u64,
    /// Orders, in any state, whose authorizations were not deactivated.
    pub orders: u64,
    /// Accounts.
    pub accounts: u64,
}

/// A stored account. Its key may be unusable.
#[derive(Clone, Debug)]
pub struct AccountLeft {
    /// Its id in the database.
    pub id: i64,
    /// The account; why its key is unusable.
    pub account: Result<Account, String>,
}

/// A certificate that is neither revoked nor expired.
#[derive(Clone, Debug)]
pub struct CertificateLeft {
    /// Its id in the database.
    pub id: i64,
    /// The certificate.
    pub leaf_der: Vec<u8>,
    /// Its private key.
    pub key_pkcs8: Vec<u8>,
    /// The account that ordered it.
    pub account: AccountLeft,
}

/// An order.
#[derive(Clone, Debug)]
pub struct OrderLeft {
    /// Its id in the database.
    pub id: i64,
    /// Its URL.
    pub url: String,
    /// Its account.
    pub account: AccountLeft,
}

impl Catalogue {
    /// How much is left of a CA. `now` is in seconds since the Unix epoch.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn left(&self, stored: &StoredCa, now: i64) -> Result<Left, StoreError> {
        let counts = self.backend.count_left(stored.id, now).await;
        let (certificates, orders, accounts) =
            counts.map_err(|error| self.failed("count what is left", &error))?;
        let count = |number: i64| u64::try_from(number).unwrap_or(0);
        Ok(Left { certificates: count(certificates), orders: count(orders), accounts: count(accounts) })
    }

    /// The next certificates with ids above `after`, at most 256; none at the end.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn certificates_left(
        &self,
        stored: &StoredCa,
        now: i64,
        after: i64,
    ) -> Result<Vec<CertificateLeft>, StoreError> {
        let page = Page { after, limit: PAGE };
        let rows = self.backend.certificates_left(stored.id, now, page).await;
        let rows = rows.map_err(|error| self.failed("read certificates", &error))?;
        let left = rows.into_iter().map(|(id, leaf_der, key_pkcs8, account, url, key)| CertificateLeft {
            id,
            leaf_der,
            key_pkcs8,
            account: account_left(account, url, &key),
        });
        Ok(left.collect())
    }

    /// The next orders with ids above `after`, at most 256; none at the end.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn orders_left(&self, stored: &StoredCa, after: i64) -> Result<Vec<OrderLeft>, StoreError> {
        let rows = self.backend.orders_left(stored.id, Page { after, limit: PAGE }).await;
        let rows = rows.map_err(|error| self.failed("read orders", &error))?;
        let left = rows.into_iter().map(|(id, url, account, account_url, key)| OrderLeft {
            id,
            url,
            account: account_left(account, account_url, &key),
        });
        Ok(left.collect())
    }

    /// The next accounts with ids above `after`, at most 256; none at the end.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn accounts_left(&self, stored: &StoredCa, after: i64) -> Result<Vec<AccountLeft>, StoreError> {
        let rows = self.backend.registrations_left(stored.id, Page { after, limit: PAGE }).await;
        let rows = rows.map_err(|error| self.failed("read accounts", &error))?;
        Ok(rows.into_iter().map(|(id, url, key)| account_left(id, url, &key)).collect())
    }

    /// The certificate was revoked.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end_revoked(&self, stored: &StoredCa, certificate: i64) -> Result<(), StoreError> {
        let ended =
            self.backend.end_certificate_left(stored.id, certificate, certificate_state::REVOKED, None);
        ended.await.map_err(|error| self.failed("end a certificate", &error))
    }

    /// The CA does not know the certificate.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end_unknown(&self, stored: &StoredCa, certificate: i64) -> Result<(), StoreError> {
        let note = Some("the CA does not know it");
        let ended = self.backend.end_certificate_left(stored.id, certificate, certificate_state::GONE, note);
        ended.await.map_err(|error| self.failed("end a certificate", &error))
    }

    /// The order's authorizations were deactivated, or the CA does not know it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end_order(&self, stored: &StoredCa, order: i64, note: &str) -> Result<(), StoreError> {
        let ended = self.backend.end_order_left(stored.id, order, note).await;
        ended.map_err(|error| self.failed("end an order", &error))
    }

    /// The account was deactivated, or the CA does not know it. Its objects end with it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end_account(&self, stored: &StoredCa, account: i64, note: &str) -> Result<(), StoreError> {
        let ended = self.backend.end_registration_left(stored.id, account, note).await;
        ended.map_err(|error| self.failed("end an account", &error))
    }
}

fn account_left(id: i64, url: String, key: &[u8]) -> AccountLeft {
    let key = AccountKey::from_pkcs8(key);
    AccountLeft { id, account: key.map(|key| Account { url, key }).map_err(|failure| failure.message) }
}
