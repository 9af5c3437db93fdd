//! `wec report` and `wec compare` on the logs of real runs.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use wec_testbed::{Pebble, PebbleOptions};

use crate::common::{NullCa, run, said};

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

    // One row for each chain and endpoint, and one of all requests below each table.
    let csv = report(&["--csv"]);
    let endpoints = summary["endpoints"].as_array().unwrap().len();
    assert_eq!(csv.lines().count(), 1 + 5 + 1 + endpoints + 1, "{csv}");
    assert!(csv.lines().last().unwrap().contains(&format!(",all requests,,,{requests},")), "{csv}");

    let count_of = |text: &str| {
        let (_, count) = text.split_once("Total count    =").unwrap();
        count.split(']').next().unwrap().trim().parse::<u64>().unwrap()
    };
    assert_eq!(count_of(&report(&["--hdr"])), summary["response_time_ns"]["n"]);
    let chain = report(&["--hdr", "--chain", "registration"]);
    assert_eq!(count_of(&chain), summary["chains"]["registration"]["response_time_ns"]["n"]);
    assert!(chain.starts_with("#[Response times of chain registration, in milliseconds]"), "{chain}");
    let order = report(&["--hdr", "--endpoint", "newOrder"]);
    assert!(count_of(&order) > 0);
    let output = run(folder.path(), &["report", &log, "--hdr", "--endpoint", "neworder"]);
    assert!(
        said(&output).contains("there are newNonce") || said(&output).contains("there are "),
        "{}",
        said(&output)
    );

    for by in ["scenario", "profile", "challenge-type", "chain", "endpoint"] {
        let rows: Value = serde_json::from_str(&report(&["--by", by, "--json"])).unwrap();
        let counts = rows["rows"].as_array().unwrap().iter().filter(|row| row["name"] != "all requests");
        let count: u64 = counts.map(|row| row["count"].as_u64().unwrap()).sum();
        let chains = summary["chains"].as_object().unwrap().values();
        let all: u64 = chains.map(|chain| chain["count"].as_u64().unwrap()).sum();
        assert_eq!(count, if by == "endpoint" { requests } else { all }, "{rows}");
        assert!(report(&["--by", by]).starts_with(by));
    }
}

/// HdrHistogram's own library counts the same requests, from the CSV of the log.
#[tokio::test(flavor = "multi_thread")]
async fn percentile_output_is_what_hdrhistogram_counts() {
    let folder = tempfile::tempdir().unwrap();
    let log = pebble_run(folder.path()).await;
    printed(folder.path(), &["convert", &log, "-o", "requests.csv", "--csv", "requests"]);
    std::fs::write(folder.path().join("all.hgrm"), printed(folder.path(), &["report", &log, "--hdr"]))
        .unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wec/hdr.py");
    let mut python = Command::new(wec_testbed::python().unwrap());
    python.arg(script).args(["requests.csv", "all.hgrm"]).current_dir(folder.path());
    let output = python.output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let checked = String::from_utf8(output.stdout).unwrap();
    let summary: Value = serde_json::from_str(&printed(folder.path(), &["report", &log, "--json"])).unwrap();
    assert!(
        checked.trim_end().ends_with(&format!(" {} requests", summary["response_time_ns"]["n"])),
        "{checked}"
    );
}

/// A run of the null CA with this delay of each answer; its log is in a folder of its own.
fn null_ca_run(folder: &Path, name: &str, latency: &str) -> String {
    null_ca_run_with(folder, name, latency, &[]);
    log_in(&folder.join(name))
}

/// The same with more flags.
fn null_ca_run_with(folder: &Path, name: &str, latency: &str, flags: &[&str]) {
    let folder = folder.join(name);
    std::fs::create_dir(&folder).unwrap();
    let ca = NullCa::start(&folder, &["--latency", latency]);
    let mut args = vec!["run", "--headless", "--iterations", "300", "--workers", "8"];
    args.extend(["--http01-listen", "127.0.0.1:0"]);
    args.extend(ca.target());
    args.extend(flags);
    printed(&folder, &args);
}

