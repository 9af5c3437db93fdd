//! The board with several processes: in memory, in a file and in a real etcd.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod agents;
mod board;
mod clocks;
mod common;
mod crowd;
mod etcd_faults;
mod file;
mod secured;
