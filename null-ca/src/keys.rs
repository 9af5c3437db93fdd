//! Public keys in one form, from a JWK (RFC 7517), a certification request or a certificate, so that they can
//! be compared and used to verify.

use aws_lc_rs::digest;
use aws_lc_rs::signature::{self, ParsedPublicKey, UnparsedPublicKey, VerificationAlgorithm};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{PublicKeyData, SignatureAlgorithm};
use serde::Deserialize;
use x509_parser::der_parser::asn1_rs::{Oid, oid};
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo};

use crate::reply::{Kind, Problem};

/// A public key for verification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublicKey {
    family: Family,
    /// The bit string of X.509's SubjectPublicKeyInfo: the uncompressed point, the PKCS #1 RSAPublicKey, or
    /// Ed25519's 32 bytes.
    bytes: Box<[u8]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    P256,
    P384,
    P521,
    Rsa,
    Ed25519,
}

/// A key as JSON. Members of other key types are ignored.
#[derive(Deserialize)]
pub(crate) struct Jwk {
    kty: String,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

/// RSA moduli this CA accepts, in bytes: 2048 to 8192 bits.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

impl PublicKey {
    pub(crate) fn from_jwk(jwk: &Jwk) -> Result<Self, Problem> {
        let member = |name: &str, value: &Option<String>| {
            let text = value.as_deref();
            let text = text.ok_or_else(|| bad_key(format!("the jwk has no `{name}`")))?;
            let decoded = URL_SAFE_NO_PAD.decode(text);
            decoded.map_err(|_| bad_key(format!("the jwk's `{name}` is not base64url")))
        };
        let (family, bytes) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("EC", Some(curve)) => {
                let (family, length) = match curve {
                    "P-256" => (Family::P256, 32),
                    "P-384" => (Family::P384, 48),
                    "P-521" => (Family::P521, 66),
                    _ => return Err(bad_key(format!("curve `{curve}` is not supported"))),
                };
                let (x, y) = (member("x", &jwk.x)?, member("y", &jwk.y)?);
                if x.len() != length || y.len() != length {
                    return Err(bad_key(format!("a {curve} coordinate has {length} bytes")));
                }
                (family, [&[UNCOMPRESSED], x.as_slice(), y.as_slice()].concat())
            }
            ("RSA", _) => {
                let (n, e) = (member("n", &jwk.n)?, member("e", &jwk.e)?);
                if !RSA_BYTES.contains(&n.len()) {
                    return Err(bad_key("an RSA key must have 2048 to 8192 bits"));
                }
                (Family::Rsa, rsa_public_key(&n, &e))
            }
            ("OKP", Some("Ed25519")) => (Family::Ed25519, member("x", &jwk.x)?),
            (kty, _) => return Err(bad_key(format!("key type `{kty}` is not supported"))),
        };
        let key = Self { family, bytes: bytes.into() };
        match ParsedPublicKey::new(key.jws_algorithm(), &key.bytes) {
            Ok(_) => Ok(key),
            Err(_) => Err(bad_key("the jwk is not a point on its curve or not a key at all")),
        }
    }

    pub(crate) fn from_spki(spki: &SubjectPublicKeyInfo<'_>) -> Result<Self, Problem> {
        let bytes: Box<[u8]> = spki.subject_public_key.data.as_ref().into();
        let algorithm = &spki.algorithm.algorithm;
        let family = if *algorithm == EC_PUBLIC_KEY {
            match bytes.len() {
                65 => Family::P256,
                97 => Family::P384,
                133 => Family::P521,
                _ => return Err(bad_key("an EC key must be an uncompressed point on a NIST curve")),
            }
        } else if *algorithm == RSA_ENCRYPTION {
            Family::Rsa
        } else if *algorithm == ED25519 {
            Family::Ed25519
        } else {
            return Err(bad_key(format!("public key algorithm {algorithm} is not supported")));
        };
        let key = Self { family, bytes };
        match ParsedPublicKey::new(key.jws_algorithm(), &key.bytes) {
            Ok(_) => Ok(key),
            Err(_) => Err(bad_key("the public key does not parse")),
        }
    }

