//! Shared by the tests of this crate: generated records, and a bare HTTP client that can send anything.

use std::net::SocketAddr;
use std::path::Path;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wec_analytics::{Config, LogPlace};
use wec_record::{
    AuthorizationResult, CaSample, Chain, ChainResult, ChallengeType, FailureClass, GeneratorSample, Limit,
    LimitKind, LoadSample, Mark, MarkBy, MarkValue, MarkWhat, Observation, Phases, Purpose, Reach, Record,
    RequestResult, RunHeader, ScenarioSample, Silent, Stamp, StateCounts, UnknownRecord, ValidationHit,
    Verdict,
};

/// 2026-11-21 09:56 UTC.
pub(crate) const START: u64 = 1_795_254_960_000_000_000;

pub(crate) fn header(run: &str) -> RunHeader {
    RunHeader {
        version: wec_record::FORMAT_VERSION,
        run: run.to_owned(),
        session: "default".to_owned(),
        program: "wec 0.1.0".to_owned(),
        target: "https://localhost:14000/dir".to_owned(),
        started_unix_ns: START,
        stamp: Stamp {
            host: "here".to_owned(),
            platform: "linux x86_64".to_owned(),
            cpus: 2,
            ..Stamp::default()
        },
    }
}

/// Logs into `folder`, without listeners.
pub(crate) fn config(folder: &Path) -> Config {
    Config {
        log: LogPlace::Folder(folder.into()),
        web: None,
        grpc: None,
        session: "default".to_owned(),
        consumers: wec_analytics::ConsumerOptions::default(),
        token: None,
        allowed_hosts: Vec::new(),
        opens_with: None,
        node_stats: None,
        holders: Vec::new(),
        tls: None,
    }
}

/// An iteration that began `started` ns after the run and took `took` ns; one in seven fails.
pub(crate) fn chain_result(chain: Chain, seq: u64, started: u64, took: u64) -> ChainResult {
    let failed = seq.is_multiple_of(7);
    let problem = if failed { "malformed" } else { "" };
    let step = |index: u64, endpoint: &'static str, uri: &'static str, purpose| {
        let due = started + index * took / 4;
        let last = failed && index == 3;
        RequestResult {
            uri: uri.into(),
            took: took / 4,
            successful: !last,
            error: if last { "the CA said no".to_owned() } else { String::new() },
            class: last.then_some(FailureClass::Problem),
            endpoint: endpoint.into(),
            method: if purpose == Purpose::Nonce { "HEAD" } else { "POST" }.into(),
            purpose,
            status: if last { 400 } else { 200 },
            problem: if last { problem.into() } else { "".into() },
            bytes_sent: 700,
            bytes_received: 300,
            due,
            sent: due + took / 100,
            done: due + took / 4,
            reused: index > 0,
            nonce_age: if purpose == Purpose::Nonce { 0 } else { 1_000_000 * index },
            phases: Phases {
                connect: if index == 0 { took / 200 } else { 0 },
                tls: if index == 0 { took / 400 } else { 0 },
                first_byte: took / 5,
                ..Phases::default()
            },
            ..RequestResult::default()
        }
    };
    ChainResult {
        seq,
        worker: (seq % 50) as u32,
        chain: Some(chain),
        successful: !failed,
        took,
        due: started,
        started,
        done: started + took,
        keygen: 12_000,
        error: if failed { "finalize: the CA said no".to_owned() } else { String::new() },
        class: failed.then_some(FailureClass::Problem),
        abandoned: false,
        status: if failed { 400 } else { 0 },
        problem: problem.into(),
        waited_asked: took / 100,
        waited_poll: took / 200,
        authorizations: vec![AuthorizationResult {
            name: format!("{seq}.wec.test"),
            id: seq.to_string(),
            challenge: Some(ChallengeType::ALL[seq as usize % 3]),
            answered: started + took / 4,
            settled: started + took / 2,
        }],
        issued: !failed && matches!(chain, Chain::Certificate | Chain::Refresh),
        issuance: (!failed && chain == Chain::Certificate).then_some(3 * took),
        requests: vec![
            step(0, "newNonce", "/nonce", Purpose::Nonce),
            step(1, "newOrder", "/order", Purpose::Step),
            step(2, "authorization", "/authz/{id}", Purpose::Poll),
            step(3, "finalize", "/finalize/{id}", Purpose::Step),
        ],
        ..ChainResult::default()
    }
}

pub(crate) fn chain_record(node: &str, result: ChainResult) -> Record {
    Record::Chain { node: node.to_owned(), origin_unix_ns: START, result }
}

/// A header and any sequence of records, as several senders could make them.
pub(crate) fn records(most: usize) -> impl Strategy<Value = Vec<Record>> {
    proptest::collection::vec(record(), 0..most)
}

