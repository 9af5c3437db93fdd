//! The index of a run: its figures are those of the log, whatever happened to the index.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::Value;
use wec_analytics::{
    Aggregate, Analytics, IndexPlace, Live, LogFormat, ServedPage, WindowView, fuzzing, read_logs,
};
use wec_log::RecordWriter;
use wec_record::{
    AuthorizationResult, Chain, ChallengeType, FailureClass, Footer, KeepingUp, Mark, MarkBy, MarkValue,
    MarkWhat, Observation, Record, RunHeader, ValidationHit, Verdict,
};

use crate::common::{START, exchange, header, records};

const SECOND: u64 = 1_000_000_000;

/// A run of eleven hours, in the order in which its records arrive.
fn run() -> Vec<Record> {
    run_of(11)
}

/// A run of so many hours.
fn run_of(hours: u64) -> Vec<Record> {
    let tree = records(700).prop_filter("a long one", |records| records.len() > 400);
    let mut records = tree.new_tree(&mut TestRunner::deterministic()).unwrap().current();
    let end = START + hours * 3_600 * SECOND;
    records.retain(|record| record.unix_ns().is_none_or(|at| at <= end));
    records.sort_by_key(Record::unix_ns);
    let mut seen = std::collections::HashSet::new();
    let mut new =
        |record: &Record| record.origin().is_none_or(|(node, seq)| seen.insert((node.to_owned(), seq)));
    records.retain(|record| new(record));
    // Most names have all their events in five minutes; one comes again and again.
    let name = |at: u64| match at / (300 * SECOND) {
        often if often.is_multiple_of(7) => "a.wec.test".to_owned(),
        minutes => format!("{minutes}.wec.test"),
    };
    for record in &mut records {
        match record {
            Record::Chain { origin_unix_ns, result, .. } => {
                let authorizations = result.authorizations.iter_mut();
                authorizations.for_each(|it| it.name = name(*origin_unix_ns + it.settled));
            }
            Record::Hit { hit, .. } => hit.name = name(hit.at_unix_ns),
            _ => {}
        }
    }
    records.insert(0, Record::Header(header("run")));
    records.push(Record::Footer(Footer { at_unix_ns: START + 60_000 * SECOND, ..Footer::default() }));
    records
}

fn written(records: &[Record], format: LogFormat) -> Vec<u8> {
    let mut writer = RecordWriter::new(format, Vec::new());
    for record in records {
        writer.write(record, None).unwrap();
    }
    writer.finish().unwrap()
}

async fn serve(folder: &Path, index: IndexPlace) -> Analytics {
    let page = ServedPage {
        folder: folder.to_owned(),
        listen: "127.0.0.1:0".parse().unwrap(),
        allowed_hosts: Vec::new(),
        token: None,
        opens_with: None,
    };
    page.start_with(index).await.unwrap()
}

async fn get(page: &Analytics, path: &str) -> (u16, String) {
    let request = format!("GET /api/v1/runs/run/{path}");
    let (status, _, text) = exchange(page.web_addr().unwrap(), &request, &["Host: localhost"], b"").await;
    (status, text)
}

/// What is shown of the run, without what is of the service.
async fn shown(page: &Analytics) -> [Value; 2] {
    let (status, text) = get(page, "snapshot").await;
    assert_eq!(status, 200, "{text}");
    let live: Live = serde_json::from_str(&text).unwrap();
    assert!(!live.health.log_problems.join("").contains("not a record"), "{:?}", live.health.log_problems);
    [serde_json::to_value(live.snapshot).unwrap(), serde_json::to_value(live.series).unwrap()]
}

fn of_log(path: &Path) -> [Value; 2] {
    let mut aggregate = Aggregate::default();
    read_logs(&[path.to_owned()], |record| aggregate.record(record)).unwrap();
    of_aggregate(aggregate)
}

