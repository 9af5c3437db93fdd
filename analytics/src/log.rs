//! The log of a run: JSON Lines. One writer appends to it; restarts and replays read it.

mod reader;

use std::collections::BTreeMap;
use std::fs::{File, Metadata, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;
use wec_record::{FORMAT_VERSION, Footer, Record, RecordError, RunHeader, RunOutcome};
use wec_startup::{keep_private, private_file, private_folder};

use crate::Aggregate;
use crate::consume::RecordConsumer;

pub use self::reader::{DamagedLine, LogReport, read_logs};

/// Why a log cannot be written to or read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file system returned an error.
    #[error("cannot {what} the log {path}: {source}", path = path.display())]
    Io {
        /// What was attempted.
        what: &'static str,
        /// The log.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Another process is writing to it.
    #[error("the log {path} is being written by another process: stop that one or name another log", path = path.display())]
    InUse {
        /// The log.
        path: PathBuf,
    },
    /// A line in the middle is not a record.
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
    /// The path is not a file.
    #[error("{path} is {what}, but a log must be a file: name another path", path = path.display())]
    NotAFile {
        /// The path given for the log.
        path: PathBuf,
        /// What the path is.
        what: &'static str,
    },
    /// A file exists that this program did not write.
    #[error("{path} is not a log of this program ({what}) and is not changed: name another log, or move the file away", path = path.display())]
    NotALog {
        /// The path given for the log.
        path: PathBuf,
        /// The reason.
        what: String,
    },
    /// The file has no records.
    #[error("{path} is not a log of this program: {what}", path = path.display())]
    NoRecords {
        /// The file.
        path: PathBuf,
        /// The reason.
        what: String,
    },
    /// Logs of several runs were given where one run is read.
    #[error("the log {path} belongs to run {found:?}, but the one before belongs to run {wanted:?}: give the logs of one run", path = path.display())]
    AnotherRun {
        /// The log.
        path: PathBuf,
        /// The run in its header.
        found: String,
        /// The run of the logs before it.
        wanted: String,
    },
    /// Analytics has ended.
    #[error("cannot begin a log: analytics has ended")]
    Ended,
    /// The run's id cannot be a file name.
    #[error("run {run:?} cannot have a log in {folder}: a run's id may have letters, digits, '-', '_' and '.'", folder = folder.display())]
    BadRun {
        /// The folder of logs.
        folder: PathBuf,
        /// The id.
        run: String,
    },
    /// The log belongs to another run.
    #[error("the log {path} belongs to run {found:?}, not to run {wanted:?}: name another log or move it away", path = path.display())]
    OtherRun {
        /// The log.
        path: PathBuf,
        /// The run in its header; empty without one.
        found: String,
        /// The run that was to be appended.
        wanted: String,
    },
}

/// Aggregates a log: the figures equal those of the live run.
///
/// A last line without a newline, as after a kill, was never acknowledged and is not read.
///
/// # Errors
/// When the file cannot be read, has a later format, or a line is not a record.
pub fn replay(path: &Path) -> Result<Aggregate, LogError> {
    let file = File::open(path).map_err(|source| LogError::Io { what: "open", path: path.into(), source })?;
    let mut aggregate = Aggregate::default();
    read(path, &file, |record| aggregate.record(&record))?;
    Ok(aggregate)
}

/// Calls `each` with every record. Returns the length read, up to the last newline.
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

/// The first bytes of a log, whichever version wrote it.
const BEGINNING: &[u8] = br#"{"record":"header""#;
/// Maximal length of a header, bytes.
const LONGEST_HEADER: u64 = 16 << 20;

/// The header of the log in `file`; none when the file is empty or has only an incomplete header.
fn header_of(path: &Path, mut file: &File) -> Result<Option<RunHeader>, LogError> {
    let failed = |source| LogError::Io { what: "read", path: path.into(), source };
    let no_log = |what: String| LogError::NotALog { path: path.into(), what };
    let mut line = Vec::new();
    file.rewind().map_err(failed)?;
    BufReader::new(file).take(LONGEST_HEADER).read_until(b'\n', &mut line).map_err(failed)?;
    file.rewind().map_err(failed)?;
    if line.pop_if(|last| *last == b'\n').is_none() {
        let torn = line.starts_with(BEGINNING) || BEGINNING.starts_with(&line);
        return if torn { Ok(None) } else { Err(no_log("it does not begin with a header".to_owned())) };
    }
    match Record::parse(&String::from_utf8_lossy(&line), 1) {
        Ok(Record::Header(header)) if header.version <= FORMAT_VERSION => Ok(Some(header)),
        Ok(Record::Header(header)) => Err(LogError::Newer { path: path.into(), version: header.version }),
        Ok(_) => Err(no_log("it does not begin with a header".to_owned())),
        Err(error) => Err(no_log(error.to_string())),
    }
}

/// The footer of the log at `path`; none when its last line is another record, or incomplete.
pub(crate) fn footer_at(path: &Path) -> Option<Footer> {
    const LONGEST: u64 = 64 << 10;
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(io::SeekFrom::Start(length.saturating_sub(LONGEST))).ok()?;
    let mut tail = Vec::new();
    file.take(LONGEST).read_to_end(&mut tail).ok()?;
    let line = tail.strip_suffix(b"\n")?.rsplit(|byte| *byte == b'\n').next()?;
    match Record::parse(std::str::from_utf8(line).ok()?, 1) {
        Ok(Record::Footer(footer)) => Some(footer),
        _ => None,
    }
}

/// The header of the log at `path`; none when it has only an incomplete one.
pub(crate) fn header_at(path: &Path) -> Result<Option<RunHeader>, LogError> {
    let file = File::open(path).map_err(|source| LogError::Io { what: "open", path: path.into(), source })?;
    header_of(path, &file)
}

/// Whether a log could be written in that folder, or at that path, as far as can be checked before there is
/// one.
pub(crate) fn check(place: &Path, folder: bool) -> Result<(), LogError> {
    match std::fs::metadata(place) {
        Ok(there) if folder && there.is_dir() => Ok(()),
        Ok(_) if folder => Err(LogError::Io {
            what: "make the folder of",
            path: place.join("*.jsonl"),
            source: io::ErrorKind::NotADirectory.into(),
        }),
        Ok(there) => {
            is_file(place, &there)?;
            let failed = |source| LogError::Io { what: "read", path: place.into(), source };
            header_of(place, &File::open(place).map_err(failed)?).map(|_| ())
        }
        Err(_) => Ok(()),
    }
}

/// Opening a FIFO or writing to a device could block or do damage.
fn is_file(path: &Path, there: &Metadata) -> Result<(), LogError> {
    let kind = there.file_type();
    let what = match () {
        () if kind.is_file() => return Ok(()),
        () if kind.is_dir() => "a directory",
        () if kind.is_fifo() => "a FIFO",
        () if kind.is_socket() => "a socket",
        () => "a device",
    };
    Err(LogError::NotAFile { path: path.into(), what })
}

/// Unwritten bytes that are kept while the disk refuses writes.
const MAX_PENDING: usize = 16 << 20;
/// How often to check whether the file still has its name.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The writer.
///
/// Lines are collected and written in large pieces. After a partial write, writing continues at the first
/// missing byte, so a full disk leaves no line incomplete. While writes fail, lines are kept up to a bound;
/// beyond it they are refused.
///
/// Other programs may rotate the file. After a truncation, writing continues at the new end. After a rename
/// or a deletion, a new file of the same name is begun. In both cases the header is written again, so that
/// each file is a complete log, and so are all of them concatenated.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    run: String,
    /// The header's line.
    head: Vec<u8>,
    file: File,
    /// To be written again at the start of the file, before anything pending.
    again: Vec<u8>,
    /// Least length of the file, unless it is truncated.
    length: u64,
    looked: Instant,
    /// The last byte written does not end a line.
    mid_line: bool,
    pending: Vec<u8>,
    written: u64,
    /// Number of refused records.
    failed: u64,
    error: Option<String>,
    held: Held,
}

