//! How exactly iterations of the open model arrive: how many, how late, and with which spacing.
//!
//! The built-in CA runs in one process, a run with a constant rate in another. Due and start times are read from the
//! run's log. The baseline is the delay of a loop on this machine that only wakes up at the same moments.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use wec_acme::Clock;
use wec_record::Record;
use wec_requester::alarm::Alarm;
use wec_requester::pace::Fit;
use wec_startup::Stop;

use super::process::{Ca, Measured, quantile};

/// Options of `wec bench arrivals`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Chains per second
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    rate: u32,
    /// Duration of each spacing, seconds
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Most workers
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    workers: u32,
    /// Runtimes of the requester [default: one for each processor]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: Option<u32>,
}

pub(crate) async fn run(options: Options, stop: &Stop) -> anyhow::Result<()> {
    let Options { rate, seconds, .. } = options;
    let wakes = (u64::from(rate) * seconds.min(5)).max(1);
    let tokio = lateness(rate, wakes, Waking::Tokio).await?;
    let alarm = lateness(rate, wakes, Waking::Alarm).await?;
    let folder = tempfile::tempdir().context("a folder for the measurement")?;
    let ca = Ca::start(None, folder.path(), &["--no-verify"]).await?;
    let mut runs = Vec::new();
    for spacing in ["even", "poisson"] {
        if stop.finish.is_cancelled() {
            return Ok(());
        }
        runs.push((spacing, measure(&options, &ca, spacing, folder.path()).await?));
    }
    ca.finish().await?;

    println!("{rate} chains/s for {seconds} s, {} in all", u64::from(rate) * seconds);
    println!("{:<52} {:>9} {:>9} {:>9}", "lateness, µs", "p50", "p99", "max");
    print_late("a loop that only wakes up, tokio's timer", &tokio);
    print_late("a loop that only wakes up, timerfd where there is one", &alarm);
    for (spacing, Arrived { late, .. }) in &runs {
        print_late(&format!("scheduling lag (start − due), {spacing}"), late);
    }
    for (spacing, Arrived { due, started, dropped, idle, .. }) in &runs {
        println!(
            "{spacing}: {due} due, {started} started, {dropped} dropped, {idle} of the started found nothing to do"
        );
    }
    for (spacing, Arrived { gaps, .. }) in &runs {
        let Fit { d, p } = Fit::to_exponential(gaps);
        println!(
            "{spacing}: {} gaps, Kolmogorov-Smirnov against exponential ones: D = {d:.5}, p = {p:.3}",
            gaps.len()
        );
    }
    Ok(())
}

fn print_late(what: &str, late: &[u64]) {
    let of = |share: f64| {
        quantile(late, share).map_or("–".to_owned(), |late| format!("{:.1}", late as f64 / 1e3))
    };
    println!("{what:<52} {:>9} {:>9} {:>9}", of(0.5), of(0.99), of(1.0));
}

enum Waking {
    Tokio,
    Alarm,
}

/// How late a loop wakes up, sorted: on a runtime of the same kind, without other work.
async fn lateness(rate: u32, wakes: u64, waking: Waking) -> anyhow::Result<Vec<u64>> {
    tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(runtime.block_on(async {
            let clock = Clock::start();
            let mut alarm = Alarm::new(clock);
            let mut late = Vec::new();
            for wake in 0..wakes {
                let due = wake * 1_000_000_000 / u64::from(rate);
                match waking {
                    Waking::Alarm => alarm.at(due).await,
                    Waking::Tokio => {
                        tokio::time::sleep(Duration::from_nanos(due.saturating_sub(clock.now()))).await;
                    }
                }
                late.push(clock.now().saturating_sub(due));
            }
            late.sort_unstable();
            late
        }))
    })
    .await?
}

/// Figures from a run's log.
struct Arrived {
    due: u64,
    started: u64,
    dropped: u64,
    idle: u64,
    /// start − due of iterations that ran a chain, sorted.
    late: Vec<u64>,
    /// Gaps between their due times, in mean gaps.
    gaps: Vec<f64>,
}

async fn measure(options: &Options, ca: &Ca, spacing: &str, folder: &Path) -> anyhow::Result<Arrived> {
    let Options { rate, seconds, workers, threads } = options;
    let log = folder.join(spacing);
    let (log_text, state) = (log.display().to_string(), format!("sqlite://{spacing}.sqlite"));
    let (per_second, run_time, workers) = (format!("{rate}/s"), format!("{seconds}s"), workers.to_string());
    let threads = threads.map(|threads| threads.to_string());
    let mut args = vec!["run", "--headless", "--quiet"];
    args.extend(ca.target());
    args.extend([
        "--rate",
        &per_second,
        "--spacing",
        spacing,
        "--run-time",
        &run_time,
        "--workers",
        &workers,
    ]);
    // Nothing validates late here, and nothing is measured while the challenge data stays.
    args.extend(["--challenge-linger", "0s"]);
    args.extend(["--seed", "1", "--state", &state, "--log-dir", &log_text]);
    if let Some(threads) = &threads {
        args.extend(["--threads", threads]);
    }
    let mut requester = Measured::start(None, folder, &args)?;
    requester.ended(Duration::from_secs(seconds + 60), |_| {}).await?;
    read(&log, *rate)
}

fn read(folder: &Path, rate: u32) -> anyhow::Result<Arrived> {
    let mut arrived = Arrived { due: 0, started: 0, dropped: 0, idle: 0, late: Vec::new(), gaps: Vec::new() };
    let mut dues = Vec::new();
    for entry in std::fs::read_dir(folder).context("the run's log")? {
        let text = std::fs::read_to_string(entry?.path())?;
        for (line, number) in text.lines().zip(1..) {
            match Record::parse(line, number)? {
                Record::Chain { result, .. } => {
                    arrived.late.push(result.started.saturating_sub(result.due));
                    dues.push(result.due);
                }
                // Counts since the start: the last sample has all of them.
                Record::Load { load, .. } => {
                    for scenario in load.scenarios {
                        (arrived.due, arrived.started) = (scenario.due, scenario.started);
                        (arrived.dropped, arrived.idle) = (scenario.dropped, scenario.idle);
                    }
                }
                _ => {}
            }
        }
    }
    ensure!(!dues.is_empty(), "the run's log has no chain");
    dues.sort_unstable();
    let gap = |pair: &[u64]| (pair[1] - pair[0]) as f64 / 1e9 * f64::from(rate);
    arrived.gaps = dues.windows(2).map(gap).collect();
    arrived.late.sort_unstable();
    Ok(arrived)
}
