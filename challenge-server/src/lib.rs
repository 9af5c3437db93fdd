//! Answers http-01, tls-alpn-01 and dns-01 validations from stored challenge data, and records every hit.
//!
//! A CA connects to the listeners of [`ChallengeServer`] ([`http01`], [`tls_alpn01`], [`dns_listen`], [`doh`]). Each
//! gets its answer from [`answers`] and records it in [`hits`]. The data comes from a `ChallengeReader` (Redis, or a
//! map in this process). It is never written here, except for data from the management API of `pebble-challtestsrv`
//! ([`management`], off by default), which stays in [`records`]. [`deliver`] passes the hits to analytics.
//!
//! `wec-store` writes challenges; `wec-record` defines hits.

mod accept;
mod answers;
mod certificate;
mod config;
mod deliver;
mod dns;
mod dns_listen;
mod doh;
mod faults;
mod history;
mod hits;
mod http01;
mod management;
mod options;
mod records;
mod server;
mod tls_alpn01;

pub use config::{Config, DohCertificate, DohConfig, ListenLimits, ManagementConfig};
pub use deliver::deliver;
pub use hits::{HitCounts, HitStream, Hits};
pub use options::{DefaultAddress, Listen, Options, run};
pub use server::{Addresses, ChallengeServer, StartError};
