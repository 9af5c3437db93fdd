//! Validations that must fail: the data of the challenge is a fault that the challenge server applies.
//!
//! The fault is written as the key authorization, so that every store has it without a format of its own. A real key
//! authorization has a dot (RFC 8555 §8.1), these have none. Readers get it as it is stored: as text for http-01, as
//! its SHA-256 for tls-alpn-01 and dns-01. A server that does not know faults serves a wrong answer.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use strum::{EnumCount, IntoStaticStr, VariantArray};
use wec_record::{ChallengeType, Listener};

/// What the challenge server does instead of a right answer.
///
/// | fault | http-01 | tls-alpn-01 | dns-01 |
/// | --- | --- | --- | --- |
/// | wrong | another key authorization | a certificate with another digest | another value |
/// | nxdomain | | | NXDOMAIN |
/// | servfail | | | SERVFAIL |
/// | refused | 403 | the alert `access_denied` | REFUSED |
/// | reset | a TCP reset after the request | a TCP reset after the ClientHello | |
/// | silence | no answer | no answer | no answer |
/// | slow | an octet of the body each second | an octet of the handshake each second | |
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumCount, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum ValidationFault {
    /// Another answer than the right one.
    Wrong,
    /// The name does not exist.
    Nxdomain,
    /// The name server fails.
    Servfail,
    /// The server refuses.
    Refused,
    /// The connection is reset.
    Reset,
    /// There is no answer.
    Silence,
    /// The answer does not end.
    Slow,
}

/// The beginning of key authorizations that are faults.
const PREFIX: &str = "wec-fault-";

/// Each fault's digest and TXT value.
static HASHED: LazyLock<[([u8; 32], String); ValidationFault::COUNT]> = LazyLock::new(|| {
    ValidationFault::ALL.map(|fault| {
        let hash = digest(&SHA256, fault.key_authorization().as_bytes());
        let hash: [u8; 32] = hash.as_ref().try_into().expect("a SHA-256 digest has 32 bytes");
        (hash, URL_SAFE_NO_PAD.encode(hash))
    })
});

wec_record::closed_set!(ValidationFault, "a validation fault");

impl ValidationFault {
    /// Whether validations of this type can have it.
    pub const fn is_possible(self, challenge: ChallengeType) -> bool {
        match self {
            Self::Wrong | Self::Refused | Self::Silence => true,
            Self::Nxdomain | Self::Servfail => matches!(challenge.listener(), Listener::Dns),
            Self::Reset | Self::Slow => matches!(challenge.listener(), Listener::Http | Listener::Tls),
        }
    }

    /// The key authorization of challenge data with this fault.
    pub fn key_authorization(self) -> String {
        format!("{PREFIX}{}", self.name())
    }

    /// The fault of a stored key authorization; none if it is a real one.
    pub fn of_key_authorization(stored: &str) -> Option<Self> {
        stored.strip_prefix(PREFIX)?.parse().ok()
    }

    /// The fault of a stored digest.
    pub fn of_digest(stored: &[u8; 32]) -> Option<Self> {
        let place = HASHED.iter().position(|(digest, _)| digest == stored)?;
        Some(Self::ALL[place])
    }

    /// The fault of a stored TXT value.
    pub fn of_txt_value(stored: &str) -> Option<Self> {
        let place = HASHED.iter().position(|(_, value)| value == stored)?;
        Some(Self::ALL[place])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_its_name_and_a_real_key_authorization_is_none() {
        for fault in ValidationFault::ALL {
            assert_eq!(fault.name().parse(), Ok(fault));
        }
        assert_eq!(ValidationFault::of_key_authorization("wec-fault-wrong.thumbprint"), None);
        assert_eq!(ValidationFault::of_key_authorization("t.thumbprint"), None);
        assert_eq!(ValidationFault::of_digest(&[0; 32]), None);
        assert_eq!(ValidationFault::of_txt_value(""), None);
        assert!("late".parse::<ValidationFault>().unwrap_err().contains("wrong, nxdomain"));
    }
}
