//! Account keys: ECDSA P-256 (ES256, RFC 7518 §3.4).

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::failure::Failure;

/// An account's key, with everything derived from it that requests need over and over.
pub struct AccountKey {
    signing: SigningKey,
    thumbprint: String,
}

impl AccountKey {
    /// A fresh key.
    ///
    /// # Errors
    /// [`crate::FailureKind::Internal`] when the cryptography library refuses.
    pub fn generate() -> Result<Arc<Self>, Failure> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
            .map_err(|_| Failure::internal("cannot generate an account key"))?;
        Ok(Arc::new(Self::of(pair)))
    }

    /// A stored key.
    ///
    /// # Errors
    /// [`crate::FailureKind::Internal`] when it is not a P-256 key in PKCS#8.
    pub fn from_pkcs8(der: &[u8]) -> Result<Arc<Self>, Failure> {
        Ok(Arc::new(Self::of(parse_pkcs8(der, "account key")?)))
    }

    /// The key in PKCS#8, unencrypted: for the store.
    pub fn to_pkcs8(&self) -> Vec<u8> {
        pkcs8(&self.signing.pair)
    }

    /// What a challenge's answer proves (RFC 8555 §8.1): `token.thumbprint`.
    pub fn key_authorization(&self, token: &str) -> String {
        [token, ".", &self.thumbprint].concat()
    }

    /// The JWK's SHA-256 in base64url (RFC 7638).
    pub fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    pub(crate) const fn signing(&self) -> &SigningKey {
        &self.signing
    }

    fn of(pair: EcdsaKeyPair) -> Self {
        let signing = SigningKey::new(pair);
        let thumbprint = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, signing.jwk().as_bytes()));
        Self { signing, thumbprint }
    }
}

impl fmt::Debug for AccountKey {
    /// Without the private part.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccountKey").field("thumbprint", &self.thumbprint).finish_non_exhaustive()
    }
}

/// A key that signs requests, with its public half as a JWK.
pub(crate) struct SigningKey {
    pair: EcdsaKeyPair,
    jwk: String,
}

impl SigningKey {
    pub(crate) fn new(pair: EcdsaKeyPair) -> Self {
        // 0x04, x, y: the uncompressed point (SEC 1 §2.3.3), 32 bytes a coordinate.
        let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
        // Members in lexical order and no white space: also the form that RFC 7638 hashes.
        let jwk = format!(
            r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#,
            URL_SAFE_NO_PAD.encode(x),
            URL_SAFE_NO_PAD.encode(y)
        );
        Self { pair, jwk }
    }

    pub(crate) fn jwk(&self) -> &str {
        &self.jwk
    }

    /// r and s, 32 bytes each (RFC 7518 §3.4), over a SHA-256 digest.
    pub(crate) fn sign(&self, digest: &digest::Digest) -> Result<aws_lc_rs::signature::Signature, Failure> {
        self.pair.sign_digest(digest).map_err(|_| Failure::internal("cannot sign a request"))
    }
}

/// Randomness for signatures; aws-lc-rs takes its own and only wants the argument.
pub(crate) fn random() -> SystemRandom {
    SystemRandom::new()
}

pub(crate) fn parse_pkcs8(der: &[u8], what: &str) -> Result<EcdsaKeyPair, Failure> {
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der).map_err(|error| {
        Failure::internal(format!("the stored {what} is not a P-256 key in PKCS#8: {error}"))
    })
}

pub(crate) fn pkcs8(pair: &EcdsaKeyPair) -> Vec<u8> {
    pair.to_pkcs8v1().expect("a key pair in memory has an encoding").as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_the_store() {
        let key = AccountKey::generate().unwrap();
        let again = AccountKey::from_pkcs8(&key.to_pkcs8()).unwrap();
        assert_eq!(key.thumbprint(), again.thumbprint());
        assert_eq!(key.key_authorization("token"), format!("token.{}", key.thumbprint()));
    }

    #[test]
    fn a_stored_key_that_is_none_is_our_own_failure() {
        let failure = AccountKey::from_pkcs8(b"junk").unwrap_err();
        assert_eq!(failure.kind, crate::FailureKind::Internal);
        assert!(failure.message.contains("the stored account key"), "{failure}");
    }

    #[test]
    fn does_not_show_its_private_half() {
        let key = AccountKey::generate().unwrap();
        let shown = format!("{key:?}");
        assert!(shown.len() < 120 && shown.contains(key.thumbprint()), "{shown}");
    }
}
