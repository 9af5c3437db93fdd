//! `wec replay`: the page on the log of a run.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use wec_analytics::{PageOptions, RecordedRun};
use wec_startup::{Exit, Stop, say, show};

/// Slowest and fastest replay.
const SPEEDS: std::ops::RangeInclusive<f64> = 1.0..=1_000.0;

/// Options of `wec replay`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The log of a run, or the files of a rotated one; - for standard input
    #[arg(required = true, value_name = "LOG")]
    logs: Vec<PathBuf>,
    /// Show the run as if it were live, so many times as fast: 1 to 1000 [default: the end of the run at once]
    #[arg(long, value_name = "N", value_parser = speed)]
    speed: Option<f64>,
    #[command(flatten)]
    page: PageOptions,
    /// Refuse a log that is not complete
    #[arg(long)]
    strict: bool,
}

fn speed(text: &str) -> Result<f64, String> {
    let wrong = || format!("{text:?} is not a number from {} to {}", SPEEDS.start(), SPEEDS.end());
    text.parse().ok().filter(|speed| SPEEDS.contains(speed)).ok_or_else(wrong)
}

pub(crate) async fn replay(options: Options, stop: Stop) -> anyhow::Result<Exit> {
    let Options { logs, speed, page, strict } = options;
    let reading = tokio::task::spawn_blocking(move || RecordedRun::read(&logs));
    let Some(recorded) = stop.finish.run_until_cancelled(reading).await else {
        return Ok(Exit::Interrupted);
    };
    let recorded = recorded.context("reading the log")??;
    let problems = recorded.problems();
    if strict && !problems.is_empty() {
        bail!("the log is not complete, which --strict does not allow:\n  {}", problems.join("\n  "));
    }
    for problem in problems {
        say(format_args!("warning: {problem}"));
    }
    let run = recorded.id();
    // No other log of the folder is shown.
    let analytics = page.over(PathBuf::from(".")).replay(recorded, speed).await?;
    if let Some(address) = analytics.web_addr() {
        show(format_args!("replay of run {run} on http://{address}/ until Ctrl-C"));
    }
    stop.finish.cancelled().await;
    analytics.finish().await;
    Ok(Exit::Passed)
}
