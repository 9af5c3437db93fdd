//! `LogReport`: reads the records of a log and reports the log's defects.
//!
//! A line that is not a record is reported with its number and its offset, skipped and counted; the records
//! around it are read. Whether defects are acceptable is decided by the caller: see [`LogReport::is_whole`].

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Serialize;
use wec_record::{FORMAT_VERSION, Footer, Record, RunHeader};

use crate::file::{is_file, shown};
use crate::judge::judge;
use crate::ranges::Ranges;
use crate::reader::{Found, Place, Reader};
use crate::{LogError, LogFormat};

/// Damaged lines that are reported individually; all are counted.
const MAX_DAMAGED: usize = 20;
/// Maximal length of the explanation of a damaged line, characters.
const LONGEST_WHY: usize = 300;
/// Nodes whose record numbers are checked.
const MAX_NODES: usize = 100_000;

/// The content of the logs of one run, and their defects.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LogReport {
    /// Files that were read; `-` is standard input.
    pub files: Vec<String>,
    /// Bytes read.
    pub bytes: u64,
    /// Lines read, including damaged ones; in a binary log, messages with a record.
    pub lines: u64,
    /// Records by kind, without duplicates.
    pub records: BTreeMap<String, u64>,
    /// Requests of all chain results.
    pub requests: u64,
    /// The first damaged lines.
    pub damaged: Vec<DamagedLine>,
    /// Number of damaged lines.
    pub damaged_lines: u64,
    /// Bytes of incomplete last records, as after a kill. In a compressed log, of the last block, if that is incomplete.
    pub torn_bytes: u64,
    /// Duplicate records, by node and number; they are skipped.
    pub repeated: u64,
    /// Ranges of missing numbers between others, by node.
    pub missing: BTreeMap<String, Vec<(u64, u64)>>,
    /// How the run ended; none when the writer was killed, is still running, or was a version without
    /// footers.
    pub footer: Option<Footer>,
    /// The run's header; none in a log of the 2015 design.
    #[serde(skip)]
    pub header: Option<RunHeader>,
    #[serde(skip)]
    numbers: BTreeMap<String, Ranges>,
}

/// A line, message or zstd frame that is damaged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DamagedLine {
    /// The file.
    pub file: String,
    /// Its number, from 1; in a binary log, of the message.
    pub line: u64,
    /// Its start, in bytes from the start of the file; in a compressed log, of the uncompressed content.
    pub offset: u64,
    /// In a compressed log, the start of its frame in the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frame: Option<u64>,
    /// The format of the file.
    #[serde(skip)]
    pub format: LogFormat,
    /// What is wrong with it.
    pub why: String,
}

impl LogReport {
    /// Number of missing records.
    pub fn missing_records(&self) -> u64 {
        self.missing.values().flatten().map(|(first, last)| last - first + 1).sum()
    }

    /// The defects of the log, one sentence each; empty when it is complete.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if let Some(DamagedLine { file, line, offset, frame, format, why }) = &self.damaged.first() {
            let place = shown(&Place { number: *line, offset: *offset, frame: *frame }, *format);
            let more = self.damaged_lines - 1;
            let what = if format.is_binary() { "places" } else { "lines" };
            let more = if more > 0 { format!("; {more} more damaged {what} follow") } else { String::new() };
            problems.push(format!("{file}, {place} is not a record: {why}{more}"));
        }
        if self.torn_bytes > 0 {
            problems.push(format!(
                "the last line is incomplete ({} bytes): the writer was stopped in the middle of a record",
                self.torn_bytes
            ));
        }
        for (node, ranges) in self.missing.iter().take(MAX_DAMAGED) {
            let missing: u64 = ranges.iter().map(|(first, last)| last - first + 1).sum();
            let (first, last) = ranges.first().copied().unwrap_or_default();
            let which =
                if ranges.len() == 1 { String::new() } else { format!(" in {} ranges", ranges.len()) };
            problems.push(format!(
                "{missing} records of {node} are missing{which}, from number {first} to {last}"
            ));
        }
        if let Some(footer) = &self.footer {
            for (kind, count) in &footer.records {
                let here = self.records.get(kind).copied().unwrap_or(0);
                if here < *count {
                    problems.push(format!(
                        "{} of {count} records of kind {kind:?} that the writer counted are missing",
                        count - here
                    ));
                }
            }
        }
        problems
    }

    /// Whether every line is a record and, as far as the log shows, no record is missing.
    pub fn is_whole(&self) -> bool {
        self.problems().is_empty()
    }
}

/// Reads the logs of one run, and calls `each` with every record except duplicates. `-` is standard input.
///
/// # Errors
/// When a file cannot be read, has a later format, belongs to another run than the one before, or has no
/// records.
pub fn read_logs(paths: &[PathBuf], mut each: impl FnMut(&Record)) -> Result<LogReport, LogError> {
    read_lines(paths, |record, _| each(record))
}

