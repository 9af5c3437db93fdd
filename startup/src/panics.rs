//! A panic is a bug of ours. It is reported with its place and ends the program with [`Exit::Bug`], wherever it
//! happens: the lost task or thread may have made load or counted results.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::process::ExitCode;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{Exit, Stop, say};

/// This many are reported one by one, the others are counted.
const REPORTED: u64 = 3;
/// Running work may finish within this time, and is then interrupted.
const FINISH_WITHIN: Duration = Duration::from_secs(10);
/// Interrupted work may write its data within this time; then the program ends at once.
const END_WITHIN: Duration = Duration::from_secs(20);

static PANICS: AtomicU64 = AtomicU64::new(0);
static PANICKED: LazyLock<CancellationToken> = LazyLock::new(CancellationToken::new);

/// Runs a program's `main`; a panic on its own thread, too, ends it with [`Exit::Bug`].
pub fn guarded(main: impl FnOnce() -> ExitCode) -> ExitCode {
    std::panic::set_hook(Box::new(report));
    catch_unwind(AssertUnwindSafe(main)).unwrap_or_else(|_| Exit::Bug.into())
}

/// Cancels `stop` after any panic. Abort the task when the program is over.
///
/// Must be called on a runtime.
pub(crate) fn stop_on_panics(stop: Stop) -> JoinHandle<()> {
    tokio::spawn(async move {
        PANICKED.cancelled().await;
        stop.finish.cancel();
        tokio::time::sleep(FINISH_WITHIN).await;
        stop.cut.cancel();
        stop.enough.cancel();
        tokio::time::sleep(END_WITHIN).await;
        // The task that should end the program may be the one that panicked.
        std::process::exit(Exit::Bug.code().into());
    })
}

/// `exit`, or [`Exit::Bug`] after a panic.
pub(crate) fn unless_panicked(exit: Exit) -> Exit {
    match PANICS.load(Ordering::SeqCst) {
        0 => exit,
        n => {
            if n > REPORTED {
                say(format_args!("bug: there were {n} panics in all"));
            }
            say("error: this program panicked: do not rely on what it reports about this run");
            Exit::Bug
        }
    }
}

fn report(info: &PanicHookInfo<'_>) {
    if PANICS.fetch_add(1, Ordering::SeqCst) < REPORTED {
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("without a name").to_owned();
        let place = info.location().map(ToString::to_string).unwrap_or_else(|| "an unknown place".to_owned());
        say(format_args!("bug: thread {thread} panicked at {place}: {}", message(info.payload())));
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            say(backtrace);
        }
    }
    PANICKED.cancel();
}

fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
