//! Verifying the signatures of certificates by the algorithms that rustls knows (those of rustls-webpki).
//!
//! An algorithm fits when the names of key and signature are those in the certificates, parameters included. ADR 53 says
//! why the path itself is checked by `issuer.rs`, and what is added to the algorithms here.

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls_pki_types::SignatureVerificationAlgorithm;
use x509_parser::asn1_rs::ToDer as _;
use x509_parser::certificate::X509Certificate;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo};

/// RSA keys whose signatures can be verified, bits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

const RSA: &str = "1.2.840.113549.1.1.1";
/// Also the name of a key for RSASSA-PSS alone (RFC 4055 §1.2), which rustls-webpki does not know.
const RSA_PSS: &str = "1.2.840.113549.1.1.10";

/// What can be said of a signature.
pub(super) enum SignatureCheck {
    /// It is the key's.
    Right,
    /// It is not.
    Wrong,
    /// It cannot be verified here, for this reason.
    Unknown(String),
}

/// The public key of an issuer.
pub(super) struct IssuerKey {
    algorithms: Vec<&'static dyn SignatureVerificationAlgorithm>,
    /// As `subjectPublicKey` has it.
    key: Box<[u8]>,
    /// For people: what kind of key it is.
    shown: String,
}

impl IssuerKey {
    pub(super) fn of(public_key: &SubjectPublicKeyInfo<'_>) -> Self {
        let algorithm = &public_key.algorithm;
        let (algorithms, shown) = match public_key.parsed() {
            // A key of another size has signed nothing wrong; rustls-webpki calls all that it signs wrong.
            Ok(PublicKey::RSA(key)) if !RSA_BITS.contains(&key.key_size()) => {
                (Vec::new(), format!("an RSA key of {} bits", key.key_size()))
            }
            _ => (algorithms_of(algorithm), shown(algorithm)),
        };
        Self { algorithms, key: public_key.subject_public_key.data.as_ref().into(), shown }
    }

    /// Whether this key has signed the certificate, whose two names of the algorithm are the same.
    pub(super) fn verify(&self, certificate: &X509Certificate<'_>) -> SignatureCheck {
        let name = &certificate.signature_algorithm;
        let encoded = encoded(name);
        let fits = |algorithm: &&&dyn SignatureVerificationAlgorithm| {
            encoded.as_deref() == Some(&*algorithm.signature_alg_id())
        };
        let Some(algorithm) = self.algorithms.iter().find(fits) else {
            let oid = name.algorithm.to_id_string();
            let what = format!("a signature of type {oid} by {} cannot be verified here", self.shown);
            return SignatureCheck::Unknown(what);
        };
        let signed = certificate.tbs_certificate.as_ref();
        match algorithm.verify_signature(&self.key, signed, &certificate.signature_value.data) {
            Ok(()) => SignatureCheck::Right,
            Err(_) => SignatureCheck::Wrong,
        }
    }
}

/// What a key of this type can have signed.
fn algorithms_of(key: &AlgorithmIdentifier<'_>) -> Vec<&'static dyn SignatureVerificationAlgorithm> {
    let WebPkiSupportedAlgorithms { all, .. } =
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
    let oid = key.algorithm.to_id_string();
    if oid == RSA_PSS {
        let Ok(name) = key.algorithm.to_der_vec() else { return Vec::new() };
        let fits =
            |algorithm: &&dyn SignatureVerificationAlgorithm| algorithm.signature_alg_id().starts_with(&name);
        return all.iter().copied().filter(fits).collect();
    }
    let Some(encoded) = encoded(key) else { return Vec::new() };
    // RFC 3279 §2.3.1 wants NULL parameters with RSA; some leave them out.
    let is_rsa = oid == RSA;
    let fits = |algorithm: &&dyn SignatureVerificationAlgorithm| {
        let name = algorithm.public_key_alg_id();
        *name == *encoded || is_rsa && name.starts_with(&encoded)
    };
    all.iter().copied().filter(fits).collect()
}

/// The content of an algorithm's name: its OID and its parameters.
fn encoded(algorithm: &AlgorithmIdentifier<'_>) -> Option<Vec<u8>> {
    let mut encoded = algorithm.algorithm.to_der_vec().ok()?;
    if let Some(parameters) = &algorithm.parameters {
        encoded.extend(parameters.to_der_vec().ok()?);
    }
    Some(encoded)
}

fn shown(algorithm: &AlgorithmIdentifier<'_>) -> String {
    let oid = algorithm.algorithm.to_id_string();
    let curve = algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
    match curve {
        Some(curve) => format!("a key of type {oid} on the curve {}", curve.to_id_string()),
        None => format!("a key of type {oid}"),
    }
}
