//! The log of a run in each format, its files, and conversions between them.

use std::path::Path;

use serde_json::Value;

use crate::common::{NullCa, run, said, summary};

/// A run of this many chains. Its summary.
fn run_with(folder: &Path, iterations: &str, flags: &[&str]) -> Value {
    let ca = NullCa::start(folder, &[]);
    let mut args = vec!["run", "--headless", "--json", "summary.json", "--state", "sqlite::memory:"];
    args.extend([
        "--http01-listen",
        "127.0.0.1:0",
        "--run-time",
        "5m",
        "--workers",
        "20",
        "--iterations",
        iterations,
    ]);
    args.extend(ca.target());
    args.extend(flags);
    let output = run(folder, &args);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    summary(folder)
}

/// The files of the run's log, by name.
fn logs(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder.join("results")).unwrap();
    let mut logs: Vec<_> = files.map(|file| file.unwrap().path().display().to_string()).collect();
    logs.sort();
    logs
}

fn wec(folder: &Path, args: &[&str]) -> String {
    let output = run(folder, args);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_rotated_compressed_binary_log_is_the_log_of_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let flags = ["--log-format", "binary-zstd", "--log-rotate-size", "64K"];
    let summary = run_with(folder, "12000", &flags);
    let mut files = logs(folder);
    assert!(files.len() > 1 && files.iter().all(|file| file.ends_with(".wecb.zst")), "{files:?}");
    files.reverse();
    let mut args = vec!["report", "--strict", "--json"];
    args.extend(files.iter().map(String::as_str));
    let mut reported: Value = serde_json::from_str(&wec(folder, &args)).unwrap();
    let mut summary = summary;
    // Whole figures, except where the machine's own state is.
    for value in [&mut reported, &mut summary] {
        value.as_object_mut().unwrap().remove("log");
    }
    assert_eq!(reported["chains"], summary["chains"]);
    assert_eq!(reported["endpoints"], summary["endpoints"]);
    args[0] = "log";
    args[1] = "check";
    wec(folder, &args);
}

#[test]
fn each_format_is_converted_to_each_other_and_to_tables() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    run_with(folder, "3000", &[]);
    let log = logs(folder).remove(0);
    let text = std::fs::read_to_string(&log).unwrap();
    let mut from = log;
    let mut sizes = Vec::new();
    for name in ["a.jsonl.zst", "b.wecb", "c.wecb.zst", "d.jsonl"] {
        wec(folder, &["convert", "--strict", &from, "-o", name]);
        from = name.to_owned();
        sizes.push(std::fs::metadata(folder.join(name)).unwrap().len());
    }
    assert!(std::fs::read_to_string(folder.join("d.jsonl")).unwrap() == text);
    let requests =
        wec(folder, &["convert", "c.wecb.zst", "-o", "-", "--csv", "requests"]).lines().count() - 1;
    let per_request: Vec<_> = sizes.iter().map(|size| *size as f64 / requests as f64).collect();
    println!("bytes for a request: {per_request:.1?} of {requests}");
    // A run of a second has many ids and few repetitions; docs/log.md has the figures of longer ones.
    let [json_zstd, binary, binary_zstd, json] = per_request[..] else { panic!("four formats") };
    assert!(json_zstd < json / 5.0 && binary < json / 8.0 && binary_zstd < json / 12.0, "{per_request:?}");
    let chains = wec(folder, &["convert", "a.jsonl.zst", "-o", "-", "--csv", "chains"]);
    assert!(chains.starts_with("node,seq,worker,chain,"), "{chains}");
    assert_eq!(chains.lines().count(), 3_001);
}

#[test]
fn convert_overwrites_nothing_and_reports_what_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let line = r#"{"chainname":"NewRegistrationChain","chaintook":12,"individualresults":[{"uri":"/acme/new-reg"}]}"#;
    std::fs::write(folder.join("seed.json"), format!("{line}\nnotes\n{line}\n")).unwrap();
    std::fs::write(folder.join("there.wecb"), "mine").unwrap();
    let convert = |args: &[&str]| {
        let output = run(folder, &[&["convert", "seed.json", "-o"], args].concat());
        (output.status.code(), said(&output))
    };
    let (code, told) = convert(&["there.wecb"]);
    assert!(code == Some(1) && told.contains("there.wecb exists"), "{told}");
    let (code, told) = convert(&["there.wecb", "--force", "--strict"]);
    assert!(code == Some(1) && told.contains("line 2 (byte 98)"), "{told}");
    assert_eq!(std::fs::read_to_string(folder.join("there.wecb")).unwrap(), "mine");
    let (code, told) = convert(&["there.wecb", "--force"]);
    assert!(code == Some(0) && told.contains("line 2 (byte 98)"), "{told}");
    let back = wec(folder, &["convert", "there.wecb", "-o", "-", "--format", "json"]);
    assert_eq!(back, format!("{line}\n{line}\n"));
    let (code, told) = convert(&["there.txt"]);
    assert!(code != Some(0) && told.contains("does not decide the format"), "{told}");
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 2, "no unfinished file is left");
}

