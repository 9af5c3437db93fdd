//! The log file: existing content, and changes by other programs while it is written.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use wec_analytics::{Analytics, Config, LogPlace, replay};
use wec_board::Board;
use wec_record::{Chain, Record};

use crate::common::{START, chain_record, chain_result, header};

async fn start(folder: &Path) -> Analytics {
    Analytics::start(crate::common::config(folder), Board::local()).await.unwrap()
}

async fn deliver(analytics: &Analytics, results: std::ops::RangeInclusive<u64>) {
    let records =
        results.map(|seq| chain_record("r1", chain_result(Chain::Refresh, seq, seq, 1_000))).collect();
    analytics.ingest().deliver(records).await.unwrap();
}

/// Waits until the condition holds of the log's text.
async fn until(log: &Path, condition: impl Fn(&str) -> bool) {
    let waited = async {
        while !condition(&fs::read_to_string(log).unwrap_or_default()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), waited).await.expect("the condition is met in time");
}

fn results(text: &str) -> usize {
    text.lines().filter(|line| line.contains(r#""record":"chain""#)).count()
}

fn begins_with_the_header(text: &str) -> bool {
    text.starts_with(r#"{"record":"header""#)
        && text.lines().next().is_some_and(|line| line.contains(r#""run":"run""#))
}

/// This version reads and continues a log of a later version, and changes no byte of it.
#[tokio::test]
async fn a_log_with_unknown_kinds_is_read_and_continued() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("run.jsonl");
    let lines = [
        serde_json::to_string(&Record::Header(header("run"))).unwrap(),
        r#"{"record":"clock","offset_ns":-18446744073709551617,"rtt":1E+400}"#.to_owned(),
        r#"{"node":"r1","seq":9,"record":"share" ,"of":{"a":[null]}}"#.to_owned(),
        format!(
            r#"{{"record":"mark","at_unix_ns":{START},"by":"oracle","what":"weather","from":"sun","to":"rain"}}"#
        ),
    ];
    let there = format!("{}\n", lines.join("\n"));
    fs::write(&log, &there).unwrap();
    let analytics = start(folder.path()).await;
    analytics.begin(header("run")).await.unwrap();
    deliver(&analytics, 10..=12).await;
    let snapshot = analytics.finish().await.snapshot;
    assert_eq!((snapshot.missing.unknown_records, snapshot.chains[&Chain::Refresh].count), (2, 3));
    assert_eq!(snapshot.marks[0].what.to_string(), "weather");
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.starts_with(&there) && results(&text) == 3, "{text}");
    assert_eq!(replay(&log).unwrap().snapshot(), snapshot);
}

#[tokio::test]
async fn a_file_that_is_no_log_of_the_run_is_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("run.jsonl");
    let other = serde_json::to_string(&Record::Header(header("other"))).unwrap();
    for (there, why) in [
        ("my notes, all on one line that has no end", "does not begin with a header"),
        ("my notes\nin two lines\n", "is not a log of this program"),
        (
            "{\"record\":\"lost\",\"node\":\"r\",\"seq\":1,\"at_unix_ns\":1,\"count\":1,\"why\":\"\"}\n",
            "does not begin with a header",
        ),
        ("\0\0\0\0", "does not begin with a header"),
        (&*format!("{other}\n{{\"record\":\"cha"), "belongs to run \"other\""),
        (&*other.replace("\"version\":2", "\"version\":99").add_line(), "has format 99"),
    ] {
        fs::write(&log, there).unwrap();
        let analytics = start(folder.path()).await;
        let refused = analytics.begin(header("run")).await.unwrap_err().to_string();
        assert!(refused.contains(why) && refused.contains("run.jsonl"), "{there:?}: {refused}");
        analytics.finish().await;
        assert_eq!(fs::read(&log).unwrap(), there.as_bytes());
    }
}

trait AddLine {
    fn add_line(&self) -> String;
}

impl AddLine for String {
    fn add_line(&self) -> String {
        format!("{self}\n")
    }
}

#[tokio::test]
async fn what_cannot_be_a_log_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let notes = folder.path().join("notes");
    fs::write(&notes, "mine").unwrap();
    for (place, why) in [
        (LogPlace::File(fifo), "is a FIFO, but a log must be a file"),
        (LogPlace::File(folder.path().into()), "is a directory, but a log must be a file"),
        (LogPlace::File("/dev/null".into()), "is a device, but a log must be a file"),
        (LogPlace::File(notes.clone()), "is not a log of this program"),
        (LogPlace::Folder(notes), "not a directory"),
    ] {
        let config = Config { log: place, ..crate::common::config(folder.path()) };
        let refused = Analytics::start(config, Board::local()).await.unwrap_err().to_string();
        assert!(refused.contains(why), "{why}: {refused}");
    }
    let analytics = start(folder.path()).await;
    assert!(Command::new("mkfifo").arg(folder.path().join("run.jsonl")).status().unwrap().success());
    let refused = analytics.begin(header("run")).await.unwrap_err().to_string();
    assert!(refused.contains("is a FIFO"), "{refused}");
}

#[tokio::test]
async fn a_truncated_log_is_continued_with_a_header() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("run.jsonl");
    let analytics = start(folder.path()).await;
    analytics.begin(header("run")).await.unwrap();
    deliver(&analytics, 1..=20).await;
    until(&log, |text| results(text) == 20).await;
    // As logrotate with copytruncate does.
    fs::copy(&log, folder.path().join("run.jsonl.1")).unwrap();
    File::options().write(true).open(&log).unwrap().set_len(0).unwrap();
    deliver(&analytics, 21..=30).await;
    until(&log, |text| results(text) == 10).await;
    let text = fs::read_to_string(&log).unwrap();
    assert!(begins_with_the_header(&text) && !text.contains('\0'), "{text}");
    let finished = analytics.finish().await;
    assert_eq!(finished.snapshot.chains[&Chain::Refresh].count, 30);
    assert_eq!(replay(&log).unwrap().snapshot().chains[&Chain::Refresh].count, 10);
    // The two files together are the whole run.
    let whole = folder.path().join("whole.jsonl");
    fs::write(&whole, [fs::read(folder.path().join("run.jsonl.1")).unwrap(), text.into_bytes()].concat())
        .unwrap();
    assert_eq!(replay(&whole).unwrap().snapshot().chains, finished.snapshot.chains);
}