fn record() -> impl Strategy<Value = Record> {
    prop_oneof![
        20 => (0usize..5, 1u64..1 << 40, 0u64..40_000_000_000_000, 0u64..1 << 43).prop_map(|(chain, seq, started, took)| {
            let result = chain_result(Chain::ALL[chain], seq, started, took);
            let abandoned = result.successful && seq.is_multiple_of(5);
            chain_record("r1", ChainResult { abandoned, ..result })
        }),
        3 => (1u64..1 << 40, 0u64..40_000_000_000_000, 0usize..3).prop_map(|(seq, at, kind)| Record::Hit {
            node: "c1".to_owned(),
            hit: ValidationHit {
                seq,
                at_unix_ns: START + at,
                challenge: ChallengeType::ALL[kind],
                name: "a.wec.test".to_owned(),
                source: "127.0.0.1:5".to_owned(),
                verdict: if seq.is_multiple_of(5) { Verdict::Unknown } else { Verdict::Answered },
                answer: "tok.thumb".to_owned(),
                took: seq % 1_000_000,
            },
        }),
        1 => (0u64..40_000_000_000_000, 0u32..1_000).prop_map(|(at, workers)| Record::Mark(Mark {
            at_unix_ns: START + at,
            by: MarkBy::Page,
            who: String::new(),
            scenario: "default".to_owned(),
            what: MarkWhat::Workers,
            from: MarkValue::Workers(0),
            to: MarkValue::Workers(workers),
        })),
        1 => (1u64..9, "[a-z]{1,6}").prop_map(|(seq, key)| {
            let object = format!("{{\"at_unix_ns\":1e400,\"x-{key}\":1.50}}");
            Record::Unknown(UnknownRecord::new("later", "r1", seq, &object).unwrap())
        }),
        1 => (0u64..40_000_000_000_000, 0u64..1_000, 1u64..100).prop_map(|(at, workers, seq)| Record::State {
            node: format!("r{}", seq % 3),
            seq,
            at_unix_ns: START + at,
            counts: StateCounts { registrations: seq, authorizations: at, certificates: 3, revoked: 1, workers, unwritten: 0, claimed: workers / 2 },
        }),
        3 => (0u64..40_000_000_000_000, 0u64..1 << 40, 0u64..10_000, 0u32..4)
            .prop_map(|(at, seq, some, node)| load_record(&format!("r{node}"), seq, START + at, some)),
        1 => (1u64..100).prop_map(|seq| if seq.is_multiple_of(2) { observation(seq) } else { Record::Lost {
            node: "r1".to_owned(),
            seq,
            at_unix_ns: START,
            count: seq,
            why: "the spool is full".to_owned(),
        }}),
    ]
}

/// Three series of a program, `some` seconds after the run's start.
fn observation(some: u64) -> Record {
    Record::Observation(Observation {
        at_unix_ns: START + some * 1_000_000_000,
        source: "ca".to_owned(),
        gauges: [("a".to_owned(), some as f64), (format!("b{}", some % 3), -1.5)].into(),
        counters: [("c_total".to_owned(), (some * some) as f64)].into(),
        left_out: some % 3,
    })
}

/// A node's load sample; `some` varies all fields, and above 5,000 the node is limited.
pub(crate) fn load_record(node: &str, seq: u64, at_unix_ns: u64, some: u64) -> Record {
    let share = some as f64 / 10_000.0;
    let limited = some > 5_000;
    let limit = Limit {
        what: LimitKind::ALL[some as usize % 5],
        cause: wec_record::LimitCause::ALL[some as usize % 3],
        against_ns: some,
        place: "worker thread 0".to_owned(),
        now: limited,
        worst: share,
        bound: 0.5,
        first_unix_ns: START,
        total_ns: some * 1_000_000,
    };
    let scenario = |name: &str, rated: bool| ScenarioSample {
        name: name.to_owned(),
        executor: if rated { "arrival-rate" } else { "workers" }.to_owned(),
        workers_target: some,
        workers: some / 2,
        backing_off: 0,
        busy: some / 3,
        rate_target: rated.then_some(some as f64 / 8.0),
        rate: some as f64 / 16.0,
        rate_unit: if rated { "chains" } else { "" }.to_owned(),
        asked: some * 10,
        due: some * 10,
        started: some * 9,
        ended: some * 8,
        requests: some * 80,
        dropped: some,
        idle: 3,
        reach: rated.then_some(Reach::ALL[some as usize % 4]),
        active_ns: some * 3_000_000,
        capped_ns: some * 1_000_000,
        saturated_ns: some * 2_000_000,
        rate_target_of_all: None,
        workers_target_of_all: None,
        scheduled_of_all: 0.0,
        scheduled: 0.0,
    };
    let generator = GeneratorSample {
        lag: vec![(50_000, some + 1), (1_000_000 + some * 1_000, 1)],
        cpu_share: (!some.is_multiple_of(10)).then_some(share),
        cpu_wait_share: (!some.is_multiple_of(10)).then_some(share / 4.0),
        processors: (!some.is_multiple_of(10)).then_some(share),
        backlog_share: share,
        limits: if limited { vec![limit] } else { Vec::new() },
        limited_ns: some * 1_000_000,
        turned: some.is_multiple_of(11).then_some(limited),
    };
    let scenarios = vec![scenario("default", false), scenario("open", true)];
    let silent = Silent { since_unix_ns: at_unix_ns.saturating_sub(11_000_000_000), in_flight: some };
    let turned = (some % 17 == 3).then_some(some.is_multiple_of(2));
    let ca = CaSample {
        orders_expired: some,
        clock_ahead_s: some.is_multiple_of(3).then_some(some as i64 - 5_000),
        silent: (turned == Some(true)).then_some(silent),
        turned,
    };
    let load = LoadSample { over_ns: 1_000_000_000, scenarios, generator, ca };
    Record::Load { node: node.to_owned(), seq, at_unix_ns, load }
}

/// Status, head and body of one exchange; `head` is all lines after the request line.
pub(crate) async fn exchange(
    address: SocketAddr,
    request: &str,
    head: &[&str],
    body: &[u8],
) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut text = format!("{request} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    for line in head {
        text.push_str(line);
        text.push_str("\r\n");
    }
    stream.write_all(format!("{text}\r\n").as_bytes()).await.unwrap();
    // A server that refuses early may close before it has read everything.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").expect("the answer has a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, head.to_ascii_lowercase(), body.to_owned())
}

/// The body of a chunked answer, joined.
pub(crate) fn unchunked(body: &str) -> String {
    let mut text = String::new();
    let mut rest = body;
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        text.push_str(&after[..size]);
        rest = &after[size + 2..];
        if size == 0 {
            break;
        }
    }
    text
}
