//! `JobFile`: keeps the jobs across restarts, in a JSON file that is written whole and put in place in one step.
//!
//! JSON and not SQLite: there are few jobs, all of them are in memory anyway, and people can read the file.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use wec_startup::{private_file, private_folder};

use crate::job::Job;

/// The format's version.
const VERSION: u32 = 1;

/// The file. Only one process uses it.
#[derive(Debug)]
pub struct JobFile {
    path: PathBuf,
    /// Holds the lock.
    _lock: File,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JobFileError {
    /// Another process uses it.
    #[error("{0} is in use by another process: give each consumer a file of its own with --jobs")]
    InUse(PathBuf),
    /// It cannot be read or written.
    #[error("cannot use the file of jobs {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// It is not a file of jobs.
    #[error("{path} is not a file of jobs ({why}): move it away, or name another file with --jobs")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

#[derive(Serialize, Deserialize)]
struct Kept<J> {
    version: u32,
    jobs: J,
}

impl JobFile {
    /// Opens the file, and reads the jobs in it. Makes its folder.
    ///
    /// # Errors
    /// When another process uses it, or it cannot be read.
    pub fn open(path: &Path) -> Result<(Self, BTreeMap<String, Job>), JobFileError> {
        let failed = |source| JobFileError::Io { path: path.to_owned(), source };
        private_folder(folder_of(path)).map_err(failed)?;
        // The file itself is replaced, and its lock would be lost with it.
        let lock =
            private_file().create(true).append(true).open(path.with_extension("lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(JobFileError::InUse(path.to_owned())),
            Err(fs::TryLockError::Error(source)) => return Err(failed(source)),
        }
        let jobs = match fs::read(path) {
            Ok(bytes) => {
                wec_startup::keep_private(path, "the runs' tags");
                let foreign = |why: String| JobFileError::Foreign { path: path.to_owned(), why };
                let kept: Kept<_> =
                    serde_json::from_slice(&bytes).map_err(|error| foreign(error.to_string()))?;
                if kept.version != VERSION {
                    return Err(foreign(format!("version {}, not {VERSION}", kept.version)));
                }
                kept.jobs
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(failed(error)),
        };
        Ok((Self { path: path.to_owned(), _lock: lock }, jobs))
    }

    /// The jobs as they are kept.
    pub(crate) fn encoded(jobs: &BTreeMap<String, Job>) -> Vec<u8> {
        serde_json::to_vec(&Kept { version: VERSION, jobs })
            .expect("jobs have only text keys and finite numbers")
    }

    /// Replaces the file, and waits for the disk. A crash leaves the old file or the new one.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn write(&self, encoded: &[u8]) -> io::Result<()> {
        let folder = folder_of(&self.path);
        // Private from the beginning.
        let mut next = tempfile::Builder::new().prefix(".consumer-jobs-").tempfile_in(folder)?;
        next.write_all(encoded)?;
        next.as_file().sync_all()?;
        next.persist(&self.path).map_err(|error| error.error)?;
        File::open(folder)?.sync_all()
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn is_private_exclusive_and_refuses_other_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/jobs.json");
        let (file, jobs) = JobFile::open(&path).unwrap();
        assert!(jobs.is_empty());
        file.write(&JobFile::encoded(&jobs)).unwrap();
        file.write(&JobFile::encoded(&jobs)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(JobFile::open(&path), Err(JobFileError::InUse(_))));
        drop(file);
        assert!(JobFile::open(&path).is_ok());
        for foreign in ["", "{\"version\":1", "{\"version\":2,\"jobs\":{}}", "[]"] {
            fs::write(&path, foreign).unwrap();
            let why = JobFile::open(&path).unwrap_err().to_string();
            assert!(why.contains("--jobs") && why.contains("not a file of jobs"), "{why}");
        }
    }
}