/// The content of a log, for its footer.
#[derive(Debug, Default)]
struct Held {
    records: BTreeMap<String, u64>,
    requests: u64,
    /// The last record is a footer.
    has_ended: bool,
}

/// Kinds of records with their own count.
const MAX_KINDS: usize = 64;

impl Held {
    fn count(&mut self, record: &Record) {
        self.has_ended = matches!(record, Record::Footer(_));
        // A footer counts the records before it; after a rotation the header is repeated.
        if matches!(record, Record::Footer(_) | Record::Header(_)) {
            return;
        }
        if let Record::Chain { result, .. } = record {
            self.requests += result.requests.len() as u64;
        }
        let kinds = self.records.len();
        match self.records.get_mut(record.kind()) {
            Some(count) => *count += 1,
            None if kinds < MAX_KINDS => {
                self.records.insert(record.kind().to_owned(), 1);
            }
            None => {}
        }
    }
}

/// Known records were read from this log.
impl RecordConsumer for Log {
    fn known(&mut self, _: &Record) {}

    fn take(&mut self, records: &[Record]) {
        for record in records {
            if self.append(record) {
                self.held.count(record);
            } else {
                self.failed += 1;
            }
        }
    }

    fn flush(&mut self) {
        self.write_pending();
    }

    /// Waits for the disk.
    fn close(&mut self) {
        self.write_pending();
        let outcome = self.file.sync_all();
        self.note(outcome, "write");
        // The disk has refused what is still pending.
        if !self.pending.is_empty() {
            let (refused, path) = (self.pending.len(), self.path.display());
            tracing::error!("cannot write {refused} bytes of the log {path}");
        }
    }
}

