//! The consumers of each run and the exporters of a process, and their options.
//!
//! To add an exporter: put its options and its task or its `RecordConsumer` into a file in `consumers/`, and its
//! row into [`ExporterOptions`]. `wec run` and `wec analytics` then have its flags. A `RecordConsumer` must not
//! block: one thread processes the records of all runs.

mod ending;
mod noticed;
mod observed;
mod otlp;
mod recorded_reports;
mod reported;
mod run_reports;

use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wec_consumer::ClientOptions;
use wec_log::LogOptions;
use wec_observe::ObserveOptions;
use wec_record::Threshold;

use super::{LiveRun, Shown};
use crate::consume::RecordConsumer;
use crate::ingest::Ingest;

pub(crate) use self::noticed::Notices;
use self::otlp::OtlpOptions;
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
    /// Where the runs are exported to, and what is added to them.
    #[command(flatten)]
    pub exporters: ExporterOptions,
    /// Set when the service starts.
    #[arg(skip)]
    pub reporters: Option<Reporters>,
    /// Set by a service that posts a notice of each run; other commands post one about their only run.
    #[arg(skip)]
    pub notices: Option<Notices>,
}

/// Options of all exporters, for every command that has analytics in its process.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ExporterOptions {
    /// Where the runs are reported to.
    #[command(flatten)]
    pub report_to: ClientOptions,
    /// What is observed beside the current run.
    #[command(flatten)]
    pub observe: ObserveOptions,
    /// Where the figures of the current run are sent as OpenTelemetry metrics.
    #[command(flatten)]
    pub otlp: OtlpOptions,
}

/// The runs of a process, as its exporters see them.
#[derive(Clone, Debug)]
pub(crate) struct ExportedRuns {
    pub(crate) shown: Arc<Shown>,
    /// For records that an exporter adds to the current run.
    pub(crate) ingest: Ingest,
    /// From then on no results are received.
    pub(crate) results_end: CancellationToken,
    /// From then on the figures do not change.
    pub(crate) figures_final: CancellationToken,
}

impl ExporterOptions {
    /// Starts the exporters that are no consumers of records. Must be called within a tokio runtime.
    pub(crate) fn start(&self, runs: &ExportedRuns) -> Vec<JoinHandle<()>> {
        // All are named, so that no exporter is forgotten.
        let Self { report_to: _, observe, otlp } = self;
        otlp::start(otlp, runs).into_iter().chain(observed::start(observe, runs)).collect()
    }
}

impl ConsumerOptions {
    /// The consumers of a run without its log, which comes first and decides what is acknowledged.
    pub(crate) fn consumers(&self, run: &Arc<LiveRun>) -> Vec<Box<dyn RecordConsumer>> {
        let counting: Box<dyn RecordConsumer> = match &self.reporters {
            Some(reporters) => Box::new(reporters.report(Arc::clone(run))),
            None => Box::new(Arc::clone(run)),
        };
        let noticed = self.notices.as_ref().map(|notices| Box::new(notices.of(Arc::clone(run))) as _);
        [counting].into_iter().chain(noticed).collect()
    }
}
