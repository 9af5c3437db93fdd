//! The records of a run: what each chain and each of its requests did, which validations arrived, and how
//! closely the actual load followed the target.
//!
//! The same types are used live, in the log and in a replay. Their JSON form is a superset of that of the
//! 2015 design (`chainname`, `chainsuccessful`, `chaintook`, `individualresults`; `uri`, `took`,
//! `successful`, `error`), and these keys are always written. A key that is missing is false, zero or empty, or follows from
//! others (`written`). The protobuf form is in `wec-proto`; [`wire`] converts between the two.
//!
//! Aggregation is in `wec-figures`, files are in `wec-log`.

mod calibration;
mod chain;
mod challenge_type;
mod closed_set;
mod event;
mod header;
mod hit;
mod identifier;
mod interned;
mod line;
mod lines;
mod load;
mod log;
mod mark;
mod named;
mod observation;
mod open_set;
pub mod plan;
mod request_stats;
mod result;
mod run_times;
mod spent;
pub mod threshold;
pub mod wire;
mod written;

pub use calibration::{CALIBRATION_VERSION, Calibration};
pub use chain::{Chain, ChainFacts, Object};
pub use challenge_type::{ChallengeType, Listener};
pub use event::{Event, Level};
pub use header::{FORMAT_VERSION, RunHeader, Stamp};
pub use hit::{ValidationHit, Verdict};
pub use identifier::{Identifier, Unfit};
pub use lines::{Kept, LineReader};
pub use load::{
    CaSample, GeneratorSample, Limit, LimitCause, LimitKind, LoadSample, Reach, ScenarioSample, Silent,
    clock_ahead,
};
pub use log::{Footer, KINDS, NoSuchRecord, Record, RecordError, RunOutcome, StateCounts, UnknownRecord};
pub use mark::{
    Answers, Gap, KeepingUp, LoadState, Mark, MarkBy, MarkValue, MarkView, MarkWhat, MarkedLimit,
    MarkedWeight, WarmUp, write_mark_views,
};
pub use observation::{FLEET_SOURCE, Observation};
pub use plan::Plan;
pub use request_stats::{EndpointStats, ErrorStats, RequestStats};
pub use result::{
    AuthorizationResult, ChainResult, FailureClass, LONGEST_DOCUMENT, Phases, Purpose, RequestResult,
};
pub use run_times::{RunTimes, Within};
pub use spent::Spent;
pub use threshold::Threshold;
