//! Analytics as used by requesters, by people, and by readers of logs.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod aggregate;
mod common;
mod delivery;
mod distribution;
mod downloads;
mod failures;
mod index;
mod listeners;
mod log;
mod never_succeeded;
mod otlp;
mod page_chains;
mod page_data;
mod reading;
mod replay;
mod serving;
mod summary;
mod web;
mod whose_time;