#[test]
fn a_report_replaces_no_log_and_shows_no_control_characters_of_one() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    run_with(folder, "20", &[]);
    let log = logs(folder).remove(0);
    let written = std::fs::read_to_string(&log).unwrap();
    std::os::unix::fs::symlink(&log, folder.join("link.html")).unwrap();
    for output in [&["--html", "link.html"], &["--baseline", log.as_str()]] {
        let output = run(folder, &[&["report", log.as_str()], &output[..]].concat());
        assert!(
            output.status.code() == Some(1) && said(&output).contains("name another file"),
            "{}",
            said(&output)
        );
    }
    assert_eq!(std::fs::read_to_string(&log).unwrap(), written);
    std::fs::write(&log, written.replacen("\"program\":\"", "\"program\":\"\\u001b[31m\\n", 1)).unwrap();
    let told = wec(folder, &["log", "check", &log]);
    assert!(told.contains(r"of \u001b[31m\n") && !told.contains('\u{1b}'), "{told}");
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = crate::common::wec(folder, &["report", &log, "--csv"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
}

/// 2 is wrong use, whatever the files have; 1 is a file that cannot be used.
#[test]
fn commands_that_read_logs_end_with_the_documented_codes() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let line = r#"{"chainname":"NewRegistrationChain","chaintook":12,"individualresults":[{"uri":"/acme/new-reg"}]}"#;
    std::fs::write(folder.join("seed.jsonl"), format!("{line}\n{line}\n")).unwrap();
    std::fs::write(folder.join("damaged.jsonl"), format!("{line}\nnotes\n{line}\n")).unwrap();
    std::fs::write(folder.join("base.json"), "{\"format\":\"wec-baseline\",\"version\":1,\n\"rows\":[\n]}\n")
        .unwrap();
    std::os::unix::fs::symlink("seed.jsonl", folder.join("link.jsonl")).unwrap();
    let influx = "http://127.0.0.1:9";
    for (args, code, why) in [
        ("report seed.jsonl", 0, ""),
        ("report seed.jsonl --from 5s --to 3s", 2, "--from 5s is not before --to 3s"),
        ("report seed.jsonl --html - --baseline -", 2, "--html and --baseline both write to standard output"),
        ("report seed.jsonl --html - --csv", 2, "--html and --csv both write to standard output"),
        ("report seed.jsonl --baseline - --by chain", 2, "--baseline and --by both write to standard output"),
        ("report base.json", 1, "compare it with wec compare"),
        ("report missing.jsonl", 1, "cannot open the log missing.jsonl"),
        ("report - -", 1, "standard input (-) is named 2 times, and can be read once"),
        ("report damaged.jsonl --strict", 1, "the log is not complete"),
        ("compare seed.jsonl", 2, "expected two runs, got 1"),
        ("compare seed.jsonl seed.jsonl --fail-if chain{avg}-10%", 2, "write METRIC +CHANGE"),
        ("compare seed.jsonl missing.jsonl", 1, "cannot read missing.jsonl"),
        ("convert seed.jsonl -o there", 2, "does not decide the format"),
        ("convert seed.jsonl -o link.jsonl --force", 1, "name another file"),
        ("convert seed.jsonl -o seed.jsonl --force --csv chains", 1, "name another file"),
        ("convert damaged.jsonl -o - --format json --strict", 1, "line 2 (byte 98)"),
        ("log check seed.jsonl", 0, ""),
        ("log check damaged.jsonl", 1, ""),
        ("replay seed.jsonl --speed 0.5", 2, "is not a number from 1 to 1000"),
        ("replay missing.jsonl", 1, "cannot open the log missing.jsonl"),
        ("replay seed.jsonl --drive http://127.0.0.1:9/dir --json seed.jsonl", 1, "name another file"),
        ("serve missing", 1, "missing is not a folder"),
        ("export influx seed.jsonl", 2, "a database is required"),
        (&format!("export influx seed.jsonl --influx {influx}"), 1, "the log has no header"),
    ] {
        let output = run(folder, &args.split(' ').collect::<Vec<_>>());
        let told = said(&output);
        assert!(
            output.status.code() == Some(code) && told.contains(why),
            "{args}: {:?} {told}",
            output.status
        );
        assert!(
            code == 0 || args.starts_with("log") || output.stdout.is_empty(),
            "{args}: it writes before it refuses"
        );
    }
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 4, "no other file is left");
    assert!(std::fs::read_to_string(folder.join("seed.jsonl")).unwrap().starts_with(line));
}
