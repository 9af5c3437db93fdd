//! Chains against real CAs, the built-in CA, and scripted answers.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod behaviours;
mod ca_clock;
mod caddy;
mod common;
mod composed;
mod cut_off;
mod failing;
mod failures;
mod late_validations;
mod lifecycle;
mod limits;
mod members;
mod null_ca;
mod orders;
mod pebble;
mod quirks;
mod refusals;
mod together;
mod whose_time;
