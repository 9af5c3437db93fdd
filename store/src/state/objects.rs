//! The objects that chains get from the state and report to it.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use wec_acme::Account;

use crate::certificate::CertificateDetails;

/// An account at the CA. Any number of chains share it, because signing does not use it up.
#[derive(Debug)]
pub struct Registration {
    /// Its id in the database.
    pub id: i64,
    /// The account.
    pub account: Account,
    /// The CA no longer knows it.
    pub(super) gone: AtomicBool,
    /// End of its rest because of a rate limit, nanoseconds of the state's clock; 0 if it does not rest.
    pub(super) rests_until: AtomicU64,
}

impl Registration {
    pub(super) const fn new(id: i64, account: Account) -> Self {
        Self { id, account, gone: AtomicBool::new(false), rests_until: AtomicU64::new(0) }
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }
}

/// An exclusive account: one chain at a time uses it, over all processes, to change or end it. It has no
/// orders and no certificates, because it is never shared.
#[derive(Clone, Debug)]
pub struct ExclusiveRegistration {
    /// The account.
    pub registration: Arc<Registration>,
    /// Suspect: a chain used it with an unknown result. Ask the CA first.
    pub suspect: bool,
}

/// An order whose authorizations are valid and whose CSR has not been sent.
#[derive(Clone, Debug)]
pub struct ReadyOrder {
    /// Its id in the database.
    pub id: i64,
    /// Its account.
    pub registration: Arc<Registration>,
    /// The order.
    pub url: String,
    /// URL for the CSR.
    pub finalize_url: String,
    /// The identifiers' values.
    pub names: Vec<String>,
    /// Expiry, seconds since the Unix epoch; `i64::MAX` if the CA did not give it.
    pub expires_unix: i64,
    /// The certificate profile in newOrder; empty without one.
    pub profile: String,
    /// Time from newOrder to ready, nanoseconds; none if it was not measured.
    pub authorize_ns: Option<u64>,
    /// Suspect: a chain used it with an unknown result. Ask the CA first.
    pub suspect: bool,
}

/// A certificate from a chain.
#[derive(Debug)]
pub struct NewCertificate {
    /// The issuer's name, unique for this CA, for example a digest of its key: serials are unique per issuer.
    pub issuer: String,
    /// The serial number in hex.
    pub serial: String,
    /// The certificate's identifier for renewal information (RFC 9773 §4.1).
    pub ari_id: String,
    /// The names in it.
    pub names: Vec<String>,
    /// The leaf certificate.
    pub leaf_der: Vec<u8>,
    /// The chain as downloaded, leaf first.
    pub pem: Vec<u8>,
    /// Its private key, PKCS#8 without encryption.
    pub key_pkcs8: Vec<u8>,
    /// Seconds since the Unix epoch.
    pub not_before_unix: i64,
    /// Seconds since the Unix epoch.
    pub not_after_unix: i64,
    /// Where the CA offers it.
    pub url: String,
}

/// A stored certificate that is neither revoked nor replaced.
#[derive(Clone, Debug)]
pub struct StoredCertificate {
    /// Its id in the database.
    pub id: i64,
    /// Its account.
    pub registration: Arc<Registration>,
    /// Suspect: a chain began to revoke or renew it with an unknown result. Ask the CA first.
    pub suspect: bool,
    pub(crate) details: Arc<CertificateDetails>,
}

impl Deref for StoredCertificate {
    type Target = CertificateDetails;

    fn deref(&self) -> &CertificateDetails {
        &self.details
    }
}
