//! The runs that can be shown: live ones, and those that have a log.

mod catalogue;
mod consumers;
mod end;
mod followed;
mod gaps;
mod index;
mod live;
mod log_file;
mod notes;
mod pace;
mod reading;
mod recorded;
mod records;
mod replayed;
mod run_log;
mod run_logs;
mod written;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use wec_figures::snapshot::{ObservedSeries, Series, Snapshot, Warnings};
use wec_log::{LogFormat, find_log};

use crate::Aggregate;
use crate::log::LogError;
use crate::views::{Health, ReplayView, RunSource};

pub(crate) use self::catalogue::{CURRENT, Catalogue};
pub use self::consumers::{ConsumerOptions, ExporterOptions, read_reports};
pub(crate) use self::consumers::{ExportedRuns, Notices, Reporters};
pub(crate) use self::index::check as check_index;
pub(crate) use self::index::read_any as read_any_index;
pub use self::index::{IndexPlace, IndexedRun};
pub(crate) use self::live::{LiveRun, Shown};
pub(crate) use self::notes::LONGEST_NOTE;
pub use self::reading::Reading;
pub use self::recorded::RecordedRun;
pub(crate) use self::replayed::{ReplayChange, Replayed};
pub(crate) use self::run_logs::start;

/// Place of the logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogPlace {
    /// `<run>.jsonl` in this folder, or with the extension of another format; one log for each run.
    Folder(PathBuf),
    /// This file; there is only one run.
    File(PathBuf),
}

impl LogPlace {
    /// The first file of a run's log, which has this format if it is new. The id arrives over the network, so it must not select a folder.
    fn path_of(&self, run: &str, format: LogFormat) -> Result<PathBuf, LogError> {
        match self {
            Self::File(path) => Ok(path.clone()),
            Self::Folder(folder) if is_file_name(run) => {
                Ok(find_log(folder, run)
                    .unwrap_or_else(|| folder.join(format!("{run}.{}", format.extension()))))
            }
            Self::Folder(folder) => Err(LogError::BadRun { folder: folder.clone(), run: run.to_owned() }),
        }
    }
}

fn is_file_name(run: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=128).contains(&run.len()) && !run.starts_with('.') && run.bytes().all(plain)
}

/// A run that can be shown.
pub(crate) trait Run: std::fmt::Debug + Send + Sync {
    /// Its figures. When figures must be taken back, others with another number take their place.
    fn figures(&self) -> Arc<Figures>;
    /// The place of its log, and whether the log is complete.
    fn health(&self) -> Health;
    /// Where its results come from.
    fn source(&self) -> RunSource;
    /// Whether all of it is there, with the end of its log: without that it has no verdict.
    fn has_end(&self) -> bool {
        false
    }
    /// Where its replay is.
    fn replay(&self) -> Option<ReplayView> {
        None
    }
    /// The figures from and to these times after its start; none for a run that has no index. Reads its log.
    ///
    /// # Errors
    /// When its log cannot be read.
    fn part(&self, _from_ns: u64, _to_ns: u64) -> Option<Result<Aggregate, LogError>> {
        None
    }
}

/// The figures of a run, shared by the writer and the readers.
#[derive(Debug)]
pub(crate) struct Figures {
    /// Shows readers of the series that it is another run. Unique within the process.
    pub(crate) number: u64,
    aggregate: Mutex<Aggregate>,
    latest: Mutex<Option<(Instant, Arc<Snapshot>)>>,
    /// Of a run that has ended, from its index. Then the aggregate has no records.
    fixed: Option<Fixed>,
}

impl Figures {
    const fn new(number: u64, aggregate: Aggregate) -> Self {
        Self { number, aggregate: Mutex::new(aggregate), latest: Mutex::new(None), fixed: None }
    }

    /// Figures that do not change any more.
    fn fixed(number: u64, snapshot: Snapshot, series: Series, observed: Vec<ObservedSeries>) -> Self {
        Self {
            fixed: Some((Arc::new(snapshot), series, observed)),
            ..Self::new(number, Aggregate::default())
        }
    }

    /// The series: all of it, or the buckets changed after the revision `seen`. Returns the current revision.
    pub(crate) fn series(&self, seen: Option<u64>) -> (Series, u64) {
        match &self.fixed {
            None => self.lock().series(seen),
            Some((_, series, _)) if seen == Some(FIXED) => (Series::without_buckets(series.step_s), FIXED),
            Some((_, series, _)) => (series.clone(), FIXED),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Aggregate> {
        self.aggregate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The metrics of other programs.
    pub(crate) fn observed(&self) -> Vec<ObservedSeries> {
        match &self.fixed {
            None => self.lock().observed(),
            Some((.., observed)) => observed.clone(),
        }
    }

    /// What was counted; none of a run that was opened by its index, which has only figures.
    pub(crate) fn counted(&self) -> Option<MutexGuard<'_, Aggregate>> {
        self.fixed.is_none().then(|| self.lock())
    }

    /// What the load tester warned of.
    pub(crate) fn warnings(&self) -> Warnings {
        match &self.fixed {
            None => self.lock().warnings(),
            Some((snapshot, ..)) => {
                Warnings { warnings: snapshot.warnings.clone(), others: snapshot.missing.other_warnings }
            }
        }
    }

    /// A snapshot no older than `fresh`, so that further watchers cost little.
    pub(crate) fn snapshot(&self, fresh: Duration) -> Arc<Snapshot> {
        if let Some((snapshot, ..)) = &self.fixed {
            return Arc::clone(snapshot);
        }
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

/// What is shown of a run that has ended.
type Fixed = (Arc<Snapshot>, Series, Vec<ObservedSeries>);

/// The revision of a series that does not change.
const FIXED: u64 = 1;

/// The name of a log's file in the API and in messages.
fn shown_path(path: &Path) -> String {
    path.display().to_string()
}
