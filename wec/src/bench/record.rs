//! How fast results are written, read and shown, each beside the least that it needs.
//!
//! The records are those of a short run at the built-in CA at the rate of ten million requests in a day, with its load
//! samples of each second, repeated with other times, names and numbers. Every log is written by the writer of `wec`.
//! Each reading is a process of its own, whose processor time and highest memory are measured.

mod copies;
mod ingest;
mod reading;
mod serving;

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use wec_log::{LogFormat, RecordWriter};
use wec_record::Record;
use wec_startup::Stop;

use self::copies::{CHAINS_PER_SECOND, Copies};
pub(super) use self::reading::{Reading, read};
use super::process::{Ca, Measured};

/// Options of `wec bench record`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Request results in the log; ten million are those of a day. A million needs 700 MB on the disk
    #[arg(long, default_value_t = 400_000, value_parser = clap::value_parser!(u64).range(2_000..=20_000_000))]
    requests: u64,
    /// Duration of the run whose records are repeated, seconds
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
}

/// The same records in one of the formats.
struct Written {
    format: LogFormat,
    path: PathBuf,
    bytes: u64,
}

pub(crate) async fn run(options: Options, stop: &Stop) -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("a folder for the measurement")?;
    let folder = folder.path();
    let copies = Copies::of(record(folder, options.seconds).await?)?;
    let measurement = measure(copies, folder, options.requests);
    match stop.finish.run_until_cancelled(measurement).await {
        Some(done) => done,
        None => Ok(()),
    }
}

async fn measure(copies: Copies, folder: &Path, requests: u64) -> anyhow::Result<()> {
    println!(
        "{requests} request results, like those of a run of {} requests at {CHAINS_PER_SECOND} chains/s; rates are per \
         second of processor time",
        copies.requests()
    );
    ingest::measure(&copies, folder, requests).await?;
    // For the memory, which must not depend on the length, and for what is slow.
    let few = (requests / 4).min(250_000);
    let (short, copies) = write(copies, folder.join("short"), few).await?;
    let (long, _) = write(copies, folder.join("long"), requests).await?;
    reading::measure(&short, few, &long, requests).await?;
    for log in long.iter().chain(&short).filter(|log| log.format != LogFormat::Json) {
        std::fs::remove_file(&log.path).context("removing a log")?;
    }
    serving::measure(&folder.join("long"), requests).await?;
    let json = long.iter().find(|log| log.format == LogFormat::Json).context("a log in JSON")?;
    reading::measure_with_index(json, requests).await
}

/// The records of a short run.
async fn record(folder: &Path, seconds: u64) -> anyhow::Result<Vec<Record>> {
    let validated = crate::demo::free_port()?.to_string();
    let ca = Ca::start(None, folder, &["--http01", &validated]).await?;
    let (run_time, rate) = (format!("{seconds}s"), format!("{CHAINS_PER_SECOND}/s"));
    let mut args = vec!["run", "--headless", "--quiet", "--run-time", &run_time, "--rate", &rate];
    let [directory @ .., _, _] = ca.target();
    args.extend(directory);
    args.extend(["--http01-listen", &validated]);
    args.extend(["--seed", "1", "--state", "sqlite://pattern.sqlite", "--log-dir", "pattern"]);
    let mut run = Measured::start(None, folder, &args)?;
    run.ended(Duration::from_secs(seconds + 60), |_| {}).await?;
    ca.finish().await?;
    let mut logs = Vec::new();
    for entry in std::fs::read_dir(folder.join("pattern")).context("the run's log")? {
        logs.push(entry?.path());
    }
    let mut records = Vec::new();
    wec_analytics::read_logs(&logs, |record| records.push(record.clone()))?;
    Ok(records)
}

/// Writes a log with this number of requests in every format.
async fn write(mut copies: Copies, folder: PathBuf, requests: u64) -> anyhow::Result<(Vec<Written>, Copies)> {
    tokio::task::spawn_blocking(move || {
        std::fs::create_dir_all(&folder)?;
        let mut writers = Vec::new();
        for format in LogFormat::ALL {
            let path = folder.join(format!("bench.{}", format.extension()));
            writers.push((RecordWriter::new(format, BufWriter::new(File::create(&path)?)), format, path));
        }
        let mut failed = None;
        copies.each(requests, |record| {
            for (writer, ..) in &mut writers {
                failed = failed.take().or(writer.write(&record, None).err());
            }
        });
        ensure!(failed.is_none(), "writing a log: {failed:?}");
        let mut written = Vec::new();
        for (writer, format, path) in writers {
            writer.finish().context("writing a log")?;
            let bytes = std::fs::metadata(&path)?.len();
            written.push(Written { format, path, bytes });
        }
        Ok((written, copies))
    })
    .await?
}

/// A line of a table.
fn row(what: &str, figures: &[&str]) {
    let figures: String = figures.iter().map(|figure| format!(" {figure:>16}")).collect();
    println!("{what:<52}{figures}");
}

/// Requests in a second of one processor.
fn rate(requests: u64, cpu_seconds: f64) -> String {
    if cpu_seconds > 0.0 { format!("{:.0}", requests as f64 / cpu_seconds) } else { "–".to_owned() }
}
