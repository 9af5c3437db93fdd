//! `LogReader`: reads the records of a log and reports the log's defects.
//!
//! A line that is not a record is reported with its number and its offset, skipped and counted; the records
//! around it are read. Whether defects are acceptable is decided by the caller: see [`LogReport::is_whole`].

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use wec_record::{FORMAT_VERSION, Footer, Record, RunHeader};

use super::LogError;
use crate::judge::judge;

/// Maximal length of a line, bytes.
const LONGEST_LINE: u64 = 16 << 20;
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
    /// Lines read, including damaged ones.
    pub lines: u64,
    /// Records by kind, without duplicates.
    pub records: BTreeMap<String, u64>,
    /// Requests of all chain results.
    pub requests: u64,
    /// The first damaged lines.
    pub damaged: Vec<DamagedLine>,
    /// Number of damaged lines.
    pub damaged_lines: u64,
    /// Bytes of last lines without a line break, as after a kill.
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

/// A line that is not a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DamagedLine {
    /// The file.
    pub file: String,
    /// Its number, from 1.
    pub line: u64,
    /// Its start, in bytes from the start of the file.
    pub offset: u64,
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
        let DamagedLine { file, line, offset, why } = match self.damaged.first() {
            Some(first) => first.clone(),
            None => DamagedLine { file: String::new(), line: 0, offset: 0, why: String::new() },
        };
        if self.damaged_lines > 0 {
            let more = self.damaged_lines - 1;
            let more = if more > 0 { format!("; {more} more damaged lines follow") } else { String::new() };
            problems.push(format!("{file}, line {line} (byte {offset}) is not a record: {why}{more}"));
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
            Some(file) => report.read(path, BufReader::with_capacity(1 << 18, file), &mut each)?,
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
    super::is_file(path, &there)?;
    let mut file = File::open(path).map_err(failed("open"))?;
    let mut began = 0;
    let first = BufReader::new(&file).take(LONGEST_LINE).lines().map_while(Result::ok).take(10);
    for line in first {
        if let Some(at) = Record::parse(&line, 1).ok().as_ref().and_then(Record::unix_ns) {
            began = at;
            break;
        }
    }
    io::Seek::rewind(&mut file).map_err(failed("read"))?;
    Ok((began, file))
}

impl LogReport {
    fn read(
        &mut self,
        path: &Path,
        mut lines: impl BufRead,
        each: &mut impl FnMut(&Record),
    ) -> Result<(), LogError> {
        let file = path.display().to_string();
        self.files.push(file.clone());
        let (mut number, mut offset, mut read_any) = (0, 0, self.records.values().any(|count| *count > 0));
        let mut line = Vec::new();
        loop {
            line.clear();
            let failed = |source| LogError::Io { what: "read", path: path.into(), source };
            let mut length =
                lines.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line).map_err(failed)? as u64;
            if length == 0 {
                break;
            }
            let ends = line.pop_if(|last| *last == b'\n').is_some();
            let too_long = !ends && length == LONGEST_LINE;
            if too_long {
                length += skip_line(&mut lines).map_err(failed)?;
            }
            number += 1;
            self.bytes += length;
            let place = offset;
            offset += length;
            if !ends && !too_long {
                self.torn_bytes += length;
                break;
            }
            self.lines += 1;
            let record = if too_long {
                Err(format!("it is longer than {LONGEST_LINE} bytes"))
            } else {
                parse(&line, number)
            };
            match record {
                Ok(record) => {
                    read_any = true;
                    self.take(path, &record, each)?;
                }
                Err(why) => {
                    self.damaged_lines += 1;
                    if self.damaged.len() < MAX_DAMAGED {
                        let why = why.chars().take(LONGEST_WHY).collect();
                        self.damaged.push(DamagedLine {
                            file: file.clone(),
                            line: number,
                            offset: place,
                            why,
                        });
                    }
                }
            }
        }
        if read_any {
            return Ok(());
        }
        let what = match self.damaged.first() {
            Some(first) => format!("line 1: {}", first.why),
            None if self.torn_bytes > 0 => "it has no complete line".to_owned(),
            None => "it is empty".to_owned(),
        };
        Err(LogError::NoRecords { path: path.into(), what })
    }

    fn take(&mut self, path: &Path, record: &Record, each: &mut impl FnMut(&Record)) -> Result<(), LogError> {
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
        each(record);
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

/// Why a line is not a record, without its number, which the caller adds.
fn parse(line: &[u8], number: u64) -> Result<Record, String> {
    let text = std::str::from_utf8(line)
        .map_err(|error| format!("byte {} of it is not UTF-8", error.valid_up_to()))?;
    let record = Record::parse(text, number).map_err(|error| error.source.to_string())?;
    judge(&record)?;
    Ok(record)
}

/// Reads past the next line break; returns the number of bytes.
fn skip_line(lines: &mut impl BufRead) -> io::Result<u64> {
    let mut skipped = 0;
    loop {
        let buffered = lines.fill_buf()?;
        if buffered.is_empty() {
            return Ok(skipped);
        }
        let end = buffered.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        let used = end.unwrap_or(buffered.len());
        lines.consume(used);
        skipped += used as u64;
        if end.is_some() {
            return Ok(skipped);
        }
    }
}

/// A set of numbers, kept as ranges, because a node's numbers are mostly ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// Whether the number is new.
    fn add(&mut self, number: u64) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= number);
        let before = after.checked_sub(1);
        if before.is_some_and(|at| self.0[at].1 >= number) {
            return false;
        }
        let joins_before = before.filter(|at| self.0[*at].1 + 1 == number);
        let joins_after = self.0.get(after).is_some_and(|(first, _)| number + 1 == *first);
        match (joins_before, joins_after) {
            (Some(at), true) => self.0[at].1 = self.0.remove(after).1,
            (Some(at), false) => self.0[at].1 = number,
            (None, true) => self.0[after].0 = number,
            (None, false) => self.0.insert(after, (number, number)),
        }
        true
    }

    /// The numbers missing between the first and the last. A node may have counted before this run.
    fn gaps(&self) -> Vec<(u64, u64)> {
        self.0.windows(2).map(|two| (two[0].1 + 1, two[1].0 - 1)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_are_a_set(numbers in prop::collection::vec(1u64..60, 0..80)) {
            let (mut ranges, mut set) = (Ranges::default(), std::collections::BTreeSet::new());
            for number in numbers {
                prop_assert_eq!(ranges.add(number), set.insert(number));
            }
            let missing: u64 = ranges.gaps().iter().map(|(first, last)| last - first + 1).sum();
            let span = set.last().zip(set.first()).map_or(0, |(last, first)| last - first + 1);
            prop_assert_eq!(missing, span - set.len() as u64);
        }
    }
}
