//! `ValidationHit`: one validation request of a CA at the challenge server.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ChallengeType;
use crate::named::named;

named! {
    /// What the challenge server did with a hit.
    ///
    /// Add new verdicts at the end: a verdict's position is its number in protobuf messages.
    #[derive(Default, Hash)]
    pub enum Verdict {
        /// The challenge data was found and served.
        Answered,
        /// Nothing is stored for that name and token.
        #[default]
        Unknown,
        /// The challenge store could not be read.
        StoreFailed,
        /// The request was not a valid one: no SNI, wrong ALPN, or a wrong path.
        Refused,
        /// The challenge data is a fault, so that the validation fails on purpose.
        Faulted,
    }
}

/// One validation that arrived.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ValidationHit {
    /// Number of this hit among all records of its challenge server, from 1, without gaps.
    pub seq: u64,
    /// Wall clock of arrival, nanoseconds since the Unix epoch.
    pub at_unix_ns: u64,
    /// The challenge type of the request.
    #[serde(rename = "type")]
    pub challenge: ChallengeType,
    /// The domain name asked for, lower case, without a `_acme-challenge.` prefix.
    pub name: String,
    /// Source address and port.
    pub source: String,
    /// What the challenge server did.
    pub verdict: Verdict,
    /// The answer, shortened for display: of a value that was served, its beginning.
    pub answer: String,
    /// Time from arrival to answer, nanoseconds.
    pub took: u64,
}

impl ValidationHit {
    /// A hit without values, to read others into.
    pub const fn empty() -> Self {
        Self {
            seq: 0,
            at_unix_ns: 0,
            challenge: ChallengeType::Http01,
            name: String::new(),
            source: String::new(),
            verdict: Verdict::Unknown,
            answer: String::new(),
            took: 0,
        }
    }
}
