//! The test chains: complete series of requests for one action of a CA's user, one file each.
//!
//! [`run`] runs one chain to its [`ChainResult`], [`renew`] that of a fleet's member. A chain uses only what [`Context`] has: the ACME client,
//! the stored state, the challenge store, and the policy for random choices. Parts that chains share are
//! steps (`steps`): authorizing an order, and getting a checked certificate for a ready order.
//!
//! | chain | file | uses | makes |
//! | --- | --- | --- | --- |
//! | registration | `chain/registration.rs` | | a registration |
//! | authorization | `chain/authorization.rs` | a registration | a ready order |
//! | certificate | `chain/certificate.rs` | a ready order, claimed | a certificate |
//! | refresh | `chain/refresh.rs` | a certificate, claimed, or a member of a fleet | a certificate in its place |
//! | revoke | `chain/revoke.rs` | a certificate, claimed | |
//! | key-rollover, account-update | `chain/key_rollover.rs`, `chain/account_update.rs` | an exclusive registration, claimed | |
//! | account-deactivation | `chain/account_deactivation.rs` | an exclusive registration, which ends | |
//! | authorization-deactivation | `chain/authorization_deactivation.rs` | a registration | |
//! | orders-list | `chain/orders_list.rs` | a registration | |
//! | pre-authorization | `chain/pre_authorization.rs` | a registration | a ready order |
//! | renewal-info | `chain/renewal_info.rs` | a certificate | |
//! | refusals | `chain/refusals.rs` | a registration, for some a ready order, claimed | |
//! | download, alternate-chains | `chain/download.rs`, `chain/alternate_chains.rs` | a certificate, claimed | |
//!
//! `wec-requester` decides when to run which chain.

mod chain;
mod choice;
mod choices;
mod composed;
mod context;
mod downloadable;
mod failing;
mod issuance;
mod linger;
mod member;
mod mix;
mod names;
mod own_account;
mod present;
mod proofs;
mod refusal;
mod rest;
mod result;
mod run;
mod scene;
mod steps;

pub use choice::{Profile, RevocationReason};
pub use choices::{Choices, Connections, StopBefore};
pub use composed::{Step, Steps};
pub use context::{Context, Policy};
pub use linger::{Linger, Removed, Remover};
pub use member::{Member, Members};
pub use mix::Mix;
pub use names::{NameKind, Networks};
pub use refusal::Refusal;
pub use run::{renew, run};

/// The chains, as in results.
pub use wec_record::Chain;

/// The result of a chain.
pub use wec_record::ChainResult;
