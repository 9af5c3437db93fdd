//! `wec compare`: compares the runs of two sides.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use wec_analytics::{Aggregate, read_logs};
use wec_log::header_at;
use wec_report::baseline::Baseline;
use wec_report::compare::{Rule, RuleOutcome, Side, compare};
use wec_startup::{Exit, WrongUse, report as print, say};

use crate::logs;

/// Options of `wec compare`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Logs or baselines: one before and one after; with --with, all of them are before
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Logs or baselines after. Several runs on a side are pooled, and the spread between them counts
    #[arg(long, value_name = "RUN", num_args = 1..)]
    with: Vec<PathBuf>,
    /// Exit with code 99 when the runs show this regression beyond noise: 'chain.certificate{p(99)} +10%'; repeatable
    #[arg(long, value_name = "METRIC CHANGE")]
    fail_if: Vec<Rule>,
    /// Print Markdown for a pull request
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    /// Print the comparison as JSON
    #[arg(long)]
    json: bool,
    /// Refuse a log that is not complete
    #[arg(long)]
    strict: bool,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<Exit> {
    tokio::task::spawn_blocking(move || make(&options)).await?
}

fn make(options: &Options) -> anyhow::Result<Exit> {
    let Options { runs, with, fail_if, markdown, json, strict } = options;
    let named = by_run(&logs::whole(runs));
    let (before, after) = match (&named[..], &with[..]) {
        ([before, after], []) => (vec![before.clone()], vec![after.clone()]),
        // Two copies of one run.
        ([_], []) if let [before, after] = &runs[..] => {
            (vec![vec![before.clone()]], vec![vec![after.clone()]])
        }
        (_, []) => bail!(WrongUse(format!(
            "expected two runs, got {}: for several on a side write wec compare A1 A2 --with B1 B2",
            named.len()
        ))),
        (_, after) => (named, by_run(&logs::whole(after))),
    };
    let (before, after) = (side(&before)?, side(&after)?);
    let incomplete: Vec<_> =
        before.0.iter().chain(&after.0).flat_map(|run| run.log_problems.clone()).collect();
    if *strict && !incomplete.is_empty() {
        bail!("a log is not complete, which --strict does not allow:\n  {}", incomplete.join("\n  "));
    }
    for rule in fail_if {
        rule.check(&before, &after).map_err(|mistake| WrongUse(format!("--fail-if {mistake}")))?;
    }
    let comparison = compare(&before, &after, fail_if);
    if *json {
        print(serde_json::to_string_pretty(&comparison)?)?;
    } else if *markdown {
        print(comparison.markdown().trim_end())?;
    } else {
        print(comparison.text().trim_end())?;
    }
    for rule in &comparison.rules {
        if matches!(rule.outcome, RuleOutcome::MayBeNoise | RuleOutcome::TooFewSamples) {
            say(format_args!("warning: the runs are not conclusive for {}: it does not fail", rule.rule));
        }
    }
    let failed = comparison.rules.iter().any(|rule| rule.outcome == RuleOutcome::Failed);
    Ok(if failed { Exit::Failed } else { Exit::Passed })
}

/// The files of each run, in the order in which the runs were named. All logs with a run's header are of that run; any
/// other file, such as a baseline, is one by itself.
fn by_run(files: &[PathBuf]) -> Vec<Vec<PathBuf>> {
    let mut runs: Vec<(Option<String>, Vec<PathBuf>)> = Vec::new();
    for file in files {
        let run = header_at(file).ok().flatten().map(|header| header.run);
        match runs.iter_mut().find(|(known, _)| known.is_some() && *known == run) {
            Some((_, of)) => of.push(file.clone()),
            None => runs.push((run, vec![file.clone()])),
        }
    }
    runs.into_iter().map(|(_, files)| files).collect()
}

/// The runs with these files.
fn side(all: &[Vec<PathBuf>]) -> anyhow::Result<Side> {
    let mut runs = Vec::new();
    for files in all {
        if let [file] = &files[..]
            && let Some(baseline) = baseline(file)?
        {
            runs.push(baseline);
            continue;
        }
        let mut aggregate = Aggregate::default().without_charts();
        let found = read_logs(files, |record| aggregate.record(record))?;
        let clamped = aggregate.snapshot().missing.clamped_times;
        if clamped > 0 {
            let run = files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ");
            say(format_args!("warning: {run}: {clamped} times above one hour were counted as one hour"));
        }
        runs.push(Baseline::of(&aggregate).with_problems(&found.why_incomplete()));
    }
    Ok(Side(runs))
}

/// The baseline in this file; none if it is a log.
fn baseline(file: &Path) -> anyhow::Result<Option<Baseline>> {
    let failed = || format!("cannot read {}", file.display());
    // Of a folder the reader of logs names the way out.
    if file.as_os_str() == "-" || file.is_dir() {
        return Ok(None);
    }
    let mut start = Vec::new();
    File::open(file).with_context(failed)?.take(64).read_to_end(&mut start).with_context(failed)?;
    if !Baseline::is_one(&start) {
        return Ok(None);
    }
    let text = std::fs::read_to_string(file).with_context(failed)?;
    Baseline::read(text.trim_start_matches('\u{feff}')).with_context(failed).map(Some)
}
