//! `LogReport`: reads the records of a log and reports the log's defects.
//!
//! A line that is not a record is reported with its number and its offset, skipped and counted; the records
//! around it are read. Whether defects are acceptable is decided by the caller: see [`LogReport::is_whole`].

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;
use wec_record::{FORMAT_VERSION, Footer, KINDS, Record, RunHeader, RunTimes, Within};

use crate::file::{is_file, shown};
use crate::judge::{contradiction, is_sound, judge};
use crate::ranges::Numbers;
use crate::reader::{Found, Place, Reader};
use crate::repeats::Repeats;
use crate::seen::Seen;
use crate::{LogError, LogFormat};

/// Damaged lines that are reported individually; all are counted.
const MAX_DAMAGED: usize = 20;
/// Maximal length of the explanation of a damaged line, characters.
const LONGEST_WHY: usize = 300;

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
    /// How many of them are in no figure, because they have a form or a value that this version does not know.
    pub not_counted: BTreeMap<String, u64>,
    /// Requests of all chain results.
    pub requests: u64,
    /// The first damaged lines.
    pub damaged: Vec<DamagedLine>,
    /// Number of damaged lines.
    pub damaged_lines: u64,
    /// Bytes of incomplete last records, as after a kill. In a compressed log, of the last block, if that is incomplete.
    pub torn_bytes: u64,
    /// The first records whose times are out of range or contradict each other. They are read.
    pub doubtful: Vec<DamagedLine>,
    /// Number of such records.
    pub doubtful_records: u64,
    /// The first records of known kinds that have another form than this version reads. They are kept, and in no
    /// figure.
    pub other_form: Vec<DamagedLine>,
    /// Number of such records.
    pub other_form_records: u64,
    /// Chain results whose chain has a name that this version does not know; the first of them. Their requests are
    /// counted, and they are in the figures of no chain.
    pub unknown_chain: Vec<DamagedLine>,
    /// Number of such records.
    pub unknown_chains: u64,
    /// Duplicate records, by node and number, and others that several files have, such as marks; they are skipped.
    pub repeated: u64,
    /// The first records with the node and the number of an earlier one, and another content. They are skipped.
    pub contradicting: Vec<DamagedLine>,
    /// Number of such records.
    pub contradicting_records: u64,
    /// Duplicate records by node and number that were not compared with the earlier ones: those of standard input,
    /// which is read once, and those beyond a bound.
    pub not_compared: u64,
    /// Ranges of missing numbers between others, by node.
    pub missing: BTreeMap<String, Vec<(u64, u64)>>,
    /// How the run ended; none when the writer was killed, is still running, or was a version without
    /// footers.
    pub footer: Option<Footer>,
    /// Whether the last record is a footer. A run that continues after a restart has records after its footer.
    pub ended: bool,
    /// The run's header; none in a log of the 2015 design.
    #[serde(skip)]
    pub header: Option<RunHeader>,
    #[serde(skip)]
    seen: Seen,
    /// The numbers of duplicate records.
    #[serde(skip)]
    again: Numbers,
    /// How many there are of them.
    #[serde(skip)]
    repeated_numbers: u64,
    /// Nodes numbered their records, which the 2015 design did not have, and there is no header before them.
    #[serde(skip)]
    headless: bool,
    /// Chain results with a value that this version does not know: their requests are not counted.
    #[serde(skip)]
    later_chains: bool,
    #[serde(skip)]
    times: RunTimes,
    /// Where the time is with which the run begins.
    #[serde(skip)]
    began: Option<DamagedLine>,
    /// Chain results and hits that are not in `records` yet: almost all records are of these kinds.
    #[serde(skip)]
    chains: u64,
    #[serde(skip)]
    hits: u64,
    /// The position of the file that is being read.
    #[serde(skip)]
    pub(crate) reading: usize,
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
        let gaps = self.missing.values().flatten();
        gaps.fold(0, |sum, (first, last)| sum.saturating_add((last - first).saturating_add(1)))
    }

    /// What is wrong with the records that are there, one sentence each.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.headless {
            problems.push("there is no header: the beginning of the log is missing".to_owned());
        }
        if let Some(first @ DamagedLine { file, format, why, .. }) = &self.damaged.first() {
            let place = first.place();
            let more = self.damaged_lines - 1;
            let what = if format.is_binary() { "places" } else { "lines" };
            let more = if more > 0 { format!("; {more} more damaged {what} follow") } else { String::new() };
            problems.push(format!("{file}, {place} is not a record: {why}{more}"));
        }
        problems.extend(of_records(": ", &self.doubtful, self.doubtful_records));
        problems.extend(of_records(
            " is kept, but not counted, because its form is not known: ",
            &self.other_form,
            self.other_form_records,
        ));
        // The 2015 design had chains that this version does not have.
        if self.header.is_some() {
            problems.extend(of_records(
                " is of a chain that this version does not know, so its requests are counted, and it is in no chain's figures: ",
                &self.unknown_chain,
                self.unknown_chains,
            ));
        }
        problems.extend(of_records(
            " has another content than an earlier record with its number, and is not counted: ",
            &self.contradicting,
            self.contradicting_records,
        ));
        if self.files.len() > 1 && self.seen.is_full() {
            problems.push(
                "there are more marks, events and observations than are compared between files: some may count twice"
                    .to_owned(),
            );
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
            let node = wec_text::visible(node);
            problems.push(match missing {
                1 => format!("record {first} of {node} is missing"),
                _ => format!("{missing} records of {node} are missing{which}, from number {first} to {last}"),
            });
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
            let chains = |records: &BTreeMap<String, u64>| records.get("chain").copied().unwrap_or(0);
            if !self.later_chains
                && footer.requests != self.requests
                && chains(&footer.records) == chains(&self.records)
            {
                problems.push(format!(
                    "the footer counts {} requests, but the chain results have {}: one of the numbers was changed",
                    footer.requests, self.requests
                ));
            }
        }
        problems
    }

    /// Why the log may be only the beginning of its run: it has no footer after its last record. None for a log with
    /// its end, and for one of the 2015 design, which had no footers.
    pub fn missing_end(&self) -> Option<String> {
        let has_none = !self.ended && (self.header.is_some() || self.headless);
        has_none.then(|| {
            format!(
                "{} has no end, so results may be missing: its writer was killed or still runs, or the rest of the log is \
                 missing",
                self.files.last().map_or("the log", String::as_str)
            )
        })
    }

    /// Why the log is not complete, one sentence each: what is wrong with its records, and whether its end is missing.
    pub fn why_incomplete(&self) -> Vec<String> {
        self.problems().into_iter().chain(self.missing_end()).collect()
    }

    /// Whether every line is a record, the last one is a footer and, as far as the log shows, no record is missing.
    pub fn is_whole(&self) -> bool {
        self.why_incomplete().is_empty()
    }

    /// Which records were read.
    pub fn into_seen(self) -> Seen {
        self.seen
    }
}

