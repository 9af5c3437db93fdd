//! `wec calibrate`: measures and stores the highest load that this machine can make, against the built-in CA.
//!
//! Every run is this binary in a separate process, and so is the CA, so neither shares a runtime with the
//! measuring process. They share the machine: with a CA on another machine the limits are higher. Three
//! measurements, one after the other:
//!
//! 1. *Full load*: closed runs with more and more workers, until more workers no longer increase the rate.
//! 2. *Kept up*: open runs at decreasing shares of that rate, until one is not generator-limited.
//! 3. *Workers*: one run whose workers all wait for slow validations, with more of them every second, until it is
//!    generator-limited or has the requested number.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use wec_acme::Clock;
use wec_analytics::Snapshot;
use wec_record::{CALIBRATION_VERSION, Calibration, Chain};
use wec_requester::{PROGRAM, calibration_file, cpus, keep_calibration, read_calibration};
use wec_startup::{Exit, Stop, node_name, report, say};

use crate::bench::process::{Ca, ISSUANCES, Measured, mib};

/// Workers of the closed runs, in turn.
const CROWDS: [u32; 4] = [16, 64, 256, 1024];
/// The factor by which the next number of workers must increase the rate for the search to continue.
const WORTHWHILE: f64 = 1.05;
/// Shares of the full-load rate for the open runs, in turn.
const SHARES: [f64; 8] = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2];
/// The share of the full-load rate at which waiting workers are added.
const ADDING: f64 = 0.1;
/// How long all workers are kept waiting at the end.
const KEPT: Duration = Duration::from_secs(5);
/// Longest ramp of workers, seconds.
const LONGEST_RAMP: f64 = 300.0;
/// No run takes longer, including everything before and after its load.
const LONGEST_RUN: Duration = Duration::from_secs(600);

/// Options of `wec calibrate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Duration of each run, seconds
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=120))]
    seconds: u64,
    /// The most workers to try
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    max_workers: u32,
    /// Only print the stored calibration
    #[arg(long)]
    show: bool,
    /// Print the result as JSON to standard output
    #[arg(long)]
    json: bool,
}

pub(crate) async fn calibrate(options: Options, stop: Stop) -> anyhow::Result<Exit> {
    let file = calibration_file()
        .context("a calibration cannot be stored: neither XDG_STATE_HOME nor HOME is set")?;
    if options.show {
        let Some(kept) = read_calibration(&file, &node_name(None), cpus())? else {
            bail!("there is no calibration in {}: run wec calibrate", file.display());
        };
        tell(&kept, options.json)?;
        return Ok(Exit::Passed);
    }
    let measuring = measure(&options, &stop);
    // An interrupted calibration is not stored.
    let Some(measured) = stop.finish.run_until_cancelled(measuring).await else {
        say("stopped: no measurement was completed, and the earlier calibration is unchanged");
        return Ok(Exit::Interrupted);
    };
    let measured = measured?;
    tell(&measured, options.json)?;
    keep_calibration(&file, &measured)?;
    say(format_args!("kept in {}", file.display()));
    Ok(Exit::Passed)
}

/// A short measurement: one closed run. It finds no rate that is kept up, and tries no number of workers.
///
/// # Errors
/// When it could not be made, or was interrupted.
pub(crate) async fn briefly(stop: &Stop) -> anyhow::Result<Calibration> {
    let clock = Clock::start();
    let folder = tempfile::tempdir().context("a folder for the measurement")?;
    let lab = Lab { folder: folder.path(), seconds: 3 };
    let ca = Ca::start(None, folder.path(), &["--no-verify"]).await?;
    let args = ["--workers", &BRIEF_CROWD.to_string(), "--run-time", "3s"];
    let run = stop.finish.run_until_cancelled(lab.run(&ca, &args, |_| {})).await;
    let pace = Pace::of(&run.context("interrupted while this machine was measured")??);
    ca.finish().await?;
    Ok(Calibration {
        version: CALIBRATION_VERSION,
        program: PROGRAM.to_owned(),
        measured_unix_ns: clock.unix_now_ns(),
        host: node_name(None),
        cpus: cpus(),
        chains_per_s: tenths(pace.chains_per_s),
        requests_per_s: tenths(pace.requests_per_s),
        busy_workers: BRIEF_CROWD,
        kept_up_chains_per_s: Some(tenths(pace.chains_per_s * BRIEF_SHARE)),
        workers: BRIEF_WORKERS,
        workers_at_least: true,
        memory_per_worker: None,
    })
}

