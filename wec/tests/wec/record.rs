//! The log of a run after its end.

use std::collections::BTreeSet;
use std::io::{BufRead as _, Read as _};
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use wec_record::{Chain, KINDS};
use wec_testbed::{Pebble, PebbleOptions};

use crate::common::{Run, said, summary, wec};

/// The only log in the folder.
fn log_in(folder: &Path) -> String {
    let log = std::fs::read_dir(folder.join("results")).unwrap().next().unwrap().unwrap().path();
    log.to_str().unwrap().to_owned()
}

/// Starts `wec serve results`; knows its page's address.
fn serve(folder: &Path) -> Run {
    let args = ["serve", "results", "--listen", "127.0.0.1:0"];
    let mut child = wec(folder, &args).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let (_, address) = line.split_once("http://").unwrap_or_else(|| panic!("no page: {line:?}"));
    let page = address.split('/').next().unwrap().to_owned();
    Run::unheard(child, page)
}

/// Checks that every line of the log is valid by `docs/log.schema.json` and has only keys that the schema describes.
fn assert_described(log: &str) {
    let schema = include_str!("../../../docs/log.schema.json");
    let schema: Value = serde_json::from_str(schema).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let mut described = BTreeSet::new();
    properties(&schema, &mut described);
    // Keys of maps: weights by chain, counts by kind of record.
    described.extend(Chain::ALL.map(|chain| chain.name().to_owned()));
    described.extend(KINDS.map(str::to_owned));
    let mut kinds = BTreeSet::new();
    for line in std::fs::read_to_string(log).unwrap().lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        let errors: Vec<_> = validator.iter_errors(&record).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}: {line}");
        let mut used = BTreeSet::new();
        keys(&record, &mut used);
        assert!(used.is_subset(&described), "{:?}: {line}", used.difference(&described));
        kinds.insert(record["record"].as_str().unwrap().to_owned());
        // The schema refuses a value of a wrong type, and accepts an unknown kind.
        for (key, wrong) in
            [("record", Value::from(7)), ("record", Value::from("chain ")), ("seq", "1".into())]
        {
            let mut record = record.clone();
            record.as_object_mut().unwrap().insert(key.into(), wrong.clone());
            let of_later_kind = wrong == "chain ";
            let numbered = key != "seq" || record.get("node").is_some();
            assert_eq!(validator.is_valid(&record), of_later_kind || !numbered, "{record}");
        }
    }
    for kind in ["header", "chain", "state", "load", "footer"] {
        assert!(kinds.contains(kind), "{kind} is not in {kinds:?}");
    }
}

/// Names of all properties that a schema describes.
fn properties(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Object(properties)) = object.get("properties") {
                found.extend(properties.keys().cloned());
            }
            object.values().for_each(|value| properties(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| properties(value, found)),
        _ => {}
    }
}

fn keys(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => object.iter().for_each(|(key, value)| {
            found.insert(key.clone());
            keys(value, found);
        }),
        Value::Array(values) => values.iter().for_each(|value| keys(value, found)),
        _ => {}
    }
}

/// Against a real CA: what the run printed equals what its log gives later, digit for digit.
#[tokio::test(flavor = "multi_thread")]
async fn a_report_equals_the_summary_of_the_run_and_the_log_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let pebble =
        Pebble::start(PebbleOptions { always_valid: true, ..PebbleOptions::default() }).await.unwrap();
    let directory = pebble.directory_url();
    let cacert = pebble.ca_file().to_str().unwrap().to_owned();
    let mut args =
        vec!["run", "--directory", &directory, "--cacert", &cacert, "--headless", "--workers", "2"];
    args.extend(["--iterations", "12", "--json", "summary.json", "--weight", "registration=1"]);
    args.extend(["--threshold", "chain{failed} < 100%", "--http01-listen", "127.0.0.1:0"]);
    let output = crate::common::run(folder.path(), &args);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let table = String::from_utf8(output.stdout).unwrap();
    let log = log_in(folder.path());

    assert_described(&log);

    let report = crate::common::run(folder.path(), &["report", &log]);
    assert_eq!(report.status.code(), Some(0), "{}", said(&report));
    let reported = String::from_utf8(report.stdout).unwrap();
    assert_eq!(reported.trim_end(), table.split("\nlog: ").next().unwrap().trim_end());
    let json = crate::common::run(folder.path(), &["report", "--strict", "--json", &log]);
    assert_eq!(serde_json::from_slice::<Value>(&json.stdout).unwrap(), summary(folder.path()));

    let check = crate::common::run(folder.path(), &["log", "check", &log]);
    let text = String::from_utf8(check.stdout).unwrap();
    assert_eq!(check.status.code(), Some(0), "{text}");
    assert!(text.contains(": whole\n") && text.contains(", passed\n"), "{text}");

    let served = serve(folder.path());
    let (_, runs) = served.http("GET /api/v1/runs", "");
    let run = &runs["runs"][0];
    assert_eq!(
        (&run["live"], &run["outcome"]["passed"]),
        (&Value::Bool(false), &Value::Bool(true)),
        "{runs}"
    );
    let path = format!("GET /api/v1/runs/{}/snapshot", run["id"].as_str().unwrap());
    assert_eq!(served.http(&path, "").1["snapshot"], summary(folder.path()));
}

