//! The reports of a recorded run.

use std::path::PathBuf;
use std::time::Duration;

use wec_consumer::RunReport;

use super::RunReports;
use crate::Aggregate;
use crate::log::{LogError, LogReport, read_logs};

/// Reads the logs of one run, and calls `each` with every report that the run made with this interval.
///
/// # Errors
/// As [`read_logs`].
pub fn read_reports(
    logs: &[PathBuf],
    interval: Duration,
    mut each: impl FnMut(RunReport),
) -> Result<LogReport, LogError> {
    let (mut figures, mut reports) = (Aggregate::default(), RunReports::new(interval));
    let found = read_logs(logs, |record| {
        if let Some(report) = reports.before(record, &figures) {
            each(report);
        }
        figures.record(record);
    })?;
    if let Some(result) = reports.result(&figures) {
        each(result);
    }
    Ok(found)
}
