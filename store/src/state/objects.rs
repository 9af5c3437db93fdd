//! What chains get from the state and give to it.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use wec_acme::Account;

use crate::certificate::CertificateDetails;

/// An account at the CA. Shared by any number of chains: signing uses nothing up.
#[derive(Debug)]
pub struct Registration {
    /// Its id in the database.
    pub id: i64,
    /// The account.
    pub account: Account,
    /// The CA has said that it does not know it.
    pub(super) gone: AtomicBool,
    /// Until when a limit of the CA is about it, nanoseconds of the state's clock; 0 for never.
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

/// An account that one chain holds at a time, over all processes: for chains that change or end it. No order and no certificate is of
/// it, since the others never share it.
#[derive(Clone, Debug)]
pub struct ExclusiveRegistration {
    /// The account.
    pub registration: Arc<Registration>,
    /// Whether somebody began to use it and nobody knows how that ended: look at the CA first.
    pub suspect: bool,
}

/// An order whose authorizations are valid and whose CSR has not been sent.
#[derive(Clone, Debug)]
pub struct ReadyOrder {
    /// Its id in the database.
    pub id: i64,
    /// Whose it is.
    pub registration: Arc<Registration>,
    /// The order.
    pub url: String,
    /// Where the CSR goes.
    pub finalize_url: String,
    /// The identifiers' values.
    pub names: Vec<String>,
    /// When it expires, seconds since the Unix epoch; `i64::MAX` when the CA did not say.
    pub expires_unix: i64,
    /// The certificate profile that newOrder named; empty without one.
    pub profile: String,
    /// How long newOrder to ready took, nanoseconds; none where it was not measured.
    pub authorize_ns: Option<u64>,
    /// Whether somebody began to use it and nobody knows how that ended: look at the CA first.
    pub suspect: bool,
}

/// A certificate as a chain made it.
#[derive(Debug)]
pub struct NewCertificate {
    /// Names the issuer among those of the CA, for example by a digest of its key: serials are unique under it.
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
}

/// A stored certificate that is neither revoked nor replaced.
#[derive(Clone, Debug)]
pub struct StoredCertificate {
    /// Its id in the database.
    pub id: i64,
    /// Whose it is.
    pub registration: Arc<Registration>,
    /// Whether somebody began to revoke or renew it and nobody knows how that ended: look at the CA first.
    pub suspect: bool,
    pub(crate) details: Arc<CertificateDetails>,
}

impl Deref for StoredCertificate {
    type Target = CertificateDetails;

    fn deref(&self) -> &CertificateDetails {
        &self.details
    }
}
