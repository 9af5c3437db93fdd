//! The spool: batches on disk, in order, until analytics has them in its log.
//!
//! A folder for each sender, in it a description of the sender, a lock, and segments of frames: length, last
//! number, results, bytes. A segment goes when all its frames are acknowledged. The last frame may be torn, when its writer was
//! killed; it is as if it had not been written. A spool that outlives its sender is found by its next start.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A new segment begins after so much.
const SEGMENT: u64 = 8 << 20;
/// Number of the first segment: there is room before it.
const FIRST: u64 = 1 << 20;
/// Length, last number, results.
const FRAME_HEAD: usize = 4 + 8 + 4;

/// A batch as it is sent: encoded once, whatever happens to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Number of its last entry.
    pub(super) last_seq: u64,
    /// How many results it holds.
    pub(super) results: u32,
    /// The encoded batch.
    pub(super) bytes: Arc<[u8]>,
}

/// Whose batches a spool holds: what a later start needs to deliver them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Owner {
    pub(super) sender: String,
    pub(super) node: String,
    /// The run's header as JSON.
    pub(super) header: String,
}

#[derive(Debug)]
pub(super) struct Spool {
    folder: PathBuf,
    owner: Owner,
    /// Bytes it may hold.
    bound: u64,
    /// None until the first batch: most runs never need a spool.
    lock: Option<File>,
    /// On disk, oldest first; the last one is written to.
    segments: VecDeque<Segment>,
    writer: Option<File>,
    reader: Option<(u64, BufReader<File>)>,
    /// Segment and results of each frame that has been read and not acknowledged.
    unacknowledged: VecDeque<(u64, u32)>,
    unread: u64,
    /// Results in frames that are not acknowledged.
    results: u64,
}

#[derive(Clone, Copy, Debug)]
struct Segment {
    number: u64,
    bytes: u64,
}

/// Why a batch was not spooled.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotSpooled {
    #[error("the spool {folder} holds its {bound} bytes")]
    Full { folder: String, bound: u64 },
    #[error("cannot write the spool {folder}: {source}")]
    Io { folder: String, source: io::Error },
}

impl Spool {
    /// A spool under `root`; nothing is written until the first batch.
    pub(super) fn new(root: &Path, owner: Owner, bound: u64) -> Self {
        Self::at(root.join(folder_name(&owner.sender)), owner, bound)
    }