#[test]
fn a_log_that_is_not_whole_is_reported_with_a_warning_and_refused_with_strict() {
    let folder = tempfile::tempdir().unwrap();
    let ca = crate::common::NullCa::start(folder.path(), &[]);
    let flags = ["--headless", "--workers", "1", "--iterations", "5", "--weight", "registration=1"];
    let listen = ["--http01-listen", "127.0.0.1:0"];
    let output = crate::common::run(folder.path(), &[&["run"], &ca.target()[..], &flags, &listen].concat());
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let log = log_in(folder.path());
    let text = std::fs::read_to_string(&log).unwrap();
    std::fs::write(&log, text.replacen("\"record\":\"chain\"", "\"record\":\"ch", 1)).unwrap();

    let check = crate::common::run(folder.path(), &["log", "check", "--json", &log]);
    assert_eq!(check.status.code(), Some(1), "{}", said(&check));
    let found: Value = serde_json::from_slice(&check.stdout).unwrap();
    assert_eq!((&found["damaged_lines"], &found["records"]["chain"]), (&Value::from(1), &Value::from(4)));
    let strict = crate::common::run(folder.path(), &["report", "--strict", &log]);
    assert_eq!(strict.status.code(), Some(1));
    assert!(said(&strict).contains("is not complete") && strict.stdout.is_empty(), "{}", said(&strict));
    let report = crate::common::run(folder.path(), &["report", &log]);
    assert_eq!(report.status.code(), Some(0));
    assert!(
        said(&report).contains("warning: ") && said(&report).contains("is not a record"),
        "{}",
        said(&report)
    );
}

/// The run's verdict is the exit code of the process, also when the page stays open afterwards.
#[test]
fn a_page_stays_until_a_signal_and_the_exit_code_is_the_runs_verdict() {
    for (threshold, code) in [("chain{count} > 0", 0), ("chain{count} < 1", 99)] {
        let folder = tempfile::tempdir().unwrap();
        let ca = crate::common::NullCa::start(folder.path(), &[]);
        let mut args = vec!["run", "--listen", "127.0.0.1:0", "--http01-listen", "127.0.0.1:0"];
        args.extend(["--run-time", "2s", "--json", "summary.json", "--keep-page", "on"]);
        args.extend(["--weight", "registration=1", "--threshold", threshold, "--page-host", "load.test"]);
        args.extend(ca.target());
        let mut run = Run::of(folder.path(), &args);
        let by_name = |run: &Run, host| {
            let mut answer = String::new();
            crate::common::get_by_name(&run.page, host, "/api/v1/runs").read_to_string(&mut answer).unwrap();
            answer
        };
        assert!(by_name(&run, "load.test").starts_with("HTTP/1.0 200 "));
        run.until_says("the page stays at http://");
        let (status, shown) = run.http("GET /api/v1/runs/current/snapshot", "");
        assert_eq!((status, &shown["snapshot"]), (200, &summary(folder.path())));
        assert!(by_name(&run, "load.test").starts_with("HTTP/1.0 200 "));
        assert!(by_name(&run, "other.test").contains("start the program with --page-host other.test"));
        // Prometheus reads the last figures.
        let scraped = crate::common::text(&run.page, "/metrics");
        let registrations = shown["snapshot"]["chains"]["registration"]["count"].as_u64().unwrap();
        let ended = format!("wec_chains_total{{chain=\"registration\"}} {registrations}.0\n");
        assert!(registrations > 0 && scraped.contains(&ended), "{scraped}");
        crate::common::signal(&run.child, "-INT");
        assert_eq!(run.child.wait().unwrap().code(), Some(code), "{threshold}");
    }
}
