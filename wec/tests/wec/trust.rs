//! Figures and exit codes of runs against CAs that fail are correct.

use std::process::Stdio;

use serde_json::Value;
use wec_testbed::{Pebble, PebbleOptions};

use crate::common::ONLY_REGISTRATIONS;

fn sum(summary: &Value, endpoint: &str, key: &str) -> u64 {
    let endpoints = summary["endpoints"].as_array().unwrap().iter();
    endpoints.filter(|one| one["endpoint"] == endpoint).map(|one| one[key].as_u64().unwrap()).sum()
}

/// Number of an endpoint's requests that the CA certainly processed, and of those with an unknown outcome.
fn known_and_unknown(summary: &Value, endpoint: &str) -> (u64, u64) {
    let known = ["failed", "cut_off"]
        .iter()
        .fold(sum(summary, endpoint, "count"), |left, key| left - sum(summary, endpoint, key));
    (known, sum(summary, endpoint, "outcome_unknown"))
}

/// The CA is killed during the run, with requests in flight: its own count is between the successful requests
/// and the sum of these and the unknown ones.
#[test]
fn a_killed_cas_counts_are_between_the_known_and_the_known_plus_unknown_requests() {
    let folder = tempfile::tempdir().unwrap();
    // Answers take so long that some requests are in flight whenever the CA is killed.
    let slow =
        ["--latency", "newOrder=100ms", "--latency", "finalize=100ms", "--latency", "newAccount=100ms"];
    let ca = crate::common::NullCa::start(folder.path(), &slow);
    let mut args = vec!["run", "--headless", "--workers", "16", "--run-time", "10m", "--graceful-stop", "1s"];
    args.extend(["--http01-listen", "127.0.0.1:0", "--json", "summary.json"]);
    args.extend(ca.target());
    let run =
        crate::common::wec(folder.path(), &args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let run = crate::common::Running(Some(run));
    crate::common::until("many chains have ended", || crate::common::chains_in_logs(folder.path()) > 200);
    let counts = ca.stop();
    let before = crate::common::chains_in_logs(folder.path());
    crate::common::until("chains have failed since", || {
        crate::common::chains_in_logs(folder.path()) > before + 16
    });
    run.interrupt();

    let summary = crate::common::summary(folder.path());
    let mut unknown_in_all = 0;
    for (endpoint, made) in [("newAccount", "accounts"), ("newOrder", "orders"), ("finalize", "certificates")]
    {
        let (known, unknown) = known_and_unknown(&summary, endpoint);
        let own = counts[made].as_u64().unwrap();
        println!("{endpoint}: known {known}, unknown {unknown}, the CA's own {own}");
        assert!(
            known > 0 && (known..=known + unknown).contains(&own),
            "{endpoint}: {known} + {unknown}, {own}: {counts}"
        );
        unknown_in_all += unknown;
    }
    assert!(unknown_in_all > 0, "{summary}");
    let issued = &summary["issued"];
    assert_eq!(
        issued["count"], issued["response_time_ns"]["n"],
        "this process measured all parts of each issuance"
    );
    assert!(issued["count"].as_u64().unwrap() > 0);
}

/// The same for an independent CA: Pebble, killed during the run, and the counts in its own log.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_pebbles_counts_are_between_the_known_and_the_known_plus_unknown_requests() {
    let folder = tempfile::tempdir().unwrap();
    let http01 = wec_testbed::free_address();
    let options = PebbleOptions { http_port: http01.port(), always_valid: true, ..PebbleOptions::default() };
    let mut pebble = Pebble::start(options).await.unwrap();
    let (directory, root) = (pebble.directory_url(), pebble.ca_file().display().to_string());
    // Two workers: with more requests in flight Pebble 2.4 deadlocks sooner or later.
    let mut args = vec!["run", "--headless", "--workers", "2", "--run-time", "10m", "--graceful-stop", "1s"];
    args.extend(["--directory", &directory, "--cacert", &root, "--json", "summary.json"]);
    let http01 = http01.to_string();
    args.extend(["--http01-listen", &http01, "--request-timeout", "5s"]);
    let run =
        crate::common::wec(folder.path(), &args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let run = crate::common::Running(Some(run));
    crate::common::until("many chains have ended", || crate::common::chains_in_logs(folder.path()) > 200);
    pebble.process().kill().unwrap();
    let log = pebble.process().log();
    let before = crate::common::chains_in_logs(folder.path());
    crate::common::until("chains have failed since", || {
        crate::common::chains_in_logs(folder.path()) > before + 4
    });
    run.interrupt();

    let summary = crate::common::summary(folder.path());
    let said = |words: &str| log.lines().filter(|line| line.contains(words)).count() as u64;
    for (endpoint, words) in [
        ("newAccount", "accounts in memory"),
        ("newOrder", "to the db"),
        ("finalize", "Issued certificate serial"),
    ] {
        let (known, unknown) = known_and_unknown(&summary, endpoint);
        let own = said(words);
        println!("{endpoint}: known {known}, unknown {unknown}, Pebble's own {own}");
        // Pebble answers finalize before it issues, so only a downloaded certificate is certainly issued.
        let least = if endpoint == "finalize" { known_and_unknown(&summary, "certificate").0 } else { known };
        assert!(
            least > 0 && (least..=known + unknown).contains(&own),
            "{endpoint}: {least} of {known} + {unknown}, {own}:\n{}",
            log.lines().take(60).collect::<Vec<_>>().join("\n")
        );
    }
}

/// The last sample's rates are those of a load that has already ended.
#[test]
fn a_summarys_rates_are_those_of_the_whole_run() {
    let folder = tempfile::tempdir().unwrap();
    let ca = crate::common::NullCa::start(folder.path(), &[]);
    let only = &*ONLY_REGISTRATIONS;
    let mut args = vec!["run", "--headless", "--rate", "20/s", "--run-time", "5s", "--weight", only];
    args.extend(["--http01-listen", "127.0.0.1:0", "--json", "summary.json"]);
    args.extend(ca.target());
    let output = crate::common::run(folder.path(), &args);
    assert_eq!(output.status.code(), Some(0), "{}", crate::common::said(&output));
    let summary = crate::common::summary(folder.path());
    let scenario = &summary["scenarios"]["default"];
    let figure = |key: &str| scenario[key].as_f64().unwrap();
    assert!(figure("active_ns") >= 4.9e9, "{scenario}");
    for (key, count) in [("rate_target", "asked"), ("rate", "ended")] {
        let mean = figure(count) * 1e9 / figure("active_ns");
        assert!(mean > 0.0 && (figure(key) - mean).abs() < 0.01, "{key}: {scenario}");
    }
}

/// Every validation fails. Such a run once exited with 0 and showed the reason only in the summary.
#[test]
fn a_run_without_one_authorization_fails_and_says_why_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let ca = crate::common::NullCa::start(folder.path(), &["--validation-failures", "100%"]);
    let mut args = vec!["run", "--headless", "--workers", "4", "--iterations", "60", "--run-time", "5m"];
    args.extend(["--http01-listen", "127.0.0.1:0", "--json", "summary.json", "--junit", "junit.xml"]);
    args.extend(ca.target());
    let output = crate::common::run(folder.path(), &args);
    let said = crate::common::said(&output);
    assert_eq!(output.status.code(), Some(99), "{said}");
    let why = "the authorization chain never succeeded: ";
    assert!(said.contains(&format!("error: {why}")), "{said}");
    let summary = crate::common::summary(folder.path());
    assert_eq!(summary["never_succeeded"][0]["chain"], "authorization", "{summary}");
    assert!(std::fs::read_to_string(folder.path().join("junit.xml")).unwrap().contains(why));
    assert_eq!(summary["issued"]["count"], 0);
}

