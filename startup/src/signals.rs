//! Ctrl-C, SIGTERM and the end of the terminal (SIGHUP), in stages.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::Exit;

/// From this signal on the program ends at once.
const ENOUGH: u32 = 3;

/// The two stages of stopping: no new work, then interruption.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// Cancelled: nothing new is started.
    pub finish: CancellationToken,
    /// Cancelled: what still runs ends now, as interrupted.
    pub cut: CancellationToken,
    /// Cancelled by a signal after both stages: what still waits ends, and nothing is lost.
    pub enough: CancellationToken,
    by_signal: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
}

/// A signal came before the work began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted before the run began")
    }
}

impl std::error::Error for Interrupted {}

impl Stop {
    /// Whether a signal stopped the program, or shortened its own end.
    pub fn by_signal(&self) -> bool {
        self.by_signal.load(Ordering::Relaxed)
    }

    /// The work has ended by itself: later signals end what still waits, and interrupt nothing.
    pub fn mark_over(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// A separate stop that is also stopped when this one is.
    pub fn child(&self) -> Self {
        Self {
            finish: self.finish.child_token(),
            cut: self.cut.child_token(),
            enough: self.enough.child_token(),
            by_signal: Arc::clone(&self.by_signal),
            over: Arc::clone(&self.over),
        }
    }

    /// As [`Stop::child`], for work that may be over while other work goes on.
    pub fn apart(&self) -> Self {
        Self { over: Arc::default(), ..self.child() }
    }

    /// Runs a step of the start that may hang; a signal ends and drops it.
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

    /// Enters the next stage that has not begun; false if there is none.
    fn escalate(&self) -> bool {
        let next = [&self.finish, &self.cut].into_iter().find(|stage| !stage.is_cancelled());
        if let Some(stage) = next {
            if !self.over.load(Ordering::Relaxed) {
                self.by_signal.store(true, Ordering::Relaxed);
            }
            stage.cancel();
        }
        next.is_some()
    }
}

/// The first signal finishes, the second interrupts, the third ends the program at once, whatever hangs. Abort the
/// task when the program is over.
///
/// Must be called on a runtime. If signals cannot be received, the system's default action remains.
pub fn stop_on_signals(stop: Stop) -> JoinHandle<()> {
    let signals =
        signal(SignalKind::interrupt()).and_then(|first| Ok((first, signal(SignalKind::terminate())?)));
    let hangup = if ignores_hangups() { None } else { signal(SignalKind::hangup()).ok() };
    tokio::spawn(async move {
        let Ok((mut interrupt, mut terminate)) = signals else { return };
        let mut hangup = hangup;
        for received in 1u32.. {
            let hung_up = async {
                match &mut hangup {
                    Some(hangup) => drop(hangup.recv().await),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                () = hung_up => {}
            }
            // A run that has passed both stages by itself is writing its data: one impatient signal does not lose it.
            if !stop.escalate() {
                stop.enough.cancel();
                if received >= ENOUGH {
                    std::process::exit(Exit::Interrupted.code().into());
                }
            }
        }
    })
}

/// Whether the program was started with SIGHUP ignored, as nohup does; then it stays ignored.
fn ignores_hangups() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores(&status, 1))
}

/// Whether a process with this `/proc/*/status` ignores the signal with this number.
fn ignores(status: &str, number: u32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (number - 1)) != 0)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_signal_after_the_work_has_ended_interrupts_nothing() {
        let stop = Stop::default();
        stop.finish.cancel();
        stop.child().mark_over();
        assert!(stop.escalate() && stop.cut.is_cancelled());
        assert!(!stop.by_signal() && !stop.escalate());
    }

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

    #[test]
    fn what_a_process_ignores_is_read_from_its_status() {
        assert!(ignores("Name:\twec\nSigIgn:\t0000000000001001\n", 1));
        assert!(!ignores("Name:\twec\nSigIgn:\t0000000000001000\n", 1));
        assert!(!ignores("Name:\twec\n", 1));
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
