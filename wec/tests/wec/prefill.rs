//! `wec prefill`: to a number of accounts and certificates, with both stores, and continued from there.

use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use wec_testbed::{Pebble, PebbleOptions, Postgres};

use crate::common::{NullCa, run, said, until, wec};

/// Accounts and certificates that are stored of the only CA.
fn stored(folder: &Path, state: &str) -> (u64, u64) {
    let output = run(folder, &["state", "--state", state, "list", "--json"]);
    let listed: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let [ca] = &listed[..] else { panic!("{listed:?} {}", said(&output)) };
    (ca["registrations"].as_u64().unwrap(), ca["certificates"].as_u64().unwrap())
}

fn prefill(folder: &Path, ca: &NullCa, state: &str, size: &[&str]) -> (Option<i32>, String) {
    let mut args = vec!["prefill", "--state", state, "--headless", "--http01-listen", "127.0.0.1:0"];
    args.extend(ca.target());
    args.extend(size);
    let output = run(folder, &args);
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), said(&output));
    (output.status.code(), told)
}

fn grows(state: &str) {
    let folder = tempfile::tempdir().unwrap();
    let ca = NullCa::start(folder.path(), &[]);
    let fill = |size: &[&str]| prefill(folder.path(), &ca, state, size);
    let (code, told) = fill(&["--registrations", "6", "--certificates", "20", "-u", "4"]);
    assert_eq!((code, stored(folder.path(), state)), (Some(0), (6, 20)), "{told}");
    assert!(
        told.contains("0 accounts and 0 certificates are stored, 6 accounts and 20 certificates are wanted"),
        "{told}"
    );
    // A run that ended early goes on from what is stored.
    let (code, told) = fill(&["--registrations", "9", "--certificates", "30"]);
    assert_eq!((code, stored(folder.path(), state)), (Some(0), (9, 30)), "{told}");
    let (code, told) = fill(&["--certificates", "30"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.contains("9 accounts and 30 certificates are stored of https://")
            && told.contains("nothing to make"),
        "{told}"
    );
}

#[test]
fn a_file_is_filled_to_a_size() {
    grows("sqlite://prefill.sqlite");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_server_is_filled_to_a_size() {
    let postgres = Postgres::start().await.unwrap();
    grows(&postgres.create_database("prefill").await.unwrap());
}

/// A prefill that is killed when this many certificates are stored, and the same command again.
fn goes_on_after_a_kill(folder: &Path, target: &[&str], (killed_at, certificates): (u64, u64)) {
    let state = "sqlite://prefill.sqlite";
    let count = certificates.to_string();
    let args = ["prefill", "--state", state, "--headless", "--http01-listen", "127.0.0.1:0", "-u", "2"];
    let args = [&args[..], target, &["--registrations", "3", "--certificates", &count]].concat();
    let mut child = wec(folder, &args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let so_far = || {
        let output = run(folder, &["state", "--state", state, "list", "--json"]);
        let listed: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap_or_default();
        listed.first().and_then(|ca| ca["certificates"].as_u64()).unwrap_or(0)
    };
    until("certificates are stored", || so_far() >= killed_at || child.try_wait().unwrap().is_some());
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success(), "it was killed before its end");
    let after_the_kill = so_far();
    assert!((killed_at..certificates).contains(&after_the_kill), "{after_the_kill}");
    let output = run(folder, &args);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(stored(folder, state), (3, certificates), "{}", said(&output));
}

#[test]
fn what_was_killed_goes_on_from_what_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let ca = NullCa::start(folder.path(), &["--latency", "10ms"]);
    goes_on_after_a_kill(folder.path(), &ca.target(), (10, 100));
    let counts = ca.stop();
    let made = counts["certificates"].as_u64().unwrap();
    // What is not stored yet when it is killed is made again: the last 250 ms, and what two workers are doing.
    assert!((100..=140).contains(&made), "{counts}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pebble_is_filled_also_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let pebble =
        Pebble::start(PebbleOptions { always_valid: true, ..PebbleOptions::default() }).await.unwrap();
    let (directory, cacert) = (pebble.directory_url(), pebble.ca_file().to_str().unwrap().to_owned());
    goes_on_after_a_kill(folder.path(), &["--directory", &directory, "--cacert", &cacert], (5, 60));
}

#[test]
fn what_cannot_be_filled_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let directory = ["--directory", "http://127.0.0.1:1/dir"];
    for (args, code, part) in [
        (&[][..], 2, "give --registrations or --certificates"),
        (&["--certificates", "1", "--state", "sqlite::memory:"], 2, "a state in memory is lost at the end"),
        (&["--certificates", "1", "--workers", "0"], 2, "\"0\" is not a whole number from 1 to 1000000"),
    ] {
        let output = run(folder.path(), &[&["prefill"], &directory[..], args].concat());
        let told = said(&output);
        assert!(
            output.status.code() == Some(code) && told.contains(part),
            "{args:?}: {:?} {told}",
            output.status
        );
    }
}
