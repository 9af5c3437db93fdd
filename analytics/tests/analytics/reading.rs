//! Logs with defects: damaged, incomplete, in several files, with duplicates, or made by others.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use wec_analytics::{Aggregate, Analytics, Live, LogReport, ServedPage, Snapshot, read_logs};
use wec_board::Board;
use wec_record::{Chain, Mark, MarkBy, MarkValue, MarkWhat, Record, RunOutcome};

use crate::common::{chain_record, chain_result, exchange, header};

fn read(paths: &[PathBuf]) -> (LogReport, Snapshot) {
    let mut aggregate = Aggregate::default();
    let report = read_logs(paths, |record| aggregate.record(record)).unwrap();
    (report, aggregate.snapshot())
}

fn refused(path: &Path) -> String {
    read_logs(&[path.to_owned()], |_| {}).unwrap_err().to_string()
}

/// The log of a run with this many results, and the run's last figures.
async fn log_of(folder: &Path, results: u64) -> (PathBuf, Snapshot) {
    let analytics = Analytics::start(crate::common::config(folder), Board::local()).await.unwrap();
    analytics.begin(header("run")).await.unwrap();
    let records = (1..=results).map(|seq| chain_record("r1", chain_result(Chain::Refresh, seq, seq, 1_000)));
    analytics.ingest().deliver(records.collect()).await.unwrap();
    (folder.join("run.jsonl"), analytics.finish().await.snapshot)
}

#[tokio::test]
async fn a_finished_log_is_whole_and_gives_the_figures_of_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let (log, live) = log_of(folder.path(), 30).await;
    let (report, replayed) = read(&[log]);
    assert_eq!(report.problems(), [""; 0]);
    assert_eq!(replayed, live);
    let footer = report.footer.unwrap();
    assert_eq!((footer.records["chain"], footer.requests), (30, report.requests));
    assert_eq!((report.records["chain"], report.records["footer"]), (30, 1));
    assert_eq!(footer.outcome, RunOutcome::Passed);
}

#[tokio::test]
async fn a_run_that_is_opened_again_without_results_has_one_footer() {
    let folder = tempfile::tempdir().unwrap();
    let (log, _) = log_of(folder.path(), 3).await;
    let before = fs::read(&log).unwrap();
    let analytics = Analytics::start(crate::common::config(folder.path()), Board::local()).await.unwrap();
    analytics.begin(header("run")).await.unwrap();
    analytics.finish().await;
    assert_eq!(fs::read(&log).unwrap(), before);
}

/// Records with times out of range, and with the start out of range: the rates stay those of the run.
#[tokio::test]
async fn a_far_time_does_not_stretch_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let (log, live) = log_of(folder.path(), 30).await;
    let text = fs::read_to_string(&log).unwrap();
    let changed = |text: String| {
        let path = folder.path().join("changed");
        fs::write(&path, text).unwrap();
        read(&[path])
    };
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    let far = Mark::new(FAR, MarkBy::Cli, MarkWhat::Workers, MarkValue::Workers(9));
    lines.insert(1, serde_json::to_string(&Record::Mark(far)).unwrap());
    let Record::Chain { node, result, .. } = Record::parse(&lines[5], 6).unwrap() else { panic!("a chain") };
    lines[5] = serde_json::to_string(&Record::Chain { node, origin_unix_ns: FAR, result }).unwrap();
    let (report, figures) = changed(lines.join("\n") + "\n");
    assert_eq!((report.doubtful_records, report.doubtful[0].line, report.doubtful[1].line), (2, 2, 6));
    assert_eq!(
        (figures.rps, figures.elapsed_ns, figures.requests),
        (live.rps, live.elapsed_ns, live.requests)
    );
    assert!(figures.marks.is_empty() && figures.workers_target == Some(9));
    // The mark, the chain and its requests.
    assert!(figures.missing.outside_series > 2, "{:?}", figures.missing);
    let started = live.run.started_unix_ns;
    for wrong in [0, FAR] {
        let (report, figures) = changed(text.replacen(
            &format!("\"started_unix_ns\":{started}"),
            &format!("\"started_unix_ns\":{wrong}"),
            1,
        ));
        assert_eq!((report.doubtful_records, report.doubtful[0].line), (1, 1), "{:?}", report.doubtful);
        assert!(
            figures.rps > 0.0 && figures.elapsed_ns < 100_000_000_000,
            "{} {}",
            figures.rps,
            figures.elapsed_ns
        );
    }
}

