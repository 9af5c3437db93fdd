//! `Event`: a warning or an error of a process of the load tester.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::named::named;

named! {
    /// How bad it is.
    #[derive(Default, PartialOrd, Ord, Hash)]
    pub enum Level {
        /// Something needs attention, and the work goes on.
        #[default]
        Warn,
        /// Something failed.
        Error,
    }
}

/// A warning or an error of a process of the load tester, with all that had the same cause within about a
/// second. The process also logged it on standard error, at least the first time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// The id of the node; `analytics` for analytics itself.
    pub node: String,
    /// Number among the records of its node, as in [`ChainResult::seq`](crate::ChainResult::seq); 0 for
    /// analytics, which does not number its records.
    #[serde(default)]
    pub seq: u64,
    /// When it happened last, wall clock, nanoseconds since the Unix epoch.
    pub at_unix_ns: u64,
    /// When it happened first of these times, wall clock, nanoseconds since the Unix epoch.
    #[serde(default)]
    pub first_unix_ns: u64,
    /// How bad it is.
    pub level: Level,
    /// The part of the program, such as `wec_store::state`.
    #[serde(default)]
    pub target: String,
    /// The message with its fields, of the first time. At most 500 bytes.
    pub text: String,
    /// How often it happened.
    #[serde(default = "once")]
    pub count: u64,
}

const fn once() -> u64 {
    1
}
