//! `Reading`: how far the logs of a run were read, for people who wait for its figures.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use wec_log::Start;

use super::shown_path;
use crate::views::ReadingView;

/// How often a service logs how far it is.
const LOG_EVERY: Duration = Duration::from_secs(5);
/// Records between two looks at the clock.
const LOOK_EVERY: u32 = 10_000;

/// Logs of a run that are being read, and how far.
#[derive(Debug, Default)]
pub struct Reading {
    /// As they were named.
    log: String,
    /// Bytes of all of them; 0 until it is known.
    length: AtomicU64,
    read: AtomicU64,
}

impl Reading {
    /// Nothing of these logs was read.
    pub fn of(logs: &[PathBuf]) -> Self {
        let named: Vec<_> = logs.iter().map(|log| shown_path(log)).collect();
        Self { log: named.join(", "), ..Self::default() }
    }

    /// The part that was read, per cent; none while the length of the logs is not known, as of standard input.
    pub fn percent(&self) -> Option<u64> {
        let (read, length) = (self.read.load(Ordering::Relaxed), self.length.load(Ordering::Relaxed));
        (u128::from(read) * 100).checked_div(length.into()).map(|percent| percent.min(100) as u64)
    }

    pub(crate) fn view(&self) -> ReadingView {
        ReadingView {
            log: self.log.clone(),
            read_bytes: self.read.load(Ordering::Relaxed),
            log_bytes: self.length.load(Ordering::Relaxed),
        }
    }

    /// Begins to read these files, which have the content of the logs.
    pub(super) fn begin(&self, files: &[PathBuf]) -> Progress<'_> {
        let length = |file: &PathBuf| std::fs::metadata(file).map_or(0, |there| there.len());
        self.length.store(files.iter().map(length).sum(), Ordering::Relaxed);
        Progress { reading: self, before: 0, last: (0, 0), records: 0, logged: Instant::now() }
    }
}

impl fmt::Display for Reading {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.percent() {
            Some(percent) => write!(to, "reading {}: {percent} %", self.log),
            None => write!(to, "reading {}", self.log),
        }
    }
}

/// Notes how far the files are read, one after the other.
#[derive(Debug)]
pub(super) struct Progress<'a> {
    reading: &'a Reading,
    /// Bytes of the files before the last one.
    before: u64,
    last: Start,
    records: u32,
    logged: Instant,
}

impl Progress<'_> {
    /// A record that starts there was read.
    pub(super) fn at(&mut self, start: Start) {
        if start.0 != self.last.0 {
            self.before += self.last.1;
        }
        self.last = start;
        self.records += 1;
        if self.records == LOOK_EVERY {
            self.records = 0;
            self.read(self.before + start.1);
        }
    }

    /// So many bytes of all files were read.
    pub(super) fn read(&mut self, bytes: u64) {
        self.reading.read.store(bytes, Ordering::Relaxed);
        if self.logged.elapsed() >= LOG_EVERY {
            self.logged = Instant::now();
            tracing::info!("{}", self.reading);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_which_part_of_all_files_was_read() {
        let folder = tempfile::tempdir().unwrap();
        let files = ["a", "b"].map(|name| folder.path().join(name));
        files.iter().for_each(|file| std::fs::write(file, [0; 500]).unwrap());
        let reading = Reading::of(&["a.jsonl".into(), "b.jsonl".into()]);
        assert_eq!(reading.to_string(), "reading a.jsonl, b.jsonl");
        let mut progress = reading.begin(&files);
        let mut to = |start| {
            (0..LOOK_EVERY).for_each(|_| progress.at(start));
            reading.to_string()
        };
        assert_eq!(to((0, 120)), "reading a.jsonl, b.jsonl: 12 %");
        assert_eq!(to((0, 480)), "reading a.jsonl, b.jsonl: 48 %");
        assert_eq!(to((1, 20)), "reading a.jsonl, b.jsonl: 50 %");
        assert_eq!(to((1, 499)), "reading a.jsonl, b.jsonl: 97 %");
        // The files have grown.
        assert_eq!(to((1, 900)), "reading a.jsonl, b.jsonl: 100 %");
        let view = reading.view();
        assert_eq!((view.read_bytes, view.log_bytes), (1_380, 1_000));
    }
}
