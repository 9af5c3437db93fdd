//! `Followed`: the log of a run that another process is writing. Only what is new is read.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Cursor, Seek as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;
use wec_log::{DECISIVE, Found, Reader, header_at, judge, next_names};
use wec_record::Record;

use super::{Figures, Run, shown_path};
use crate::clock::unix_now_ns;
use crate::log::{LogError, read_logs};
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
    tail: Mutex<Tail>,
    health: Mutex<Health>,
    grows: AtomicBool,
    /// The task that follows the log. It ends with this.
    following: OnceLock<AbortOnDropHandle<()>>,
}

impl Followed {
    /// Reads the logs of the run so far. The last of them is the one that grows.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub(super) fn open(id: &str, mut logs: Vec<PathBuf>, figures: Figures) -> Result<Arc<Self>, LogError> {
        let figures = Arc::new(figures);
        let growing = logs.pop().unwrap_or_default();
        let (mut bytes, mut problems) = (0, Vec::new());
        if !logs.is_empty() {
            let report = read_logs(&logs, |record| figures.lock().record(record))?;
            (bytes, problems) = (report.bytes, report.problems());
        }
        let failed = |source| LogError::Io { what: "read", path: growing.clone(), source };
        let mut tail = Tail::open(id, &growing).map_err(failed)?;
        (tail.bytes, tail.problems) = (bytes, problems);
        let followed = Arc::new(Self {
            id: id.to_owned(),
            figures,
            tail: Mutex::new(tail),
            health: Mutex::default(),
            grows: AtomicBool::new(true),
            following: OnceLock::new(),
        });
        followed.read_on();
        Ok(followed)
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
            let grows = tokio::task::spawn_blocking(move || run.read_on()).await;
            if !grows.unwrap_or(false) {
                return;
            }
        }
    }

    /// Whether the log may grow further.
    fn read_on(&self) -> bool {
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let read = tail.read_on(|records| {
            let mut figures = self.figures.lock();
            records.iter().for_each(|record| figures.record(record));
        });
        let grows = match read {
            Ok(()) => !tail.ended && !tail.is_silent(),
            Err(error) => {
                let problem = format!("cannot read the log {}: {error}", tail.path.display());
                tail.problems.push(problem);
                false
            }
        };
        *self.health.lock().unwrap_or_else(PoisonError::into_inner) = tail.health();
        // After the figures, so that who sees the end has all of them.
        self.grows.store(grows, Ordering::Release);
        grows
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
pub(super) fn is_recent(modified_unix_ns: u64) -> bool {
    unix_now_ns().saturating_sub(modified_unix_ns) < SILENT_NS
}

/// The end of a growing log, through rotations.
#[derive(Debug)]
struct Tail {
    run: String,
    path: PathBuf,
    file: File,
    /// Of the file, to distinguish it from another one of that name.
    inode: u64,
    /// None until the file has enough bytes to show its format.
    reader: Option<Reader<io::Chain<Cursor<Vec<u8>>, File>>>,
    /// Highest number of each node; its records arrive in their order.
    through: HashMap<String, u64>,
    damaged: u64,
    /// Of the files before this one.
    bytes: u64,
    /// The last record is a footer.
    ended: bool,
    problems: Vec<String>,
}

/// What is next in the file, without what it borrows.
enum Next {
    Record(u64, Box<Record>),
    Damaged(u64, String),
    Blank,
    End,
}

impl Tail {
    fn open(run: &str, path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let inode = file.metadata()?.ino();
        Ok(Self {
            run: run.to_owned(),
            path: path.to_owned(),
            file,
            inode,
            reader: None,
            through: HashMap::new(),
            damaged: 0,
            bytes: 0,
            ended: false,
            problems: Vec::new(),
        })
    }

    /// Reads to the end of the log, and hands on the new records in batches.
    fn read_on(&mut self, mut each: impl FnMut(&[Record])) -> io::Result<()> {
        loop {
            let length = self.file.metadata()?.len();
            if self.reader.as_ref().is_some_and(|reader| length < reader.bytes()) {
                // It was truncated, and its writer continues at the start.
                self.begin_again();
            }
            if self.reader.is_none() && length >= DECISIVE as u64 {
                self.file.rewind()?;
                self.reader = Some(Reader::follow(self.file.try_clone()?)?);
            }
            while self.read_batch(&mut each)? {}
            let Some(next) = self.next_file() else { return Ok(()) };
            // Its writer completed this one before: what was appended since it was read is all that is missing.
            while self.read_batch(&mut each)? {}
            self.file = File::open(&next)?;
            self.inode = self.file.metadata()?.ino();
            self.path = next;
            self.begin_again();
        }
    }

    /// Whether there is more.
    fn read_batch(&mut self, each: &mut impl FnMut(&[Record])) -> io::Result<bool> {
        let mut records = Vec::with_capacity(BATCH);
        let more = self.read_records(&mut records)?;
        each(&records);
        Ok(more)
    }

    fn read_records(&mut self, records: &mut Vec<Record>) -> io::Result<bool> {
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
                        if is_new(&mut self.through, &record) {
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
                self.problems.push(format!("{place} is not a record: {why}"));
            }
        }
        Ok(true)
    }

    /// The file that has taken the name of this one, or the next number.
    fn next_file(&self) -> Option<PathBuf> {
        let there = fs::metadata(&self.path).ok().filter(|there| there.len() > 0);
        if there.is_some_and(|there| there.ino() != self.inode) {
            return Some(self.path.clone());
        }
        let of_run =
            |path: &PathBuf| header_at(path).ok().flatten().is_some_and(|header| header.run == self.run);
        next_names(&self.path).into_iter().find(of_run)
    }

    fn begin_again(&mut self) {
        self.bytes += self.reader.take().map_or(0, |reader| reader.bytes());
    }

    fn is_silent(&self) -> bool {
        let modified = self.file.metadata().map(|there| modified_unix_ns(&there));
        !modified.is_ok_and(is_recent)
    }

    fn health(&self) -> Health {
        let more = self.damaged.saturating_sub(1);
        let more = (more > 0).then(|| format!("{more} more damaged lines follow"));
        Health {
            log: shown_path(&self.path),
            log_bytes: self.bytes + self.reader.as_ref().map_or(0, Reader::bytes),
            log_problems: self.problems.iter().cloned().chain(more).collect(),
            ..Health::default()
        }
    }
}

/// Whether the record was not read before.
fn is_new(through: &mut HashMap<String, u64>, record: &Record) -> bool {
    let Some((node, number)) = record.origin().filter(|(_, number)| *number > 0) else { return true };
    match through.get_mut(node) {
        Some(through) if *through >= number => return false,
        Some(through) => *through = number,
        None => drop(through.insert(node.to_owned(), number)),
    }
    true
}

/// The time of the last write, nanoseconds since the Unix epoch.
pub(super) fn modified_unix_ns(there: &fs::Metadata) -> u64 {
    let seconds = u64::try_from(there.mtime()).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(there.mtime_nsec()).unwrap_or(0))
}
