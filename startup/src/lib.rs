//! What all binaries share: logging, signals, exit codes.
//!
//! A binary's `main` parses its options, calls [`run_service`] or uses the parts, and returns an [`Exit`]. The work
//! of the binary is in its library.

mod arguments;
mod aside;
mod beside;
mod exit;
mod host;
mod logging;
mod open_files;
mod panics;
mod private;
mod repeated;
mod secret;
mod signals;
mod text_style;
mod token;
mod warnings;

use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wec_text::printable;

pub use arguments::{parse_arguments, parse_these_arguments};
pub use aside::{Drawn, steps_aside};
pub use beside::{Beside, remove_unfinished, write_beside};
pub use exit::Exit;
pub use host::{is_plain_name, node_name, parse_node_name, parse_session_id};
pub use logging::Logging;
pub use open_files::{open_files, raise_open_files};
pub use panics::guarded;
pub use private::{keep_private, private_file, private_folder};
pub use secret::{Undisclosed, parse_service, redacted};
pub use signals::{Interrupted, Stop, stop_on_signals};
pub use text_style::TextStyle;
pub use token::{Access, Holder, Right, Token};
pub use tracing_subscriber::filter::LevelFilter;
pub use warnings::{Warning, Warnings};

/// Writes a line for people to standard error, with control characters escaped. A closed standard error
/// (`wec run 2>&1 | head`) does not end the program.
pub fn say(line: impl std::fmt::Display) {
    let _ = aside::Lines.write_all(format!("{}\n", printable(&line.to_string())).as_bytes());
}

/// Writes a result to standard output, with control characters escaped; in JSON they already are. A closed reader
/// (`wec run | head`) is no error.
///
/// # Errors
/// If it cannot be written, for example because the disk is full.
pub fn report(text: impl std::fmt::Display) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match writeln!(stdout, "{}", printable(&text.to_string())).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("standard output"),
        _ => Ok(()),
    }
}

/// Writes text for people that is not the command's result. If standard output is closed or its disk full, this is
/// reported once and changes nothing else.
pub fn show(text: impl std::fmt::Display) {
    static REPORTED: AtomicBool = AtomicBool::new(false);
    let mut stdout = std::io::stdout().lock();
    if let Err(error) = writeln!(stdout, "{}", printable(&text.to_string())).and_then(|()| stdout.flush())
        && !REPORTED.swap(true, Ordering::Relaxed)
    {
        say(format_args!("warning: standard output cannot be written ({error}): its content is missing"));
    }
}

/// Runs a command on the calling runtime, with the most open files that the system allows. Signals stop it in stages,
/// a panic ends it, an error is printed.
pub async fn run_command<F>(command: impl FnOnce(Stop) -> F) -> Exit
where
    F: Future<Output = anyhow::Result<Exit>>,
{
    raise_open_files();
    let stop = Stop::default();
    let watching = [stop_on_signals(stop.clone()), panics::stop_on_panics(stop.clone())];
    let outcome = command(stop).await;
    watching.iter().for_each(JoinHandle::abort);
    conclude(outcome)
}

/// The exit of a command, from its result. An error is printed after the messages that were counted and not logged.
pub fn conclude(outcome: anyhow::Result<Exit>) -> Exit {
    for line in repeated::left_over() {
        say(line);
    }
    let exit = outcome.unwrap_or_else(|error| {
        if let Some(interrupted) = error.downcast_ref::<Interrupted>() {
            say(interrupted);
            return Exit::Interrupted;
        }
        complain(&error);
        if error.is::<WrongUse>() { Exit::Usage } else { Exit::CouldNotRun }
    });
    panics::unless_panicked(exit)
}

/// Flags that are wrong together, or for what they name. A command that fails with it ends with [`Exit::Usage`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongUse(pub String);

impl std::fmt::Display for WrongUse {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for WrongUse {}

/// Prints why a command failed to standard error, with all causes.
pub fn complain(error: &anyhow::Error) {
    say(format_args!("error: {}", wec_text::bounded(&told(error))));
}

/// An error with all its causes, each once: some errors repeat their source's text.
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

/// Runs a service on the calling runtime until a signal stops it: the `main` of every stand-alone service.
pub async fn run_service<F, E>(logging: &Logging, service: impl FnOnce(CancellationToken) -> F) -> ExitCode
where
    F: Future<Output = anyhow::Result<E>>,
    E: Into<Exit>,
{
    logging.start(LevelFilter::INFO);
    run_command(|stop| async move { service(stop.finish.clone()).await.map(Into::into) }).await.into()
}
