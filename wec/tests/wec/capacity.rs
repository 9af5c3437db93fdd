//! `wec capacity` finds the highest rate that a CA sustains. What a search decides is tested under a paused clock
//! (`wec/src/capacity/tests.rs`); here are the command as a whole, and real servers.

use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::Value;
use wec_record::{Mark, MarkBy, MarkValue, MarkWhat, Record};
use wec_testbed::{Caddy, Pebble, PebbleOptions, Standard};

use crate::common::ONLY_REGISTRATIONS;

/// Short steps, and bounds on the load tester that a busy machine does not exceed.
const USUAL: [&str; 14] = [
    "--headless",
    "--json",
    "summary.json",
    "--http01-listen",
    "127.0.0.1:0",
    "--limited-lag",
    "10m",
    "--limited-backlog",
    "100%",
    "--step-time",
    "3s",
    "--hold",
    "2s",
    "--spacing=even",
];
const SETTLE: [&str; 4] = ["--settle", "3s..9s", "--limited-cpu", "100%"];

/// Each chain is one request to newAccount.
fn only_registrations() -> [&'static str; 2] {
    ["--weight", &ONLY_REGISTRATIONS]
}

fn capacity(folder: &Path, target: &[&str], flags: &[&str]) -> Output {
    crate::common::run(folder, &[&["capacity"], target, &USUAL, &only_registrations(), flags].concat())
}

fn steps(found: &Value) -> Vec<(f64, &str)> {
    let steps = found["steps"].as_array().unwrap().iter();
    steps.map(|step| (step["rate"].as_f64().unwrap(), step["verdict"].as_str().unwrap())).collect()
}

#[test]
fn the_knee_of_a_ca_whose_capacity_is_known_is_within_its_width_of_the_truth() {
    const TRUTH: f64 = 22.5;
    let folder = tempfile::tempdir().unwrap();
    let ca = crate::common::NullCa::start(folder.path(), &["--serve", "newAccount=22.5/s"]);
    let flags = ["--from", "5/s", "--resolution", "20%", "--junit", "junit.xml"];
    let output = capacity(folder.path(), &ca.target(), &[&SETTLE[..], &flags].concat());
    let said = crate::common::said(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}");
    assert!(text.contains("Knee: ") && text.contains("well below the knee"), "{text}");

    let found = crate::common::summary(folder.path());
    let [knee, above, width] = ["knee", "above", "width"].map(|key| found[key].as_f64().unwrap());
    assert!(knee - width <= TRUTH && TRUTH <= above + width, "{knee} to {above}: {found}");
    assert!(width <= 0.2 * above + 1e-9, "{found}");
    assert_eq!(found["ended"], "narrow");
    assert_eq!(found["hold"]["verdict"], "sustained");
    let steps = steps(&found);
    assert!(steps.contains(&(5.0, "sustained")) && steps.contains(&(40.0, "failed")), "{steps:?}");
    for step in found["steps"].as_array().unwrap() {
        if step["verdict"] == "sustained" {
            let (rate, reached) = (step["rate"].as_f64().unwrap(), step["reached"].as_f64().unwrap());
            assert!((reached / rate - 1.0).abs() < 0.35, "the rate in a window of 3 s is off: {step}");
        }
    }
    // The whole search is one run, with a mark for every change.
    let log = crate::common::log(folder.path());
    let rates = log.iter().filter(|record| {
        matches!(record, Record::Mark(mark) if mark.by == MarkBy::Capacity && mark.what == MarkWhat::Rate)
    });
    assert!(rates.count() >= steps.len());
    let junit = std::fs::read_to_string(folder.path().join("junit.xml")).unwrap();
    assert!(junit.contains("tests=\"2\" failures=\"0\" errors=\"0\""), "{junit}");
}

/// The present rate of the session, by the marks in the log.
fn rate_now(folder: &Path) -> f64 {
    let mut rates =
        crate::common::log_so_far(&folder.join("results")).into_iter().filter_map(|record| match record {
            Record::Mark(Mark { to: MarkValue::Rate(rate), .. }) => Some(rate),
            _ => None,
        });
    rates.next_back().unwrap_or(0.0)
}

