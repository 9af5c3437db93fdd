//! State and challenge data on the real databases.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod challenges;
mod common;
mod full_disk;
mod kill;
mod model;
mod state;
mod weather;
