//! The programs end to end as processes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod agents;
mod bad_input;
mod bad_weather;
mod book;
mod calibrate;
mod capacity;
mod certificates;
mod clean;
mod common;
mod deployment;
mod doctor;
mod drills;
mod exports;
mod faults;
mod fleet;
mod front_end;
mod generator_limits;
mod hostile_text;
mod interrupt;
mod kills;
mod live;
mod load_models;
mod local_refusals;
mod log_files;
mod metrics;
mod mtls;
mod node_stats;
mod nodes;
mod patience;
mod pebble;
mod reconcile;
mod record;
mod replay;
mod report;
mod restart;
mod scenarios;
mod session;
mod sharing;
mod state;
mod targets;
mod trial;
mod trust;
mod verdict;
mod whose_time;
