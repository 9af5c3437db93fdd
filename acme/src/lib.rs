//! An RFC 8555 client whose every HTTP attempt is observable.
//!
//! [`Client`] has a method for each of ACME's requests. Each takes a [`Trace`] and notes there what it sent: nonce
//! fetches, retries and polls included, each with the time it was due, sent and done. A failed request is data, a
//! [`Failure`] with a class and a text for people.
//!
//! What a chain of requests means, and where accounts and certificates are kept, is not for this crate to know.

mod account;
mod ari;
mod authorization;
#[cfg(feature = "bench")]
pub mod bench;
mod body;
mod certificate;
mod challenge;
mod checker;
mod client;
pub mod clock;
mod connect;
mod directory;
mod exchange;
mod failure;
mod http1;
mod http2;
mod jws;
mod key;
mod key_pool;
mod key_type;
mod lenient;
mod nonce;
mod order;
mod policy;
mod problem;
#[cfg(test)]
mod properties;
mod template;
mod time;
mod tls;
pub mod transport;

pub use account::{Account, ExternalAccount};
pub use ari::{RenewalInfo, Window};
pub use authorization::{Authorization, AuthorizationStatus};
pub use certificate::{CertificateKey, certificate_request};
pub use challenge::{Challenge, ChallengeKind, ChallengeStatus};
pub use checker::{Checked, Checker};
pub use client::{Client, Config, DiscoverError, Signer};
pub use clock::Clock;
pub use directory::{Directory, Meta};
pub use exchange::{Endpoint, Exchange, Purpose, Trace};
pub use failure::{Failure, FailureKind};
pub use key::AccountKey;
pub use key_pool::KeyPool;
pub use key_type::KeyType;
pub use order::{Identifier, Order, OrderStatus};
pub use policy::Policy;
pub use problem::{Problem, Subproblem};
pub use tls::{HttpVersion, Roots};
pub use url::Url;
