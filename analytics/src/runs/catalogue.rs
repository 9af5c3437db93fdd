//! `Catalogue`: the runs that can be shown, by id. A run that is not live is read from its log on demand, and
//! one that another process is writing is followed.
//!
//! Logs are found by their content, whatever their names are. All logs of a run are one entry.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wec_log::{LogFormat, footer_at, header_at};
use wec_record::RunHeader;

use super::end::{end, end_by_footer};
use super::followed::{self, Followed};
use super::index::{Head, IndexPlace, RunIndex, is_index};
use super::live::READ_BY_WINDOW;
use super::log_file::LogFile;
use super::notes::{note_file, read_note, write_note};
use super::recorded::RecordedRun;
use super::{Figures, LogPlace, Reading, Replayed, Run, Shown, shown_path};
use crate::Aggregate;
use crate::log::LogError;
use crate::views::{Health, ReadingView, RunEnd, RunEntry, RunSource};

/// The name of the run that is shown by default.
pub(crate) const CURRENT: &str = "current";
/// Runs that stay in memory after they have been shown. Each takes as much as a live one.
const MAX_KEPT: usize = 4;
/// Runs in a listing, latest first.
const MAX_LISTED: usize = 1_000;
/// Files of a folder that are looked at.
const MAX_FILES: usize = 20_000;
/// Bytes of logs that one listing reads for outcomes that are not known yet: a fraction of a second of one
/// processor, also during a run. The next listing continues.
const READ_BY_LISTING: u64 = 16 << 20;
/// Maximal age of a live run's outcome.
const FRESH: Duration = Duration::from_secs(1);

/// The runs that can be shown.
#[derive(Debug)]
pub(crate) struct Catalogue {
    place: LogPlace,
    index: IndexPlace,
    shown: Arc<Shown>,
    /// The only run, if a run is replayed.
    replayed: Option<Arc<Replayed>>,
    /// Shown by default until a run has begun.
    first: Option<Arc<dyn Run>>,
    /// In the order in which they were read.
    kept: Mutex<VecDeque<Kept>>,
    /// What each file is: the header of a log, or none.
    files: Mutex<HashMap<PathBuf, KnownFile>>,
    /// The outcomes of the runs whose logs have been read; none for a log that cannot be read.
    outcomes: Mutex<HashMap<String, KnownOutcome>>,
    /// Reading a log occupies a processor: one at a time.
    reading: Arc<tokio::sync::Mutex<()>>,
    /// The logs that are read now because somebody opens their run.
    opening: Mutex<Option<Arc<Reading>>>,
}

/// A file, and the header of the log that it is.
type KnownFile = (LogFile, Option<Arc<RunHeader>>);
/// The outcome of a run, from these files.
type KnownOutcome = (Vec<LogFile>, Option<RunEnd>);

/// A run that was read.
#[derive(Clone, Debug)]
enum Kept {
    /// From whole logs.
    Logged(Arc<LoggedRun>),
    /// From a log that grows.
    Followed(Arc<Followed>),
}

/// A run read from its logs.
#[derive(Debug)]
struct LoggedRun {
    id: String,
    files: Vec<LogFile>,
    figures: Arc<Figures>,
    index: RunIndex,
}

/// The logs of one run; the one that was written last comes last.
#[derive(Clone, Debug)]
struct RunFiles {
    header: Arc<RunHeader>,
    files: Vec<LogFile>,
}

impl Run for LoggedRun {
    fn figures(&self) -> Arc<Figures> {
        Arc::clone(&self.figures)
    }

    fn health(&self) -> Health {
        self.index.health()
    }

    fn source(&self) -> RunSource {
        RunSource::Log
    }

    fn has_end(&self) -> bool {
        self.index.head.ended
    }

    fn part(&self, from_ns: u64, to_ns: u64) -> Option<Result<Aggregate, LogError>> {
        Some(self.index.part(&self.files, from_ns, to_ns))
    }
}

