//! The spool: batches on disk, in order, until analytics has them in its log.
//!
//! Each sender has a folder with a description of the sender, a lock, and segments of [frames](frame). A segment is
//! deleted when all its frames are acknowledged. The next start finds the spool of a dead sender. Only damaged data
//! is lost, and it is counted: a frame that is incomplete because its writer was killed, one that the disk returns
//! differently, a segment that somebody removed.

mod frame;

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use wec_startup::{private_file, private_folder};

pub(crate) use self::frame::Frame;
use self::frame::{Found, HEAD, encoded, find};

/// A new segment begins after this many bytes.
const SEGMENT: u64 = 8 << 20;
/// Number of the first segment; smaller numbers are for segments before it.
const FIRST: u64 = 1 << 20;
/// The sender of a spool: what a later start needs to deliver its batches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    pub(crate) sender: String,
    pub(crate) node: String,
    /// The run's header as JSON.
    pub(crate) header: String,
}

#[derive(Debug)]
pub(crate) struct Spool {
    folder: PathBuf,
    owner: Owner,
    /// Most bytes.
    bound: u64,
    /// None until the first batch, because most runs need no spool.
    lock: Option<File>,
    /// On disk, oldest first; the last one is being written.
    segments: VecDeque<Segment>,
    writer: Option<File>,
    reader: Option<Reading>,
    /// Segment and number of results of each frame that has been read and not acknowledged.
    unacknowledged: VecDeque<(u64, u32)>,
    unread: u64,
    /// Results in frames that are not acknowledged.
    results: u64,
    /// Damaged results that have not been reported yet.
    lost: u64,
    /// Number of the last entry read.
    last_seq: u64,
}

/// A segment that is being read.
#[derive(Debug)]
struct Reading {
    number: u64,
    file: File,
    /// What has been read of it and not yet used.
    bytes: Vec<u8>,
    at: usize,
}

impl Reading {
    fn open(folder: &Path, number: u64) -> io::Result<Self> {
        Ok(Self { number, file: File::open(path_of(folder, number))?, bytes: Vec::new(), at: 0 })
    }

    /// The next item; `complete` means that nothing more will be written to the segment.
    fn next(&mut self, complete: bool) -> io::Result<Found> {
        let mut found = find(&self.bytes, self.at, false);
        if found == Found::End {
            self.bytes.drain(..self.at);
            self.at = 0;
            self.file.read_to_end(&mut self.bytes)?;
            found = find(&self.bytes, 0, complete);
        }
        if let Found::Frame { next, .. } | Found::Damage { next, .. } = found {
            self.at = next;
        }
        Ok(found)
    }
}

#[derive(Clone, Copy, Debug)]
struct Segment {
    number: u64,
    bytes: u64,
}

/// Why a batch was not spooled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotSpooled {
    #[error("the spool {folder} holds its {bound} bytes")]
    Full { folder: String, bound: u64 },
    #[error("cannot write the spool {folder}: {source}")]
    Io { folder: String, source: io::Error },
}

impl Spool {
    /// A spool under `root`; nothing is written until the first batch.
    pub(crate) fn new(root: &Path, owner: Owner, bound: u64) -> Self {
        Self::at(root.join(folder_name(&owner.sender)), owner, bound)
    }

    /// A spool that accepts nothing.
    pub(crate) fn nowhere(owner: Owner) -> Self {
        Self::at(PathBuf::new(), owner, 0)
    }

    /// The spools under `root` of dead senders. Unusable ones stay where they are, with a warning.
    pub(crate) fn leftovers(root: &Path) -> Vec<Self> {
        let Ok(folders) = fs::read_dir(root) else { return Vec::new() };
        let mut spools = Vec::new();
        for folder in folders.flatten().map(|entry| entry.path()) {
            if !is_owned(&folder) {
                remove_unowned(&folder);
                continue;
            }
            match Self::reopen(&folder) {
                Ok(Some(spool)) => spools.push(spool),
                Ok(None) => {}
                Err(error) => tracing::warn!("the spool {} is left unchanged: {error}", folder.display()),
            }
        }
        spools
    }

    fn at(folder: PathBuf, owner: Owner, bound: u64) -> Self {
        Self {
            folder,
            owner,
            bound,
            lock: None,
            segments: VecDeque::new(),
            writer: None,
            reader: None,
            unacknowledged: VecDeque::new(),
            unread: 0,
            results: 0,
            lost: 0,
            last_seq: 0,
        }
    }

