//! `ValidationHit`: one look that a CA took at the challenge server.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ChallengeType;

/// What the challenge server did with a hit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
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
