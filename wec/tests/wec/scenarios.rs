//! Runs the shipped examples and the short commands with smaller times, rates and numbers of workers, and no other
//! change.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;
use wec_record::{Chain, ChainResult, Record};

/// The results of one shipped example.
struct Left {
    summary: Value,
    log: Vec<Record>,
    ca: Value,
}

/// Runs the example of this name with these parts of its text replaced; the run must pass.
fn example(name: &str, smaller: &[(&str, &str)]) -> Left {
    example_by(name, &["run"], smaller)
}

/// The same with another command or with flags.
fn example_by(name: &str, command: &[&str], smaller: &[(&str, &str)]) -> Left {
    let folder = tempfile::tempdir().unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/scenarios").join(name);
    let mut text = fs::read_to_string(shipped).unwrap();
    for (from, to) in smaller {
        assert!(text.contains(from), "{name} has no {from}");
        text = text.replace(from, to);
    }
    fs::write(folder.path().join(name), text).unwrap();
    let ca = crate::common::NullCa::start(folder.path(), &["--latency", "1ms..5ms"]);
    let mut args = command.to_vec();
    args.extend(["--config", name, "--headless", "--http01-listen", "127.0.0.1:0", "--json", "summary.json"]);
    args.extend(ca.target());
    let output = crate::common::run(folder.path(), &args);
    assert_eq!(output.status.code(), Some(0), "{name}: {}", crate::common::said(&output));
    Left {
        summary: crate::common::summary(folder.path()),
        log: crate::common::log(folder.path()),
        ca: ca.stop(),
    }
}

impl Left {
    fn count(&self, scenario: &str, key: &str) -> u64 {
        let figures = &self.summary["scenarios"][scenario];
        figures[key].as_u64().unwrap_or_else(|| panic!("{key} is no count in {figures}"))
    }

    /// The most workers that were alive at once, by the log's samples.
    fn most_workers(&self) -> u64 {
        let samples = self.log.iter().filter_map(|record| match record {
            Record::Load { load, .. } => load.scenarios.iter().map(|scenario| scenario.workers).max(),
            _ => None,
        });
        samples.max().unwrap()
    }

    /// The results of each scenario by its worker numbers: each scenario has a million of them.
    fn by_scenario(&self) -> Vec<Vec<&ChainResult>> {
        let mut scenarios: BTreeMap<u32, Vec<&ChainResult>> = BTreeMap::new();
        for result in crate::common::results(&self.log) {
            scenarios.entry(result.worker / 1_000_000).or_default().push(result);
        }
        scenarios.into_values().collect()
    }
}

#[test]
fn every_example_has_its_test() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/scenarios");
    let shipped =
        fs::read_dir(shipped).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let this = include_str!("scenarios.rs");
    let tested = |name: &String| {
        ["example(", "example_by("].iter().any(|by| this.contains(&format!("{by}\"{name}\"")))
    };
    let untested: Vec<_> = shipped.filter(|name| !tested(name)).collect();
    assert!(untested.is_empty(), "{untested:?}");
}

#[test]
fn smoke_runs_its_hundred_chains() {
    let left = example("smoke.toml", &[]);
    assert_eq!((left.count("default", "ended"), left.most_workers()), (100, 2));
}

#[test]
fn ramp_grows_to_its_last_number_of_workers() {
    let smaller =
        [("\"1h\"", "\"3s\""), ("\"10m\"", "\"3s\""), ("= 5000", "= 30"), ("1s..3s", "100ms..300ms")];
    let left = example("ramp.toml", &smaller);
    assert_eq!(left.most_workers(), 30);
    let first = crate::common::results(&left.log).map(|result| result.started).min().unwrap();
    let early = crate::common::results(&left.log).filter(|result| result.started < first + 100_000_000);
    assert!(early.map(|result| result.worker).max().unwrap() < 20, "the ramp did not begin with ten workers");
}

#[test]
fn step_load_starts_what_its_steps_add_up_to() {
    let times = [("\"2m\"", "\"1s\""), ("\"30s\"", "\"1s\"")];
    let rates = [("\"10/s\"", "\"5/s\""), ("\"50/s\"", "\"10/s\""), ("\"100/s\"", "\"20/s\"")];
    // In this order, so that no new rate is replaced again.
    let left = example("step-load.toml", &[&times[..], &[rates[0], rates[1], rates[2]]].concat());
    // 5 + 7½ + 10 + 15 + 20 = 57.5, so 58 are due.
    assert_eq!(left.count("default", "due"), 58);
    assert_eq!(left.count("default", "started") + left.count("default", "dropped"), 58);
}

#[test]
fn issuance_rate_issues() {
    let left = example("issuance-rate.toml", &[("\"200/s\"", "\"20/s\""), ("\"10m\"", "\"6s\"")]);
    assert!(left.ca["certificates"].as_u64() > Some(0), "{}", left.ca);
    assert_eq!(left.summary["chains"]["revoke"]["count"].as_u64().unwrap_or_default(), 0);
}