    /// None while the process of its sender has the lock.
    fn reopen(folder: &Path) -> io::Result<Option<Self>> {
        let lock = locked(folder)?;
        if lock.try_lock().is_err() {
            return Ok(None);
        }
        let owner = serde_json::from_slice(&fs::read(folder.join(OWNER))?)?;
        let mut spool = Self::at(folder.into(), owner, 0);
        spool.lock = Some(lock);
        let mut numbers: Vec<u64> = fs::read_dir(folder)?
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(SUFFIX)?.parse().ok())
            .collect();
        numbers.sort_unstable();
        // Whether there is something with an unknown number of results.
        let mut unknown = false;
        for number in numbers {
            let mut segment = Reading::open(folder, number)?;
            let bytes = segment.file.metadata()?.len();
            loop {
                match segment.next(true)? {
                    Found::Frame { frame, .. } => {
                        if std::mem::take(&mut unknown) {
                            spool.lost += spool.missing_before(&frame);
                        }
                        spool.last_seq = frame.last_seq;
                        spool.unread += 1;
                        spool.results += u64::from(frame.results);
                    }
                    Found::Damage { known: Some(known), .. } => {
                        spool.lost += u64::from(known.results);
                        spool.last_seq = known.last_seq;
                    }
                    Found::Damage { known: None, .. } => unknown = true,
                    Found::End => break,
                }
            }
            spool.segments.push_back(Segment { number, bytes });
        }
        spool.lost += u64::from(unknown);
        Ok(Some(spool))
    }

    pub(crate) const fn owner(&self) -> &Owner {
        &self.owner
    }

    /// Results that wait here.
    pub(crate) const fn results(&self) -> u64 {
        self.results
    }

    /// Results found damaged since the last call; their place on disk is skipped.
    pub(crate) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// Number of the last entry that was read.
    pub(crate) const fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// Whether all its batches have been acknowledged.
    pub(crate) fn is_empty(&self) -> bool {
        self.unread == 0 && self.unacknowledged.is_empty()
    }

    /// Appends a batch.
    pub(crate) fn append(&mut self, frame: &Frame) -> Result<(), NotSpooled> {
        let folder = self.folder.display().to_string();
        let size = (HEAD + frame.bytes.len()) as u64;
        if self.segments.iter().map(|segment| segment.bytes).sum::<u64>() + size > self.bound {
            return Err(NotSpooled::Full { folder, bound: self.bound });
        }
        self.write(frame, size).map_err(|source| NotSpooled::Io { folder, source })?;
        self.unread += 1;
        self.results += u64::from(frame.results);
        Ok(())
    }

    /// Inserts batches before all others: they come from memory, while later ones are on disk. The spool is not read
    /// afterwards.
    pub(crate) fn prepend(&mut self, frames: &[Frame]) -> Result<(), NotSpooled> {
        let Some(first) = self.segments.front().filter(|_| !frames.is_empty()) else { return Ok(()) };
        let number = first.number - 1;
        let bytes: Vec<u8> = frames.iter().flat_map(encoded).collect();
        let segment = Segment { number, bytes: bytes.len() as u64 };
        write_private(&self.path_of(number), &bytes)
            .map_err(|source| NotSpooled::Io { folder: self.folder.display().to_string(), source })?;
        self.segments.push_front(segment);
        self.unread += frames.len() as u64;
        self.results += frames.iter().map(|frame| u64::from(frame.results)).sum::<u64>();
        Ok(())
    }

    /// Makes the folder and takes its lock.
    fn begin(&self) -> io::Result<File> {
        private_folder(&self.folder)?;
        let lock = locked(&self.folder)?;
        lock.try_lock().map_err(io::Error::from)?;
        write_private(&self.folder.join(OWNER), &serde_json::to_vec(&self.owner)?)?;
        // A lock that was removed would keep nobody out.
        fs::metadata(self.folder.join(LOCK))?;
        Ok(lock)
    }

    fn write(&mut self, frame: &Frame, size: u64) -> io::Result<()> {
        if self.lock.is_none() {
            // Once more if another process has just removed the folder, which had no owner yet.
            self.lock = Some(self.begin().or_else(|_| self.begin())?);
        }
        let segment = match self.segments.back() {
            Some(last) if self.writer.is_some() && last.bytes < SEGMENT => *last,
            last => {
                let number = last.map_or(FIRST, |last| last.number + 1);
                let path = self.path_of(number);
                self.writer = Some(private_file().write(true).create_new(true).open(path)?);
                self.segments.push_back(Segment { number, bytes: 0 });
                Segment { number, bytes: 0 }
            }
        };
        let writer = self.writer.as_mut().expect("a segment was just opened for it");
        if let Err(error) = writer.write_all(&encoded(frame)) {
            // An incomplete frame would hide all frames after it.
            writer.set_len(segment.bytes)?;
            writer.seek(SeekFrom::Start(segment.bytes))?;
            return Err(error);
        }
        if let Some(last) = self.segments.back_mut() {
            last.bytes += size;
        }
        Ok(())
    }

    /// How many entries are missing before this frame; one if the previous number is unknown. Not all entries are
    /// results, so this counts too many rather than too few.
    fn missing_before(&self, frame: &Frame) -> u64 {
        let before = frame.last_seq.saturating_sub(u64::from(frame.entries));
        if self.last_seq == 0 { 1 } else { before.saturating_sub(self.last_seq).max(1) }
    }

    /// The next batch to send; it stays on disk until [`Spool::acknowledged`].
    pub(crate) fn next(&mut self) -> io::Result<Option<Frame>> {
        while self.unread > 0 {
            let number = match (&self.reader, self.segments.front()) {
                (Some(reader), _) => reader.number,
                (None, Some(first)) => {
                    let number = first.number;
                    self.read(number)?;
                    continue;
                }
                (None, None) => {
                    self.give_up();
                    break;
                }
            };
            let found = self.reader.as_mut().map_or(Ok(Found::End), |reader| reader.next(false))?;
            match found {
                Found::Frame { frame, .. } => {
                    self.last_seq = frame.last_seq;
                    self.unread -= 1;
                    self.unacknowledged.push_back((number, frame.results));
                    return Ok(Some(frame));
                }
                Found::Damage { .. } => {}
                Found::End => {
                    match self.segments.iter().map(|segment| segment.number).find(|next| *next > number) {
                        Some(next) => self.read(next)?,
                        None => self.give_up(),
                    }
                }
            }
        }
        Ok(None)
    }

    /// Continues to read that segment; a removed one is skipped.
    fn read(&mut self, number: u64) -> io::Result<()> {
        match Reading::open(&self.folder, number) {
            Ok(reader) => self.reader = Some(reader),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.segments.retain(|segment| segment.number != number);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Everything has been read, although there should have been more.
    fn give_up(&mut self) {
        let there: u64 = self.unacknowledged.iter().map(|(_, results)| u64::from(*results)).sum();
        self.lost += self.results.saturating_sub(there);
        self.results = there;
        self.unread = 0;
    }

    /// Removes the oldest batch that has been read, and segments that are empty then.
    pub(crate) fn acknowledged(&mut self) {
        let Some((_, results)) = self.unacknowledged.pop_front() else { return };
        self.results = self.results.saturating_sub(u64::from(results));
        let reading = self.reader.as_ref().map_or(0, |reader| reader.number);
        let needed = self.unacknowledged.front().map_or(reading, |(number, _)| *number);
        let empty = self.is_empty();
        while let Some(oldest) = self.segments.front().filter(|oldest| empty || oldest.number < needed) {
            if let Err(error) = fs::remove_file(self.path_of(oldest.number)) {
                tracing::warn!(
                    "cannot remove a delivered part of the spool {}: {error}",
                    self.folder.display()
                );
            }
            self.segments.pop_front();
        }
        if empty {
            (self.writer, self.reader) = (None, None);
        }
    }

    /// Removes the folder if nothing waits in it.
    pub(crate) fn close(mut self) {
        if self.is_empty() && self.lock.take().is_some() {
            for segment in std::mem::take(&mut self.segments) {
                let _ = fs::remove_file(self.path_of(segment.number));
            }
            // A folder with other files must stay.
            for name in [OWNER, LOCK] {
                let _ = fs::remove_file(self.folder.join(name));
            }
            let _ = fs::remove_dir(&self.folder);
        }
    }

    fn path_of(&self, number: u64) -> PathBuf {
        path_of(&self.folder, number)
    }
}

const OWNER: &str = "sender.json";
const LOCK: &str = "lock";
const SUFFIX: &str = ".frames";

fn path_of(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:08}{SUFFIX}"))
}

