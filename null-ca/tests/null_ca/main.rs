//! The CA tested with its own small client and with independent clients.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod client;
mod curl;
mod faults;
mod instant_acme;
mod lego;
mod protocol;
