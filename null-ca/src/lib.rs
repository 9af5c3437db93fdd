//! An in-memory ACME CA (RFC 8555, RFC 9773) for demonstrations, fault injection and calibration.
//!
//! It implements the protocol: nonces are valid once, signatures are verified, certification requests are
//! compared with their orders, certificates chain to a root. But **a challenge type without a configured
//! address is accepted without validation**, so its certificates prove nothing, and its roots must not be
//! trusted. Both roots are created at every start, and their keys never leave the process.
//!
//! [`NullCa::start`] runs it inside the calling process; [`run`] is the command of its own process. The path
//! of a request: `server` accepts it, `service` delays it or applies a fault of the fault plan, `endpoint`
//! parses its path, `jws` verifies its signature, and `accounts`, `orders` or `certificates` answer it. All
//! data is in rings of a fixed size ([`Keep`]): a new entry replaces the oldest one.
//!
//! It makes no load, measures nothing and stores nothing: all data is lost at the end.

mod accounts;
mod blocked_keys;
mod ca;
mod caa;
mod certificates;
mod challenge;
mod clock;
mod config;
mod counters;
mod dns;
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
mod seconds;
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
pub use seconds::SecondCounts;
pub use server::{NullCa, StartError};