#[test]
fn the_first_interrupt_ends_the_search_and_reports_the_known_result() {
    let folder = tempfile::tempdir().unwrap();
    let ca = crate::common::NullCa::start(folder.path(), &[]);
    let rates = ["--from", "10/s", "--step", "10/s"];
    let args = [&["capacity"], &ca.target()[..], &USUAL, &only_registrations(), &SETTLE, &rates].concat();
    let run = crate::common::wec(folder.path(), &args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let run = crate::common::Running(Some(run));
    crate::common::until("the second step has begun", || rate_now(folder.path()) >= 20.0);
    let output = run.interrupt();
    assert_eq!(output.status.code(), Some(105), "{}", crate::common::said(&output));
    let text = String::from_utf8_lossy(&output.stdout).replace('\n', " ");
    assert!(text.contains("Knee: at least 10 chains/s") && text.contains("interrupted"), "{text}");
    let found = crate::common::summary(folder.path());
    assert_eq!((found["ended"].as_str(), found["knee"].as_f64()), (Some("cut"), Some(10.0)));
}

#[test]
fn all_errors_are_reported_at_once_before_any_load() {
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--from", "fast", "--settle", "5s", "--hold-at", "110%", "--rate", "5/s"];
    let output = capacity(folder.path(), &["--directory", "http://127.0.0.1:1/dir"], &flags);
    assert_eq!(output.status.code(), Some(2));
    let said = crate::common::said(&output);
    for part in ["--from: \"fast\"", "--settle: \"5s\"", "--hold-at: \"110%\"", "--rate: wec capacity"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!folder.path().join("results").exists());
}

#[test]
fn flags_override_the_environment_which_overrides_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = "directory = \"http://127.0.0.1:1/dir\"\n[capacity]\nfrom = \"file\"\nto = \"file\"\nhold = \"file\"\nholdat = \"80%\"\n";
    std::fs::write(folder.path().join("s.toml"), file).unwrap();
    let said = |command: &[&str]| {
        let mut wec =
            crate::common::wec(folder.path(), &[command, &["--headless", "--config", "s.toml"]].concat());
        wec.env("WEC_CAPACITY_FROM", "environment").env("WEC_CAPACITY_TO", "environment");
        let output = wec.output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", crate::common::said(&output));
        crate::common::said(&output)
    };
    let search = said(&["capacity", "--from", "flag"]);
    let beginnings = [
        "s.toml:6: capacity.holdat: unknown key; did you mean hold_at?",
        "--from: \"flag\"",
        "WEC_CAPACITY_TO: \"environment\"",
        "s.toml:5: capacity.hold: \"file\"",
    ];
    assert_eq!(search.lines().count(), beginnings.len(), "{search}");
    for beginning in beginnings {
        assert!(search.lines().any(|line| line.starts_with(beginning)), "{beginning}: {search}");
    }
    let run = said(&["run"]);
    // wec run has neither these flags nor their variables, but reports mistakes in the file.
    let beginnings = [
        "s.toml:6: capacity.holdat: unknown key",
        "s.toml:3: capacity.from: \"file\"",
        "s.toml:4: capacity.to: \"file\"",
        "s.toml:5: capacity.hold: \"file\"",
    ];
    assert_eq!(run.lines().count(), beginnings.len(), "{run}");
    for beginning in beginnings {
        assert!(run.lines().any(|line| line.starts_with(beginning)), "{beginning}: {run}");
    }
}

/// A search that ends with a verdict; its result. A machine that is busy with other work may slow the CA so much that it
/// sustains no rate: then the search reports this, and the exit code agrees.
fn short_search(folder: &Path, flags: &[&str]) -> Value {
    let mut args = vec!["capacity", "--headless", "--spacing", "even", "--limited-lag", "10m"];
    args.extend(["--limited-cpu", "100%", "--threshold", "chain{failed} < 1%"]);
    args.extend(["--settle", "3s..10s", "--step-time", "5s", "--hold", "3s", "--json", "summary.json"]);
    args.extend(flags);
    let output = crate::common::run(folder, &args);
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{}\n{text}", crate::common::said(&output));
    let found = crate::common::summary(folder);
    match output.status.code() {
        Some(0) => assert!(found["knee"].as_f64().is_some(), "{found}"),
        Some(99) => assert!(found["knee"].is_null() || found["hold"]["verdict"] != "sustained", "{found}"),
        other => panic!("exit code {other:?}"),
    }
    found
}

/// Two workers: with three requests in flight Pebble 2.4 deadlocks sooner or later (docs/servers.md).
#[tokio::test(flavor = "multi_thread")]
async fn a_short_search_against_pebble() {
    let folder = tempfile::tempdir().unwrap();
    let [http01, tlsalpn01, dns] = [(); 3].map(|()| wec_testbed::free_address());
    let pebble = Pebble::start(PebbleOptions {
        http_port: http01.port(),
        tls_port: tlsalpn01.port(),
        dns: Some(dns),
        ..PebbleOptions::default()
    })
    .await
    .unwrap();
    let (directory, cacert) = (pebble.directory_url(), pebble.ca_file().to_str().unwrap().to_owned());
    let [http01, tlsalpn01, dns] = [http01, tlsalpn01, dns].map(|address| address.to_string());
    let mut flags = vec!["--directory", &directory, "--cacert", &cacert];
    flags.extend(["--http01-listen", &http01, "--tlsalpn01-listen", &tlsalpn01, "--dns-listen", &dns]);
    // Two workers may be too few at times, which is not Pebble's fault.
    flags.extend(["--workers", "2", "--from", "1/s", "--to", "2/s"]);
    let found = short_search(folder.path(), &flags);
    assert!(found["knee"].is_null() || found["knee"].as_f64() >= Some(1.0), "{found}");
    assert!(found["summary"]["requests"].as_u64() > Some(0));
}

/// Caddy uses the system's resolver: here the run's own DNS, on a loopback address whose port 53 is free.
#[tokio::test(flavor = "multi_thread")]
async fn a_short_search_against_caddy() {
    let folder = tempfile::tempdir().unwrap();
    let standard = Standard::reserve().unwrap();
    let caddy = Caddy::start(&standard).await.unwrap();
    let (directory, cacert) = (caddy.directory_url(), caddy.ca_file().to_str().unwrap().to_owned());
    let dns = standard.dns().to_string();
    let mut flags = vec!["--directory", &directory, "--cacert", &cacert, "--dns-listen", &dns];
    flags.extend(["--from", "2/s", "--to", "4/s", "--resolution", "50%"]);
    let found = short_search(folder.path(), &flags);
    assert!(found["knee"].is_null() || found["knee"].as_f64() >= Some(2.0), "{found}");
    assert!(crate::common::chain(&found["summary"], "certificate").0 > 0, "{}", found["summary"]["chains"]);
}
