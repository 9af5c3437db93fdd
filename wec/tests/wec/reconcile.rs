//! The certificates of a run beside the CA's own list, with a real Pebble.

use std::path::Path;
use std::process::Output;

use serde_json::Value;
use wec_record::Chain;
use wec_testbed::{Pebble, PebbleOptions};

use crate::common::{results, run, run_until, said};

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What Pebble says about itself: `Issued certificate serial 1f2e… for order Xy…`.
fn issued(pebble_log: &str) -> Vec<(String, String)> {
    let lines = pebble_log.lines().filter_map(|line| line.split_once("Issued certificate serial "));
    let rows = lines.filter_map(|(_, rest)| rest.split_once(" for order "));
    rows.map(|(serial, order)| (serial.to_owned(), order.trim().to_owned())).collect()
}

fn write_list(folder: &Path, rows: &[(String, String)]) {
    let mut text = "Serial,Order\n".to_owned();
    rows.iter().for_each(|(serial, order)| text += &format!("{serial},{order}\n"));
    std::fs::write(folder.join("ca.csv"), text).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_run_made_at_pebble_is_what_pebble_issued() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut pebble =
        Pebble::start(PebbleOptions { always_valid: true, ..PebbleOptions::default() }).await.unwrap();
    let directory = pebble.directory_url();
    let roots = pebble.ca_file().display().to_string();
    let target = ["--directory", &directory, "--cacert", &roots];
    let args = ["run", "--headless", "--workers", "2", "--http01-listen", "127.0.0.1:0"];
    let args = [&args[..], &["--tlsalpn01-listen", "off", "--dns-listen", "off"], &target].concat();
    let output = run_until(folder, &args, |log| {
        let of =
            |chain| results(log).filter(|result| result.chain == Some(chain) && result.successful).count();
        of(Chain::Certificate) >= 6 && of(Chain::Revoke) >= 1 && of(Chain::Refresh) >= 1
    });
    assert_eq!(output.status.code(), Some(105), "{}", said(&output));
    let log = std::fs::read_dir(folder.join("results")).unwrap().next().unwrap().unwrap().path();
    let log = log.to_str().unwrap();

    let mut rows = issued(&pebble.process().log());
    assert!(rows.len() >= 7, "{rows:?}");
    write_list(folder, &rows);
    let compared = run(folder, &["reconcile", log, "--ca-list", "ca.csv"]);
    assert_eq!(compared.status.code(), Some(0), "{}{}", stdout(&compared), said(&compared));
    assert!(
        stdout(&compared).contains(&format!("{:>10}  in the log and in", rows.len())),
        "{}",
        stdout(&compared)
    );

    let missing = rows.pop().unwrap();
    rows.push(("00:AB:CD".to_owned(), "none".to_owned()));
    write_list(folder, &rows);
    let compared = run(folder, &["reconcile", log, "--ca-list", "ca.csv", "--json"]);
    assert_eq!(compared.status.code(), Some(98), "{}", said(&compared));
    let found: Value = serde_json::from_str(&stdout(&compared)).unwrap();
    assert_eq!(
        (&found["only_here"], &found["only_there"], &found["unexplained"]),
        (&1.into(), &1.into(), &1.into())
    );
    assert_eq!(found["only_there_list"][0]["serial"], "abcd");
    let only = &found["only_here_list"][0];
    assert_eq!(only["serial"].as_str().unwrap(), missing.0.trim_start_matches("00"), "{only}");
    assert!(only["order"].as_str().unwrap().ends_with(&missing.1), "{only}");
    for wrong in [&["nowhere.csv"][..], &["ca.csv", "--serial-column", "x"]] {
        let refused = run(folder, &[&["reconcile", log, "--ca-list"], wrong].concat());
        assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    }
}
