//! The log as analytics uses it: the first consumer of a run's records, and the source of a replay.

use std::path::Path;

use wec_log::Log;
use wec_record::Record;

use crate::Aggregate;

use crate::consume::RecordConsumer;
pub use wec_log::{DamagedLine, LogError, LogReport, read_logs};
pub(crate) use wec_log::{check_input, read_by_time};

/// Aggregates all files of a log, of which `path` is the first: the figures equal those of the live run.
///
/// A last line without a newline, as after a kill, was never acknowledged and is not read.
///
/// # Errors
/// When the file cannot be read, has a later format, or a line is not a record.
pub fn replay(path: &Path) -> Result<Aggregate, LogError> {
    let mut aggregate = Aggregate::default();
    // A path that does not exist is an error, too.
    let files = Some(wec_log::log_files(path)).filter(|files| !files.is_empty());
    for file in files.unwrap_or_else(|| vec![path.to_owned()]) {
        wec_log::read_strictly(&file, |record| aggregate.record(record))?;
    }
    Ok(aggregate)
}

/// Known records were read from this log.
impl RecordConsumer for Log {
    fn known(&mut self, _: &Record) {}

    fn take(&mut self, records: &[Record]) {
        Self::take(self, records);
    }

    fn flush(&mut self) {
        Self::flush(self);
    }

    /// Waits for the disk.
    fn close(&mut self) {
        Self::close(self);
    }
}
