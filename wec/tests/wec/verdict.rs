//! Thresholds end to end: which pass, which fail, which end a run, and the files for pipelines.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use wec_testbed::{Pebble, PebbleOptions};

use crate::common::ONLY_REGISTRATIONS;

fn run(folder: &Path, target: &[&str], more: &[&str]) -> Output {
    let mut args = vec!["run", "--headless", "--http01-listen", "127.0.0.1:0", "--graceful-stop", "5s"];
    args.extend(["--json", "summary.json", "--junit", "junit.xml"]);
    args.extend(target);
    args.extend(more);
    crate::common::run(folder, &args)
}

/// Each threshold's expression and verdict in the summary.
fn passed(summary: &Value) -> Vec<(String, Option<bool>)> {
    let thresholds = summary["thresholds"].as_array().unwrap();
    let verdict = |one: &Value| (one["expression"].as_str().unwrap().to_owned(), one["passed"].as_bool());
    thresholds.iter().map(verdict).collect()
}

/// The test cases in the file by Python's XML parser: the name of each, with its failure or error.
fn junit(folder: &Path) -> Vec<String> {
    let script = "import sys, xml.etree.ElementTree as E\n\
        root = E.parse(sys.argv[1]).getroot()\n\
        assert root.tag == 'testsuites' and int(root.get('tests')) == len(list(root.iter('testcase')))\n\
        assert int(root.get('failures')) == len(list(root.iter('failure')))\n\
        for case in root.iter('testcase'):\n\
        \x20   wrong = [child.tag + ' ' + child.get('message') for child in case]\n\
        \x20   print(case.get('name'), '|', *wrong)\n";
    let output = Command::new("python3").args(["-c", script, "junit.xml"]).current_dir(folder).output();
    let output = output.expect("python3 is installed");
    assert!(output.status.success(), "{}", crate::common::said(&output));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn thresholds_decide_the_exit_code_and_are_in_all_outputs() {
    let folder = tempfile::tempdir().unwrap();
    let ca = crate::common::NullCa::start(folder.path(), &["--fault", "newOrder=500:0.5"]);
    let good = "requests{endpoint=newOrder,method=POST}{p(50)} < 20s";
    let windowed = "requests{rate} > 0.1/s over 2s";
    let load = ["--workers", "4", "--think-time", "20ms", "--run-time", "5s"];
    let holds = run(
        folder.path(),
        &ca.target(),
        &[&load[..], &["--threshold", good, "--threshold", windowed]].concat(),
    );
    assert_eq!(holds.status.code(), Some(0), "{}", crate::common::said(&holds));
    let summary = crate::common::summary(folder.path());
    assert_eq!(passed(&summary), [(good.to_owned(), Some(true)), (windowed.to_owned(), Some(true))]);
    assert!(summary["thresholds"][1]["windows"].as_u64() > Some(0));
    let table = String::from_utf8(holds.stdout).unwrap();
    assert!(table.contains(&format!("passed     {good}  ")), "{table}");
    assert_eq!(junit(folder.path()).len(), 3);

    // The same in a file, with one that fails and one without a value.
    let bad = "requests{endpoint=newOrder,method=POST}{failed} < 1%";
    let undecided = "rate{achieved/target} > 0.98";
    let list = format!("workers = 4\nrun_time = \"3s\"\nthresholds = [{good:?}, {bad:?}, {undecided:?}]\n");
    std::fs::write(folder.path().join("load.toml"), list).unwrap();
    let fails = run(folder.path(), &ca.target(), &["--config", "load.toml"]);
    let said = crate::common::said(&fails);
    assert_eq!(fails.status.code(), Some(99), "{said}");
    assert!(said.contains("2 of 3 thresholds did not hold"), "{said}");
    assert!(
        said.contains(&format!("FAILED {bad}: ")) && said.contains(&format!("UNDECIDED {undecided}: ")),
        "{said}"
    );
    let verdicts: Vec<_> =
        passed(&crate::common::summary(folder.path())).into_iter().map(|(_, passed)| passed).collect();
    assert_eq!(verdicts, [Some(true), Some(false), None]);
    let cases = junit(folder.path());
    assert!(cases[0].ends_with('|') && cases[1].ends_with('|'), "{cases:?}");
    assert!(cases[2].starts_with(&format!("{bad} | failure FAILED ")), "{cases:?}");
    assert!(cases[3].contains("failure UNDECIDED"), "{cases:?}");
}

#[test]
fn a_rate_that_is_not_reached_and_iterations_that_are_dropped_fail_a_run() {
    let only = &*ONLY_REGISTRATIONS;
    let thresholds = ["rate{achieved/target} > 0.7", "dropped < 1%"];
    // Four workers make two chains a second at a CA that takes two seconds.
    for (latency, workers, code, holds) in [("5ms", "900", 0, true), ("2s", "4", 99, false)] {
        let folder = tempfile::tempdir().unwrap();
        let ca =
            crate::common::NullCa::start(folder.path(), &["--latency", &format!("newAccount={latency}")]);
        let mut load = vec!["--rate", "20/s", "--workers", workers, "--run-time", "6s", "--weight", only];
        load.extend(thresholds.iter().flat_map(|threshold| ["--threshold", *threshold]));
        let output = run(folder.path(), &ca.target(), &load);
        let said = crate::common::said(&output);
        assert_eq!(output.status.code(), Some(code), "{latency}: {said}");
        let summary = crate::common::summary(folder.path());
        let expected = thresholds.map(|threshold| (threshold.to_owned(), Some(holds)));
        assert_eq!(passed(&summary), expected, "{}", summary["thresholds"]);
        let values =
            summary["thresholds"].as_array().unwrap().iter().map(|threshold| threshold["value"].as_f64());
        let [Some(rate), Some(dropped)] = values.collect::<Vec<_>>()[..] else { panic!("{summary}") };
        println!("CA of {latency}: achieved/target {rate}, dropped {dropped}");
        let scenario = &summary["scenarios"]["default"];
        let share =
            |of: &str, in_all: &str| scenario[of].as_f64().unwrap() / scenario[in_all].as_f64().unwrap();
        assert!((rate - share("ended", "asked")).abs() < 0.05, "{rate}: {scenario}");
        assert!((dropped - share("dropped", "due")).abs() < 1e-3, "{dropped}: {scenario}");
    }
}

/// Every fortieth answer takes nine seconds. One of them is in flight when the run time is over, and no other chain ends then.
#[test]
fn thresholds_do_not_judge_the_graceful_stop() {
    let folder = tempfile::tempdir().unwrap();
    let latency = format!("newAccount={}9s", "5ms,".repeat(39));
    let ca = crate::common::NullCa::start(folder.path(), &["--latency", &latency]);
    let only = &*ONLY_REGISTRATIONS;
    let steady = "chain{count} > 1 over 2s";
    let load = [
        "--rate",
        "20/s",
        "--spacing",
        "even",
        "--run-time",
        "6s",
        "--graceful-stop",
        "1m",
        "--weight",
        only,
    ];
    let run = [
        "run",
        "--headless",
        "--http01-listen",
        "127.0.0.1:0",
        "--json",
        "summary.json",
        "--threshold",
        steady,
    ];
    let output = crate::common::run(folder.path(), &[&run[..], &load, &ca.target()].concat());
    let summary = crate::common::summary(folder.path());
    let [last, end] = ["elapsed_ns", "at_unix_ns"].map(|key| summary[key].as_u64().unwrap());
    let stopped = summary["marks"].as_array().unwrap().iter().find(|mark| mark["to"] == "stopped").unwrap();
    let stopped = stopped["at_unix_ns"].as_u64().unwrap();
    assert!(end - stopped > 4_000_000_000, "the load ends {} ns before the run of {last} ns", end - stopped);
    assert_eq!(passed(&summary), [(steady.to_owned(), Some(true))], "{}", summary["thresholds"]);
    assert_eq!(output.status.code(), Some(0), "{}", crate::common::said(&output));
}

#[test]
fn a_threshold_that_aborts_ends_the_run_early_and_a_replay_agrees() {
    let folder = tempfile::tempdir().unwrap();
    let ca = crate::common::NullCa::start(folder.path(), &["--fault", "newOrder=500:0.9"]);
    let expression = "chain.authorization{failed} < 10% over 2s abort after 1s";
    // Without the threshold the run takes an hour.
    let more = [
        "--workers",
        "4",
        "--think-time",
        "20ms",
        "--run-time",
        "1h",
        "--threshold",
        expression,
        "--threshold",
        "chain{count} > 1",
    ];
    let output = run(folder.path(), &ca.target(), &more);
    let said = crate::common::said(&output);
    assert_eq!(output.status.code(), Some(99), "{said}");
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains(&format!("The run was ended early by {expression}")), "{table}");
    let summary = crate::common::summary(folder.path());
    assert_eq!(summary["thresholds"][0]["aborted"], true, "{}", summary["thresholds"]);
    assert_eq!(summary["thresholds"][1]["aborted"], false);
    let marks = summary["marks"].as_array().unwrap();
    let stops: Vec<_> = marks.iter().filter(|mark| mark["to"] == "stopped").map(|mark| &mark["by"]).collect();
    assert_eq!(stops, ["threshold"], "the run is stopped once, by the threshold");
    assert_eq!(
        summary["chains"]["authorization"]["classes"]["interrupted"],
        Value::Null,
        "chains were interrupted"
    );

    let log = std::fs::read_dir(folder.path().join("results")).unwrap().next().unwrap().unwrap().path();
    let replayed = wec_analytics::replay(&log).unwrap().snapshot();
    assert_eq!(serde_json::to_value(&replayed.thresholds).unwrap(), summary["thresholds"]);
}

