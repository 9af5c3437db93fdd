//! How fast a live change of the number of workers takes effect, and which resources remain in use.
//!
//! A run in a separate process changes several times between one worker and many, against a CA with slow
//! validations. The changes are PATCHes of its web API; the start times of workers are read from the run's
//! log. The baseline is a PATCH that changes nothing.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use hyper::Method;
use serde_json::{Value, json};
use wec_acme::Clock;
use wec_record::{FailureClass, Record};
use wec_startup::Stop;
use wec_store::{State, StateOptions};

use super::process::{Ca, ISSUANCES, Measured, mib, quantile};
use crate::session::Page;

/// Options of `wec bench live`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Most virtual users
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(2..=200_000))]
    workers: u32,
    /// How often the workers go up to the most and back to one
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=100))]
    times: u64,
    /// How long a validation takes, seconds
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    validation: u64,
}

/// PATCHes that change nothing.
const BASELINE: usize = 100;
/// How long the highest number of workers is kept.
const HELD: Duration = Duration::from_secs(2);
/// How long reaching it, or one worker again, may take beyond the time of validations.
const WITHIN: Duration = Duration::from_secs(120);

pub(crate) async fn run(options: Options, stop: &Stop) -> anyhow::Result<()> {
    let Options { workers, times, validation } = options;
    let folder = tempfile::tempdir().context("a folder for the measurement")?;
    let delay = format!("{validation}s");
    // Orders that wait for a certificate must be kept meanwhile.
    let keep = (u64::from(workers) * times * 2).max(200_000).to_string();
    let flags = ["--no-verify", "--validation-delay", &delay, "--keep-orders", &keep];
    let ca = Ca::start(None, folder.path(), &flags).await?;
    let page = crate::demo::free_port()?.to_string();
    let state = format!("sqlite://{}", folder.path().join("state.sqlite").display());
    // Every wait below is bounded; this ends a run whose benchmark has ended.
    let run_time = format!("{}s", (times + 1) * 2 * (validation + WITHIN.as_secs()));
    let mut measured = Measured::start(None, folder.path(), &arguments(&ca, &page, &state, &run_time))?;
    let steered = Steered {
        page: Page::parse(&page).map_err(anyhow::Error::msg)?,
        clock: Clock::start(),
        within: WITHIN + Duration::from_secs(validation),
        stop: stop.clone(),
    };
    let asked = steer(&steered, &measured, &options).await;
    // After any error the run is stopped in the normal way.
    let _ = steered.patch("sessions/current", json!({ "state": "stopped" })).await;
    measured.ended(steered.within, |_| {}).await?;
    let directory = ca.directory.clone();
    ca.finish().await?;
    let asked = asked?;
    if stop.finish.is_cancelled() {
        return Ok(());
    }
    let done = read(&folder.path().join("log"), &asked.changes, workers)?;
    let claims = claim_everything(&state, &directory).await?;
    report(&options, asked, done, &claims);
    Ok(())
}

fn arguments<'a>(ca: &'a Ca, page: &'a str, state: &'a str, run_time: &'a str) -> Vec<&'a str> {
    let mut args = vec!["run", "--quiet", "--listen", page];
    args.extend(ca.target());
    args.extend(ISSUANCES);
    args.extend([
        "--workers",
        "1",
        "--run-time",
        run_time,
        "--graceful-stop",
        "20m",
        "--poll-timeout",
        "20m",
    ]);
    args.extend(["--request-timeout", "5m", "--limit-registrations", "50", "--state", state]);
    args.extend(["--log-dir", "log"]);
    args
}

/// Requests to the run, and its memory.
struct Asked {
    /// Times of PATCHes that change nothing, nanoseconds from request to answer, sorted.
    baseline: Vec<u64>,
    /// The same of PATCHes that change the workers.
    answered_in: Vec<u64>,
    changes: Vec<Change>,
    /// With one worker again, each time: resident bytes, open descriptors.
    held: Vec<(u64, usize)>,
}

