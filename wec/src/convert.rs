//! `wec convert`: a log in another format, or as a table.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use wec_analytics::{LogFormat, LogReport};
use wec_log::{RecordWriter, Rows, Table, read_lines, read_logs};
use wec_startup::{Beside, Exit, say};

use crate::logs;
use crate::output::refuse_an_input;

/// Options of `wec convert`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The log of a run, or the files of a rotated one; - for standard input
    #[arg(required = true, value_name = "LOG")]
    logs: Vec<PathBuf>,
    /// File to write, or - for standard output. Its name decides the format: .jsonl, .jsonl.zst, .wecb or .wecb.zst
    #[arg(short, long, value_name = "FILE|-")]
    output: PathBuf,
    /// Format, if the name does not decide it
    #[arg(long, value_enum, conflicts_with = "csv")]
    format: Option<LogFormat>,
    /// Write a CSV table
    #[arg(long, value_enum, value_name = "ROWS")]
    csv: Option<Rows>,
    /// Overwrite the file if it exists
    #[arg(long)]
    force: bool,
    /// Refuse a log that is not complete
    #[arg(long)]
    strict: bool,
}

enum Form {
    Log(LogFormat),
    Table(Rows),
}

pub(crate) async fn convert(options: Options) -> anyhow::Result<Exit> {
    let form = match (options.csv, options.format, LogFormat::of_name(&options.output)) {
        (Some(rows), ..) => Form::Table(rows),
        (None, Some(format), _) | (None, None, Some(format)) => Form::Log(format),
        (None, None, None) => {
            say(format_args!(
                "error: the name {} does not decide the format: set --format or --csv",
                options.output.display()
            ));
            return Ok(Exit::Usage);
        }
    };
    tokio::task::spawn_blocking(move || write(&options, &form)).await?
}

fn write(options: &Options, form: &Form) -> anyhow::Result<Exit> {
    let Options { output, force, strict, .. } = options;
    let logs = &logs::whole(&options.logs);
    if output.as_os_str() == "-" {
        // What is on standard output cannot be taken back. Standard input is read only once.
        if *strict && logs.iter().all(|log| log.as_os_str() != "-") {
            let report = read_logs(logs, |_| {})?;
            if !report.is_whole() {
                return Ok(conclude(&report, true));
            }
        }
        let (report, written) = copy(logs, form, io::stdout().lock())?;
        return match written {
            // As with `wec convert | head`.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Passed),
            written => {
                written.context("standard output")?;
                Ok(conclude(&report, *strict))
            }
        };
    }
    if output.exists() && !force {
        bail!("{} exists: name another file, or overwrite it with --force", output.display());
    }
    refuse_an_input(output, logs)?;
    let what = || format!("cannot write {}", output.display());
    // The unfinished file is removed if it is dropped.
    let mut file = Beside::new(output).with_context(what)?;
    let (report, written) = copy(logs, form, BufWriter::new(&mut file))?;
    written.with_context(what)?;
    if !strict || report.is_whole() {
        file.finish().with_context(what)?;
    }
    Ok(conclude(&report, *strict))
}

/// The report of what was read, and whether all of it was written.
fn copy(
    logs: &[PathBuf],
    form: &Form,
    to: impl Write,
) -> Result<(LogReport, io::Result<()>), wec_analytics::LogError> {
    let mut written = Ok(());
    match form {
        Form::Log(format) => {
            let mut writer = RecordWriter::new(*format, to);
            let report = read_lines(logs, |record, line| {
                if written.is_ok() {
                    written = writer.write(record, line);
                }
            })?;
            Ok((report, written.and_then(|()| writer.finish().map(drop))))
        }
        Form::Table(rows) => match Table::new(*rows, to) {
            Ok(mut table) => {
                let report = read_lines(logs, |record, _| {
                    if written.is_ok() {
                        written = table.write(record);
                    }
                })?;
                Ok((report, written.and_then(|()| table.finish())))
            }
            Err(error) => Ok((LogReport::default(), Err(error))),
        },
    }
}

fn conclude(report: &LogReport, strict: bool) -> Exit {
    let problems = report.why_incomplete();
    let severity = if strict { "error" } else { "warning" };
    problems.iter().for_each(|problem| say(format_args!("{severity}: {problem}")));
    if strict && !problems.is_empty() { Exit::CouldNotRun } else { Exit::Passed }
}
