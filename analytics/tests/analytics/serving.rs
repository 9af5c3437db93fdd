//! A page over a folder of logs that other processes write.

use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;
use wec_analytics::{Analytics, Live, RunEntry, RunSource, Runs, ServedPage};
use wec_board::Board;
use wec_log::{LogFormat, LogOptions, RecordWriter};
use wec_record::{Chain, Mark, MarkBy, MarkValue, MarkWhat, Observation, Record};

use crate::common::{START, chain_record, chain_result, exchange, header, load_record};

const SECOND: u64 = 1_000_000_000;

fn chain(seq: u64) -> Record {
    chain_record("r1", chain_result(Chain::Certificate, seq, seq * SECOND, SECOND / 2))
}

async fn serve(folder: &Path) -> Analytics {
    let page = ServedPage {
        folder: folder.to_owned(),
        listen: "127.0.0.1:0".parse().unwrap(),
        allowed_hosts: Vec::new(),
        token: None,
        opens_with: None,
    };
    page.start().await.unwrap()
}

async fn get<T: DeserializeOwned>(page: &Analytics, path: &str) -> T {
    let request = format!("GET /api/v1/runs{path}");
    let (status, _, text) = exchange(page.web_addr().unwrap(), &request, &["Host: localhost"], b"").await;
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}

async fn list(page: &Analytics) -> Vec<RunEntry> {
    get::<Runs>(page, "").await.runs
}

