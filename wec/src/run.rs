//! `wec run` and `wec requester`: a load against any ACME CA.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use serde::Serialize;
use wec_requester::settings::Mistakes;
use wec_requester::{Plan, PlanOptions, RemoteOptions, run_remote};
use wec_startup::{Exit, Paper, Stop, report, say, told};

use crate::here::{self, Here};
use crate::junit::{self, Outcome};

/// What `wec run` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) plan: PlanOptions,
    #[command(flatten)]
    output: OutputOptions,
}

/// Where a run in this process shows and leaves what it found.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct OutputOptions {
    /// Where the page listens; off for none [default: 127.0.0.1:8089, or a free port when that is taken]
    #[arg(long, value_name = "ADDR", env = "WEC_LISTEN", value_parser = page)]
    pub(crate) listen: Option<Page>,
    /// No page; the same as --listen off
    #[arg(long)]
    pub(crate) headless: bool,
    /// Folder of the result log, one file for each run
    #[arg(long, value_name = "DIR", env = "WEC_LOG_DIR", default_value = "results")]
    pub(crate) log_dir: PathBuf,
    /// Write the summary as JSON to a file, or to standard output with -
    #[arg(long, value_name = "FILE|-")]
    pub(crate) json: Option<PathBuf>,
    /// Write the verdict as JUnit XML, for CI systems: a test case for each threshold
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
    /// Say nothing until the summary
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Where the page listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    /// Nowhere.
    Off,
    /// There and nowhere else.
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

impl OutputOptions {
    /// Whether what is asked for can be written at the end, told before anything is loaded. Leaves nothing.
    ///
    /// # Errors
    /// One that names the file.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let json = self.json.as_deref().filter(|path| path.as_os_str() != "-");
        for (flag, path) in [("--json", json), ("--junit", self.junit.as_deref())] {
            let Some(path) = path else { continue };
            ensure!(path.as_os_str() != "-", "{flag} takes a file: standard output has the summary");
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

    /// Leaves what was found: as text for people, as JSON for programs, and the verdict as JUnit XML. Standard output carries one
    /// of the first two. `what` it is, for errors.
    ///
    /// # Errors
    /// One that names the file that cannot be written.
    pub(crate) fn leave(
        &self,
        what: &str,
        junit: impl FnOnce() -> String,
        log: &str,
        text: impl Fn(Paper) -> String,
        found: &impl Serialize,
    ) -> anyhow::Result<()> {
        if let Some(path) = &self.junit {
            std::fs::write(path, junit())
                .with_context(|| format!("cannot write the verdict to {}", path.display()))?;
        }
        let json = || serde_json::to_string_pretty(found).with_context(|| format!("{what} as JSON"));
        match &self.json {
            Some(path) if path.as_os_str() == "-" => {
                say(format_args!("{}\nlog: {log}", text(Paper::stderr())));
                report(json()?)
            }
            Some(path) => {
                // People get theirs even if the file cannot be written.
                let reported = report(format_args!("{}\nlog: {log}", text(Paper::stdout())));
                std::fs::write(path, json()? + "\n")
                    .with_context(|| format!("cannot write {what} to {}", path.display()))?;
                reported
            }
            None => report(format_args!("{}\nlog: {log}", text(Paper::stdout()))),
        }
    }

    /// Leaves a verdict on what could not be run, where one is wanted.
    pub(crate) fn leave_failure<T>(&self, outcome: &anyhow::Result<T>) {
        if let Err(error) = outcome {
            self.leave_why(&told(error));
        }
    }

    /// The same on what was asked for in a wrong way: a file of an earlier run would be taken for this one's.
    pub(crate) fn leave_mistakes(&self, mistakes: &Mistakes) {
        self.leave_why(&mistakes.to_string());
    }

    fn leave_why(&self, why: &str) {
        if let Some(path) = self.junit.as_ref().filter(|path| path.as_os_str() != "-") {
            // What went wrong is told anyway; a second complaint would hide it.
            let _ = std::fs::write(path, junit::junit(&Outcome::CouldNotRun(why)));
        }
    }
}

/// What `wec requester` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct RemoteRun {
    #[command(flatten)]
    plan: PlanOptions,
    #[command(flatten)]
    remote: RemoteOptions,
}

pub(crate) async fn run(options: Options, stop: Stop) -> anyhow::Result<Exit> {
    let plan = match resolve(&options.plan) {
        Ok(plan) => plan,
        Err(mistakes) => {
            options.output.leave_mistakes(&mistakes);
            return Ok(Exit::Usage);
        }
    };
    here::run(Here { plan, output: options.output, notes: Vec::new(), when_limited: "" }, stop).await
}

pub(crate) async fn remote(options: RemoteRun, stop: Stop) -> anyhow::Result<Exit> {
    let Ok(plan) = resolve(&options.plan) else { return Ok(Exit::Usage) };
    // With challenges in memory, this process answers the CA, too; its hits stay uncounted, as analytics is elsewhere.
    let (challenges, server) = stop.unless_stopped(here::challenges(&plan)).await?;
    let delivered = run_remote(plan, options.remote, challenges, stop.clone()).await?;
    if let Some(server) = server {
        server.finish().await;
    }
    report(delivered.report())?;
    Ok(delivered.exit(&stop))
}

/// The plan, or every mistake, which is said on standard error.
fn resolve(options: &PlanOptions) -> Result<Plan, Mistakes> {
    options.resolve(std::env::var("WEC_EAB_HMAC_KEY").ok()).inspect_err(|mistakes| say(mistakes))
}
