//! The CA as clients meet it, among them some that nobody here wrote.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod client;
mod curl;
mod faults;
mod instant_acme;
mod lego;
mod protocol;