async fn until(page: &Analytics, wanted: impl Fn(&Live) -> bool) -> Live {
    loop {
        let live = get(page, "/run/snapshot").await;
        if wanted(&live) {
            return live;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn certificates(live: &Live) -> u64 {
    live.snapshot.chains[&Chain::Certificate].count
}

/// The writer flushes records, and a reader finds them, in every format.
#[tokio::test]
async fn a_run_of_another_process_is_followed_to_its_end() {
    for format in LogFormat::ALL {
        followed_to_its_end(format).await;
    }
}

async fn followed_to_its_end(format: LogFormat) {
    let folder = tempfile::tempdir().unwrap();
    let mut config = crate::common::config(folder.path());
    config.consumers.log.format = format;
    let run = Analytics::start(config, Board::local()).await.unwrap();
    run.begin(header("run")).await.unwrap();
    run.ingest().deliver((1..=5).map(chain).collect()).await.unwrap();

    let page = serve(folder.path()).await;
    let live = until(&page, |live| certificates(live) == 5).await;
    assert_eq!((live.source, live.session, live.replay), (RunSource::GrowingLog, None, None), "{format:?}");
    run.ingest().deliver((6..=9).map(chain).collect()).await.unwrap();
    let listed = loop {
        let runs = list(&page).await;
        let outcome = runs[0].outcome.clone().unwrap();
        if outcome.chains == 9 {
            break runs;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!((listed[0].live, listed[0].outcome.as_ref().unwrap().passed), (true, None));
    let grown = until(&page, |live| certificates(live) == 9).await;
    assert_eq!(grown.series.chains[&Chain::Certificate].count.iter().sum::<u64>(), 9);

    // One stream, whose last event comes with the run's end.
    let address = page.web_addr().unwrap();
    let watched = tokio::spawn(async move {
        exchange(address, "GET /api/v1/runs/run/live", &["Host: localhost"], b"").await.2
    });
    run.ingest().deliver((10..=12).map(chain).collect()).await.unwrap();
    let ended = run.finish().await.snapshot;
    let events = watched.await.unwrap();
    assert_eq!(events.matches("event: end").count(), 1, "{events}");
    let live = until(&page, |live| live.source == RunSource::Log).await;
    assert_eq!((live.snapshot, live.health.log_problems), (ended, Vec::new()));
    let listed = list(&page).await;
    assert_eq!((listed[0].live, listed[0].outcome.as_ref().unwrap().chains), (false, 12));
}

/// Its files are compressed, and there is no line to count.
#[tokio::test]
async fn a_binary_log_that_rotates_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = crate::common::config(folder.path());
    config.consumers.log =
        LogOptions { format: LogFormat::BinaryZstd, rotate_size: Some(2_000), ..LogOptions::default() };
    let run = Analytics::start(config, Board::local()).await.unwrap();
    run.begin(header("run")).await.unwrap();
    run.ingest().deliver(vec![chain(1)]).await.unwrap();
    let page = serve(folder.path()).await;
    let mut last = 1;
    while wec_log::log_files(&folder.path().join("run.wecb.zst")).len() < 3 {
        until(&page, |live| certificates(live) == last).await;
        run.ingest().deliver((last + 1..last + 40).map(chain).collect()).await.unwrap();
        last += 39;
    }
    let live = until(&page, |live| certificates(live) == last).await;
    assert_eq!((live.source, live.health.log_problems), (RunSource::GrowingLog, Vec::new()));
    let ended = run.finish().await.snapshot;
    let live = until(&page, |live| live.source == RunSource::Log).await;
    assert_eq!((live.snapshot, live.health.log_problems), (ended, Vec::new()));
}

/// Copies of a log, made while it is written, as by `wec convert` into the same folder: before the page is opened, and
/// while it follows the log. They have nothing that the log does not have.
#[tokio::test]
async fn copies_of_a_log_that_grows_count_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    let run = Analytics::start(crate::common::config(folder.path()), Board::local()).await.unwrap();
    run.begin(header("run")).await.unwrap();
    let unnumbered = |at: u64| {
        let mark =
            Mark::new(START + at * SECOND, MarkBy::Cli, MarkWhat::Event, MarkValue::Text(format!("{at}")));
        let observed = Observation {
            at_unix_ns: START + at * SECOND,
            source: "ca".to_owned(),
            gauges: [("g".to_owned(), at as f64)].into(),
            ..Observation::default()
        };
        [Record::Mark(mark), Record::Observation(observed)]
    };
    let deliver = async |seqs: std::ops::RangeInclusive<u64>| {
        let records = seqs.flat_map(|seq| [chain(seq)].into_iter().chain(unnumbered(seq)));
        run.ingest().deliver(records.collect()).await.unwrap();
    };
    let log = folder.path().join("run.jsonl");
    let copy = async |name: &str, last: u64| {
        // The last record of what was delivered.
        let text = format!("\"ca\",\"gauges\":{{\"g\":{last}.0}}");
        while !std::fs::read_to_string(&log).unwrap().contains(&text) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let mut writer = RecordWriter::new(LogFormat::BinaryZstd, Vec::new());
        wec_log::read_lines(std::slice::from_ref(&log), |record, line| writer.write(record, line).unwrap())
            .unwrap();
        std::fs::write(folder.path().join(name), writer.finish().unwrap()).unwrap();
    };
    let is_of = |live: &Live, all: u64| {
        (certificates(live), live.snapshot.marks.len() as u64, live.source)
            == (all, all, RunSource::GrowingLog)
    };
    deliver(1..=5).await;
    // The copy is written last: the page must follow the log as well.
    copy("early.wecb.zst", 5).await;
    let page = serve(folder.path()).await;
    let live = until(&page, |live| certificates(live) >= 5).await;
    assert!(is_of(&live, 5), "{:?}", live.snapshot.marks);
    deliver(6..=9).await;
    let live = until(&page, |live| certificates(live) >= 9).await;
    assert!(is_of(&live, 9), "{:?}", live.snapshot.marks);
    copy("late.wecb.zst", 9).await;
    // The first answer after it has read the copy.
    let live: Live = get(&page, "/run/snapshot").await;
    assert!(is_of(&live, 9), "{:?}", live.snapshot.marks);
    deliver(10..=12).await;
    let live = until(&page, |live| certificates(live) >= 12).await;
    assert!(is_of(&live, 12), "{:?}", live.snapshot.marks);
    let observed = live.snapshot.observed[0].samples;
    let ended = run.finish().await.snapshot;
    assert_eq!(ended.observed[0].samples, observed);
    let live = until(&page, |live| live.source == RunSource::Log).await;
    assert_eq!((live.snapshot, live.health.log_problems), (ended, Vec::new()));
}

/// Two processes write logs of one run. The second one begins while the page follows the first.
#[tokio::test]
async fn a_second_log_of_a_run_that_is_followed_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let line = |record: &Record| serde_json::to_string(record).unwrap() + "\n";
    let text = |seqs: std::ops::RangeInclusive<u64>| {
        seqs.fold(line(&Record::Header(header("run"))), |text, seq| text + &line(&chain(seq)))
    };
    std::fs::write(folder.path().join("a.jsonl"), text(1..=6)).unwrap();
    let page = serve(folder.path()).await;
    until(&page, |live| certificates(live) == 6).await;
    std::fs::write(folder.path().join("b.jsonl"), text(4..=9)).unwrap();
    let live = until(&page, |live| certificates(live) >= 9).await;
    assert_eq!(certificates(&live), 9);
    // The first one goes on: its records are between those of the second one, and after them.
    let further: String = (7..=11).map(|seq| line(&chain(seq))).collect();
    let mut first = std::fs::OpenOptions::new().append(true).open(folder.path().join("a.jsonl")).unwrap();
    std::io::Write::write_all(&mut first, further.as_bytes()).unwrap();
    let live = until(&page, |live| certificates(live) >= 11).await;
    assert_eq!((certificates(&live), live.health.log_problems), (11, Vec::new()));
}

/// The first file was renamed while it was followed, as rotation does, and the writer has begun another.
#[tokio::test]
async fn a_rotated_log_is_followed_and_is_one_entry() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("run.jsonl");
    let line = |record: &Record| serde_json::to_string(record).unwrap() + "\n";
    let head = line(&Record::Header(header("run")));
    let text = |seqs: std::ops::RangeInclusive<u64>| seqs.map(|seq| line(&chain(seq))).collect::<String>();
    // A record but for a byte that is not UTF-8.
    let damaged = line(&chain(9)).replacen("\"node\":\"", "\"node\":\"~", 1);
    let damaged: Vec<_> = damaged.bytes().map(|byte| if byte == b'~' { 0xff } else { byte }).collect();
    std::fs::write(&log, [(head.clone() + &text(1..=3)).into_bytes(), damaged].concat()).unwrap();
    let page = serve(folder.path()).await;
    until(&page, |live| certificates(live) == 3).await;
    std::fs::rename(&log, folder.path().join("run.jsonl.1")).unwrap();
    std::fs::write(&log, head + &text(3..=7)).unwrap();
    let live = until(&page, |live| certificates(live) == 7).await;
    let [problem] = &live.health.log_problems[..] else { panic!("{:?}", live.health.log_problems) };
    assert!(problem.contains("line 5 is not a record: byte ") && problem.contains("UTF-8"), "{problem}");
    assert_eq!(live.source, RunSource::GrowingLog);

    // As our own writer rotates.
    std::fs::write(folder.path().join("run.2.jsonl"), line(&Record::Header(header("run"))) + &text(8..=8))
        .unwrap();
    until(&page, |live| certificates(live) == 8).await;
    std::fs::remove_file(folder.path().join("run.2.jsonl")).unwrap();

    std::fs::write(folder.path().join("notes.jsonl"), "no log").unwrap();
    std::fs::write(folder.path().join("a picture"), [0xff; 70_000]).unwrap();
    // A log that has not grown for 10 s is not live, and this machine may be slow.
    let listed = loop {
        let mut file = std::fs::OpenOptions::new().append(true).open(&log).unwrap();
        std::io::Write::write_all(&mut file, b"\n").unwrap();
        let listed = list(&page).await;
        if listed.iter().all(|run| run.live) {
            break listed;
        }
    };
    let [run] = &listed[..] else { panic!("{listed:?}") };
    assert_eq!((run.id.as_str(), run.live), ("run", true));
    assert!(run.log.ends_with("run.jsonl and 1 more"), "{}", run.log);
    let bytes = |name: &str| std::fs::metadata(folder.path().join(name)).unwrap().len();
    assert_eq!(run.log_bytes, bytes("run.jsonl") + bytes("run.jsonl.1"));

    // Another page reads both from the start.
    let another = serve(folder.path()).await;
    let live = until(&another, |live| certificates(live) == 7).await;
    assert_eq!(live.snapshot.marks.len(), 0);
    let footer = Record::Footer(wec_record::Footer { at_unix_ns: START + 9 * SECOND, ..Default::default() });
    let whole =
        std::fs::read_to_string(&log).unwrap() + &line(&load_record("r2", 1, START, 7)) + &line(&footer);
    std::fs::write(&log, whole).unwrap();
    let live = until(&another, |live| live.source == RunSource::Log).await;
    assert_eq!(certificates(&live), 7);
    assert!(live.health.log_problems.join("").contains("is not a record"), "{:?}", live.health.log_problems);
}
