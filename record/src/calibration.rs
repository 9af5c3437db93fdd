//! What a machine can do at most, as `wec calibrate` measured it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Version of [`Calibration`]'s JSON. It grows when a key changes its meaning or is removed.
pub const CALIBRATION_VERSION: u32 = 1;

/// The highest load that this machine can make, measured against the built-in CA on the same machine. Against
/// a CA on another machine it is higher.
///
/// Reports of later runs on this machine show it: a run far below it was not limited by the load tester.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Calibration {
    /// [`CALIBRATION_VERSION`] of the writer.
    pub version: u32,
    /// Program and version that measured: `wec 0.1.0`.
    pub program: String,
    /// When, nanoseconds since the Unix epoch.
    pub measured_unix_ns: u64,
    /// Host name.
    pub host: String,
    /// Logical processors.
    pub cpus: u32,
    /// Chains ended per second at full load in a closed model, half authorization and half certificate
    /// chains.
    pub chains_per_s: f64,
    /// HTTP requests per second in the same run.
    pub requests_per_s: f64,
    /// Workers in that run.
    pub busy_workers: u32,
    /// The highest constant rate of such chains, in an open model, at which the load tester kept up; null
    /// when it kept up with no rate that was tried.
    pub kept_up_chains_per_s: Option<f64>,
    /// The number of workers that it can have while all of them wait for slow validations.
    pub workers: u32,
    /// Whether no higher number of workers was tried.
    pub workers_at_least: bool,
    /// Resident memory per such worker, bytes; null where the system does not report it.
    pub memory_per_worker: Option<u64>,
}

impl Calibration {
    /// Why this measurement does not apply to runs on `host` with `cpus` processors; none when it applies.
    pub fn mismatch(&self, host: &str, cpus: u32) -> Option<String> {
        if self.version != CALIBRATION_VERSION {
            Some(format!(
                "it has version {}, and this program reads version {CALIBRATION_VERSION}",
                self.version
            ))
        } else if self.host != host {
            Some(format!("it was measured on {:?}, but this host is {host:?}", self.host))
        } else if self.cpus != cpus {
            Some(format!("it was measured with {} processors, but this machine has {cpus} now", self.cpus))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speaks_only_of_the_machine_that_it_was_measured_on() {
        let measured = Calibration {
            version: CALIBRATION_VERSION,
            program: "wec".into(),
            measured_unix_ns: 0,
            host: "a".into(),
            cpus: 2,
            chains_per_s: 1.0,
            requests_per_s: 1.0,
            busy_workers: 1,
            kept_up_chains_per_s: None,
            workers: 1,
            workers_at_least: false,
            memory_per_worker: None,
        };
        assert_eq!(measured.mismatch("a", 2), None);
        assert!(measured.mismatch("b", 2).unwrap().contains("\"a\", but this host is \"b\""));
        assert!(measured.mismatch("a", 4).unwrap().contains("2 processors"));
        let newer = Calibration { version: 2, ..measured };
        assert!(newer.mismatch("a", 2).unwrap().contains("version 2"));
    }
}
