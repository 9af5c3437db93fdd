//! `Followed`: the logs of a run that another process is writing. Only what is new is read.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Cursor, Seek as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;
use wec_log::{DECISIVE, Found, Reader, Seen, footer_at, header_at, judge, next_names, read_placed};
use wec_record::Record;

use super::log_file::LogFile;
use super::reading::Progress;
use super::{Figures, Reading, Run, shown_path};
use crate::clock::unix_now_ns;
use crate::log::LogError;
use crate::views::{Health, RunSource};

/// How often the length of the log is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A log without a footer that has not grown for this time is not being written: requesters sample their load
/// once a second.
pub(super) const SILENT_NS: u64 = 10_000_000_000;
/// Records that are counted at once.
const BATCH: usize = 1_024;

/// A run whose log grows.
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) id: String,
    figures: Arc<Figures>,
    logs: Mutex<Logs>,
    health: Mutex<Health>,
    grows: AtomicBool,
    /// The task that follows the log. It ends with this.
    following: OnceLock<AbortOnDropHandle<()>>,
}

impl Followed {
    /// Reads the logs of the run so far. Those that are being written are followed.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub(super) fn open(
        id: &str,
        files: &[LogFile],
        figures: Figures,
        reading: &Reading,
    ) -> Result<Arc<Self>, LogError> {
        let paths: Vec<_> = files.iter().map(|file| file.path.clone()).collect();
        let mut progress = reading.begin(&paths);
        let figures = Arc::new(figures);
        let last = files.last().map(|last| last.inode);
        let (growing, others): (Vec<_>, Vec<_>) =
            files.iter().partition(|file| Some(file.inode) == last || is_written(file));
        let mut of_run = OfRun { run: id.to_owned(), ..OfRun::default() };
        if !others.is_empty() {
            let paths: Vec<_> = others.iter().map(|file| file.path.clone()).collect();
            let report = read_placed(&paths, |record, _, start| {
                progress.at(start);
                figures.lock().record(record);
            })?;
            (of_run.bytes, of_run.problems, of_run.places) = (report.bytes, report.problems(), paths.len());
            of_run.known = others.iter().map(|file| (file.inode, file.length)).collect();
            of_run.seen = report.into_seen();
        }
        let mut tails = Vec::with_capacity(growing.len());
        for file in growing {
            let failed = |source| LogError::Io { what: "read", path: file.path.clone(), source };
            tails.push(Tail::open(&file.path, &mut of_run).map_err(failed)?);
        }
        let followed = Arc::new(Self {
            id: id.to_owned(),
            figures,
            logs: Mutex::new(Logs { tails, of_run }),
            health: Mutex::default(),
            grows: AtomicBool::new(true),
            following: OnceLock::new(),
        });
        followed.read_on(Some(&mut progress));
        Ok(followed)
    }

    /// Follows those of these files of the run that are not read yet, too. Records that several files have count once.
    pub(super) fn add(&self, files: &[LogFile]) {
        let mut logs = self.logs();
        let Logs { tails, of_run } = &mut *logs;
        let before = tails.len();
        for file in files {
            if of_run.is_known(file) {
                continue;
            }
            match Tail::open(&file.path, of_run) {
                Ok(tail) => tails.push(tail),
                Err(error) => tracing::warn!("cannot read the log {}: {error}", file.path.display()),
            }
        }
        let found = tails.len() > before;
        drop(logs);
        if found {
            self.read_on(None);
        }
    }

    /// Starts a task that reads what is new every half second, until the run ends or this is dropped.
    pub(super) fn follow(self: &Arc<Self>) {
        let following = tokio::spawn(Self::read_new(Arc::downgrade(self)));
        self.following.get_or_init(|| AbortOnDropHandle::new(following));
    }

    async fn read_new(run: Weak<Self>) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let Some(run) = run.upgrade() else { return };
            // The panic hook has reported a panic.
            let grows = tokio::task::spawn_blocking(move || run.read_on(None)).await;
            if !grows.unwrap_or(false) {
                return;
            }
        }
    }

    /// Whether the log may grow further.
    fn read_on(&self, mut progress: Option<&mut Progress<'_>>) -> bool {
        let mut logs = self.logs();
        let grows = logs.read_on(|records, bytes| {
            let mut figures = self.figures.lock();
            records.iter().for_each(|record| figures.record(record));
            drop(figures);
            if let Some(progress) = &mut progress {
                progress.read(bytes);
            }
        });
        *self.health.lock().unwrap_or_else(PoisonError::into_inner) = logs.health();
        // After the figures, so that who sees the end has all of them.
        self.grows.store(grows, Ordering::Release);
        grows
    }

    fn logs(&self) -> MutexGuard<'_, Logs> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn grows(&self) -> bool {
        self.grows.load(Ordering::Acquire)
    }
}

