//! Challenges (RFC 8555 §7.1.5, §8).

use std::time::Duration;

use serde::{Deserialize, Deserializer};
use wec_record::ChallengeType;

use crate::problem::Problem;

/// A challenge.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Challenge {
    /// Its type; none for a type that we do not support.
    #[serde(rename = "type", deserialize_with = "known")]
    pub kind: Option<ChallengeType>,
    /// Where the client reports that the challenge is ready.
    pub url: String,
    /// The beginning of the key authorization; unknown types may have none.
    #[serde(default, deserialize_with = "crate::lenient::null_as_default")]
    pub token: String,
    /// For dns-persist-01, the names of the CA that its TXT record may have.
    #[serde(default, rename = "issuer-domain-names", deserialize_with = "crate::lenient::null_as_default")]
    pub issuer_domain_names: Vec<String>,
    /// Its state.
    #[serde(default, deserialize_with = "crate::lenient::null_as_default")]
    pub status: ChallengeStatus,
    /// Why the validation failed.
    #[serde(default)]
    pub error: Option<Problem>,
    /// How long the CA asked to wait before requesting the authorization.
    #[serde(skip)]
    pub retry_after: Option<Duration>,
}

impl Challenge {
    /// Whether the CA has decided already: then no poll is needed.
    pub const fn is_final(&self) -> bool {
        matches!(self.status, ChallengeStatus::Valid | ChallengeStatus::Invalid)
    }

    /// The registered name of its type; `other` for an unknown one.
    pub fn type_name(&self) -> &'static str {
        self.kind.map_or("other", ChallengeType::name)
    }
}

fn known<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ChallengeType>, D::Error> {
    Ok(String::deserialize(deserializer)?.parse().ok())
}

/// RFC 8555 §7.1.6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChallengeStatus {
    /// The client has not answered it yet.
    #[default]
    Pending,
    /// The CA validates.
    Processing,
    /// Proven.
    Valid,
    /// Not proven.
    Invalid,
}