#[tokio::test]
async fn a_renamed_or_deleted_log_is_begun_again_under_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("run.jsonl");
    let moved = folder.path().join("moved");
    let analytics = start(folder.path()).await;
    analytics.begin(header("run")).await.unwrap();
    deliver(&analytics, 1..=5).await;
    until(&log, |text| results(text) == 5).await;
    fs::rename(&log, &moved).unwrap();
    until(&log, begins_with_the_header).await;
    deliver(&analytics, 6..=8).await;
    until(&log, |text| results(text) == 3).await;
    fs::remove_file(&log).unwrap();
    until(&log, begins_with_the_header).await;
    deliver(&analytics, 9..=9).await;
    until(&log, |text| results(text) == 1).await;
    assert_eq!(results(&fs::read_to_string(&moved).unwrap()), 5);
    let finished = analytics.finish().await;
    assert_eq!(finished.snapshot.chains[&Chain::Refresh].count, 9);
    assert_eq!(finished.health.log_error, None);
    assert!(replay(&log).is_ok() && replay(&moved).is_ok());
}

#[tokio::test]
async fn logs_are_private() {
    let folder = tempfile::tempdir().unwrap();
    let results = folder.path().join("results");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let analytics = start(&results).await;
    analytics.begin(header("run")).await.unwrap();
    assert_eq!((mode(&results), mode(&results.join("run.jsonl"))), (0o700, 0o600));
    analytics.finish().await;
    fs::set_permissions(results.join("run.jsonl"), fs::Permissions::from_mode(0o644)).unwrap();
    let analytics = start(&results).await;
    analytics.begin(header("run")).await.unwrap();
    assert_eq!(mode(&results.join("run.jsonl")), 0o600);
    analytics.finish().await;
}

#[tokio::test]
async fn a_non_finite_number_is_omitted_and_the_log_stays_readable() {
    let folder = tempfile::tempdir().unwrap();
    let analytics = start(folder.path()).await;
    analytics.begin(header("run")).await.unwrap();
    let mut record = crate::common::load_record("r1", 1, START, 1);
    if let Record::Load { load, .. } = &mut record {
        load.generator.backlog_share = f64::NAN;
    }
    analytics.ingest().deliver(vec![record]).await.unwrap();
    deliver(&analytics, 2..=2).await;
    let finished = analytics.finish().await;
    assert_eq!(finished.health.log_failed, 1);
    assert_eq!(replay(&folder.path().join("run.jsonl")).unwrap().snapshot().chains, finished.snapshot.chains);
}
