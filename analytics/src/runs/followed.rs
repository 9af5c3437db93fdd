//! `Followed`: the log of a run that another process is writing. Only what is new is read.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;
use wec_log::{header_at, judge};
use wec_record::Record;

use super::{Figures, Run, shown_path};
use crate::clock::unix_now_ns;
use crate::log::{LogError, read_logs};
use crate::snapshot::{Health, RunSource};

/// How often the length of the log is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A log without a footer that has not grown for this time is not being written: requesters sample their load
/// once a second.
pub(super) const SILENT_NS: u64 = 10_000_000_000;
/// Bytes that are read at once.
const PIECE: usize = 1 << 20;
/// Maximal length of a line, bytes.
const LONGEST_LINE: usize = 16 << 20;

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

/// The end of a growing log of JSON Lines, through rotations.
#[derive(Debug)]
struct Tail {
    run: String,
    path: PathBuf,
    file: File,
    /// Of the file, to tell it from another one of that name.
    inode: u64,
    offset: u64,
    line: u64,
    /// A line without its end.
    partial: Vec<u8>,
    /// The partial line is longer than allowed; the rest of it is skipped.
    skips: bool,
    /// Highest number of each node; its records arrive in their order.
    through: HashMap<String, u64>,
    damaged: u64,
    bytes: u64,
    /// The last record is a footer.
    ended: bool,
    problems: Vec<String>,
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
            offset: 0,
            line: 0,
            partial: Vec::new(),
            skips: false,
            through: HashMap::new(),
            damaged: 0,
            bytes: 0,
            ended: false,
            problems: Vec::new(),
        })
    }

    /// Reads to the end of the log, and hands on the new records in pieces.
    fn read_on(&mut self, mut each: impl FnMut(&[Record])) -> io::Result<()> {
        let mut piece = vec![0; PIECE];
        loop {
            if self.file.metadata()?.len() < self.offset {
                // It was truncated, and its writer continues at the start.
                self.begin_again(0);
            }
            let read = self.file.read(&mut piece)?;
            if read == 0 && !self.is_replaced()? {
                return Ok(());
            }
            self.offset += read as u64;
            self.bytes += read as u64;
            let records = self.records(&piece[..read]);
            each(&records);
        }
    }

    /// Continues with the file that has taken the name of this one, which has been read to its end.
    fn is_replaced(&mut self) -> io::Result<bool> {
        let there = fs::metadata(&self.path).ok().filter(|there| there.len() > 0);
        if there.is_none_or(|there| there.ino() == self.inode) {
            // Our own writer begins a file with the next number instead.
            let of_run =
                |path: &PathBuf| header_at(path).ok().flatten().is_some_and(|header| header.run == self.run);
            let Some(next) = next_names(&self.path).into_iter().find(of_run) else { return Ok(false) };
            self.path = next;
        }
        self.file = File::open(&self.path)?;
        self.begin_again(self.file.metadata()?.ino());
        Ok(true)
    }

    fn begin_again(&mut self, inode: u64) {
        if inode == 0 {
            let _ = self.file.rewind();
        } else {
            self.inode = inode;
        }
        (self.offset, self.line, self.skips) = (0, 0, false);
        self.partial.clear();
    }

    fn records(&mut self, mut piece: &[u8]) -> Vec<Record> {
        let mut records = Vec::new();
        while let Some(end) = piece.iter().position(|byte| *byte == b'\n') {
            let (rest, after) = (&piece[..end], &piece[end + 1..]);
            self.partial.extend_from_slice(rest);
            let line = std::mem::take(&mut self.partial);
            self.line += 1;
            if !std::mem::take(&mut self.skips) {
                records.extend(self.record(&line));
            }
            piece = after;
        }
        if self.partial.len() + piece.len() > LONGEST_LINE {
            if !std::mem::replace(&mut self.skips, true) {
                self.note_damage(format!("it is longer than {LONGEST_LINE} bytes"));
            }
            self.partial.clear();
        } else if !self.skips {
            self.partial.extend_from_slice(piece);
        }
        records
    }

    /// The record of a line; none if it is damaged or was read before.
    fn record(&mut self, line: &[u8]) -> Option<Record> {
        if line.trim_ascii().is_empty() {
            return None;
        }
        let text = std::str::from_utf8(line)
            .map_err(|error| format!("byte {} of it is not UTF-8", error.valid_up_to()));
        let read =
            text.and_then(|text| Record::parse(text, self.line).map_err(|error| error.source.to_string()));
        let record = match read.and_then(|record| judge(&record).map(|()| record)) {
            Ok(record) => record,
            Err(why) => {
                self.note_damage(why);
                return None;
            }
        };
        self.ended = record.kind() == "footer";
        if let Some((node, number)) = record.origin().filter(|(_, number)| *number > 0) {
            match self.through.get_mut(node) {
                Some(through) if *through >= number => return None,
                Some(through) => *through = number,
                None => drop(self.through.insert(node.to_owned(), number)),
            }
        }
        Some(record)
    }

    fn note_damage(&mut self, why: String) {
        self.damaged += 1;
        if self.damaged == 1 {
            let why: String = why.chars().take(300).collect();
            self.problems.push(format!("{}, line {} is not a record: {why}", self.path.display(), self.line));
        }
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
            log_bytes: self.bytes,
            log_problems: self.problems.iter().cloned().chain(more).collect(),
            ..Health::default()
        }
    }
}

/// The names that the next file of a log may have: `RUN.2.jsonl` after `RUN.jsonl`, then `RUN.3.jsonl`. A run's id
/// may itself end with a number.
fn next_names(path: &Path) -> Vec<PathBuf> {
    let Some(stem) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".jsonl")) else {
        return Vec::new();
    };
    let counted = stem.rsplit_once('.').and_then(|(run, number)| Some((run, number.parse::<u64>().ok()?)));
    let next = counted.map(|(run, number)| format!("{run}.{}.jsonl", number.saturating_add(1)));
    let names = next.into_iter().chain([format!("{stem}.2.jsonl")]);
    names.map(|name| path.with_file_name(name)).collect()
}

/// The time of the last write, nanoseconds since the Unix epoch.
pub(super) fn modified_unix_ns(there: &fs::Metadata) -> u64 {
    let seconds = u64::try_from(there.mtime()).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(there.mtime_nsec()).unwrap_or(0))
}
