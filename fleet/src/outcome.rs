//! What becomes of an attempt to renew: the same for a CA that is simulated and for a real one.

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The CA issued a certificate.
    Issued,
    /// The CA refused the order because of its load or a limit, with 503 or 429.
    Refused {
        /// The Retry-After that it answered, seconds.
        retry_after: Option<i32>,
    },
    /// It failed otherwise: another error, a failed validation, or no answer.
    Failed {
        /// The Retry-After that the CA answered, seconds.
        retry_after: Option<i32>,
    },
    /// The load generator did not send it, because no worker was free. The CA knows nothing of it.
    NotSent,
}

impl Outcome {
    /// The Retry-After that the CA answered, seconds.
    pub const fn retry_after(self) -> Option<i32> {
        match self {
            Self::Refused { retry_after } | Self::Failed { retry_after } => retry_after,
            Self::Issued | Self::NotSent => None,
        }
    }
}
