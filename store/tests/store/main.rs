//! The state store and the challenge store on real servers.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod challenges;
mod claims;
mod common;
mod database_faults;
mod full_disk;
mod kill;
mod leftovers;
mod model;
mod state;
