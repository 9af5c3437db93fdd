//! A certification request with a key that is too weak: RSA of 1024 bits.
//!
//! CAs must not certify such keys (CA/Browser Forum, Baseline Requirements §6.1.5). Current libraries neither make them
//! nor sign with them, so one key is kept here, and the signature is computed here.

use aws_lc_rs::digest::{SHA256, digest};
use num_bigint::BigUint;
use rcgen::{CertificateParams, DistinguishedName, PublicKeyData};

use crate::failure::Failure;

/// Bytes of the modulus.
const BYTES: usize = 128;

const MODULUS: &[u8; 2 * BYTES] = b"c578165f7bdccdf784ad22a4b9d746ffecd1c37fc68ce16b10483470e5850fb8\
      21a346f734251726632b0a43ed27835bb9b2ebeae89bb843a987633534d7c019\
      337f4859ade302a2875d233eb26f2776b6bb4aaa509baaa1bef7fa7cf440575d\
      09716ea237a7b4aff235d89ed45bce70d38c7827771c2ea8104e55317774cb73";
const PRIVATE_EXPONENT: &[u8; 2 * BYTES] =
    b"1879b0f436cb00706c6e753bcb990640d45e8f87b7d9605b3fd2634596fd2e1c\
      9976be66077d8d6801a4a50a144bf0791f04313f95832f8c9b679f8149c27019\
      b7cea6e1d7a6005d1a4c7cb05c989f64885d7bfa3341d26f05d54cca16f3e382\
      f6e11374c17720ba214ee569aef870b2d769cf39cddb3b83fb2b7a0cec981321";

/// DigestInfo of SHA-256 up to the digest (RFC 8017 §9.2).
const DIGEST_INFO: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00,
    0x04, 0x20,
];

/// A request for a certificate of these names with an RSA key of 1024 bits, DER. Its signature is right.
///
/// # Errors
/// [`crate::FailureClass::Internal`] if a name cannot be in a certificate.
pub fn weak_certificate_request(names: &[String]) -> Result<Vec<u8>, Failure> {
    let cannot = |error: rcgen::Error| {
        Failure::internal(format!("cannot request a certificate for {names:?}: {error}"))
    };
    let mut params = CertificateParams::new(names).map_err(cannot)?;
    params.distinguished_name = DistinguishedName::new();
    let csr = params.serialize_request(&WeakKey::new()).map_err(cannot)?;
    Ok(csr.der().to_vec())
}

struct WeakKey {
    modulus: BigUint,
    /// RSAPublicKey (RFC 8017 §A.1.1).
    public: Vec<u8>,
}

impl WeakKey {
    fn new() -> Self {
        let modulus = number(MODULUS);
        // SEQUENCE { INTEGER modulus, INTEGER 65537 }; the modulus begins with a set bit.
        let mut public = vec![0x30, 0x81, 0x89, 0x02, 0x81, 0x81, 0x00];
        public.extend(modulus.to_bytes_be());
        public.extend([0x02, 0x03, 0x01, 0x00, 0x01]);
        Self { modulus, public }
    }
}

fn number(hex: &[u8]) -> BigUint {
    BigUint::parse_bytes(hex, 16).expect("the constants are hexadecimal")
}

impl PublicKeyData for WeakKey {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_RSA_SHA256
    }
}

impl rcgen::SigningKey for WeakKey {
    /// RSASSA-PKCS1-v1_5 (RFC 8017 §8.2.1).
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let digest = digest(&SHA256, message);
        let padding = BYTES - 3 - DIGEST_INFO.len() - digest.as_ref().len();
        let mut encoded = vec![0x00, 0x01];
        encoded.resize(2 + padding, 0xff);
        encoded.push(0x00);
        encoded.extend(DIGEST_INFO);
        encoded.extend(digest.as_ref());
        let signature = BigUint::from_bytes_be(&encoded).modpow(&number(PRIVATE_EXPONENT), &self.modulus);
        let bytes = signature.to_bytes_be();
        let mut padded = vec![0; BYTES - bytes.len()];
        padded.extend(bytes);
        Ok(padded)
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, UnparsedPublicKey};
    use x509_parser::certification_request::X509CertificationRequest;
    use x509_parser::prelude::FromDer as _;

    use super::*;

    #[test]
    fn its_signature_is_right_and_its_key_has_1024_bits() {
        let der = weak_certificate_request(&["a.test".to_owned(), "b.test".to_owned()]).unwrap();
        let (rest, csr) = X509CertificationRequest::from_der(&der).unwrap();
        assert!(rest.is_empty());
        let info = &csr.certification_request_info;
        let public = &info.subject_pki.subject_public_key.data;
        UnparsedPublicKey::new(&RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, public)
            .verify(info.raw, &csr.signature_value.data)
            .unwrap();
        let (_, key) = x509_parser::public_key::RSAPublicKey::from_der(public).unwrap();
        assert_eq!(key.key_size(), 1024);
    }
}
