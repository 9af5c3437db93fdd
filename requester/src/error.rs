//! Why a requester could not start.

use wec_acme::{DiscoverError, Failure};
use wec_board::BoardError;
use wec_store::Kind;

use crate::guard::Refused;

/// What kept the workers from starting. Every message names the culprit and the way out.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The target may not be loaded.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The CA.
    #[error("{0}{flags}", flags = flags(.0))]
    Ca(#[from] DiscoverError),
    /// The CA binds accounts to accounts elsewhere (RFC 8555 §7.3.4), and none is configured.
    #[error(
        "the CA at {directory} registers accounts with an external account binding only: give --eab-kid and, in the \
         environment, WEC_EAB_HMAC_KEY"
    )]
    ExternalAccountRequired {
        /// The directory.
        directory: String,
    },
    /// Hard limits that were reached before leave nothing that the weights allow.
    #[error(
        "nothing can be run: in the state {state} {} before this run: raise {}, or name another state with --state",
        limits_reached(reached),
        limit_flags(reached)
    )]
    LimitsReached {
        /// Where it is.
        state: String,
        /// What is reached, and at which number.
        reached: Vec<(Kind, u64)>,
    },
    /// The board.
    #[error(transparent)]
    Board(#[from] BoardError),
    /// A file named in the plan.
    #[error("cannot read {path}: {error}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// No RSA keys could be made.
    #[error("cannot prepare the certificates' keys: {0}")]
    Keys(Failure),
    /// The system gave no thread or no runtime.
    #[error("cannot start a thread for workers: {0}; fewer --threads may do")]
    Thread(std::io::Error),
}

const fn plural(kind: Kind) -> &'static str {
    match kind {
        Kind::Registration => "registrations",
        Kind::Authorization => "authorizations",
        Kind::Certificate => "certificates",
    }
}

/// `the limits of 5 registrations and 20 certificates were reached`.
fn limits_reached(reached: &[(Kind, u64)]) -> String {
    let listed: Vec<_> = reached.iter().map(|(kind, limit)| format!("{limit} {}", plural(*kind))).collect();
    let (limits, were) = if listed.len() == 1 { ("limit", "was") } else { ("limits", "were") };
    format!("the {limits} of {} {were} reached", listed.join(" and "))
}

fn limit_flags(reached: &[(Kind, u64)]) -> String {
    let flags: Vec<_> = reached.iter().map(|(kind, _)| format!("--limit-{}", plural(*kind))).collect();
    flags.join(" and ")
}

/// The flags behind the way out that the client's message names.
const fn flags(error: &DiscoverError) -> &'static str {
    match error {
        DiscoverError::NoHttp2 { .. } => " with --http 1.1",
        DiscoverError::Untrusted(_) => " with --cacert, or accept any certificate with --insecure",
        _ => "",
    }
}
