//! `Syncer`: synchronises written files to the disk on its own thread, so that a slow disk does not delay counting.

use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{io, mem};

use tokio::time::Instant;

/// The longest time from a record to the beginning of its synchronisation, if it is written by then: so it is on the disk
/// within a second, if the disk needs less than 300 ms.
const COLLECT: Duration = Duration::from_millis(700);

/// Synchronises files. Dropping it waits until all of them are synchronised.
#[derive(Debug)]
pub(crate) struct Syncer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    work: Mutex<Work>,
    changed: Condvar,
    done: AtomicU64,
}

#[derive(Debug, Default)]
struct Work {
    /// Written to since their last synchronisation.
    files: Vec<Arc<File>>,
    /// When that begins; none without files.
    due: Option<Instant>,
    /// Being synchronised.
    busy: bool,
    /// At once.
    hurry: bool,
    end: bool,
    error: Option<io::Error>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut work = self.lock();
        loop {
            let Some(due) = work.due else {
                if work.end {
                    return;
                }
                work = self.changed.wait(work).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = due.saturating_duration_since(Instant::now());
            if !left.is_zero() && !work.hurry && !work.end {
                // An older record may be added meanwhile.
                work = match self.changed.wait_timeout(work, left) {
                    Ok((work, _)) => work,
                    Err(poisoned) => poisoned.into_inner().0,
                };
                continue;
            }
            let files = mem::take(&mut work.files);
            work.due = None;
            work.busy = true;
            drop(work);
            let outcome: io::Result<()> = files.iter().try_for_each(|file| file.sync_data());
            // The lock of a file that was rotated away ends here.
            drop(files);
            self.done.fetch_add(1, Ordering::Relaxed);
            work = self.lock();
            work.busy = false;
            if let Err(error) = outcome {
                work.error = Some(error);
            }
            self.changed.notify_all();
        }
    }
}

impl Syncer {
    pub(crate) fn start() -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let thread = {
            let shared = Arc::clone(&shared);
            thread::Builder::new().name("wec-log-sync".to_owned()).spawn(move || shared.run())?
        };
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Synchronises this file soon; the oldest record that was written to it is of this time.
    pub(crate) fn add(&self, file: &Arc<File>, oldest: Instant) {
        let mut work = self.shared.lock();
        if !work.files.iter().any(|other| Arc::ptr_eq(other, file)) {
            work.files.push(Arc::clone(file));
        }
        let due = oldest + COLLECT;
        if work.due.is_none_or(|known| due < known) {
            work.due = Some(due);
            self.shared.changed.notify_all();
        }
    }

    /// Waits until all added files are synchronised.
    pub(crate) fn finish(&self) {
        let mut work = self.shared.lock();
        work.hurry = true;
        self.shared.changed.notify_all();
        while work.busy || !work.files.is_empty() {
            work = self.shared.changed.wait(work).unwrap_or_else(PoisonError::into_inner);
        }
        work.hurry = false;
    }

    /// The last error, once.
    pub(crate) fn error(&self) -> Option<io::Error> {
        self.shared.lock().error.take()
    }

    /// How often files were synchronised.
    pub(crate) fn count(&self) -> u64 {
        self.shared.done.load(Ordering::Relaxed)
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.shared.lock().end = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // The panic hook has reported a panic.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_record_decides_when_files_are_synchronised() {
        let syncer = Syncer::start().unwrap();
        let file = Arc::new(tempfile::tempfile().unwrap());
        let now = Instant::now();
        syncer.add(&file, now + Duration::from_secs(3_600));
        syncer.add(&file, now);
        let work = syncer.shared.lock();
        let waits = |work: &mut Work| work.busy || !work.files.is_empty();
        let (work, waited) =
            syncer.shared.changed.wait_timeout_while(work, Duration::from_secs(60), waits).unwrap();
        assert!(!waited.timed_out());
        drop(work);
        assert_eq!(syncer.count(), 1);
    }
}
