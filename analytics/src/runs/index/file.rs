//! The file of an index, and of which log files it is.
//!
//! Whoever can write beside a log can write an index. So it is bounded, it is bound to the content of the logs, and what
//! it has is checked before it is used.

use std::fs::{self, File};
use std::io::{self, Read, Seek as _, SeekFrom, Write};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wec_startup::Beside;
use xxhash_rust::xxh64::Xxh64;

use super::super::log_file::LogFile;
use super::{Head, RunIndex};

/// The first bytes of an index. No log begins like it.
const MAGIC: &[u8; 8] = b"wecindex";
/// The extension that is added to the name of the log.
const EXTENSION: &str = ".index";
/// Maximal length of the head and of each section, bytes: ten times as much as those of a day of ten million requests.
const LONGEST: u64 = 64 << 20;
/// Maximal length of what they have without compression, bytes: this, and so many for each byte.
const LEAST_CONTENT: u64 = 16 << 20;
const EXPANSION: u64 = 64;
const LEVEL: i32 = 3;
/// A log up to this length is hashed whole, bytes.
const HASHED_WHOLE: u64 = 4 << 20;
/// Of a longer one, bytes at each end are hashed, and this number of pieces between.
const HASHED_ENDS: u64 = 1 << 20;
const PIECES: u64 = 256;
const PIECE: u64 = 4 << 10;

/// Where indexes are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum IndexPlace {
    /// Nowhere: a log is read whenever its run is opened.
    #[default]
    Nowhere,
    /// In the folder of each log.
    Beside,
    /// In this folder.
    Folder(PathBuf),
}

/// A log file when the index was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct IndexedFile {
    name: String,
    pub(super) length: u64,
    modified_unix_ns: u64,
    /// Of its content.
    hash: u64,
}

impl IndexedFile {
    /// Whether this is its name, in whichever folder.
    pub(super) fn is_named(&self, path: &str) -> bool {
        Path::new(path).file_name().is_some_and(|name| name.to_string_lossy() == self.name)
    }
}

/// The files as they are; none if one of them cannot be read.
pub(super) fn identify(logs: &[LogFile]) -> Option<Vec<IndexedFile>> {
    let file = |log: &LogFile| {
        let name = log.path.file_name()?.to_string_lossy().into_owned();
        let hash = hash(&mut File::open(&log.path).ok()?, log.length).ok()?;
        Some(IndexedFile { name, length: log.length, modified_unix_ns: log.modified_unix_ns, hash })
    };
    logs.iter().map(file).collect()
}

/// Hashes the content, or parts of it from one end to the other.
fn hash(file: &mut File, length: u64) -> io::Result<u64> {
    let mut hasher = Xxh64::new(0);
    let mut bytes = Vec::new();
    let mut add = |from: u64, count: u64| {
        bytes.clear();
        file.seek(SeekFrom::Start(from))?;
        file.take(count).read_to_end(&mut bytes)?;
        hasher.update(&bytes);
        io::Result::Ok(())
    };
    if length <= HASHED_WHOLE {
        add(0, length)?;
    } else {
        add(0, HASHED_ENDS)?;
        let between = length - 2 * HASHED_ENDS;
        (0..PIECES).try_for_each(|piece| add(HASHED_ENDS + between / PIECES * piece, PIECE))?;
        add(length - HASHED_ENDS, HASHED_ENDS)?;
    }
    Ok(hasher.digest())
}

/// What follows the head of an index, which is read when it is needed.
#[derive(Clone, Debug)]
pub(super) enum Sections {
    /// The index is in no file.
    Memory(Arc<Vec<u8>>),
    /// They begin at this offset in the file, and have this length.
    File(Arc<File>, u64, u64),
}

impl Sections {
    /// Length of all of them, bytes.
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Memory(sections) => sections.len() as u64,
            Self::File(.., length) => *length,
        }
    }

    /// Writes all of them, which may be longer together than one is allowed to be.
    fn write_to(&self, to: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Memory(sections) => to.write_all(sections),
            Self::File(file, begin, length) => {
                let mut file = &**file;
                file.seek(SeekFrom::Start(*begin))?;
                io::copy(&mut file.take(*length), to).map(drop)
            }
        }
    }

    /// The section at this offset, of this length.
    pub(super) fn read(&self, (from, length): (u64, u64)) -> io::Result<Vec<u8>> {
        let end = from.checked_add(length).filter(|end| *end <= self.length() && length <= LONGEST);
        let end = end.ok_or_else(|| io::Error::other("the index has no such section"))?;
        match self {
            Self::Memory(sections) => Ok(sections[from as usize..end as usize].to_vec()),
            Self::File(file, begin, _) => {
                let mut section = vec![0; length as usize];
                file.read_exact_at(&mut section, begin + from)?;
                Ok(section)
            }
        }
    }
}

