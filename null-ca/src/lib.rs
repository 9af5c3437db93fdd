//! An in-memory ACME CA (RFC 8555, RFC 9773) for demonstrations, fault injection and calibration.
//!
//! It speaks the protocol for real: nonces count once, signatures are verified, certification
//! requests are compared with their orders, certificates chain to a root. What it does not do is
//! decide who may have a certificate: **a challenge type without a configured address is accepted
//! without looking**, so its certificates prove nothing and its roots must be trusted by nobody.
//! Both roots are minted anew at every start and their keys never leave the process.
//!
//! [`NullCa::start`] runs it inside the calling process, [`run`] is the command of a process of its
//! own. How a request travels: `server` accepts it, `service` delays or spoils it as the fault plan
//! says, `endpoint` tells what it asks for, `jws` proves who asks, and `accounts`, `orders` or
//! `certificates` answers. Everything is kept in rings of a fixed size ([`Keep`]): the oldest
//! entry is forgotten when a new one needs its place.
//!
//! Not here: load, measurement, or a persistent state. Nothing survives a restart.

mod accounts;
mod blocked_keys;
mod ca;
mod certificates;
mod clock;
mod config;
mod counters;
mod endpoint;
mod faults;
mod handlers;
mod issuer;
mod jws;
mod keys;
mod nonces;
mod options;
mod orders;
mod reply;
mod ring;
mod server;
mod service;
mod validation;

pub use config::{Config, ConfigError, ExternalAccount, Keep, Renewal, Validation};
pub use counters::{Counts, FaultCounts};
pub use endpoint::Endpoint;
pub use faults::{
    Fault, FaultRule, Flaw, FlawRule, Latency, LatencyRule, RuleError, ServeRule, Share, Stall, Target,
};
pub use options::{Options, run};
pub use server::{NullCa, StartError};
