//! Where a client may connect: every server is checked before its first connection, every address before it is
//! dialled.
//!
//! A CA names its own resources: the URLs of its directory, orders and authorizations can lead to other hosts, and a
//! name can resolve to another address during a run. The user of this crate decides what may be loaded.

use std::fmt::Debug;
use std::net::SocketAddr;

/// Decides where a client may connect. Hosts are in lower case, without a final dot and without brackets.
pub trait Gate: Debug + Send + Sync {
    /// Whether a server with this name may be connected to. Called for its first URL, before the name is resolved.
    ///
    /// # Errors
    /// Why not.
    fn origin(&self, host: &str) -> Result<(), Refusal>;

    /// Whether this address, to which `host` resolves now, may be dialled. Called before each new connection.
    ///
    /// # Errors
    /// Why not.
    fn address(&self, host: &str, address: SocketAddr) -> Result<(), Refusal>;
}

/// Why a server or an address must not be connected to: the host, the reason and the way out, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

/// Allows everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenGate;

impl Gate for OpenGate {
    fn origin(&self, _host: &str) -> Result<(), Refusal> {
        Ok(())
    }

    fn address(&self, _host: &str, _address: SocketAddr) -> Result<(), Refusal> {
        Ok(())
    }
}
