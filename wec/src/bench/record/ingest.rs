//! From gRPC to the log on the disk and to the histograms.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use wec_acme::Clock;
use wec_delivery::{GrpcOptions, GrpcSink, Keep, Sink as _};

use super::copies::Copies;
use super::{rate, row};
use crate::bench::process::{Measured, cpu_of_threads};

/// Results in a second of one processor that the project asks for.
const ASKED: &str = "300000";
/// Results that wait for analytics at most, so that none is lost.
const WAITING: u64 = 20_000;

pub(super) async fn measure(copies: &Copies, folder: &Path, requests: u64) -> anyhow::Result<()> {
    let address = crate::demo::free_port()?.to_string();
    let args = ["analytics", "--listen", "127.0.0.1:0", "--grpc-listen", &address, "--log-dir", "ingest"];
    let mut analytics = Measured::start(None, folder, &args)?;
    // It listens when it has printed its first address.
    analytics.line().await?;
    let options = GrpcOptions {
        analytics: format!("http://{address}"),
        token: None,
        tls: None,
        sender: "bench".to_owned(),
        node: "bench".to_owned(),
        header: Some(copies.header()),
        keep: Keep::Memory { entries: 4 * WAITING as usize },
    };
    let clock = Clock::start();
    let sink = GrpcSink::start(options, clock)?;
    let results = copies.results(requests);
    let (cpu_before, began) = (analytics.cpu_seconds()?, clock.now());
    let (mut pushed, mut sent, mut longest) = (0, 0, 0);
    while pushed < requests {
        for result in &results {
            let result = result.clone();
            pushed += result.requests.len() as u64;
            sent += 1;
            let before = clock.now();
            sink.push(result);
            longest = longest.max(clock.now() - before);
            while sent % 256 == 0 && sent > sink.health().delivered + WAITING {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            if pushed >= requests {
                break;
            }
        }
    }
    while sink.health().delivered < sent {
        ensure!(clock.now() - began < 600_000_000_000, "analytics has not taken the results in ten minutes");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let (cpu, elapsed) = (analytics.cpu_seconds()? - cpu_before, (clock.now() - began) as f64 / 1e9);
    let health = sink.finish(Duration::from_secs(10)).await;
    ensure!(health.lost == 0, "{} results were lost", health.lost);
    analytics.finish().await?;
    row("ingest", &["results/s/core", "asked", "results/s", "longest push, µs"]);
    row(
        "gRPC to the log, acknowledged, and to histograms",
        &[&rate(pushed, cpu), ASKED, &rate(pushed, elapsed), &format!("{:.0}", longest as f64 / 1e3)],
    );
    let folder = folder.to_owned();
    let (cpu, elapsed) = tokio::task::spawn_blocking(move || plain_writing(&folder, clock)).await??;
    row(
        "the same bytes by write and fdatasync alone",
        &[&rate(pushed, cpu), "–", &rate(pushed, elapsed), "–"],
    );
    Ok(())
}

/// Bytes that are written at once, and after which they are brought to the disk: what analytics writes in half a second.
const PIECE: usize = 256 << 10;
const SYNC_AFTER: usize = 32 << 20;

/// Writes the log once more, and brings it to the disk. Returns processor time and time, seconds.
fn plain_writing(folder: &Path, clock: Clock) -> anyhow::Result<(f64, f64)> {
    let logs = std::fs::read_dir(folder.join("ingest")).context("analytics' log")?;
    let (mut file, mut bytes) = (File::create(folder.join("plain"))?, vec![0; PIECE]);
    let (mut cpu, mut elapsed, mut unsynced) = (0, 0, 0);
    for log in logs {
        let log = log?.path();
        if !log.is_file() {
            continue;
        }
        let mut source = File::open(&log)?;
        loop {
            // Reading is not measured.
            let length = source.read(&mut bytes)?;
            let (cpu_before, began) = (cpu_of_threads()?, clock.now());
            file.write_all(&bytes[..length])?;
            if length == 0 || unsynced > SYNC_AFTER {
                file.sync_data()?;
                unsynced = 0;
            }
            unsynced += length;
            cpu += cpu_of_threads()? - cpu_before;
            elapsed += clock.now() - began;
            if length == 0 {
                break;
            }
        }
        std::fs::remove_file(log)?;
    }
    std::fs::remove_file(folder.join("plain"))?;
    Ok((cpu as f64 / 1e9, elapsed as f64 / 1e9))
}
