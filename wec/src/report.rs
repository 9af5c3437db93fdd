//! `wec report`: the summary of a run, from its log.

use std::path::PathBuf;

use anyhow::bail;
use wec_analytics::{Aggregate, LogReport, read_logs, summary_table};
use wec_startup::{Exit, TextStyle, report as print, say, show};

/// Options of `wec report`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The log of a run, or the files of a rotated one; - for standard input
    #[arg(required = true, value_name = "LOG")]
    logs: Vec<PathBuf>,
    /// Print the summary as JSON (docs/summary.md)
    #[arg(long)]
    json: bool,
    /// Refuse a log that is not complete
    #[arg(long)]
    strict: bool,
}

pub(crate) async fn report(options: Options) -> anyhow::Result<Exit> {
    let Options { logs, json, strict } = options;
    let (found, aggregate) = tokio::task::spawn_blocking(move || aggregate(&logs)).await??;
    let problems = found.problems();
    if strict && !problems.is_empty() {
        bail!("the log is not complete, which --strict does not allow:\n  {}", problems.join("\n  "));
    }
    for problem in problems {
        say(format_args!("warning: {problem}"));
    }
    let snapshot = aggregate.snapshot();
    if json {
        print(serde_json::to_string_pretty(&snapshot)?)?;
    } else {
        show(summary_table(&snapshot, TextStyle::stdout()).trim_end());
    }
    Ok(Exit::Passed)
}

fn aggregate(logs: &[PathBuf]) -> anyhow::Result<(LogReport, Aggregate)> {
    let mut aggregate = Aggregate::default();
    let found = read_logs(logs, |record| aggregate.record(record))?;
    Ok((found, aggregate))
}