/// A change of the number of workers. Times are nanoseconds since the Unix epoch.
#[derive(Clone, Copy)]
struct Change {
    up: bool,
    asked: u64,
    answered: u64,
}

async fn steer(steered: &Steered, run: &Measured, options: &Options) -> anyhow::Result<Asked> {
    let mut asked =
        Asked { baseline: Vec::new(), answered_in: Vec::new(), changes: Vec::new(), held: Vec::new() };
    steered.until_running(1).await?;
    for _ in 0..BASELINE {
        let change = steered.workers(1).await?;
        asked.baseline.push(change.answered - change.asked);
    }
    for _ in 0..options.times {
        for workers in [options.workers, 1] {
            let change = steered.workers(workers).await?;
            asked.answered_in.push(change.answered - change.asked);
            asked.changes.push(change);
            steered.until_running(workers).await?;
            if change.up {
                tokio::time::sleep(HELD).await;
            }
        }
        asked.held.push((run.resident().unwrap_or_default(), run.descriptors()));
    }
    asked.baseline.sort_unstable();
    asked.answered_in.sort_unstable();
    Ok(asked)
}

/// The run's web API.
struct Steered {
    page: Page,
    clock: Clock,
    within: Duration,
    stop: Stop,
}

impl Steered {
    async fn patch(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        self.page.ask(Method::PATCH, path, Some(&body)).await
    }

    async fn workers(&self, workers: u32) -> anyhow::Result<Change> {
        let asked = self.clock.unix_now_ns();
        self.patch("sessions/current/scenarios/default", json!({ "workers": workers })).await?;
        Ok(Change { up: workers > 1, asked, answered: self.clock.unix_now_ns() })
    }

