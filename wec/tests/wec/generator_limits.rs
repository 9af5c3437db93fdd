//! A run that the load tester limited is marked in summary, log and table. Flags set the bounds, so that the tests
//! do not depend on the machine's speed.

use std::path::Path;
use std::process::Output;

use wec_record::{LimitKind, LoadSample, Record};

/// Bounds that no run exceeds.
const GENEROUS: [&str; 4] = ["--limited-lag", "10m", "--limited-cpu", "100%"];

fn run(folder: &Path, ca: &crate::common::NullCa, args: &[&str]) -> Output {
    let mut all = vec!["run", "--headless", "--http01-listen", "127.0.0.1:0", "--json", "summary.json"];
    all.extend(["--tlsalpn01-listen", "off"]);
    all.extend(ca.target());
    all.extend(args);
    crate::common::run(folder, &all)
}

fn loads(folder: &Path) -> Vec<LoadSample> {
    let log = crate::common::log(folder).into_iter();
    log.filter_map(|record| if let Record::Load { load, .. } = record { Some(load) } else { None }).collect()
}

#[test]
fn a_run_past_a_bound_is_marked_in_summary_log_and_table_and_strict_ends_with_108() {
    let folder = tempfile::tempdir().unwrap();
    let ca = crate::common::NullCa::start(folder.path(), &[]);
    // Any run uses more than a thousandth of a processor.
    let tiny = ["--limited-lag", "10m", "--limited-cpu", "0.1%"];
    let args = ["--workers", "4", "--think-time", "20ms", "--run-time", "7s", "--strict"];
    let output = run(folder.path(), &ca, &[&tiny[..], &args].concat());
    let said = crate::common::said(&output);
    assert_eq!(output.status.code(), Some(108), "{said}");
    assert!(said.contains("generator-limited: worker thread"), "{said}");
    assert!(said.contains("--strict"), "{said}");
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(table.contains("*** GENERATOR-LIMITED for"), "{table}");
    assert!(table.contains("Load tester was limited: lag"), "{table}");

    let summary = crate::common::summary(folder.path());
    let generator = &summary["generator"];
    assert_eq!(generator["limited"], true);
    assert!(generator["limited_ns"].as_u64().unwrap() >= 2_000_000_000, "{generator}");
    let causes = &generator["causes"];
    assert_eq!(causes["cap"]["limited_ns"], 0, "{causes}");
    let others = ["machine", "wec"].map(|cause| causes[cause]["limited_ns"].as_u64().unwrap());
    assert!(others.iter().sum::<u64>() >= 2_000_000_000, "{causes}");
    assert!(
        table.contains("kept this machine busy") || table.contains("wec itself was at its limit"),
        "{table}"
    );
    let reason = generator["limits"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("worker thread") && reason.contains("more machines"), "{reason}");
    let marks = summary["marks"].as_array().unwrap();
    assert!(marks.iter().any(|mark| mark["by"] == "generator" && mark["from"] == "keeps up"), "{marks:?}");

    let loads = loads(folder.path());
    assert!(loads.iter().any(|load| load.generator.turned == Some(true)));
    let last = loads.last().unwrap();
    let kinds: Vec<_> = last.generator.limits.iter().map(|limit| limit.what).collect();
    assert!(kinds.iter().all(|kind| matches!(kind, LimitKind::Cpu | LimitKind::Wait)), "{kinds:?}");
    assert!(loads.iter().map(|load| load.generator.lag.len()).sum::<usize>() > 0, "no lag was measured");
}