#[test]
fn all_but_issuance_never_asks_for_a_certificate_and_holds_its_thresholds() {
    let smaller = [
        ("\"50/s\"", "\"15/s\""),
        ("\"10m\"", "\"6s\""),
        // The thresholds are replaced by bounds that a busy machine keeps.
        ("{p(99)} < 2s", "{p(50)} < 60s"),
        ("> 0.98 over 1m abort after 2m", "> 0.5"),
    ];
    let left = example("all-but-issuance.toml", &smaller);
    assert_eq!(left.ca["certificates"], 0);
    assert!(left.ca["orders"].as_u64() > Some(10), "{}", left.ca);
    assert_eq!(left.summary["thresholds"].as_array().unwrap().len(), 3);
}

#[test]
fn target_rps_makes_requests() {
    let left = example("target-rps.toml", &[("= 500", "= 50"), ("\"5m\"", "\"6s\"")]);
    assert!(left.count("default", "requests") > 100, "{}", left.summary["scenarios"]);
    assert!(left.most_workers() <= 400);
}

#[test]
fn renewal_storm_runs_two_loads_side_by_side_and_one_after_them() {
    let smaller = [
        ("\"10m\"", "\"8s\""),
        ("\"3m\"", "\"3s\""),
        ("\"30s\"", "\"1s\""),
        ("\"2m\"", "\"2s\""),
        ("\"200/s\"", "\"20/s\""),
        ("= 500\n", "= 3\n"),
    ];
    let left = example("renewal-storm.toml", &smaller);
    assert_eq!(left.count("clean-up", "ended"), 3);
    let scenarios = left.by_scenario();
    let only = |chain| {
        let of = scenarios.iter().find(|results| results.iter().all(|result| result.chain == Some(chain)));
        of.unwrap_or_else(|| panic!("no scenario of {chain} alone"))
    };
    let (storm, clean_up) = (only(Chain::Refresh), only(Chain::Revoke));
    let everyday = scenarios.iter().max_by_key(|results| results.len()).unwrap();
    assert_eq!((scenarios.len(), clean_up.len()), (3, 3));
    let first = |results: &[&ChainResult]| results.iter().map(|result| result.started).min().unwrap();
    let last = |results: &[&ChainResult]| results.iter().map(|result| result.done).max().unwrap();
    assert!(
        first(storm) >= first(everyday) + 2_000_000_000,
        "the storm must begin two seconds after the everyday load"
    );
    assert!(first(storm) < last(everyday), "the storm must run beside the everyday load");
    assert!(first(clean_up) >= last(everyday), "the clean-up must begin after the everyday load has ended");
}

#[test]
fn capacity_serves_a_search_and_a_run() {
    let smaller = [
        ("\"5/s\"", "\"4/s\"\nto = \"8/s\""),
        ("\"5s..60s\"", "\"3s..9s\""),
        ("\"30s\"", "\"3s\""),
        ("\"2m\"", "\"2s\""),
        // With bounds that a busy machine keeps.
        ("{p(95)} < 2s", "{p(50)} < 60s"),
        ("workers = 2000", "workers = 200\nlimited_lag = \"10m\"\nlimited_cpu = \"100%\""),
    ];
    let search = example_by("capacity.toml", &["capacity"], &smaller).summary;
    assert_eq!(search["search"]["from"], 4.0);
    assert_eq!(search["criteria"].as_array().unwrap().len(), 2);
    assert!(search["knee"].as_f64() >= Some(4.0), "{search}");
    let run = example_by("capacity.toml", &["run", "--rate", "10/s", "--run-time", "3s"], &smaller);
    assert!(run.count("default", "due") > 0, "{}", run.summary["scenarios"]);
}

/// Runs a short command; returns its iterations and its changes of workers.
fn short_command(words: &[&str]) -> (u64, Vec<(String, String)>) {
    let folder = tempfile::tempdir().unwrap();
    let ca = crate::common::NullCa::start(folder.path(), &["--latency", "1ms..5ms"]);
    let mut args = words.to_vec();
    args.extend(["--headless", "--http01-listen", "127.0.0.1:0", "--json", "summary.json"]);
    args.extend(ca.target());
    let output = crate::common::run(folder.path(), &args);
    assert_eq!(output.status.code(), Some(0), "{words:?}: {}", crate::common::said(&output));
    let left = Left {
        summary: crate::common::summary(folder.path()),
        log: crate::common::log(folder.path()),
        ca: ca.stop(),
    };
    let marks = crate::common::marks(folder.path()).into_iter();
    let marks = marks.filter(|(_, what, ..)| what == "workers").map(|(by, _, _, to)| (by, to));
    (left.most_workers(), marks.collect())
}

fn steps(steps: &[(&str, u32)]) -> Vec<(String, String)> {
    steps.iter().map(|(by, to)| ((*by).to_owned(), to.to_string())).collect()
}

#[test]
fn hammer_keeps_its_number_of_workers() {
    assert_eq!(short_command(&["hammer", "3", "--run-time", "4s"]), (3, steps(&[("cli", 3)])));
}

#[test]
fn seq_takes_its_numbers_in_turn() {
    let expected = (5, steps(&[("cli", 2), ("schedule", 5), ("schedule", 1)]));
    assert_eq!(short_command(&["seq", "3s", "2", "5", "1"]), expected);
}

#[test]
fn aseq_rises_to_its_last_number() {
    let expected = (5, steps(&[("cli", 2), ("schedule", 4), ("schedule", 5)]));
    assert_eq!(short_command(&["aseq", "2", "5", "3s"]), expected);
}
