//! Signed requests (RFC 8555 §6.2): parses the flattened JWS and verifies its signature. `service` decides
//! which key must have signed it.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::keys::{Jwk, PublicKey};
use crate::reply::{Kind, Problem};

/// A flattened JWS, decoded but not yet verified.
pub(crate) struct Jws {
    pub(crate) header: Header,
    pub(crate) payload: Vec<u8>,
    signed: Vec<u8>,
    signature: Vec<u8>,
}

/// The protected header.
#[derive(Deserialize)]
pub(crate) struct Header {
    pub(crate) alg: String,
    pub(crate) url: Option<String>,
    pub(crate) nonce: Option<String>,
    pub(crate) kid: Option<String>,
    pub(crate) jwk: Option<Jwk>,
}

#[derive(Deserialize)]
struct Flattened<'a> {
    protected: &'a str,
    payload: &'a str,
    signature: &'a str,
    /// RFC 8555 §6.2 forbids an unprotected header.
    header: Option<IgnoredAny>,
}

impl Jws {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Problem> {
        let flattened: Flattened<'_> = serde_json::from_slice(body)
            .map_err(|error| Problem::malformed(format!("the request is no flattened JWS: {error}")))?;
        if flattened.header.is_some() {
            return Err(Problem::malformed("the JWS has an unprotected header"));
        }
        let header = decode("protected", flattened.protected)?;
        let header = serde_json::from_slice(&header).map_err(|error| {
            Problem::malformed(format!("the JWS's protected header does not parse: {error}"))
        })?;
        Ok(Self {
            header,
            payload: decode("payload", flattened.payload)?,
            signed: [flattened.protected.as_bytes(), b".", flattened.payload.as_bytes()].concat(),
            signature: decode("signature", flattened.signature)?,
        })
    }

    /// Whether `alg` fits the key. Separate from [`Jws::verify`], which can be switched off.
    pub(crate) fn check_algorithm(&self, key: &PublicKey) -> Result<(), Problem> {
        if key.signs_with(&self.header.alg) {
            return Ok(());
        }
        let detail = format!("algorithm `{}` does not fit the key", self.header.alg);
        Err(Problem::new(Kind::BadSignatureAlgorithm, detail))
    }

    pub(crate) fn verify(&self, key: &PublicKey) -> Result<(), Problem> {
        if key.verifies_jws(&self.signed, &self.signature) {
            return Ok(());
        }
        Err(Problem::malformed("the JWS's signature does not verify"))
    }

    /// Verifies an external account binding (RFC 8555 §7.3.4).
    pub(crate) fn verify_mac(&self, key: &[u8]) -> Result<(), Problem> {
        let algorithm = match self.header.alg.as_str() {
            "HS256" => hmac::HMAC_SHA256,
            "HS384" => hmac::HMAC_SHA384,
            "HS512" => hmac::HMAC_SHA512,
            other => {
                return Err(Problem::malformed(format!(
                    "an external account binding is signed with HS256, HS384 or HS512, not `{other}`"
                )));
            }
        };
        let key = hmac::Key::new(algorithm, key);
        hmac::verify(&key, &self.signed, &self.signature).map_err(|_| {
            Problem::new(Kind::Unauthorized, "the external account binding's MAC does not verify")
        })
    }

    /// Whether the payload is the empty one of POST-as-GET (RFC 8555 §6.3).
    pub(crate) fn is_post_as_get(&self) -> bool {
        self.payload.is_empty()
    }

    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        serde_json::from_slice(&self.payload)
            .map_err(|error| Problem::malformed(format!("the payload does not parse: {error}")))
    }
}

fn decode(what: &str, text: &str) -> Result<Vec<u8>, Problem> {
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| Problem::malformed(format!("the JWS's {what} is not base64url without padding")))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};

    use super::*;

    #[test]
    fn no_bit_of_a_request_can_be_changed() {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
        let jwk = serde_json::json!({ "kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y) });
        let key = PublicKey::from_jwk(&serde_json::from_value(jwk).unwrap()).unwrap();
        let (protected, payload) = (encode(br#"{"alg":"ES256"}"#), encode(b"{}"));
        let signed = format!("{protected}.{payload}");
        let signature = pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        let signature = encode(signature.as_ref());
        let body =
            format!(r#"{{"protected":"{protected}","payload":"{payload}","signature":"{signature}"}}"#);
        let accepted = |body: &[u8]| Jws::parse(body).and_then(|jws| jws.verify(&key)).is_ok();
        assert!(accepted(body.as_bytes()));
        for bit in 0..body.len() * 8 {
            let mut changed = body.clone().into_bytes();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(!accepted(&changed), "bit {bit}: {}", String::from_utf8_lossy(&changed));
        }
    }
}
