//! Certificate keys and signing requests (RFC 8555 §7.4, RFC 2986).

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256};
use rcgen::{CertificateParams, DistinguishedName, DnType, PublicKeyData};

use crate::failure::Failure;
use crate::key::{self, SigningKey};
use crate::key_type::KeyType;

/// RFC 5280, appendix A: ub-common-name.
const LONGEST_COMMON_NAME: usize = 64;

/// The key of a certificate.
pub struct CertificateKey {
    kind: KeyType,
    pair: Pair,
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    /// Shared by all certificates with this key.
    Rsa(Arc<RsaKey>),
}

/// An RSA key pair with its stored encoding, which is expensive to make.
pub(crate) struct RsaKey {
    pair: rsa::KeyPair,
    pkcs8: Vec<u8>,
}

impl RsaKey {
    pub(crate) fn of(pair: rsa::KeyPair) -> Result<Self, Failure> {
        let der: Pkcs8V1Der<'_> =
            pair.as_der().map_err(|_| Failure::internal("an RSA key cannot be encoded"))?;
        let pkcs8 = der.as_ref().to_vec();
        Ok(Self { pair, pkcs8 })
    }

    pub(crate) fn public_key(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }
}

impl CertificateKey {
    /// A new key. RSA keys take long to make: see [`crate::KeyPool`].
    ///
    /// # Errors
    /// [`crate::FailureClass::Internal`] if the cryptography library fails.
    pub fn generate(kind: KeyType) -> Result<Self, Failure> {
        let refused = || Failure::internal(format!("cannot generate a certificate key ({kind})"));
        if let Some(size) = kind.rsa_size() {
            let pair = rsa::KeyPair::generate(size).map_err(|_| refused())?;
            return Ok(Self::drawn(kind, Arc::new(RsaKey::of(pair)?)));
        }
        let algorithm = kind.ecdsa_asn1().ok_or_else(refused)?;
        let pair = EcdsaKeyPair::generate(algorithm).map_err(|_| refused())?;
        Ok(Self { kind, pair: Pair::Ecdsa(pair) })
    }

    /// A key that other certificates may share.
    pub(crate) const fn drawn(kind: KeyType, key: Arc<RsaKey>) -> Self {
        Self { kind, pair: Pair::Rsa(key) }
    }

    /// A stored key.
    ///
    /// # Errors
    /// [`crate::FailureClass::Internal`] if it is not a key of a [`KeyType`] in PKCS#8.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, Failure> {
        for kind in [KeyType::P256, KeyType::P384] {
            let algorithm = kind.ecdsa_asn1().expect("both are elliptic");
            if let Ok(pair) = EcdsaKeyPair::from_pkcs8(algorithm, der) {
                return Ok(Self { kind, pair: Pair::Ecdsa(pair) });
            }
        }
        let (kind, pair) = key::rsa_from_pkcs8(der, "certificate key")?;
        Ok(Self::drawn(kind, Arc::new(RsaKey { pair, pkcs8: der.to_vec() })))
    }

    /// Its type.
    pub const fn kind(&self) -> KeyType {
        self.kind
    }

    /// The key in PKCS#8, unencrypted: for the store.
    pub fn to_pkcs8(&self) -> Vec<u8> {
        match &self.pair {
            Pair::Ecdsa(pair) => key::pkcs8(pair),
            Pair::Rsa(key) => key.pkcs8.clone(),
        }
    }

    /// The public key as in certificates: an uncompressed point (SEC 1 §2.3.3), or an RSAPublicKey (RFC 8017 §A.1.1).
    pub fn public_key(&self) -> &[u8] {
        match &self.pair {
            Pair::Ecdsa(pair) => pair.public_key().as_ref(),
            Pair::Rsa(key) => key.public_key(),
        }
    }

    /// A request for a certificate of these names, DER.
    ///
    /// The subject is empty: names are only in the subjectAltName, as the CA/Browser Forum requires.
    ///
    /// # Errors
    /// [`crate::FailureClass::Internal`] if a name cannot be in a certificate.
    pub fn request(&self, names: &[String]) -> Result<Vec<u8>, Failure> {
        self.request_of(names, None)
    }

    /// The same with the first name as the subject's common name, unless it is too long for one (64 characters).
    ///
    /// # Errors
    /// As [`CertificateKey::request`].
    pub fn request_with_common_name(&self, names: &[String]) -> Result<Vec<u8>, Failure> {
        self.request_of(names, names.first().filter(|name| name.len() <= LONGEST_COMMON_NAME))
    }

    fn request_of(&self, names: &[String], common_name: Option<&String>) -> Result<Vec<u8>, Failure> {
        let cannot = |error: rcgen::Error| {
            Failure::internal(format!("cannot request a certificate for {names:?}: {error}"))
        };
        let mut params = CertificateParams::new(names).map_err(cannot)?;
        params.distinguished_name = DistinguishedName::new();
        if let Some(name) = common_name {
            params.distinguished_name.push(DnType::CommonName, name.as_str());
        }
        let csr = params.serialize_request(self).map_err(cannot)?;
        Ok(csr.der().to_vec())
    }

    /// The same key for signed requests, whose signatures have another form. Only revocation needs it.
    pub(crate) fn signing_key(&self) -> Result<SigningKey, Failure> {
        SigningKey::from_pkcs8(&self.to_pkcs8(), "certificate key")
    }
}

impl fmt::Debug for CertificateKey {
    /// Shows no private part.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateKey").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// A new P-256 key and a request for a certificate of these names, DER.
///
/// It takes tens of microseconds of computing; count it with [`crate::Trace::keygen`].
///
/// # Errors
/// As [`CertificateKey::generate`] and [`CertificateKey::request`].
pub fn certificate_request(names: &[String]) -> Result<(CertificateKey, Vec<u8>), Failure> {
    let key = CertificateKey::generate(KeyType::P256)?;
    let csr = key.request(names)?;
    Ok((key, csr))
}

impl PublicKeyData for CertificateKey {
    fn der_bytes(&self) -> &[u8] {
        self.public_key()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        match self.kind {
            KeyType::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            KeyType::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            KeyType::Rsa2048 | KeyType::Rsa3072 | KeyType::Rsa4096 => &rcgen::PKCS_RSA_SHA256,
        }
    }
}

impl rcgen::SigningKey for CertificateKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let refused = |_| rcgen::Error::RingUnspecified;
        match &self.pair {
            Pair::Ecdsa(pair) => Ok(pair.sign(&key::random(), message).map_err(refused)?.as_ref().to_vec()),
            Pair::Rsa(key) => {
                let mut signature = vec![0; key.pair.public_modulus_len()];
                key.pair.sign(&RSA_PKCS1_SHA256, &key::random(), message, &mut signature).map_err(refused)?;
                Ok(signature)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_each_type_survives_the_store() {
        for kind in KeyType::ALL {
            let key = CertificateKey::generate(kind).unwrap();
            let again = CertificateKey::from_pkcs8(&key.to_pkcs8()).unwrap();
            assert_eq!((again.kind(), again.public_key()), (kind, key.public_key()));
            assert_eq!(again.to_pkcs8(), key.to_pkcs8());
            assert!(format!("{key:?}").len() < 50, "the private key is not shown: {key:?}");
        }
    }

    #[test]
    fn a_broken_stored_key_is_a_failure_of_our_side() {
        let failure = CertificateKey::from_pkcs8(b"junk").unwrap_err();
        assert_eq!(failure.kind, crate::FailureClass::Internal);
        assert!(failure.message.contains("the stored certificate key"), "{failure}");
    }
}
