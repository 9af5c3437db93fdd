//! `wec reconcile`: compares the certificates of logs with the CA's own list.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use wec_analytics::read_logs;
use wec_report::reconcile::{CaList, ListForm, Reconciler};
use wec_startup::{Exit, report as print, say};

use crate::logs::{self, run_of};

/// Options of `wec reconcile`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The logs of one or several runs; - for standard input
    #[arg(required = true, value_name = "LOG")]
    logs: Vec<PathBuf>,
    /// The CA's own list: CSV whose first line names a column serial, or one serial number a line; - for standard input
    #[arg(long, value_name = "FILE", required = true)]
    ca_list: PathBuf,
    /// The serial numbers in the list are decimal instead of hex
    #[arg(long)]
    decimal: bool,
    /// The column of the list with the serial numbers [default: serial, serial_number]
    #[arg(long, value_name = "NAME")]
    serial_column: Option<String>,
    /// The column of the list with the orders: URLs, paths, or the last part of them [default: order, order_url, order_id]
    #[arg(long, value_name = "NAME")]
    order_column: Option<String>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// Refuse a log that is not complete
    #[arg(long)]
    strict: bool,
}

pub(crate) async fn reconcile(options: Options) -> anyhow::Result<Exit> {
    tokio::task::spawn_blocking(move || make(&options)).await?
}

fn make(options: &Options) -> anyhow::Result<Exit> {
    let is_stdin = |path: &&PathBuf| path.as_os_str() == "-";
    if is_stdin(&&options.ca_list) && options.logs.iter().any(|log| is_stdin(&log)) {
        say("error: standard input cannot be both a log and the CA's list");
        return Ok(Exit::Usage);
    }
    let list = read_list(options)
        .with_context(|| format!("cannot read the CA's list {}", options.ca_list.display()))?;
    let mut reconciler = Reconciler::new(list);
    let mut runs: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for log in logs::whole(&options.logs) {
        runs.entry(run_of(&log)).or_default().push(log);
    }
    for logs in runs.values() {
        let problems = read_logs(logs, |record| reconciler.record(record))?.why_incomplete();
        if options.strict && !problems.is_empty() {
            bail!("the log is not complete, which --strict does not allow:\n  {}", problems.join("\n  "));
        }
        for problem in problems {
            say(format_args!("warning: {problem}"));
        }
    }
    if reconciler.without_serial() > 0 {
        bail!(
            "{} certificates of the log have no serial number: an earlier version wrote it, and they cannot be compared",
            reconciler.without_serial()
        );
    }
    let found = reconciler.finish();
    if options.json {
        print(serde_json::to_string_pretty(&found)?)?;
    } else {
        print(found.text().trim_end())?;
    }
    Ok(if found.is_equal { Exit::Passed } else { Exit::Different })
}

fn read_list(options: &Options) -> anyhow::Result<CaList> {
    let form = ListForm {
        decimal: options.decimal,
        serial_column: options.serial_column.clone(),
        order_column: options.order_column.clone(),
    };
    let path: &Path = &options.ca_list;
    if path.as_os_str() == "-" {
        return Ok(CaList::read(io::stdin().lock(), &form)?);
    }
    Ok(CaList::read(File::open(path)?, &form)?)
}
