//! The kinds of keys that accounts and certificates have.

use aws_lc_rs::digest;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING,
    ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaSigningAlgorithm,
};
use strum::{EnumCount, IntoStaticStr, VariantArray};

/// The type of a key.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, EnumCount, IntoStaticStr, VariantArray,
)]
#[strum(serialize_all = "lowercase")]
pub enum KeyType {
    /// ECDSA on P-256, signing ES256: used by most clients, and by far the cheapest to make.
    #[default]
    P256,
    /// ECDSA on P-384, signing ES384.
    P384,
    /// RSA of 2048 bits, signing RS256. Making one takes as long as hundreds of issuances: see [`crate::KeyPool`].
    Rsa2048,
    /// RSA of 3072 bits, signing RS256.
    Rsa3072,
    /// RSA of 4096 bits, signing RS256.
    Rsa4096,
}

wec_record::closed_set!(KeyType, "a key type");

impl KeyType {
    /// Whether it is RSA: such keys are made in advance and used more than once.
    pub const fn is_rsa(self) -> bool {
        self.rsa_size().is_some()
    }

    pub(crate) const fn rsa_size(self) -> Option<KeySize> {
        match self {
            Self::P256 | Self::P384 => None,
            Self::Rsa2048 => Some(KeySize::Rsa2048),
            Self::Rsa3072 => Some(KeySize::Rsa3072),
            Self::Rsa4096 => Some(KeySize::Rsa4096),
        }
    }

    /// The RSA type with a modulus of this many bytes.
    pub(crate) const fn of_modulus(bytes: usize) -> Option<Self> {
        match bytes {
            256 => Some(Self::Rsa2048),
            384 => Some(Self::Rsa3072),
            512 => Some(Self::Rsa4096),
            _ => None,
        }
    }

    /// The JWS algorithm (RFC 7518 §3.1).
    pub(crate) const fn alg(self) -> &'static str {
        match self {
            Self::P256 => "ES256",
            Self::P384 => "ES384",
            Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096 => "RS256",
        }
    }

    /// The digest that is signed.
    pub(crate) fn digest(self) -> &'static digest::Algorithm {
        match self {
            Self::P384 => &digest::SHA384,
            _ => &digest::SHA256,
        }
    }

    /// Bytes of a JWS signature.
    pub(crate) const fn signature_len(self) -> usize {
        match self {
            Self::P256 => 64,
            Self::P384 => 96,
            Self::Rsa2048 => 256,
            Self::Rsa3072 => 384,
            Self::Rsa4096 => 512,
        }
    }

    /// The algorithm for signatures as in JWS: r and s, one after the other. None for RSA.
    pub(crate) fn ecdsa_fixed(self) -> Option<&'static EcdsaSigningAlgorithm> {
        match self {
            Self::P256 => Some(&ECDSA_P256_SHA256_FIXED_SIGNING),
            Self::P384 => Some(&ECDSA_P384_SHA384_FIXED_SIGNING),
            _ => None,
        }
    }

    /// The algorithm for signatures as in certificates. None for RSA.
    pub(crate) fn ecdsa_asn1(self) -> Option<&'static EcdsaSigningAlgorithm> {
        match self {
            Self::P256 => Some(&ECDSA_P256_SHA256_ASN1_SIGNING),
            Self::P384 => Some(&ECDSA_P384_SHA384_ASN1_SIGNING),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_by_the_name_it_is_written_with() {
        for kind in KeyType::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        let error = "rsa1024".parse::<KeyType>().unwrap_err();
        assert!(error.contains("\"rsa1024\"") && error.contains("rsa2048"), "{error}");
    }
}
