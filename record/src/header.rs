//! The first line of a log: which format, which run.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::plan::{self, Plan};
use crate::{Calibration, Threshold};

/// Version of the log's format. Grows when a reader of the old one would misread the new one.
pub const FORMAT_VERSION: u32 = 1;

/// What a run was: enough to read its log years later.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunHeader {
    /// [`FORMAT_VERSION`] of the writer.
    pub version: u32,
    /// The run's id, unique.
    pub run: String,
    /// The board's session that the run followed.
    pub session: String,
    /// Program and version that wrote it: `wec 0.1.0`.
    pub program: String,
    /// The CA's directory URL.
    pub target: String,
    /// Wall clock at the start, nanoseconds since the Unix epoch.
    pub started_unix_ns: u64,
    /// What a reader needs to judge the numbers.
    pub stamp: Stamp,
}

/// The machine and settings a run was made with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Stamp {
    /// Host name of the requester.
    pub host: String,
    /// Operating system and architecture: `linux x86_64`.
    pub platform: String,
    /// Logical processors the requester could use.
    pub cpus: u32,
    /// The plan as it was after flags, environment and file, without secrets; none in a log without one. Its key in a log is
    /// `scenario`.
    #[serde(rename = "scenario", deserialize_with = "plan::lenient")]
    pub plan: Option<Box<Plan>>,
    /// What that machine can do at most; absent when it was never measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
}

impl Stamp {
    /// What the run was to hold.
    pub fn thresholds(&self) -> &[Threshold] {
        self.plan.as_ref().map_or(&[], |plan| plan.thresholds.as_slice())
    }

    /// Asks for more of the run than its plan did.
    pub fn ask(&mut self, thresholds: &[Threshold]) {
        if !thresholds.is_empty() {
            self.plan.get_or_insert_default().thresholds.extend_from_slice(thresholds);
        }
    }
}
