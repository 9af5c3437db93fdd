//! Runs against a CA with faults: failures have the right class, and the run continues.

use std::collections::BTreeSet;

use serde_json::Value;
use wec_record::{Chain, ChainResult, FailureClass};

/// Runs against a null CA with these flags until a few chains have had the fault (`met`) and many have not. The
/// CA answers the other requests normally.
fn run_with_faults(flags: &[&str], more: &[&str], met: impl Fn(&ChainResult) -> bool) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let ca = crate::common::NullCa::start(folder.path(), flags);
    let mut args = vec!["run", "--headless", "--workers", "8", "--http01-listen", "127.0.0.1:0"];
    args.extend(["--json", "summary.json"]);
    args.extend(ca.target());
    args.extend(more);
    let output = crate::common::run_until(folder.path(), &args, |log| {
        let results = crate::common::results(log);
        let good =
            |chain| results.clone().filter(|result| result.chain == Some(chain) && result.successful).count();
        results.clone().filter(|result| met(result)).count() >= 3
            && good(Chain::Authorization) >= 40
            && good(Chain::Certificate) >= 20
    });
    assert_eq!(output.status.code(), Some(105), "{}", crate::common::said(&output));
    crate::common::summary(folder.path())
}

fn failed(result: &ChainResult) -> bool {
    result.chain == Some(Chain::Authorization) && !result.successful
}

/// Classes of failed requests of one endpoint.
fn classes(summary: &Value, endpoint: &str) -> BTreeSet<String> {
    let failures = summary["failures"].as_array().unwrap();
    let of_endpoint =
        failures.iter().filter(|failure| failure["scope"] == "request" && failure["name"] == endpoint);
    of_endpoint.map(|failure| failure["class"].as_str().unwrap().to_owned()).collect()
}

fn the_run_goes_on(summary: &Value) {
    let (authorizations, failed) = crate::common::chain(summary, "authorization");
    assert!(failed > 0, "no chain has failed: {}", summary["failures"]);
    assert!(authorizations > failed, "too few chains succeeded");
    assert!(crate::common::chain(summary, "certificate").0 > 0, "no certificate chain ran");
}

#[test]
fn server_errors() {
    let summary = run_with_faults(&["--fault", "newOrder=500:0.3"], &[], failed);
    the_run_goes_on(&summary);
    assert_eq!(classes(&summary, "newOrder"), ["server-error".to_owned()].into());
}

#[test]
fn rate_limits_are_waited_for_and_counted() {
    let summary = run_with_faults(&["--fault", "newOrder=429:0.2", "--retry-after", "0"], &[], |result| {
        result.requests.iter().any(|request| request.class == Some(FailureClass::RateLimited))
    });
    assert_eq!(classes(&summary, "newOrder"), ["rate-limited".to_owned()].into());
    assert!(summary["retries"].as_u64() > Some(0));
    assert!(crate::common::chain(&summary, "certificate").0 > 0);
}

#[test]
fn html_instead_of_a_problem() {
    let summary = run_with_faults(&["--fault", "newOrder=html503:0.3"], &[], failed);
    the_run_goes_on(&summary);
    assert_eq!(
        classes(&summary, "newOrder"),
        ["server-error".to_owned()].into(),
        "the status is kept although the body is not JSON"
    );
    assert!(summary["failures"].as_array().unwrap().iter().any(|failure| failure["status"] == 503));
}

#[test]
fn truncated_json() {
    let summary = run_with_faults(&["--fault", "newOrder=truncated:0.3"], &[], failed);
    the_run_goes_on(&summary);
    // The CA has made the renewal's order although its answer was cut, so later renewals may fail with
    // alreadyReplaced.
    let classes = summary["chains"]["authorization"]["classes"].as_object().unwrap();
    assert_eq!(classes.keys().collect::<Vec<_>>(), ["malformed"]);
}

#[test]
fn resets() {
    let summary = run_with_faults(&["--fault", "newOrder=reset:0.3"], &[], failed);
    the_run_goes_on(&summary);
    assert_eq!(classes(&summary, "newOrder"), ["reset".to_owned()].into());
}

#[test]
fn silence() {
    let summary = run_with_faults(&["--fault", "newOrder=silence:0.1"], &["--request-timeout", "2s"], failed);
    the_run_goes_on(&summary);
    assert_eq!(classes(&summary, "newOrder"), ["timeout".to_owned()].into());
}

#[test]
fn certificates_that_are_wrong() {
    let flags = ["--wrong-certificate", "name:0.3", "--wrong-certificate", "serial:0.1"];
    let summary = run_with_faults(&flags, &[], |result| result.class == Some(FailureClass::WrongCertificate));
    let wrong = summary["chains"]["certificate"]["classes"]["wrong-certificate"].as_u64();
    assert!(wrong > Some(0), "{}", summary["chains"]["certificate"]);
    let (count, failed) = crate::common::chain(&summary, "certificate");
    assert!(count > failed);
    // Each kind of flaw is a separate row with its own example.
    let failures = summary["failures"].as_array().unwrap();
    let example = |kind: &str| {
        let is = |failure: &&Value| failure["scope"] == "chain" && failure["detail"] == kind;
        failures.iter().find(is).map(|failure| failure["example"].as_str().unwrap().to_owned())
    };
    assert!(example("names").is_some_and(|example| example.contains("its names are")), "{failures:?}");
    assert!(example("signature").is_none());
}

#[test]
fn a_run_at_a_ca_where_all_fails_fails_and_has_a_summary() {
    let folder = tempfile::tempdir().unwrap();
    let ca = crate::common::NullCa::start(folder.path(), &["--fault", "newAccount=500:1"]);
    let mut args = vec![
        "run",
        "--headless",
        "--workers",
        "2",
        "--run-time",
        "5s",
        "--http01-listen",
        "127.0.0.1:0",
        "--json",
        "summary.json",
    ];
    args.extend(ca.target());
    let output = crate::common::run(folder.path(), &args);
    assert_eq!(output.status.code(), Some(99), "{}", crate::common::said(&output));
    assert!(crate::common::said(&output).contains("nothing succeeded"));
    let (count, failed) = crate::common::chain(&crate::common::summary(folder.path()), "registration");
    assert!(count > 0 && count == failed);
}
