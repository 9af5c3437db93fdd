//! The consumers that each run has, and their options.
//!
//! A further consumer, such as an exporter, is a file in a new folder `consumers/` with its `RecordConsumer`, and its options and its
//! place in the list here. It must not wait for anything: the thread that calls it takes the records of all runs.

use std::sync::Arc;

use wec_record::Threshold;

use super::LiveRun;
use crate::consume::RecordConsumer;

/// What the consumers of each run are asked to do.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ConsumerOptions {
    /// What the run must hold, beside what its requesters ask for; may be repeated (docs/thresholds.md)
    #[arg(long = "threshold", env = "WEC_ANALYTICS_THRESHOLDS", value_name = "EXPR", value_delimiter = ';')]
    pub thresholds: Vec<Threshold>,
}

impl ConsumerOptions {
    /// The consumers of a run, beside its log: that one comes first and decides what is acknowledged.
    pub(crate) fn consumers(&self, run: &Arc<LiveRun>) -> Vec<Box<dyn RecordConsumer>> {
        vec![Box::new(Arc::clone(run))]
    }
}
