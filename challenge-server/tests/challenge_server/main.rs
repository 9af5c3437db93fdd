//! The challenge server over real sockets, used by a CA, a management client and analytics.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod analytics;
mod client;
mod dead_store;
mod dns;
mod faults;
mod http01;
mod management;
mod redis;
mod stand_in;
mod standalone;
mod started;
mod tls_alpn01;
