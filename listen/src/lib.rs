//! Accepts connections within bounds: one accept loop, one set of time limits and one set of counters for all TCP
//! listeners.
//!
//! A connection is *busy* while one of its requests is being answered. It is *waiting* otherwise: before its first
//! request (including TLS handshake and HTTP/2 preface) and between two requests. [`Rules`] close only waiting
//! connections: those that send no request in time, and, if the rules allow it, the one that has waited longest when
//! a new one needs its place.
//!
//! Not here: the protocol of a connection (except the shared HTTP limits in [`http`]), TLS, and authorization.

pub mod http;

mod accept;
mod connections;
mod rules;

pub use accept::{accept, shortages};
pub use connections::{Busy, Connection, Connections, ListenerCounts};
pub use rules::{Rules, WhenFull, within_descriptors};