fn of_aggregate(mut aggregate: Aggregate) -> [Value; 2] {
    let snapshot = serde_json::to_value(aggregate.snapshot()).unwrap();
    [snapshot, serde_json::to_value(aggregate.series(None).0).unwrap()]
}

#[tokio::test]
async fn a_run_and_each_part_of_it_have_the_figures_of_the_whole_log_in_every_format() {
    let records = run();
    let exact = |mut aggregate: Aggregate| {
        records.iter().for_each(|record| aggregate.record(record));
        of_aggregate(aggregate)
    };
    let whole = exact(Aggregate::default());
    // From a minute to all of it, with and without blocks of the index, whose ends are whole minutes since the epoch.
    let parts = [
        (1_200, 1_260),
        (7_201, 7_300),
        (18_000, 21_600),
        (39_000, 42_000),
        (0, 60_000),
        (0, 100_000_000),
        (1, 41_999),
        (3_599, 30_001),
        (14_400, 28_800),
        (14_399, 15_121),
    ]
    .map(|(from, to)| {
        let period = (Duration::from_secs(from), Some(Duration::from_secs(to)));
        (from, to, exact(Aggregate::of_period(period.0, period.1)))
    });
    for format in LogFormat::ALL {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(format!("run.{}", format.extension()));
        fs::write(&path, written(&records, format)).unwrap();
        for opened in ["the log", "the index"] {
            let page = serve(folder.path(), IndexPlace::Beside).await;
            assert_eq!(shown(&page).await, whole, "{opened}, {format}");
            let mut requests = 0;
            // Long parts are put together in the same way, whatever the log was read from.
            let (parts, least) = if format == LogFormat::Json { (&parts[..], 50) } else { (&parts[..4], 5) };
            for (from, to, exact) in parts {
                let (status, text) =
                    get(&page, &format!("window?from_ns={}&to_ns={}", from * SECOND, to * SECOND)).await;
                assert_eq!(status, 200, "{text}");
                let part: WindowView = serde_json::from_str(&text).unwrap();
                requests += part.snapshot.requests;
                let found = [
                    serde_json::to_value(part.snapshot).unwrap(),
                    serde_json::to_value(part.series).unwrap(),
                ];
                assert_eq!(found, *exact, "{from} to {to}, {opened}, {format}");
            }
            assert!(requests > least, "{requests}");
            page.finish().await;
        }
        let index = path.with_file_name(format!("run.{}.index", format.extension()));
        assert_eq!(fs::metadata(&index).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[tokio::test]
async fn an_index_that_is_stale_damaged_or_of_another_version_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let indexes = folder.path().join("indexes");
    fs::create_dir(&indexes).unwrap();
    let logs = folder.path().join("logs");
    fs::create_dir(&logs).unwrap();
    let (log, index) = (logs.join("run.jsonl"), indexes.join("run.jsonl.index"));
    let records = run_of(4);
    let place = IndexPlace::Folder(indexes);
    let open = async || {
        let page = serve(&logs, place.clone()).await;
        let shown = shown(&page).await;
        page.finish().await;
        shown
    };
    fs::write(&log, written(&records[..100], LogFormat::Json)).unwrap();
    // It does not grow any more.
    let long_ago = std::time::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let is_old = || fs::File::open(&log).unwrap().set_modified(long_ago).unwrap();
    is_old();
    let before = open().await;
    // A record is changed, and the length and the time of the log stay.
    let text = fs::read_to_string(&log).unwrap();
    let changed = text.replacen("\"successful\":true", "\"successful\":null", 1);
    assert_eq!(changed.len(), text.len());
    fs::write(&log, &changed).unwrap();
    is_old();
    let page = serve(&logs, place.clone()).await;
    let (_, seen) = get(&page, "snapshot").await;
    assert!(seen.contains("its form is not known"), "{seen}");
    page.finish().await;
    fs::write(&log, &text).unwrap();
    is_old();
    assert_eq!(open().await, before);
    let good = fs::read(&index).unwrap();

    let mut damaged = good.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0x55;
    for other in [damaged, good[..good.len() - 9].to_vec(), b"wecindex".to_vec()] {
        fs::write(&index, other).unwrap();
        assert_eq!(open().await, before);
        assert_eq!(fs::read(&index).unwrap().len(), good.len());
    }
    fs::write(&index, "no index").unwrap();
    assert_eq!(open().await, before);
    assert_eq!(fs::read(&index).unwrap(), b"no index", "it is somebody's");
    fs::remove_file(&index).unwrap();
    // A longer log, and then another one of the same length.
    fs::write(&log, written(&records, LogFormat::Json)).unwrap();
    let after = open().await;
    assert_eq!(after, of_log(&log));
    assert_ne!(after, before);

    let page = serve(&logs, IndexPlace::Nowhere).await;
    assert_eq!(shown(&page).await, after);
    for (query, wanted) in [
        ("window?from_ns=5&to_ns=5", 400),
        ("window?from_ns=6&to_ns=5", 400),
        ("window?from_ns=0&to_ns=3600000000001", 200),
        ("window?from_ns=0", 400),
        ("window?from_ns=0&to_ns=3600000000000", 200),
    ] {
        let (status, text) = get(&page, query).await;
        assert_eq!(status, wanted, "{query}: {text}");
    }
    assert_eq!(fs::read_dir(&logs).unwrap().count(), 1, "no index was written beside the log");
}

/// Times a week after the run's start are out of range of the start alone.
#[tokio::test]
async fn a_part_far_from_the_start_of_a_long_run_has_its_records() {
    const HOUR: u64 = 3_600;
    let chain = |hour: u64| {
        let result = crate::common::chain_result(Chain::Certificate, hour + 1, hour * HOUR * SECOND, SECOND);
        crate::common::chain_record("r1", result)
    };
    let header = |started_unix_ns| Record::Header(RunHeader { started_unix_ns, ..header("run") });
    // The second header is out of range: the run begins with the first records.
    for started in [START, START / 2] {
        let mut records = vec![header(started)];
        records.extend((0..400).map(chain));
        records.push(Record::Footer(Footer { at_unix_ns: START + 400 * HOUR * SECOND, ..Footer::default() }));
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("run.jsonl"), written(&records, LogFormat::Json)).unwrap();
        let page = serve(folder.path(), IndexPlace::Beside).await;
        for (from, to) in [(0, 1), (200, 201), (399, 400)] {
            let (from, to) = (from * HOUR, to * HOUR);
            let (_, text) =
                get(&page, &format!("window?from_ns={}&to_ns={}", from * SECOND, to * SECOND)).await;
            let part: WindowView = serde_json::from_str(&text).unwrap();
            assert_eq!(part.snapshot.chains[&Chain::Certificate].count, 1, "{from} to {to} of {started}");
            let mut whole = Aggregate::of_period(Duration::from_secs(from), Some(Duration::from_secs(to)));
            records.iter().for_each(|record| whole.record(record));
            let found =
                [serde_json::to_value(part.snapshot).unwrap(), serde_json::to_value(part.series).unwrap()];
            assert_eq!(found, of_aggregate(whole), "{from} to {to} of {started}");
        }
        page.finish().await;
    }
}

/// Names are joined among the last ten thousand, and these have others between their events.
#[tokio::test]
async fn names_that_come_again_are_joined_as_in_the_whole_log() {
    let hit = |seq: u64, name: String| {
        let hit = ValidationHit {
            seq,
            at_unix_ns: START + seq * SECOND,
            challenge: ChallengeType::Http01,
            name,
            source: String::new(),
            verdict: Verdict::Answered,
            answer: String::new(),
            took: 1_000,
        };
        Record::Hit { node: "c1".to_owned(), hit }
    };
    let mut records = vec![Record::Header(header("run"))];
    records.extend((1..=12_000).map(|seq| {
        let name = if seq % 5_500 < 3 { "again".to_owned() } else { format!("{seq}") };
        hit(seq, name)
    }));
    for (seq, started) in [(1, 2), (2, 5_000), (3, 5_499), (4, 11_000)] {
        let mut result = crate::common::chain_result(Chain::Authorization, seq, started * SECOND, 3 * SECOND);
        result.authorizations.iter_mut().for_each(|it| it.name = "again".to_owned());
        assert!(!result.authorizations.is_empty());
        records.push(crate::common::chain_record("r1", result));
    }
    records.push(Record::Footer(Footer { at_unix_ns: START + 12_000 * SECOND, ..Footer::default() }));
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("run.jsonl"), written(&records, LogFormat::Json)).unwrap();
    let page = serve(folder.path(), IndexPlace::Beside).await;
    shown(&page).await;
    for (from, to) in [(0, 12_001), (1, 11_999), (3_000, 9_000)] {
        let (_, text) = get(&page, &format!("window?from_ns={}&to_ns={}", from * SECOND, to * SECOND)).await;
        let part: WindowView = serde_json::from_str(&text).unwrap();
        let mut whole = Aggregate::of_period(Duration::from_secs(from), Some(Duration::from_secs(to)));
        records.iter().for_each(|record| whole.record(record));
        let found =
            [serde_json::to_value(part.snapshot).unwrap(), serde_json::to_value(part.series).unwrap()];
        assert_eq!(found, of_aggregate(whole), "{from} to {to}");
    }
    page.finish().await;
}

