//! The test chains: complete series of requests for one action of a CA's user, one file each.
//!
//! [`run`] runs one chain to its [`ChainResult`]. A chain uses only what [`Context`] has: the ACME client,
//! the stored state, the challenge store, and the policy for random choices. Parts that chains share are
//! steps (`steps`): authorizing an order, and getting a checked certificate for a ready order.
//!
//! | chain | file | uses | makes |
//! | --- | --- | --- | --- |
//! | registration | `chain/registration.rs` | | a registration |
//! | authorization | `chain/authorization.rs` | a registration | a ready order |
//! | certificate | `chain/certificate.rs` | a ready order, claimed | a certificate |
//! | refresh | `chain/refresh.rs` | a certificate, claimed | a certificate in its place |
//! | revoke | `chain/revoke.rs` | a certificate, claimed | |
//!
//! `wec-requester` decides when to run which chain.

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

/// The chains, as in results.
pub use wec_record::Chain;

/// The result of a chain.
pub use wec_record::ChainResult;
