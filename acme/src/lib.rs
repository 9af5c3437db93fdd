//! An RFC 8555 client in which every HTTP attempt is observable.
//!
//! [`Client`] has a method for each of ACME's requests. Each takes a [`Trace`] and notes there what it sent,
//! including nonce fetches, retries and polls, each with the time it was due, sent and done. A failed request is
//! data: a [`Failure`] with a class and a text for people.
//!
//! Not here: chains of requests, and the storage of accounts and certificates.

mod account;
mod account_keys;
mod ari;
mod attempt;
mod authorization;
mod behaviour;
#[cfg(feature = "bench")]
pub mod bench;
mod body;
mod ca_clock;
mod certificate;
mod challenge;
mod checker;
mod client;
mod connect;
mod connect_to;
mod correlation;
mod dial;
mod directory;
mod endpoint;
mod exchange;
mod failure;
mod gate;
mod given;
#[cfg(test)]
mod held;
mod http1;
mod http2;
mod jws;
mod key;
mod key_pool;
mod key_type;
mod lenient;
mod limit;
mod link;
pub mod local;
mod nonce;
mod order;
mod origin;
mod peer;
mod policy;
mod problem;
#[cfg(test)]
mod properties;
mod pulse;
mod readable;
mod reference;
mod subject;
mod template;
mod time;
mod tls;
pub mod transport;
mod waits;
mod weak_key;

/// The clock of a process.
pub use wec_clock as clock;
pub use wec_clock::Clock;

pub use account::{Account, AccountInfo, ExternalAccount, OrdersPage};
pub use account_keys::AccountKeys;
pub use ari::{RenewalInfo, Window};
pub use authorization::{Authorization, AuthorizationStatus};
pub use behaviour::{Behaviour, DOWNLOADS, MOST_STEPS};
pub use ca_clock::CaClock;
pub use certificate::{CertificateKey, certificate_request};
pub use challenge::{Challenge, ChallengeStatus};
pub use checker::{Checked, Checker, IssuerRoots, WrongKind, serial_of};
pub use client::{
    Client, Config, DiscoverError, Download, Expected, Flaw, MustRefuse, Signer, finalize_payload,
    new_order_payload,
};
pub use connect_to::ConnectTo;
pub use correlation::Correlation;
pub use dial::{Dialling, Resolver, SystemResolver};
pub use directory::{Directory, Meta};
pub use endpoint::Endpoint;
pub use exchange::{Exchange, Trace};
pub use failure::Failure;
pub use gate::{Gate, OpenGate, Refusal};
pub use key::AccountKey;
pub use key_pool::KeyPool;
pub use key_type::KeyType;
pub use limit::limit_name;
pub use order::{AskedValidity, NewOrder, Order, OrderStatus};
pub use peer::Peer;
pub use policy::Policy;
pub use problem::{Problem, Subproblem};
pub use pulse::{Pulse, Silence};
pub use subject::Subject;
pub use tls::{ClientCertificate, HttpVersion, Roots, WrongClientCertificate};
pub use transport::Way;
pub use url::Url;
pub use waits::Waited;
pub use weak_key::weak_certificate_request;
pub use wec_record::{FailureClass, Purpose};