impl Run for Followed {
    fn figures(&self) -> Arc<Figures> {
        Arc::clone(&self.figures)
    }

    fn health(&self) -> Health {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn source(&self) -> RunSource {
        if self.grows() { RunSource::GrowingLog } else { RunSource::Log }
    }
}

/// Whether a log of these properties is being written, as far as they show it.
fn is_recent(modified_unix_ns: u64) -> bool {
    unix_now_ns().saturating_sub(modified_unix_ns) < SILENT_NS
}

/// Whether another process seems to be writing this log.
pub(super) fn is_written(file: &LogFile) -> bool {
    is_recent(file.modified_unix_ns) && footer_at(&file.path).is_none()
}

/// The logs of a run that grow.
#[derive(Debug)]
struct Logs {
    tails: Vec<Tail>,
    of_run: OfRun,
}

/// What is known of all logs of the run.
#[derive(Debug, Default)]
struct OfRun {
    run: String,
    /// Its records so far: two logs of a run may overlap, as those of two analytics and copies do.
    seen: Seen,
    /// Files that were read, by their inodes, with their lengths then. Those that are followed have the greatest one.
    known: HashMap<u64, u64>,
    /// Files so far, for `seen`.
    places: usize,
    /// Of files that are not followed any more.
    bytes: u64,
    problems: Vec<String>,
}

impl OfRun {
    /// Whether all of the file was read, or it is followed.
    fn is_known(&self, file: &LogFile) -> bool {
        self.known.get(&file.inode).is_some_and(|length| file.length <= *length)
    }

    fn next_place(&mut self) -> usize {
        self.places += 1;
        self.places
    }
}

impl Logs {
    /// Reads to the end of each log, and hands on the new records in batches, with how many bytes of the logs that are
    /// not followed and of this one were read. Whether the log may grow further.
    fn read_on(&mut self, mut each: impl FnMut(&[Record], u64)) -> bool {
        for tail in &mut self.tails {
            if let Err(error) = tail.read_on(&mut self.of_run, &mut each) {
                self.of_run.problems.push(format!("cannot read the log {}: {error}", tail.path.display()));
                return false;
            }
        }
        self.tails.sort_by_key(Tail::modified_unix_ns);
        let grows = self.tails.last().is_some_and(|last| !last.ended && is_recent(last.modified_unix_ns()));
        // What is not written any more, such as a copy. It is found again if it grows.
        let silent = self.tails.iter().take_while(|tail| !is_recent(tail.modified_unix_ns())).count();
        for tail in self.tails.drain(..silent.min(self.tails.len().saturating_sub(1))) {
            self.of_run.known.insert(tail.inode, tail.file.metadata().map_or(0, |there| there.len()));
            self.of_run.bytes += tail.read();
        }
        grows
    }

    fn health(&self) -> Health {
        let more: u64 = self.tails.iter().map(|tail| tail.damaged.saturating_sub(1)).sum();
        let more = (more > 0).then(|| format!("{more} more damaged lines follow"));
        Health {
            log: self.tails.last().map_or_else(String::new, |last| shown_path(&last.path)),
            log_bytes: self.of_run.bytes + self.tails.iter().map(Tail::read).sum::<u64>(),
            log_problems: self.of_run.problems.iter().cloned().chain(more).collect(),
            ..Health::default()
        }
    }
}

/// The end of a growing log, through rotations.
#[derive(Debug)]
struct Tail {
    path: PathBuf,
    file: File,
    /// Of the file, to distinguish it from another one of that name.
    inode: u64,
    /// The number of the file among those of the run.
    place: usize,
    /// None until the file has enough bytes to show its format.
    reader: Option<Reader<io::Chain<Cursor<Vec<u8>>, File>>>,
    damaged: u64,
    /// The last record is a footer.
    ended: bool,
}

/// What is next in the file, without what it borrows.
enum Next {
    Record(u64, Box<Record>),
    Damaged(u64, String),
    Blank,
    End,
}

impl Tail {
    fn open(path: &Path, of_run: &mut OfRun) -> io::Result<Self> {
        let file = File::open(path)?;
        let inode = file.metadata()?.ino();
        of_run.known.insert(inode, u64::MAX);
        let place = of_run.next_place();
        Ok(Self { path: path.to_owned(), file, inode, place, reader: None, damaged: 0, ended: false })
    }

