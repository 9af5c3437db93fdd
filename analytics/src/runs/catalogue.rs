//! `Catalogue`: the runs that can be shown, by id. A run that is not live is read from its log on demand.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use std::{fs, io};

use wec_record::{Footer, RunHeader, RunOutcome};

use super::{Figures, LogPlace, Replayed, Run, Shown, shown_path};
use crate::log::{LogError, footer_at, header_at, replay};
use crate::snapshot::{Health, RunEnd, RunEntry, RunSource, Snapshot};
use crate::summary;

/// The name of the run that is shown by default.
pub(crate) const CURRENT: &str = "current";
/// Runs that stay in memory after they have been shown. Each takes as much as a live one.
const MAX_KEPT: usize = 4;
/// Runs in a listing, latest first.
const MAX_LISTED: usize = 1_000;
/// Bytes of logs that one listing reads for outcomes that are not known yet: a fraction of a second of one
/// processor, also during a run. The next listing continues.
const READ_BY_LISTING: u64 = 16 << 20;
/// Maximal age of a live run's outcome.
const FRESH: Duration = Duration::from_secs(1);

/// The runs that can be shown.
#[derive(Debug)]
pub(crate) struct Catalogue {
    place: LogPlace,
    shown: Arc<Shown>,
    /// The only run, if a run is replayed.
    replayed: Option<Arc<Replayed>>,
    /// Shown by default until a run has begun.
    first: Option<Arc<LoggedRun>>,
    /// In the order in which they were read.
    kept: Mutex<VecDeque<Arc<LoggedRun>>>,
    /// The outcomes of the runs whose logs have been read; none for a log that cannot be read.
    outcomes: Mutex<HashMap<PathBuf, (LogFile, Option<RunEnd>)>>,
    /// Reading a log occupies a processor: one at a time.
    reading: tokio::sync::Mutex<()>,
}

/// A run read from its log.
#[derive(Debug)]
struct LoggedRun {
    id: String,
    file: LogFile,
    figures: Arc<Figures>,
}

/// A log at one point in time.
#[derive(Clone, Debug, PartialEq, Eq)]
struct LogFile {
    path: PathBuf,
    length: u64,
    modified: Option<SystemTime>,
}

impl Run for LoggedRun {
    fn figures(&self) -> Arc<Figures> {
        Arc::clone(&self.figures)
    }

    fn health(&self) -> Health {
        Health { log: shown_path(&self.file.path), log_bytes: self.file.length, ..Health::default() }
    }

    fn source(&self) -> RunSource {
        RunSource::Log
    }
}

impl Catalogue {
    pub(crate) fn new(place: LogPlace, shown: Arc<Shown>) -> Self {
        Self {
            place,
            shown,
            replayed: None,
            first: None,
            kept: Mutex::default(),
            outcomes: Mutex::default(),
            reading: tokio::sync::Mutex::default(),
        }
    }

    /// The run that is replayed.
    pub(crate) const fn replayed(&self) -> Option<&Arc<Replayed>> {
        self.replayed.as_ref()
    }

    /// Shows this run and no other.
    pub(crate) fn show_only(&mut self, replayed: Arc<Replayed>) {
        self.replayed = Some(replayed);
    }

    /// The run that is shown by default.
    pub(crate) fn current(&self) -> Arc<dyn Run> {
        if let Some(replayed) = &self.replayed {
            return Arc::clone(replayed) as _;
        }
        let live = self.shown.current();
        match &self.first {
            Some(first) if live.figures().lock().header().is_none() => Arc::clone(first) as _,
            _ => live,
        }
    }

    /// Shows this run by default until a run has begun.
    ///
    /// # Errors
    /// When its log cannot be read or does not exist.
    pub(crate) fn open_with(&mut self, id: &str) -> Result<(), LogError> {
        let found = self.read(id)?;
        let path = self.place.path_of(id)?;
        let none = LogError::Io { what: "open", path, source: io::ErrorKind::NotFound.into() };
        self.first = Some(found.ok_or(none)?);
        Ok(())
    }