/// A record may list its requests and authorizations in another order than they ended, and so be in several blocks.
#[tokio::test]
async fn rows_of_a_part_are_in_the_order_of_the_log_also_within_a_record() {
    let mut records = vec![Record::Header(header("run"))];
    for seq in 1..=500 {
        let mut result =
            crate::common::chain_result(Chain::Certificate, seq, seq * 27 * SECOND, 300 * SECOND);
        for (index, request) in (0..).zip(&mut result.requests) {
            // Two of them fail in the same way, with examples of their own.
            request.endpoint = format!("e{}", (seq * 3 + index.min(2)) % 90).into();
            request.successful = seq.is_multiple_of(2);
            if !request.successful {
                request.class = Some(FailureClass::Problem);
                request.status = 400;
                request.error = format!("{seq}, {index}");
            }
        }
        let proof = result.authorizations[0].clone();
        let at = |settled: u64| AuthorizationResult { settled, answered: settled - SECOND, ..proof.clone() };
        result.authorizations = (0..4).map(|n| at((seq * 27 + n * 70 + 1) * SECOND)).collect();
        result.authorizations.reverse();
        result.requests.reverse();
        records.push(crate::common::chain_record("r1", result));
    }
    records.push(Record::Footer(Footer { at_unix_ns: START + 14_000 * SECOND, ..Footer::default() }));
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("run.jsonl"), written(&records, LogFormat::Json)).unwrap();
    let page = serve(folder.path(), IndexPlace::Beside).await;
    for (from, to) in [(0, 14_000), (1, 9_999), (600, 1_200), (3_333, 8_000), (7_200, 7_500)] {
        let (_, text) = get(&page, &format!("window?from_ns={}&to_ns={}", from * SECOND, to * SECOND)).await;
        let part: WindowView = serde_json::from_str(&text).unwrap();
        assert!(part.snapshot.endpoints.len() > 20 && part.snapshot.failures.len() > 10);
        let mut whole = Aggregate::of_period(Duration::from_secs(from), Some(Duration::from_secs(to)));
        records.iter().for_each(|record| whole.record(record));
        let found =
            [serde_json::to_value(part.snapshot).unwrap(), serde_json::to_value(part.series).unwrap()];
        assert_eq!(found, of_aggregate(whole), "{from} to {to}");
    }
    page.finish().await;
}

