//! The load of a CA's clients, from its access logs, as a scenario that puts the same load on another CA.
//!
//! [`read`] reads logs line by line, each [`line`](parse) in one of four formats. [`Paths`] finds the endpoint of a
//! request and [`client`] the kind of its client. [`Counts`] keeps numbers by step of time, so its size does not
//! depend on the log's. [`Model`] derives the chains that would make the same requests, and writes them as a
//! configuration file for `wec run`.
//!
//! The file has numbers and the names of well-known clients only: no address, name, account or path of the log.

pub mod client;
mod counts;
mod derive;
mod formats;
mod model;
mod paths;
mod read;
mod text;
mod time;

pub use counts::Counts;
pub use derive::Starts;
pub use formats::{Request, parse};
pub use model::{Model, ModelSettings};
pub use paths::{Mapping, Paths};
pub use read::{ReadError, Skipped, read};