fn locked(folder: &Path) -> io::Result<File> {
    private_file().write(true).create(true).truncate(true).open(folder.join(LOCK))
}

/// Whether the sender has written its name.
fn is_owned(folder: &Path) -> bool {
    fs::metadata(folder.join(OWNER)).is_ok_and(|owner| owner.len() > 0)
}

/// Removes the folder of a sender that died before it wrote its name: nothing is in it. Other folders stay.
fn remove_unowned(folder: &Path) {
    let Ok(files) = fs::read_dir(folder) else { return };
    let files: Vec<_> = files.flatten().map(|file| file.file_name()).collect();
    if files.iter().any(|name| name != OWNER && name != LOCK) {
        return;
    }
    if !files.is_empty() {
        let Ok(lock) = locked(folder) else { return };
        if lock.try_lock().is_err() || is_owned(folder) {
            return;
        }
        for name in [OWNER, LOCK] {
            let _ = fs::remove_file(folder.join(name));
        }
    }
    // Fails if something has come.
    let _ = fs::remove_dir(folder);
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    private_file().write(true).create(true).truncate(true).open(path)?.write_all(bytes)
}

fn folder_name(sender: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' };
    sender.chars().map(plain).take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(sender: &str) -> Owner {
        Owner { sender: sender.to_owned(), node: "here".to_owned(), header: "{}".to_owned() }
    }

    fn frame(last_seq: u64, size: usize) -> Frame {
        Frame { last_seq, results: 2, entries: 1, bytes: vec![last_seq as u8; size].into() }
    }

    fn drain(spool: &mut Spool) -> Vec<u64> {
        let mut numbers = Vec::new();
        while let Some(frame) = spool.next().unwrap() {
            assert!(frame.bytes.iter().all(|byte| *byte == frame.last_seq as u8));
            numbers.push(frame.last_seq);
        }
        numbers
    }

    #[test]
    fn returns_batches_in_order_and_removes_its_files() {
        let root = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(root.path(), owner("r/1"), 1 << 30);
        assert!(fs::read_dir(root.path()).unwrap().next().is_none(), "an unused spool is not on disk");
        // This makes three segments.
        for seq in 1..=20 {
            spool.append(&frame(seq, 1 << 20)).unwrap();
        }
        assert_eq!(spool.results(), 40);
        assert_eq!(drain(&mut spool), (1..=20).collect::<Vec<_>>());
        spool.append(&frame(21, 10)).unwrap();
        assert_eq!(drain(&mut spool), [21]);
        (0..21).for_each(|_| spool.acknowledged());
        assert_eq!(spool.results(), 0);
        spool.append(&frame(22, 10)).unwrap();
        assert_eq!(drain(&mut spool), [22]);
        spool.acknowledged();
        spool.close();
        assert!(fs::read_dir(root.path()).unwrap().next().is_none());
    }

    #[test]
    fn frees_a_segment_once_all_in_it_is_acknowledged() {
        let root = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(root.path(), owner("r1"), 20 << 20);
        let mut seq = 0;
        let mut fill = |spool: &mut Spool| {
            loop {
                seq += 1;
                if let Err(error) = spool.append(&frame(seq, 1 << 20)) {
                    assert!(matches!(error, NotSpooled::Full { .. }), "{error}");
                    return seq - 1;
                }
            }
        };
        assert_eq!(fill(&mut spool), 19, "19 MiB with their headers fit into 20 MiB");
        for _ in 0..10 {
            spool.next().unwrap().unwrap();
            spool.acknowledged();
        }
        assert!(fill(&mut spool) > 24, "the first segment made room");
    }

    #[test]
    fn earlier_batches_can_be_put_in_front() {
        let root = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(root.path(), owner("r1"), 1 << 30);
        spool.append(&frame(3, 100)).unwrap();
        spool.prepend(&[frame(1, 100), frame(2, 100)]).unwrap();
        drop(spool);
        let mut spool = Spool::leftovers(root.path()).remove(0);
        assert_eq!(spool.results(), 6);
        assert_eq!(drain(&mut spool), [1, 2, 3]);
    }

    #[test]
    fn only_damaged_batches_are_lost_and_they_are_counted() {
        let root = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(root.path(), owner("r1"), 1 << 30);
        // Three segments with eight, eight and four batches.
        for seq in 1..=20 {
            spool.append(&frame(seq, 1 << 20)).unwrap();
        }
        let [first, second] = [0, 1].map(|segment| spool.path_of(FIRST + segment));
        let damage = |path: &Path, at: usize| {
            let mut bytes = fs::read(path).unwrap();
            bytes[at] ^= 1;
            fs::write(path, bytes).unwrap();
        };
        let length = HEAD + (1 << 20);
        // Damage in the batch of 3, in the headers of 5 and 6. The segment with 9 to 16 is gone.
        damage(&first, 2 * length + 500);
        damage(&first, 4 * length + 1);
        damage(&first, 5 * length + 30);
        fs::remove_file(&second).unwrap();
        let expected: Vec<u64> = [1, 2, 4, 7, 8].into_iter().chain(17..=20).collect();
        assert_eq!(drain(&mut spool), expected);
        assert_eq!((spool.take_lost(), spool.take_lost(), spool.results()), (2 * 11, 0, 18));
        assert!(!spool.is_empty());
        drop(spool);

        let mut spool = Spool::leftovers(root.path()).remove(0);
        assert_eq!(spool.results(), 18);
        // The two entries with damaged headers are not counted. Analytics detects a missing segment by the numbers.
        assert_eq!(spool.take_lost(), 2 + 2);
        assert_eq!(drain(&mut spool), expected);
        assert_eq!(spool.last_seq(), 20);
        (0..9).for_each(|_| spool.acknowledged());
        spool.close();
        assert!(fs::read_dir(root.path()).unwrap().next().is_none());
    }

    #[test]
    fn a_spool_with_only_damaged_batches_is_counted_and_removed() {
        let root = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(root.path(), owner("r1"), 1 << 30);
        spool.append(&frame(1, 100)).unwrap();
        let file = spool.path_of(FIRST);
        drop(spool);
        fs::write(&file, b"not a frame").unwrap();
        let mut spool = Spool::leftovers(root.path()).remove(0);
        assert!(spool.is_empty());
        assert_eq!(spool.take_lost(), 1);
        spool.close();
        assert!(fs::read_dir(root.path()).unwrap().next().is_none());
    }

    #[test]
    fn a_spool_is_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let root = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(&root.path().join("spool"), owner("r1"), 1 << 30);
        spool.append(&frame(1, 100)).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&root.path().join("spool")), mode(&spool.folder)), (0o700, 0o700));
        for name in [OWNER, LOCK, "01048576.frames"] {
            assert_eq!(mode(&spool.folder.join(name)), 0o600, "{name}");
        }
    }

    #[test]
    fn a_later_start_finds_all_but_the_incomplete_end() {
        let root = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(root.path(), owner("r1"), 1 << 30);
        for seq in 1..=3 {
            spool.append(&frame(seq, 100)).unwrap();
        }
        assert!(Spool::leftovers(root.path()).is_empty(), "its sender is running");
        let last = spool.path_of(FIRST);
        drop(spool);
        for cut in [1, 99, 101, 131] {
            let whole = fs::read(&last).unwrap();
            fs::write(&last, &whole[..whole.len() - cut]).unwrap();
            let mut found = Spool::leftovers(root.path());
            assert_eq!(found.len(), 1);
            let mut spool = found.remove(0);
            assert_eq!(*spool.owner(), owner("r1"));
            assert_eq!(spool.results(), 4);
            assert!(spool.take_lost() > 0, "the incomplete batch is counted");
            assert_eq!(drain(&mut spool), [1, 2], "{cut} bytes cut off");
            drop(spool);
            fs::write(&last, &whole).unwrap();
        }
        let mut spool = Spool::leftovers(root.path()).remove(0);
        assert_eq!(drain(&mut spool), [1, 2, 3]);
        (0..3).for_each(|_| spool.acknowledged());
        spool.close();
        assert!(fs::read_dir(root.path()).unwrap().next().is_none());
    }

    #[test]
    fn the_folder_of_a_sender_that_died_before_it_wrote_its_name_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let folder = |name: &str, files: &[&str]| {
            let folder = root.path().join(name);
            fs::create_dir(&folder).unwrap();
            files.iter().for_each(|file| fs::write(folder.join(file), "").unwrap());
            folder
        };
        let dead = [folder("a", &[]), folder("b", &[LOCK]), folder("c", &[LOCK, OWNER])];
        let others = folder("d", &[LOCK, "notes.txt"]);
        let begins = folder("e", &[]);
        let lock = locked(&begins).unwrap();
        lock.try_lock().unwrap();
        assert!(Spool::leftovers(root.path()).is_empty());
        assert!(dead.iter().all(|folder| !folder.exists()));
        assert!(others.join("notes.txt").exists() && begins.join(LOCK).exists());
        drop(lock);
        let mut spool = Spool::new(root.path(), owner("e"), 1 << 30);
        spool.append(&frame(1, 100)).unwrap();
        assert!(Spool::leftovers(root.path()).is_empty(), "its sender is running");
        assert!(begins.join(OWNER).exists());
    }
}