/// Workers of the short measurement.
const BRIEF_CROWD: u32 = 64;
/// The share of the highest rate that counts as kept up without having been tried.
const BRIEF_SHARE: f64 = 0.5;
/// The number of workers that every machine counts for without having been tried.
const BRIEF_WORKERS: u32 = 1_000;

async fn measure(options: &Options, stop: &Stop) -> anyhow::Result<Calibration> {
    let clock = Clock::start();
    let folder = tempfile::tempdir().context("a folder for the measurement")?;
    let lab = Lab { folder: folder.path(), seconds: options.seconds };
    say(
        "against the built-in CA on this machine, which both share; with a CA on another machine the load tester can do more",
    );
    let ca = Ca::start(None, folder.path(), &["--no-verify"]).await?;
    let (crowd, flat_out) = flat_out(&lab, &ca, stop).await?;
    let kept_up = kept_up(&lab, &ca, flat_out.chains_per_s, stop).await?;
    ca.finish().await?;
    let ca = Ca::start(None, folder.path(), &["--no-verify", "--validation-delay", "20m"]).await?;
    let waiting = waiting(&lab, &ca, options.max_workers, flat_out.chains_per_s * ADDING).await?;
    ca.finish().await?;
    Ok(Calibration {
        version: CALIBRATION_VERSION,
        program: PROGRAM.to_owned(),
        measured_unix_ns: clock.unix_now_ns(),
        host: node_name(None),
        cpus: cpus(),
        chains_per_s: tenths(flat_out.chains_per_s),
        requests_per_s: tenths(flat_out.requests_per_s),
        busy_workers: crowd,
        kept_up_chains_per_s: kept_up.map(tenths),
        workers: waiting.workers,
        workers_at_least: waiting.at_least,
        memory_per_worker: waiting.memory,
    })
}

/// The highest chains per second of any number of workers, and that number.
async fn flat_out(lab: &Lab<'_>, ca: &Ca, stop: &Stop) -> anyhow::Result<(u32, Pace)> {
    let mut best: Option<(u32, Pace)> = None;
    for crowd in CROWDS {
        let time = format!("{}s", lab.seconds);
        let run = lab.run(ca, &["--workers", &crowd.to_string(), "--run-time", &time], |_| {}).await?;
        let pace = Pace::of(&run);
        say(format_args!(
            "flat out, {crowd} workers: {:.0} chains/s, {:.0} requests/s",
            pace.chains_per_s, pace.requests_per_s
        ));
        let before = best.map_or(0.0, |(_, pace)| pace.chains_per_s);
        if pace.chains_per_s > before {
            best = Some((crowd, pace));
        }
        if pace.chains_per_s < before * WORTHWHILE || stop.finish.is_cancelled() {
            break;
        }
    }
    best.filter(|(_, pace)| pace.chains_per_s > 0.0).context("no chain ran against the built-in CA")
}

/// The highest tried rate at which the load tester kept up.
async fn kept_up(lab: &Lab<'_>, ca: &Ca, flat_out: f64, stop: &Stop) -> anyhow::Result<Option<f64>> {
    for share in SHARES {
        if stop.finish.is_cancelled() {
            break;
        }
        let rate = (flat_out * share).floor().max(1.0);
        let (rate_text, time) = (format!("{rate}/s"), format!("{}s", lab.seconds.max(5)));
        let load = ["--rate", &rate_text, "--workers", "2000", "--run-time", &time];
        let run = lab.run(ca, &load, |_| {}).await?;
        let generator = &run.generator;
        let why = generator.limits.first().map(|limit| limit.reason.as_str()).unwrap_or("it kept up");
        say(format_args!("a rate of {rate} chains/s: {why}"));
        if !generator.limited {
            return Ok(Some(rate));
        }
    }
    Ok(None)
}

struct Waiting {
    workers: u32,
    at_least: bool,
    memory: Option<u64>,
}

