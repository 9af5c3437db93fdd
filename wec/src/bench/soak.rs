//! Whether memory stays constant: an hour's number of chains, as fast as possible.

use std::time::Duration;

use anyhow::Context as _;
use tokio::time::Instant;
use wec_startup::Stop;

use super::process::{Ca, Measured, mib};

/// Options of `wec bench soak`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Chains to run
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1_000..=5_000_000))]
    chains: u64,
    /// Virtual users
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    workers: u32,
    /// Longest duration, seconds
    #[arg(long, default_value_t = 900, value_parser = clap::value_parser!(u64).range(10..=7_200))]
    within: u64,
}

/// Rows of the table.
const ROWS: u64 = 10;

pub(crate) async fn run(options: Options, stop: &Stop) -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("a folder for the soak")?;
    let ca = Ca::start(None, folder.path(), &["--no-verify"]).await?;
    let (workers, within) = (options.workers.to_string(), format!("{}s", options.within));
    let mut args = vec!["run", "--headless", "--quiet"];
    args.extend(ca.target());
    args.extend(["--workers", &workers, "--run-time", &within, "--limit-registrations", "1000"]);
    let mut run = Measured::start(None, folder.path(), &args)?;
    println!("{} workers until {} chains, all five kinds", options.workers, options.chains);
    println!("{:>10} {:>10} {:>12}", "chains", "seconds", "MiB resident");
    let started = Instant::now();
    let log = folder.path().join("results");
    let mut counted = Log::default();
    let mut row = 1;
    let mut residents = Vec::new();
    while !run.has_ended() && !stop.finish.is_cancelled() && row <= ROWS {
        tokio::time::sleep(Duration::from_millis(250)).await;
        let chains = counted.chains(&log)?;
        if chains * ROWS >= options.chains * row {
            let resident = run.resident().unwrap_or_default();
            println!("{chains:>10} {:>10.0} {:>12.1}", started.elapsed().as_secs_f64(), mib(resident));
            residents.push(resident);
            row = chains * ROWS / options.chains + 1;
        }
    }
    run.finish().await?;
    let issued = ca.finish().await?;
    println!("{issued} certificates by the CA's own count");
    // The first rows show the growth to the working set: pools, connections, histograms.
    if let [_, _, third, .., last] = residents.as_slice() {
        println!(
            "growth from the third row to the last: {:+.1} %",
            (*last as f64 / *third as f64 - 1.0) * 100.0
        );
    }
    Ok(())
}

/// Counts the chain records of a growing log, reading nothing twice.
#[derive(Default)]
struct Log {
    read: u64,
    chains: u64,
}

impl Log {
    fn chains(&mut self, folder: &std::path::Path) -> anyhow::Result<u64> {
        use std::io::{Read as _, Seek as _, SeekFrom};
        let Some(entry) = std::fs::read_dir(folder).ok().and_then(|mut entries| entries.next()) else {
            return Ok(0);
        };
        let mut file = std::fs::File::open(entry?.path())?;
        file.seek(SeekFrom::Start(self.read))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let chains = text[..whole]
            .split(|byte| *byte == b'\n')
            .filter(|line| line.starts_with(br#"{"record":"chain""#));
        self.chains += chains.count() as u64;
        self.read += whole as u64;
        Ok(self.chains)
    }
}
