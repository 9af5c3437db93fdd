//! Validations: how long they took, and the hits at the challenge servers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wec_record::{ChallengeType, Verdict};

use super::Timing;

/// Authorizations validated with one type of challenge, from the challenge's POST to the final state.
///
/// `time_ns` is by the requester's clock. The last three subdivide it by the hits on the challenge server,
/// whose clock may differ; they cover the `count − without_hits` authorizations with hits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ValidationFigures {
    /// Challenge type.
    #[serde(rename = "type")]
    pub challenge: ChallengeType,
    /// Authorizations that became valid or invalid.
    pub count: u64,
    /// Those of them without a known hit.
    pub without_hits: u64,
    /// Those whose first hit was outside of their time and was moved to the nearer end: the clocks differ.
    pub clipped: u64,
    /// From the challenge's POST to the first answer with a final state.
    pub time_ns: Timing,
    /// The part before the first hit.
    pub to_first_hit_ns: Timing,
    /// The part from the first hit to the last; 0 if there was one.
    pub between_hits_ns: Timing,
    /// The part after the last hit.
    pub after_last_hit_ns: Timing,
    /// From how many addresses the CA asked for one authorization, of those with hits: its perspectives.
    #[serde(default)]
    pub perspectives: Vec<Perspectives>,
}

/// The authorizations for which the CA asked from this number of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Perspectives {
    /// Number of addresses; 16 are 16 or more.
    pub addresses: u32,
    /// Number of authorizations.
    pub count: u64,
}

/// Validations of one type with one result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HitFigures {
    /// Challenge type.
    #[serde(rename = "type")]
    pub challenge: ChallengeType,
    /// The result.
    pub verdict: Verdict,
    /// Number of validations.
    pub count: u64,
    /// Time from arrival to answer.
    pub took_ns: Timing,
}

/// The validations that came from one address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HitSource {
    /// The address without its port.
    pub address: String,
    /// Number of validations.
    pub count: u64,
    /// Those of them for which no challenge data was stored.
    pub unknown: u64,
}

/// A validation for which no challenge data was stored.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct UnknownHit {
    /// When it arrived, nanoseconds since the Unix epoch.
    pub at_unix_ns: u64,
    /// The name that it asked for.
    pub name: String,
    /// The challenge type.
    #[serde(rename = "type")]
    pub challenge: ChallengeType,
    /// The address that it came from, without its port.
    pub address: String,
}
