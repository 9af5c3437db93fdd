//! The client against real servers and against answers that RFC 8555 does not describe.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod caddy;
mod discover;
mod pebble;
mod quirks;
mod support;
mod unverified;