/// How many workers can wait at the same time.
async fn waiting(lab: &Lab<'_>, ca: &Ca, most: u32, adding: f64) -> anyhow::Result<Waiting> {
    let ramp = (f64::from(most) / adding.max(1.0)).clamp(1.0, LONGEST_RAMP);
    let all = ramp + KEPT.as_secs_f64();
    let stages = format!("{ramp:.0}s:{most},{}s:{most}", KEPT.as_secs());
    let time = format!("{all:.0}s");
    let (mut least, mut peak) = (u64::MAX, 0);
    let load = ["--workers", "1", "--stages", &stages, "--run-time", &time, "--poll-timeout", "20m"];
    let run = lab
        .run(ca, &load, |resident| {
            least = least.min(resident);
            peak = peak.max(resident);
        })
        .await?;
    let limited = run.generator.limits.iter().map(|limit| limit.first_unix_ns).min();
    let into = limited.map(|first| first.saturating_sub(run.run.started_unix_ns) as f64 / 1e9);
    let share = into.map_or(1.0, |into| (into / ramp).min(1.0));
    let workers = (f64::from(most) * share) as u32;
    let memory = (peak > least).then(|| (peak - least) / u64::from(most));
    say(format_args!(
        "{most} workers that wait, added over {ramp:.0} s: {}; the process took at most {:.0} MiB",
        match into {
            Some(into) => format!("generator-limited after {into:.0} s, at about {workers}"),
            None => "it kept up".to_owned(),
        },
        mib(peak)
    ));
    Ok(Waiting { workers, at_least: limited.is_none(), memory })
}

/// The environment of the runs.
struct Lab<'a> {
    folder: &'a Path,
    seconds: u64,
}

impl Lab<'_> {
    /// One run, with its own state store; `look` gets its resident memory in bytes meanwhile.
    async fn run(&self, ca: &Ca, load: &[&str], mut look: impl FnMut(u64)) -> anyhow::Result<Snapshot> {
        let place = tempfile::tempdir_in(self.folder).context("a folder for a run")?;
        let mut args = vec!["run", "--headless", "--quiet", "--json", "run.json"];
        args.extend(ca.target());
        args.extend(ISSUANCES);
        args.extend(["--limit-registrations", "50", "--graceful-stop", "1s"]);
        args.extend(["--challenge-linger", "0s"]);
        args.extend(load);
        let mut requester = Measured::start_without_settings(place.path(), &args)?;
        let look = |run: &Measured| run.resident().map_or((), &mut look);
        requester.ended(LONGEST_RUN, look).await?;
        let summary = std::fs::read_to_string(place.path().join("run.json"))
            .context("a run of the calibration left no summary: its messages are above")?;
        serde_json::from_str(&summary).context("the summary of a run of the calibration")
    }
}

/// The rates of a run.
#[derive(Clone, Copy)]
struct Pace {
    chains_per_s: f64,
    requests_per_s: f64,
}

impl Pace {
    /// Without registrations, which come first and are not part of the steady load.
    fn of(run: &Snapshot) -> Self {
        let chains = run.chains.iter().filter(|(chain, _)| **chain != Chain::Registration);
        Self { chains_per_s: chains.map(|(_, figures)| figures.rps).sum(), requests_per_s: run.rps }
    }
}

fn tell(calibration: &Calibration, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return report(serde_json::to_string_pretty(calibration)?);
    }
    let Calibration { program, host, cpus, workers, busy_workers, .. } = calibration;
    let kept_up = match calibration.kept_up_chains_per_s {
        Some(rate) => format!("{rate:.0} chains/s"),
        None => "no rate that was tried".to_owned(),
    };
    let at_least = if calibration.workers_at_least { "at least " } else { "about " };
    let memory = match calibration.memory_per_worker {
        Some(bytes) => format!(", {:.1} KiB each", bytes as f64 / 1024.0),
        None => String::new(),
    };
    report(format_args!(
        "ceiling of {host} ({cpus} processors), by {program}\n\
         flat out   {:.0} chains/s, {:.0} requests/s, with {busy_workers} workers\n\
         kept up    {kept_up} at a constant rate\n\
         workers    {at_least}{workers} waiting{memory}",
        calibration.chains_per_s, calibration.requests_per_s,
    ))
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