/// As [`read_logs`]; `each` also gets the line of each record that is JSON.
///
/// # Errors
/// As [`read_logs`].
pub fn read_lines(
    paths: &[PathBuf],
    mut each: impl FnMut(&Record, Option<&str>),
) -> Result<LogReport, LogError> {
    let mut report = LogReport::default();
    let mut files = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            files.push((0, path, None));
            continue;
        }
        let (began, file) = open(path)?;
        files.push((began, path, Some(file)));
    }
    // The names of a rotated log's files need not be in the order of time.
    files.sort_by_key(|(began, ..)| *began);
    for (_, path, file) in files {
        match file {
            Some(file) => report.read(path, file, &mut each)?,
            None => report.read(path, io::stdin().lock(), &mut each)?,
        }
    }
    report.missing = std::mem::take(&mut report.numbers)
        .into_iter()
        .map(|(node, numbers)| (node, numbers.gaps()))
        .filter(|(_, gaps)| !gaps.is_empty())
        .collect();
    Ok(report)
}

/// The file from its start, and the time of its first record that has one.
fn open(path: &Path) -> Result<(u64, File), LogError> {
    let failed = |what| move |source| LogError::Io { what, path: path.into(), source };
    let there = std::fs::metadata(path).map_err(failed("open"))?;
    is_file(path, &there)?;
    let mut file = File::open(path).map_err(failed("open"))?;
    let mut began = 0;
    {
        let mut reader = Reader::new(&file).map_err(failed("read"))?;
        for _ in 0..10 {
            match reader.next().map_err(failed("read"))? {
                Some(Found::Record(_, record, _)) if record.unix_ns().is_some() => {
                    began = record.unix_ns().unwrap_or(0);
                    break;
                }
                Some(_) => {}
                None => break,
            }
        }
    }
    io::Seek::rewind(&mut file).map_err(failed("read"))?;
    Ok((began, file))
}

impl LogReport {
    fn read(
        &mut self,
        path: &Path,
        source: impl Read,
        each: &mut impl FnMut(&Record, Option<&str>),
    ) -> Result<(), LogError> {
        let failed = |source| LogError::Io { what: "read", path: path.into(), source };
        let file = path.display().to_string();
        self.files.push(file.clone());
        let mut read_any = self.records.values().any(|count| *count > 0);
        let mut reader = Reader::new(source).map_err(failed)?;
        while let Some(found) = reader.next().map_err(failed)? {
            let (place, why) = match found {
                Found::Record(place, record, line) => match judge(&record) {
                    Ok(()) => {
                        read_any = true;
                        self.take(path, &record, line.as_deref(), each)?;
                        continue;
                    }
                    Err(why) => (place, why),
                },
                Found::Blank(place) => (place, "it is empty".to_owned()),
                Found::Damaged(place, why) => (place, why),
                Found::Newer(version) => return Err(LogError::NewerBinary { path: path.into(), version }),
            };
            self.damaged_lines += 1;
            if self.damaged.len() < MAX_DAMAGED {
                let why = wec_text::visible(&why).chars().take(LONGEST_WHY).collect();
                let Place { number: line, offset, frame } = place;
                let format = reader.format();
                self.damaged.push(DamagedLine { file: file.clone(), line, offset, frame, format, why });
            }
        }
        self.bytes += reader.bytes();
        self.lines += reader.read();
        self.torn_bytes += reader.end().torn;
        if read_any {
            return Ok(());
        }
        let what = match self.damaged.first() {
            Some(first) if first.format.is_binary() => format!("message 1: {}", first.why),
            Some(first) => format!("line 1: {}", first.why),
            None if self.torn_bytes > 0 => "it has no complete line".to_owned(),
            None => "it is empty".to_owned(),
        };
        Err(LogError::NoRecords { path: path.into(), what })
    }

    fn take(
        &mut self,
        path: &Path,
        record: &Record,
        line: Option<&str>,
        each: &mut impl FnMut(&Record, Option<&str>),
    ) -> Result<(), LogError> {
        match record {
            Record::Header(header) if header.version > FORMAT_VERSION => {
                return Err(LogError::Newer { path: path.into(), version: header.version });
            }
            Record::Header(header) => match &self.header {
                Some(known) if known.run != header.run => {
                    let (found, wanted) = (header.run.clone(), known.run.clone());
                    return Err(LogError::AnotherRun { path: path.into(), found, wanted });
                }
                // Each file of a rotated log begins with it.
                Some(_) => return Ok(()),
                None => self.header = Some(header.clone()),
            },
            Record::Footer(footer) => self.footer = Some(footer.clone()),
            _ => {}
        }
        if let Some((node, seq)) = record.origin().filter(|(_, seq)| *seq > 0)
            && !self.is_new(node, seq)
        {
            self.repeated += 1;
            return Ok(());
        }
        if let Record::Chain { result, .. } = record {
            self.requests += result.requests.len() as u64;
        }
        match self.records.get_mut(record.kind()) {
            Some(count) => *count += 1,
            None => drop(self.records.insert(record.kind().to_owned(), 1)),
        }
        each(record, line);
        Ok(())
    }

    fn is_new(&mut self, node: &str, seq: u64) -> bool {
        let nodes = self.numbers.len();
        match self.numbers.get_mut(node) {
            Some(numbers) => numbers.add(seq),
            None if nodes >= MAX_NODES => true,
            None => self.numbers.entry(node.to_owned()).or_default().add(seq),
        }
    }
}