#[test]
fn a_slower_ca_is_a_regression_and_the_same_ca_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let [a, b] = ["a", "b"].map(|name| null_ca_run(folder, name, "20ms"));
    let slow = null_ca_run(folder, "slow", "100ms");
    // A busy machine adds to the latencies of both.
    let [more, much_more] = ["30%", "100%"].map(|change| {
        ["requests{p(50)}", "requests{endpoint=newOrder}{avg}"].map(|metric| format!("{metric} +{change}"))
    });
    let judged = |[first, second]: &[String; 2], args: &[&str]| {
        run(folder, &[&["compare"], args, &["--fail-if", first, "--fail-if", second]].concat())
    };
    let compare = |args: &[&str]| judged(&more, args);

    let same = judged(&much_more, &[&a, &b]);
    let text = String::from_utf8_lossy(&same.stdout).into_owned();
    assert_eq!(same.status.code(), Some(0), "{text}{}", said(&same));
    assert!(text.contains("held") && text.contains("no difference shown"), "{text}");

    let worse = compare(&[&a, &slow]);
    let text = String::from_utf8_lossy(&worse.stdout).into_owned();
    assert_eq!(worse.status.code(), Some(99), "{text}");
    assert!(text.contains("FAILED     requests{p(50)} +30%") && text.contains("WORSE"), "{text}");
    // Faster is no regression.
    assert_eq!(compare(&[&slow, &a]).status.code(), Some(0));

    // A baseline compares as its log, and is small.
    assert_eq!(printed(folder, &["report", &a, "--baseline", "a.json"]), "");
    assert!(std::fs::metadata(folder.join("a.json")).unwrap().len() < 64_000);
    assert_eq!(compare(&["a.json", &slow]).stdout, worse.stdout);

    // Several runs are pooled, and their spread counts.
    let pooled = compare(&[&a, &b, "--with", &slow, "--json"]);
    let json: Value = serde_json::from_slice(&pooled.stdout).unwrap();
    assert_eq!((json["before"].as_array().unwrap().len(), json["rules"].as_array().unwrap().len()), (2, 2));
    let markdown = compare(&[&a, &slow, "--markdown"]);
    assert_eq!(markdown.status.code(), Some(99));
    let markdown = String::from_utf8_lossy(&markdown.stdout).into_owned();
    assert!(markdown.contains("- **FAILED** `requests{p(50)} +30%`: +"), "{markdown}");

    let output = run(folder, &["compare", &a]);
    assert!(said(&output).contains("expected two runs, got 1"), "{}", said(&output));
    let output = run(folder, &["compare", &a, &b, "--fail-if", "chain{failed} +1%"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("write +1pp"), "{}", said(&output));
    let output = run(folder, &["compare", &a, &b, "--fail-if", "requests{endpoint=keyChange}{avg} +10%"]);
    let told = said(&output);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{told}");
    assert!(told.contains("no run has a row of this metric: there are chain."), "{told}");
    assert!(told.contains("requests{endpoint=newOrder,method=POST}"), "{told}");
}

#[test]
fn the_first_file_of_a_rotated_log_stands_for_its_run() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // A file is looked at each time it is flushed, so the run lasts for many flushes.
    null_ca_run_with(folder, "rotated", "20ms", &["--log-rotate-size", "100K"]);
    let files = std::fs::read_dir(folder.join("rotated/results")).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path().to_str().unwrap().to_owned()).collect();
    // RUN.jsonl is shorter than RUN.2.jsonl.
    files.sort_by_key(|file| (file.len(), file.clone()));
    assert!(files.len() > 2, "{files:?}");
    let files: Vec<_> = files.iter().map(String::as_str).collect();
    let requests = |logs: &[&str]| {
        let output = run(folder, &[&["report", "--json", "--strict"], logs].concat());
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
        (summary["requests"].as_u64().unwrap(), said(&output).contains("note: "))
    };
    let all = requests(&files).0;
    assert_eq!(requests(&files[..1]), (all, true), "the first file stands for all");
    assert!(requests_of_part(folder, files[1]) < all, "a further file stands for itself");

    let other = null_ca_run(folder, "other", "1ms");
    let compared = run(folder, &[&["compare"], &files[..], &[&other]].concat());
    assert_eq!(compared.status.code(), Some(0), "{}", said(&compared));
    // Half of a log shows no regression, and is no proof that there is none.
    let text = std::fs::read_to_string(&other).unwrap();
    let half: String = text.split_inclusive('\n').take(text.lines().count() / 2).collect();
    std::fs::write(folder.join("half.jsonl"), half).unwrap();
    let strict = run(folder, &["compare", files[0], "half.jsonl", "--strict"]);
    assert_eq!(strict.status.code(), Some(1), "{}", said(&strict));
    assert!(said(&strict).contains("--strict does not allow"), "{}", said(&strict));
}

