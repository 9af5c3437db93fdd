//! Why a requester could not start.

use std::path::Path;

use wec_acme::{DiscoverError, Failure};
use wec_board::BoardError;
use wec_record::Chain;
use wec_store::Object;

use crate::guard::Refused;

/// Why the workers could not start. Every message has the cause and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The target may not be loaded.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// This run may not connect to the management API for challenge data.
    #[error("{flag}: {refused}")]
    ChallengesRefused {
        /// The flag with its URL.
        flag: &'static str,
        /// Why.
        refused: Refused,
    },
    /// The CA.
    #[error("{0}{flags}", flags = flags(.0))]
    Ca(#[from] DiscoverError),
    /// The root in the file of `--cacert` did not sign the certificate of the CA's server.
    #[error(
        "the CA's server is not trusted: {failure}; {file} (--cacert) does not have the root that signed the server's \
         own certificate, which often differs from the root of what the CA issues: openssl s_client -connect HOST:PORT \
         -showcerts shows who signed it"
    )]
    WrongRoot {
        /// The file given.
        file: String,
        /// The failed handshake.
        failure: Failure,
    },
    /// The CA requires an external account binding (RFC 8555 §7.3.4), and none is configured.
    #[error(
        "the CA at {directory} registers accounts only with an external account binding: give --eab-kid and, in the \
         environment, WEC_EAB_HMAC_KEY, or several keys with --eab-file"
    )]
    ExternalAccountRequired {
        /// The directory.
        directory: String,
    },
    /// The CA does not offer certificate profiles of the plan.
    #[error("{}", profiles(directory, missing, offered))]
    Profiles {
        /// The directory.
        directory: String,
        /// The missing profiles.
        missing: Vec<String>,
        /// The offered profiles.
        offered: Vec<String>,
    },
    /// The CA's directory lacks a resource that a chain of the plan needs.
    #[error(
        "the CA at {directory} has no {resource} in its directory, so the chain {chain} cannot run: give --weight \
         {chain}=0"
    )]
    NoResource {
        /// The directory.
        directory: String,
        /// The resource's name in directories.
        resource: &'static str,
        /// The first chain that needs it.
        chain: Chain,
    },
    /// The limits were reached before, and the weights allow nothing else.
    #[error(
        "nothing can be run: in the state {state} {} before this run: raise {}, or name another state with --state",
        limits_reached(reached),
        limit_flags(reached)
    )]
    LimitsReached {
        /// The state store's URL.
        state: String,
        /// The limits that were reached.
        reached: Vec<(Object, u64)>,
    },
    /// The board.
    #[error(transparent)]
    Board(#[from] BoardError),
    /// A file named in the plan.
    #[error("cannot read {path}: {error}")]
    File {
        /// The file.
        path: String,
        /// The system's error.
        error: std::io::Error,
    },
    /// The roots that issued certificates must chain to.
    #[error("--issuer-root: {path}: {error}")]
    IssuerRoots {
        /// The file.
        path: String,
        /// What is wrong with it.
        error: String,
    },
    /// RSA keys could not be made.
    #[error("cannot prepare the certificates' keys: {0}")]
    Keys(Failure),
    /// The system refused a thread or a runtime.
    #[error("cannot start a thread for workers: {0}; try fewer --threads")]
    Thread(std::io::Error),
}

impl StartError {
    /// Why the CA's directory could not be read, trusting the roots in this file. Advice that was followed is not
    /// repeated.
    pub(crate) fn of_ca(error: DiscoverError, cacert: Option<&Path>) -> Self {
        match (error, cacert) {
            (DiscoverError::Untrusted(failure), Some(file)) => {
                Self::WrongRoot { file: file.display().to_string(), failure }
            }
            (error, _) => Self::Ca(error),
        }
    }

    /// Whether it is about the CA and the way to it, which `wec doctor` examines.
    pub const fn is_of_ca(&self) -> bool {
        matches!(
            self,
            Self::Ca(_)
                | Self::WrongRoot { .. }
                | Self::ExternalAccountRequired { .. }
                | Self::Profiles { .. }
                | Self::NoResource { .. }
                | Self::Refused(Refused::NoAddress { .. })
        )
    }
}

fn profiles(directory: &str, missing: &[String], offered: &[String]) -> String {
    let missing = missing.join(", ");
    if offered.is_empty() {
        return format!(
            "the CA at {directory} offers no profiles, but the plan has {missing}: omit --profile"
        );
    }
    // Names from a CA: their number is not bounded.
    let listed: Vec<_> = offered.iter().take(20).map(|name| name.escape_debug().to_string()).collect();
    let more = if offered.len() > listed.len() { ", …" } else { "" };
    format!(
        "the CA at {directory} does not offer the profile {missing}: with --profile give some of {}{more}, or default",
        listed.join(", ")
    )
}

/// `the limits of 5 registrations and 20 certificates were reached`.
fn limits_reached(reached: &[(Object, u64)]) -> String {
    let listed: Vec<_> = reached.iter().map(|(kind, limit)| format!("{limit} {}", kind.plural())).collect();
    let (limits, were) = if listed.len() == 1 { ("limit", "was") } else { ("limits", "were") };
    format!("the {limits} of {} {were} reached", listed.join(" and "))
}

fn limit_flags(reached: &[(Object, u64)]) -> String {
    let flags: Vec<_> = reached.iter().map(|(kind, _)| format!("--limit-{}", kind.plural())).collect();
    flags.join(" and ")
}

/// The flags for the remedy in the client's message.
const fn flags(error: &DiscoverError) -> &'static str {
    match error {
        DiscoverError::NoHttp2 { .. } => " with --http 1.1",
        DiscoverError::ClientCertificate { .. } => {
            "; give the one that it accepts with --client-cert and --client-key"
        }
        DiscoverError::Untrusted(_) => " with --cacert, or accept any certificate with --insecure",
        DiscoverError::NotValidNow(_) => "; --insecure accepts any certificate",
        _ => "",
    }
}
