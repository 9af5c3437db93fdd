//! The parts of chains' times in the summary, and a CA that stops answering.

use std::time::Duration;

use wec_record::{Chain, Record};

const SECOND: u64 = 1_000_000_000;

#[test]
fn the_summary_counts_waits_that_the_ca_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--processing", "1ms", "--retry-after", "3", "--validation-delay", "1ms"];
    let ca = crate::common::NullCa::start(folder.path(), &flags);
    let mut args = vec!["run", "--headless", "--workers", "8", "--http01-listen", "127.0.0.1:0"];
    args.extend(["--json", "summary.json"]);
    args.extend(ca.target());
    crate::common::run_until(folder.path(), &args, |log| {
        crate::common::results(log).filter(|result| result.chain == Some(Chain::Certificate)).count() >= 5
    });
    let summary = crate::common::summary(folder.path());
    let chain = &summary["chains"]["certificate"];
    let mean = |part: &str| chain["time"][part]["mean"].as_u64().unwrap();
    assert!(mean("asked_ns") >= 3 * SECOND, "{chain}");
    assert_eq!(mean("polls_ns"), 0, "{chain}");
    assert!(mean("requests_ns") > 0, "{chain}");
    let parts = ["requests_ns", "connecting_ns", "asked_ns", "polls_ns", "keys_ns", "own_ns"];
    let whole = chain["service_time_ns"]["mean"].as_u64().unwrap();
    // Each mean is rounded down to a nanosecond.
    assert!(whole.abs_diff(parts.map(mean).iter().sum()) <= parts.len() as u64, "{chain}");
    let validations = summary["validations"].as_array().unwrap();
    assert!(!validations.is_empty() && validations[0]["count"].as_u64() > Some(0), "{validations:?}");
}

#[test]
fn a_ca_that_stops_answering_is_reported_and_so_is_its_return() {
    let folder = tempfile::tempdir().unwrap();
    let ca = crate::common::NullCa::start(folder.path(), &[]);
    let mut args = vec!["run", "--headless", "--workers", "4", "--http01-listen", "127.0.0.1:0"];
    args.extend(["--think-time", "100ms", "--json", "summary.json"]);
    args.extend(ca.target());
    let turned = |log: &[Record]| {
        let marks = log.iter().filter_map(|record| match record {
            Record::Load { load, .. } => load.ca.turned,
            _ => None,
        });
        marks.collect::<Vec<_>>()
    };
    let logs = folder.path().join("results");
    let stalled = std::thread::scope(|scope| {
        scope.spawn(|| {
            crate::common::until("chains end", || crate::common::chains_in(&logs) >= 10);
            // Longer than the ten seconds plus the second in which it is reported.
            ca.stall(Duration::from_secs(14));
        });
        crate::common::run_until(folder.path(), &args, |log| turned(log).len() >= 2)
    });
    let said = crate::common::said(&stalled);
    assert!(said.contains("no answer from the CA for 1"), "{said}");
    assert!(said.contains("requests are in flight"), "{said}");
    assert!(said.contains("the CA answers again"), "{said}");
    let summary = crate::common::summary(folder.path());
    let marks = summary["marks"].as_array().unwrap();
    let answers: Vec<_> = marks.iter().filter(|mark| mark["what"] == "answers").collect();
    assert_eq!(answers.len(), 2, "{marks:?}");
    assert!(answers[0]["to"].as_str().unwrap().starts_with("none for 1"), "{marks:?}");
}
