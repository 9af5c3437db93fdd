//! The CPU time of a result: `cargo bench -p wec-analytics --bench pipeline`.
//!
//! The unit is one issuance: an authorization and a certificate chain, 4 + 5 HTTP requests. Sender and
//! receiver are measured as running threads (`/proc/self/task/*/schedstat`), including gRPC and system calls;
//! then the parts one by one.

use std::hint::black_box;
use std::time::Duration;

use prost::Message;
use tokio::time::Instant;
use wec_acme::Clock;
use wec_analytics::{Aggregate, Analytics, Config, LogPlace};
use wec_board::Board;
use wec_delivery::{GrpcOptions, GrpcSink, Keep, LocalSink, Sink};
use wec_proto::results as wire;
use wec_record::wire::chain_from_wire;
use wec_record::{Chain, ChainResult, Purpose, Record, RequestResult, RunHeader, Stamp};

/// Target for a push on a busy runtime, the sender's thread and its system calls together.
const AIM_US: f64 = 15.0;

fn main() {
    // Without `--bench`, as under `cargo test`, it is only a smoke run.
    let issuances: u64 = if std::env::args().any(|arg| arg == "--bench") { 200_000 } else { 500 };
    println!("{issuances} issuances, 2 results with 9 requests each");
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");

    let grpc = runtime.block_on(by_grpc(issuances));
    let sender = grpc.push + grpc.sink;
    row("sender, by gRPC: push", grpc.push);
    row("sender, by gRPC: number, encode, send", grpc.sink);
    println!("{:<44}{sender:>9.2} µs   aim ≤ {AIM_US} µs", "sender, by gRPC: together");
    row("receiver: log and aggregate", grpc.log);
    let local = runtime.block_on(in_process(issuances));
    row("in one process: push", local.push);
    row("in one process: log and aggregate", local.log);

    let records: Vec<_> = (0..1_000).flat_map(|index| issuance(index).map(record)).collect();
    let rounds = (issuances / 1_000).max(1);
    part("  of it: to the wire's types and encoded", rounds, &records, |record| {
        let Record::Chain { result, .. } = record.clone() else { return };
        black_box(wire::ChainResult::from(result).encode_to_vec());
    });
    let encoded: Vec<_> = records
        .iter()
        .filter_map(|record| match record {
            Record::Chain { result, .. } => Some(wire::ChainResult::from(result.clone()).encode_to_vec()),
            _ => None,
        })
        .collect();
    part("  of it: decoded into a record", rounds, &encoded, |bytes| {
        let result = wire::ChainResult::decode(bytes.as_slice()).expect("it was encoded a moment ago");
        black_box(chain_from_wire(result, 1));
    });
    let mut aggregate = Aggregate::default();
    part("  of it: aggregated", rounds, &records, |record| aggregate.record(record));
    let mut line = Vec::new();
    part("  of it: a line of JSON", rounds, &records, |record| {
        line.clear();
        serde_json::to_writer(&mut line, record).expect("a record can be written as JSON");
        black_box(&line);
    });
    let lines: Vec<_> = records.iter().filter_map(|record| serde_json::to_string(record).ok()).collect();
    part("replay: a line of JSON read again", rounds, &lines, |line| {
        black_box(Record::parse(line, 1).expect("it was written a moment ago"));
    });
    let started = Instant::now();
    black_box(aggregate.snapshot());
    println!("{:<44}{:>9.0} µs each", "a snapshot", started.elapsed().as_secs_f64() * 1e6);
}

/// CPU time per issuance, µs.
struct Costs {
    push: f64,
    sink: f64,
    log: f64,
}