impl Log {
    /// Opens the run's log for appending. `each` is called with every record in it, and an incomplete last
    /// line is cut off. A new log begins with the header. The file is locked until this is dropped.
    pub(crate) fn open(
        path: &Path,
        header: &RunHeader,
        mut each: impl FnMut(Record),
    ) -> Result<Self, LogError> {
        let failed = |what| move |source| LogError::Io { what, path: path.into(), source };
        let (file, found) = Self::open_file(path, &header.run)?;
        let mut held = Held::default();
        let length = read(path, &file, |record| {
            held.count(&record);
            each(record);
        })?;
        file.set_len(length).map_err(failed("repair"))?;
        let header = Record::Header(found.as_ref().unwrap_or(header).clone());
        // A header was read from JSON, or has only values with a JSON form.
        let mut head = serde_json::to_vec(&header).unwrap_or_default();
        head.push(b'\n');
        let run = match &header {
            Record::Header(header) => header.run.clone(),
            _ => String::new(),
        };
        let mut log = Self {
            path: path.into(),
            run,
            head,
            file,
            again: Vec::new(),
            length,
            looked: Instant::now(),
            mid_line: false,
            pending: Vec::new(),
            written: length,
            failed: 0,
            error: None,
            held,
        };
        if found.is_none() {
            each(header);
            log.pending.clone_from(&log.head);
        }
        Ok(log)
    }

    /// Opens and locks the file, and creates it if necessary. A file that is not a log of this run is not
    /// changed.
    fn open_file(path: &Path, run: &str) -> Result<(File, Option<RunHeader>), LogError> {
        let failed = |what| move |source| LogError::Io { what, path: path.into(), source };
        if let Some(folder) = path.parent() {
            private_folder(folder).map_err(failed("make the folder of"))?;
        }
        if let Ok(there) = std::fs::metadata(path) {
            is_file(path, &there)?;
        }
        let file = private_file().read(true).append(true).create(true).open(path).map_err(failed("open"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LogError::InUse { path: path.into() }),
            // A file system without locks does not prevent the run.
            Err(TryLockError::Error(_)) => {}
        }
        let found = header_of(path, &file)?;
        if let Some(found) = found.as_ref().filter(|found| found.run != run) {
            let (found, wanted) = (found.run.clone(), run.to_owned());
            return Err(LogError::OtherRun { path: path.into(), found, wanted });
        }
        keep_private(path, "results");
        Ok((file, found))
    }

