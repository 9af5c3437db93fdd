//! `wec compare`: compares the runs of two sides.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use wec_analytics::{Aggregate, read_logs};
use wec_report::baseline::Baseline;
use wec_report::compare::{Rule, RuleOutcome, Side, compare};
use wec_startup::{Exit, WrongUse, report as print, say};

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
}

pub(crate) async fn run(options: Options) -> anyhow::Result<Exit> {
    tokio::task::spawn_blocking(move || make(&options)).await?
}

fn make(options: &Options) -> anyhow::Result<Exit> {
    let Options { runs, with, fail_if, markdown, json } = options;
    let (before, after) = match (runs.as_slice(), with.as_slice()) {
        ([before, after], []) => (std::slice::from_ref(before), std::slice::from_ref(after)),
        (_, []) => bail!(WrongUse(format!(
            "expected two runs, got {}: for several on a side write wec compare A1 A2 --with B1 B2",
            runs.len()
        ))),
        (before, after) => (before, after),
    };
    let (before, after) = (side(before)?, side(after)?);
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

/// The runs of these files. The files of a rotated log are of one run.
fn side(files: &[PathBuf]) -> anyhow::Result<Side> {
    let mut runs = Vec::new();
    let mut logs: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for file in files {
        let failed = || format!("cannot read {}", file.display());
        let mut start = Vec::new();
        // Of a folder the reader of logs names the way out.
        if file.as_os_str() != "-" && !file.is_dir() {
            File::open(file).with_context(failed)?.take(64).read_to_end(&mut start).with_context(failed)?;
        }
        if Baseline::is_one(&start) {
            let text = std::fs::read_to_string(file).with_context(failed)?;
            let text = text.trim_start_matches('\u{feff}');
            runs.push(Baseline::read(text).with_context(failed)?);
        } else {
            logs.entry(run_of(file)).or_default().push(file.clone());
        }
    }
    for files in logs.values() {
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

/// The id of the run, from the log's header; else the file's own name.
pub(crate) fn run_of(file: &Path) -> String {
    let header = wec_log::header_at(file).ok().flatten();
    header.map_or_else(|| file.display().to_string(), |header| header.run)
}