impl Catalogue {
    pub(crate) fn new(place: LogPlace, index: IndexPlace, shown: Arc<Shown>) -> Self {
        Self {
            place,
            index,
            shown,
            replayed: None,
            first: None,
            kept: Mutex::default(),
            files: Mutex::default(),
            outcomes: Mutex::default(),
            reading: Arc::default(),
            opening: Mutex::default(),
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
        match &self.replayed {
            Some(replayed) => Arc::clone(replayed) as _,
            None => self.latest(),
        }
    }

    /// The run of this process: the live one, or the one that is shown after its end.
    pub(crate) fn latest(&self) -> Arc<dyn Run> {
        let live = self.shown.current();
        match &self.first {
            Some(first) if live.figures().lock().header().is_none() => Arc::clone(first),
            _ => live,
        }
    }

    /// Shows this run by default until a run has begun.
    ///
    /// # Errors
    /// When its log cannot be read or does not exist.
    pub(crate) fn open_with(&mut self, id: &str) -> Result<(), LogError> {
        let Some(RunFiles { files, .. }) = self.runs().remove(id) else {
            self.refused(id)?;
            let path = self.place.path_of(id, LogFormat::default())?;
            return Err(LogError::Io { what: "open", path, source: io::ErrorKind::NotFound.into() });
        };
        // Its counts are shown, too, which an index does not have.
        let (index, aggregate) = RunIndex::renew(&files, &self.index, &reading_of(&files))?;
        let first = self.logged(id, files, index, Some(aggregate));
        lock(&self.kept).push_front(Kept::Logged(Arc::clone(&first)));
        self.first = Some(first);
        Ok(())
    }

    fn logged(
        &self,
        id: &str,
        files: Vec<LogFile>,
        index: RunIndex,
        aggregate: Option<Aggregate>,
    ) -> Arc<LoggedRun> {
        self.note(id, &files, Some(end(&index.head.snapshot, index.head.ended)));
        let number = self.shown.number();
        let figures = match aggregate {
            Some(aggregate) => Figures::new(number, aggregate),
            None => {
                let Head { snapshot, series, observed, .. } = index.head.clone();
                Figures::fixed(number, snapshot, series, observed)
            }
        };
        Arc::new(LoggedRun { id: id.to_owned(), files, figures: Arc::new(figures), index })
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
        // Until the log is read, also if nobody waits any more: whoever asks again then finds the run.
        let one_at_a_time = Arc::clone(&self.reading).lock_owned().await;
        let (catalogue, id) = (Arc::clone(self), id.to_owned());
        let read = move || {
            let _one_at_a_time = one_at_a_time;
            catalogue.read(&id)
        };
        // The panic hook has reported the panic.
        let found = tokio::task::spawn_blocking(read).await.unwrap_or(Ok(None))?;
        Ok(found.map(|kept| kept.run()))
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

    /// Reads a run, or finds it among those that were read. One that grows is followed from then on.
    fn read(&self, id: &str) -> Result<Option<Kept>, LogError> {
        let Some(RunFiles { files, .. }) = self.runs().remove(id) else {
            return self.refused(id).map(|()| None);
        };
        let known = lock(&self.kept).iter().find(|kept| kept.is(id, &files)).cloned();
        if let Some(kept) = known {
            if let Kept::Followed(run) = &kept {
                run.add(&files);
            }
            return Ok(Some(kept));
        }
        let reading = Arc::new(reading_of(&files));
        *lock(&self.opening) = Some(Arc::clone(&reading));
        let kept = self.open(id, files, &reading);
        *lock(&self.opening) = None;
        let kept = kept?;
        let mut all = lock(&self.kept);
        all.retain(|other| other.id() != id);
        all.truncate(MAX_KEPT - 1);
        all.push_front(kept.clone());
        Ok(Some(kept))
    }

    fn open(&self, id: &str, files: Vec<LogFile>, reading: &Reading) -> Result<Kept, LogError> {
        if grows(&files) {
            let figures = Figures::new(self.shown.number(), Aggregate::default());
            let followed = Followed::open(id, &files, figures, reading)?;
            followed.follow();
            return Ok(Kept::Followed(followed));
        }
        let (index, aggregate) = RunIndex::open(&files, &self.index, reading)?;
        Ok(Kept::Logged(self.logged(id, files, index, aggregate)))
    }

    /// How far the logs of the run that is being opened are read; none while no run is.
    pub(crate) fn opening(&self) -> Option<ReadingView> {
        lock(&self.opening).as_ref().map(|reading| reading.view())
    }

    /// The figures from and to these times after its start of a run that has not ended, by what is in its logs
    /// so far; none if they are too long to be read for this, or it is replayed.
    pub(crate) fn growing_part(
        &self,
        run: &dyn Run,
        from_ns: u64,
        to_ns: u64,
    ) -> Option<Result<Aggregate, LogError>> {
        if run.replay().is_some() {
            return None;
        }
        let id = run.figures().lock().header()?.run.clone();
        let RunFiles { files, .. } = self.runs().remove(&id)?;
        if files.iter().map(|file| file.length).sum::<u64>() > READ_BY_WINDOW {
            return None;
        }
        let paths: Vec<_> = files.into_iter().map(|file| file.path).collect();
        let mut aggregate =
            Aggregate::of_period(Duration::from_nanos(from_ns), Some(Duration::from_nanos(to_ns)));
        let read = crate::log::read_logs(&paths, |record| aggregate.record(record));
        Some(read.map(|_| aggregate))
    }

    /// The logs of a run; none if it has none here, or a run is replayed.
    pub(crate) fn logs_of(&self, id: &str) -> Option<Vec<PathBuf>> {
        let files = self.runs().remove(id).filter(|_| self.replayed.is_none())?.files;
        Some(files.into_iter().map(|file| file.path).collect())
    }

    /// Keeps what a person noted about a run. False if it has no log here, or a run is replayed.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn keep_note(&self, id: &str, text: &str) -> io::Result<bool> {
        let run = self.runs().remove(id).filter(|_| self.replayed.is_none());
        let Some(file) = run.and_then(|run| run.note_file()) else { return Ok(false) };
        write_note(&file, text).map(|()| true)
    }

    /// Why the file that would be the log of this run is none.
    fn refused(&self, id: &str) -> Result<(), LogError> {
        // An id that cannot be a file name is the id of no run.
        let Ok(path) = self.place.path_of(id, LogFormat::default()) else { return Ok(()) };
        if LogFile::at(&path).is_err() {
            return Ok(());
        }
        header_at(&path).map(|_| ())
    }

    fn entries(&self) -> Vec<(RunFiles, RunEntry)> {
        let runs = self.runs().into_values().filter_map(|run| Some((run.entry()?, run)));
        let mut entries: Vec<_> = runs.map(|(entry, run)| (run, entry)).collect();
        entries.sort_by(|(_, a), (_, b)| {
            b.started_unix_ns.cmp(&a.started_unix_ns).then_with(|| a.id.cmp(&b.id))
        });
        entries.truncate(MAX_LISTED);
        entries
    }

    /// Adds the outcome of each run that is known, or can be read within the bound of one listing.
    fn add_outcomes(&self, entries: &mut [(RunFiles, RunEntry)]) {
        lock(&self.outcomes).retain(|id, _| entries.iter().any(|(_, entry)| entry.id == *id));
        let reading = self.reading.try_lock();
        let mut left = if reading.is_ok() { READ_BY_LISTING } else { 0 };
        for (RunFiles { files, .. }, entry) in entries {
            if let Some(live) = self.shown.run(&entry.id) {
                entry.live = true;
                entry.outcome = Some(end(&live.figures().snapshot(FRESH), false));
                continue;
            }
            if grows(files) {
                entry.live = true;
                entry.outcome = self.growing(&entry.id, entry.log_bytes, &mut left);
                continue;
            }
            let before = lock(&self.outcomes).get(&entry.id).cloned();
            entry.outcome = match before {
                Some((of, outcome)) if of == *files => outcome,
                _ if entry.log_bytes <= left => {
                    left -= entry.log_bytes;
                    let paths: Vec<_> = files.iter().map(|file| file.path.clone()).collect();
                    let read = RecordedRun::read(&paths).ok();
                    let found = read.map(|run| end(&run.aggregate.snapshot(), run.has_end()));
                    self.note(&entry.id, files, found.clone());
                    found
                }
                _ => {
                    let footer = files.last().and_then(|last| footer_at(&last.path));
                    footer.map(|footer| end_by_footer(entry.started_unix_ns, &footer))
                }
            };
        }
    }

    /// The outcome so far of a run that grows. It is followed, if few others are.
    fn growing(&self, id: &str, bytes: u64, left: &mut u64) -> Option<RunEnd> {
        let known = |kept: &Kept| kept.id() == id && kept.grows();
        let kept = {
            let all = lock(&self.kept);
            match all.iter().find(|kept| known(kept)) {
                Some(kept) => Some(kept.clone()),
                None if all.iter().filter(|kept| kept.grows()).count() < MAX_KEPT && bytes <= *left => None,
                None => return None,
            }
        };
        let kept = match kept {
            Some(kept) => kept,
            None => {
                *left -= bytes;
                self.read(id).ok()??
            }
        };
        Some(end(&kept.run().figures().snapshot(FRESH), false))
    }

    fn note(&self, id: &str, files: &[LogFile], outcome: Option<RunEnd>) {
        lock(&self.outcomes).insert(id.to_owned(), (files.to_vec(), outcome));
    }

    /// The runs that have logs here, by id.
    fn runs(&self) -> BTreeMap<String, RunFiles> {
        let found = self.files();
        let mut known = lock(&self.files);
        known.retain(|path, _| found.iter().any(|file| file.path == *path));
        let mut runs = BTreeMap::<String, RunFiles>::new();
        for file in found {
            let header = match known.get(&file.path) {
                // The header of a log stays, however it grows.
                Some((before, Some(header)))
                    if before.inode == file.inode && before.length <= file.length =>
                {
                    Some(Arc::clone(header))
                }
                Some((before, None)) if *before == file => None,
                _ => match header_at(&file.path) {
                    Ok(header) => header.map(Arc::new),
                    Err(error) => {
                        // Once for each file, because the next listing knows it.
                        if let Some(why) = left_out(&error) {
                            tracing::info!("{why}");
                        }
                        None
                    }
                },
            };
            known.insert(file.path.clone(), (file.clone(), header.clone()));
            let Some(header) = header else { continue };
            let run = runs.entry(header.run.clone());
            run.or_insert_with(|| RunFiles { header, files: Vec::new() }).files.push(file);
        }
        for run in runs.values_mut() {
            LogFile::sort(&mut run.files);
        }
        runs
    }

    /// All files that may be logs.
    fn files(&self) -> Vec<LogFile> {
        match &self.place {
            LogPlace::File(path) => LogFile::at(path).into_iter().collect(),
            LogPlace::Folder(folder) => {
                let files = fs::read_dir(folder).into_iter().flatten().flatten().take(MAX_FILES);
                let paths = files.map(|file| file.path()).filter(|path| !is_index(path));
                paths.filter_map(|path| LogFile::at(&path).ok()).collect()
            }
        }
    }
}

impl Kept {
    fn run(&self) -> Arc<dyn Run> {
        match self {
            Self::Logged(run) => Arc::clone(run) as _,
            Self::Followed(run) => Arc::clone(run) as _,
        }
    }

