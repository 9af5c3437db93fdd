//! `wec log check`: whether a log is complete.

use std::path::PathBuf;
use std::time::Duration;

use wec_analytics::{LogReport, read_logs, time_text};
use wec_startup::{Exit, report as print};
use wec_text::visible;

/// Options of `wec log`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Count the records of a log, and report missing or damaged ones; exit code 1 when it is not complete
    Check(Check),
}

#[derive(Debug, clap::Args)]
struct Check {
    /// The log of a run, or the files of a rotated one; - for standard input
    #[arg(required = true, value_name = "LOG")]
    logs: Vec<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn log(options: Options) -> anyhow::Result<Exit> {
    match options.command {
        Command::Check(Check { logs, json }) => {
            let found = tokio::task::spawn_blocking(move || read_logs(&logs, |_| {})).await??;
            if json {
                print(serde_json::to_string_pretty(&found)?)?;
            } else {
                print(text(&found).trim_end())?;
            }
            Ok(if found.is_whole() { Exit::Passed } else { Exit::CouldNotRun })
        }
    }
}

fn text(found: &LogReport) -> String {
    let mut text = String::new();
    let problems = found.problems();
    text +=
        &format!("{}: {}\n", found.files.join(", "), if problems.is_empty() { "whole" } else { "NOT whole" });
    for problem in problems {
        text += &format!("  {problem}\n");
    }
    if let Some(header) = &found.header {
        let started = Duration::from_nanos(header.started_unix_ns);
        let started = std::time::UNIX_EPOCH + Duration::from_secs(started.as_secs());
        text += &format!("run     {}, of {}\n", visible(&header.run), visible(&header.program));
        text += &format!("target  {}\n", visible(&header.target));
        text += &format!("start   {}\n", humantime::format_rfc3339_seconds(started));
        if let Some(footer) = &found.footer {
            let took = time_text(footer.at_unix_ns.saturating_sub(header.started_unix_ns));
            text += &format!("end     after {took}, {}\n", <&str>::from(footer.outcome));
        }
    } else {
        text += "run     unknown: there is no header\n";
    }
    if found.footer.is_none() {
        text += "end     unknown: there is no footer, so its writer is still running, was killed, or is an earlier version\n";
    }
    text += &format!("size    {} bytes, {} lines\n", found.bytes, found.lines);
    for (kind, count) in &found.records {
        let requests =
            if kind == "chain" { format!(", {} requests in them", found.requests) } else { String::new() };
        text += &format!("  {kind:<8}{count:>12}{requests}\n");
    }
    if found.repeated > 0 {
        text += &format!("{} repeated records were skipped\n", found.repeated);
    }
    text
}
