//! Opening the run in `wec serve`, without an index and with one, and minutes of it.

use std::path::Path;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use wec_acme::Clock;

use super::row;
use crate::bench::process::{Measured, mib, quantile};
use crate::session::Page;

const MINUTE_NS: u64 = 60_000_000_000;
/// Places in the run at which a part begins that is asked for.
const PLACES: u64 = 9;
/// Milliseconds that the project allows, for the first answer and for a minute.
const ASKED_FIRST_MS: &str = "1000";
const ASKED_PART_MS: &str = "300";

pub(super) async fn measure(folder: &Path, requests: u64) -> anyhow::Result<()> {
    println!();
    row(&format!("wec serve, a log of {requests}, json"), &["ms", "longest", "asked"]);
    // The first answer may take longer than a page waits.
    let (first, _) = opened(folder, ("reads the log and writes the index", "–"), true).await?;
    first.finish().await?;
    let length_of = |name: &str| std::fs::metadata(folder.join(name)).map(|there| there.len());
    let (bytes, log) = (length_of("bench.jsonl.index").context("the index")?, length_of("bench.jsonl")?);
    let (second, page) = opened(folder, ("the index exists", ASKED_FIRST_MS), false).await?;
    let length = of(&page, "runs/bench/snapshot").await?.1["snapshot"]["elapsed_ns"].as_u64().unwrap_or(0);
    ensure!(length > MINUTE_NS, "the log is shorter than a minute: ask for more --requests");
    let mut part = MINUTE_NS;
    while part < length {
        let mut times = Vec::new();
        let mut requests = 0;
        for place in 0..PLACES {
            // Neither end is that of a minute.
            let from = (length - part) / PLACES * place + 1;
            let path = format!("runs/bench/window?from_ns={from}&to_ns={}", from + part);
            let (time, answer) = of(&page, &path).await?;
            requests += answer["snapshot"]["requests"].as_u64().unwrap_or(0);
            times.push(time);
        }
        times.sort_unstable();
        let at = |share: f64| shown(quantile(&times, share).unwrap_or(0));
        let minutes = part as f64 / MINUTE_NS as f64;
        let what = format!("a part of {minutes:.0} minutes, {} requests", requests / PLACES);
        row(&what, &[&at(0.5), &at(1.0), ASKED_PART_MS]);
        part = if part < length / 10 * 9 { (4 * part).min(length / 10 * 9) } else { length };
    }
    println!("the index has {:.1} MiB, the log {:.1}", mib(bytes), mib(log));
    second.finish().await
}

/// The server and its page, after the first answer about the run, whose time is printed.
async fn opened(folder: &Path, (what, asked): (&str, &str), slow: bool) -> anyhow::Result<(Measured, Page)> {
    let text = folder.display().to_string();
    let mut serve = Measured::start(None, Path::new("."), &["serve", &text, "--listen", "127.0.0.1:0"])?;
    let line = serve.line().await?;
    let address = line.split("http://").nth(1).and_then(|rest| rest.split('/').next());
    let page = Page::parse(address.context("the address of wec serve")?).map_err(anyhow::Error::msg)?;
    let clock = Clock::start();
    let answer = loop {
        match of(&page, "runs/bench/snapshot").await {
            // The log is read to its end, whoever waits.
            Err(_) if slow && clock.now() < 300_000_000_000 => {}
            answer => break answer.map(|_| clock.now())?,
        }
    };
    row(&format!("first answer: {what}"), &[&shown(answer), "–", asked]);
    Ok((serve, page))
}

/// Time from the request to the answer, and the answer.
async fn of(page: &Page, path: &str) -> anyhow::Result<(u64, Value)> {
    let clock = Clock::start();
    let answer = page.ask(hyper::Method::GET, path, None).await?;
    Ok((clock.now(), answer))
}

fn shown(ns: u64) -> String {
    format!("{:.1}", ns as f64 / 1e6)
}
