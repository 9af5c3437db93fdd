//! Where a run in this process writes its results.

use std::io::{IsTerminal as _, Read as _};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use serde::Serialize;
use wec_analytics::{ExporterOptions, LogOptions};
use wec_requester::Hook;
use wec_requester::config::Mistakes;
use wec_startup::{TextStyle, WrongUse, report, say, show, told};

use crate::junit::{self, TestRun};

/// The heading in `--help`.
const HEADING: &str = "Output";

/// Where a run in this process writes its results.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct OutputOptions {
    /// Address of the page; off for none [default: 127.0.0.1:8089, or a free port when that is in use]
    #[arg(long, value_name = "ADDR", env = "WEC_LISTEN", hide_env_values = true, value_parser = page, help_heading = HEADING)]
    pub(crate) listen: Option<Page>,
    /// No page; the same as --listen off
    #[arg(long, help_heading = HEADING, hide_short_help = true)]
    pub(crate) headless: bool,
    /// Serve the page after the run until Ctrl-C: on or off [default: on in a terminal]
    #[arg(long, value_name = "on|off", env = "WEC_KEEP_PAGE", hide_env_values = true, value_parser = on_or_off, help_heading = HEADING, hide_short_help = true)]
    pub(crate) keep_page: Option<bool>,
    /// A further host name for requests to the page; may be repeated
    #[arg(long, value_name = "NAME", env = "WEC_PAGE_HOSTS", hide_env_values = true, value_delimiter = ',', help_heading = HEADING, hide_short_help = true)]
    pub(crate) page_host: Vec<String>,
    /// Folder of the result log, one file for each run
    #[arg(long, value_name = "DIR", env = "WEC_LOG_DIR", hide_env_values = true, default_value = "results", help_heading = HEADING)]
    pub(crate) log_dir: PathBuf,
    #[command(flatten)]
    pub(crate) log: LogOptions,
    /// Write the summary as JSON to a file, or to standard output with -
    #[arg(long, value_name = "FILE|-", help_heading = HEADING)]
    pub(crate) json: Option<PathBuf>,
    /// Write the verdict as JUnit XML, for CI systems: a test case for each threshold
    #[arg(long, value_name = "FILE", help_heading = HEADING, hide_short_help = true)]
    pub(crate) junit: Option<PathBuf>,
    /// Print nothing before the summary
    #[arg(short, long, help_heading = HEADING)]
    pub(crate) quiet: bool,
    /// A local command of a drill, with its time: 'at 5m: COMMAND' or 'on threshold: COMMAND'; may be repeated
    #[arg(long = "hook", value_name = "WHEN: COMMAND", help_heading = HEADING, hide_short_help = true)]
    pub(crate) hooks: Vec<Hook>,
    #[command(flatten)]
    pub(crate) exporters: ExporterOptions,
}

/// The address of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    /// No page.
    Off,
    /// This address only.
    At(SocketAddr),
}

fn page(text: &str) -> Result<Page, String> {
    match text {
        "off" => Ok(Page::Off),
        address => address
            .parse()
            .map(Page::At)
            .map_err(|_| format!("{address:?} is neither an address like 127.0.0.1:8089 nor off")),
    }
}

fn on_or_off(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("{text:?} is neither on nor off")),
    }
}

impl OutputOptions {
    /// Whether the page is served after the run: by default in a terminal.
    pub(crate) fn keeps_page(&self) -> bool {
        self.keep_page.unwrap_or_else(|| std::io::stdout().is_terminal())
    }

