//! What a machine can do at most, as `wec calibrate` measured it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Version of [`Calibration`]'s JSON. Grows when a key changes its meaning or goes away.
pub const CALIBRATION_VERSION: u32 = 1;

/// A machine's ceiling as a load tester: against the built-in CA, which shared the machine, so a CA elsewhere leaves more.
///
/// It stands beside the figures of later runs on that machine: a run far below it was not held back by its load tester.
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
    /// Chains that ended a second, flat out, in a closed model; authorization and certificate chains in equal parts.
    pub chains_per_s: f64,
    /// HTTP requests a second in the same run.
    pub requests_per_s: f64,
    /// Workers in that run.
    pub busy_workers: u32,
    /// The highest constant rate of such chains, in an open model, at which the load tester kept up; null when it kept up
    /// with none that was tried.
    pub kept_up_chains_per_s: Option<f64>,
    /// Workers that it can have, all of them waiting for slow validations.
    pub workers: u32,
    /// Whether more than that were not tried.
    pub workers_at_least: bool,
    /// Resident memory that each of those took, bytes; null where the system does not say.
    pub memory_per_worker: Option<u64>,
}

impl Calibration {
    /// Why it says nothing about runs on a machine of that name with so many processors; none when it does.
    pub fn mismatch(&self, host: &str, cpus: u32) -> Option<String> {
        if self.version != CALIBRATION_VERSION {
            Some(format!("it is of version {}, and this program reads {CALIBRATION_VERSION}", self.version))
        } else if self.host != host {
            Some(format!("it was measured on {:?}, and this is {host:?}", self.host))
        } else if self.cpus != cpus {
            Some(format!("it was measured with {} processors, and there are {cpus} now", self.cpus))
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
        assert!(measured.mismatch("b", 2).unwrap().contains("\"a\", and this is \"b\""));
        assert!(measured.mismatch("a", 4).unwrap().contains("2 processors"));
        let newer = Calibration { version: 2, ..measured };
        assert!(newer.mismatch("a", 2).unwrap().contains("version 2"));
    }
}
