//! `RecordedRun`: the logs of one run, read once.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;
use wec_log::read_placed;
use wec_record::Record;

use super::end::end;
use super::{Reading, shown_path};
use crate::Aggregate;
use crate::log::{LogError, LogReport, check_input};
use crate::views::{Health, RunEntry};

/// Bytes of standard input that are kept in a temporary file.
const MAX_INPUT: u64 = 16 << 30;

/// The logs of one run, read once.
#[derive(Debug)]
pub struct RecordedRun {
    pub(super) logs: Vec<PathBuf>,
    /// The logs as they were named.
    named: String,
    report: LogReport,
    pub(super) aggregate: Aggregate,
    /// The run's start, and its latest record, nanoseconds since the Unix epoch. Both 0 if no record has a time.
    pub(super) span: (u64, u64),
    /// What arrived on standard input; deleted with this value.
    input: Vec<NamedTempFile>,
}

impl RecordedRun {
    /// Reads the logs of one run. `-` is standard input, which is copied to a temporary file.
    ///
    /// # Errors
    /// When a file cannot be read or has no records, or the files belong to several runs.
    pub fn read(logs: &[PathBuf]) -> Result<Self, LogError> {
        Self::read_noting(logs, &Reading::of(logs))
    }

    /// The same; `reading` shows how far the logs were read.
    ///
    /// # Errors
    /// As [`RecordedRun::read`].
    pub fn read_noting(logs: &[PathBuf], reading: &Reading) -> Result<Self, LogError> {
        check_input(logs)?;
        let mut input = Vec::new();
        let mut files = Vec::with_capacity(logs.len());
        for log in logs {
            if log.as_os_str() == "-" {
                input.push(keep_input(log)?);
                files.extend(input.last().map(|file| file.path().to_owned()));
            } else {
                files.push(log.clone());
            }
        }
        let mut aggregate = Aggregate::default();
        let mut progress = reading.begin(&files);
        let report = read_placed(&files, |record, _, start| {
            progress.at(start);
            aggregate.record(record);
        })?;
        let times = aggregate.times();
        let (started, latest) = (times.started().unwrap_or(0), times.latest());
        let named: Vec<_> = logs.iter().map(|log| shown_path(log)).collect();
        let span = (started, latest.max(started));
        Ok(Self { logs: files, named: named.join(", "), report, aggregate, span, input })
    }

    /// Why the logs are not complete, one sentence each.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = self.report.why_incomplete();
        for kept in &self.input {
            let path = kept.path().display().to_string();
            problems.iter_mut().for_each(|problem| *problem = problem.replace(&path, "-"));
        }
        problems
    }

    /// Whether the logs have the end of the run, or are of the 2015 design, which wrote none.
    pub(crate) fn has_end(&self) -> bool {
        self.report.missing_end().is_none()
    }

    /// What was counted.
    pub(crate) const fn aggregate(&self) -> &Aggregate {
        &self.aggregate
    }

    /// The run's id; the name of the first log in the 2015 format.
    pub fn id(&self) -> String {
        let header = self.report.header.as_ref().map(|header| header.run.clone());
        let file = self.logs.first().filter(|_| self.input.is_empty());
        let stem = || file.and_then(|log| Some(log.file_stem()?.to_string_lossy().into_owned()));
        header.or_else(stem).unwrap_or_else(|| "-".to_owned())
    }

    pub(super) fn health(&self) -> Health {
        Health {
            log: self.named.clone(),
            log_bytes: self.report.bytes,
            log_problems: self.problems(),
            gaps: self.report.missing_records(),
            ..Health::default()
        }
    }

    pub(super) fn entry(&self) -> RunEntry {
        let header = self.report.header.as_ref();
        let text = |of: fn(&wec_record::RunHeader) -> &String| header.map(of).cloned().unwrap_or_default();
        RunEntry {
            id: self.id(),
            session: text(|header| &header.session),
            program: text(|header| &header.program),
            target: text(|header| &header.target),
            started_unix_ns: self.span.0,
            live: false,
            log: self.named.clone(),
            log_bytes: self.report.bytes,
            outcome: Some(end(&self.aggregate.snapshot(), self.has_end())),
            note: String::new(),
        }
    }
}

/// The end of what a record reports, if it is part of the run's time. A footer may be written much later, and
/// records of the 2015 design have no clock.
pub(super) fn time(record: &Record) -> Option<u64> {
    if matches!(record, Record::Footer(_)) { None } else { record.unix_ns().filter(|at| *at > 0) }
}

fn keep_input(named: &Path) -> Result<NamedTempFile, LogError> {
    let failed = |source| LogError::Io { what: "keep a copy of", path: named.into(), source };
    let mut kept = NamedTempFile::with_prefix("wec-replay-").map_err(failed)?;
    let copied = io::copy(&mut io::stdin().lock().take(MAX_INPUT), &mut kept).map_err(failed)?;
    if copied == MAX_INPUT {
        return Err(failed(io::Error::other(format!(
            "it is longer than {MAX_INPUT} bytes, save it to a file"
        ))));
    }
    Ok(kept)
}
