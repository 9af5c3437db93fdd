//! The client's total cost of an issuance.
//!
//! Three processes: the built-in CA and analytics on one processor, the requester on another. The requester's
//! CPU time between two samples is divided by the certificates between them. The floor is measured just
//! before, in this process.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use wec_acme::bench::CannedServer;
use wec_startup::Stop;

use super::process::{Ca, ISSUANCES, Measured};

/// Options of `wec bench issuance`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Virtual users
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=4096))]
    workers: u32,
    /// How long to measure, seconds
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(2..=600))]
    seconds: u64,
    /// How long to warm up, seconds
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    warm_up: u64,
    /// Issuances in each of the three rounds in which the floor is measured
    #[arg(long, default_value_t = 3_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    floor_issuances: u64,
    /// Flags of wec requester that change the issuance, after --: --key-types rsa2048, --connections
    /// per-chain
    #[arg(last = true, value_name = "FLAG")]
    requester: Vec<String>,
}

pub(crate) async fn run(options: Options, stop: &Stop) -> anyhow::Result<()> {
    let Options { workers, seconds, warm_up, floor_issuances, requester: flags } = options;
    println!(
        "floor: 7 signatures, 7 POSTs by hyper alone over TLS 1.3, one P-256 key and CSR, against canned answers"
    );
    let floor = tokio::task::spawn_blocking(move || {
        let server = CannedServer::start()?;
        let workers = workers.into();
        let round = |_| (server.floor(workers, floor_issuances), server.client(workers, floor_issuances));
        let rounds: Vec<_> = (0..3).map(round).collect();
        let least = |of: fn(&(_, _)) -> u64| rounds.iter().map(of).min().unwrap_or_default();
        anyhow::Ok((
            least(|(floor, _): &(wec_acme::bench::Cost, wec_acme::bench::Cost)| floor.cpu_ns),
            least(|(_, client): &(wec_acme::bench::Cost, wec_acme::bench::Cost)| client.cpu_ns),
        ))
    })
    .await??;

    let folder = tempfile::tempdir().context("a folder for the measurement")?;
    let (here, there) = if std::thread::available_parallelism().is_ok_and(|cpus| cpus.get() > 1) {
        (Some(0), Some(1))
    } else {
        (None, None)
    };
    let ca = Ca::start(here, folder.path(), &["--no-verify"]).await?;
    let results = crate::demo::free_port()?.to_string();
    let analytics = Measured::start(
        here,
        folder.path(),
        &["analytics", "--listen", "127.0.0.1:0", "--grpc-listen", &results, "--log-dir", "log"],
    )?;
    let workers = workers.to_string();
    let run_time = format!("{}s", warm_up + seconds + 1);
    let results_url = format!("http://{results}");
    let mut args = vec!["requester", "--threads", "1", "--analytics", &results_url];
    args.extend(ca.target());
    args.extend(ISSUANCES);
    args.extend(["--workers", &workers, "--run-time", &run_time, "--limit-registrations", &workers]);
    args.extend(flags.iter().map(String::as_str));
    let requester = Measured::start(there, folder.path(), &args)?;
    let log = folder.path().join("log");
    tokio::time::sleep(Duration::from_secs(warm_up)).await;
    let (cpu_before, certificates_before) = (requester.cpu_seconds()?, logged_certificates(&log)?);
    let looked = tokio::time::Instant::now();
    tokio::select! {
        () = tokio::time::sleep(Duration::from_secs(seconds)) => {}
        () = stop.finish.cancelled() => return Ok(()),
    }
    let (cpu_after, certificates_after) = (requester.cpu_seconds()?, logged_certificates(&log)?);
    let elapsed = looked.elapsed().as_secs_f64();
    requester.finish().await?;
    analytics.finish().await?;
    let issued = ca.finish().await?;

    let certificates = certificates_after - certificates_before;
    ensure!(certificates > 0, "no certificate was issued between the two samples");
    let cpu = cpu_after - cpu_before;
    let each = cpu * 1e6 / certificates as f64;
    let micro = |nanoseconds: u64| nanoseconds as f64 / 1e3;
    println!(
        "workers {workers}, {certificates} certificates in {elapsed:.1} s ({issued} by the CA's own count over the whole run)"
    );
    if !flags.is_empty() {
        println!("the requester with {}; floor and client alone without", flags.join(" "));
    }
    println!("{:<46} {:>10}", "client CPU of an issuance", "µs");
    println!("{:<46} {:>10.1}", "floor (hyper, signatures, key, CSR)", micro(floor.0));
    println!("{:<46} {:>10.1}", "ACME client alone, canned answers", micro(floor.1));
    println!("{:<46} {:>10.1}", "requester, all in", each);
    println!("{:<46} {:>10.1}", "  of it: chains, checks, state, results", each - micro(floor.1));
    println!("{:<46} {:>10.2}", "all in / floor", each * 1e3 / floor.0 as f64);
    println!("{:<46} {:>9.0}%", "processor of the requester", 100.0 * cpu / elapsed);
    Ok(())
}

/// Certificate chains in the log of the run so far. It reads only complete lines and does not affect the
/// requester.
fn logged_certificates(folder: &std::path::Path) -> anyhow::Result<u64> {
    let mut count = 0;
    for entry in std::fs::read_dir(folder).context("analytics' log")? {
        let text = std::fs::read(entry?.path())?;
        count += text
            .split(|byte| *byte == b'\n')
            .filter(|line| {
                find(line, br#""chainname":"certificate""#) && find(line, br#""chainsuccessful":true"#)
            })
            .count() as u64;
    }
    Ok(count)
}

fn find(line: &[u8], what: &[u8]) -> bool {
    // Both keys are near the beginning of a line, before its requests.
    line[..line.len().min(400)].windows(what.len()).any(|window| window == what)
}
