//! Authorizations (RFC 8555 §7.1.4, §7.5).

use std::time::Duration;

use serde::Deserialize;

use crate::challenge::{Challenge, ChallengeKind, ChallengeStatus};
use crate::order::Identifier;
use crate::problem::Problem;

/// An authorization of one identifier.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Authorization {
    /// Its state.
    pub status: AuthorizationStatus,
    /// What it is for, without `*.`.
    pub identifier: Identifier,
    /// Whether it is for a wildcard.
    #[serde(default, deserialize_with = "crate::lenient::null_as_default")]
    pub wildcard: bool,
    /// The ways to prove control, in the CA's order.
    #[serde(default, deserialize_with = "crate::lenient::null_as_default")]
    pub challenges: Vec<Challenge>,
    /// How long the CA asked to wait before looking again.
    #[serde(skip)]
    pub retry_after: Option<Duration>,
}

impl Authorization {
    /// The challenge of this type, if the CA offers it.
    pub fn challenge(&self, kind: ChallengeKind) -> Option<&Challenge> {
        self.challenges.iter().find(|challenge| challenge.kind == kind)
    }

    /// Why the CA could not validate, if it says so.
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
    /// Waits for a challenge.
    Pending,
    /// Proven.
    Valid,
    /// The validation failed.
    Invalid,
    /// Given up by the client.
    Deactivated,
    /// Too old.
    Expired,
    /// Taken back by the CA.
    Revoked,
}
