//! `wec prefill`: to a number of accounts and certificates, with both stores, and on from there.

use std::path::Path;

use serde_json::Value;
use wec_testbed::Postgres;

use crate::common::{NullCa, run, said};

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

#[test]
fn what_cannot_be_filled_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let directory = ["--directory", "http://127.0.0.1:1/dir"];
    for (args, code, part) in [
        (&[][..], 2, "give --registrations or --certificates"),
        (&["--certificates", "1", "--state", "sqlite::memory:"], 2, "a state in memory is lost at the end"),
        (&["--certificates", "1", "--workers", "0"], 2, "0 is not in 1..=100000"),
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
