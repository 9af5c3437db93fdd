//! Certificate keys and signing requests (RFC 8555 §7.4, RFC 2986).

use std::fmt;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use rcgen::{CertificateParams, DistinguishedName, PublicKeyData};

use crate::failure::Failure;
use crate::key::{self, SigningKey};

/// The key of a certificate, ECDSA P-256.
pub struct CertificateKey {
    pair: EcdsaKeyPair,
}

impl CertificateKey {
    /// A fresh key.
    ///
    /// # Errors
    /// [`crate::FailureKind::Internal`] when the cryptography library refuses.
    pub fn generate() -> Result<Self, Failure> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)
            .map_err(|_| Failure::internal("cannot generate a certificate key"))?;
        Ok(Self { pair })
    }

    /// A stored key.
    ///
    /// # Errors
    /// [`crate::FailureKind::Internal`] when it is not a P-256 key in PKCS#8.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, Failure> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der).map_err(|error| {
            Failure::internal(format!("the stored certificate key is not a P-256 key in PKCS#8: {error}"))
        })?;
        Ok(Self { pair })
    }

    /// The key in PKCS#8, unencrypted: for the store.
    pub fn to_pkcs8(&self) -> Vec<u8> {
        key::pkcs8(&self.pair)
    }

    /// The public key as certificates hold it: an uncompressed point (SEC 1 §2.3.3), 65 bytes.
    pub fn public_key(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// The same key for requests, whose signatures have another form. Only revocation needs it.
    pub(crate) fn signing_key(&self) -> Result<SigningKey, Failure> {
        Ok(SigningKey::new(key::parse_pkcs8(&self.to_pkcs8(), "certificate key")?))
    }
}

impl fmt::Debug for CertificateKey {
    /// Without the private part.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateKey").finish_non_exhaustive()
    }
}

/// A fresh key and a request for a certificate of these names, DER.
///
/// The subject is empty: names stand in the subjectAltName alone, as the CA/Browser Forum wants them.
///
/// Takes tens of microseconds of computing; count it with [`crate::Trace::keygen`].
///
/// # Errors
/// [`crate::FailureKind::Internal`] when a name cannot be put into a certificate.
pub fn certificate_request(names: &[String]) -> Result<(CertificateKey, Vec<u8>), Failure> {
    let key = CertificateKey::generate()?;
    let cannot = |error: rcgen::Error| {
        Failure::internal(format!("cannot request a certificate for {names:?}: {error}"))
    };
    let mut params = CertificateParams::new(names).map_err(cannot)?;
    params.distinguished_name = DistinguishedName::new();
    let csr = params.serialize_request(&key).map_err(cannot)?;
    let der = csr.der().to_vec();
    Ok((key, der))
}

impl PublicKeyData for CertificateKey {
    fn der_bytes(&self) -> &[u8] {
        self.public_key()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for CertificateKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature = self.pair.sign(&key::random(), message).map_err(|_| rcgen::Error::RingUnspecified)?;
        Ok(signature.as_ref().to_vec())
    }
}
