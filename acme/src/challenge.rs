//! Challenges (RFC 8555 §7.1.5, §8).

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use crate::problem::Problem;

/// A challenge.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Challenge {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: ChallengeKind,
    /// Where the client says that it is ready.
    pub url: String,
    /// What the key authorization begins with; types that we do not know may have none.
    #[serde(default, deserialize_with = "crate::lenient::null_as_default")]
    pub token: String,
    /// Its state.
    #[serde(default, deserialize_with = "crate::lenient::null_as_default")]
    pub status: ChallengeStatus,
    /// Why the validation failed.
    #[serde(default)]
    pub error: Option<Problem>,
    /// How long the CA asked to wait before looking at the authorization.
    #[serde(skip)]
    pub retry_after: Option<Duration>,
}

impl Challenge {
    /// Whether the CA has already made up its mind: then there is nothing to poll for.
    pub const fn is_final(&self) -> bool {
        matches!(self.status, ChallengeStatus::Valid | ChallengeStatus::Invalid)
    }
}

/// The types of RFC 8555 §8 and RFC 8737.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
pub enum ChallengeKind {
    /// RFC 8555 §8.3.
    #[serde(rename = "http-01")]
    Http01,
    /// RFC 8555 §8.4.
    #[serde(rename = "dns-01")]
    Dns01,
    /// RFC 8737.
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
    /// One that we cannot answer (dns-account-01, dns-persist-01, …).
    #[serde(other)]
    Other,
}

impl ChallengeKind {
    /// The registered name; `other` for one that we do not know.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http01 => "http-01",
            Self::Dns01 => "dns-01",
            Self::TlsAlpn01 => "tls-alpn-01",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for ChallengeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// RFC 8555 §7.1.6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChallengeStatus {
    /// Waits for the client.
    #[default]
    Pending,
    /// The CA is looking.
    Processing,
    /// Proven.
    Valid,
    /// Not proven.
    Invalid,
}
