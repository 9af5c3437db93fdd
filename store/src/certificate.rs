//! The stored data of a certificate: the certificate, its key, and its issuers, which certificates share.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The data of a stored certificate.
pub struct CertificateDetails {
    /// Its issuer, as in [`NewCertificate::issuer`](crate::NewCertificate::issuer).
    pub issuer: String,
    /// The serial number in hex.
    pub serial: String,
    /// The certificate's identifier for renewal information (RFC 9773 §4.1).
    pub ari_id: String,
    /// The names in it.
    pub names: Vec<String>,
    /// The certificate.
    pub leaf_der: Vec<u8>,
    /// Its issuers.
    pub chain: Arc<IssuerChain>,
    /// Its private key, PKCS#8 without encryption.
    pub key_pkcs8: Vec<u8>,
    /// Seconds since the Unix epoch.
    pub not_before_unix: i64,
    /// Seconds since the Unix epoch.
    pub not_after_unix: i64,
    /// Where the CA offers it; empty if it was stored by an earlier version.
    pub url: String,
}

impl CertificateDetails {
    /// The whole chain as PEM, leaf first.
    pub fn pem(&self) -> Vec<u8> {
        let base64 = STANDARD.encode(&self.leaf_der);
        let mut pem = b"-----BEGIN CERTIFICATE-----\n".to_vec();
        for line in base64.as_bytes().chunks(64) {
            pem.extend_from_slice(line);
            pem.push(b'\n');
        }
        pem.extend_from_slice(b"-----END CERTIFICATE-----\n");
        pem.extend_from_slice(&self.chain.pem);
        pem
    }
}

impl fmt::Debug for CertificateDetails {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateDetails")
            .field("issuer", &self.issuer)
            .field("serial", &self.serial)
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

/// The certificates above a leaf, stored once for all leaves under them.
#[derive(Debug)]
pub struct IssuerChain {
    id: i64,
    /// PEM, the leaf's issuer first; empty when the CA sent the leaf alone.
    pub pem: Arc<[u8]>,
}

impl IssuerChain {
    pub(crate) fn new(pem: Arc<[u8]>) -> Self {
        let hash = digest(&SHA256, &pem);
        let first = hash.as_ref().first_chunk().expect("a SHA-256 digest has 32 bytes");
        Self { id: i64::from_be_bytes(*first), pem }
    }

    /// The start of its SHA-256, so that all processes get the same id.
    pub(crate) const fn id(&self) -> i64 {
        self.id
    }
}

/// The chains seen so far; there are few. Bounded, in case a CA never repeats one.
#[derive(Debug, Default)]
pub(crate) struct Chains(Mutex<Vec<Arc<IssuerChain>>>);

const MOST_CHAINS: usize = 64;

impl Chains {
    /// The chain with these bytes, and whether it is new here and must be stored.
    pub(crate) fn intern(&self, pem: &[u8]) -> (Arc<IssuerChain>, bool) {
        let mut chains = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(chain) = chains.iter().find(|chain| *chain.pem == *pem) {
            return (chain.clone(), false);
        }
        let chain = Arc::new(IssuerChain::new(pem.into()));
        if chains.len() >= MOST_CHAINS {
            chains.clear();
        }
        chains.push(chain.clone());
        (chain, true)
    }

    pub(crate) fn by_id(&self, id: i64) -> Option<Arc<IssuerChain>> {
        let chains = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        chains.iter().find(|chain| chain.id == id).cloned()
    }
}

/// The part after the first certificate of a PEM chain.
pub(crate) fn above_leaf(pem: &[u8]) -> &[u8] {
    const END: &[u8] = b"-----END CERTIFICATE-----";
    let Some(end) = pem.windows(END.len()).position(|window| window == END) else { return &[] };
    pem[end + END.len()..].trim_ascii_start()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_is_above_the_leaf_once() {
        let issuer = "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n";
        let pem = |leaf: &str| {
            format!("-----BEGIN CERTIFICATE-----\n{leaf}\n-----END CERTIFICATE-----\n\n{issuer}")
        };
        let chains = Chains::default();
        let (first, new) = chains.intern(above_leaf(pem("Zm9v").as_bytes()));
        assert!(new);
        let (second, new) = chains.intern(above_leaf(pem("YmFy").as_bytes()));
        assert!(!new && Arc::ptr_eq(&first, &second));
        assert_eq!(&*first.pem, issuer.as_bytes());
        assert_eq!(above_leaf(b"junk"), b"");
    }

    #[test]
    fn gives_the_downloaded_chain_back() {
        let pem = "-----BEGIN CERTIFICATE-----\nZm9v\n-----END CERTIFICATE-----\n\
                   -----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n";
        let details = CertificateDetails {
            issuer: "i".into(),
            serial: "01".into(),
            ari_id: "a.b".into(),
            names: vec![],
            leaf_der: b"foo".to_vec(),
            chain: Arc::new(IssuerChain::new(above_leaf(pem.as_bytes()).into())),
            key_pkcs8: b"secret".to_vec(),
            not_before_unix: 0,
            not_after_unix: 1,
            url: String::new(),
        };
        assert_eq!(String::from_utf8(details.pem()).unwrap(), pem);
        assert!(!format!("{details:?}").contains("115"), "Debug output shows the key");
    }
}
