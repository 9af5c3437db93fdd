//! `RunIndex`: what the page shows of a run that has ended, and where in its logs each minute is. It is kept in a file
//! beside the log, so that a long run opens without reading its log, and a minute of it is read by itself.
//!
//! The file has the figures themselves. A part of the run is made of the records of the part, by the same
//! [`Aggregate`] that reads whole logs, so that its figures are equal to the digit.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wec_log::{LogReport, Start, read_part, read_placed};
use wec_record::{KINDS, Mark, Record, RunHeader, RunTimes};
use wec_startup::Beside;

use super::catalogue::LogFile;
use super::shown_path;
use crate::Aggregate;
use crate::log::LogError;
use crate::snapshot::{Health, ObservedSeries, Series, Snapshot, WindowView};

/// It grows with each change of what an index has. The figures of another version may be others.
const INDEX_VERSION: u32 = 2;
/// The first bytes of an index. No log begins like it.
const MAGIC: &[u8; 8] = b"wecindex";
/// The extension that is added to the name of the log.
const EXTENSION: &str = ".index";
/// Bytes of an index without compression: hundreds of times as much as a day needs.
const LONGEST: u64 = 1 << 30;
const LEVEL: i32 = 3;
const MINUTE_NS: u64 = 60_000_000_000;
/// Minutes with records: more than ten weeks.
const MAX_MINUTES: usize = 100_000;
const MAX_MARKS: usize = 20_000;
/// Nodes whose samples are kept for each minute.
const MAX_NODES: usize = 1_000;

/// Where indexes are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum IndexPlace {
    /// Nowhere: a log is read whenever its run is opened.
    #[default]
    Nowhere,
    /// In the folder of each log.
    Beside,
    /// In this folder.
    Folder(PathBuf),
}

/// The index of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct RunIndex {
    version: u32,
    program: String,
    files: Vec<IndexedFile>,
    pub(super) snapshot: Snapshot,
    pub(super) series: Series,
    pub(super) observed: Vec<ObservedSeries>,
    health: Health,
    /// None if the logs cannot be read in parts.
    parts: Option<Parts>,
}

/// A log file when the index was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct IndexedFile {
    name: String,
    length: u64,
    modified_unix_ns: u64,
    /// Its first bytes, as numbers.
    begins: Vec<u8>,
}

/// What the figures of a part of a run need.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Parts {
    header: RunHeader,
    /// A part leaves out what is between it and the run's start, which may be too long for its times to agree.
    times: RunTimes,
    /// The files in the order in which they were read.
    files: Vec<String>,
    /// All marks, in the order of the log.
    marks: Vec<Mark>,
    /// Records of kinds that are not known belong to each part.
    unknown_records: u64,
    /// The minutes with records, by their number since the Unix epoch.
    minutes: BTreeMap<u64, Minute>,
}

/// The records that report something of one minute.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Minute {
    /// By the position of the file: where the first and the last of them start.
    starts: BTreeMap<usize, (u64, u64)>,
    /// The last samples of each node in this minute, for the parts of the run after it.
    loads: BTreeMap<String, Record>,
    states: BTreeMap<String, Record>,
}

impl RunIndex {
    /// The index of a run with these log files: that of its file if there is one for these logs as they are, else a new
    /// one, which is then written, with the figures that were made for it.
    ///
    /// # Errors
    /// When a log cannot be read.
    pub(super) fn open(logs: &[LogFile], place: &IndexPlace) -> Result<(Self, Option<Aggregate>), LogError> {
        let paths: Vec<_> = logs.iter().map(|log| log.path.clone()).collect();
        let (file, files) = (place.file_of(&paths), identify(logs));
        if let (Some(file), Some(files)) = (&file, &files)
            && let Some(mut found) = load(file).filter(|found| found.is_of(files))
        {
            found.health.log = named(&paths);
            return Ok((found, None));
        }
        let (index, aggregate) = Self::make(&paths, files.clone().unwrap_or_default())?;
        if let (Some(file), Some(_)) = (&file, files)
            && let Err(error) = index.store(file)
        {
            tracing::warn!(
                "cannot keep the index {}, so that the log is read each time ({error}): --index names another folder",
                file.display()
            );
        }
        Ok((index, Some(aggregate)))
    }

    fn make(paths: &[PathBuf], files: Vec<IndexedFile>) -> Result<(Self, Aggregate), LogError> {
        let mut aggregate = Aggregate::default();
        let mut making = Making::default();
        let report = read_placed(paths, |record, _, start| {
            aggregate.record(record);
            making.take(record, start);
        })?;
        let health = Health {
            log: named(paths),
            log_bytes: report.bytes,
            log_problems: report.problems(),
            gaps: report.missing_records(),
            ..Health::default()
        };
        let index = Self {
            version: INDEX_VERSION,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            files,
            snapshot: aggregate.snapshot(),
            series: aggregate.series(None).0,
            observed: aggregate.observed(),
            health,
            parts: aggregate.sure_times().and_then(|times| making.parts(report, times.clone())),
        };
        Ok((index, aggregate))
    }

    /// The condition of the logs.
    pub(super) fn health(&self) -> Health {
        self.health.clone()
    }

