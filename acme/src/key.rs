//! Account keys, and the signatures of requests: ES256, ES384 and RS256 (RFC 7518 §3.3, §3.4).

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest;
use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{self, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::RSAPublicKey;

use crate::failure::Failure;
use crate::key_type::KeyType;

/// An account's key, with derived values that many requests need.
pub struct AccountKey {
    signing: SigningKey,
    thumbprint: String,
}

impl AccountKey {
    /// A new P-256 key.
    ///
    /// # Errors
    /// [`crate::FailureClass::Internal`] if the cryptography library fails.
    pub fn generate() -> Result<Arc<Self>, Failure> {
        Self::generate_of(KeyType::P256)
    }

    /// A new key of any type. An RSA key takes as long as hundreds of issuances.
    ///
    /// # Errors
    /// [`crate::FailureClass::Internal`] if the cryptography library fails.
    pub fn generate_of(kind: KeyType) -> Result<Arc<Self>, Failure> {
        let refused = || Failure::internal(format!("cannot generate an account key ({kind})"));
        let pair = match (kind.ecdsa_fixed(), kind.rsa_size()) {
            (Some(algorithm), _) => Pair::Ecdsa(EcdsaKeyPair::generate(algorithm).map_err(|_| refused())?),
            (None, Some(size)) => Pair::Rsa(rsa::KeyPair::generate(size).map_err(|_| refused())?),
            (None, None) => return Err(refused()),
        };
        Ok(Arc::new(Self::of(SigningKey::new(kind, pair)?)))
    }

    /// A stored key.
    ///
    /// # Errors
    /// [`crate::FailureClass::Internal`] if it is not a key of a [`KeyType`] in PKCS#8.
    pub fn from_pkcs8(der: &[u8]) -> Result<Arc<Self>, Failure> {
        Ok(Arc::new(Self::of(SigningKey::from_pkcs8(der, "account key")?)))
    }

    /// The key in PKCS#8, unencrypted: for the store.
    pub fn to_pkcs8(&self) -> Vec<u8> {
        match &self.signing.pair {
            Pair::Ecdsa(pair) => pkcs8(pair),
            Pair::Rsa(pair) => {
                let der: Pkcs8V1Der<'_> = pair.as_der().expect("a key pair in memory has an encoding");
                der.as_ref().to_vec()
            }
        }
    }

    /// Its type.
    pub const fn kind(&self) -> KeyType {
        self.signing.kind
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

    fn of(signing: SigningKey) -> Self {
        let thumbprint = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, signing.jwk().as_bytes()));
        Self { signing, thumbprint }
    }
}

impl fmt::Debug for AccountKey {
    /// Shows no private part.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccountKey").field("thumbprint", &self.thumbprint).finish_non_exhaustive()
    }
}

/// A key that signs requests, with its public half as a JWK.
pub(crate) struct SigningKey {
    kind: KeyType,
    pair: Pair,
    jwk: String,
}

pub(crate) enum Pair {
    /// For signatures of a fixed length.
    Ecdsa(EcdsaKeyPair),
    Rsa(rsa::KeyPair),
}

/// A JWS signature.
#[expect(
    clippy::large_enum_variant,
    reason = "lives for one call; boxing the common case would cost every request"
)]
pub(crate) enum Signature {
    Ecdsa(signature::Signature),
    Rsa(Vec<u8>),
}

impl AsRef<[u8]> for Signature {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Ecdsa(signature) => signature.as_ref(),
            Self::Rsa(signature) => signature,
        }
    }
}