#[test]
fn dropped_iterations_are_counted_exactly_and_mark_the_run_without_failing_it() {
    let folder = tempfile::tempdir().unwrap();
    let ca = crate::common::NullCa::start(folder.path(), &["--latency", "200ms"]);
    // One worker can run at most five chains a second.
    let args = ["--rate", "50/s", "--spacing", "even", "--workers", "1", "--run-time", "6s"];
    let output = run(folder.path(), &ca, &[&GENEROUS[..], &args].concat());
    let said = crate::common::said(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("generator-limited: scenario default dropped up to"), "{said}");

    let summary = crate::common::summary(folder.path());
    let scenario = &summary["scenarios"]["default"];
    let count = |key: &str| scenario[key].as_u64().unwrap();
    assert_eq!(
        (scenario["executor"].as_str(), scenario["rate_unit"].as_str()),
        (Some("arrival-rate"), Some("chains"))
    );
    assert_eq!(count("due"), count("started") + count("dropped"));
    assert_eq!((count("due"), count("asked")), (300, 300), "{scenario}");
    assert!(count("dropped") > 200, "{scenario}");
    let generator = &summary["generator"];
    assert_eq!(generator["dropped"].as_u64(), Some(count("dropped")));
    let limits = generator["limits"].as_array().unwrap();
    let whats: Vec<_> = limits.iter().map(|limit| limit["what"].as_str().unwrap()).collect();
    assert_eq!(whats, ["dropped"], "{limits:?}");
}

#[test]
fn too_few_connections_are_a_cap_and_the_flag_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let ca = crate::common::NullCa::start(folder.path(), &["--latency", "100ms"]);
    let load = ["--workers", "40", "--run-time", "6s", "--weight", &crate::common::ONLY_REGISTRATIONS];
    let few = [&load[..], &["--threads", "1", "--max-connections", "2"]].concat();
    let output = run(folder.path(), &ca, &[&GENEROUS[..], &few].concat());
    let said = crate::common::said(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("raise --max-connections"), "{said}");
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(table.contains("a cap that you set limited the load"), "{table}");
    let generator = &crate::common::summary(folder.path())["generator"];
    let limit = &generator["limits"][0];
    assert_eq!((&limit["what"], &limit["cause"]), (&"connections".into(), &"cap".into()), "{generator}");
    assert!(limit["worst"].as_f64().unwrap() > 0.5, "38 of 40 requests wait: {limit}");
    assert!(generator["causes"]["cap"]["limited_ns"].as_u64().unwrap() > 0);
    for other in ["machine", "wec"] {
        assert_eq!(generator["causes"][other]["limited_ns"], 0, "{generator}");
    }
}

#[test]
fn a_small_run_within_wide_bounds_is_not_marked() {
    let folder = tempfile::tempdir().unwrap();
    let ca = crate::common::NullCa::start(folder.path(), &["--latency", "50ms"]);
    let args = ["--workers", "1", "--run-time", "5s", "--strict"];
    let output = run(folder.path(), &ca, &[&GENEROUS[..], &args].concat());
    assert_eq!(output.status.code(), Some(0), "{}", crate::common::said(&output));
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(table.contains("Load tester kept up: lag") && !table.contains("LIMITED"), "{table}");
    let summary = crate::common::summary(folder.path());
    assert_eq!(summary["generator"]["limited"], false);
    assert_eq!(summary["generator"]["limits"].as_array().unwrap().len(), 0);
    let scenario = &summary["scenarios"]["default"];
    assert_eq!(scenario["workers"], 0, "workers are left at the end");
    let (ended, chains) = (scenario["ended"].as_u64().unwrap(), summary["chains"].as_object().unwrap());
    assert_eq!(ended, chains.values().map(|chain| chain["count"].as_u64().unwrap()).sum::<u64>());
}

#[test]
fn a_short_run_that_dropped_most_iterations_fails_with_strict() {
    let folder = tempfile::tempdir().unwrap();
    let ca = crate::common::NullCa::start(folder.path(), &["--latency", "50ms"]);
    let args = ["--rate", "100/s", "--workers", "1", "--run-time", "2s", "--strict"];
    let output = run(folder.path(), &ca, &args);
    assert_eq!(output.status.code(), Some(108), "{}", crate::common::said(&output));
}

#[test]
fn all_invalid_bounds_are_reported_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let args =
        ["run", "--directory", "http://127.0.0.1:1/dir", "--limited-cpu", "0.9", "--limited-lag", "soon"];
    let output = crate::common::run(folder.path(), &args);
    assert_eq!(output.status.code(), Some(2));
    let said = crate::common::said(&output);
    assert!(said.contains("90%") && said.contains("\"0.9\"") && said.contains("\"soon\""), "{said}");
}
