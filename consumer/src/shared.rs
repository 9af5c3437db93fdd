//! `Shared`: the jobs of a running service.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Notify};
use wec_clock::Clock;

use crate::job::{JobError, Jobs};
use crate::job_file::JobFile;
use crate::payload::Registration;
use crate::point::Point;
use crate::writer::Writer;

/// Shared by the requests and the ticks.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) state: Mutex<State>,
    clock: Clock,
    pub(crate) writer: Writer,
    /// The next tick may be due earlier.
    changed: Notify,
}

/// The jobs and their file.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) jobs: Jobs,
    file: Arc<JobFile>,
    /// Whether the file could not be written the last time.
    unkept: bool,
}

impl Shared {
    pub(crate) fn new(jobs: Jobs, file: JobFile, writer: Writer) -> Self {
        Self {
            state: Mutex::new(State { jobs, file: Arc::new(file), unkept: false }),
            clock: Clock::start(),
            writer,
            changed: Notify::new(),
        }
    }

    /// Begins a job, and returns its uuid.
    pub(crate) async fn register(&self, registration: Registration) -> Result<String, JobError> {
        // A secret of its holder, and unique.
        let uuid = hex::encode(rand::random::<[u8; 16]>());
        let mut begun = String::new();
        self.change(|jobs, now| {
            let (uuid, points) = jobs.register(now, uuid, registration)?;
            begun = uuid;
            Ok(points)
        })
        .await?;
        Ok(begun)
    }

    /// Changes the jobs, keeps them, and queues the points.
    pub(crate) async fn change(
        &self,
        change: impl FnOnce(&mut Jobs, u64) -> Result<Vec<Point>, JobError>,
    ) -> Result<(), JobError> {
        let mut state = self.state.lock().await;
        let points = change(&mut state.jobs, self.clock.unix_now_ns())?;
        state.keep().await;
        drop(state);
        self.writer.push(points);
        self.changed.notify_one();
        Ok(())
    }

    /// Writes the points that are due. Never returns.
    pub(crate) async fn tick(&self) {
        loop {
            let due = self.state.lock().await.jobs.next_due();
            let wait = due.map(|due| Duration::from_nanos(due.saturating_sub(self.clock.unix_now_ns())));
            tokio::select! {
                () = self.changed.notified() => continue,
                () = tokio::time::sleep(wait.unwrap_or(Duration::MAX)) => {}
            }
            // Its only errors are those of requests.
            let _ = self.change(|jobs, now| Ok(jobs.tick(now))).await;
        }
    }
}

impl State {
    async fn keep(&mut self) {
        let (file, encoded) = (Arc::clone(&self.file), JobFile::encoded(self.jobs.all()));
        let written = tokio::task::spawn_blocking(move || file.write(&encoded)).await;
        let error = match written {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        match &error {
            Some(error) if !self.unkept => {
                tracing::error!(
                    "the jobs cannot be saved: a restart loses the changes since the last save ({error})"
                );
            }
            None if self.unkept => tracing::info!("the jobs are saved again"),
            _ => {}
        }
        self.unkept = error.is_some();
    }
}
