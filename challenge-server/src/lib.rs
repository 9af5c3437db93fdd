//! Answers http-01, tls-alpn-01 and dns-01 validations from stored challenge data, and records every hit.
//!
//! A CA connects to [`ChallengeServer`]'s listeners ([`http01`], [`tls_alpn01`], [`dns_listen`], [`doh`]); each asks
//! [`answers`] what to say and tells [`hits`] what it said. The data comes from a `ChallengeReader` (Redis, or
//! a map of this process) and is never written here, except for what the management API of
//! `pebble-challtestsrv` is told ([`management`], off unless asked for), which stays in [`records`].
//! Standing alone, [`deliver`] streams the hits to analytics.
//!
//! Putting challenges into a store is `wec-store`'s; what a hit is, `wec-record`'s.

mod accept;
mod answers;
mod certificate;
mod clock;
mod deliver;
mod dns;
mod dns_listen;
mod doh;
mod history;
mod hits;
mod http01;
mod management;
mod options;
mod outbox;
mod records;
mod server;
mod tls_alpn01;

pub use hits::{HitCounts, HitStream, Hits};
pub use options::{DefaultAddress, Listen, Options, run};
pub use server::{
    Addresses, ChallengeServer, Config, DohCertificate, DohConfig, Limits, ManagementConfig, StartError,
};