/// Writes the index for this user alone, and then gives it its name.
pub(super) fn store(index: &RunIndex, file: &Path) -> io::Result<()> {
    if !may_be_replaced(file)? {
        return Err(io::Error::other("a file of this name is no index and is left alone"));
    }
    let mut head = zstd::stream::Encoder::new(Vec::new(), LEVEL)?;
    head.include_checksum(true)?;
    serde_json::to_writer(&mut head, &index.head)?;
    let head = head.finish()?;
    // Not every number can be read back from JSON to the last digit.
    if parse(&head).as_ref() != Some(&index.head) {
        return Err(io::Error::other("it would not have every digit, or be too long"));
    }
    let mut new = Beside::new(file)?;
    new.write_all(MAGIC)?;
    new.write_all(&(head.len() as u64).to_le_bytes())?;
    new.write_all(&head)?;
    index.sections.write_to(&mut new)?;
    new.finish()
}

/// Whether there is no such file, or it begins like an index.
fn may_be_replaced(file: &Path) -> io::Result<bool> {
    let mut begins = Vec::new();
    match File::open(file) {
        Ok(there) => there.take(MAGIC.len() as u64).read_to_end(&mut begins)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
    };
    Ok(begins == MAGIC)
}

/// None if there is no such file, or it is damaged or of another form.
pub(super) fn load(file: &Path) -> Option<RunIndex> {
    let mut file = File::open(file).ok()?;
    let mut begins = [0; 16];
    file.read_exact(&mut begins).ok()?;
    let (magic, length) = begins.split_first_chunk()?;
    let length = u64::from_le_bytes(length.try_into().ok()?);
    if magic != MAGIC || length > LONGEST {
        return None;
    }
    let mut head = Vec::new();
    (&mut file).take(length).read_to_end(&mut head).ok()?;
    let head = parse(&head)?;
    let begin = 16 + length;
    let length = file.metadata().ok()?.len().checked_sub(begin)?;
    Some(RunIndex { head, sections: Sections::File(Arc::new(file), begin, length) })
}

fn parse(head: &[u8]) -> Option<Head> {
    serde_json::from_slice(&unpacked(head).ok()?).ok()
}

/// The content of a head or a section. A section without content has no bytes.
pub(super) fn unpacked(packed: &[u8]) -> io::Result<Vec<u8>> {
    if packed.is_empty() {
        return Ok(Vec::new());
    }
    let longest = LEAST_CONTENT + EXPANSION * packed.len() as u64;
    let mut content = Vec::new();
    zstd::stream::Decoder::new(packed)?.take(longest).read_to_end(&mut content)?;
    Ok(content)
}

/// Whether a file of a folder of logs is an index and no log.
pub(in super::super) fn is_index(path: &Path) -> bool {
    let begins = || {
        let mut begins = [0; MAGIC.len()];
        File::open(path).and_then(|mut file| file.read_exact(&mut begins)).is_ok_and(|()| begins == *MAGIC)
    };
    path.to_str().is_some_and(|path| path.ends_with(EXTENSION)) && begins()
}

impl IndexPlace {
    /// The file of the index of the run with these logs.
    pub(super) fn file_of(&self, logs: &[PathBuf]) -> Option<PathBuf> {
        let first = logs.iter().min()?;
        let mut name = first.file_name()?.to_owned();
        name.push(EXTENSION);
        match self {
            Self::Nowhere => None,
            Self::Beside => Some(first.with_file_name(name)),
            Self::Folder(folder) => Some(folder.join(name)),
        }
    }
}

/// Whether the folder for indexes exists.
pub(crate) fn check(place: &IndexPlace) -> io::Result<()> {
    match place {
        IndexPlace::Folder(folder) => fs::create_dir_all(folder),
        IndexPlace::Nowhere | IndexPlace::Beside => Ok(()),
    }
}
