//! Authorizations (RFC 8555 §7.1.4, §7.5).

use std::time::Duration;

use serde::Deserialize;
use wec_record::{ChallengeType, Identifier};

use crate::challenge::{Challenge, ChallengeStatus};
use crate::problem::Problem;

/// An authorization of one identifier.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Authorization {
    /// Its state.
    pub status: AuthorizationStatus,
    /// Its identifier, without `*.`.
    pub identifier: Identifier,
    /// Whether it is for a wildcard.
    #[serde(default, deserialize_with = "crate::lenient::null_as_default")]
    pub wildcard: bool,
    /// The ways to prove control, in the CA's order.
    #[serde(default, deserialize_with = "crate::lenient::null_as_default")]
    pub challenges: Vec<Challenge>,
    /// How long the CA asked to wait before the next request.
    #[serde(skip)]
    pub retry_after: Option<Duration>,
}

impl Authorization {
    /// The challenge of this type, if the CA offers it.
    pub fn challenge(&self, kind: ChallengeType) -> Option<&Challenge> {
        self.challenges.iter().find(|challenge| challenge.kind == Some(kind))
    }

    /// Why the CA could not validate, if it gives a reason.
    pub fn error(&self) -> Option<(&Challenge, &Problem)> {
        self.challenges
            .iter()
            .filter(|challenge| challenge.status != ChallengeStatus::Valid)
            .find_map(|challenge| Some((challenge, challenge.error.as_ref()?)))
    }
}

/// RFC 8555 §7.1.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthorizationStatus {
    /// No challenge has been answered yet.
    Pending,
    /// Proven.
    Valid,
    /// The validation failed.
    Invalid,
    /// Deactivated by the client.
    Deactivated,
    /// Expired.
    Expired,
    /// Revoked by the CA.
    Revoked,
}
