//! `RecordConsumer`: processes the records of a run. Each run has a list of consumers: see
//! `runs/consumers.rs`. The crate `wec-consumer` has another subject: an API to which runs are reported.

use wec_record::Record;

/// Processes the records of one run.
pub(crate) trait RecordConsumer: Send {
    /// A record that is already in the run's log: its header, and after a restart all earlier records.
    fn known(&mut self, record: &Record);

    /// New records, in the order of the log.
    fn take(&mut self, records: &[Record]);

    /// Called five times a second.
    fn flush(&mut self) {}

    /// Called once, at the end.
    fn close(&mut self) {
        self.flush();
    }
}