    /// Reads to the end of the log, and hands on the new records in batches.
    fn read_on(&mut self, of_run: &mut OfRun, each: &mut impl FnMut(&[Record], u64)) -> io::Result<()> {
        loop {
            let length = self.file.metadata()?.len();
            if self.reader.as_ref().is_some_and(|reader| length < reader.bytes()) {
                // It was truncated, and its writer continues at the start.
                of_run.bytes += self.begin_again();
                self.place = of_run.next_place();
            }
            if self.reader.is_none() && length >= DECISIVE as u64 {
                self.file.rewind()?;
                self.reader = Some(Reader::follow(self.file.try_clone()?)?);
            }
            while self.read_batch(of_run, each)? {}
            let Some(next) = self.next_file(of_run) else { return Ok(()) };
            // Its writer completed this one before: what was appended since it was read is all that is missing.
            while self.read_batch(of_run, each)? {}
            of_run.known.insert(self.inode, self.file.metadata()?.len());
            of_run.bytes += self.begin_again();
            let damaged = self.damaged;
            *self = Self { damaged, ..Self::open(&next, of_run)? };
        }
    }

    /// Whether there is more.
    fn read_batch(&mut self, of_run: &mut OfRun, each: &mut impl FnMut(&[Record], u64)) -> io::Result<bool> {
        let mut records = Vec::with_capacity(BATCH);
        let more = self.read_records(of_run, &mut records)?;
        each(&records, of_run.bytes + self.read());
        Ok(more)
    }

    fn read_records(&mut self, of_run: &mut OfRun, records: &mut Vec<Record>) -> io::Result<bool> {
        let Some(reader) = &mut self.reader else { return Ok(false) };
        while records.len() < BATCH {
            let next = match reader.next()? {
                Some(Found::Record(place, record, _)) => Next::Record(place.number, Box::new(record.clone())),
                Some(Found::Damaged(place, why)) => Next::Damaged(place.number, why),
                Some(Found::Blank(_)) => Next::Blank,
                Some(Found::Newer(version)) => {
                    return Err(io::Error::other(format!(
                        "it has binary format {version}, of a later version"
                    )));
                }
                None => Next::End,
            };
            let damage = match next {
                Next::Record(number, record) => match judge(&record) {
                    Ok(()) => {
                        self.ended = record.kind() == "footer";
                        let other_form = match &*record {
                            Record::Unknown(unknown) => unknown.other_form().map(str::to_owned),
                            _ => None,
                        };
                        if of_run.seen.is_new(&record, self.place) {
                            records.push(*record);
                        }
                        match other_form {
                            Some(why) => (number, why),
                            None => continue,
                        }
                    }
                    Err(why) => (number, why),
                },
                Next::Damaged(number, why) => (number, why),
                Next::Blank => continue,
                Next::End => return Ok(false),
            };
            self.damaged += 1;
            if self.damaged == 1 {
                let unit = if reader.format().is_binary() { "message" } else { "line" };
                let why: String = damage.1.chars().take(300).collect();
                let place = format!("{}, {unit} {}", self.path.display(), damage.0);
                of_run.problems.push(format!("{place} is not a record: {why}"));
            }
        }
        Ok(true)
    }

    /// The file that has taken the name of this one, or the next number, if it is not followed yet.
    fn next_file(&self, of_run: &OfRun) -> Option<PathBuf> {
        let is_next = |path: &Path| {
            let there = LogFile::at(path).ok().filter(|there| there.length > 0);
            there.is_some_and(|there| there.inode != self.inode && !of_run.is_known(&there))
        };
        if is_next(&self.path) {
            return Some(self.path.clone());
        }
        let header = |path: &Path| header_at(path).ok().flatten();
        let is_of_run = |path: &Path| header(path).is_some_and(|header| header.run == of_run.run);
        next_names(&self.path).into_iter().find(|path| is_next(path) && is_of_run(path))
    }

    /// Bytes that were read since the start of the file.
    fn begin_again(&mut self) -> u64 {
        self.reader.take().map_or(0, |reader| reader.bytes())
    }

    /// Bytes of the file that were read.
    fn read(&self) -> u64 {
        self.reader.as_ref().map_or(0, Reader::bytes)
    }

    fn modified_unix_ns(&self) -> u64 {
        self.file.metadata().map_or(0, |there| modified_unix_ns(&there))
    }
}

/// The time of the last write, nanoseconds since the Unix epoch.
pub(super) fn modified_unix_ns(there: &fs::Metadata) -> u64 {
    let seconds = u64::try_from(there.mtime()).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(there.mtime_nsec()).unwrap_or(0))
}
