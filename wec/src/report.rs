//! `wec report`: the figures of a run, from its log.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use wec_analytics::{Aggregate, LogReport, read_logs, summary_table, time_text};
use wec_startup::{Exit, TextStyle, report as print, say, show};

/// Options of `wec report`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The log of a run, or the files of a rotated one; - for standard input
    #[arg(required = true, value_name = "LOG")]
    logs: Vec<PathBuf>,
    /// Print the summary as JSON (docs/summary.md)
    #[arg(long, help_heading = "Output")]
    json: bool,
    /// Write one HTML file that needs nothing else: charts, tables, failures, the plan; - for standard output
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    html: Option<PathBuf>,
    /// Only what ended this long after the run's start, or later: 30s, 2m
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, help_heading = "Part of the run")]
    from: Option<Duration>,
    /// Only what ended earlier than this after the run's start
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, help_heading = "Part of the run")]
    to: Option<Duration>,
    /// Refuse a log that is not complete
    #[arg(long)]
    strict: bool,
}

pub(crate) async fn report(options: Options) -> anyhow::Result<Exit> {
    tokio::task::spawn_blocking(move || make(&options)).await?
}

fn make(options: &Options) -> anyhow::Result<Exit> {
    let (found, aggregate) = aggregate(options)?;
    let problems = found.problems();
    if options.strict && !problems.is_empty() {
        bail!("the log is not complete, which --strict does not allow:\n  {}", problems.join("\n  "));
    }
    for problem in &problems {
        say(format_args!("warning: {problem}"));
    }
    if let Some(file) = &options.html {
        let html = wec_report::html::html(&aggregate, &problems, found.footer.is_some());
        write(file, &html)?;
    }
    if options.json {
        print(serde_json::to_string_pretty(&aggregate.snapshot())?)?;
    } else if options.html.is_none() {
        show(summary_table(&aggregate.snapshot(), TextStyle::stdout()).trim_end());
    }
    Ok(Exit::Passed)
}

/// Writes a whole file, or to standard output if it is `-`.
fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    if file.as_os_str() == "-" {
        print(text.trim_end())?;
    } else {
        std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

fn aggregate(options: &Options) -> anyhow::Result<(LogReport, Aggregate)> {
    let Options { from, to, .. } = options;
    let mut aggregate = match (from, to) {
        (None, None) => Aggregate::default(),
        (from, to) => Aggregate::of_period(from.unwrap_or_default(), *to),
    };
    if let (Some(from), Some(to)) = (from, to)
        && from >= to
    {
        bail!(
            "--from {} is not before --to {}",
            humantime::format_duration(*from),
            humantime::format_duration(*to)
        );
    }
    let mut latest = 0;
    let found = read_logs(&options.logs, |record| {
        latest = latest.max(record.unix_ns().unwrap_or(0));
        aggregate.record(record);
    })?;
    if from.is_some() || to.is_some() {
        let Some(header) = &found.header else {
            bail!("the log has no header, so --from and --to have no start of the run to count from");
        };
        let length = latest.saturating_sub(header.started_unix_ns);
        if from.is_some_and(|from| from.as_nanos() >= u128::from(length)) {
            let from = from.unwrap_or_default();
            bail!(
                "the run has nothing after --from {}: its last record is {} after its start",
                humantime::format_duration(from),
                time_text(length)
            );
        }
    }
    Ok((found, aggregate))
}