    /// The run with that id; none if there is none.
    ///
    /// # Errors
    /// When its log cannot be read.
    pub(crate) async fn find(self: &Arc<Self>, id: &str) -> Result<Option<Arc<dyn Run>>, LogError> {
        if id == CURRENT {
            return Ok(Some(self.current()));
        }
        if let Some(replayed) = &self.replayed {
            return Ok((replayed.entry().id == id).then(|| Arc::clone(replayed) as _));
        }
        if let Some(live) = self.shown.run(id) {
            return Ok(Some(live));
        }
        let _one_at_a_time = self.reading.lock().await;
        let (catalogue, id) = (Arc::clone(self), id.to_owned());
        // The panic hook has reported the panic.
        let found = tokio::task::spawn_blocking(move || catalogue.read(&id)).await.unwrap_or(Ok(None))?;
        Ok(found.map(|run| run as Arc<dyn Run>))
    }

    /// The latest runs that have a log, latest first.
    pub(crate) async fn list(self: &Arc<Self>) -> Vec<RunEntry> {
        if let Some(replayed) = &self.replayed {
            return vec![replayed.entry()];
        }
        let catalogue = Arc::clone(self);
        let list = move || {
            let mut entries = catalogue.entries();
            catalogue.add_outcomes(&mut entries);
            entries.into_iter().map(|(_, entry)| entry).collect()
        };
        tokio::task::spawn_blocking(list).await.unwrap_or_default()
    }

    fn read(&self, id: &str) -> Result<Option<Arc<LoggedRun>>, LogError> {
        // An id that cannot be a file name is the id of no run.
        let Ok(path) = self.place.path_of(id) else { return Ok(None) };
        let Ok(file) = LogFile::at(&path) else { return Ok(None) };
        if header_at(&path)?.is_none_or(|header| header.run != id) {
            return Ok(None);
        }
        let kept = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(run) = kept().iter().find(|run| run.id == id && run.file == file) {
            return Ok(Some(run.clone()));
        }
        let figures = Arc::new(Figures::new(self.shown.number(), replay(&path)?));
        self.note(&file, Some(end(&figures.lock().snapshot(), false)));
        let run = Arc::new(LoggedRun { id: id.to_owned(), file, figures });
        let mut kept = kept();
        kept.retain(|other| other.id != id);
        kept.truncate(MAX_KEPT - 1);
        kept.push_front(run.clone());
        Ok(Some(run))
    }

    fn entries(&self) -> Vec<(LogFile, RunEntry)> {
        let mut entries: Vec<_> = self.logs().iter().filter_map(|path| self.entry(path)).collect();
        entries.sort_by(|(_, a), (_, b)| {
            b.started_unix_ns.cmp(&a.started_unix_ns).then_with(|| a.id.cmp(&b.id))
        });
        entries.truncate(MAX_LISTED);
        entries
    }

    /// Adds the outcome of each run that is known, or can be read within the bound of one listing.
    fn add_outcomes(&self, entries: &mut [(LogFile, RunEntry)]) {
        let known = || self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        known().retain(|path, _| entries.iter().any(|(file, _)| file.path == *path));
        let reading = self.reading.try_lock();
        let mut left = if reading.is_ok() { READ_BY_LISTING } else { 0 };
        for (file, entry) in entries {
            if let Some(live) = self.shown.run(&entry.id) {
                entry.outcome = Some(end(&live.figures().snapshot(FRESH), true));
                continue;
            }
            let before =
                known().get(&file.path).filter(|(of, _)| of == file).map(|(_, outcome)| outcome.clone());
            entry.outcome = match before {
                Some(outcome) => outcome,
                None if file.length <= left => {
                    left -= file.length;
                    let found = replay(&file.path).ok().map(|figures| end(&figures.snapshot(), false));
                    self.note(file, found.clone());
                    found
                }
                None => footer_at(&file.path).map(|footer| end_by_footer(entry.started_unix_ns, &footer)),
            };
        }
    }

