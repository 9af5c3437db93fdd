//! The header of a run, which is the first line of its log.

use wec_acme::Clock;
use wec_record::{FORMAT_VERSION, RunHeader, Stamp};
use wec_startup::node_name;

use crate::calibration;
use crate::plan::Plan;

/// This program and its version, as in logs.
pub const PROGRAM: &str = concat!("wec ", env!("CARGO_PKG_VERSION"));

/// Logical processors that this process may use.
pub fn cpus() -> u32 {
    std::thread::available_parallelism().map_or(1, |cpus| u32::try_from(cpus.get()).unwrap_or(u32::MAX))
}

/// The header of a run of `plan`.
pub(crate) fn identify(plan: &Plan, session: &str, host: &str, clock: Clock) -> RunHeader {
    let started_unix_ns = clock.unix_now_ns();
    RunHeader {
        version: FORMAT_VERSION,
        run: format!("{}-{:04x}", started_unix_ns / 1_000_000_000, rand::random::<u16>()),
        session: session.to_owned(),
        program: PROGRAM.to_owned(),
        target: wec_text::without_query(plan.directory.as_str()).into_owned(),
        started_unix_ns,
        stamp: Stamp {
            host: host.to_owned(),
            platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            cpus: cpus(),
            plan: Some(Box::new(plan.into())),
            calibration: calibration::kept(&node_name(None), cpus()),
        },
    }
}