    /// Whether `alg` (RFC 7518 §3.1, RFC 8037) is the JWS algorithm of this kind of key.
    pub(crate) fn signs_with(&self, alg: &str) -> bool {
        let expected = match self.family {
            Family::P256 => "ES256",
            Family::P384 => "ES384",
            Family::P521 => "ES512",
            Family::Rsa => "RS256",
            Family::Ed25519 => "EdDSA",
        };
        alg == expected
    }

    pub(crate) fn verifies_jws(&self, message: &[u8], signature: &[u8]) -> bool {
        let key = UnparsedPublicKey::new(self.jws_algorithm(), &self.bytes);
        key.verify(message, signature).is_ok()
    }

    /// Verifies a signature of a certification request or certificate.
    pub(crate) fn verifies_x509(
        &self,
        algorithm: &AlgorithmIdentifier<'_>,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        let oid = &algorithm.algorithm;
        let algorithm: &'static dyn VerificationAlgorithm = match self.family {
            Family::P256 if *oid == ECDSA_SHA256 => &signature::ECDSA_P256_SHA256_ASN1,
            Family::P256 if *oid == ECDSA_SHA384 => &signature::ECDSA_P256_SHA384_ASN1,
            Family::P384 if *oid == ECDSA_SHA256 => &signature::ECDSA_P384_SHA256_ASN1,
            Family::P384 if *oid == ECDSA_SHA384 => &signature::ECDSA_P384_SHA384_ASN1,
            Family::P521 if *oid == ECDSA_SHA256 => &signature::ECDSA_P521_SHA256_ASN1,
            Family::P521 if *oid == ECDSA_SHA384 => &signature::ECDSA_P521_SHA384_ASN1,
            Family::P521 if *oid == ECDSA_SHA512 => &signature::ECDSA_P521_SHA512_ASN1,
            Family::Rsa if *oid == RSA_SHA256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            Family::Rsa if *oid == RSA_SHA384 => &signature::RSA_PKCS1_2048_8192_SHA384,
            Family::Rsa if *oid == RSA_SHA512 => &signature::RSA_PKCS1_2048_8192_SHA512,
            Family::Ed25519 if *oid == ED25519 => &signature::ED25519,
            _ => return false,
        };
        UnparsedPublicKey::new(algorithm, &self.bytes).verify(message, signature).is_ok()
    }

    /// The JWK thumbprint (RFC 7638): SHA-256 over the required members in lexicographic order.
    pub(crate) fn thumbprint(&self) -> [u8; 32] {
        let point = |curve: &str| {
            let (x, y) = self.bytes[1..].split_at(self.bytes.len() / 2);
            let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
            format!(r#"{{"crv":"{curve}","kty":"EC","x":"{x}","y":"{y}"}}"#)
        };
        let canonical = match self.family {
            Family::P256 => point("P-256"),
            Family::P384 => point("P-384"),
            Family::P521 => point("P-521"),
            Family::Ed25519 => {
                let x = URL_SAFE_NO_PAD.encode(&self.bytes);
                format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#)
            }
            Family::Rsa => {
                let (n, e) = rsa_components(&self.bytes).unwrap_or_default();
                let (n, e) = (URL_SAFE_NO_PAD.encode(n), URL_SAFE_NO_PAD.encode(e));
                format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#)
            }
        };
        let digest = digest::digest(&digest::SHA256, canonical.as_bytes());
        digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
    }

    fn jws_algorithm(&self) -> &'static dyn VerificationAlgorithm {
        match self.family {
            Family::P256 => &signature::ECDSA_P256_SHA256_FIXED,
            Family::P384 => &signature::ECDSA_P384_SHA384_FIXED,
            Family::P521 => &signature::ECDSA_P521_SHA512_FIXED,
            Family::Rsa => &signature::RSA_PKCS1_2048_8192_SHA256,
            Family::Ed25519 => &signature::ED25519,
        }
    }
}

/// For issuing a certificate for the key.
impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match self.family {
            Family::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            Family::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            Family::P521 => &rcgen::PKCS_ECDSA_P521_SHA512,
            Family::Rsa => &rcgen::PKCS_RSA_SHA256,
            Family::Ed25519 => &rcgen::PKCS_ED25519,
        }
    }
}

/// First byte of an uncompressed point (SEC 1 §2.3.3).
const UNCOMPRESSED: u8 = 4;