/// In the year 2255.
const FAR: u64 = 9_000_000_000_000_000_000;

#[tokio::test]
async fn damaged_lines_are_counted_with_their_place_and_the_rest_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let (log, _) = log_of(folder.path(), 9).await;
    let mut lines: Vec<Vec<u8>> =
        fs::read(&log).unwrap().split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let offset = lines[0].len() + 1;
    lines[1].truncate(40);
    lines[3][20] = 0xff;
    lines[5].clear();
    fs::write(&log, lines.join(&b'\n')).unwrap();
    let (report, snapshot) = read(std::slice::from_ref(&log));
    let places: Vec<_> = report.damaged.iter().map(|damaged| (damaged.line, damaged.why.as_str())).collect();
    assert_eq!(report.damaged_lines, 3, "{places:?}");
    assert_eq!((report.damaged[0].line, report.damaged[0].offset), (2, offset as u64));
    assert!(report.damaged[1].why.contains("not UTF-8"), "{places:?}");
    assert_eq!(snapshot.chains[&Chain::Refresh].count, 6);
    assert_eq!(report.missing["r1"], [(3, 3), (5, 5)], "number 1 is missing, too");
    let problems = report.problems();
    assert!(problems[0].contains("line 2") && problems[0].contains("2 more damaged lines"), "{problems:?}");
    assert!(
        problems.iter().any(|problem| problem.contains("3 of 9 records of kind \"chain\"")),
        "{problems:?}"
    );
}

#[tokio::test]
async fn an_endless_line_costs_one_record_and_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let (log, _) = log_of(folder.path(), 2).await;
    let text = fs::read_to_string(&log).unwrap();
    let (first, rest) = text.split_once('\n').unwrap();
    fs::write(&log, format!("{first}\n{}\n{rest}", "x".repeat(17 << 20))).unwrap();
    let (report, snapshot) = read(&[log]);
    assert_eq!((report.damaged_lines, report.damaged[0].line), (1, 2));
    assert!(report.damaged[0].why.contains("longer than"), "{:?}", report.damaged);
    assert_eq!(snapshot.chains[&Chain::Refresh].count, 2);
}

#[tokio::test]
async fn parts_of_a_rotated_log_are_one_run_in_any_order_and_duplicates_count_once() {
    let folder = tempfile::tempdir().unwrap();
    let (log, live) = log_of(folder.path(), 20).await;
    let text = fs::read_to_string(&log).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let piece = |name: &str, lines: &[&str]| {
        let path = folder.path().join(name);
        fs::write(&path, format!("{}\n", lines.join("\n"))).unwrap();
        path
    };
    let older = piece("run.jsonl.1", &lines[..12]);
    let newer = piece("later", &[&lines[..1], &lines[9..]].concat());
    let (report, snapshot) = read(&[newer, older]);
    assert_eq!((report.problems(), report.repeated), (Vec::new(), 3));
    assert_eq!(snapshot, live);
}

#[tokio::test]
async fn logs_of_two_runs_are_not_mixed() {
    let folder = tempfile::tempdir().unwrap();
    let (log, _) = log_of(folder.path(), 2).await;
    let other = folder.path().join("other.jsonl");
    fs::write(&other, serde_json::to_string(&Record::Header(header("other"))).unwrap() + "\n").unwrap();
    let error = read_logs(&[log, other], |_| {}).unwrap_err().to_string();
    assert!(error.contains("\"other\"") && error.contains("give the logs of one run"), "{error}");
}

