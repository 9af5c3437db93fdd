//! `wec report`: the figures of a run, from its log.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Serialize;
use strum::VariantNames as _;
use wec_analytics::{Aggregate, IndexedRun, LogReport, Snapshot, Times, read_logs, summary_table, time_text};
use wec_record::{Chain, Record, RunTimes};
use wec_report::baseline::Baseline;
use wec_report::by::{By, Groups};
use wec_startup::{Exit, TextStyle, WrongUse, report as print, say, write_beside};

use crate::logs;
use crate::output::{refuse_an_input, refuse_another, refuse_two_documents};

/// Options of `wec report`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// The log of a run, or the files of a rotated one; - for standard input
    #[arg(required = true, value_name = "LOG")]
    logs: Vec<PathBuf>,
    /// Print the summary as JSON (docs/summary.md)
    #[arg(long, help_heading = "Output")]
    json: bool,
    /// Print the tables of chains and endpoints as CSV; with --by that table
    #[arg(long, help_heading = "Output", conflicts_with_all = ["json", "hdr"])]
    csv: bool,
    /// Print the distribution of response times as text for HdrHistogram's plotter, in milliseconds
    #[arg(long, help_heading = "Output", conflicts_with = "json")]
    hdr: bool,
    /// Of --hdr: this chain instead of all requests
    #[arg(long, value_name = "NAME", help_heading = "Output", requires = "hdr", conflicts_with = "endpoint")]
    chain: Option<Chain>,
    /// Of --hdr: this endpoint (newOrder) instead of all requests
    #[arg(long, value_name = "NAME", help_heading = "Output", requires = "hdr")]
    endpoint: Option<String>,
    /// Write what wec compare needs of the run, small enough to commit; - for standard output
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    baseline: Option<PathBuf>,
    /// Print rows by this: chain, endpoint, scenario, profile, challenge-type
    #[arg(long, value_name = "WHAT", help_heading = "Output", conflicts_with = "hdr", value_parser = by)]
    by: Option<By>,
    /// Write one HTML file that needs nothing else: charts, tables, failures, the plan; - for standard output
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    html: Option<PathBuf>,
    /// Only what ended this long after the run's start, or later: 30s, 2m
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, help_heading = "Input")]
    from: Option<Duration>,
    /// Only what ended earlier than this after the run's start
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, help_heading = "Input")]
    to: Option<Duration>,
    /// Overwrite the file of --html or --baseline also if this command did not write it
    #[arg(long, help_heading = "Output")]
    force: bool,
    /// Read the log also if its index has the figures, and refuse a log that is not complete
    #[arg(long, help_heading = "Input")]
    strict: bool,
}

pub(crate) async fn report(options: Options) -> anyhow::Result<Exit> {
    tokio::task::spawn_blocking(move || make(&options)).await?
}

fn make(options: &Options) -> anyhow::Result<Exit> {
    let options = &Options { logs: logs::whole(&options.logs), ..options.clone() };
    for file in options.html.iter().chain(&options.baseline) {
        refuse_an_input(file, &options.logs)?;
    }
    if !options.force {
        if let Some(file) = &options.html {
            refuse_another(file, "a report of wec", wec_report::html::is_one)?;
        }
        if let Some(file) = &options.baseline {
            refuse_another(file, "a baseline", Baseline::is_one)?;
        }
    }
    refuse_two_documents(&options.to_stdout())?;
    if options.needs_whole_figures()
        && let Some(IndexedRun { file, snapshot }) = IndexedRun::of(&options.logs)
    {
        say(format_args!("note: the figures are from the index {}; --strict reads the log", file.display()));
        warn_of_clamped(options, &snapshot);
        print_figures(options, &snapshot, None)?;
        return Ok(Exit::Passed);
    }
    let (found, aggregate, groups) = aggregate(options)?;
    let problems = found.why_incomplete();
    if options.strict && !problems.is_empty() {
        bail!("the log is not complete, which --strict does not allow:\n  {}", problems.join("\n  "));
    }
    for problem in &problems {
        say(format_args!("warning: {problem}"));
    }
    if found.repeated > 0 {
        say(format_args!("note: {} repeated records of the log are counted once", found.repeated));
    }
    if let Some(file) = &options.html {
        let html = wec_report::html::html(&aggregate, &problems, found.ended);
        write(file, &html)?;
    }
    if let Some(file) = &options.baseline {
        write(file, &Baseline::of(&aggregate).with_problems(&problems).text()?)?;
    }
    let snapshot = aggregate.snapshot();
    warn_of_clamped(options, &snapshot);
    if options.hdr {
        print(hdr(options, &aggregate)?.trim_end())?;
    } else if let Some(groups) = groups {
        let rows = groups.rows(&snapshot);
        match () {
            () if options.csv => print(wec_report::csv(&[rows])?.trim_end())?,
            () if options.json => print(serde_json::to_string_pretty(&rows)?)?,
            () => print(rows.text().trim_end())?,
        }
    } else {
        let log = (!problems.is_empty() || found.repeated > 0).then_some(LogCondition {
            ended: found.ended,
            problems: &problems,
            repeated: found.repeated,
        });
        print_figures(options, &snapshot, log)?;
    }
    Ok(Exit::Passed)
}

/// Prints the figures of the whole run; none if only a file was asked for.
fn print_figures(options: &Options, snapshot: &Snapshot, log: Option<LogCondition>) -> anyhow::Result<()> {
    if options.csv {
        let tables = [By::Chain, By::Endpoint].map(|by| Groups::new(by).rows(snapshot));
        print(wec_report::csv(&tables)?.trim_end())?;
    } else if options.json {
        print(serde_json::to_string_pretty(&Summary { snapshot, log })?)?;
    } else if options.html.is_none() && options.baseline.is_none() {
        print(summary_table(snapshot, TextStyle::stdout()).trim_end())?;
    }
    Ok(())
}