    /// The figures from and to these times after the run's start, as [`Aggregate::of_period`] has them.
    ///
    /// # Errors
    /// When a log cannot be read, or is another one by now.
    pub(super) fn window(&self, logs: &[LogFile], from_ns: u64, to_ns: u64) -> Result<WindowView, LogError> {
        let period = (Duration::from_nanos(from_ns), Some(Duration::from_nanos(to_ns)));
        let mut aggregate = Aggregate::of_period(period.0, period.1);
        match &self.parts {
            Some(parts) => parts.read(&mut aggregate, logs, (from_ns, to_ns))?,
            None => {
                let paths: Vec<_> = logs.iter().map(|log| log.path.clone()).collect();
                crate::log::read_logs(&paths, |record| aggregate.record(record))?;
            }
        }
        // The end of the run decides the end of a part that is longer.
        aggregate.reach(self.snapshot.at_unix_ns);
        let series = aggregate.series(None).0;
        Ok(WindowView { from_ns, to_ns, snapshot: aggregate.snapshot(), series })
    }

    fn is_of(&self, files: &[IndexedFile]) -> bool {
        self.version == INDEX_VERSION && self.program == env!("CARGO_PKG_VERSION") && self.files == files
    }

    /// Writes the index for this user alone, and then gives it its name.
    fn store(&self, file: &Path) -> io::Result<()> {
        if !may_be_replaced(file)? {
            return Err(io::Error::other("a file of this name is no index and is left alone"));
        }
        let mut content = zstd::stream::Encoder::new(Vec::new(), LEVEL)?;
        content.include_checksum(true)?;
        serde_json::to_writer(&mut content, self)?;
        let content = content.finish()?;
        // Not every number can be read back from JSON to the last digit.
        if parse(&content).as_ref() != Some(self) {
            return Err(io::Error::other("it would not have every digit"));
        }
        let mut new = Beside::new(file)?;
        new.write_all(MAGIC)?;
        new.write_all(&content)?;
        new.finish()
    }
}

/// Whether there is no such file, or it begins like an index.
fn may_be_replaced(file: &Path) -> io::Result<bool> {
    let mut begins = Vec::new();
    match File::open(file) {
        Ok(there) => there.take(MAGIC.len() as u64).read_to_end(&mut begins)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
    };
    Ok(begins == MAGIC)
}

/// None if there is no such file, or it is damaged or of another form.
fn load(file: &Path) -> Option<RunIndex> {
    let mut content = Vec::new();
    File::open(file).ok()?.take(LONGEST).read_to_end(&mut content).ok()?;
    parse(content.strip_prefix(MAGIC)?)
}

fn parse(content: &[u8]) -> Option<RunIndex> {
    let mut json = Vec::new();
    zstd::stream::Decoder::new(content).ok()?.take(LONGEST).read_to_end(&mut json).ok()?;
    serde_json::from_slice(&json).ok()
}

/// Whether a file of a folder of logs is an index and no log.
pub(super) fn is_index(path: &Path) -> bool {
    path.to_str().is_some_and(|path| path.ends_with(EXTENSION))
}

impl IndexPlace {
    /// The file of the index of the run with these logs.
    fn file_of(&self, logs: &[PathBuf]) -> Option<PathBuf> {
        let first = logs.iter().min()?;
        let mut name = first.file_name()?.to_owned();
        name.push(EXTENSION);
        match self {
            Self::Nowhere => None,
            Self::Beside => Some(first.with_file_name(name)),
            Self::Folder(folder) => Some(folder.join(name)),
        }
    }
}

/// The files as they are; none if one of them cannot be read.
fn identify(logs: &[LogFile]) -> Option<Vec<IndexedFile>> {
    let file = |log: &LogFile| {
        let mut begins = Vec::new();
        File::open(&log.path).ok()?.take(256).read_to_end(&mut begins).ok()?;
        let name = log.path.file_name()?.to_string_lossy().into_owned();
        Some(IndexedFile { name, length: log.length, modified_unix_ns: log.modified_unix_ns, begins })
    };
    logs.iter().map(file).collect()
}

fn named(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| shown_path(path)).collect::<Vec<_>>().join(", ")
}

/// The minutes while a log is read.
#[derive(Default)]
struct Making {
    header: Option<RunHeader>,
    marks: Vec<Mark>,
    minutes: BTreeMap<u64, Minute>,
    /// The minute of the record before, and how far it is noted: most records are of one minute.
    noted: Option<(u64, Start)>,
    /// Parts of the logs would not have the figures of whole ones.
    only_whole: bool,
}

