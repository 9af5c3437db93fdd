//! Node statistics: CPU, memory and disks of all nodes, over a websocket in NodNod's protocol.
//!
//! Any node answers for all live nodes: a [`Server`] measures its own machine ([`Sampler`]) and asks the others
//! (`peers`), which are named by a [`Config`] or by the board. [`Client`] is the other side of the protocol.
//!
//! `docs/node-statistics.md` describes the protocol.

mod check;
mod client;
mod config;
mod options;
mod peers;
mod sample;
mod server;
mod wire;

pub use check::{Checked, LoadOptions, check};
pub use client::{Client, ClientError};
pub use config::{Config, DEFAULT_PORT, Mode};
pub use options::{NodeStatsOptions, ServeOptions, serve};
pub use sample::{Figures, Sampler};
pub use server::{Server, ServerOptions, StartError};
pub use wire::{NodeStats, Reply, Scope};