    fn id(&self) -> &str {
        match self {
            Self::Logged(run) => &run.id,
            Self::Followed(run) => &run.id,
        }
    }

    fn grows(&self) -> bool {
        matches!(self, Self::Followed(run) if run.grows())
    }

    /// Whether its figures are those of these files.
    fn is(&self, id: &str, files: &[LogFile]) -> bool {
        match self {
            Self::Logged(run) => run.id == id && run.files == files,
            Self::Followed(run) => run.id == id && run.grows(),
        }
    }
}

impl RunFiles {
    fn entry(&self) -> Option<RunEntry> {
        let RunHeader { run: id, session, program, target, started_unix_ns, .. } = (*self.header).clone();
        let last = shown_path(&self.files.last()?.path);
        let log = match self.files.len() - 1 {
            0 => last,
            others => format!("{last} and {others} more"),
        };
        let log_bytes = self.files.iter().map(|file| file.length).sum();
        let (live, outcome) = (false, None);
        let note = self.note_file().map(|file| read_note(&file)).unwrap_or_default();
        Some(RunEntry { id, session, program, target, started_unix_ns, live, log, log_bytes, outcome, note })
    }

    fn note_file(&self) -> Option<PathBuf> {
        note_file(&self.header.run, &self.files.last()?.path)
    }
}

fn reading_of(files: &[LogFile]) -> Reading {
    let paths: Vec<_> = files.iter().map(|file| file.path.clone()).collect();
    Reading::of(&paths)
}

/// Whether another process seems to be writing the last of these logs.
fn grows(files: &[LogFile]) -> bool {
    files.last().is_some_and(followed::is_written)
}

/// The reason why a log is not listed; none for a file that is no log.
fn left_out(error: &LogError) -> Option<String> {
    match error {
        LogError::NotALog { path, what } if LogFormat::of_name(path).is_some() => Some(format!(
            "{} is not in the list of runs: {what}; wec replay shows a log of the 2015 design",
            path.display()
        )),
        LogError::Newer { .. } | LogError::NewerBinary { .. } => {
            Some(format!("not in the list of runs: {error}"))
        }
        _ => None,
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use wec_record::{Footer, Record, RunOutcome};

    use super::*;

    #[test]
    fn a_log_that_cannot_be_listed_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let why = |name: &str, content: &str| {
            let path = folder.path().join(name);
            fs::write(&path, content).unwrap();
            left_out(&header_at(&path).unwrap_err())
        };
        let header = r#"{"record":"header","version":99,"run":"a","session":"s","program":"p","target":"t","started_unix_ns":5,"stamp":{}}"#;
        let newer = why("newer", &format!("{header}\n")).unwrap();
        assert!(newer.starts_with("not in the list of runs: ") && newer.contains("has format 99"), "{newer}");
        let headerless =
            why("old.jsonl", "{\"chainname\":\"NewRegistrationChain\",\"chaintook\":12}\n").unwrap();
        assert!(
            headerless.contains("old.jsonl is not in the list of runs: it does not begin with a header"),
            "{headerless}"
        );
        assert_eq!(why("notes.txt", "some notes\n"), None);
    }

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
        let catalogue = Arc::new(Catalogue::new(
            LogPlace::Folder(folder.path().to_owned()),
            IndexPlace::Nowhere,
            Arc::default(),
        ));
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
