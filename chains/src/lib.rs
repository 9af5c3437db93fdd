//! The test chains: complete series of requests that are one action of a CA's user, one file each.
//!
//! [`run`] runs one chain to its [`ChainResult`]. A chain uses what [`Context`] offers and nothing else: the ACME
//! client, the stored state, the challenge store, and a policy of what to draw from. What two chains have in
//! common is a step (`steps`): authorizing an order, turning a ready one into a checked certificate.
//!
//! | chain | file | uses | makes |
//! | --- | --- | --- | --- |
//! | registration | `chain/registration.rs` | | a registration |
//! | authorization | `chain/authorization.rs` | a registration | a ready order |
//! | certificate | `chain/certificate.rs` | a ready order, claimed | a certificate |
//! | refresh | `chain/refresh.rs` | a certificate, claimed | a certificate in its place |
//! | revoke | `chain/revoke.rs` | a certificate, claimed | |
//!
//! Which chain is run when is not decided here: see `wec-requester`.

mod chain;
mod choice;
mod context;
mod issuance;
mod linger;
mod mix;
mod present;
mod proofs;
mod rest;
mod result;
mod run;
mod scene;
mod steps;

pub use choice::{Profile, RevocationReason};
pub use context::{Connections, Context, Policy, StopBefore};
pub use linger::{Linger, Removed, Remover};
pub use mix::Mix;
pub use run::run;

/// The closed set of chains, as results name them.
pub use wec_record::Chain;

/// What a chain hands back.
pub use wec_record::ChainResult;
