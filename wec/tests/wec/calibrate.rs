//! The highest load of a machine is measured once, stored, and shown with later runs.

use std::path::Path;
use std::process::Output;

use serde_json::Value;

fn wec(folder: &Path, args: &[&str]) -> Output {
    crate::common::wec(folder, args).env("XDG_STATE_HOME", folder).output().unwrap()
}

#[test]
fn a_calibration_is_stored_and_shown_with_later_runs_of_the_same_machine() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["calibrate", "--seconds", "1", "--max-workers", "40", "--json"];
    let mut measuring = crate::common::wec(folder.path(), &args);
    // Those of an agent's sessions, which have nothing to do with the measurement.
    measuring.envs([("WEC_CHALLENGES", "redis://127.0.0.1:1"), ("WEC_STATE", "postgres://127.0.0.1:1/none")]);
    let output = measuring.env("XDG_STATE_HOME", folder.path()).output().unwrap();
    let said = crate::common::said(&output);
    assert!(output.status.success(), "{said}");
    let measured: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(measured["chains_per_s"].as_f64().unwrap() > 0.0, "{measured}");
    assert!(measured["requests_per_s"].as_f64() > measured["chains_per_s"].as_f64(), "{measured}");
    assert!(measured["workers"].as_u64().unwrap() <= 40, "{measured}");
    assert!(said.contains("flat out, 16 workers") && said.contains("chains/s: "), "{said}");

    let file = folder.path().join("wec/calibration.json");
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(kept, measured);
    let shown = wec(folder.path(), &["calibrate", "--show"]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("flat out") && shown.contains("waiting"), "{shown}");

    let ca = crate::common::NullCa::start(folder.path(), &[]);
    let run = |into: &str| {
        let mut args =
            vec!["run", "--headless", "--workers", "2", "--run-time", "2s", "--json", "summary.json"];
        args.extend(["--http01-listen", "127.0.0.1:0", "--tlsalpn01-listen", "off", "--log-dir", into]);
        args.extend(ca.target());
        wec(folder.path(), &args)
    };
    let output = run("beside");
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(
        table.contains("Its ceiling, by wec calibrate on 20"),
        "{table}\n{}",
        crate::common::said(&output)
    );
    assert_eq!(crate::common::summary(folder.path())["run"]["stamp"]["calibration"], measured);

    let elsewhere = std::fs::read_to_string(&file).unwrap().replace("\"host\": \"", "\"host\": \"another-");
    std::fs::write(&file, elsewhere).unwrap();
    let output = run("without");
    assert!(
        output.status.success(),
        "a calibration of another machine does not prevent a run: {}",
        crate::common::said(&output)
    );
    assert!(
        crate::common::said(&output).contains("measured on \"another-"),
        "{}",
        crate::common::said(&output)
    );
    assert!(crate::common::summary(folder.path())["run"]["stamp"].get("calibration").is_none());
}

#[test]
fn without_a_calibration_the_message_names_the_command() {
    let folder = tempfile::tempdir().unwrap();
    let output = wec(folder.path(), &["calibrate", "--show"]);
    assert_eq!(output.status.code(), Some(1));
    let said = crate::common::said(&output);
    assert!(said.contains("there is no calibration in") && said.contains("run wec calibrate"), "{said}");
}
