//! The log of a run: JSON Lines, appended to by one writer, and read again by a restart and by replays.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Seek, Write};
use std::path::{Path, PathBuf};

use wec_record::{FORMAT_VERSION, Record, RecordError};

use crate::Aggregate;

/// Why a log cannot be written to or read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file system refused.
    #[error("cannot {what} the log {path}: {source}", path = path.display())]
    Io {
        /// What was attempted.
        what: &'static str,
        /// The log.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process writes to it.
    #[error("the log {path} is being written by another process: stop that one or name another log", path = path.display())]
    InUse {
        /// The log.
        path: PathBuf,
    },
    /// A line in the middle is no record.
    #[error("cannot read the log {path}: {source}", path = path.display())]
    NotARecord {
        /// The log.
        path: PathBuf,
        /// Which line, and why.
        source: RecordError,
    },
    /// A later version of this program wrote it.
    #[error("the log {path} has format {version}, this program knows formats up to {FORMAT_VERSION}: read it with the version that wrote it", path = path.display())]
    Newer {
        /// The log.
        path: PathBuf,
        /// Its format.
        version: u32,
    },
    /// Analytics has ended.
    #[error("no log can be begun: analytics has ended")]
    Ended,
    /// The run's id cannot be a file's name.
    #[error("run {run:?} cannot have a log in {folder}: a run's id is letters, digits, '-', '_' and '.'", folder = folder.display())]
    BadRun {
        /// Where logs go.
        folder: PathBuf,
        /// The id.
        run: String,
    },
    /// It is the log of a different run.
    #[error("the log {path} is of run {found:?}, not of run {wanted:?}: name another log or move it away", path = path.display())]
    OtherRun {
        /// The log.
        path: PathBuf,
        /// The run in its header; empty without one.
        found: String,
        /// The run that was to be appended.
        wanted: String,
    },
}

/// Aggregates a log again: the figures are those of the live run.
///
/// A last line without a newline, as a killed writer leaves it, was never acknowledged to anybody and is not read.
///
/// # Errors
/// When the file cannot be read, is of a later format, or a line is not a record.
pub fn replay(path: &Path) -> Result<Aggregate, LogError> {
    let file = File::open(path).map_err(|source| LogError::Io { what: "open", path: path.into(), source })?;
    let mut aggregate = Aggregate::default();
    read(path, &file, |record| aggregate.record(&record))?;
    Ok(aggregate)
}

/// Calls `each` with every record; returns the length of what was read, up to the last newline.
fn read(path: &Path, file: &File, mut each: impl FnMut(Record)) -> Result<u64, LogError> {
    let mut lines = BufReader::with_capacity(1 << 18, file);
    let mut line = Vec::new();
    let (mut number, mut length) = (0, 0);
    loop {
        line.clear();
        let read = lines.read_until(b'\n', &mut line).map_err(|source| LogError::Io {
            what: "read",
            path: path.into(),
            source,
        })?;
        if line.pop_if(|last| *last == b'\n').is_none() {
            return Ok(length);
        }
        number += 1;
        length += read as u64;
        let text = String::from_utf8_lossy(&line);
        if text.trim().is_empty() {
            continue;
        }
        let record = Record::parse(&text, number)
            .map_err(|source| LogError::NotARecord { path: path.into(), source })?;
        if let Record::Header(header) = &record
            && header.version > FORMAT_VERSION
        {
            return Err(LogError::Newer { path: path.into(), version: header.version });
        }
        each(record);
    }
}

/// Unwritten bytes that are kept while the disk refuses them.
const MAX_PENDING: usize = 16 << 20;

/// The writing end.
///
/// Lines are collected and written in large pieces; a piece of which the system took only a part goes on where
/// it stopped, so a full disk tears no line. While nothing can be written, lines collect up to a bound; after it
/// they are refused.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    file: File,
    pending: Vec<u8>,
    written: u64,
    error: Option<String>,
}

impl Log {
    /// Opens the log for appending; `each` is called with every record that it already holds, and a torn last
    /// line is cut off. Holds a lock on the file until dropped.
    pub(crate) fn open(path: &Path, each: impl FnMut(Record)) -> Result<Self, LogError> {
        let failed = |what| move |source| LogError::Io { what, path: path.into(), source };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(failed("make the folder of"))?;
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(failed("open"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LogError::InUse { path: path.into() }),
            // A file system without locks is no reason not to run.
            Err(TryLockError::Error(_)) => {}
        }
        let written = read(path, &file, each)?;
        file.set_len(written).map_err(failed("repair"))?;
        file.seek(io::SeekFrom::Start(written)).map_err(failed("append to"))?;
        Ok(Self { path: path.into(), file, pending: Vec::new(), written, error: None })
    }

    /// Adds a line. False when the disk has refused so much that there is no room for it.
    pub(crate) fn append(&mut self, record: &Record) -> bool {
        if self.is_full() {
            return false;
        }
        let before = self.pending.len();
        if let Err(error) = serde_json::to_writer(&mut self.pending, record) {
            self.pending.truncate(before);
            self.error = Some(format!("a record cannot be written as JSON: {error}"));
            return false;
        }
        self.pending.push(b'\n');
        true
    }

    /// Whether no further line is taken until the disk takes some.
    pub(crate) fn is_full(&self) -> bool {
        self.pending.len() >= MAX_PENDING
    }

    /// Hands what is pending to the operating system; what it refuses stays pending.
    pub(crate) fn flush(&mut self) {
        let mut taken = 0;
        let outcome = loop {
            match self.file.write(&self.pending[taken..]) {
                _ if taken == self.pending.len() => break Ok(()),
                Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => taken += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err::<(), io::Error>(error),
            }
        };
        self.pending.drain(..taken);
        self.written += taken as u64;
        if taken > 0 && outcome.is_ok() {
            self.error = None;
        }
        self.note(outcome, "write");
    }

    /// Flushes, and waits for the disk.
    pub(crate) fn sync(&mut self) {
        self.flush();
        let outcome = self.file.sync_all();
        self.note(outcome, "write");
    }

    fn note(&mut self, outcome: io::Result<()>, what: &'static str) {
        if let Err(source) = outcome {
            let error = LogError::Io { what, path: self.path.clone(), source };
            if self.error.is_none() {
                tracing::error!("{error}; the run goes on");
            }
            self.error = Some(error.to_string());
        }
    }

    pub(crate) const fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Bytes that the operating system has.
    pub(crate) const fn written(&self) -> u64 {
        self.written
    }

    /// What `written` will be when everything appended so far is.
    pub(crate) const fn end(&self) -> u64 {
        self.written + self.pending.len() as u64
    }

    pub(crate) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}
