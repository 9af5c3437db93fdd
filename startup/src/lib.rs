//! What every binary of the suite does around its work: logging, signals, exit codes.
//!
//! A binary's `main` parses its options, calls [`run_service`] or builds on the parts, and returns an [`Exit`]. What
//! the binary is for lives in its library.

mod aside;
mod exit;
mod host;
mod paper;
mod signals;

use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

pub use aside::{Drawn, steps_aside};
pub use exit::Exit;
pub use host::node_name;
pub use paper::Paper;
pub use signals::{Interrupted, Stop, stop_on_signals};

/// Sends logs to standard error: warnings, or what `RUST_LOG` asks for.
///
/// Standard output belongs to results. `default` is a level or a filter (`info`), used without `RUST_LOG`.
pub fn start_logging(default: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| aside::Lines)
        .with_ansi(Paper::stderr().colours)
        // Told where? It would be standard error again, and a panic when that is closed.
        .log_internal_errors(false)
        .compact()
        .init();
}

/// A line for people on standard error. Whoever closed it (`wec run 2>&1 | head`) does not end the program by that.
pub fn say(line: impl std::fmt::Display) {
    let _ = aside::Lines.write_all(format!("{line}\n").as_bytes());
}

/// A result on standard output. A reader that has gone (`wec run | head`) has read enough.
///
/// # Errors
/// When it cannot be written, to a full disk for example.
pub fn report(text: impl std::fmt::Display) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("standard output"),
        _ => Ok(()),
    }
}

/// How a command ended, from what it returned; an error is complained about.
pub fn conclude(outcome: anyhow::Result<Exit>) -> Exit {
    outcome.unwrap_or_else(|error| {
        if let Some(interrupted) = error.downcast_ref::<Interrupted>() {
            say(interrupted);
            return Exit::Interrupted;
        }
        complain(&error);
        Exit::CouldNotRun
    })
}

/// Says why a command failed, on standard error, with all that led to it.
pub fn complain(error: &anyhow::Error) {
    say(format_args!("error: {}", told(error)));
}

/// An error with all that led to it, each cause once: some errors repeat their source's text in their own.
pub fn told(error: &anyhow::Error) -> String {
    let mut said = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !said.contains(&cause) {
            said.push_str(if said.is_empty() { "" } else { ": " });
            said.push_str(&cause);
        }
    }
    said
}

/// Runs a service until a signal stops it, on the calling runtime; the `main` of every stand-alone service.
pub async fn run_service<F, E>(service: impl FnOnce(CancellationToken) -> F) -> ExitCode
where
    F: Future<Output = anyhow::Result<E>>,
    E: Into<Exit>,
{
    start_logging("info");
    let stop = Stop::default();
    let watching = stop_on_signals(stop.clone());
    let outcome = service(stop.finish.clone()).await;
    watching.abort();
    conclude(outcome.map(Into::into)).into()
}
