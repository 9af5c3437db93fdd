//! `wec log check`: whether logs are complete.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use serde::Serialize;
use wec_analytics::{LogFormat, LogReport, read_logs, time_text};
use wec_log::header_at;
use wec_startup::{Exit, report as print, say};

use crate::logs;
use wec_text::visible;

/// Options of `wec log`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Count the records of logs, and report missing or damaged ones; exit code 1 when a log is not complete
    Check(Check),
}

#[derive(Debug, clap::Args)]
struct Check {
    /// Logs of one or several runs, or folders of them; - for standard input
    #[arg(required = true, value_name = "LOG|DIR")]
    logs: Vec<PathBuf>,
    /// Print the result as JSON, an object for each run
    #[arg(long)]
    json: bool,
}

pub(crate) async fn log(options: Options) -> anyhow::Result<Exit> {
    match options.command {
        Command::Check(check) => tokio::task::spawn_blocking(move || check.run()).await?,
    }
}

/// What was found in the logs of a run.
#[derive(Serialize)]
struct Checked<'a> {
    whole: bool,
    problems: Vec<String>,
    #[serde(flatten)]
    report: &'a LogReport,
}

/// How many runs are in which condition.
#[derive(Default)]
struct Sum {
    whole: u64,
    without_end: u64,
    not_whole: u64,
    not_read: u64,
}

impl Check {
    fn run(&self) -> anyhow::Result<Exit> {
        let runs = by_run(logs::whole(&files(&self.logs)?));
        let only_one = runs.len() == 1;
        let mut sum = Sum::default();
        for logs in runs {
            let found = match read_logs(&logs, |_| {}) {
                Ok(found) => found,
                Err(error) if only_one => return Err(error.into()),
                Err(error) => {
                    say(format_args!("error: {error}"));
                    sum.not_read += 1;
                    continue;
                }
            };
            sum.add(&found);
            if self.json {
                let (whole, problems) = (found.is_whole(), found.why_incomplete());
                print(serde_json::to_string_pretty(&Checked { whole, problems, report: &found })?)?;
            } else {
                let after = if only_one { "" } else { "\n" };
                print(text(&found).trim_end().to_owned() + after)?;
            }
        }
        if !only_one && !self.json {
            print(sum.text())?;
        }
        Ok(if sum.is_whole() { Exit::Passed } else { Exit::CouldNotRun })
    }
}

/// The files, with those of folders, and without what lies beside logs: a shell's `*` names that, too.
fn files(named: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in named {
        if !path.is_dir() {
            if named.len() == 1 || !lies_beside(path) {
                files.push(path.clone());
            }
            continue;
        }
        let failed = || format!("cannot read the folder {}", path.display());
        let mut of_folder = Vec::new();
        for entry in std::fs::read_dir(path).with_context(failed)? {
            let file = entry.with_context(failed)?.path();
            if file.is_file() && is_log(&file) {
                of_folder.push(file);
            }
        }
        ensure!(!of_folder.is_empty(), "the folder {} has no logs: name another one", path.display());
        of_folder.sort();
        files.append(&mut of_folder);
    }
    Ok(files)
}

/// Whether a file is the index or the note of a run.
fn lies_beside(file: &Path) -> bool {
    let is_named = file.extension().is_some_and(|it| it == "index" || it == "note");
    is_named && !header_at(file).is_ok_and(|header| header.is_some())
}

/// Whether a file of a folder is meant to be a log: by its name, or by its header.
fn is_log(file: &Path) -> bool {
    LogFormat::of_name(file).is_some() || header_at(file).is_ok_and(|header| header.is_some())
}

/// The logs of each run. If they have one run's headers, all of them are of that run, also those without a header.
fn by_run(files: Vec<PathBuf>) -> Vec<Vec<PathBuf>> {
    let run = |file: &PathBuf| header_at(file).ok().flatten().map(|header| header.run);
    let known: BTreeSet<_> = files.iter().filter_map(run).collect();
    let has_stdin = files.iter().any(|file| file.as_os_str() == "-");
    if known.len() <= 1 && (known.len() == 1 || files.len() == 1) || has_stdin {
        return vec![files];
    }
    let mut runs: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for file in files {
        let run = run(&file).unwrap_or_else(|| file.display().to_string());
        runs.entry(run).or_default().push(file);
    }
    runs.into_values().collect()
}

impl Sum {
    fn add(&mut self, found: &LogReport) {
        *match condition(found) {
            "whole" => &mut self.whole,
            NO_END => &mut self.without_end,
            _ => &mut self.not_whole,
        } += 1;
    }

    const fn is_whole(&self) -> bool {
        self.without_end + self.not_whole + self.not_read == 0
    }

    fn text(&self) -> String {
        let Self { whole, without_end, not_whole, not_read } = *self;
        let all = whole + without_end + not_whole + not_read;
        let mut text = format!("{all} runs: {whole} whole");
        for (count, what) in [(without_end, NO_END), (not_whole, "NOT whole"), (not_read, "not read")] {
            if count > 0 {
                text += &format!(", {count} {what}");
            }
        }
        text
    }
}

/// Nothing is wrong with the records that are there, but there may be more.
const NO_END: &str = "without an end";

fn condition(found: &LogReport) -> &'static str {
    match (found.problems().is_empty(), found.missing_end()) {
        (true, None) => "whole",
        (true, Some(_)) => NO_END,
        (false, _) => "NOT whole",
    }
}

fn text(found: &LogReport) -> String {
    let mut text = format!("{}: {}\n", found.files.join(", "), condition(found));
    for problem in found.why_incomplete() {
        text += &format!("  {problem}\n");
    }
    if let Some(header) = &found.header {
        let started = UNIX_EPOCH + Duration::from_secs(header.started_unix_ns / 1_000_000_000);
        text += &format!("run     {}, of {}\n", visible(&header.run), visible(&header.program));
        text += &format!("target  {}\n", visible(&header.target));
        text += &format!("start   {}\n", humantime::format_rfc3339_seconds(started));
        if let Some(footer) = found.footer.as_ref().filter(|_| found.ended) {
            let took = time_text(footer.at_unix_ns.saturating_sub(header.started_unix_ns));
            text += &format!("end     after {took}, {}\n", <&str>::from(footer.outcome));
        }
    } else {
        text += "run     unknown: there is no header\n";
    }
    if !found.ended {
        text += "end     unknown: there is no footer\n";
    }
    text += &format!("size    {} bytes, {} lines\n", found.bytes, found.lines);
    for (kind, count) in &found.records {
        let requests =
            if kind == "chain" { format!(", {} requests in them", found.requests) } else { String::new() };
        let not_counted = found.not_counted.get(kind);
        let not_counted = not_counted.map_or_else(String::new, |count| format!(", {count} in no figure"));
        text += &format!("  {kind:<8}{count:>12}{requests}{not_counted}\n");
    }
    if found.repeated > 0 {
        text += &format!("{} repeated records were skipped\n", found.repeated);
    }
    if found.not_compared > 0 {
        text += &format!("  {} of them were not compared with the earlier ones\n", found.not_compared);
    }
    text
}
