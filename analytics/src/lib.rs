//! Takes results, logs them, aggregates them and shows them live.
//!
//! The way of a record: [`Ingest`] or gRPC → one thread that appends it to the run's log and counts it in the run's
//! [`Aggregate`] → [`Snapshot`] and [`Series`] → the web API, the page and the summary. [`replay`] goes the same way
//! from the log on, and ends with equal figures.
//!
//! What a record is, is said in `wec-record`; how it travels, in `wec-proto`.

mod aggregate;
mod book;
mod clock;
pub mod control;
mod counts;
mod grpc;
mod ingest;
mod log;
mod options;
mod service;
mod snapshot;
mod summary;
mod token;
mod verdict;
mod web;
mod window;

pub use aggregate::Aggregate;
pub use ingest::{Ingest, LogPlace};
pub use log::{LogError, replay};
pub use options::{Options, run};
pub use service::{Analytics, Config, Finished, StartError};
pub use snapshot::{
    ByteFigures, ChainFigures, ChainSeries, ConnectionFigures, EndpointFigures, FailureFigures, FailureScope,
    GeneratorFigures, Health, HitFigures, LimitFigures, LimitsView, Live, Mark, Missing, NodeView,
    NonceFigures, Run, SNAPSHOT_VERSION, ScenarioFigures, ScenarioView, Series, SessionView, Snapshot,
    ThresholdResult, Timing,
};
pub use summary::{
    broken_thresholds, counted, duration as time_text, nothing_succeeded, summary_table, threshold_line,
};
pub use token::Token;
pub use web::{SessionChanged, openapi};
pub use window::{PART, Part, WindowFigures, WindowThreshold};
