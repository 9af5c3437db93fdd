//! Receives results, logs them, has them counted and shows them live.
//!
//! The path of a record: [`Ingest`] or gRPC → one thread that appends it to the run's log and counts it in
//! the run's [`Aggregate`] → [`Snapshot`] and [`Series`] → the web API, the page and the summary. [`replay`]
//! follows the same path from the log on and gives equal figures.
//!
//! Records are defined in `wec-record`, their transport in `wec-proto`, what is counted in `wec-figures`.

mod clock;
mod consume;
pub mod control;
#[doc(hidden)]
pub mod fuzzing;
mod grpc;
mod ingest;
mod log;
mod metrics;
mod notice;
mod options;
pub mod plans;
mod runs;
mod serve;
mod service;
mod summary;
mod views;
mod web;

pub use ingest::Ingest;
pub use log::{DamagedLine, LogError, LogReport, read_logs, replay};
pub use notice::{NoticeDetails, notice, page_link};
pub use options::{Options, run};
pub use runs::{
    ConsumerOptions, ExporterOptions, IndexPlace, IndexedRun, LogPlace, Reading, RecordedRun, read_reports,
};
pub use serve::{ServeOptions, ServedPage, index_at_end, serve, write_index};
pub use service::{Analytics, Config, Finished, StartError};
pub use summary::summary_table;
pub use views::{
    AgentView, Agents, CapacityStep, CapacityView, Health, Joining, LimitsView, Live, NodeView, PartView,
    PlanView, ReadingView, ReplayState, ReplayView, RunEnd, RunEntry, RunSource, Runs, ScenarioView,
    SessionEntry, SessionView, Sessions, StepOutcome, ValueView,
};
pub use wec_figures::aggregate::Aggregate;
pub use wec_figures::distribution::{
    Cell, Cells, QuantileStep, Times, may_be_named, nearest_rank, ranks_around,
};
pub use wec_figures::outcome::{broken_thresholds, nothing_succeeded, threshold_line};
pub use wec_figures::snapshot::{
    ByteFigures, ChainFigures, ChainPercentiles, ChainSeries, ConnectionFigures, DistributionCell,
    DistributionView, EndpointFigures, FailureFigures, FailureScope, GapFigures, GeneratorFigures,
    HitFigures, HitSource, IssuedFigures, LimitFigures, Measure, Missing, NeverSucceeded, NodeFigures,
    NonceFigures, ObservedFigures, ObservedOverTime, ObservedSeries, Period, Perspectives, ProfileFigures,
    Run, SNAPSHOT_VERSION, ScenarioFigures, Series, Snapshot, ThresholdResult, TimesInBucket, Timing, Trend,
    UnknownHit, WarningFigures, Warnings, WindowView,
};
pub use wec_listen::ListenerCounts;
pub use wec_log::{LogFormat, LogOptions};
pub use wec_startup::Token;

pub use web::{Journal, Machine, Machines, SessionChanged, log_schema, openapi, summary_schema};
pub use wec_figures::window::{PART, Part, WindowFailure, WindowFigures, WindowThreshold};
pub use wec_figures::wording::{counted, duration as time_text, rate as rate_text};