#[test]
fn a_run_with_wrong_flags_replaces_an_earlier_runs_junit_file() {
    let folder = tempfile::tempdir().unwrap();
    for command in ["run", "capacity"] {
        std::fs::write(folder.path().join("junit.xml"), "<testsuites tests=\"0\" failures=\"0\"/>").unwrap();
        let args =
            [command, "--directory", "http://127.0.0.1:1/", "--threshold", "foo", "--junit", "junit.xml"];
        let output = crate::common::run(folder.path(), &args);
        assert_eq!(output.status.code(), Some(2), "{}", crate::common::said(&output));
        let cases = junit(folder.path());
        assert!(cases.len() == 1 && cases[0].contains("unknown metric \"foo\""), "{cases:?}");
    }
}

#[test]
fn a_run_that_could_not_start_is_an_error_in_junit() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("http://{}/dir", crate::common::free());
    let output = run(folder.path(), &["--directory", &url], &["--threshold", "chain{count} > 1"]);
    assert_eq!(output.status.code(), Some(1));
    let cases = junit(folder.path());
    assert!(cases.len() == 1 && cases[0].contains("| error ") && cases[0].contains(&url), "{cases:?}");
}

#[test]
fn errors_of_all_thresholds_are_reported_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let text = "directory = \"ca.test\"\n\nthresholds = [\"chain.certficate{p(99)} < 2s\", \"requests{endpoint=newOrder,x=1}{p(98)} < 2\"]\n";
    std::fs::write(folder.path().join("load.toml"), text).unwrap();
    let output = crate::common::run(
        folder.path(),
        &["run", "--headless", "--config", "load.toml", "--workers", "none"],
    );
    let said = crate::common::said(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    for part in [
        "load.toml:1: directory: \"ca.test\" is not a URL",
        "--workers: \"none\" is not a whole number",
        "load.toml:3: thresholds: \"chain.certficate{p(99)} < 2s\": at character 1: unknown metric \"chain.certficate\"; did you mean chain.certificate?",
        "at character 28: unknown selector \"x\"; known are endpoint, method, status; at character 33: unknown \"p(98)\"",
    ] {
        assert!(said.contains(part), "{part:?} is missing in:\n{said}");
    }
    let output = crate::common::run(
        folder.path(),
        &["run", "--directory", "http://127.0.0.1:1/", "--threshold", "dropped ~ 1%"],
    );
    assert!(
        crate::common::said(&output).contains("--threshold: \"dropped ~ 1%\": at character 9"),
        "{}",
        crate::common::said(&output)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thresholds_judge_a_run_against_pebble() {
    let folder = tempfile::tempdir().unwrap();
    // This test is about the verdict, so there are no validations.
    let options = PebbleOptions { always_valid: true, ..PebbleOptions::default() };
    let pebble = Pebble::start(options).await.unwrap();
    let directory = pebble.directory_url();
    let args = [
        "run",
        "--headless",
        "--insecure",
        "--directory",
        &directory,
        "--workers",
        "2",
        "--run-time",
        "6s",
        "--http01-listen",
        "127.0.0.1:0",
        "--json",
        "summary.json",
        "--threshold",
        "errors{class=wrong-certificate}{count} == 0",
        "--threshold",
        "chain{avg} < 1ns",
    ];
    let output = crate::common::run(folder.path(), &args);
    let said = crate::common::said(&output);
    assert_eq!(output.status.code(), Some(99), "{said}");
    let verdicts: Vec<_> =
        passed(&crate::common::summary(folder.path())).into_iter().map(|(_, passed)| passed).collect();
    assert_eq!(verdicts, [Some(true), Some(false)], "{said}");
}