    /// Adds a line. False when too much is pending because the disk refuses writes.
    fn append(&mut self, record: &Record) -> bool {
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

    /// Adds the footer, unless it is already the last record.
    pub(crate) fn end(&mut self, outcome: RunOutcome, at_unix_ns: u64) {
        if self.held.has_ended {
            return;
        }
        let (records, requests) = (self.held.records.clone(), self.held.requests);
        self.take(&[Record::Footer(Footer { at_unix_ns, records, requests, outcome })]);
    }

    /// Whether lines are refused until the disk accepts writes again.
    pub(crate) fn is_full(&self) -> bool {
        self.pending.len() >= MAX_PENDING
    }

    /// Writes pending bytes; what the operating system refuses stays pending.
    fn write_pending(&mut self) {
        if !self.is_there() {
            return;
        }
        let (again, outcome) = write(&mut self.file, &self.again);
        self.again.drain(..again);
        self.length += again as u64;
        let (taken, outcome) = match outcome {
            Ok(()) => write(&mut self.file, &self.pending),
            refused => (0, refused),
        };
        if let Some(last) = taken.checked_sub(1) {
            self.mid_line = self.pending[last] != b'\n';
        }
        self.pending.drain(..taken);
        self.written += taken as u64;
        self.length += taken as u64;
        if taken > 0 && outcome.is_ok() {
            self.error = None;
        }
        self.note(outcome, "write");
    }

    /// Whether written bytes arrive in the log. If it was moved or truncated, it is begun again.
    fn is_there(&mut self) -> bool {
        let looks = self.looked.elapsed() >= LOOK_EVERY;
        if self.pending.is_empty() && !looks {
            return true;
        }
        let Ok(ours) = self.file.metadata() else { return true };
        if ours.len() < self.length {
            self.begin_again(ours.len(), "was truncated");
        }
        if !looks {
            return true;
        }
        self.looked = Instant::now();
        let same = |named: &Metadata| (named.dev(), named.ino()) == (ours.dev(), ours.ino());
        if std::fs::metadata(&self.path).is_ok_and(|named| same(&named)) {
            return true;
        }
        match Self::open_file(&self.path, &self.run) {
            Ok((file, found)) => {
                self.file = file;
                let length = self.file.metadata().map_or(0, |metadata| metadata.len());
                self.begin_again(length, "was renamed or deleted");
                if found.is_some() {
                    self.again.clear();
                }
                true
            }
            Err(error) => {
                // Bytes that are not in the file of this name are not acknowledged.
                let error = format!("the log {} was renamed or deleted: {error}", self.path.display());
                if self.error.replace(error.clone()).is_none() {
                    tracing::error!("{error}; results wait until this is repaired");
                }
                false
            }
        }
    }

    fn begin_again(&mut self, length: u64, what: &str) {
        tracing::warn!(
            "the log {} {what} while it was being written: it continues in a file of the same name, which begins with the run's \
             header again; what was written before is not in it",
            self.path.display()
        );
        self.length = length;
        self.again.clone_from(&self.head);
        if std::mem::take(&mut self.mid_line) {
            // The start of this line is lost, and so is the record.
            let end =
                self.pending.iter().position(|byte| *byte == b'\n').map_or(self.pending.len(), |at| at + 1);
            self.pending.drain(..end);
            self.written += end as u64;
        }
    }

    fn note(&mut self, outcome: io::Result<()>, what: &'static str) {
        if let Err(source) = outcome {
            let error = LogError::Io { what, path: self.path.clone(), source };
            if self.error.is_none() {
                tracing::error!("{error}; the run continues");
            }
            self.error = Some(error.to_string());
        }
    }

    pub(crate) const fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Bytes written to the operating system.
    pub(crate) const fn written(&self) -> u64 {
        self.written
    }

    /// `written` once everything appended so far has been written.
    pub(crate) const fn end_offset(&self) -> u64 {
        self.written + self.pending.len() as u64
    }

    /// Number of records that are missing in it.
    pub(crate) const fn failed(&self) -> u64 {
        self.failed
    }

    pub(crate) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// How many bytes the system accepted, and why it accepted no more.
fn write(file: &mut File, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut taken = 0;
    while taken < bytes.len() {
        match file.write(&bytes[taken..]) {
            Ok(0) => return (taken, Err(io::ErrorKind::WriteZero.into())),
            Ok(n) => taken += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (taken, Err(error)),
        }
    }
    (taken, Ok(()))
}