impl Making {
    fn take(&mut self, record: &Record, start: Start) {
        if self.header.is_none() && !matches!(record, Record::Header(_)) {
            self.only_whole = true;
        }
        if self.only_whole {
            return;
        }
        match record {
            Record::Header(header) => self.header = Some(header.clone()),
            Record::Chain { origin_unix_ns, result, .. } => {
                let at = |time: u64| origin_unix_ns.saturating_add(time);
                for request in &result.requests {
                    self.note(at(request.done), start);
                }
                for authorization in &result.authorizations {
                    self.note(at(authorization.settled), start);
                }
                self.note(at(result.done), start);
            }
            Record::Load { node, at_unix_ns, .. } => {
                keep_latest(&mut self.note(*at_unix_ns, start).loads, node, record);
            }
            Record::State { node, at_unix_ns, .. } => {
                keep_latest(&mut self.note(*at_unix_ns, start).states, node, record);
            }
            Record::Mark(mark) => {
                self.marks.push(mark.clone());
                self.note(mark.at_unix_ns, start);
            }
            Record::Hit { .. } | Record::Lost { .. } | Record::Event(_) | Record::Observation(_) => {
                self.note(record.unix_ns().unwrap_or(0), start);
            }
            Record::Footer(_) | Record::Unknown(_) => {}
        }
        let nodes = self.noted.and_then(|(number, _)| self.minutes.get(&number));
        self.only_whole |= self.minutes.len() > MAX_MINUTES
            || self.marks.len() > MAX_MARKS
            || nodes.is_some_and(|minute| minute.loads.len().max(minute.states.len()) > MAX_NODES);
    }

    /// A record that starts there reports something of this time.
    fn note(&mut self, at_unix_ns: u64, (file, start): Start) -> &mut Minute {
        let number = at_unix_ns / MINUTE_NS;
        let minute = self.minutes.entry(number).or_default();
        if self.noted != Some((number, (file, start))) {
            let starts = minute.starts.entry(file).or_insert((start, start));
            *starts = (starts.0.min(start), starts.1.max(start));
            self.noted = Some((number, (file, start)));
        }
        minute
    }

    fn parts(self, report: LogReport, times: RunTimes) -> Option<Parts> {
        let known = report.records.iter().filter(|(kind, _)| KINDS.contains(&kind.as_str()));
        let unknown_records =
            report.records.values().sum::<u64>() - known.map(|(_, count)| *count).sum::<u64>();
        // Duplicates and defects are found by reading from the start.
        let whole = report.repeated == 0 && report.damaged_lines == 0;
        let header = self.header.filter(|_| whole && !self.only_whole)?;
        let (files, marks, minutes) = (report.files, self.marks, self.minutes);
        Some(Parts { header, times, files, marks, unknown_records, minutes })
    }
}

fn keep_latest(samples: &mut BTreeMap<String, Record>, node: &str, sample: &Record) {
    let time = |sample: &Record| (sample.unix_ns(), sample.origin().map(|(_, seq)| seq));
    match samples.get_mut(node) {
        Some(known) if time(known) > time(sample) => {}
        Some(known) => known.clone_from(sample),
        None => drop(samples.insert(node.to_owned(), sample.clone())),
    }
}

impl Parts {
    /// Counts the records of a part.
    fn read(
        &self,
        to: &mut Aggregate,
        logs: &[LogFile],
        (from_ns, to_ns): (u64, u64),
    ) -> Result<(), LogError> {
        let began = self.header.started_unix_ns;
        let (from, end) = (began.saturating_add(from_ns), began.saturating_add(to_ns));
        to.of_times(self.times.clone());
        to.record(&Record::Header(self.header.clone()));
        // What was before the part: marks, and the last samples of each node.
        for mark in self.marks.iter().filter(|mark| mark.at_unix_ns < from) {
            to.record(&Record::Mark(mark.clone()));
        }
        let (mut loads, mut states) = (BTreeMap::new(), BTreeMap::new());
        for minute in self.minutes.range(..from / MINUTE_NS).map(|(_, minute)| minute) {
            loads.extend(minute.loads.iter());
            states.extend(minute.states.iter());
        }
        loads.into_values().chain(states.into_values()).for_each(|sample| to.record(sample));
        let mut starts = BTreeMap::<usize, (u64, u64)>::new();
        for minute in self.minutes.range(from / MINUTE_NS..=end / MINUTE_NS).map(|(_, minute)| minute) {
            for (file, (first, last)) in &minute.starts {
                let of_file = starts.entry(*file).or_insert((*first, *last));
                *of_file = (of_file.0.min(*first), of_file.1.max(*last));
            }
        }
        for (file, starts) in starts {
            let Some(path) = self.files.get(file).and_then(|name| path_of(name, logs)) else { continue };
            read_part(path, starts, |record| match record {
                Record::Header(_) | Record::Unknown(_) => {}
                Record::Mark(mark) if mark.at_unix_ns < from => {}
                _ => to.record(record),
            })?;
        }
        to.add_unknown(self.unknown_records);
        Ok(())
    }
}

/// The file of that name, wherever its folder is by now.
fn path_of<'a>(name: &str, logs: &'a [LogFile]) -> Option<&'a Path> {
    let name = Path::new(name).file_name()?;
    logs.iter().map(|log| log.path.as_path()).find(|path| path.file_name() == Some(name))
}

/// Whether the folder for indexes exists.
pub(crate) fn check(place: &IndexPlace) -> io::Result<()> {
    match place {
        IndexPlace::Folder(folder) => fs::create_dir_all(folder),
        IndexPlace::Nowhere | IndexPlace::Beside => Ok(()),
    }
}