/// The requests of one file of a rotated log.
fn requests_of_part(folder: &Path, file: &str) -> u64 {
    let summary: Value = serde_json::from_str(&printed(folder, &["report", "--json", file])).unwrap();
    summary["requests"].as_u64().unwrap()
}

#[test]
fn a_report_by_the_index_is_that_of_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let log = null_ca_run(folder.path(), "run", "1ms");
    let log = Path::new(&log);
    let report = |args: &[&str]| {
        let output = run(folder.path(), &[&["report", log.to_str().unwrap()], args].concat());
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", said(&output));
        let from_index = said(&output).contains("note: the figures are from the index");
        (String::from_utf8(output.stdout).unwrap(), from_index)
    };
    let forms: [&[&str]; 3] = [&[], &["--json"], &["--csv"]];
    let of_log = forms.map(report);
    assert!(of_log.iter().all(|(_, from_index)| !from_index));
    let id = log.file_stem().unwrap().to_str().unwrap();
    wec_analytics::write_index(log.parent().unwrap(), id).unwrap();
    assert_eq!(forms.map(report), of_log.map(|(text, _)| (text, true)));
    // Other forms, and --strict, read the log.
    for args in [&["--strict"][..], &["--by", "chain"], &["--from", "0s"]] {
        assert!(!report(args).1, "{args:?}");
    }

    // Of another log it is not taken.
    let mut file = std::fs::OpenOptions::new().append(true).open(log).unwrap();
    writeln!(file, "no record").unwrap();
    let output = run(folder.path(), &["report", log.to_str().unwrap()]);
    let told = said(&output);
    assert!(told.contains("is not a record") && !told.contains("from the index"), "{told}");
}

/// The run's own summary and that of its log leave out the same results, which are in the log.
#[test]
fn a_warm_up_is_left_out_live_and_from_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let ca = NullCa::start(folder.path(), &[]);
    let mut args = vec!["run", "--headless", "--rate", "20/s", "--spacing", "even", "--run-time", "3s"];
    args.extend(["--warm-up", "1s", "--state", "sqlite::memory:", "--http01-listen", "127.0.0.1:0"]);
    args.extend(["--threshold", "chain{failed} < 100%", "--json", "live.json"]);
    args.extend(ca.target());
    let told = printed(folder.path(), &args);
    assert!(told.contains("Without the first 1.00 s of the run, its warm-up"), "{told}");
    let live: Value =
        serde_json::from_str(&std::fs::read_to_string(folder.path().join("live.json")).unwrap()).unwrap();
    let log = log_in(folder.path());
    let again: Value = serde_json::from_str(&printed(folder.path(), &["report", &log, "--json"])).unwrap();
    assert_eq!(live, again);
    // What ended from then on is also what a part of the run has.
    let part = ["report", &log, "--json", "--from", "1s"];
    let part: Value = serde_json::from_str(&printed(folder.path(), &part)).unwrap();
    for key in ["requests", "elapsed_ns", "issued", "endpoints", "response_time_ns"] {
        assert_eq!(live[key], part[key], "{key}");
    }
    let all = ["report", &log, "--json", "--from", "0s"];
    let all: Value = serde_json::from_str(&printed(folder.path(), &all)).unwrap();
    assert!(all["requests"].as_u64() > live["requests"].as_u64(), "{all}");
    assert_eq!(live["run"]["stamp"]["scenario"]["warm_up"], "1s");
    let marks = live["marks"].as_array().unwrap();
    assert!(marks.iter().any(|mark| mark["what"] == "warm-up"), "{marks:?}");
    let html = printed(folder.path(), &["report", &log, "--html", "-"]);
    assert!(html.contains("class=\"warm\"") && html.contains("are warm-up and in no figure"), "{html}");
    let wrong = run(
        folder.path(),
        &["run", "--warm-up", "1m", "--run-time", "30s", "--directory", "http://127.0.0.1:1/dir"],
    );
    let told = said(&wrong);
    assert!(
        wrong.status.code() == Some(2) && told.contains("--warm-up: 1m is not shorter than the run, 30s"),
        "{told}"
    );
}
