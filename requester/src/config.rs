//! Reads a plan from flags, environment variables and a file.
//!
//! [`keys`] is the table of all keys. [`flags`] makes a command's flags from it, [`Settings`] collects the
//! given values and all errors, the rows, [`plan`] and [`scenario`] read them into a [`Plan`](crate::Plan), and
//! [`schema`] describes files for editors. `docs/adding-a-key.md` has the steps for another key.

mod client;
mod contact;
mod dialling;
mod file;
pub mod flags;
pub mod keys;
mod named_chains;
mod plain;
pub mod plan;
pub mod scenario;
mod schema;
mod secrets;
mod session;

pub use crate::settings::{Key, KeyKind, KeyPlace, Mistake, Mistakes, Origin, Settings};
pub use flags::{Command, Flags, PlanOptions, Run};
pub use keys::{FLAGS_ONLY, KEYS};
pub use plan::Decided;
pub use scenario::Push;
pub use schema::{plan_schema, session_schemas};
pub use secrets::{SecretRef, Secrets};
pub use session::{SessionKeys, check_files_of_agent, keys_of_json, plan_for_agent};
