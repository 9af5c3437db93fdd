//! Counts the records of a run and makes its figures: live, in a replay and in a report.
//!
//! The path of a record: [`aggregate::Aggregate`] counts it → [`snapshot::Snapshot`] and [`snapshot::Series`] are
//! made from the counts. No clock, no file and no network is here, so equal records give equal figures.
//!
//! Who receives, logs and shows records is `wec-analytics`.

pub mod aggregate;
pub mod counts;
pub mod distribution;
pub mod families;
mod never_succeeded;
pub mod outcome;
pub mod repeating;
pub mod schema;
pub mod snapshot;
mod verdict;
mod way_out;
pub mod window;
pub mod wording;
