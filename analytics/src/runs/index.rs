//! `RunIndex`: what the page shows of a run that has ended, and where in its logs each minute is. It is kept in a file
//! beside the log, so that a long run opens without reading its log, and a minute of it is read by itself.
//!
//! The file has the figures themselves, of the whole run and of blocks of time. A part of the run is assembled from its
//! blocks and from the records before and after them, by the same [`Aggregate`] that reads whole logs, so that its
//! figures are equal to the digit.

mod blocks;
mod file;
mod names;
mod parts;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wec_figures::aggregate::{OverTime, Piece};
use wec_figures::snapshot::{ObservedSeries, Series, Snapshot};
use wec_log::read_placed;

use self::blocks::{Blocks, MakingBlocks};
pub use self::file::IndexPlace;
pub(crate) use self::file::check;
pub(super) use self::file::is_index;
use self::file::{IndexedFile, Sections};
pub(super) use self::parts::{Making, Parts};
use super::log_file::LogFile;
use super::{Reading, shown_path};
use crate::Aggregate;
use crate::log::LogError;
use crate::views::Health;

/// It grows with each change of what an index has. The figures of another version may be others.
const INDEX_VERSION: u32 = 19;

/// The index of a run.
#[derive(Clone, Debug)]
pub(super) struct RunIndex {
    pub(super) head: Head,
    sections: Sections,
}

/// What is read when a run is opened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Head {
    version: u32,
    program: String,
    files: Vec<IndexedFile>,
    pub(super) snapshot: Snapshot,
    pub(super) series: Series,
    pub(super) observed: Vec<ObservedSeries>,
    /// Response times over time, by endpoint.
    over_time: BTreeMap<String, OverTime>,
    health: Health,
    /// Duplicate records of the logs, which are counted once.
    repeated: u64,
    /// Whether the logs have the end of the run.
    pub(super) ended: bool,
    /// None if the logs cannot be read in parts.
    parts: Option<Parts>,
    /// None if blocks cannot be put together, because a bound of the figures was exceeded.
    blocks: Option<Blocks>,
}

impl RunIndex {
    /// The index of a run with these log files: that of its file if there is one for these logs as they are, else a new
    /// one, which is then written, with the figures that were made for it.
    ///
    /// # Errors
    /// When a log cannot be read.
    pub(super) fn open(
        logs: &[LogFile],
        place: &IndexPlace,
        reading: &Reading,
    ) -> Result<(Self, Option<Aggregate>), LogError> {
        let paths: Vec<_> = logs.iter().map(|log| log.path.clone()).collect();
        let (file, files) = (place.file_of(&paths), file::identify(logs));
        if let (Some(file), Some(files)) = (&file, &files)
            && let Some(mut found) = Self::load(file, files)
        {
            found.head.health.log = named(&paths);
            return Ok((found, None));
        }
        let (index, aggregate) = Self::make_and_store(&paths, file.as_deref(), files, reading)?;
        Ok((index, Some(aggregate)))
    }

    /// A new index of a run with these log files, and the figures that were made for it. It is written.
    ///
    /// # Errors
    /// When a log cannot be read.
    pub(super) fn renew(
        logs: &[LogFile],
        place: &IndexPlace,
        reading: &Reading,
    ) -> Result<(Self, Aggregate), LogError> {
        let paths: Vec<_> = logs.iter().map(|log| log.path.clone()).collect();
        let file = place.file_of(&paths);
        let files = file.as_ref().and_then(|_| file::identify(logs));
        Self::make_and_store(&paths, file.as_deref(), files, reading)
    }

    /// The index in this file, if it is one of these logs as they are.
    fn load(file: &Path, files: &[IndexedFile]) -> Option<Self> {
        file::load(file).filter(|found| found.is_of(files))
    }

