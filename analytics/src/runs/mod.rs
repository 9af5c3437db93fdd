//! The runs that can be looked at: those whose results are taken now, and those of which there is a log.

mod catalogue;
mod consumers;
mod live;
mod run_log;
mod run_logs;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::Aggregate;
use crate::log::LogError;
use crate::snapshot::{Health, Snapshot};

pub(crate) use self::catalogue::{CURRENT, Catalogue};
pub use self::consumers::ConsumerOptions;
pub(crate) use self::live::{LiveRun, Shown};
pub(crate) use self::run_logs::start;

/// Where logs go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogPlace {
    /// `<run>.jsonl` in this folder, one file for each run.
    Folder(PathBuf),
    /// This file; there can be one run only.
    File(PathBuf),
}

impl LogPlace {
    /// The log of a run. Its id comes over the network; it must not choose a folder.
    fn path_of(&self, run: &str) -> Result<PathBuf, LogError> {
        match self {
            Self::File(path) => Ok(path.clone()),
            Self::Folder(folder) if is_file_name(run) => Ok(folder.join(format!("{run}.jsonl"))),
            Self::Folder(folder) => Err(LogError::BadRun { folder: folder.clone(), run: run.to_owned() }),
        }
    }
}

fn is_file_name(run: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=128).contains(&run.len()) && !run.starts_with('.') && run.bytes().all(plain)
}

/// A run that can be looked at.
pub(crate) trait Run: Send + Sync {
    /// Its figures.
    fn figures(&self) -> &Figures;
    /// Where its log is, and whether all of it is there.
    fn health(&self) -> Health;
    /// Whether results of it may still come.
    fn is_live(&self) -> bool;
}

/// The figures of a run, shared by the one who counts and those who look.
#[derive(Debug)]
pub(crate) struct Figures {
    /// Tells readers of the series that it is another run. Unique within the process.
    pub(crate) number: u64,
    aggregate: Mutex<Aggregate>,
    latest: Mutex<Option<(Instant, Arc<Snapshot>)>>,
}

impl Figures {
    const fn new(number: u64, aggregate: Aggregate) -> Self {
        Self { number, aggregate: Mutex::new(aggregate), latest: Mutex::new(None) }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Aggregate> {
        self.aggregate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A snapshot no older than `fresh`, so that a second watcher costs nothing.
    pub(crate) fn snapshot(&self, fresh: Duration) -> Arc<Snapshot> {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        match &*latest {
            Some((made, snapshot)) if made.elapsed() < fresh => snapshot.clone(),
            _ => {
                let snapshot = Arc::new(self.lock().snapshot());
                *latest = Some((Instant::now(), snapshot.clone()));
                snapshot
            }
        }
    }
}

/// How a log's file is named in what is shown.
fn shown_path(path: &Path) -> String {
    path.display().to_string()
}