/// The first of too many marks are listed, and those of people before those of the load tester.
#[tokio::test]
async fn parts_of_a_run_with_too_many_marks_are_those_of_the_log() {
    let mark = |n: u32| {
        // Not in the order of their times.
        let at = START + u64::from(n * 10 + (n % 7) * 100) * SECOND;
        let (by, what, value) = match n % 3 {
            0 => (MarkBy::Generator, MarkWhat::Generator, MarkValue::Generator(KeepingUp::KeepsUp)),
            _ => (MarkBy::Api, MarkWhat::Workers, MarkValue::Workers(n)),
        };
        Record::Mark(Mark::new(at, by, what, value))
    };
    let mut records = run();
    records.splice(1..1, (0..1_600).map(mark));
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("run.jsonl"), written(&records, LogFormat::Json)).unwrap();
    for opened in ["the log", "the index"] {
        let page = serve(folder.path(), IndexPlace::Beside).await;
        for (from, to) in [(0, 60_000), (1, 12_001), (3_000, 9_000)] {
            let mut exact = Aggregate::of_period(Duration::from_secs(from), Some(Duration::from_secs(to)));
            records.iter().for_each(|record| exact.record(record));
            let (status, text) =
                get(&page, &format!("window?from_ns={}&to_ns={}", from * SECOND, to * SECOND)).await;
            assert_eq!(status, 200, "{text}");
            let part: WindowView = serde_json::from_str(&text).unwrap();
            let found = serde_json::to_value(part.snapshot).unwrap();
            let [exact, _] = of_aggregate(exact);
            assert_eq!(found["missing"], exact["missing"], "{from} to {to}, {opened}");
            assert_eq!(found["marks"], exact["marks"], "{from} to {to}, {opened}");
        }
        page.finish().await;
    }
}

