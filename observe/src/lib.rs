//! Samples chosen series of other programs' metrics beside a run: of the CA, its database, its machine.
//!
//! The path of a sample: HTTP answer → [`exposition`] (a strict parser) → [`Chosen`] (which series, within a
//! bound) → [`Observation`](wec_record::Observation), a record of the log. Addresses come from the flags and
//! the environment of this process only.

mod choice;
pub mod exposition;
mod options;
mod sampler;

pub use choice::{Chosen, MAX_SERIES, Pattern};
pub use options::{ObserveOptions, Source};
pub use sampler::Sampler;