impl SigningKey {
    pub(crate) fn new(kind: KeyType, pair: Pair) -> Result<Self, Failure> {
        let base64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        // Members in lexical order and no white space: also the form that RFC 7638 hashes.
        let jwk = match &pair {
            Pair::Ecdsa(pair) => {
                // 0x04, x, y: the uncompressed point (SEC 1 §2.3.3).
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                let curve = if kind == KeyType::P384 { "P-384" } else { "P-256" };
                format!(r#"{{"crv":"{curve}","kty":"EC","x":"{}","y":"{}"}}"#, base64(x), base64(y))
            }
            Pair::Rsa(pair) => {
                let (_, public) = RSAPublicKey::from_der(pair.public_key().as_ref())
                    .map_err(|error| Failure::internal(format!("an RSA key cannot be read: {error}")))?;
                // Numbers without leading zeros (RFC 7518 §6.3.1).
                let bare =
                    |number: &[u8]| base64(&number[number.iter().take_while(|byte| **byte == 0).count()..]);
                format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, bare(public.exponent), bare(public.modulus))
            }
        };
        Ok(Self { kind, pair, jwk })
    }

    /// A stored key; `what` names it in messages.
    pub(crate) fn from_pkcs8(der: &[u8], what: &str) -> Result<Self, Failure> {
        for kind in [KeyType::P256, KeyType::P384] {
            let algorithm = kind.ecdsa_fixed().expect("both are elliptic");
            if let Ok(pair) = EcdsaKeyPair::from_pkcs8(algorithm, der) {
                return Self::new(kind, Pair::Ecdsa(pair));
            }
        }
        let (kind, pair) = rsa_from_pkcs8(der, what)?;
        Self::new(kind, Pair::Rsa(pair))
    }

    pub(crate) const fn kind(&self) -> KeyType {
        self.kind
    }

    pub(crate) fn jwk(&self) -> &str {
        &self.jwk
    }

    /// The signature over a digest of the kind's own algorithm: r and s (RFC 7518 §3.4), or PKCS #1 v1.5 (§3.3).
    pub(crate) fn sign(&self, digest: &digest::Digest) -> Result<Signature, Failure> {
        let refused = |_| Failure::internal("cannot sign a request");
        match &self.pair {
            Pair::Ecdsa(pair) => pair.sign_digest(digest).map(Signature::Ecdsa).map_err(refused),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign_digest(&RSA_PKCS1_SHA256, digest, &mut signature).map_err(refused)?;
                Ok(Signature::Rsa(signature))
            }
        }
    }
}

/// aws-lc-rs uses its own randomness and ignores this argument.
pub(crate) fn random() -> SystemRandom {
    SystemRandom::new()
}

/// A stored RSA key.
pub(crate) fn rsa_from_pkcs8(der: &[u8], what: &str) -> Result<(KeyType, rsa::KeyPair), Failure> {
    let no_key =
        |why: String| Failure::internal(format!("the stored {what} is not a usable key in PKCS#8: {why}"));
    let pair = rsa::KeyPair::from_pkcs8(der).map_err(|error| no_key(error.to_string()))?;
    let bytes = pair.public_modulus_len();
    let kind = KeyType::of_modulus(bytes)
        .ok_or_else(|| no_key(format!("RSA of {} bits, where 2048, 3072 and 4096 are known", bytes * 8)))?;
    Ok((kind, pair))
}

pub(crate) fn pkcs8(pair: &EcdsaKeyPair) -> Vec<u8> {
    pair.to_pkcs8v1().expect("a key pair in memory has an encoding").as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_same_after_being_stored() {
        for kind in KeyType::ALL {
            let key = AccountKey::generate_of(kind).unwrap();
            let again = AccountKey::from_pkcs8(&key.to_pkcs8()).unwrap();
            assert_eq!((kind, key.thumbprint()), (again.kind(), again.thumbprint()));
            assert_eq!(key.key_authorization("token"), format!("token.{}", key.thumbprint()));
        }
    }

    #[test]
    fn a_broken_stored_key_is_a_failure_of_our_side() {
        let failure = AccountKey::from_pkcs8(b"junk").unwrap_err();
        assert_eq!(failure.kind, crate::FailureClass::Internal);
        assert!(failure.message.contains("the stored account key"), "{failure}");
    }

    #[test]
    fn does_not_show_its_private_key() {
        let key = AccountKey::generate().unwrap();
        let shown = format!("{key:?}");
        assert!(shown.len() < 120 && shown.contains(key.thumbprint()), "{shown}");
    }
}