    /// The spools under `root` that dead senders left behind. Unusable ones stay where they are, with a warning.
    pub(super) fn leftovers(root: &Path) -> Vec<Self> {
        let Ok(folders) = fs::read_dir(root) else { return Vec::new() };
        let folders = folders.flatten().map(|entry| entry.path()).filter(|path| path.join(OWNER).exists());
        let mut spools = Vec::new();
        for folder in folders {
            match Self::reopen(&folder) {
                Ok(Some(spool)) => spools.push(spool),
                Ok(None) => {}
                Err(error) => tracing::warn!("leaving the spool {} alone: {error}", folder.display()),
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
        }
    }

    /// None while its sender lives.
    fn reopen(folder: &Path) -> io::Result<Option<Self>> {
        let lock = File::create(folder.join(LOCK))?;
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
        for number in numbers {
            let mut segment = File::open(spool.path_of(number))?;
            let mut bytes = 0;
            while let Some((length, _, results)) = read_head(&mut segment)? {
                segment.seek_relative(i64::from(length))?;
                if segment.stream_position()? > segment.metadata()?.len() {
                    break;
                }
                bytes += FRAME_HEAD as u64 + u64::from(length);
                spool.unread += 1;
                spool.results += u64::from(results);
            }
            spool.segments.push_back(Segment { number, bytes });
        }
        Ok(Some(spool))
    }

    pub(super) const fn owner(&self) -> &Owner {
        &self.owner
    }

    /// Results that wait here.
    pub(super) const fn results(&self) -> u64 {
        self.results
    }

    /// Whether everything it ever held has been acknowledged.
    pub(super) fn is_empty(&self) -> bool {
        self.unread == 0 && self.unacknowledged.is_empty()
    }

    /// Puts a batch behind all others.
    pub(super) fn append(&mut self, frame: &Frame) -> Result<(), NotSpooled> {
        let folder = self.folder.display().to_string();
        let size = (FRAME_HEAD + frame.bytes.len()) as u64;
        if self.segments.iter().map(|segment| segment.bytes).sum::<u64>() + size > self.bound {
            return Err(NotSpooled::Full { folder, bound: self.bound });
        }
        self.write(frame, size).map_err(|source| NotSpooled::Io { folder, source })?;
        self.unread += 1;
        self.results += u64::from(frame.results);
        Ok(())
    }

    /// Puts batches before all others, where they came from memory while later ones went to disk. The spool is not
    /// read from afterwards.
    pub(super) fn prepend(&mut self, frames: &[Frame]) -> Result<(), NotSpooled> {
        let Some(first) = self.segments.front().filter(|_| !frames.is_empty()) else { return Ok(()) };
        let number = first.number - 1;
        let bytes: Vec<u8> = frames.iter().flat_map(encoded).collect();
        let segment = Segment { number, bytes: bytes.len() as u64 };
        fs::write(self.path_of(number), bytes)
            .map_err(|source| NotSpooled::Io { folder: self.folder.display().to_string(), source })?;
        self.segments.push_front(segment);
        self.unread += frames.len() as u64;
        self.results += frames.iter().map(|frame| u64::from(frame.results)).sum::<u64>();
        Ok(())
    }

    fn write(&mut self, frame: &Frame, size: u64) -> io::Result<()> {
        if self.lock.is_none() {
            fs::create_dir_all(&self.folder)?;
            let lock = File::create(self.folder.join(LOCK))?;
            lock.try_lock().map_err(io::Error::from)?;
            fs::write(self.folder.join(OWNER), serde_json::to_vec(&self.owner)?)?;
            self.lock = Some(lock);
        }
        let segment = match self.segments.back() {
            Some(last) if self.writer.is_some() && last.bytes < SEGMENT => *last,
            last => {
                let number = last.map_or(FIRST, |last| last.number + 1);
                let path = self.path_of(number);
                self.writer = Some(OpenOptions::new().write(true).create_new(true).open(path)?);
                self.segments.push_back(Segment { number, bytes: 0 });
                Segment { number, bytes: 0 }
            }
        };
        let writer = self.writer.as_mut().expect("a segment was just opened for it");
        if let Err(error) = writer.write_all(&encoded(frame)) {
            // Half a frame would hide all behind it.
            writer.set_len(segment.bytes)?;
            writer.seek(SeekFrom::Start(segment.bytes))?;
            return Err(error);
        }
        if let Some(last) = self.segments.back_mut() {
            last.bytes += size;
        }
        Ok(())
    }

    /// The next batch to send; it stays on disk until [`Spool::acknowledged`].
    pub(super) fn next(&mut self) -> io::Result<Option<Frame>> {
        while self.unread > 0 {
            let at = self.reader.as_ref().map(|(number, _)| *number);
            let Some(number) = at.or_else(|| self.segments.front().map(|segment| segment.number)) else {
                break;
            };
            let (_, reader) = match &mut self.reader {
                Some(reader) => reader,
                none => none.insert((number, BufReader::new(File::open(path_of(&self.folder, number))?))),
            };
            if let Some((length, last_seq, results)) = read_head(reader)? {
                let mut bytes = vec![0; length as usize];
                reader.read_exact(&mut bytes)?;
                self.unread -= 1;
                self.unacknowledged.push_back((number, results));
                return Ok(Some(Frame { last_seq, results, bytes: bytes.into() }));
            }
            let next = self.segments.iter().map(|segment| segment.number).find(|next| *next > number);
            let Some(next) = next else { break };
            self.reader = Some((next, BufReader::new(File::open(self.path_of(next))?)));
        }
        Ok(None)
    }

    /// Forgets the oldest batch that has been read. Segments with nothing left in them go.
    pub(super) fn acknowledged(&mut self) {
        let Some((_, results)) = self.unacknowledged.pop_front() else { return };
        self.results -= u64::from(results);
        let reading = self.reader.as_ref().map_or(0, |(number, _)| *number);
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
    pub(super) fn close(mut self) {
        if self.is_empty() && self.lock.take().is_some() {
            // A folder that is not empty stays, and so it should.
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
const SUFFIX: &str = ".spool";

fn path_of(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:08}{SUFFIX}"))
}

fn encoded(frame: &Frame) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(FRAME_HEAD + frame.bytes.len());
    bytes.extend_from_slice(&(frame.bytes.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&frame.last_seq.to_le_bytes());
    bytes.extend_from_slice(&frame.results.to_le_bytes());
    bytes.extend_from_slice(&frame.bytes);
    bytes
}

/// None at the end, be it torn or not.
fn read_head(from: &mut impl Read) -> io::Result<Option<(u32, u64, u32)>> {
    let mut head = [0; FRAME_HEAD];
    match from.read_exact(&mut head) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        outcome => outcome?,
    }
    let number =
        |range: std::ops::Range<usize>| head[range].iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte));
    let (length, last_seq, results) = (number(0..4) as u32, number(4..12), number(12..16) as u32);
    Ok((length > 0).then_some((length, last_seq, results)))
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
        Frame { last_seq, results: 2, bytes: vec![last_seq as u8; size].into() }
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
    fn gives_batches_back_in_order_and_leaves_nothing_behind() {
        let root = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(root.path(), owner("r/1"), 1 << 30);
        assert!(fs::read_dir(root.path()).unwrap().next().is_none(), "an unused spool is not on disk");
        // Three segments.
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
        assert_eq!(fill(&mut spool), 19, "19 MiB and their heads fit into 20 MiB");
        for _ in 0..10 {
            spool.next().unwrap().unwrap();
            spool.acknowledged();
        }
        assert!(fill(&mut spool) > 24, "the first segment made room");
    }

    #[test]
    fn what_came_before_can_be_put_before() {
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
    fn a_later_start_finds_all_but_the_torn_end() {
        let root = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(root.path(), owner("r1"), 1 << 30);
        for seq in 1..=3 {
            spool.append(&frame(seq, 100)).unwrap();
        }
        assert!(Spool::leftovers(root.path()).is_empty(), "its sender lives");
        let last = spool.path_of(FIRST);
        drop(spool);
        for cut in [1, 99, 101, 115] {
            let whole = fs::read(&last).unwrap();
            fs::write(&last, &whole[..whole.len() - cut]).unwrap();
            let mut found = Spool::leftovers(root.path());
            assert_eq!(found.len(), 1);
            let mut spool = found.remove(0);
            assert_eq!(*spool.owner(), owner("r1"));
            assert_eq!(spool.results(), 4);
            assert_eq!(drain(&mut spool), [1, 2], "{cut} bytes torn off");
            drop(spool);
            fs::write(&last, &whole).unwrap();
        }
        let mut spool = Spool::leftovers(root.path()).remove(0);
        assert_eq!(drain(&mut spool), [1, 2, 3]);
        (0..3).for_each(|_| spool.acknowledged());
        spool.close();
        assert!(fs::read_dir(root.path()).unwrap().next().is_none());
    }
}