    async fn until_running(&self, workers: u32) -> anyhow::Result<()> {
        let reached = async {
            loop {
                // A new run has no page yet.
                let session = self.page.ask::<Value>(Method::GET, "sessions/current", None).await;
                if session.is_ok_and(|session| session["workers_running"] == workers) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            reached = tokio::time::timeout(self.within, reached) => {
                reached.with_context(|| format!("there were never {workers} workers"))
            }
            () = self.stop.finish.cancelled() => anyhow::bail!("interrupted"),
        }
    }
}

/// Figures from the run's log.
#[derive(Default)]
struct Done {
    /// For each growth, nanoseconds from the PATCH's answer until the last new worker began.
    grown: Vec<u64>,
    /// For each growth, the number of new workers that began.
    began: Vec<usize>,
    /// For each decrease, nanoseconds from the PATCH's answer until a surplus worker began its last iteration.
    shrunk: Vec<u64>,
    /// The most live workers in any second.
    most: u64,
    started: u64,
    ended: u64,
    idle: u64,
    results: u64,
    failed: u64,
    cut: u64,
}

fn read(folder: &Path, changes: &[Change], workers: u32) -> anyhow::Result<Done> {
    let mut done = Done::default();
    // The first iteration of each worker but the first, by the change before it.
    let mut first: Vec<HashMap<u32, u64>> = vec![HashMap::new(); changes.len()];
    let mut last: Vec<u64> = changes.iter().map(|change| change.answered).collect();
    let mut numbers = HashSet::new();
    for entry in std::fs::read_dir(folder).context("the run's log")? {
        for (line, number) in BufReader::new(File::open(entry?.path())?).lines().zip(1..) {
            match Record::parse(&line?, number)? {
                Record::Chain { origin_unix_ns, result, .. } => {
                    done.results += u64::from(numbers.insert(result.seq));
                    done.failed += u64::from(!result.successful);
                    done.cut += u64::from(result.class == Some(FailureClass::Interrupted));
                    let started = origin_unix_ns + result.started;
                    let before = changes.partition_point(|change| change.asked <= started);
                    if let (Some(change), 1..) = (before.checked_sub(1), result.worker) {
                        let earliest = first[change].entry(result.worker).or_insert(started);
                        *earliest = started.min(*earliest);
                        last[change] = started.max(last[change]);
                    }
                }
                // Counts since the start: the last sample has all of them.
                Record::Load { load, .. } => {
                    for scenario in load.scenarios {
                        done.most = done.most.max(scenario.workers);
                        (done.started, done.ended, done.idle) =
                            (scenario.started, scenario.ended, scenario.idle);
                    }
                }
                _ => {}
            }
        }
    }
    for ((change, first), last) in changes.iter().zip(first).zip(last) {
        if change.up {
            let all = first.values().max().context("no new worker began anything")?;
            done.grown.push(all.saturating_sub(change.answered));
            done.began.push(first.len());
        } else {
            done.shrunk.push(last - change.answered);
        }
    }
    ensure!(done.most <= workers.into(), "there were {} workers, {workers} were requested", done.most);
    done.grown.sort_unstable();
    done.shrunk.sort_unstable();
    Ok(done)
}

/// Ready and live objects in the state store, and how many of them a new process can claim.
struct Claims {
    orders: (usize, u64),
    certificates: (usize, u64),
}

async fn claim_everything(state: &str, directory: &str) -> anyhow::Result<Claims> {
    let state = State::open(state, directory, StateOptions::default()).await?;
    let there = state.counts();
    let (mut orders, mut certificates) = (Vec::new(), Vec::new());
    let everything = async {
        while (orders.len() as u64) < there.authorizations || (certificates.len() as u64) < there.certificates
        {
            let before = orders.len() + certificates.len();
            orders.extend(std::iter::from_fn(|| state.claim_order()));
            certificates.extend(std::iter::from_fn(|| state.claim_certificate()));
            if orders.len() + certificates.len() == before {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    };
    // This finds objects that cannot be claimed.
    let _ = tokio::time::timeout(WITHIN, everything).await;
    let claims = Claims {
        orders: (orders.iter().filter(|order| !order.suspect).count(), there.authorizations),
        certificates: (certificates.iter().filter(|one| !one.suspect).count(), there.certificates),
    };
    drop((orders, certificates));
    state.close().await?;
    Ok(claims)
}

fn report(options: &Options, asked: Asked, done: Done, claims: &Claims) {
    let Options { workers, times, validation } = options;
    println!("1 → {workers} → 1 workers, {times} times, validations of {validation} s");
    println!("{:<64} {:>9} {:>9}", "ms", "p50", "max");
    let row = |what: &str, times: &[u64]| {
        let of = |share: f64| {
            quantile(times, share).map_or("–".to_owned(), |ns| format!("{:.1}", ns as f64 / 1e6))
        };
        println!("{what:<64} {:>9} {:>9}", of(0.5), of(1.0));
    };
    row("a PATCH that changes nothing, asked → answered", &asked.baseline);
    row("a PATCH of the workers, asked → answered", &asked.answered_in);
    row(&format!("1 → {workers}: answered → the last new worker begins its first chain"), &done.grown);
    row(&format!("{workers} → 1: answered → a surplus worker begins its last chain"), &done.shrunk);
    let (least, most) = (done.began.iter().min(), done.began.iter().max());
    println!(
        "new workers that began, each time: {} to {}; workers alive at once: {} at most",
        least.unwrap_or(&0),
        most.unwrap_or(&0),
        done.most
    );
    println!(
        "{} iterations started: {} ended, {} found nothing to run; {} results in the log, {} failed, {} cut off",
        done.started, done.ended, done.idle, done.results, done.failed, done.cut
    );
    println!(
        "claimable afterwards: {} of {} ready orders, {} of {} certificates",
        claims.orders.0, claims.orders.1, claims.certificates.0, claims.certificates.1
    );
    println!("with one worker again, each time:");
    let residents: Vec<_> = asked.held.iter().map(|(bytes, _)| format!("{:.1}", mib(*bytes))).collect();
    println!("  MiB resident  {}", residents.join("  "));
    let descriptors: Vec<_> = asked.held.iter().map(|(_, descriptors)| descriptors.to_string()).collect();
    println!("  descriptors   {}", descriptors.join("  "));
}
