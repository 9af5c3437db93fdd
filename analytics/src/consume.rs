//! `RecordConsumer`: what takes the records of a run. Each run owns a list of them: see `runs/consumers.rs`.

use wec_record::Record;

/// Takes the records of one run.
pub(crate) trait RecordConsumer: Send {
    /// A record that the run's log has already: its header, and after a restart all that came before it.
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