#[test]
fn a_log_of_the_2015_design_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("seed.json");
    let lines = [
        r#"{"chainname":"NewRegistrationChain","chainsuccessful":true,"chaintook":12,"individualresults":[{"uri":"/acme/new-reg","took":12,"successful":true}]}"#,
        r#"{"chainname":"NewRegistrationChain","individualresults":[{"uri":"/acme/new-reg","error":"no"}]}"#,
    ];
    fs::write(&log, lines.join("\n") + "\n").unwrap();
    let (report, snapshot) = read(&[log]);
    assert_eq!(report.problems(), [""; 0]);
    assert_eq!((report.requests, report.footer), (2, None));
    let chain = &snapshot.chains[&Chain::Registration];
    assert_eq!((chain.count, chain.failed), (2, 1));
}

#[test]
fn a_file_that_is_no_log_is_refused_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let newer = serde_json::to_string(&Record::Header(header("run"))).unwrap();
    let newer = newer.replace("\"version\":2", "\"version\":99") + "\n";
    for (path, why) in [
        (file("empty", b""), "it is empty"),
        (file("notes", b"my notes\nof today\n"), "line 1: "),
        (file("torn", b"{\"record\":\"hea"), "its first record is not complete"),
        (file("newer", newer.as_bytes()), "has format 99"),
        (folder.path().to_owned(), "is a directory"),
        (folder.path().join("none"), "cannot open the log"),
    ] {
        let error = refused(&path);
        assert!(error.contains(why) && error.contains(path.to_str().unwrap()), "{why}: {error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// A log may end in a line after a kill, or on a full disk.
    #[test]
    fn a_log_that_ends_at_any_byte_is_read_up_to_there(cut in 0.0..1.0f64) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (log, _) = runtime.block_on(log_of(folder.path(), 12));
        let text = fs::read(&log).unwrap();
        let cut = (text.len() as f64 * cut) as usize;
        fs::write(&log, &text[..cut]).unwrap();
        let lines = text[..cut].iter().filter(|byte| **byte == b'\n').count();
        match read_logs(std::slice::from_ref(&log), |_| {}) {
            Ok(report) => {
                prop_assert_eq!(report.lines, lines as u64);
                prop_assert_eq!(report.damaged_lines, 0);
                prop_assert_eq!(report.torn_bytes == 0, text[..cut].ends_with(b"\n"));
            }
            Err(error) => prop_assert!(lines == 0, "{error}"),
        }
        // A restart removes the incomplete line, and the log is then complete.
        let analytics = runtime.block_on(async {
            let analytics = Analytics::start(crate::common::config(folder.path()), Board::local()).await.unwrap();
            analytics.begin(header("run")).await.map(|()| analytics)
        });
        runtime.block_on(analytics.unwrap().finish());
        let report = read_logs(&[log], |_| {}).unwrap();
        prop_assert_eq!(report.problems(), Vec::<String>::new());
    }
}

/// Like `wec serve` and a page that stays after its run: without a live run, the page shows one run of the folder by
/// default.
#[tokio::test]
async fn a_page_of_a_folder_shows_its_default_run() {
    let folder = tempfile::tempdir().unwrap();
    let (_, live) = log_of(folder.path(), 5).await;
    let page = |opens_with: &str| ServedPage {
        folder: folder.path().to_owned(),
        listen: "127.0.0.1:0".parse().unwrap(),
        allowed_hosts: Vec::new(),
        token: None,
        opens_with: Some(opens_with.to_owned()),
    };
    let analytics = page("run").start().await.unwrap();
    let address = analytics.web_addr().unwrap();
    let host = format!("Host: {address}");
    let (status, _, body) = exchange(address, "GET /api/v1/runs/current/snapshot", &[&host], b"").await;
    let shown: Live = serde_json::from_str(&body).unwrap();
    assert_eq!((status, shown.snapshot), (200, live));
    analytics.finish().await;
    let error = page("none").start().await.unwrap_err().to_string();
    assert!(error.contains("none.jsonl"), "{error}");
}