    fn note(&self, file: &LogFile, outcome: Option<RunEnd>) {
        let mut outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        outcomes.insert(file.path.clone(), (file.clone(), outcome));
    }

    fn logs(&self) -> Vec<PathBuf> {
        match &self.place {
            LogPlace::File(path) => vec![path.clone()],
            LogPlace::Folder(folder) => {
                let files = fs::read_dir(folder).into_iter().flatten().flatten().map(|file| file.path());
                files.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl")).collect()
            }
        }
    }

    /// None if it is not a log, or is not found by its run's id.
    fn entry(&self, path: &Path) -> Option<(LogFile, RunEntry)> {
        let file = LogFile::at(path).ok()?;
        let RunHeader { run: id, session, program, target, started_unix_ns, .. } = header_at(path).ok()??;
        if self.place.path_of(&id).ok()? != path {
            return None;
        }
        let live = self.shown.run(&id).is_some();
        let (log, log_bytes) = (shown_path(path), file.length);
        let outcome = None;
        let entry = RunEntry { id, session, program, target, started_unix_ns, live, log, log_bytes, outcome };
        Some((file, entry))
    }
}

impl LogFile {
    fn at(path: &Path) -> io::Result<Self> {
        let there = fs::metadata(path)?;
        if !there.is_file() {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Self { path: path.to_owned(), length: there.len(), modified: there.modified().ok() })
    }
}

pub(super) fn end(snapshot: &Snapshot, live: bool) -> RunEnd {
    let chains = snapshot.chains.values();
    RunEnd {
        elapsed_ns: snapshot.elapsed_ns,
        chains: chains.clone().map(|chain| chain.count).sum(),
        chains_failed: Some(chains.map(|chain| chain.failed).sum()),
        passed: if live { None } else { passed(summary::outcome(snapshot)) },
    }
}

fn end_by_footer(started_unix_ns: u64, footer: &Footer) -> RunEnd {
    RunEnd {
        elapsed_ns: footer.at_unix_ns.saturating_sub(started_unix_ns),
        chains: footer.records.get("chain").copied().unwrap_or(0),
        chains_failed: None,
        passed: passed(footer.outcome),
    }
}

const fn passed(outcome: RunOutcome) -> Option<bool> {
    match outcome {
        RunOutcome::Passed => Some(true),
        RunOutcome::Failed | RunOutcome::Empty => Some(false),
        RunOutcome::Interrupted => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use wec_record::Record;

    use super::*;

    #[tokio::test]
    async fn a_log_that_is_not_read_has_the_outcome_of_its_footer() {
        let folder = tempfile::tempdir().unwrap();
        let header: RunHeader =
            serde_json::from_str(r#"{"version":1,"run":"a","session":"s","program":"p","target":"t","started_unix_ns":5,"stamp":{}}"#)
                .unwrap();
        let footer = Footer {
            at_unix_ns: 25,
            records: BTreeMap::from([("chain".to_owned(), 7)]),
            outcome: RunOutcome::Passed,
            ..Footer::default()
        };
        let line = |record| serde_json::to_string(&record).unwrap() + "\n";
        let whole = line(Record::Header(header)) + &line(Record::Footer(footer));
        let catalogue = Arc::new(Catalogue::new(LogPlace::Folder(folder.path().to_owned()), Arc::default()));
        // As while another log is read.
        let _reading = catalogue.reading.lock().await;
        let by_footer = RunEnd { elapsed_ns: 20, chains: 7, chains_failed: None, passed: Some(true) };
        for (text, outcome) in [(&whole[..], Some(by_footer)), (&whole[..whole.len() - 1], None)] {
            fs::write(folder.path().join("a.jsonl"), text).unwrap();
            let listed = catalogue.list().await;
            assert_eq!(listed.into_iter().map(|run| run.outcome).collect::<Vec<_>>(), [outcome]);
        }
    }
}
