//! `ValidationHit`: one look that a CA took at the challenge server.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The challenge types of RFC 8555 §8 and RFC 8737.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ChallengeType {
    /// RFC 8555 §8.3.
    #[serde(rename = "http-01")]
    Http01,
    /// RFC 8555 §8.4.
    #[serde(rename = "dns-01")]
    Dns01,
    /// RFC 8737.
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
}

impl ChallengeType {
    /// Every type.
    pub const ALL: [Self; 3] = [Self::Http01, Self::Dns01, Self::TlsAlpn01];

    /// The registered name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http01 => "http-01",
            Self::Dns01 => "dns-01",
            Self::TlsAlpn01 => "tls-alpn-01",
        }
    }
}

impl fmt::Display for ChallengeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ChallengeType {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
            format!("unknown challenge type {name:?}: expected http-01, dns-01 or tls-alpn-01")
        })
    }
}

/// What the challenge server did with a hit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It had the data and served it.
    Answered,
    /// Nothing is stored for that name and token.
    #[default]
    Unknown,
    /// The challenge store could not be asked.
    StoreFailed,
    /// The hit itself was not a usable validation: no SNI, wrong ALPN, a bad path.
    Refused,
}

/// One validation that arrived.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValidationHit {
    /// Number of this hit among all records of its challenge server, from 1 without gaps.
    pub seq: u64,
    /// Wall clock of arrival, nanoseconds since the Unix epoch.
    pub at_unix_ns: u64,
    /// Which challenge type it asked for.
    #[serde(rename = "type")]
    pub challenge: ChallengeType,
    /// The domain name asked for, lower case, without a `_acme-challenge.` prefix.
    pub name: String,
    /// Source address and port.
    pub source: String,
    /// What was done with it.
    pub verdict: Verdict,
    /// What was answered, shortened to something a person can read.
    pub answer: String,
    /// Arrival to answer, nanoseconds.
    pub took: u64,
}
