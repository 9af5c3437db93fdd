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
mod challenge_type;
mod header;
mod hit;
mod identifier;
mod load;
mod log;
mod mark;
pub mod plan;
mod result;
mod spent;
pub mod threshold;
pub mod wire;

pub use calibration::{CALIBRATION_VERSION, Calibration};
pub use chain::{Chain, ChainFacts, Object};
pub use challenge_type::{ChallengeType, Listener};
pub use header::{FORMAT_VERSION, RunHeader, Stamp};
pub use hit::{ValidationHit, Verdict};
pub use identifier::{Identifier, Unfit};
pub use load::{
    CaSample, GeneratorSample, Limit, LimitCause, LimitKind, LoadSample, Reach, ScenarioSample, Silent,
    clock_ahead,
};
pub use log::{Footer, NoSuchRecord, Record, RecordError, RunOutcome, StateCounts, UnknownRecord};
pub use mark::{LoadState, Mark, MarkBy, MarkValue, MarkWhat};
pub use plan::Plan;
pub use result::{AuthorizationResult, ChainResult, FailureClass, Phases, Purpose, RequestResult};
pub use spent::Spent;
pub use threshold::Threshold;
