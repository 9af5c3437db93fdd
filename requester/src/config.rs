//! How a plan is written: flags, environment variables and a file.
//!
//! [`keys`] is the one table of what can be asked for. [`flags`] makes a command's flags of it, [`settings`] collects what was
//! given and every mistake, [`plan`] and [`scenario`] read it into a [`Plan`](crate::Plan), and [`schema`] describes files for
//! editors. To add a key: an entry of the table, and a line that reads it.

mod client;
mod contact;
mod dialling;
pub mod flags;
pub mod keys;
pub mod plan;
pub mod scenario;
mod schema;
pub mod settings;
pub(crate) mod values;

pub use flags::{Command, Flags, PlanOptions, Run};
pub use keys::{KEYS, Key, Kind, Place};
pub use plan::Decided;
pub use scenario::Push;
pub use schema::plan_schema;
pub use settings::{Mistake, Mistakes, Origin, Settings};