async fn by_grpc(issuances: u64) -> Costs {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let analytics = start(folder.path(), true).await;
    let options = GrpcOptions {
        analytics: format!("http://{}", analytics.grpc_addr().expect("it listens")),
        token: None,
        tls: None,
        sender: "bench".to_owned(),
        node: "bench".to_owned(),
        header: Some(header()),
        keep: Keep::Spool { folder: folder.path().join("spool"), bytes: 1 << 30 },
    };
    let sink = GrpcSink::start(options, Clock::start()).expect("the address is one");
    let before = (cpu_of("wec-sink"), cpu_of("wec-log"));
    let push = push_all(&sink, issuances).await;
    while sink.health().delivered < 2 * issuances {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let per = |ns: u64| ns as f64 / 1e3 / issuances as f64;
    let costs =
        Costs { push, sink: per(cpu_of("wec-sink") - before.0), log: per(cpu_of("wec-log") - before.1) };
    let health = sink.finish(Duration::from_secs(5)).await;
    assert_eq!((health.lost, health.delivered), (0, 2 * issuances), "{health:?}");
    assert_eq!(analytics.finish().await.snapshot.requests, 9 * issuances);
    costs
}

async fn in_process(issuances: u64) -> Costs {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let analytics = start(folder.path(), false).await;
    analytics.begin(header()).await.expect("the log can be begun");
    let ingest = analytics.ingest();
    let sink = LocalSink::start("bench", Clock::start(), move |records| ingest.try_deliver(records));
    let before = cpu_of("wec-log");
    let push = push_all(&sink, issuances).await;
    let health = sink.finish(Duration::from_secs(60)).await;
    assert_eq!((health.lost, health.delivered), (0, 2 * issuances), "{health:?}");
    while analytics.snapshot().requests < 9 * issuances {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let log = (cpu_of("wec-log") - before) as f64 / 1e3 / issuances as f64;
    analytics.finish().await;
    Costs { push, sink: 0.0, log }
}

/// Pushes at some 20,000 issuances a second; returns µs per issuance inside `push`.
async fn push_all(sink: &impl Sink, issuances: u64) -> f64 {
    let mut inside = Duration::ZERO;
    let mut pace = tokio::time::interval(Duration::from_millis(10));
    for start in (0..issuances).step_by(200) {
        let results: Vec<_> = (start..(start + 200).min(issuances)).flat_map(issuance).collect();
        let started = Instant::now();
        results.into_iter().for_each(|result| sink.push(result));
        inside += started.elapsed();
        pace.tick().await;
    }
    inside.as_secs_f64() * 1e6 / issuances as f64
}

async fn start(folder: &std::path::Path, grpc: bool) -> Analytics {
    let config = Config {
        log: LogPlace::Folder(folder.into()),
        web: None,
        grpc: grpc.then(|| ([127, 0, 0, 1], 0).into()),
        session: "default".to_owned(),
        consumers: wec_analytics::ConsumerOptions::default(),
        token: None,
        allowed_hosts: Vec::new(),
        opens_with: None,
        node_stats: None,
        holders: Vec::new(),
        tls: None,
    };
    Analytics::start(config, Board::local()).await.expect("analytics starts on a free port")
}

fn row(name: &str, us: f64) {
    println!("{name:<44}{us:>9.2} µs");
}

/// Times `work` over all items, which belong to issuances two by two.
fn part<T>(name: &str, rounds: u64, items: &[T], mut work: impl FnMut(&T)) {
    let started = Instant::now();
    for _ in 0..rounds {
        items.iter().for_each(&mut work);
    }
    row(name, started.elapsed().as_secs_f64() * 1e6 / (rounds * items.len() as u64 / 2) as f64);
}

/// CPU time of this process's threads of that name, nanoseconds.
fn cpu_of(name: &str) -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux").flatten().map(|task| task.path());
    let named = tasks
        .filter(|task| std::fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim_end() == name));
    named
        .filter_map(|task| std::fs::read_to_string(task.join("schedstat")).ok())
        .filter_map(|stat| stat.split(' ').next()?.parse::<u64>().ok())
        .sum()
}

fn header() -> RunHeader {
    RunHeader {
        version: wec_record::FORMAT_VERSION,
        run: "bench".to_owned(),
        session: "default".to_owned(),
        program: "bench".to_owned(),
        target: "https://localhost:14000/dir".to_owned(),
        started_unix_ns: 0,
        stamp: Stamp::default(),
    }
}

fn record(result: ChainResult) -> Record {
    Record::Chain { node: "bench-0a1b2c3d".to_owned(), origin_unix_ns: 1_795_254_960_000_000_000, result }
}

fn issuance(index: u64) -> [ChainResult; 2] {
    let started = index * 50_000;
    let authorization = [
        ("newOrder", "/order-plz", Purpose::Step),
        ("authorization", "/authZ/{id}", Purpose::Step),
        ("challenge", "/chalZ/{id}", Purpose::Step),
        ("authorization", "/authZ/{id}", Purpose::Poll),
    ];
    let certificate = [
        ("newNonce", "/nonce-plz", Purpose::Nonce),
        ("finalize", "/finalize-order/{id}", Purpose::Step),
        ("order", "/my-order/{id}", Purpose::Poll),
        ("order", "/my-order/{id}", Purpose::Poll),
        ("certificate", "/certZ/{id}", Purpose::Step),
    ];
    [
        result(Chain::Authorization, started, &authorization),
        result(Chain::Certificate, started + 20_000_000, &certificate),
    ]
}

fn result(chain: Chain, started: u64, steps: &[(&'static str, &'static str, Purpose)]) -> ChainResult {
    let request = |(index, (endpoint, uri, purpose)): (u64, &(&'static str, &'static str, Purpose))| {
        let due = started + index * 2_000_000;
        // Times that differ, as those of a CA do.
        let took = 900_000 + started % 700_001;
        RequestResult {
            uri: (*uri).into(),
            took,
            successful: true,
            endpoint: (*endpoint).into(),
            method: "POST".into(),
            purpose: *purpose,
            status: 200,
            bytes_sent: 812,
            bytes_received: 640,
            due,
            sent: due + 30_000,
            done: due + took,
            reused: true,
            ..RequestResult::default()
        }
    };
    let requests: Vec<_> = (0..).zip(steps).map(request).collect();
    let done = requests.last().map_or(started, |last| last.done);
    ChainResult {
        worker: 7,
        chain: Some(chain),
        successful: true,
        took: done - started,
        due: started,
        started,
        done,
        keygen: 48_000,
        requests,
        ..ChainResult::default()
    }
}
