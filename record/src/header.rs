//! The first line of a log: the format version and the run.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::plan::{self, Plan};
use crate::{Calibration, Threshold};

/// Version of the log's format. It grows when a reader of the old format would misread the new one.
///
/// Version 2 leaves out the times of chain results that follow from others.
pub const FORMAT_VERSION: u32 = 2;

/// What is needed to read the log of a run later without other sources.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunHeader {
    /// [`FORMAT_VERSION`] of the program that wrote the log.
    pub version: u32,
    /// The run's id, unique.
    pub run: String,
    /// The board's session that the run followed.
    pub session: String,
    /// Program and version that wrote it: `wec 0.1.0`.
    pub program: String,
    /// The CA's directory URL, without its query.
    #[serde(deserialize_with = "plan::shown_url")]
    pub target: String,
    /// Wall clock at the start, nanoseconds since the Unix epoch.
    pub started_unix_ns: u64,
    /// What is needed to judge the figures.
    pub stamp: Stamp,
}

/// The machine and the settings of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Stamp {
    /// Host name of the requester.
    pub host: String,
    /// Operating system and architecture: `linux x86_64`.
    pub platform: String,
    /// Logical processors the requester could use.
    pub cpus: u32,
    /// The plan after flags, environment and file were merged, without secrets; none in a log without a plan.
    /// Its key in the log is `scenario`.
    #[serde(rename = "scenario", deserialize_with = "plan::lenient")]
    pub plan: Option<Box<Plan>>,
    /// The highest load that this machine can make; absent when it was not measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
}

impl Stamp {
    /// The thresholds of the run's plan.
    pub fn thresholds(&self) -> &[Threshold] {
        self.plan.as_ref().map_or(&[], |plan| plan.thresholds.as_slice())
    }

    /// Time from the run's start whose results are in no figure, nanoseconds.
    pub fn warm_up_ns(&self) -> u64 {
        let warm_up = self.plan.as_ref().map_or(Duration::ZERO, |plan| plan.warm_up.0);
        u64::try_from(warm_up.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Adds thresholds to those of the plan.
    pub fn ask(&mut self, thresholds: &[Threshold]) {
        if !thresholds.is_empty() {
            self.plan.get_or_insert_default().thresholds.extend_from_slice(thresholds);
        }
    }
}
