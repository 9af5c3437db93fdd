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
    assert!(json_zstd < json / 5.0 && binary < json / 6.0 && binary_zstd < json / 12.0, "{per_request:?}");
    let chains = wec(folder, &["convert", "a.jsonl.zst", "-o", "-", "--csv", "chains"]);
    assert!(chains.starts_with("node,seq,worker,chain,"), "{chains}");
    assert_eq!(chains.lines().count(), 3_001);
}

#[test]
fn convert_overwrites_nothing_and_reports_what_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let line = SEED;
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

/// Files that the command wrote are written again, as each run of a pipeline does. Others need `--force`.
#[test]
fn a_report_replaces_reports_and_baselines_only() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("seed.jsonl"), format!("{SEED}\n")).unwrap();
    std::fs::write(folder.join("empty.html"), "").unwrap();
    for _ in 0..2 {
        wec(folder, &["report", "seed.jsonl", "--html", "run.html", "--baseline", "base.json"]);
    }
    wec(folder, &["report", "seed.jsonl", "--html", "empty.html"]);
    for swapped in [["--html", "base.json"], ["--baseline", "run.html"]] {
        let output = run(folder, &[&["report", "seed.jsonl"], &swapped[..]].concat());
        assert!(said(&output).contains("overwrite it with --force"), "{}", said(&output));
    }
    wec(folder, &["report", "seed.jsonl", "--html", "base.json", "--force"]);
    assert!(std::fs::read_to_string(folder.join("base.json")).unwrap().starts_with("<!doctype html>"));
}