    fn make_and_store(
        paths: &[PathBuf],
        file: Option<&Path>,
        files: Option<Vec<IndexedFile>>,
        reading: &Reading,
    ) -> Result<(Self, Aggregate), LogError> {
        let stored = file.filter(|_| files.is_some());
        let (index, aggregate) = Self::make(paths, files.unwrap_or_default(), reading)?;
        if let Some(file) = stored
            && let Err(error) = file::store(&index, file)
        {
            tracing::warn!(
                "cannot write the index {}, so the log is read each time ({error}): wec serve --index DIR writes it elsewhere",
                file.display()
            );
        }
        Ok((index, aggregate))
    }

    fn make(
        paths: &[PathBuf],
        files: Vec<IndexedFile>,
        reading: &Reading,
    ) -> Result<(Self, Aggregate), LogError> {
        let mut aggregate = Aggregate::default();
        let mut making = Making::default();
        let mut blocks = MakingBlocks::default();
        let mut progress = reading.begin(paths);
        let report = read_placed(paths, |record, _, start| {
            progress.at(start);
            aggregate.record(record);
            let place = making.take(record, start);
            blocks.take(record, place);
        })?;
        let health = Health {
            log: named(paths),
            log_bytes: report.bytes,
            log_problems: report.why_incomplete(),
            gaps: report.missing_records(),
            ..Health::default()
        };
        let (ended, repeated) = (report.missing_end().is_none(), report.repeated);
        let parts = aggregate.sure_times().and_then(|times| making.parts(report, times.clone()));
        let blocks = parts.as_ref().and_then(|_| blocks.finish(&aggregate));
        let (blocks, sections) = blocks.map_or((None, Vec::new()), |(blocks, it)| (Some(blocks), it));
        let head = Head {
            version: INDEX_VERSION,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            files,
            snapshot: aggregate.snapshot(),
            series: aggregate.series(None).0,
            observed: aggregate.observed(),
            over_time: aggregate.endpoints_over_time(),
            health,
            repeated,
            ended,
            parts,
            blocks,
        };
        Ok((Self { head, sections: Sections::Memory(Arc::new(sections)) }, aggregate))
    }

    /// The condition of the logs.
    pub(super) fn health(&self) -> Health {
        self.head.health.clone()
    }

    /// The figures from and to these times after the run's start, as [`Aggregate::of_period`] has them.
    ///
    /// # Errors
    /// When a log cannot be read, or is another one by now.
    pub(super) fn part(&self, logs: &[LogFile], from_ns: u64, to_ns: u64) -> Result<Aggregate, LogError> {
        let mut aggregate = match self.of_blocks(logs, from_ns, to_ns)? {
            Some(aggregate) => aggregate,
            None => self.of_records(logs, from_ns, to_ns)?,
        };
        // The end of the run decides the end of a part that is longer.
        aggregate.reach(self.head.snapshot.at_unix_ns);
        Ok(aggregate)
    }

    /// Reads all records of the part.
    fn of_records(&self, logs: &[LogFile], from_ns: u64, to_ns: u64) -> Result<Aggregate, LogError> {
        let period = (Duration::from_nanos(from_ns), Some(Duration::from_nanos(to_ns)));
        let mut aggregate = Aggregate::of_period(period.0, period.1);
        match &self.head.parts {
            Some(parts) => parts.read(&mut aggregate, logs, (from_ns, to_ns))?,
            None => {
                let paths: Vec<_> = logs.iter().map(|log| log.path.clone()).collect();
                crate::log::read_logs(&paths, |record| aggregate.record(record))?;
            }
        }
        Ok(aggregate)
    }

