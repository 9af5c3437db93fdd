//! The cost of many workers that only wait for slow validations.

use std::time::Duration;

use anyhow::Context as _;
use wec_startup::Stop;

use super::process::{Ca, ISSUANCES, Measured, mib};

/// Options of `wec bench workers`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Virtual users
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=200_000))]
    workers: u32,
    /// How long a validation takes, seconds
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=600))]
    validation: u64,
    /// Duration of the measurement, seconds
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u64).range(5..=600))]
    seconds: u64,
}

pub(crate) async fn run(options: Options, stop: &Stop) -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("a folder for the measurement")?;
    let delay = format!("{}s", options.validation);
    let ca = Ca::start(None, folder.path(), &["--no-verify", "--validation-delay", &delay]).await?;
    let workers = options.workers.to_string();
    let run_time = format!("{}s", options.seconds);
    let baseline = measure(&ca, "1", "5s", folder.path(), stop).await?;
    let peak = measure(&ca, &workers, &run_time, folder.path(), stop).await?;
    ca.finish().await?;
    println!("{workers} workers, validations of {delay}, {run_time}");
    println!("{:<40} {:>10}", "resident memory of the requester", "MiB");
    println!("{:<40} {:>10.1}", "one worker (the process itself)", mib(baseline));
    println!("{:<40} {:>10.1}", format!("{workers} workers, highest"), mib(peak));
    let each = peak.saturating_sub(baseline) as f64 / f64::from(options.workers) / 1024.0;
    println!("{:<40} {:>10.1}", "each worker, KiB", each);
    Ok(())
}

/// The highest resident memory of a requester over its run.
async fn measure(
    ca: &Ca,
    workers: &str,
    run_time: &str,
    folder: &std::path::Path,
    stop: &Stop,
) -> anyhow::Result<u64> {
    let state = format!("sqlite://state-{workers}.sqlite");
    let mut args = vec!["run", "--headless", "--quiet", "--workers", workers, "--run-time", run_time];
    args.extend(ca.target());
    args.extend(ISSUANCES);
    args.extend([
        "--graceful-stop",
        "2s",
        "--poll-timeout",
        "20m",
        "--limit-registrations",
        "50",
        "--state",
        &state,
    ]);
    let mut requester = Measured::start(None, folder, &args)?;
    let mut peak = 0;
    while !requester.has_ended() && !stop.finish.is_cancelled() {
        peak = peak.max(requester.resident().unwrap_or_default());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    requester.finish().await?;
    Ok(peak)
}