impl DamagedLine {
    fn place(&self) -> String {
        let Self { line, offset, frame, format, .. } = self;
        let place = Place { number: *line, offset: *offset, frame: *frame, start: 0, format: *format };
        shown(&place)
    }
}

/// A sentence about records that are read: the place of the first one, what is wrong with it, and how many more follow.
fn of_records(what: &str, lines: &[DamagedLine], count: u64) -> Option<String> {
    let first = lines.first()?;
    let more = match count - 1 {
        0 => String::new(),
        1 => "; 1 more such record follows".to_owned(),
        more => format!("; {more} more such records follow"),
    };
    Some(format!("{}, {}{what}{}{more}", first.file, first.place(), first.why))
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
    read_placed(paths, |record, line, _| each(record, line))
}

/// Where the record can be read again by [`read_part`]: the position of its file among [`LogReport::files`], and the
/// start of its line, block or frame in that file.
pub type Start = (usize, u64);

/// Calls `each` with the records of a file that a reader finds from one start to another, which are of records of this
/// file, and with the rest of the last line, block or frame. Duplicates are not left out.
///
/// # Errors
/// When the file cannot be read, or has another content than it had.
pub fn read_part(path: &Path, starts: (u64, u64), mut each: impl FnMut(&Record)) -> Result<(), LogError> {
    let failed = |source| LogError::Io { what: "read", path: path.into(), source };
    let (first, last) = starts;
    let mut file = File::open(path).map_err(failed)?;
    io::Seek::seek(&mut file, io::SeekFrom::Start(first)).map_err(failed)?;
    let mut reader = Reader::new(file).map_err(failed)?;
    loop {
        let (place, record) = match reader.next().map_err(failed)? {
            Some(Found::Record(place, record, _)) => (place, record),
            Some(Found::Blank(_)) => continue,
            Some(Found::Damaged(place, why)) => {
                let place = shown(&place);
                return Err(LogError::NotARecord { path: path.into(), place, why });
            }
            Some(Found::Newer(version)) => {
                return Err(LogError::NewerBinary { path: path.into(), version });
            }
            None => return Ok(()),
        };
        if first + place.start > last {
            return Ok(());
        }
        each(record);
    }
}

