//! Results from another process, end to end: the requester's sink, gRPC, and `wec-analytics` as a real
//! process that is killed, paused and started again. Each result counts once.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio_stream::StreamExt;
use tonic::transport::{Channel, Endpoint};
use wec_acme::Clock;
use wec_analytics::{Analytics, Config, Live, Token, replay};
use wec_board::Board;
use wec_delivery::{GrpcOptions, GrpcSink, Keep, Sink};
use wec_proto::results as wire;
use wec_proto::results::results_client::ResultsClient;
use wec_record::{Chain, Event, Level, Record, RunHeader};

use crate::common::{START, chain_result, exchange, header, load_record, unchunked};

/// Longer than any step takes; a test that waits so long fails.
const LONG: Duration = Duration::from_secs(180);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_result_counts_once_though_analytics_is_killed_and_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let addresses = Addresses::free();
    let sink =
        Arc::new(GrpcSink::start(options(folder.path(), addresses.grpc, "r1"), Clock::start()).unwrap());
    let mut analytics = Process::start(folder.path(), addresses).await;

    let over = Arc::new(AtomicBool::new(false));
    let workers: Vec<_> = (0..3)
        .map(|worker| {
            let (sink, over) = (Arc::clone(&sink), Arc::clone(&over));
            tokio::spawn(async move {
                let mut pushed = 0;
                while !over.load(Ordering::Relaxed) {
                    for _ in 0..5 {
                        pushed += 1;
                        sink.push(chain_result(Chain::ALL[worker], pushed, pushed * 1_000, 1_000));
                    }
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                pushed
            })
        })
        .collect();
    let sampler = tokio::spawn({
        let (sink, over) = (Arc::clone(&sink), Arc::clone(&over));
        async move {
            let mut samples = 0;
            while !over.load(Ordering::Relaxed) {
                samples += 1;
                let Record::Load { at_unix_ns, load, .. } = load_record("", 0, START + samples, 0) else {
                    break;
                };
                sink.push_load(at_unix_ns, load);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            samples
        }
    });
    for _ in 0..3 {
        let delivered = sink.health().delivered;
        until(|| sink.health().delivered > delivered + 300).await;
        analytics.kill_9().await;
        until(|| sink.health().spooled > 0).await;
        analytics = Process::start(folder.path(), addresses).await;
    }
    over.store(true, Ordering::Relaxed);
    let mut pushed = 0;
    for worker in workers {
        pushed += worker.await.unwrap();
    }
    let samples = sampler.await.unwrap();

    let health = sink.finish(LONG).await;
    assert_eq!((health.pushed, health.delivered, health.lost), (pushed, pushed, 0), "{health:?}");
    let live = analytics.live().await;
    assert_eq!(live.snapshot.chains.values().map(|chain| chain.count).sum::<u64>(), pushed);
    assert_eq!((live.health.gaps, live.health.log_error), (0, None));
    assert_eq!(live.snapshot.generator.lag_ns.n, 2 * samples, "two lags a sample, each sample once");
    analytics.terminate().await;
    let (results, distinct) = results_in(&folder.path().join("results/run.jsonl"));
    assert_eq!((results, distinct), (pushed, pushed));
    let replayed = replay(&folder.path().join("results/run.jsonl")).unwrap().snapshot();
    assert_eq!(replayed, live.snapshot, "after three restarts the live figures equal the log's");
    assert!(!folder.path().join("spool/r1").exists(), "the spool is empty");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_are_accepted_while_analytics_is_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let addresses = Addresses::free();
    let analytics = Process::start(folder.path(), addresses).await;
    let sink = GrpcSink::start(options(folder.path(), addresses.grpc, "r1"), Clock::start()).unwrap();
    sink.push(chain_result(Chain::Refresh, 1, 0, 1_000));
    until(|| sink.health().delivered == 1).await;
    analytics.signal("STOP").await;
    let mut pushed = 1;
    until(|| {
        // About 20,000 results a second, more than a requester makes.
        for _ in 0..100 {
            pushed += 1;
            sink.push(chain_result(Chain::Refresh, pushed, 0, 1_000));
        }
        sink.health().spooled > 5_000
    })
    .await;
    analytics.signal("CONT").await;
    let health = sink.finish(LONG).await;
    assert_eq!((health.delivered, health.lost), (pushed, 0), "{health:?}");
    assert_eq!(analytics.live().await.snapshot.chains[&Chain::Refresh].count, pushed);
    analytics.terminate().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_full_spool_loses_results_and_their_number_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let addresses = Addresses::free();
    let keep = Keep::Spool { folder: folder.path().join("spool"), bytes: 300_000 };
    let options = GrpcOptions { keep, ..options(folder.path(), addresses.grpc, "r1") };
    let sink = GrpcSink::start(options, Clock::start()).unwrap();
    let mut pushed = 0;
    until(|| {
        for _ in 0..100 {
            pushed += 1;
            sink.push(chain_result(Chain::Refresh, pushed, 0, 1_000));
        }
        sink.health().lost > 0
    })
    .await;
    let full = "holds its 300000 bytes";
    assert!(sink.health().trouble.unwrap().contains(full));
    assert!(sink.health().lost_why.unwrap().contains(full));
    let analytics = Process::start(folder.path(), addresses).await;
    let health = sink.finish(LONG).await;
    assert_eq!(health.delivered + health.lost, pushed, "{health:?}");
    let live = analytics.live().await;
    assert_eq!(live.snapshot.missing.lost_results, health.lost);
    assert_eq!(live.snapshot.chains[&Chain::Refresh].count, health.delivered);
    assert_eq!(live.health.gaps, 0);
    analytics.terminate().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_start_delivers_what_a_requester_left_in_its_spool() {
    let folder = tempfile::tempdir().unwrap();
    let addresses = Addresses::free();
    let old = GrpcOptions { header: Some(header("old")), ..options(folder.path(), addresses.grpc, "r1") };
    let sink = GrpcSink::start(old, Clock::start()).unwrap();
    for seq in 0..1_000 {
        sink.push(chain_result(Chain::Revoke, seq, 0, 1_000));
    }
    let health = sink.finish(Duration::ZERO).await;
    assert_eq!((health.delivered, health.queued, health.spooled), (0, 0, 1_000), "{health:?}");

    let analytics = Process::start(folder.path(), addresses).await;
    let mut newer = header("run");
    newer.started_unix_ns += 1;
    let options = GrpcOptions { header: Some(newer), ..options(folder.path(), addresses.grpc, "r2") };
    let sink = GrpcSink::start(options, Clock::start()).unwrap();
    sink.push(chain_result(Chain::Revoke, 1, 0, 1_000));
    let health = sink.finish(LONG).await;
    assert_eq!(health.delivered, 1);
    let live = analytics.live().await;
    assert_eq!((live.snapshot.run.id.as_str(), live.snapshot.chains[&Chain::Revoke].count), ("run", 1));
    analytics.terminate().await;
    assert_eq!(results_in(&folder.path().join("results/old.jsonl")), (1_000, 1_000));
    assert_eq!(results_in(&folder.path().join("results/run.jsonl")), (1, 1));
    assert_eq!(std::fs::read_dir(folder.path().join("spool")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_cannot_be_written_is_reported_and_the_run_continues() {
    let folder = tempfile::tempdir().unwrap();
    let addresses = Addresses::free();
    // A limit on the file's size acts as a full disk and needs no privileges.
    let limited = "trap '' XFSZ; ulimit -f 100; exec \"$0\" \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", limited, env!("CARGO_BIN_EXE_wec-analytics")]);
    let analytics = Process::start_as(command, folder.path(), addresses).await;
    let sink = GrpcSink::start(options(folder.path(), addresses.grpc, "r1"), Clock::start()).unwrap();
    for seq in 1..=1_000 {
        sink.push(chain_result(Chain::Revoke, seq, 0, 1_000));
    }
    let live = loop {
        let live = analytics.live().await;
        if live.snapshot.chains[&Chain::Revoke].count == 1_000 && live.health.log_error.is_some() {
            break live;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(live.health.log_error.unwrap().contains("cannot write the log"));
    let health = sink.finish(Duration::from_millis(200)).await;
    assert_eq!(health.lost, 0);
    assert!(health.spooled > 0, "results that are not in the log are not acknowledged: {health:?}");
    assert_eq!(analytics.terminated().await.code(), Some(1), "the log must not be reported as whole");
}

#[tokio::test]
async fn a_batch_that_is_sent_again_counts_once() {
    let (analytics, _folder) = in_process(None).await;
    let mut client = client_of(&analytics).await;
    // Two streams, as after a broken connection. The second begins before the acknowledged number.
    for (batches, through) in [(vec![batch(1, 3), batch(4, 2)], 5), (vec![batch(4, 2), batch(4, 5)], 8)] {
        let acks = client.deliver(tokio_stream::iter(batches)).await.unwrap().into_inner();
        let acks: Vec<_> = acks.map(|ack| ack.unwrap().through_seq).collect().await;
        assert_eq!(acks.last(), Some(&through), "{acks:?}");
    }
    let health = analytics.health();
    assert_eq!((health.duplicates, health.gaps), (4, 0));
    assert_eq!(analytics.finish().await.snapshot.chains[&Chain::Registration].count, 8);
}

/// What a process warns of arrives as JSON, is numbered as other records are, and is counted live as in a replay.
#[tokio::test]
async fn events_of_other_processes_are_logged_and_counted_by_cause() {
    let (analytics, folder) = in_process(None).await;
    let mut client = client_of(&analytics).await;
    let event = |text: &str, count, at_unix_ns| {
        let level = if count == 1 { Level::Error } else { Level::Warn };
        let event = Event { at_unix_ns, level, text: text.to_owned(), count, ..Event::default() };
        wire::Entry { entry: Some(wire::entry::Entry::Json(wec_record::wire::event_to_wire(event))) }
    };
    let mut sent = batch(1, 1);
    sent.entries.push(event("records 5 to 7 never arrived", 3, START + 1));
    sent.entries.push(event("records 8 to 17 never arrived", 4, START + 2));
    sent.entries.push(event("the disk is full", 1, START + 3));
    let mut acks = client.deliver(tokio_stream::iter([sent, batch(5, 1)])).await.unwrap().into_inner();
    while acks.message().await.unwrap().unwrap().through_seq < 5 {}
    let live = analytics.finish().await.snapshot;
    let told: Vec<_> = live.warnings.iter().map(|it| (it.count, it.level, it.text.as_str())).collect();
    assert_eq!(
        told,
        [(7, Level::Warn, "records 5 to 7 never arrived"), (1, Level::Error, "the disk is full")]
    );
    assert_eq!((&*live.warnings[0].nodes[0], live.warnings[0].last_unix_ns), ("r1", START + 2));
    assert_eq!(live.missing.unknown_records, 0);
    let log = folder.path().join("run.jsonl");
    assert_eq!(replay(&log).unwrap().snapshot(), live);
    let report = wec_analytics::read_logs(&[log], |_| {}).unwrap();
    assert_eq!((report.records["event"], report.is_whole()), (3, true));
}

#[tokio::test]
async fn records_of_unknown_kinds_are_logged_unchanged_and_counted() {
    let (analytics, folder) = in_process(None).await;
    let mut client = client_of(&analytics).await;
    let json = |kind: &str, object: &str| {
        let json = wire::Json { kind: kind.to_owned(), object: object.to_owned() };
        wire::Entry { entry: Some(wire::entry::Entry::Json(json)) }
    };
    let mut later = batch(1, 1);
    later.entries.push(json("clock", r#"{"at_unix_ns":1,"text":"slow","share":0.10000000000000000001}"#));
    // An entry with a field that this version does not have.
    later.entries.push(wire::Entry { entry: None });
    let challenge = wire::ValidationHit { challenge: 99, took: 5, ..wire::ValidationHit::default() };
    later.entries.push(wire::Entry { entry: Some(wire::entry::Entry::Hit(challenge)) });
    let mut acks = client.deliver(tokio_stream::iter([later, batch(5, 1)])).await.unwrap().into_inner();
    while acks.message().await.unwrap().unwrap().through_seq < 5 {}

    let mut bad = batch(6, 0);
    bad.entries.push(json("chain", "{}"));
    let mut acks = client.deliver(tokio_stream::iter([bad])).await.unwrap().into_inner();
    let status = acks.message().await.unwrap_err();
    assert!(
        status.message().contains("record 6 of \"r1\": records of kind \"chain\" are not sent"),
        "{status:?}"
    );

    let live = analytics.finish().await.snapshot;
    assert_eq!((live.missing.unknown_records, live.chains[&Chain::Registration].count), (3, 2));
    let log = folder.path().join("run.jsonl");
    assert_eq!(replay(&log).unwrap().snapshot(), live);
    let text = std::fs::read_to_string(&log).unwrap();
    let lines = [
        r#"{"record":"clock","node":"r1","seq":2,"at_unix_ns":1,"text":"slow","share":0.10000000000000000001}"#,
        r#"{"record":"unreadable","node":"r1","seq":3}"#,
    ];
    let lines = lines.join("\n");
    assert!(text.contains(&lines), "{text}");
    let hit = text.lines().find(|line| line.contains(r#""seq":4"#)).unwrap();
    let hit: serde_json::Value = serde_json::from_str(hit).unwrap();
    assert_eq!(
        (&hit["record"], &hit["type"], &hit["took"]),
        (&"hit".into(), &"99".into(), &5.into()),
        "{hit}"
    );
}

#[tokio::test]
async fn an_unknown_record_that_is_too_long_is_lost_alone() {
    let (analytics, folder) = in_process(None).await;
    let mut client = client_of(&analytics).await;
    let object = format!(r#"{{"text":"{}"}}"#, "x".repeat(1 << 20));
    let json = wire::Json { kind: "later".to_owned(), object };
    let mut with_it = batch(1, 1);
    with_it.entries.push(wire::Entry { entry: Some(wire::entry::Entry::Json(json)) });
    let batches = tokio_stream::iter([batch(1, 0), with_it, batch(3, 1)]);
    let mut acks = client.deliver(batches).await.unwrap().into_inner();
    while acks.message().await.unwrap().unwrap().through_seq < 3 {}
    let live = analytics.finish().await.snapshot;
    assert_eq!((live.missing.lost_results, live.chains[&Chain::Registration].count), (1, 2));
    let log = folder.path().join("run.jsonl");
    assert_eq!(replay(&log).unwrap().snapshot(), live);
    let text = std::fs::read_to_string(&log).unwrap();
    let lost = text.lines().find(|line| line.contains(r#""record":"lost""#)).unwrap();
    assert!(lost.contains("of kind \\\"later\\\", and it is longer than 1048576 bytes"), "{lost}");
}

#[tokio::test]
async fn missing_numbers_are_counted_as_gaps() {
    let (analytics, _folder) = in_process(None).await;
    let mut client = client_of(&analytics).await;
    let batches = tokio_stream::iter([batch(1, 1), batch(11, 1)]);
    let acks = client.deliver(batches).await.unwrap().into_inner();
    let acks: Vec<_> = acks.map(|ack| ack.unwrap().through_seq).collect().await;
    assert_eq!(acks.last(), Some(&11));
    until(|| analytics.health().gaps > 0).await;
    assert_eq!(analytics.health().gaps, 9);
}

#[tokio::test]
async fn a_challenge_server_of_several_runs_leaves_no_gaps() {
    let (analytics, _folder) = in_process(None).await;
    analytics.begin(header("run")).await.unwrap();
    let mut client = client_of(&analytics).await;
    let hits = |first_seq| wire::Batch { sender: "c1".to_owned(), run: String::new(), ..batch(first_seq, 2) };
    let acks =
        client.deliver(tokio_stream::iter([hits(500), hits(502), hits(505)])).await.unwrap().into_inner();
    let acks: Vec<_> = acks.map(|ack| ack.unwrap().through_seq).collect().await;
    assert_eq!(acks.last(), Some(&506));
    // The acknowledgement may arrive before the counts are updated.
    until(|| analytics.health().gaps > 0).await;
    assert_eq!(analytics.health().gaps, 1, "numbers from before the run are not gaps");
}

#[tokio::test]
async fn refuses_invalid_batches_with_the_reason() {
    let (analytics, folder) = in_process(None).await;
    let mut client = client_of(&analytics).await;
    let no_header = wire::Batch { hello: None, ..batch(1, 1) };
    let other_header = wire::Batch { run: "other".to_owned(), ..batch(1, 1) };
    let escape = wire::Batch { run: "../escape".to_owned(), hello: hello("../escape"), ..batch(1, 1) };
    let no_run = wire::Batch { run: String::new(), ..batch(1, 1) };
    let cases = [
        (no_header, "no usable header"),
        (other_header, "has the header of"),
        (escape, "cannot have a log"),
        (no_run, "no run has begun"),
        (wire::Batch { first_seq: 0, ..batch(1, 1) }, "first_seq"),
        (wire::Batch { first_seq: u64::MAX, ..batch(1, 2) }, "first_seq"),
        (wire::Batch { sender: String::new(), ..batch(1, 1) }, "not a sender"),
        (wire::Batch { sender: "x".repeat(1_000), ..batch(1, 1) }, "not a sender"),
    ];
    for (batch, why) in cases {
        let mut acks = client.deliver(tokio_stream::iter([batch])).await.unwrap().into_inner();
        let status = acks.message().await.unwrap_err();
        assert!(status.message().contains(why), "{why:?} is missing in {status:?}");
    }
    assert_eq!(analytics.finish().await.snapshot.requests, 0);
    assert!(!folder.path().parent().unwrap().join("escape.jsonl").exists());
}

#[tokio::test]
async fn results_need_the_token_where_there_is_one() {
    let (analytics, _folder) = in_process(Some("geheim")).await;
    let mut client = client_of(&analytics).await;
    for (token, let_in) in [("", false), ("Bearer falsch", false), ("geheim", false), ("Bearer geheim", true)]
    {
        let mut request = tonic::Request::new(tokio_stream::iter([batch(1, 1)]));
        request.metadata_mut().insert("authorization", token.parse().unwrap());
        match client.deliver(request).await {
            Ok(acks) => {
                let ack = acks.into_inner().message().await.unwrap().unwrap();
                assert!(let_in && ack.through_seq == 1);
            }
            Err(status) => assert!(!let_in && status.code() == tonic::Code::Unauthenticated, "{status:?}"),
        }
    }
    let counts = analytics.health().listeners;
    assert_eq!((counts[0].what.as_str(), counts[0].unauthenticated), ("results", 3));
    assert_eq!(analytics.finish().await.snapshot.chains[&Chain::Registration].count, 1);
}

#[tokio::test]
async fn a_record_that_would_make_the_log_unreadable_is_refused_by_its_number() {
    let (analytics, folder) = in_process(None).await;
    let mut client = client_of(&analytics).await;
    let mut bad = batch(1, 2);
    let endless = wire::ScenarioLoad { rate: f64::INFINITY, ..wire::ScenarioLoad::default() };
    let load =
        wire::Load { at_unix_ns: crate::common::START, scenarios: vec![endless], ..wire::Load::default() };
    bad.entries.push(wire::Entry { entry: Some(wire::entry::Entry::Load(load)) });
    let mut newer = batch(1, 1);
    newer.run = "newer".to_owned();
    let header = RunHeader { version: 99, ..header("newer") };
    let header_json = serde_json::to_string(&header).unwrap();
    newer.hello = Some(wire::Hello { header_json, ..wire::Hello::default() });
    let strange = wire::Batch { sender: "r1\u{1b}[2J".to_owned(), ..batch(1, 1) };
    for (batch, why) in [
        (bad, "record 3 of \"r1\": it cannot be read back"),
        (newer, "run \"newer\": its header has version 99"),
        (strange, "is not a sender's id"),
    ] {
        let mut acks = client.deliver(tokio_stream::iter([batch])).await.unwrap().into_inner();
        let status = acks.message().await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::InvalidArgument, "{status:?}");
        assert!(status.message().contains(why), "{why:?} is missing in {status:?}");
    }
    let mut acks = client.deliver(tokio_stream::iter([batch(1, 5)])).await.unwrap().into_inner();
    assert_eq!(acks.message().await.unwrap().unwrap().through_seq, 5);
    analytics.finish().await;
    assert_eq!(results_in(&folder.path().join("run.jsonl")), (5, 5));
    assert!(!folder.path().join("newer.jsonl").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_batch_that_is_refused_for_good_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let addresses = Addresses::free();
    let sink = GrpcSink::start(options(folder.path(), addresses.grpc, "r1"), Clock::start()).unwrap();
    // Analytics does not run yet, so all batches are in flight at once. One contains an invalid rate; the result in the
    // same batch is lost with it.
    for number in 1..=40 {
        if number == 17 {
            let mut load = wec_record::LoadSample::default();
            load.scenarios.push(wec_record::ScenarioSample { rate: f64::NAN, ..Default::default() });
            sink.push_load(START, load);
        }
        sink.push(chain_result(Chain::Refresh, number, 0, 1_000));
        // A batch is in the spool as a whole, so the next result is in another batch.
        until(|| sink.health().spooled == number).await;
    }
    let analytics = Process::start(folder.path(), addresses).await;
    let health = sink.finish(LONG).await;
    assert_eq!((health.delivered + health.lost, health.queued, health.spooled), (40, 0, 0), "{health:?}");
    let why = health.lost_why.clone().unwrap();
    assert!(why.contains("refuses them permanently: record") && why.contains("cannot be read back"), "{why}");
    let live = analytics.live().await;
    assert_eq!(live.snapshot.chains[&Chain::Refresh].count, health.delivered);
    assert_eq!(
        live.snapshot.missing.lost_results, health.lost,
        "analytics receives the number of lost results"
    );
    analytics.terminate().await;
    let log = folder.path().join("results/run.jsonl");
    assert_eq!(results_in(&log), (health.delivered, health.delivered));
    // The load sample has number 17. Its batch is lost; the results before and after it are in the log.
    let here: HashSet<_> = numbered_results(&log).into_iter().map(|(_, seq)| seq).collect();
    let lost: Vec<_> = (1..=41).filter(|seq| !here.contains(seq)).collect();
    assert!(lost.contains(&17) && lost.windows(2).all(|two| two[0] + 1 == two[1]), "{lost:?}");
    assert!(here.contains(&1) && here.contains(&41), "{lost:?}");
    assert!(!folder.path().join("spool/r1").exists(), "the refused batch is no longer in the spool");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_undeliverable_spool_of_a_dead_sender_does_not_delay_a_later_run() {
    let folder = tempfile::tempdir().unwrap();
    let addresses = Addresses::free();
    let newer = GrpcOptions {
        header: Some(RunHeader { version: 99, run: "newer".to_owned(), ..header("newer") }),
        ..options(folder.path(), addresses.grpc, "r1")
    };
    let dead = GrpcSink::start(newer, Clock::start()).unwrap();
    for number in 1..=5 {
        dead.push(chain_result(Chain::Refresh, number, 0, 1_000));
    }
    let health = dead.finish(Duration::ZERO).await;
    assert_eq!((health.spooled, health.lost), (5, 0), "{health:?}");

    let analytics = Process::start(folder.path(), addresses).await;
    let sink = GrpcSink::start(options(folder.path(), addresses.grpc, "r2"), Clock::start()).unwrap();
    sink.push(chain_result(Chain::Refresh, 1, 0, 1_000));
    until(|| sink.health().delivered == 1).await;
    until(|| !folder.path().join("spool/r1").exists()).await;
    let health = sink.finish(LONG).await;
    assert_eq!((health.delivered, health.lost), (1, 0), "{health:?}");
    analytics.terminate().await;
}

/// `count` results from `first_seq` on.
fn batch(first_seq: u64, count: u64) -> wire::Batch {
    let results = (first_seq..first_seq.saturating_add(count))
        .map(|seq| wire::entry::Entry::Chain(chain_result(Chain::Registration, seq, 0, 1_000).into()));
    wire::Batch {
        sender: "r1".to_owned(),
        run: "run".to_owned(),
        origin_unix_ns: crate::common::START,
        first_seq,
        entries: results.map(|entry| wire::Entry { entry: Some(entry) }).collect(),
        hello: hello("run"),
    }
}

fn hello(run: &str) -> Option<wire::Hello> {
    let header_json = serde_json::to_string(&header(run)).unwrap();
    Some(wire::Hello { node: "here".to_owned(), header_json })
}

async fn client_of(analytics: &Analytics) -> ResultsClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{}", analytics.grpc_addr().unwrap())).unwrap();
    ResultsClient::new(endpoint.connect().await.unwrap())
}

async fn in_process(token: Option<&str>) -> (Analytics, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let config = Config {
        grpc: Some("127.0.0.1:0".parse().unwrap()),
        token: token.and_then(Token::new),
        ..crate::common::config(folder.path())
    };
    (Analytics::start(config, Board::local()).await.unwrap(), folder)
}

fn options(folder: &Path, grpc: SocketAddr, sender: &str) -> GrpcOptions {
    GrpcOptions {
        analytics: format!("http://{grpc}"),
        token: None,
        tls: None,
        sender: sender.to_owned(),
        node: "here".to_owned(),
        header: Some(header("run")),
        keep: Keep::Spool { folder: folder.join("spool"), bytes: 1 << 30 },
    }
}

/// Number of results in a log, and of distinct ones.
fn results_in(log: &Path) -> (u64, u64) {
    let results = numbered_results(log);
    let distinct: HashSet<_> = results.iter().collect();
    (results.len() as u64, distinct.len() as u64)
}

/// The log's chain results, by their node and number.
fn numbered_results(log: &Path) -> Vec<(String, u64)> {
    let text = std::fs::read_to_string(log).unwrap();
    let records = text.lines().zip(1..).map(|(line, number)| Record::parse(line, number).unwrap());
    records
        .filter(|record| matches!(record, Record::Chain { .. }))
        .map(|record| record.origin().map(|(node, seq)| (node.to_owned(), seq)).unwrap())
        .collect()
}

async fn until(mut condition: impl FnMut() -> bool) {
    let waited = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, waited).await.expect("the condition is met in time");
}

/// Addresses of a process, the same after a restart.
#[derive(Clone, Copy)]
struct Addresses {
    web: SocketAddr,
    grpc: SocketAddr,
}

impl Addresses {
    fn free() -> Self {
        Self { web: wec_testbed::free_address(), grpc: wec_testbed::free_address() }
    }
}

/// `wec-analytics`, ended when dropped.
struct Process {
    child: Child,
    addresses: Addresses,
}

impl Process {
    async fn start(folder: &Path, addresses: Addresses) -> Self {
        Self::start_as(Command::new(env!("CARGO_BIN_EXE_wec-analytics")), folder, addresses).await
    }

    async fn start_as(mut command: Command, folder: &Path, addresses: Addresses) -> Self {
        let log_dir: PathBuf = folder.join("results");
        command.args(["--listen", &addresses.web.to_string(), "--grpc-listen", &addresses.grpc.to_string()]);
        command.arg("--log-dir").arg(log_dir).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = tokio::time::timeout(LONG, output.next_line()).await.unwrap().unwrap();
        assert!(ready.as_deref().is_some_and(|line| line.starts_with("page on http://")), "{ready:?}");
        tokio::spawn(async move { while let Ok(Some(_)) = output.next_line().await {} });
        Self { child, addresses }
    }

    /// The snapshot that its page shows.
    async fn live(&self) -> Live {
        let request = "GET /api/v1/runs/current/snapshot";
        let (status, _, body) = exchange(self.addresses.web, request, &["Host: localhost"], b"").await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).or_else(|_| serde_json::from_str(&unchunked(&body))).unwrap()
    }

    async fn kill_9(mut self) {
        self.child.kill().await.unwrap();
    }

    async fn signal(&self, name: &str) {
        let pid = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().await.unwrap().success());
    }

    async fn terminate(self) {
        let status = self.terminated().await;
        assert!(status.success(), "{status}");
    }

    /// Sends SIGTERM; its exit status.
    async fn terminated(mut self) -> ExitStatus {
        self.signal("TERM").await;
        tokio::time::timeout(LONG, self.child.wait()).await.unwrap().unwrap()
    }
}
