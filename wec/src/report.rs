//! `wec report`: the figures of a run, from its log.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use strum::VariantNames as _;
use wec_analytics::{Aggregate, LogReport, Times, read_logs, summary_table, time_text};
use wec_record::Chain;
use wec_report::baseline::Baseline;
use wec_report::by::{By, Groups};
use wec_startup::{Exit, TextStyle, report as print, say};

/// Options of `wec report`.
#[derive(Debug, clap::Args)]
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
    /// Refuse a log that is not complete
    #[arg(long, help_heading = "Input")]
    strict: bool,
}

pub(crate) async fn report(options: Options) -> anyhow::Result<Exit> {
    tokio::task::spawn_blocking(move || make(&options)).await?
}

fn make(options: &Options) -> anyhow::Result<Exit> {
    for file in options.html.iter().chain(&options.baseline) {
        refuse_an_input(file, &options.logs)?;
    }
    let (found, aggregate, groups) = aggregate(options)?;
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
    if let Some(file) = &options.baseline {
        write(file, &Baseline::of(&aggregate).text()?)?;
    }
    let written = options.html.is_some() || options.baseline.is_some();
    let snapshot = aggregate.snapshot();
    if options.hdr {
        print(hdr(options, &aggregate)?.trim_end())?;
    } else if options.csv {
        let tables = match groups {
            Some(groups) => vec![groups.rows(&snapshot)],
            None => [By::Chain, By::Endpoint].map(|by| Groups::new(by).rows(&snapshot)).into(),
        };
        print(wec_report::csv(&tables)?.trim_end())?;
    } else if let Some(groups) = groups {
        let rows = groups.rows(&snapshot);
        if options.json {
            print(serde_json::to_string_pretty(&rows)?)?;
        } else {
            print(rows.text().trim_end())?;
        }
    } else if options.json {
        print(serde_json::to_string_pretty(&snapshot)?)?;
    } else if !written {
        print(summary_table(&snapshot, TextStyle::stdout()).trim_end())?;
    }
    Ok(Exit::Passed)
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
        return Ok(wec_report::hdr(aggregate.request_times(), "all requests"));
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

/// A report must not replace the log that it is made from.
fn refuse_an_input(file: &Path, logs: &[PathBuf]) -> anyhow::Result<()> {
    let same = |path: &Path| std::fs::metadata(path).map(|there| (there.dev(), there.ino())).ok();
    let output = same(file);
    if let Some(log) = logs.iter().find(|log| output.is_some() && same(log) == output) {
        bail!("{} is the log {}: name another file", file.display(), log.display());
    }
    Ok(())
}

/// Writes a whole file, or to standard output if it is `-`. A file of that name is replaced when all is written.
fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    if file.as_os_str() == "-" {
        print(text.trim_end())?;
    } else {
        let what = || format!("cannot write {}", file.display());
        // A device such as /dev/null cannot be replaced.
        if std::fs::metadata(file).is_ok_and(|there| !there.is_file()) {
            return std::fs::write(file, text).with_context(what);
        }
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).with_context(what)?;
        let mut name = file.file_name().unwrap_or_default().to_owned();
        name.push(".unfinished");
        let unfinished = file.with_file_name(name);
        std::fs::write(&unfinished, text).with_context(what)?;
        std::fs::rename(&unfinished, file).with_context(what)?;
    }
    Ok(())
}

fn aggregate(options: &Options) -> anyhow::Result<(LogReport, Aggregate, Option<Groups>)> {
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
    let mut groups = options.by.map(Groups::new);
    let mut latest = 0;
    let found = read_logs(&options.logs, |record| {
        latest = latest.max(record.unix_ns().unwrap_or(0));
        aggregate.record(record);
        if let Some(groups) = &mut groups {
            groups.record(record, &aggregate);
        }
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
    Ok((found, aggregate, groups))
}
