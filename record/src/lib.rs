//! The record of a run: what a chain did, what each of its requests did, which validations the CA sent, and how well the
//! load was what it was asked to be.
//!
//! One value serves live, in the log and in replay. Its JSON form is a superset of the wile-e-coyote
//! design's (`chainname`, `chainsuccessful`, `chaintook`, `individualresults`; `uri`, `took`, `successful`,
//! `error`): keys are always written, and records that lack keys whose value is false, zero or empty can be
//! read. The protobuf form is `wec-proto`'s; [`wire`] converts between the two.
//!
//! Aggregation and files do not live here: see `wec-analytics`.

mod calibration;
mod chain;
mod header;
mod hit;
mod load;
mod log;
pub mod threshold;
pub mod wire;

pub use calibration::{CALIBRATION_VERSION, Calibration};
pub use chain::{Chain, ChainResult, FailureClass, Purpose, RequestResult};
pub use header::{FORMAT_VERSION, RunHeader, Stamp};
pub use hit::{ChallengeType, ValidationHit, Verdict};
pub use load::{GeneratorSample, Limit, LimitKind, LoadSample, Reach, ScenarioSample};
pub use log::{Record, RecordError, StateCounts};
pub use threshold::Threshold;
