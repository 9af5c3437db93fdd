//! The wrong requests of the refusals chain: a table of what each is and of the right answers.
//!
//! The expected types are those that RFC 8555 asks for, and after them those with which Boulder, Pebble or step-ca
//! refuse the same request. The standard leaves most statuses to the server.

use strum::{EnumCount, IntoStaticStr, VariantArray};
use wec_acme::Expected;

/// A request that a CA must refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumCount, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum Refusal {
    /// A nonce that was used before (RFC 8555 §6.5).
    ReplayedNonce,
    /// A nonce that the CA has not issued.
    ForeignNonce,
    /// A signature of something else.
    BadSignature,
    /// The URL of another resource in the protected header (§6.4).
    WrongUrl,
    /// The `kid` of an account, and the signature of another account's key.
    ForeignKey,
    /// HS256, which §6.2 forbids.
    UnsupportedAlgorithm,
    /// A CSR that is no DER, for a ready order.
    MalformedCsr,
    /// A CSR with another name than its ready order.
    MismatchedCsr,
    /// A right CSR with an RSA key of 1024 bits, for a ready order.
    WeakKey,
    /// A right CSR for an order that is not ready (§7.4).
    EarlyFinalize,
    /// The order of another account.
    ForeignOrder,
    /// newOrder with a profile that the directory does not have (draft-ietf-acme-profiles §4).
    UnknownProfile,
    /// newOrder with a member of 1 MiB.
    OversizedBody,
}

wec_record::closed_set!(Refusal, "a kind of refusal");

impl Refusal {
    /// Whether it needs an order that is ready.
    pub(crate) const fn needs_ready_order(self) -> bool {
        matches!(self, Self::MalformedCsr | Self::MismatchedCsr | Self::WeakKey)
    }

    /// The right answers.
    pub(crate) fn expected(self) -> Expected {
        let (types, statuses): (&[_], &[_]) = match self {
            Self::ReplayedNonce | Self::ForeignNonce => (&["badNonce"], &[400]),
            Self::BadSignature | Self::ForeignKey => (&["malformed", "unauthorized"], &[400, 401, 403]),
            Self::WrongUrl => (&["unauthorized", "malformed"], &[400, 401, 403]),
            Self::UnsupportedAlgorithm => (&["badSignatureAlgorithm", "malformed"], &[400]),
            Self::MalformedCsr => (&["badCSR", "malformed"], &[400]),
            Self::MismatchedCsr => (&["badCSR", "unauthorized", "malformed"], &[400, 403]),
            Self::WeakKey => (&["badPublicKey", "badCSR"], &[400, 403]),
            Self::EarlyFinalize => (&["orderNotReady"], &[403]),
            Self::ForeignOrder => (&["unauthorized", "malformed"], &[401, 403, 404]),
            Self::UnknownProfile => (&["invalidProfile"], &[400]),
            Self::OversizedBody => (&["malformed"], &[400, 413]),
        };
        let by_proxies = self == Self::OversizedBody;
        Expected { name: self.name(), types, statuses, by_proxies }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mix::Mix;

    #[test]
    fn each_kind_has_a_name_and_right_answers() {
        for kind in Refusal::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
            let Expected { name, types, statuses, .. } = kind.expected();
            assert_eq!(name, kind.name());
            assert!(!types.is_empty() && statuses.iter().all(|status| (400..500).contains(status)));
        }
        assert!("weak".parse::<Refusal>().unwrap_err().contains("replayed-nonce, foreign-nonce"));
        let mix: Mix<Refusal> = "weak-key=3,foreign-order".parse().unwrap();
        assert_eq!(mix.to_string(), "weak-key=3,foreign-order=1");
    }
}
