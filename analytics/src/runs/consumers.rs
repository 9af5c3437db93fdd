//! The consumers of each run, and their options.
//!
//! To add a consumer, such as an exporter: put its `RecordConsumer` into a file in a new folder `consumers/`,
//! and its options and its entry into the list here. It must not block: one thread processes the records of
//! all runs.

mod recorded_reports;
mod reported;
mod run_reports;

use std::sync::Arc;

use crate::consume::RecordConsumer;
use wec_consumer::ClientOptions;
use wec_log::LogOptions;
use wec_observe::ObserveOptions;
use wec_record::Threshold;

use super::LiveRun;
use crate::metrics::OtlpOptions;

pub use self::recorded_reports::read_reports;
pub(crate) use self::reported::Reporters;
pub(crate) use self::run_reports::RunReports;

/// Options of the consumers of each run.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ConsumerOptions {
    /// How the log is written, which is the first consumer.
    #[command(flatten)]
    pub log: LogOptions,
    /// A condition for the run to pass, beside those of its requesters; may be repeated (docs/thresholds.md)
    #[arg(
        long = "threshold",
        env = "WEC_ANALYTICS_THRESHOLDS",
        value_name = "EXPR",
        value_delimiter = ';',
        help_heading = "Verdict"
    )]
    pub thresholds: Vec<Threshold>,
    /// Where the runs are reported to.
    #[command(flatten)]
    pub report_to: ClientOptions,
    /// What is observed beside the current run.
    #[command(flatten)]
    pub observe: ObserveOptions,
    /// Where the figures of the current run are sent as OpenTelemetry metrics.
    #[command(flatten)]
    pub otlp: OtlpOptions,
    /// Set when the service starts.
    #[arg(skip)]
    pub reporters: Option<Reporters>,
}

impl ConsumerOptions {
    /// The consumers of a run without its log, which comes first and decides what is acknowledged.
    pub(crate) fn consumers(&self, run: &Arc<LiveRun>) -> Vec<Box<dyn RecordConsumer>> {
        match &self.reporters {
            Some(reporters) => vec![Box::new(reporters.report(Arc::clone(run)))],
            None => vec![Box::new(Arc::clone(run))],
        }
    }
}
