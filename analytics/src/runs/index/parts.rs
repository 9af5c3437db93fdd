//! Where in the logs of a run each minute is, and what the figures of a part need from before it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use serde::{Deserialize, Serialize};
use wec_figures::aggregate::Piece;
use wec_log::{LogReport, Start, judge, read_part};
use wec_record::{KINDS, Mark, Record, RunHeader, RunTimes};

use super::super::log_file::LogFile;
use super::file::IndexedFile;
use crate::Aggregate;
use crate::log::LogError;

const MINUTE_NS: u64 = 60_000_000_000;
/// Minutes with records: more than ten weeks.
const MAX_MINUTES: usize = 100_000;
const MAX_MARKS: usize = 20_000;
/// Nodes whose samples are kept for each minute.
const MAX_NODES: usize = 1_000;

/// What the figures of a part of a run need.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in super::super) struct Parts {
    pub(super) header: RunHeader,
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
    starts: BTreeMap<usize, Starts>,
    /// The last samples of each node in this minute, for the parts of the run after it.
    loads: BTreeMap<String, Record>,
    states: BTreeMap<String, Record>,
}

/// The minutes while a log is read.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Making {
    header: Option<RunHeader>,
    marks: Vec<Mark>,
    minutes: BTreeMap<u64, Minute>,
    /// The minute of the record before, and how far it is noted: most records are of one minute.
    noted: Option<(u64, Within)>,
    /// Records so far, without headers: a record's place in the log.
    records: u64,
    /// The start of the last record, and the place of the first record with it.
    begun: Option<(Start, u64)>,
    /// Records of kinds that are not known.
    unknown_records: u64,
    /// Parts of the logs would not have the figures of whole ones.
    only_whole: bool,
}

/// The position of a file, and between which starts in it a record starts; both are starts of records, or of what has
/// several.
type Within = (usize, u64, u64);

impl Making {
    /// Takes the record that starts there. Returns its place in the log.
    pub(super) fn take(&mut self, record: &Record, (file, start): Start) -> u64 {
        self.take_within(record, (file, start, start))
    }

    /// Takes a record that starts between these.
    pub(in super::super) fn take_within(&mut self, record: &Record, within: Within) -> u64 {
        let start = (within.0, within.1);
        let place = self.records;
        self.records += u64::from(!matches!(record, Record::Header(_)));
        if self.begun.is_none_or(|(begun, _)| begun != start) {
            self.begun = Some((start, place));
        }
        self.note_all(record, within);
        place
    }

    fn note_all(&mut self, record: &Record, start: Within) {
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
            Record::Footer(_) => {}
            Record::Unknown(_) => self.unknown_records += 1,
        }
        let nodes = self.noted.and_then(|(number, _)| self.minutes.get(&number));
        self.only_whole |= self.minutes.len() > MAX_MINUTES
            || self.marks.len() > MAX_MARKS
            || nodes.is_some_and(|minute| minute.loads.len().max(minute.states.len()) > MAX_NODES);
    }

    /// A record that starts there reports something of this time.
    fn note(&mut self, at_unix_ns: u64, within: Within) -> &mut Minute {
        let (file, first, last) = within;
        let number = at_unix_ns / MINUTE_NS;
        let minute = self.minutes.entry(number).or_default();
        if self.noted != Some((number, within)) {
            let place = self.begun.map_or(0, |(_, place)| place);
            let starts = Starts { first, last, place };
            minute.starts.entry(file).or_insert(starts).extend(starts);
            self.noted = Some((number, within));
        }
        minute
    }

    /// The minutes so far of a log in one file; none if parts of it would not have the figures of whole ones.
    pub(in super::super) fn so_far(&self, file: &Path, times: RunTimes) -> Option<Parts> {
        let header = self.header.clone().filter(|_| !self.only_whole)?;
        Some(Parts {
            header,
            times,
            files: vec![file.display().to_string()],
            marks: self.marks.clone(),
            unknown_records: self.unknown_records,
            minutes: self.minutes.clone(),
        })
    }

    pub(super) fn parts(self, report: LogReport, times: RunTimes) -> Option<Parts> {
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

/// Where in a file some records start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Starts {
    first: u64,
    last: u64,
    /// The place in the log of the first record that starts where the first one starts.
    place: u64,
}

impl Starts {
    fn extend(&mut self, other: Self) {
        if other.first < self.first {
            (self.first, self.place) = (other.first, other.place);
        }
        self.last = self.last.max(other.last);
    }
}

impl Parts {
    /// Whether it can be of these files: whoever can write beside a log can write an index.
    pub(super) fn is_sound(&self, files: &[IndexedFile]) -> bool {
        let length = |name: &String| files.iter().find(|file| file.is_named(name)).map(|file| file.length);
        let lengths: Option<Vec<u64>> = self.files.iter().map(length).collect();
        let Some(lengths) = lengths else { return false };
        let is_of_node = |node: &String, record: &Record| {
            record.origin().is_some_and(|(of, _)| of == node) && judge(record).is_ok()
        };
        let sound_minute = |minute: &Minute| {
            let Minute { starts, loads, states } = minute;
            loads.len().max(states.len()) <= MAX_NODES
                && starts.iter().all(|(file, Starts { first, last, .. })| {
                    first <= last && lengths.get(*file).is_some_and(|length| last < length)
                })
                && loads.iter().all(|(node, it)| matches!(it, Record::Load { .. }) && is_of_node(node, it))
                && states.iter().all(|(node, it)| matches!(it, Record::State { .. }) && is_of_node(node, it))
        };
        self.minutes.len() <= MAX_MINUTES
            && self.marks.len() <= MAX_MARKS
            && self.minutes.values().all(sound_minute)
            && self.marks.iter().all(|mark| judge(&Record::Mark(mark.clone())).is_ok())
            && judge(&Record::Header(self.header.clone())).is_ok()
    }

