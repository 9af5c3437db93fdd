//! The data of one challenge that is validated.

use wec_record::{ChallengeType, Identifier};

/// The data of one challenge for the validator.
pub(crate) struct Validated {
    pub(crate) kind: ChallengeType,
    pub(crate) identifier: Identifier,
    /// The account's URL.
    pub(crate) account: String,
    pub(crate) token: String,
    pub(crate) key_authorization: String,
}
