//! The test chains: complete series of requests that are one action of a CA's user, one file each.
//!
//! [`run`] runs one chain to its [`ChainResult`]. A chain uses what [`Context`] offers and nothing else: the ACME
//! client, the stored state, the challenge store, and a policy of what to draw from. What two chains have in
//! common is a step (`steps`): authorizing an order, turning a ready one into a checked certificate.
//!
//! | chain | file | uses | makes |
//! | --- | --- | --- | --- |
//! | registration | `registration.rs` | | a registration |
//! | authorization | `authorization.rs` | a registration | a ready order |
//! | certificate | `certificate.rs` | a ready order, claimed | a certificate |
//! | refresh | `refresh.rs` | a certificate, claimed | a certificate in its place |
//! | revoke | `revoke.rs` | a certificate, claimed | |
//!
//! Which chain is run when is not decided here: see `wec-requester`.

mod authorization;
mod certificate;
mod context;
mod mix;
mod present;
mod refresh;
mod registration;
mod result;
mod revoke;
mod run;
mod steps;

pub use context::{Connections, Context, Policy, StopBefore};
pub use mix::Mix;
pub use run::run;

/// The closed set of chains, as results name them.
pub use wec_record::Chain;

/// What a chain hands back.
pub use wec_record::ChainResult;
