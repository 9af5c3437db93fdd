//! `wec report` and `wec compare` on the logs of real runs.

use std::path::Path;

use serde_json::Value;
use wec_testbed::{Pebble, PebbleOptions};

use crate::common::{run, said};

/// The only log in the folder.
fn log_in(folder: &Path) -> String {
    let log = std::fs::read_dir(folder.join("results")).unwrap().next().unwrap().unwrap().path();
    log.to_str().unwrap().to_owned()
}

/// Runs it and returns what it printed.
fn printed(folder: &Path, args: &[&str]) -> String {
    let output = run(folder, args);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// The log of a short run against Pebble.
async fn pebble_run(folder: &Path) -> String {
    let pebble =
        Pebble::start(PebbleOptions { always_valid: true, ..PebbleOptions::default() }).await.unwrap();
    let (directory, cacert) = (pebble.directory_url(), pebble.ca_file().to_str().unwrap().to_owned());
    let args = ["run", "--directory", &directory, "--cacert", &cacert, "--headless", "--workers", "2"];
    let others =
        ["--iterations", "40", "--http01-listen", "127.0.0.1:0", "--threshold", "chain{failed} < 100%"];
    printed(folder, &[&args[..], &others[..]].concat());
    log_in(folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_against_pebble_has_a_report_in_every_form() {
    let folder = tempfile::tempdir().unwrap();
    let log = pebble_run(folder.path()).await;
    let report = |args: &[&str]| printed(folder.path(), &[&["report", &log], args].concat());
    let summary: Value = serde_json::from_str(&report(&["--json"])).unwrap();
    let requests = summary["requests"].as_u64().unwrap();

    assert_eq!(report(&["--html", "run.html"]), "");
    let html = std::fs::read_to_string(folder.path().join("run.html")).unwrap();
    assert_eq!(report(&["--html", "-"]).trim_end(), html.trim_end());
    for part in [
        summary["run"]["target"].as_str().unwrap(),
        "Passed",
        "chain{failed} &lt; 100%",
        "Response time of registration",
        "newOrder",
        "&quot;base_domain&quot;",
    ] {
        assert!(html.contains(part), "{part} is not in the page");
    }
    assert!(!html.contains("<script"));

    // The parts of the run add up to it.
    let part =
        |args: &[&str]| -> Value { serde_json::from_str(&report(&[&["--json"], args].concat())).unwrap() };
    let half = summary["elapsed_ns"].as_u64().unwrap() / 2_000_000;
    let middle = format!("{half}ms");
    let halves = [part(&["--to", &middle]), part(&["--from", &middle])];
    let sum: u64 = halves.iter().map(|half| half["requests"].as_u64().unwrap()).sum();
    assert_eq!(sum, requests);
    assert_eq!(halves[1]["period"]["from_ns"], half * 1_000_000);
    let output = run(folder.path(), &["report", &log, "--from", "10h"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("the run has nothing after --from 10h"), "{}", said(&output));
}
