//! `Written`: where in its log each minute of a run is while it is being written, so that a part of a long run is read
//! without the rest of its log.
//!
//! Only for a log that this process began and that is one file of text lines. Other logs are read from their
//! start.

use std::ops::Range;
use std::path::{Path, PathBuf};

use wec_record::{Record, RunHeader, RunTimes};

use super::index::{Making, Parts};

#[derive(Debug)]
pub(super) struct Written {
    path: PathBuf,
    /// The number of the file among those that the log has begun.
    file: u64,
    making: Making,
}

impl Written {
    /// A log that has a header and no records.
    pub(super) fn new(path: &Path, file: u64, header: &RunHeader) -> Self {
        let mut making = Making::default();
        making.take_within(&Record::Header(header.clone()), (0, 0, 0));
        Self { path: path.to_owned(), file, making }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// These records are in that file now, between these offsets.
    pub(super) fn take(&mut self, records: &[Record], file: u64, within: Range<u64>) -> bool {
        let last = within.end.saturating_sub(1).max(within.start);
        for record in records {
            self.making.take_within(record, (0, within.start, last));
        }
        file == self.file
    }

    pub(super) fn so_far(&self, times: RunTimes) -> Option<Parts> {
        self.making.so_far(&self.path, times)
    }
}

#[cfg(test)]
mod tests {
    use wec_record::{Stamp, StateCounts};

    use super::*;

    const MINUTE: u64 = 60_000_000_000;
    const START: u64 = 1_795_254_960_000_000_000;

    fn state(minute: u64) -> Record {
        let at_unix_ns = START + minute * MINUTE;
        Record::State { node: "r1".to_owned(), seq: minute + 1, at_unix_ns, counts: StateCounts::default() }
    }

    #[test]
    fn a_part_reads_its_minutes_only() {
        let text = || String::from("x");
        let (run, session, program, target) = (text(), text(), text(), text());
        let header = RunHeader {
            version: 2,
            run,
            session,
            program,
            target,
            started_unix_ns: START,
            stamp: Stamp::default(),
        };
        let mut written = Written::new(Path::new("run.jsonl"), 1, &header);
        for minute in 0..60 {
            let from = 100 + minute * 1_000;
            assert!(written.take(&[state(minute)], 1, from..from + 1_000));
        }
        let mut times = RunTimes::default();
        times.begin(START);
        let parts = written.so_far(times).unwrap();
        for (from, to, length) in [(0, 60, 59_999), (10, 11, 1_999), (59, 99, 999), (70, 80, 0)] {
            assert_eq!(parts.length((from * MINUTE, to * MINUTE)), length, "{from} to {to}");
        }
        assert!(!written.take(&[state(60)], 2, 0..10), "it is in another file");
    }
}