/// As [`read_lines`]; `each` also gets where each record can be read again.
///
/// # Errors
/// As [`read_logs`].
pub fn read_placed(
    paths: &[PathBuf],
    mut each: impl FnMut(&Record, Option<&str>, Start),
) -> Result<LogReport, LogError> {
    check_input(paths)?;
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
    let in_order: Vec<_> = files.iter().map(|(_, path, _)| *path).collect();
    for (_, path, file) in files {
        match file {
            Some(file) => report.read(path, file, &mut each)?,
            None => report.read(path, io::stdin().lock(), &mut each)?,
        }
    }
    let has_nodes = report.seen.numbers.nodes().any(|node| !node.is_empty());
    report.headless = report.header.is_none() && has_nodes;
    report.missing = report.seen.numbers.gaps();
    if report.repeated_numbers > 0 {
        report.compare_repeated(&in_order)?;
    }
    Ok(report)
}

/// Standard input can be one of several logs, once.
///
/// # Errors
/// When it is named more than once.
pub fn check_input(paths: &[PathBuf]) -> Result<(), LogError> {
    match paths.iter().filter(|path| path.as_os_str() == "-").count() {
        0 | 1 => Ok(()),
        times => Err(LogError::InputTwice(times)),
    }
}

/// The file from its start, and the time of its first record that has one.
pub(crate) fn open(path: &Path) -> Result<(u64, File), LogError> {
    let failed = |what| move |source| LogError::Io { what, path: path.into(), source };
    let there = std::fs::metadata(path).map_err(failed("open"))?;
    if there.is_dir() {
        return Err(LogError::Folder { path: path.into() });
    }
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
        each: &mut impl FnMut(&Record, Option<&str>, Start),
    ) -> Result<(), LogError> {
        let failed = |source| LogError::Io { what: "read", path: path.into(), source };
        self.files.push(path.display().to_string());
        self.reading = self.files.len() - 1;
        let mut read_any = self.records.values().any(|count| *count > 0);
        let mut reader = Reader::new(source).map_err(failed)?;
        let number = self.reading;
        while let Some(found) = reader.next().map_err(failed)? {
            let (place, why) = match found {
                Found::Record(place, record, line) => {
                    let sound = is_sound(record);
                    let judged = if sound { Ok(()) } else { judge(record) };
                    match judged {
                        Ok(()) => {
                            read_any = true;
                            let mut each = |record: &Record, line: Option<&str>| {
                                each(record, line, (number, place.start))
                            };
                            if self.take(path, record, line.as_deref(), &mut each)? {
                                self.doubt(path, place, record, sound);
                                self.note_unknown(path, place, record, line.as_deref());
                            }
                            continue;
                        }
                        Err(why) => (place, why),
                    }
                }
                Found::Blank(place) => (place, "it is empty".to_owned()),
                Found::Damaged(place, why) => (place, why),
                Found::Newer(version) => return Err(LogError::NewerBinary { path: path.into(), version }),
            };
            self.damaged_lines += 1;
            if self.damaged.len() < MAX_DAMAGED {
                self.damaged.push(line_at(path, place, &why));
            }
        }
        for (kind, count) in [("chain", &mut self.chains), ("hit", &mut self.hits)] {
            if *count > 0 {
                *self.records.entry(kind.to_owned()).or_default() += std::mem::take(count);
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
            None if self.torn_bytes > 0 => {
                "its first record is not complete: the run was stopped at its very start, or the file was cut"
                    .to_owned()
            }
            None => "it is empty".to_owned(),
        };
        Err(LogError::NoRecords { path: path.into(), what })
    }

    /// Whether the record is new.
    pub(crate) fn take(
        &mut self,
        path: &Path,
        record: &Record,
        line: Option<&str>,
        each: &mut impl FnMut(&Record, Option<&str>),
    ) -> Result<bool, LogError> {
        if !self.seen.is_new(record, self.reading) {
            self.repeated += 1;
            if let Some((node, number)) = record.origin().filter(|(_, number)| *number > 0) {
                self.repeated_numbers += 1;
                self.again.add(node, number);
            }
            return Ok(false);
        }
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
                Some(_) => return Ok(false),
                None => self.header = Some(header.clone()),
            },
            Record::Footer(footer) => self.footer = Some(footer.clone()),
            _ => {}
        }
        self.ended = matches!(record, Record::Footer(_));
        match record {
            Record::Chain { result, .. } => self.requests += result.requests.len() as u64,
            Record::Unknown(unknown) => {
                self.later_chains |= unknown.kind() == "chain";
                if KINDS.contains(&unknown.kind()) {
                    *self.not_counted.entry(unknown.kind().to_owned()).or_default() += 1;
                }
            }
            _ => {}
        }
        match record {
            Record::Chain { .. } => self.chains += 1,
            Record::Hit { .. } => self.hits += 1,
            _ => match self.records.get_mut(record.kind()) {
                Some(count) => *count += 1,
                None => drop(self.records.insert(record.kind().to_owned(), 1)),
            },
        }
        each(record, line);
        Ok(true)
    }

    /// Counts a record whose times are out of range or contradict each other; those of a `sound` one do not.
    fn doubt(&mut self, path: &Path, place: Place, record: &Record, sound: bool) {
        let far = |at: u64| {
            let time = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_nanos(at));
            format!(
                "its time, {time}, is more than 7 days from the times of the run, so rates and charts leave it out"
            )
        };
        if let Record::Header(header) = record {
            self.times.begin(header.started_unix_ns);
            self.began = Some(line_at(path, place, &far(header.started_unix_ns)));
            return;
        }
        // A footer may be written long after the run.
        let at = if matches!(record, Record::Footer(_)) { 0 } else { record.unix_ns().unwrap_or(0) };
        if at > 0 && self.began.is_none() {
            self.began = Some(line_at(path, place, &far(at)));
        }
        let why = match self.times.take(at, at) {
            Within::Nothing => far(at),
            moves => {
                if moves == Within::RunThatMoves
                    && let Some(began) = self.began.take()
                {
                    // The last one belongs to the run, and the first one does not.
                    self.doubtful.pop();
                    self.doubtful.insert(0, began);
                }
                let Some(why) = (!sound).then(|| contradiction(record)).flatten() else { return };
                format!("its times contradict each other: {why}")
            }
        };
        self.doubtful_records += 1;
        if self.doubtful.len() < MAX_DAMAGED {
            self.doubtful.push(line_at(path, place, &why));
        }
    }

    /// Counts a record of a known kind that has another form, and a result of a chain that is not known.
    fn note_unknown(&mut self, path: &Path, place: Place, record: &Record, line: Option<&str>) {
        match record {
            Record::Chain { result, .. } if result.chain.is_none() => {
                self.unknown_chains += 1;
                if self.unknown_chain.len() < MAX_DAMAGED {
                    self.unknown_chain.push(line_at(path, place, &chain_name(line)));
                }
            }
            Record::Unknown(unknown) => {
                let Some(why) = unknown.other_form() else { return };
                self.other_form_records += 1;
                if self.other_form.len() < MAX_DAMAGED {
                    let why = format!("of kind {:?}, {why}", unknown.kind());
                    self.other_form.push(line_at(path, place, &why));
                }
            }
            _ => {}
        }
    }

    /// Reads the files again, and compares the records whose numbers are there more than once.
    fn compare_repeated(&mut self, files: &[&PathBuf]) -> Result<(), LogError> {
        let mut repeats = Repeats::new(std::mem::take(&mut self.again));
        for path in files.iter().filter(|path| path.as_os_str() != "-") {
            repeats.read(path, |place, record| {
                self.contradicting_records += 1;
                if self.contradicting.len() < MAX_DAMAGED {
                    let (node, number) = record.origin().unwrap_or_default();
                    self.contradicting.push(line_at(path, place, &format!("record {number} of {node}")));
                }
            })?;
        }
        self.not_compared = self.repeated_numbers.saturating_sub(repeats.compared());
        Ok(())
    }
}

/// The name of a chain that is not known, for people.
fn chain_name(line: Option<&str>) -> String {
    let value = line.and_then(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    match value.as_ref().map(|value| &value["chainname"]) {
        Some(serde_json::Value::String(name)) => wec_text::quoted(name),
        _ => "it has no name".to_owned(),
    }
}

fn line_at(path: &Path, place: Place, why: &str) -> DamagedLine {
    let why = wec_text::visible(why).chars().take(LONGEST_WHY).collect();
    let Place { number: line, offset, frame, format, .. } = place;
    DamagedLine { file: path.display().to_string(), line, offset, frame, format, why }
}
