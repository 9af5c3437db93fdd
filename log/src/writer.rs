//! `Log`: the writer. Restarts and replays read what it has written.

use std::collections::BTreeMap;
use std::fs::{File, Metadata, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use wec_record::{FORMAT_VERSION, Footer, Record, RunHeader, RunOutcome};
use wec_startup::{keep_private, private_file, private_folder};

use crate::file::{header_of, is_file, read};
use crate::form::{Form, PIECE};
use crate::parts::{numbered, part};
use crate::sync::Syncer;
use crate::{LogError, LogFormat, LogOptions};

/// Unwritten bytes that are kept while the disk refuses writes.
const MAX_PENDING: usize = 16 << 20;
/// How often to check whether the file still has its name.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The writer.
///
/// Records are collected and written in large pieces. After a partial write, writing continues at the first
/// missing byte, so a full disk leaves no record incomplete. While writes fail, records are kept up to a bound;
/// beyond it they are refused.
///
/// Other programs may rotate the file. After a truncation, writing continues at the new end. After a rename
/// or a deletion, a new file of the same name is begun. In both cases the header is written again, so that
/// each file is a complete log, and so are all of them concatenated. The log rotates itself by size and time, if its
/// options say so.
///
/// What was written is on the disk within a second: a thread of its own synchronises the file.
#[derive(Debug)]
pub struct Log {
    /// Of the first file.
    path: PathBuf,
    options: LogOptions,
    run: String,
    header: Record,
    file: Arc<File>,
    /// Of the present file.
    current: PathBuf,
    part: u64,
    began: Instant,
    /// Least length of the file, unless it is truncated.
    length: u64,
    looked: Instant,
    form: Form,
    /// Content that is not written completely. It begins with a record, or what must precede one.
    content: Vec<u8>,
    /// Where its records end.
    ends: Vec<usize>,
    /// How much of it is in the file.
    written_content: usize,
    /// When the oldest record came that is not written.
    oldest: Option<Instant>,
    /// Bytes of the file that are being written, up to where they cover the content; they are its content itself in a log that
    /// is not compressed.
    piece: Vec<u8>,
    piece_at: usize,
    piece_end: usize,
    /// Content of earlier pieces.
    before: u64,
    /// Bytes written to files.
    bytes: u64,
    /// Content that is known to be in a file while another file repeats what is pending.
    hold: Option<u64>,
    /// The present file has no record but its header.
    fresh: bool,
    /// How many files this has begun, also in the place of one that was moved away.
    files_begun: u64,
    /// Number of refused records.
    failed: u64,
    error: Option<String>,
    /// The disk refused bytes that the operating system had accepted.
    lost: Option<String>,
    held: Held,
    syncer: Option<Syncer>,
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
        self.has_ended = record.kind() == "footer";
        // A footer counts the records before it; after a rotation the header is repeated.
        if matches!(record.kind(), "footer" | "header") {
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

impl Log {
    /// Opens the run's log for appending. `each` is called with every record in its files, and an incomplete end of the
    /// last one is cut off. A new log begins with the header. The last file is locked until this is dropped.
    ///
    /// An existing log keeps its format.
    ///
    /// # Errors
    /// When a file cannot be opened, is not a log of this run, or is damaged.
    pub fn open(
        path: &Path,
        header: &RunHeader,
        options: &LogOptions,
        mut each: impl FnMut(Record),
    ) -> Result<Self, LogError> {
        let mut files = numbered(path);
        let (part, current) = files.pop().unwrap_or_else(|| (1, path.to_owned()));
        let failed = |what| {
            let path = current.clone();
            move |source| LogError::Io { what, path, source }
        };
        let mut held = Held::default();
        let mut known: Option<RunHeader> = None;
        let mut version = 0;
        let mut take = |record: &Record, known: &mut Option<RunHeader>| {
            if let Record::Header(header) = record {
                version = version.max(header.version);
                known.get_or_insert_with(|| header.clone());
            }
            held.count(record);
            each(record.clone());
        };
        for (_, earlier) in &files {
            let file = File::open(earlier).map_err(|source| LogError::Io {
                what: "open",
                path: earlier.clone(),
                source,
            })?;
            is_of_run(earlier, header_of(earlier, &file)?.as_ref(), &header.run)?;
            read(earlier, &file, |record| take(record, &mut known))?;
        }
        let (file, found) = Self::open_file(&current, &header.run)?;
        let (end, read_format) = read(&current, &file, |record| take(record, &mut known))?;
        let format = if found.is_some() { read_format } else { options.format };
        // An incomplete record was never acknowledged.
        let length = if found.is_some() { end.length } else { 0 };
        file.set_len(length).map_err(failed("repair"))?;
        let closing = if found.is_some() { end.closing } else { Vec::new() };
        (&file).write_all(&closing).map_err(failed("repair"))?;
        let length = length + closing.len() as u64;
        let is_new = known.is_none();
        // Records are written in the present form, also those of a requester of an earlier version.
        let header = RunHeader { version: FORMAT_VERSION, ..known.unwrap_or_else(|| header.clone()) };
        let header = Record::Header(header);
        let run = match &header {
            Record::Header(header) => header.run.clone(),
            _ => String::new(),
        };
        let file = Arc::new(file);
        let syncer = match Syncer::start() {
            Ok(syncer) => Some(syncer),
            Err(error) => {
                tracing::error!("cannot start the thread that synchronises the log: {error}");
                None
            }
        };
        let mut log = Self {
            path: path.into(),
            options: options.clone(),
            run,
            header,
            file,
            current,
            part,
            began: Instant::now(),
            length,
            looked: Instant::now(),
            form: Form::new(format),
            content: Vec::new(),
            ends: Vec::new(),
            written_content: 0,
            oldest: None,
            piece: Vec::new(),
            piece_at: 0,
            piece_end: 0,
            before: 0,
            bytes: length
                + files.iter().filter_map(|(_, file)| file.metadata().ok()).map(|it| it.len()).sum::<u64>(),
            hold: None,
            fresh: false,
            files_begun: 0,
            failed: 0,
            error: None,
            lost: None,
            held,
            syncer,
        };
        if found.is_none() || version < FORMAT_VERSION {
            log.begin_content();
        }
        if found.is_none() {
            // The name of a new file is in its folder.
            log.sync_folder();
        }
        if is_new {
            each(log.header.clone());
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
        if is_locked_by_another(&file) {
            return Err(LogError::InUse { path: path.into() });
        }
        let found = header_of(path, &file)?;
        is_of_run(path, found.as_ref(), run)?;
        keep_private(path, "results");
        Ok((file, found))
    }

    /// Adds new records, in this order. Those that cannot be kept are counted in [`Self::failed`].
    pub fn take(&mut self, records: &[Record]) {
        for record in records {
            if self.append(record) {
                self.held.count(record);
            } else {
                self.failed += 1;
            }
        }
    }

    /// Adds a record. False when too much is pending because the disk refuses writes.
    fn append(&mut self, record: &Record) -> bool {
        if self.is_full() && self.error.is_none() {
            self.write_pending();
        }
        if self.is_full() {
            return false;
        }
        if let Err(error) = self.form.append(record, &mut self.content) {
            self.error = Some(format!("a record cannot be written as JSON: {error}"));
            return false;
        }
        self.ends.push(self.content.len());
        self.oldest.get_or_insert_with(Instant::now);
        self.fresh = false;
        true
    }

    /// Adds the footer, unless it is already the last record.
    pub fn end(&mut self, outcome: RunOutcome, at_unix_ns: u64) {
        if self.held.has_ended {
            return;
        }
        let (records, requests) = (self.held.records.clone(), self.held.requests);
        self.take(&[Record::Footer(Footer { at_unix_ns, records, requests, outcome })]);
    }

    /// The longest time that a record should wait for [`Self::flush`]. Each flush makes a zstd block, and short ones take
    /// more bytes: a compressed log is flushed as late as its records can still be on the disk within a second.
    pub const fn flush_within(&self) -> Duration {
        Duration::from_millis(if self.form.format.is_compressed() { 600 } else { 200 })
    }

    /// Writes pending bytes to the operating system; what it refuses stays pending. They are on the disk soon after.
    pub fn flush(&mut self) {
        self.write_pending();
        if let Some(source) = self.syncer.as_ref().and_then(Syncer::error) {
            let error = LogError::Io { what: "synchronise", path: self.current.clone(), source };
            tracing::error!("{error}; the run continues");
            self.lost = Some(format!("{error}: what was written in the second before may be missing"));
        }
        self.rotate_if_due();
    }

    /// Waits for the disk.
    pub fn close(&mut self) {
        self.write_pending();
        if self.pending() == 0 {
            self.end_frame();
        }
        if let Some(syncer) = &self.syncer {
            syncer.finish();
        }
        let outcome = self.file.sync_all();
        self.note(outcome, "write");
        // The disk has refused what is still pending.
        let refused = self.pending();
        if refused > 0 {
            let records = self.ends.iter().filter(|end| **end > self.written_content).count();
            self.failed += records as u64;
            tracing::error!(
                "cannot write {records} records ({refused} bytes) of the log {}",
                self.current.display()
            );
        }
    }

    /// Whether records are refused until the disk accepts writes again.
    pub fn is_full(&self) -> bool {
        self.content.len() >= MAX_PENDING
    }

    /// Writes pending bytes; what the operating system refuses stays pending.
    fn write_pending(&mut self) {
        if !self.is_there() {
            return;
        }
        let before = self.bytes;
        let oldest = self.oldest.unwrap_or_else(Instant::now);
        let mut outcome = Ok(());
        while self.piece_at < self.piece.len() || self.written_content < self.content.len() {
            if self.piece_at == self.piece.len() {
                self.next_piece();
            }
            let (taken, written) = write(&self.file, &self.piece[self.piece_at..]);
            self.piece_at += taken;
            self.length += taken as u64;
            self.bytes += taken as u64;
            if !self.form.format.is_compressed() {
                self.written_content += taken;
            }
            if written.is_err() {
                outcome = written;
                break;
            }
            self.written_content = self.piece_end;
            if self.written_content == self.content.len() {
                self.all_written();
            }
        }
        if self.bytes > before {
            if outcome.is_ok() {
                self.error = None;
            }
            if let Some(syncer) = &self.syncer {
                syncer.add(&self.file, oldest);
            }
        }
        self.note(outcome, "write");
    }

    /// Takes the next bytes of the file from the content.
    fn next_piece(&mut self) {
        self.piece.clear();
        self.piece_at = 0;
        let from = self.written_content;
        let first = self.ends.partition_point(|end| *end <= from);
        let fits = self.ends.partition_point(|end| *end <= from + PIECE);
        // At least one record.
        self.piece_end = self.ends.get(fits.max(first + 1) - 1).copied().unwrap_or(self.content.len());
        let content = &self.content[from..self.piece_end];
        self.form.encode_content(content, &mut self.piece);
    }

    fn all_written(&mut self) {
        self.hold = None;
        self.oldest = None;
        self.before += self.content.len() as u64;
        self.content.clear();
        self.ends.clear();
        self.piece.clear();
        (self.written_content, self.piece_at, self.piece_end) = (0, 0, 0);
        if self.form.is_full() {
            self.form.end_block(&mut self.piece);
        }
    }

    /// Ends the zstd frame, if there is one.
    fn end_frame(&mut self) {
        if self.form.format.is_compressed() {
            self.form.end_block(&mut self.piece);
            self.write_pending();
        }
    }

    /// Whether written bytes arrive in the log. If it was moved or truncated, it is begun again.
    fn is_there(&mut self) -> bool {
        let looks = self.looked.elapsed() >= LOOK_EVERY;
        if self.pending() == 0 && !looks {
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
        if std::fs::metadata(&self.current).is_ok_and(|named| same(&named)) {
            return true;
        }
        match Self::open_file(&self.current, &self.run) {
            Ok((file, _)) => {
                self.file = Arc::new(file);
                let length = self.file.metadata().map_or(0, |metadata| metadata.len());
                self.begin_again(length, "was renamed or deleted");
                self.sync_folder();
                true
            }
            Err(error) => {
                // Bytes that are not in the file of this name are not acknowledged.
                let error = format!("the log {} was renamed or deleted: {error}", self.current.display());
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
            self.current.display()
        );
        self.length = length;
        self.began = Instant::now();
        self.begin_content();
    }

    /// What is pending follows a header, in a new file.
    fn begin_content(&mut self) {
        let (content, ends) = self.form.again(&self.header, &self.content, &self.ends, self.written_content);
        self.hold = Some(self.written());
        self.fresh = true;
        self.files_begun += 1;
        // The ends of records that wait for their acknowledgement stay the same.
        let pending = (self.content.len() - self.written_content) as u64;
        let end = self.before + self.written_content as u64 + pending;
        self.before = end.saturating_sub(content.len() as u64);
        self.content = content;
        self.ends = ends;
        self.piece.clear();
        (self.written_content, self.piece_at, self.piece_end) = (0, 0, 0);
    }

    /// Begins the next file, if the present one is large or old enough and all is written.
    fn rotate_if_due(&mut self) {
        let LogOptions { rotate_size, rotate_every, .. } = self.options;
        let due = rotate_size.is_some_and(|size| self.length >= size)
            || rotate_every.is_some_and(|time| self.began.elapsed() >= time);
        if !due || self.fresh || self.pending() > 0 || self.held.has_ended {
            return;
        }
        self.end_frame();
        if self.piece_at < self.piece.len() {
            return;
        }
        let number = numbered(&self.path).last().map_or(self.part, |(last, _)| *last).max(self.part) + 1;
        let next = part(&self.path, number);
        match Self::open_file(&next, &self.run) {
            Ok((file, _)) => {
                if let Some(syncer) = &self.syncer {
                    syncer.add(&self.file, Instant::now());
                }
                self.file = Arc::new(file);
                (self.current, self.part) = (next, number);
                (self.length, self.began, self.looked) = (0, Instant::now(), Instant::now());
                self.sync_folder();
                self.begin_content();
                self.write_pending();
            }
            Err(error) => {
                // It is retried after the same time, or at the next flush.
                self.began = Instant::now();
                let error = format!("cannot begin the next file of the log, so this one grows: {error}");
                if self.error.replace(error.clone()).is_none() {
                    tracing::error!("{error}");
                }
            }
        }
    }

    /// The name of a new file survives a power failure, too.
    fn sync_folder(&self) {
        let folder = self.current.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let (Some(syncer), Ok(folder)) = (&self.syncer, File::open(folder.unwrap_or(Path::new(".")))) {
            syncer.add(&Arc::new(folder), Instant::now());
        }
    }

    fn note(&mut self, outcome: io::Result<()>, what: &'static str) {
        if let Err(source) = outcome {
            let error = LogError::Io { what, path: self.current.clone(), source };
            if self.error.is_none() {
                tracing::error!("{error}; the run continues");
            }
            self.error = Some(error.to_string());
        }
    }

    /// Bytes of records that wait to be written, before they are compressed.
    pub const fn pending(&self) -> usize {
        self.content.len() - self.written_content
    }

    /// Bytes of records written to the operating system, before they are compressed: see [`Self::end_offset`].
    pub fn written(&self) -> u64 {
        self.hold.unwrap_or(self.before + self.written_content as u64)
    }

    /// `written` once everything appended so far has been written.
    pub const fn end_offset(&self) -> u64 {
        self.before + self.content.len() as u64
    }

    /// How many files were begun, and where in the present one the next record starts, when everything before it is written;
    /// none if a record does not start a line of text.
    pub fn next_start(&self) -> Option<(u64, u64)> {
        let lines = self.form.format == LogFormat::Json;
        lines.then(|| (self.files_begun, self.length + self.pending() as u64))
    }

    /// Bytes in the log's files.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Number of records that are missing in it.
    pub const fn failed(&self) -> u64 {
        self.failed
    }

    /// Stops synchronising records to the disk, to measure its cost.
    #[doc(hidden)]
    pub fn leave_to_the_system(&mut self) {
        self.syncer = None;
    }

    /// How often written records were synchronised to the disk.
    pub fn synchronised(&self) -> u64 {
        self.syncer.as_ref().map_or(0, Syncer::count)
    }

    /// Why the last write failed; none if it did not.
    pub fn error(&self) -> Option<&str> {
        self.lost.as_deref().or(self.error.as_deref())
    }

    /// Its format.
    pub const fn format(&self) -> LogFormat {
        self.form.format
    }

    /// Its first file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Takes the file's lock. True if it cannot be had within a fifth of a second: a process that has just been killed, or a
/// child that is just being started with a copy of all open files, gives it back within that time.
#[expect(clippy::disallowed_methods, reason = "at the start of a run, and rare")]
fn is_locked_by_another(file: &File) -> bool {
    for _ in 0..20 {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(10)),
            // A file system without locks does not prevent the run.
            Ok(()) | Err(TryLockError::Error(_)) => return false,
        }
    }
    true
}

fn is_of_run(path: &Path, found: Option<&RunHeader>, run: &str) -> Result<(), LogError> {
    match found {
        Some(found) if found.run != run => {
            let (found, wanted) = (found.run.clone(), run.to_owned());
            Err(LogError::OtherRun { path: path.into(), found, wanted })
        }
        _ => Ok(()),
    }
}

/// How many bytes the system accepted, and why it accepted no more.
fn write(mut file: &File, bytes: &[u8]) -> (usize, io::Result<()>) {
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