    /// Reads the records before the first and after the last block; none if the part has no block.
    fn of_blocks(&self, logs: &[LogFile], from_ns: u64, to_ns: u64) -> Result<Option<Aggregate>, LogError> {
        let (Some(parts), Some(blocks)) = (&self.head.parts, &self.head.blocks) else { return Ok(None) };
        let unix_ns = parts.unix_ns(from_ns, to_ns);
        let Some(within) = blocks.within(&unix_ns) else { return Ok(None) };
        let mut aggregate = parts.piece(logs, Piece::First, unix_ns.start..within.start)?;
        let put = blocks.figures(&self.sections, &within, |piece| aggregate.put(piece));
        let events = put.and_then(|()| blocks.validations(&self.sections, &unix_ns));
        let Ok(events) = events.inspect_err(|error| tracing::warn!("an index is damaged: {error}")) else {
            return Ok(None);
        };
        aggregate.put(parts.piece(logs, Piece::Further, within.end..unix_ns.end)?);
        parts.complete(&mut aggregate, unix_ns.clone());
        aggregate.draw_endpoints(&self.head.over_time, &unix_ns);
        events.into_iter().for_each(|event| aggregate.validations().count(event));
        blocks.warnings(&unix_ns).for_each(|event| aggregate.warning(event));
        Ok(Some(aggregate))
    }

    fn is_of(&self, files: &[IndexedFile]) -> bool {
        let Head { version, program, over_time, parts, blocks, .. } = &self.head;
        *version == INDEX_VERSION
            && program == env!("CARGO_PKG_VERSION")
            && self.head.files == files
            && over_time.values().all(OverTime::is_sound)
            && parts.as_ref().is_none_or(|parts| parts.is_sound(files))
            && blocks.as_ref().is_none_or(|blocks| {
                blocks.is_sound(self.sections.length()) && blocks.requests() == self.head.snapshot.requests
            })
    }
}

/// The figures of a run, from the index beside its logs.
#[derive(Clone, Debug)]
pub struct IndexedRun {
    /// The file of the index.
    pub file: PathBuf,
    /// That of all records.
    pub snapshot: Snapshot,
}

impl IndexedRun {
    /// None if there is no index of exactly these logs as they are now, or if it found anything wrong with them. Of the
    /// logs only that is read which shows that the index is theirs.
    pub fn of(logs: &[PathBuf]) -> Option<Self> {
        let file = IndexPlace::Beside.file_of(logs)?;
        let mut files: Vec<_> = logs.iter().map(|log| LogFile::at(log).ok()).collect::<Option<_>>()?;
        LogFile::sort(&mut files);
        let RunIndex { head, .. } = RunIndex::load(&file, &file::identify(&files)?)?;
        let Head { snapshot, health, repeated, .. } = head;
        (health.log_problems.is_empty() && repeated == 0).then_some(Self { file, snapshot })
    }
}

fn named(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| shown_path(path)).collect::<Vec<_>>().join(", ")
}

/// For `fuzz/`: reads bytes as what somebody else may have written into an index, and shows what it has. After a byte 0
/// they are its head, a further byte 0 and its sections, else a section.
pub(crate) fn read_any(bytes: &[u8]) {
    match bytes.split_first() {
        Some((0, bytes)) => {
            let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
            let (head, sections) = (&bytes[..end], bytes.get(end + 1..).unwrap_or_default().to_vec());
            let Ok(mut head) = serde_json::from_slice::<Head>(head) else { return };
            (head.version, head.program) = (INDEX_VERSION, env!("CARGO_PKG_VERSION").to_owned());
            let index = RunIndex { head, sections: Sections::Memory(Arc::new(sections)) };
            if !index.is_of(&index.head.files) {
                return;
            }
            let snapshot = &index.head.snapshot;
            let _ = (super::end::end(snapshot, false), snapshot.pauses(snapshot.at_unix_ns));
            for (from_ns, to_ns) in [(0, u64::MAX), (60_000_000_000, 600_000_000_000)] {
                if let Ok(mut part) = index.part(&[], from_ns, to_ns) {
                    let _ = (part.snapshot(), part.series(None), part.distribution("all requests", false));
                }
            }
        }
        Some((_, section)) => blocks::read_any(section),
        None => {}
    }
}
