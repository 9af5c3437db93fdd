//! Ctrl-C and SIGTERM, in stages.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::Exit;

/// From which signal on the program ends where it stands.
const ENOUGH: u32 = 3;

/// The two stages of stopping: no new work, then interruption.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// Cancelled: nobody starts anything new.
    pub finish: CancellationToken,
    /// Cancelled: what is still running ends now, as interrupted.
    pub cut: CancellationToken,
    /// Cancelled by a signal that comes when both stages are over: what still waits for others ends, and nothing is lost.
    pub enough: CancellationToken,
    by_signal: Arc<AtomicBool>,
}

/// A signal came before there was anything to finish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted before the run began")
    }
}

impl std::error::Error for Interrupted {}

impl Stop {
    /// Whether a signal stopped the program, or cut short how it ended by itself.
    pub fn by_signal(&self) -> bool {
        self.by_signal.load(Ordering::Relaxed)
    }

    /// A stop of its own that also stops when this one does.
    pub fn child(&self) -> Self {
        Self {
            finish: self.finish.child_token(),
            cut: self.cut.child_token(),
            enough: self.enough.child_token(),
            by_signal: Arc::clone(&self.by_signal),
        }
    }

    /// Takes a step of a start that may hang; a signal ends it, and drops it where it stands.
    ///
    /// # Errors
    /// The step's own, or [`Interrupted`].
    pub async fn unless_stopped<T, E>(&self, step: impl Future<Output = Result<T, E>>) -> anyhow::Result<T>
    where
        E: Into<anyhow::Error>,
    {
        match self.finish.run_until_cancelled(step).await {
            Some(taken) => taken.map_err(Into::into),
            None => Err(Interrupted.into()),
        }
    }

    /// The next stage that has not come by itself yet; false when there is none left.
    fn escalate(&self) -> bool {
        let next = [&self.finish, &self.cut].into_iter().find(|stage| !stage.is_cancelled());
        if let Some(stage) = next {
            self.by_signal.store(true, Ordering::Relaxed);
            stage.cancel();
        }
        next.is_some()
    }
}

/// The first signal finishes, the next one cuts, a third one ends the program where it stands: whatever it is that
/// hangs, people can get out. Abort the task when the program is over.
///
/// Must be called on a runtime. Where signals cannot be listened to, the system's default action remains.
pub fn stop_on_signals(stop: Stop) -> JoinHandle<()> {
    let signals =
        signal(SignalKind::interrupt()).and_then(|first| Ok((first, signal(SignalKind::terminate())?)));
    tokio::spawn(async move {
        let Ok((mut interrupt, mut terminate)) = signals else { return };
        for received in 1u32.. {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            // A run that is past both stages by itself is writing what it has: one impatient signal does not lose that.
            if !stop.escalate() {
                stop.enough.cancel();
                if received >= ENOUGH {
                    std::process::exit(Exit::Interrupted.code().into());
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[tokio::test]
    async fn the_first_signal_finishes_and_the_second_cuts() {
        let stop = Stop::default();
        let watching = stop_on_signals(stop.clone());
        let signal_self = || {
            let status =
                Command::new("kill").args(["-TERM", &std::process::id().to_string()]).status().unwrap();
            assert!(status.success());
        };
        signal_self();
        stop.finish.cancelled().await;
        assert!(stop.by_signal() && !stop.cut.is_cancelled());
        signal_self();
        stop.cut.cancelled().await;
        watching.abort();
    }

    #[tokio::test]
    async fn a_step_that_hangs_is_left_when_stopped() {
        let stop = Stop::default();
        let taken = stop.unless_stopped(async { Ok::<_, anyhow::Error>(7) }).await;
        assert_eq!(taken.unwrap(), 7);
        stop.finish.cancel();
        let hanging = std::future::pending::<anyhow::Result<()>>();
        let left = stop.unless_stopped(hanging).await.unwrap_err();
        assert_eq!(left.downcast_ref(), Some(&Interrupted));
    }

    #[test]
    fn a_signal_after_the_end_of_the_time_cuts() {
        let stop = Stop::default();
        stop.finish.cancel();
        assert!(!stop.by_signal());
        assert!(stop.escalate());
        assert!(stop.by_signal() && stop.cut.is_cancelled());
        assert!(!stop.escalate(), "there is no third stage");
    }
}
