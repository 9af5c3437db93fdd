//! `LogFile`: a file of a log, and how a change of it is noticed.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::followed;

/// A file at one point in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LogFile {
    pub(super) path: PathBuf,
    pub(super) inode: u64,
    pub(super) length: u64,
    pub(super) modified_unix_ns: u64,
}

impl LogFile {
    /// A file of which only the name is known.
    pub(super) fn named(path: &Path) -> Self {
        Self { path: path.to_owned(), inode: 0, length: 0, modified_unix_ns: 0 }
    }

    /// Sorts the files of a run's log by the time of their last change, as a rotated log was written.
    pub(super) fn sort(files: &mut [Self]) {
        files.sort_by(|a, b| a.modified_unix_ns.cmp(&b.modified_unix_ns).then_with(|| a.path.cmp(&b.path)));
    }

    /// A file that is there, as it is now.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        let there = fs::metadata(path)?;
        if !there.is_file() {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Self {
            path: path.to_owned(),
            inode: there.ino(),
            length: there.len(),
            modified_unix_ns: followed::modified_unix_ns(&there),
        })
    }
}
