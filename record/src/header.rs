//! The first line of a log: which format, which run.

use serde::{Deserialize, Serialize};

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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stamp {
    /// Host name of the requester.
    pub host: String,
    /// Operating system and architecture: `linux x86_64`.
    pub platform: String,
    /// Logical processors the requester could use.
    pub cpus: u32,
    /// The scenario as it was after flags, environment and file, without secrets.
    pub scenario: serde_json::Value,
    /// What that machine can do at most; absent when it was never measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
}

impl Stamp {
    /// What the run was to hold, by the plan's key `thresholds`. One that this version cannot read is left out.
    pub fn thresholds(&self) -> Vec<Threshold> {
        let listed = self.scenario.get("thresholds").and_then(serde_json::Value::as_array);
        listed.into_iter().flatten().filter_map(|text| text.as_str()?.parse().ok()).collect()
    }

    /// Asks for more of the run than its plan did.
    pub fn ask(&mut self, thresholds: &[Threshold]) {
        if thresholds.is_empty() {
            return;
        }
        if !self.scenario.is_object() {
            self.scenario = serde_json::json!({});
        }
        let listed = self.scenario["thresholds"].take();
        let mut listed = listed.as_array().cloned().unwrap_or_default();
        listed.extend(thresholds.iter().map(|threshold| threshold.to_string().into()));
        self.scenario["thresholds"] = listed.into();
    }
}
