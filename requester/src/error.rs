//! Why a requester could not start.

use wec_acme::{DiscoverError, Failure};
use wec_board::BoardError;

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

/// The flags behind the way out that the client's message names.
const fn flags(error: &DiscoverError) -> &'static str {
    match error {
        DiscoverError::NoHttp2 { .. } => " with --http 1.1",
        DiscoverError::Untrusted(_) => " with --cacert, or accept any certificate with --insecure",
        _ => "",
    }
}
