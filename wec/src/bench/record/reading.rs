//! Reports of logs, beside jq and a plain serde reader that only count.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::Parser as _;
use serde::Deserialize;
use wec_log::LogFormat;

use super::{Written, rate, row};
use crate::bench::process::{Measured, Spent, cpu_of_threads, mib, peak_of_self, spent_by};

/// Options of the process that reads a log.
#[derive(Debug, clap::Args)]
pub(crate) struct Reading {
    how: How,
    log: PathBuf,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum How {
    /// As `wec report --json` does
    Report,
    /// Counts the requests of JSON lines with serde
    Serde,
}

#[derive(clap::Parser)]
struct Report {
    #[command(flatten)]
    options: crate::report::Options,
}

/// A line, as far as a reader needs it that only counts and adds.
#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    individualresults: Vec<Request>,
}

#[derive(Deserialize)]
struct Request {
    took: u64,
    successful: bool,
}

/// Reads the log, and prints what it took and how many requests it has.
pub(crate) async fn read(options: Reading) -> anyhow::Result<()> {
    let requests = match options.how {
        How::Report => {
            let log = options.log.display().to_string();
            let report = Report::try_parse_from(["report", "--json", &log])?;
            crate::report::report(report.options).await?;
            0
        }
        How::Serde => tokio::task::spawn_blocking(move || count(&options.log)).await??,
    };
    println!("{} {} {requests}", cpu_of_threads()?, peak_of_self()?);
    Ok(())
}

fn count(log: &PathBuf) -> anyhow::Result<u64> {
    let mut file = BufReader::with_capacity(1 << 18, File::open(log)?);
    let (mut line, mut requests, mut took) = (String::new(), 0, 0_u64);
    while file.read_line(&mut line)? > 0 {
        let Line { individualresults } = serde_json::from_str(&line)?;
        requests += individualresults.len() as u64;
        let successes = individualresults.iter().filter(|request| request.successful);
        took = took.saturating_add(successes.map(|request| request.took).sum());
        line.clear();
    }
    ensure!(requests == 0 || took > 0, "no request took any time");
    Ok(requests)
}

pub(super) async fn measure(
    short: &[Written],
    few: u64,
    long: &[Written],
    requests: u64,
) -> anyhow::Result<()> {
    println!();
    row("report by one core", &["results/s", "asked", "MiB at peak", "asked", "bytes a result"]);
    for (log, results) in short.iter().map(|log| (log, few)).chain(long.iter().map(|log| (log, requests))) {
        let spent = report_of(log, results).await?;
        row(
            &format!("wec report of {results}, {}", log.format),
            &[
                &rate(results, spent.cpu_seconds),
                asked(log.format),
                &format!("{:.1}", mib(spent.peak)),
                ASKED_MIB,
                &format!("{:.1}", log.bytes as f64 / results as f64),
            ],
        );
    }
    let json =
        |logs: &[Written]| logs.iter().position(|log| log.format == LogFormat::Json).context("a log in JSON");
    for (log, results) in [(&short[json(short)?], few), (&long[json(long)?], requests)] {
        let (spent, _) = read_by("serde", log).await?;
        row(
            &format!("a plain serde reader that counts {results}, json"),
            &[&rate(results, spent.cpu_seconds), "–", &format!("{:.1}", mib(spent.peak))],
        );
    }
    let json = &short[json(short)?];
    let program = "reduce (inputs | .individualresults // empty | length) as $n (0; . + $n)";
    let path = json.path.display().to_string();
    match spent_by("jq", &["-n", program, &path], Duration::from_secs(600)).await {
        Ok((spent, text)) => {
            let counted: u64 = text.trim().parse().context("what jq counts")?;
            ensure!(counted >= few, "jq counts {counted} requests");
            row(
                &format!("jq that counts {few}, json"),
                &[&rate(few, spent.cpu_seconds), "–", &format!("{:.1}", mib(spent.peak))],
            );
        }
        Err(error) => println!("jq is not measured: {error:#} (it comes with the package jq)"),
    }
    Ok(())
}

/// The report of a log that has an index by now.
pub(super) async fn measure_with_index(log: &Written, requests: u64) -> anyhow::Result<()> {
    let spent = report_of(log, requests).await?;
    row(
        &format!("wec report of {requests} by the index"),
        &[&rate(requests, spent.cpu_seconds), "results/s", &format!("{:.1}", mib(spent.peak)), "MiB"],
    );
    Ok(())
}

/// Results in a second of one processor, and memory in MiB, that the project asks for.
const fn asked(format: LogFormat) -> &'static str {
    match format {
        LogFormat::Json => "2000000",
        LogFormat::Binary => "6000000",
        LogFormat::JsonZstd | LogFormat::BinaryZstd => "–",
    }
}
const ASKED_MIB: &str = "128";

async fn report_of(log: &Written, requests: u64) -> anyhow::Result<Spent> {
    let (spent, text) = read_by("report", log).await?;
    let summary: serde_json::Value = serde_json::from_str(&text).context("the report")?;
    let counted = summary["requests"].as_u64().unwrap_or(0);
    ensure!(
        (requests..requests + 1_000).contains(&counted),
        "the report of {} counts {counted} requests instead of {requests}",
        log.path.display()
    );
    Ok(spent)
}

/// What a process took that reads the log, and what it printed.
async fn read_by(how: &str, log: &Written) -> anyhow::Result<(Spent, String)> {
    let (path, folder) = (log.path.display().to_string(), std::env::temp_dir());
    let mut process = Measured::start(None, &folder, &["bench", "reading", how, &path])?;
    let mut lines: Vec<String> = process.lines().await?;
    let Some(last) = lines.pop() else { bail!("the process that reads {path} printed nothing") };
    let mut numbers = last.split(' ').map(str::parse::<u64>);
    let (Some(Ok(cpu_ns)), Some(Ok(peak))) = (numbers.next(), numbers.next()) else {
        bail!("the process that reads {path} printed {last:?}");
    };
    Ok((Spent { cpu_seconds: cpu_ns as f64 / 1e9, peak }, lines.join("\n")))
}