    /// A part as a time, nanoseconds since the Unix epoch.
    pub(super) fn unix_ns(&self, from_ns: u64, to_ns: u64) -> Range<u64> {
        let began = self.header.started_unix_ns;
        began.saturating_add(from_ns)..began.saturating_add(to_ns)
    }

    /// How much of the logs is read for a part, bytes.
    pub(in super::super) fn length(&self, (from_ns, to_ns): (u64, u64)) -> u64 {
        let starts = self.starts(&self.unix_ns(from_ns, to_ns));
        starts.values().fold(0, |sum, Starts { first, last, .. }| sum.saturating_add(last - first))
    }

    /// Counts the records of a part.
    pub(in super::super) fn read(
        &self,
        to: &mut Aggregate,
        logs: &[LogFile],
        (from_ns, to_ns): (u64, u64),
    ) -> Result<(), LogError> {
        let unix_ns = self.unix_ns(from_ns, to_ns);
        to.of_times(self.times.clone());
        self.before(to, unix_ns.start);
        self.records(logs, &unix_ns, |_, record| match record {
            Record::Mark(mark) if mark.at_unix_ns < unix_ns.start => {}
            _ => to.record(record),
        })?;
        to.add_unknown(self.unknown_records);
        Ok(())
    }

    /// Counts the records of a piece of a part.
    pub(super) fn piece(
        &self,
        logs: &[LogFile],
        piece: Piece,
        unix_ns: Range<u64>,
    ) -> Result<Aggregate, LogError> {
        let mut to = Aggregate::of_piece(piece, unix_ns.clone());
        if piece == Piece::First {
            self.before(&mut to, unix_ns.start);
        }
        if !unix_ns.is_empty() {
            self.records(logs, &unix_ns, |place, record| match record {
                Record::Mark(mark) if mark.at_unix_ns < unix_ns.start => {}
                _ => {
                    to.at_place(place);
                    to.record(record);
                }
            })?;
        }
        Ok(to)
    }

    /// Completes a part of which all pieces were put together.
    pub(super) fn complete(&self, part: &mut Aggregate, unix_ns: Range<u64>) {
        part.targets_by(self.marks.iter().filter(|mark| mark.at_unix_ns < unix_ns.end));
        part.complete(unix_ns, self.times.clone());
        part.add_unknown(self.unknown_records);
    }

    /// Counts what was before a part: the header, marks, and the last samples of each node.
    fn before(&self, to: &mut Aggregate, from: u64) {
        to.record(&Record::Header(self.header.clone()));
        for mark in self.marks.iter().filter(|mark| mark.at_unix_ns < from) {
            to.record(&Record::Mark(mark.clone()));
        }
        let (mut loads, mut states) = (BTreeMap::new(), BTreeMap::new());
        for minute in self.minutes.range(..from / MINUTE_NS).map(|(_, minute)| minute) {
            loads.extend(minute.loads.iter());
            states.extend(minute.states.iter());
        }
        loads.into_values().chain(states.into_values()).for_each(|sample| to.record(sample));
    }

    /// By the position of the file, where the records of the minutes of this time start.
    fn starts(&self, unix_ns: &Range<u64>) -> BTreeMap<usize, Starts> {
        let minutes = unix_ns.start / MINUTE_NS..=unix_ns.end / MINUTE_NS;
        let mut starts = BTreeMap::<usize, Starts>::new();
        for minute in self.minutes.range(minutes).map(|(_, minute)| minute) {
            for (file, of_minute) in &minute.starts {
                starts.entry(*file).or_insert(*of_minute).extend(*of_minute);
            }
        }
        starts
    }

    /// Calls `each` with the records that report something of the minutes of this time, and with each one's place in
    /// the log.
    fn records(
        &self,
        logs: &[LogFile],
        unix_ns: &Range<u64>,
        mut each: impl FnMut(u64, &Record),
    ) -> Result<(), LogError> {
        for (file, Starts { first, last, mut place }) in self.starts(unix_ns) {
            let Some(path) = self.files.get(file).and_then(|name| path_of(name, logs)) else { continue };
            read_part(path, (first, last), |record| {
                if let Record::Header(_) = record {
                    return;
                }
                if !matches!(record, Record::Unknown(_)) {
                    each(place, record);
                }
                place += 1;
            })?;
        }
        Ok(())
    }
}

/// The file of that name, wherever its folder is by now.
fn path_of<'a>(name: &str, logs: &'a [LogFile]) -> Option<&'a Path> {
    let name = Path::new(name).file_name()?;
    logs.iter().map(|log| log.path.as_path()).find(|path| path.file_name() == Some(name))
}
