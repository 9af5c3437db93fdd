//! Signals and closed pipes: an interrupted run ends and keeps its results.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Stdio};

use wec_record::{Chain, FailureClass, MarkBy, MarkWhat, Record};

use crate::common::signal;

/// Starts it with its output piped.
fn spawn(folder: &Path, args: &[&str]) -> Child {
    crate::common::wec(folder, args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn is_stop_by_signal(record: &Record) -> bool {
    matches!(record, Record::Mark(mark) if mark.by == MarkBy::Signal && mark.what == MarkWhat::State)
}

#[test]
fn a_first_signal_lets_chains_finish_and_a_second_interrupts_them() {
    let folder = tempfile::tempdir().unwrap();
    let ca = crate::common::NullCa::start(folder.path(), &["--validation-delay", "60s"]);
    let mut args = vec!["run", "--headless", "--workers", "4", "--http01-listen", "127.0.0.1:0"];
    args.extend(["--limit-registrations", "1", "--graceful-stop", "60s", "--json", "summary.json"]);
    args.extend(ca.target());
    let mut run = spawn(folder.path(), &args);
    // The worker of this result continues with an authorization, which takes longer than the test.
    crate::common::until("the registration is in the log", || {
        crate::common::chains_in_logs(folder.path()) > 0
    });

    signal(&run, "-INT");
    // A load sample comes once a second. A run that had interrupted its chains would have ended before the second.
    crate::common::until("the run goes on after the first signal", || {
        let ended = run.try_wait().unwrap();
        assert_eq!(ended, None, "chains may end within graceful_stop");
        let log = crate::common::log_so_far(&folder.path().join("results"));
        let mut later = log.iter().skip_while(|record| !is_stop_by_signal(record));
        later.by_ref().filter(|record| matches!(record, Record::Load { .. })).count() >= 2
    });
    signal(&run, "-TERM");
    assert_eq!(run.wait().unwrap().code(), Some(105));

    let mut text = String::new();
    run.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(text.contains("INTERRUPTED: a partial run has no verdict"), "{text}");
    let summary = crate::common::summary(folder.path());
    let marks = summary["marks"].as_array().unwrap();
    assert!(marks.iter().any(|mark| mark["by"] == "signal" && mark["to"] == "stopped"), "{marks:?}");
    // Interrupted chains count neither as ended nor as failed.
    assert_eq!(crate::common::chain(&summary, "authorization"), (0, 0), "{summary}");
    let cut_off = summary["chains"]["authorization"]["cut_off"].as_u64().unwrap();
    assert!(cut_off > 0, "{summary}");
    assert_eq!(summary["failures"].as_array().unwrap().len(), 0, "{summary}");
    assert!(text.contains(" cut off"), "{text}");
    let log = crate::common::log(folder.path());
    let results = crate::common::results(&log);
    let cut = results.clone().filter(|result| result.class == Some(FailureClass::Interrupted));
    assert_eq!(cut.clone().count() as u64, cut_off, "each interrupted chain has its result");
    assert!(cut.clone().all(|result| result.chain == Some(Chain::Authorization)));
    assert!(
        cut.clone().all(|result| !result.requests.is_empty()),
        "the result has the requests that were sent"
    );
    assert_eq!(results.count() as u64, cut_off + 1);
}

#[test]
fn a_start_that_hangs_ends_with_a_signal_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let directory = format!("http://{}/dir", silent.local_addr().unwrap());
    let mut run = spawn(
        folder.path(),
        &["run", "--directory", &directory, "--http01-listen", "127.0.0.1:0", "--headless"],
    );
    let (_asked_and_never_answered, _) = silent.accept().unwrap();
    signal(&run, "-INT");
    assert_eq!(run.wait().unwrap().code(), Some(105));
    let mut said = String::new();
    run.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "interrupted before the run began\n");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_closed_pipe_does_not_end_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let ca = crate::common::NullCa::start(folder.path(), &[]);
    // Longer than the time to the first line of progress.
    let mut args = vec!["run", "--headless", "--workers", "2", "--think-time", "20ms", "--run-time", "8s"];
    args.extend(["--http01-listen", "127.0.0.1:0", "--json", "summary.json"]);
    args.extend(ca.target());
    let mut run = spawn(folder.path(), &args);
    drop(run.stdout.take());
    let mut first = String::new();
    BufReader::new(run.stderr.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.starts_with("target "), "{first}");
    assert_eq!(run.wait().unwrap().code(), Some(0));
    assert!(crate::common::chain(&crate::common::summary(folder.path()), "certificate").0 > 0);
}

#[test]
fn an_unwritable_summary_file_is_reported_before_any_load() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["run", "--directory", "https://127.0.0.1:1/dir", "--json", "nowhere/summary.json"];
    let output = crate::common::run(folder.path(), &args);
    assert_eq!(output.status.code(), Some(1));
    let said = crate::common::said(&output);
    assert!(said.starts_with("error: --json: cannot write the summary to nowhere/summary.json: "), "{said}");
    // Nothing reads the FIFO, so writing to it would block forever.
    assert!(std::process::Command::new("mkfifo").arg(folder.path().join("fifo")).status().unwrap().success());
    for flag in ["--json", "--junit"] {
        let args = ["run", "--directory", "https://127.0.0.1:1/dir", flag, "fifo"];
        let output = crate::common::run(folder.path(), &args);
        assert_eq!(output.status.code(), Some(1));
        let said = crate::common::said(&output);
        assert!(said.starts_with(&format!("error: {flag}: fifo is a FIFO")), "{said}");
    }
    std::fs::remove_file(folder.path().join("fifo")).unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