/// The logs of a folder are of several runs: a whole one, one that was cut between two records, and a damaged one.
#[test]
fn a_folder_of_logs_is_checked_run_by_run() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    run_with(folder, "20", &[]);
    let log = logs(folder).remove(0);
    let text = std::fs::read_to_string(&log).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let (_, run_id) = lines[0].split_once("\"run\":\"").unwrap();
    let run_id = run_id.split('"').next().unwrap();
    let write = |name: &str, lines: &[&str]| {
        let text = lines.join("\n").replace(run_id, name) + "\n";
        std::fs::write(folder.join(format!("results/{name}.jsonl")), text).unwrap();
    };
    write("cut", &lines[..lines.len() - 1]);
    write("damaged", &[&lines[..3], &["{"], &lines[3..]].concat());
    std::fs::write(folder.join("results/notes"), "mine").unwrap();
    std::fs::write(folder.join(format!("results/{run_id}.note")), "a good run").unwrap();
    let check = |args: &[&str]| {
        let output = run(folder, &[&["log", "check"], args].concat());
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned() + &said(&output))
    };
    let (code, told) = check(&["results"]);
    assert_eq!(code, Some(1), "{told}");
    for part in [
        ".jsonl: whole\n",
        "results/cut.jsonl: without an end\n  results/cut.jsonl has no end, so results may be missing: ",
        "results/damaged.jsonl: NOT whole\n  results/damaged.jsonl, line 4 (byte ",
        "3 runs: 1 whole, 1 without an end, 1 NOT whole",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let (code, told) = check(&["--json", "results"]);
    let runs: Vec<Value> =
        serde_json::Deserializer::from_str(&told).into_iter().collect::<Result<_, _>>().unwrap();
    let found: Vec<_> = runs.iter().map(|run| (&run["whole"], &run["ended"])).collect();
    let (yes, no) = (&Value::Bool(true), &Value::Bool(false));
    assert_eq!((code, found), (Some(1), vec![(yes, yes), (no, no), (no, yes)]));
    // What a shell makes of results/*, with a log that cannot be read.
    let there = logs(folder);
    let (code, told) = check(&there.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(code == Some(1) && told.contains("4 runs: 1 whole") && told.contains("1 not read"), "{told}");
    assert!(told.contains("notes is not a log") && !told.contains(".note is"), "{told}");

    // Every command that counts the cut one tells about it.
    let cut = "results/cut.jsonl";
    for args in [
        &["report", cut][..],
        &["report", cut, "--baseline", "cut.json"],
        &["convert", cut, "-o", "cut.wecb"],
    ] {
        let output = run(folder, args);
        assert!(
            output.status.code() == Some(0)
                && said(&output).contains("warning: results/cut.jsonl has no end"),
            "{}",
            said(&output)
        );
        let strict = run(folder, &[args, &["--strict"]].concat());
        assert_eq!(strict.status.code(), Some(1), "{}", said(&strict));
        std::fs::remove_file(folder.join("cut.wecb")).unwrap_or_default();
    }
    let reported: Value = serde_json::from_str(&wec(folder, &["report", cut, "--json"])).unwrap();
    assert_eq!(reported["log"]["ended"], false);
    assert!(reported["log"]["problems"][0].as_str().unwrap().contains("has no end"), "{}", reported["log"]);
    let whole: Value = serde_json::from_str(&wec(folder, &["report", &log, "--json"])).unwrap();
    assert_eq!(whole["log"], Value::Null);
    let html = wec(folder, &["report", cut, "--html", "-"]);
    assert!(html.contains("The log is not complete: results/cut.jsonl has no end"), "{html}");
    for before in [cut, "cut.json"] {
        let told = wec(folder, &["compare", before, &log]);
        assert!(
            told.contains("Attention: the log of run cut is not complete: results/cut.jsonl has no end"),
            "{told}"
        );
    }
    std::fs::write(folder.join("ca.csv"), "serial\n").unwrap();
    let output = run(folder, &["reconcile", cut, "--ca-list", "ca.csv"]);
    assert!(said(&output).contains("warning: results/cut.jsonl has no end"), "{}", said(&output));
}

/// One line of the 2015 design.
const SEED: &str =
    r#"{"chainname":"NewRegistrationChain","chaintook":12,"individualresults":[{"uri":"/acme/new-reg"}]}"#;

/// 2 is wrong use, whatever the files have; 1 is a file that cannot be used.
#[test]
fn commands_that_read_logs_end_with_the_documented_codes() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let line = SEED;
    std::fs::write(folder.join("seed.jsonl"), format!("{line}\n{line}\n")).unwrap();
    std::fs::write(folder.join("damaged.jsonl"), format!("{line}\nnotes\n{line}\n")).unwrap();
    std::fs::write(folder.join("base.json"), "{\"format\":\"wec-baseline\",\"version\":1,\n\"rows\":[\n]}\n")
        .unwrap();
    std::os::unix::fs::symlink("seed.jsonl", folder.join("link.jsonl")).unwrap();
    std::fs::create_dir(folder.join("empty")).unwrap();
    std::fs::write(folder.join("page.html"), "<!doctype html>\n<title>mine</title>\n").unwrap();
    std::os::unix::fs::symlink("page.html", folder.join("link.html")).unwrap();
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
        ("log check empty", 1, "the folder empty has no logs"),
        ("report empty", 1, "show all of its runs with wec serve empty"),
        ("compare empty seed.jsonl", 1, "show all of its runs with wec serve empty"),
        ("reconcile empty --ca-list base.json", 1, "names no column"),
        ("report seed.jsonl --html base.json", 1, "base.json exists and is not a report of wec"),
        ("report seed.jsonl --baseline link.html", 1, "link.html exists and is not a baseline"),
        ("report seed.jsonl --html seed.jsonl --force", 1, "name another file"),
        ("replay seed.jsonl --speed 0.5", 2, "--speed 0.5 is not a number from 1 to 1000"),
        ("replay seed.jsonl --speed 5000", 2, "--speed 5000 is not a number from 1 to 1000"),
        ("replay seed.jsonl --speed fast", 2, "write 1 to 1000, or with --drive 0.001 to 1000"),
        (
            "replay seed.jsonl --drive http://127.0.0.1:9/dir --speed 5000",
            2,
            "--speed 5000 is not a number from 0.001 to 1000",
        ),
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
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 7, "no other file is left");
    assert!(std::fs::read_to_string(folder.join("seed.jsonl")).unwrap().starts_with(line));
}