#[tokio::test]
async fn observations_of_odd_numbers_have_an_index() {
    let odd = [
        0.1 + 0.2,
        61_693_952.123_456_78,
        5e-324,
        1.797e300,
        1.0 / 3.0,
        0.004_096_791,
        122.416_241_500_000_01,
    ];
    let observed = (0..700).map(|n| {
        Record::Observation(Observation {
            at_unix_ns: START + n * SECOND,
            source: "ca".to_owned(),
            gauges: odd.iter().enumerate().map(|(i, x)| (format!("g{i}"), x / (n + 1) as f64)).collect(),
            counters: [("c_total".to_owned(), n as f64 * 0.013_370_1)].into(),
            left_out: 0,
        })
    });
    let mut records = run();
    records.splice(1..1, observed);
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("run.jsonl");
    fs::write(&log, written(&records, LogFormat::Json)).unwrap();
    let page = serve(folder.path(), IndexPlace::Beside).await;
    shown(&page).await;
    page.finish().await;
    assert!(folder.path().join("run.jsonl.index").exists());
}

/// Whoever can write beside a log can write an index.
#[tokio::test]
async fn an_index_of_somebody_else_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let (log, index) = (folder.path().join("run.jsonl"), folder.path().join("run.jsonl.index"));
    let records = run_of(4);
    fs::write(&log, written(&records, LogFormat::Json)).unwrap();
    let whole = of_log(&log);
    let open = async || {
        let page = serve(folder.path(), IndexPlace::Beside).await;
        let shown = shown(&page).await;
        let (status, part) = get(&page, "window?from_ns=1&to_ns=12000000000000").await;
        assert_eq!(status, 200, "{part}");
        page.finish().await;
        let part: WindowView = serde_json::from_str(&part).unwrap();
        (shown, part)
    };
    let (shown, part) = open().await;
    assert_eq!(shown, whole);
    let good = fs::read(&index).unwrap();
    let length = u64::from_le_bytes(good[8..16].try_into().unwrap()) as usize;
    let (head, sections) = good[16..].split_at(length);
    let head = String::from_utf8(zstd::decode_all(head).unwrap()).unwrap();
    let with_head = |head: &[u8]| {
        let head = zstd::encode_all(head, 3).unwrap();
        [b"wecindex", &(head.len() as u64).to_le_bytes()[..], &head, sections].concat()
    };
    assert!(head.contains(r#""blocks":{"#), "parts are put together of blocks");
    // The same head is believed; its times of samples and places of minutes are not, if they cannot be.
    fs::write(&index, with_head(head.as_bytes())).unwrap();
    assert_eq!(open().await, (shown.clone(), part.clone()));
    let change = |what: &str, to: &str| {
        assert!(head.contains(what), "{what}");
        with_head(head.replacen(what, to, 1).as_bytes())
    };
    let others = [
        // As long as a gigabyte when it is unpacked.
        with_head(&vec![b' '; 1 << 27]),
        change(r#""starts":{"0":{"first":"#, r#""starts":{"0":{"first":9000000000"#),
        change(r#""starts":{"0":"#, r#""starts":{"7":"#),
        change(r#""hash":"#, r#""hash":1"#),
        change(r#""figures":["#, r#""figures":[9000000000"#),
        [&b"wecindex"[..], &[255; 8], &good[16..]].concat(),
    ];
    for other in others {
        fs::write(&index, &other).unwrap();
        assert_eq!(open().await, (shown.clone(), part.clone()));
        assert_ne!(fs::read(&index).unwrap(), other, "it was made again");
    }
    // Its sections are read when they are needed.
    let mut damaged = good.clone();
    let at = good.len() - sections.len() / 2;
    damaged[at..at + 64].fill(0x55);
    fs::write(&index, &damaged).unwrap();
    assert_eq!(open().await, (shown, part));
}

/// Each figure of the blocks is changed to one that no records can have.
#[tokio::test]
async fn figures_that_cannot_be_those_of_records_are_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let index = folder.path().join("run.jsonl.index");
    fs::write(folder.path().join("run.jsonl"), written(&run(), LogFormat::Json)).unwrap();
    let open = async || {
        let page = serve(folder.path(), IndexPlace::Beside).await;
        shown(&page).await;
        let (status, part) = get(&page, "window?from_ns=1&to_ns=12000000000000").await;
        assert_eq!(status, 200, "{part}");
        page.finish().await;
        part
    };
    let part = open().await;
    let good = fs::read(&index).unwrap();
    let length = u64::from_le_bytes(good[8..16].try_into().unwrap()) as usize;
    let (head, sections) = good[16..].split_at(length);
    let head: Value = serde_json::from_slice(&zstd::decode_all(head).unwrap()).unwrap();
    // All figures of blocks, with another number after these keys, put after the other sections.
    let with = |keys: &[&str], to: &str| {
        let (mut head, mut sections) = (head.clone(), sections.to_vec());
        let mut places = Vec::new();
        for (key, of_key) in head["blocks"].as_object_mut().unwrap() {
            let all = of_key.as_object_mut().filter(|_| ["places", "spans"].contains(&key.as_str()));
            for section in all.into_iter().flat_map(|all| all.values_mut()) {
                places.push(if key == "places" { &mut section["figures"] } else { section });
            }
        }
        let mut changed = 0;
        for section in places {
            let number = |place: usize| section[place].as_u64().unwrap() as usize;
            let before = &sections[number(0)..number(0) + number(1)];
            let mut figures = String::from_utf8(zstd::decode_all(before).unwrap()).unwrap();
            // A block may have nothing of the kind.
            let after = |from: usize, key: &&str| Some(from + figures[from..].find(key)? + key.len());
            let from = keys.iter().try_fold(0, after).filter(|from| *from > 0);
            if let Some(from) = from {
                changed += 1;
                let end = from + figures[from..].find([',', '}']).unwrap();
                figures.replace_range(from..end, to);
            }
            let figures = zstd::encode_all(figures.as_bytes(), 3).unwrap();
            *section = serde_json::json!([sections.len(), figures.len()]);
            sections.extend(figures);
        }
        assert!(changed > 20 || keys.is_empty(), "{keys:?}: {changed}");
        let head = zstd::encode_all(head.to_string().as_bytes(), 3).unwrap();
        [b"wecindex", &(head.len() as u64).to_le_bytes()[..], &head, &sections].concat()
    };
    assert!(head["blocks"]["spans"].as_object().unwrap().len() > 2, "there are spans of blocks");
    let most = "18446744073709551615";
    let changes: [(&[&str], &str); 14] = [
        (&[], ""),
        (&["\"issued\":"], most),
        (&["\"issuances\":{\"n\":"], most),
        (&["\"issuances\":", "\"max\":"], most),
        (&["\"chains\":", "\"failed\":"], most),
        (&["\"chains\":", "\"response\":", "\"sum\":"], "340282366920938463463374607431768211455"),
        (&["\"endpoints\":", "\"cut_off\":"], most),
        (&["\"polls\":"], most),
        (&["\"bytes\":{\"sent\":"], most),
        (&["\"observed\":{\"step_s\":"], most),
        (&["\"timeline\":{\"step_s\":"], "0"),
        (&["\"timeline\":{\"step_s\":"], "3"),
        (&["\"timeline\":", "\"first\":"], most),
        (&["\"timeline\":", "\"requests\":"], most),
    ];
    for (keys, to) in changes {
        fs::write(&index, with(keys, to)).unwrap();
        let found = open().await;
        assert!(found == part, "{keys:?} {to}: {found}");
    }
}

/// What the fuzzer does with any bytes.
#[tokio::test]
async fn an_index_that_is_damaged_anywhere_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("run.jsonl"), written(&run_of(3), LogFormat::Json)).unwrap();
    let page = serve(folder.path(), IndexPlace::Beside).await;
    shown(&page).await;
    page.finish().await;
    let index = fs::read(folder.path().join("run.jsonl.index")).unwrap();
    let length = u64::from_le_bytes(index[8..16].try_into().unwrap()) as usize;
    let (head, sections) = index[16..].split_at(length);
    let head = zstd::decode_all(head).unwrap();
    let read: Value = serde_json::from_slice(&head).unwrap();
    let section = |of: &str| {
        let mut places = read["blocks"]["places"].as_object().unwrap().values().map(|block| &block[of]);
        let place = places.find(|place| place[1] != 0).expect("a block has some");
        let number = |n: usize| place[n].as_u64().unwrap() as usize;
        zstd::decode_all(&sections[number(0)..number(0) + number(1)]).unwrap()
    };
    let whole = [&[0], &head[..], &[0], sections].concat();
    let blocks = ["figures", "validations"].map(|of| [&[1], &section(of)[..]].concat());
    for (good, times) in [(&whole, 60), (&blocks[0], 200), (&blocks[1], 200)] {
        fuzzing::read_index(good);
        for place in (1..good.len()).step_by(good.len().div_ceil(times)) {
            let mut damaged = good.clone();
            // Numbers become others, and the end of text or of a list is missing.
            damaged[place] = b"0-]9\"e\0\xff"[place % 8];
            fuzzing::read_index(&damaged);
            fuzzing::read_index(&good[..place]);
        }
    }
}

#[tokio::test]
async fn a_log_may_have_the_name_of_an_index() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mine.index"), written(&run_of(2), LogFormat::Json)).unwrap();
    let page = serve(folder.path(), IndexPlace::Beside).await;
    let (status, list) = exchange_list(&page).await;
    assert_eq!(status, 200);
    assert!(list.contains("mine.index"), "{list}");
    assert_eq!(shown(&page).await, of_log(&folder.path().join("mine.index")));
    page.finish().await;
    assert!(folder.path().join("mine.index.index").exists());
    // The index of that log is no log.
    let page = serve(folder.path(), IndexPlace::Beside).await;
    assert!(!exchange_list(&page).await.1.contains("index.index"));
    page.finish().await;
}

async fn exchange_list(page: &Analytics) -> (u16, String) {
    let (status, _, text) =
        exchange(page.web_addr().unwrap(), "GET /api/v1/runs", &["Host: localhost"], b"").await;
    (status, text)
}