    /// Checks before any load whether the output can be written at the end. Creates no file.
    ///
    /// # Errors
    /// The message has the file.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let json = self.json.as_deref().filter(|path| path.as_os_str() != "-");
        for (flag, path) in [("--json", json), ("--junit", self.junit.as_deref())] {
            let Some(path) = path else { continue };
            ensure!(
                path.as_os_str() != "-",
                WrongUse(format!("{flag} needs a file: standard output has the summary"))
            );
            ensure!(
                !is_fifo(path),
                "{flag}: {} is a FIFO, which may never be read: give a file",
                path.display()
            );
            let writable = if path.exists() {
                std::fs::OpenOptions::new().write(true).open(path).map(drop)
            } else {
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
                tempfile::tempfile_in(folder.unwrap_or(Path::new("."))).map(drop)
            };
            writable.with_context(|| format!("{flag}: cannot write the summary to {}", path.display()))?;
        }
        Ok(())
    }

    /// Writes the results: text for people, JSON for programs, and the verdict as JUnit XML. Standard output
    /// has one of the first two. `what` describes them in errors.
    ///
    /// # Errors
    /// The message has the file that cannot be written.
    pub(crate) fn leave(
        &self,
        what: &str,
        junit: impl FnOnce() -> String,
        log: &str,
        text: impl Fn(TextStyle) -> String,
        found: &impl Serialize,
    ) -> anyhow::Result<()> {
        if let Some(path) = &self.junit {
            std::fs::write(path, junit())
                .with_context(|| format!("cannot write the verdict to {}", path.display()))?;
        }
        let json = || serde_json::to_string_pretty(found).with_context(|| format!("{what} as JSON"));
        match &self.json {
            Some(path) if path.as_os_str() == "-" => {
                say(format_args!("{}\nlog: {log}", text(TextStyle::stderr())));
                report(json()?)
            }
            Some(path) => {
                // The text is shown even if the file cannot be written.
                show(format_args!("{}\nlog: {log}", text(TextStyle::stdout())));
                std::fs::write(path, json()? + "\n")
                    .with_context(|| format!("cannot write {what} to {}", path.display()))
            }
            None => {
                show(format_args!("{}\nlog: {log}", text(TextStyle::stdout())));
                Ok(())
            }
        }
    }

    /// Writes a verdict for a run that could not run, if requested.
    pub(crate) fn leave_failure<T>(&self, outcome: &anyhow::Result<T>) {
        if let Err(error) = outcome {
            self.leave_why(&told(error));
        }
    }

    /// The same for wrong options, so that no file of an earlier run is taken for this one's.
    pub(crate) fn leave_mistakes(&self, mistakes: &Mistakes) {
        self.leave_why(&mistakes.to_string());
    }

    fn leave_why(&self, why: &str) {
        if let Some(path) = self.junit.as_ref().filter(|path| path.as_os_str() != "-" && !is_fifo(path)) {
            // The error is reported anyway; a second one would hide it.
            let _ = std::fs::write(path, junit::junit(&TestRun::CouldNotRun(why)));
        }
    }
}

/// Refuses to replace one of the logs that a command reads.
///
/// # Errors
/// The message has both names.
pub(crate) fn refuse_an_input(file: &Path, logs: &[PathBuf]) -> anyhow::Result<()> {
    let same = |path: &Path| std::fs::metadata(path).map(|there| (there.dev(), there.ino())).ok();
    let output = same(file);
    if let Some(log) = logs.iter().find(|log| output.is_some() && same(log) == output) {
        bail!("{} is the log {}: name another file", file.display(), log.display());
    }
    Ok(())
}

/// Refuses to replace a file that this program did not write: one that is neither empty nor `is_one` by its first bytes.
///
/// # Errors
/// The message has the file.
pub(crate) fn refuse_another(file: &Path, what: &str, is_one: impl Fn(&[u8]) -> bool) -> anyhow::Result<()> {
    /// More than the part by which reports and baselines are known.
    const BEGINNING: u64 = 4 << 10;
    if file.as_os_str() == "-"
        || !std::fs::metadata(file).is_ok_and(|there| there.is_file() && there.len() > 0)
    {
        return Ok(());
    }
    let mut start = Vec::new();
    std::fs::File::open(file)
        .and_then(|there| there.take(BEGINNING).read_to_end(&mut start))
        .with_context(|| format!("cannot look at {}, which would be replaced", file.display()))?;
    ensure!(
        is_one(&start),
        "{} exists and is not {what}: name another file, or overwrite it with --force",
        file.display()
    );
    Ok(())
}

/// Refuses several results on standard output. Each is one of these flags.
///
/// # Errors
/// The message names them.
pub(crate) fn refuse_two_documents(flags: &[&str]) -> anyhow::Result<()> {
    if let [first, .., last] = flags {
        bail!(WrongUse(format!(
            "{first} and {last} both write to standard output: write one of them to a file, or run the command twice"
        )));
    }
    Ok(())
}

/// Whether writing to the path may block forever.
fn is_fifo(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    std::fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo())
}