/// The summary says it, and its JSON and the page have it.
fn warn_of_clamped(options: &Options, snapshot: &Snapshot) {
    let clamped = snapshot.missing.clamped_times;
    if clamped > 0 && (options.csv || options.hdr || options.by.is_some() || options.baseline.is_some()) {
        say(format_args!("warning: {clamped} times above one hour were counted as one hour"));
    }
}

/// The summary of a run, with the defects of its log.
#[derive(Serialize)]
struct Summary<'a> {
    #[serde(flatten)]
    snapshot: &'a Snapshot,
    /// None of a log that is complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<LogCondition<'a>>,
}

#[derive(Serialize)]
struct LogCondition<'a> {
    ended: bool,
    problems: &'a [String],
    repeated: u64,
}

impl Options {
    /// Whether the figures of the whole run are all that is asked for.
    const fn needs_whole_figures(&self) -> bool {
        let Self { html, baseline, hdr, by, from, to, strict, .. } = self;
        let files = html.is_some() || baseline.is_some();
        !files && !*hdr && by.is_none() && from.is_none() && to.is_none() && !*strict
    }

    /// The flags whose results go to standard output.
    fn to_stdout(&self) -> Vec<&'static str> {
        let file = |file: &Option<PathBuf>| file.as_ref().is_some_and(|file| file.as_os_str() == "-");
        let of_tables = match (self.csv, self.hdr, self.json) {
            (true, ..) => Some("--csv"),
            (_, true, _) => Some("--hdr"),
            (_, _, true) => Some("--json"),
            _ => self.by.map(|_| "--by"),
        };
        let files = [("--html", &self.html), ("--baseline", &self.baseline)];
        let files = files.into_iter().filter(|(_, to)| file(to)).map(|(flag, _)| flag);
        files.chain(of_tables).collect()
    }
}

fn by(text: &str) -> Result<By, String> {
    text.parse().map_err(|_| format!("write one of {}", By::VARIANTS.join(", ")))
}

/// The distribution of a chain, an endpoint or all requests.
fn hdr(options: &Options, aggregate: &Aggregate) -> anyhow::Result<String> {
    if let Some(chain) = options.chain {
        return Ok(wec_report::hdr(aggregate.chain_times(chain), &format!("chain {chain}")));
    }
    let Some(wanted) = &options.endpoint else {
        return Ok(wec_report::hdr(&aggregate.request_times(), "all requests"));
    };
    let endpoints = aggregate.snapshot().endpoints;
    let mut times: Option<Times> = None;
    for (_, more) in endpoints.iter().zip(aggregate.endpoint_times()).filter(|(of, _)| of.endpoint == *wanted)
    {
        times.get_or_insert_default().merge(more.clone());
    }
    let Some(times) = times else {
        let mut known: Vec<_> = endpoints.iter().map(|endpoint| endpoint.endpoint.as_str()).collect();
        known.dedup();
        bail!("no request went to the endpoint {}: there are {}", wec_text::quoted(wanted), known.join(", "));
    };
    Ok(wec_report::hdr(&times, &format!("endpoint {wanted}")))
}

/// Writes a whole file, or to standard output if it is `-`. A file of that name is replaced when all is written.
fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    if file.as_os_str() == "-" {
        print(text.trim_end())?;
    } else {
        let folder = file.parent().unwrap_or(Path::new(""));
        std::fs::create_dir_all(folder)
            .and_then(|()| write_beside(file, text.as_bytes()))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

fn aggregate(options: &Options) -> anyhow::Result<(LogReport, Aggregate, Option<Groups>)> {
    let Options { from, to, .. } = options;
    let mut aggregate = match (from, to) {
        (None, None) => Aggregate::default(),
        (from, to) => Aggregate::of_period(from.unwrap_or_default(), *to),
    };
    if options.html.is_none() {
        aggregate = aggregate.without_charts();
    }
    if let Some(to) = to
        && from.unwrap_or_default() >= *to
    {
        bail!(WrongUse(format!(
            "--from {} is not before --to {}",
            humantime::format_duration(from.unwrap_or_default()),
            humantime::format_duration(*to)
        )));
    }
    let mut groups = options.by.map(Groups::new);
    let is_part = from.is_some() || to.is_some();
    let (mut times, mut begun) = (RunTimes::default(), false);
    let found = read_logs(&options.logs, |record| {
        if is_part {
            if let Record::Header(header) = record
                && !std::mem::replace(&mut begun, true)
            {
                times.begin(header.started_unix_ns);
            }
            let at = record.unix_ns().unwrap_or(0);
            times.take(at, at);
        }
        aggregate.record(record);
        if let Some(groups) = &mut groups {
            groups.record(record, &aggregate);
        }
    })?;
    if is_part {
        let (Some(_), Some(started)) = (&found.header, times.started()) else {
            bail!("the log has no header, so --from and --to have no start of the run to count from");
        };
        let length = times.latest().saturating_sub(started);
        if from.is_some_and(|from| from.as_nanos() >= u128::from(length)) {
            let from = from.unwrap_or_default();
            bail!(
                "the run has nothing after --from {}: its last record is {} after its start",
                humantime::format_duration(from),
                time_text(length)
            );
        }
    }
    Ok((found, aggregate, groups))
}