/// The first error that repeats is reported once during the run, with its remedy.
#[test]
fn an_error_that_repeats_is_reported_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let ca = crate::common::NullCa::start(folder.path(), &["--validation-failures", "100%"]);
    let mut args = vec!["run", "--headless", "--workers", "2", "--run-time", "10m", "--graceful-stop", "1s"];
    args.extend(["--http01-listen", "127.0.0.1:0", "--json", "summary.json"]);
    args.extend(ca.target());
    let output = crate::common::wec(folder.path(), &args)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut run = crate::common::Running(Some(output));
    let stderr = run.0.as_mut().unwrap().stderr.take().unwrap();
    let (heard, hearing) = crate::common::hear(std::io::BufReader::new(stderr));
    let told = || heard.lock().unwrap().matches("authorization has failed ").count();
    crate::common::until("the error is reported", || told() > 0);
    run.interrupt();
    hearing.join().unwrap();
    assert_eq!(told(), 1);
    assert!(heard.lock().unwrap().contains("--http01-listen"), "{}", heard.lock().unwrap());

    // What is warned of is in the log, too.
    let summary = crate::common::summary(folder.path());
    let of = |warning: &&serde_json::Value| {
        warning["text"].as_str().is_some_and(|text| text.contains("authorization has failed"))
    };
    let warning = summary["warnings"].as_array().unwrap().iter().find(of).expect("a warning");
    assert_eq!((&warning["level"], &warning["count"]), (&"warn".into(), &1.into()), "{warning}");
    let log = std::fs::read_dir(folder.path().join("results")).unwrap().next().unwrap().unwrap().path();
    let report = crate::common::run(folder.path(), &["report", log.to_str().unwrap()]);
    let report = String::from_utf8_lossy(&report.stdout).into_owned();
    assert!(report.contains("Warnings:\n  1 × warn, first after"), "{report}");
    let check = crate::common::run(folder.path(), &["log", "check", log.to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&check.stdout).contains("  event "));
}

#[test]
fn a_challtestsrv_that_does_not_answer_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let ca = crate::common::NullCa::start(folder.path(), &[]);
    for flag in ["--challenges", "--dns-challenges"] {
        let nobody = format!("challtestsrv+http://user:hunter2@{}", crate::common::free());
        let mut args =
            vec!["run", "--headless", "--run-time", "5s", "--http01-listen", "127.0.0.1:0", flag, &nobody];
        if flag == "--challenges" {
            args.drain(4..6);
        }
        args.extend(ca.target());
        let output = crate::common::run(folder.path(), &args);
        let said = crate::common::said(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains(&format!("{flag} challtestsrv+http://"))
                && said.contains("start it, or give its address")
                && !said.contains("hunter2"),
            "{said}"
        );
        assert!(
            !folder.path().join("results").exists()
                || std::fs::read_dir(folder.path().join("results")).unwrap().count() == 0
        );
    }
}