const EC_PUBLIC_KEY: Oid<'static> = oid!(1.2.840.10045.2.1);
const RSA_ENCRYPTION: Oid<'static> = oid!(1.2.840.113549.1.1.1);
const ED25519: Oid<'static> = oid!(1.3.101.112);
const ECDSA_SHA256: Oid<'static> = oid!(1.2.840.10045.4.3.2);
const ECDSA_SHA384: Oid<'static> = oid!(1.2.840.10045.4.3.3);
const ECDSA_SHA512: Oid<'static> = oid!(1.2.840.10045.4.3.4);
const RSA_SHA256: Oid<'static> = oid!(1.2.840.113549.1.1.11);
const RSA_SHA384: Oid<'static> = oid!(1.2.840.113549.1.1.12);
const RSA_SHA512: Oid<'static> = oid!(1.2.840.113549.1.1.13);

fn bad_key(detail: impl Into<String>) -> Problem {
    Problem::new(Kind::BadPublicKey, detail)
}

/// RSAPublicKey ::= SEQUENCE { modulus INTEGER, publicExponent INTEGER } (RFC 8017 §A.1.1).
fn rsa_public_key(n: &[u8], e: &[u8]) -> Vec<u8> {
    let mut integers = Vec::with_capacity(n.len() + e.len() + 10);
    for number in [n, e] {
        let magnitude = trim_zeros(number);
        // A leading zero keeps the integer positive.
        let sign = magnitude.first().is_none_or(|byte| *byte >= 0x80);
        integers.push(0x02);
        push_length(&mut integers, magnitude.len() + usize::from(sign));
        integers.extend(sign.then_some(0));
        integers.extend_from_slice(magnitude);
    }
    let mut sequence = vec![0x30];
    push_length(&mut sequence, integers.len());
    sequence.append(&mut integers);
    sequence
}

fn push_length(der: &mut Vec<u8>, length: usize) {
    match u8::try_from(length) {
        Ok(short @ 0..0x80) => der.push(short),
        Ok(byte) => der.extend([0x81, byte]),
        Err(_) => {
            let length = u16::try_from(length).expect("RSA keys are limited to 8192 bits");
            der.push(0x82);
            der.extend(length.to_be_bytes());
        }
    }
}

/// Modulus and exponent of an RSAPublicKey, without leading zeros.
fn rsa_components(der: &[u8]) -> Option<(&[u8], &[u8])> {
    use x509_parser::prelude::FromDer;
    use x509_parser::public_key::RSAPublicKey;

    let (_, key) = RSAPublicKey::from_der(der).ok()?;
    Some((trim_zeros(key.modulus), trim_zeros(key.exponent)))
}

fn trim_zeros(number: &[u8]) -> &[u8] {
    let start = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
    &number[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thumbprint_is_the_one_in_rfc_7638() {
        let jwk: Jwk = serde_json::from_str(
            r#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}"#,
        )
        .unwrap();
        let key = PublicKey::from_jwk(&jwk).unwrap();
        assert_eq!(URL_SAFE_NO_PAD.encode(key.thumbprint()), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }

    #[test]
    fn refuses_invalid_keys() {
        let zeros = URL_SAFE_NO_PAD.encode([0; 32]);
        for (jwk, why) in [
            (r#"{"kty":"oct"}"#.to_owned(), "`oct`"),
            (r#"{"kty":"EC","crv":"P-224"}"#.to_owned(), "`P-224`"),
            (r#"{"kty":"EC","crv":"P-256","x":"AA"}"#.to_owned(), "`y`"),
            (r#"{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}"#.to_owned(), "32 bytes"),
            (format!(r#"{{"kty":"EC","crv":"P-256","x":"{zeros}","y":"{zeros}"}}"#), "on its curve"),
            (r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#.to_owned(), "2048"),
            (r#"{"kty":"RSA","n":"!","e":"AQAB"}"#.to_owned(), "base64url"),
        ] {
            let jwk: Jwk = serde_json::from_str(&jwk).unwrap();
            let problem = PublicKey::from_jwk(&jwk).unwrap_err();
            assert_eq!(problem.kind, Kind::BadPublicKey);
            assert!(problem.detail.contains(why), "{}", problem.detail);
        }
    }
}
