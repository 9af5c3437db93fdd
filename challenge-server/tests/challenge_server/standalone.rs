//! The binary: its command line, its delivery of hits to analytics, and how it ends.

use std::net::SocketAddr;
use std::process::{Command, Output};

use serde_json::json;
use wec_record::ChallengeType;
use wec_store::{ChallengeData, ChallengeWriter as _, RedisChallenges};
use wec_testbed::process::Signal;
use wec_testbed::{Process, Redis, free_address};

use crate::analytics::{Analytics, hits, until};
use crate::client::{PATIENCE, get, post};
use crate::started::loopback;

const BINARY: &str = env!("CARGO_BIN_EXE_wec-challenge-server");

/// A process with only http-01 and its management API.
struct Standalone {
    process: Process,
    http01: SocketAddr,
}

impl Standalone {
    async fn start(analytics: &str) -> Self {
        let (http01, management) = (free_address(), free_address());
        let mut process = Process::start_with("wec-challenge-server", |_| {
            let mut command = quiet();
            command
                .args(["--http01-listen", &http01.to_string()])
                .args(["--management-listen", &management.to_string()])
                .args(["--tlsalpn01-listen", "off", "--dns-listen", "off", "--node", "edge-1"])
                .args(["--analytics", analytics])
                .env("WEC_TOKEN", "let-me-in");
            Ok(command)
        })
        .unwrap();
        process.accepting(management).await.unwrap();
        let body = json!({"token": "token", "content": "token.thumb"}).to_string();
        assert_eq!(post(management, "/add-http01", "", &body).await.0, 200);
        Self { process, http01 }
    }

    async fn validate(&self, names: impl IntoIterator<Item = u32>) {
        for name in names {
            let host = format!("{name}.test");
            assert_eq!(get(self.http01, &host, "/.well-known/acme-challenge/token").await.0, 200);
        }
    }

    /// Stops it with a signal, and waits until it has ended.
    async fn end(mut self) -> String {
        self.process.signal(Signal::TERM).unwrap();
        let http01 = self.http01;
        let ended = self.process.ready(PATIENCE, async || false).await;
        let error = ended.expect_err("it ends").to_string();
        assert!(error.contains("exit status: 0"), "{error}");
        assert!(tokio::net::TcpStream::connect(http01).await.is_err());
        self.process.log()
    }
}

/// Without variables of the test's environment.
fn quiet() -> Command {
    let mut command = Command::new(BINARY);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("WEC_") || name == "RUST_LOG") {
        command.env_remove(name);
    }
    command.env("NO_COLOR", "1");
    command
}

fn is_event(entry: &wec_proto::results::Entry) -> bool {
    use wec_proto::results::entry::Entry;
    matches!(&entry.entry, Some(Entry::Json(json)) if json.kind == "event" && json.object.contains("analytics does not accept"))
}

fn numbered(names: impl IntoIterator<Item = u32>) -> Vec<(u64, String)> {
    (1..).zip(names.into_iter().map(|name| format!("{name}.test"))).collect()
}

#[tokio::test]
async fn streams_hits_in_order_with_the_servers_identity() {
    let mut analytics = Analytics::start(loopback(), true).await;
    let server = Standalone::start(&analytics.url()).await;
    server.validate(0..20).await;
    let batches = until(&mut analytics.received, 20).await;
    assert_eq!(hits(&batches), numbered(0..20));

    let hello = batches[0].hello.as_ref().expect("the first batch of a stream has a Hello");
    assert_eq!(hello.node, "edge-1");
    assert_eq!(analytics.authorization.borrow().as_deref(), Some("Bearer let-me-in"));
    assert!(batches.iter().all(|batch| batch.sender == batches[0].sender && batch.run.is_empty()));
    assert!(batches[0].sender.starts_with("edge-1-"));
    assert!(batches[0].origin_unix_ns > 1_700_000_000_000_000_000);
    assert!(!server.process.log().contains("let-me-in"), "the token is never logged");
}

#[tokio::test]
async fn hits_wait_until_analytics_is_there_and_back_again() {
    let address = free_address();
    let server = Standalone::start(&format!("http://{address}")).await;
    server.validate(0..5).await;

    // The first analytics never acknowledges, so all hits are sent again to the second.
    let mut forgetful = Analytics::start(address, false).await;
    let first = hits(&until(&mut forgetful.received, 5).await);
    // The warning that analytics cannot be reached has a number, too.
    let names = |hits: &[(u64, String)]| hits.iter().map(|(_, name)| name.clone()).collect::<Vec<_>>();
    let expected = |numbers| names(&numbered(numbers));
    assert_eq!(names(&first), expected(0..5));
    forgetful.end().await;
    server.validate(5..10).await;

    let mut analytics = Analytics::start(address, true).await;
    let batches = until(&mut analytics.received, 10).await;
    let all = hits(&batches);
    assert_eq!(all[..5], first, "the same hits have the same numbers");
    assert_eq!(names(&all), expected(0..10));
    let arrives = analytics.received.wait_for(|batches| {
        batches.iter().flat_map(|batch: &wec_proto::results::Batch| &batch.entries).any(is_event)
    });
    tokio::time::timeout(crate::client::PATIENCE, arrives).await.expect("the warning arrives").unwrap();
    assert!(batches[0].hello.is_some(), "the first batch of the new stream has a Hello");
}

#[tokio::test]
async fn all_recorded_hits_are_delivered_before_the_end() {
    let analytics = Analytics::start(loopback(), true).await;
    let server = Standalone::start(&analytics.url()).await;
    server.validate(0..50).await;
    let log = server.end().await;
    assert_eq!(hits(&analytics.received.borrow()), numbered(0..50));
    assert!(log.contains("answered=50") && !log.contains("not delivered"), "{log}");
}

#[tokio::test]
async fn the_end_without_analytics_is_bounded_and_reports_undelivered_hits() {
    let server = Standalone::start(&format!("http://{}", free_address())).await;
    server.validate(0..3).await;
    let log = server.end().await;
    assert!(log.contains("not delivered") && log.contains("kept=3"), "{log}");
}

fn refused(arguments: &[&str]) -> (i32, String) {
    let Output { status, stderr, .. } = quiet().args(arguments).output().unwrap();
    (status.code().unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn wrong_options_are_refused_with_the_remedy() {
    let taken = std::net::TcpListener::bind(loopback()).unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let management = ["--management-listen", "127.0.0.1:0"];
    let off = ["--http01-listen", "off", "--tlsalpn01-listen", "off", "--dns-listen", "off"];
    let any = [&off[..5], &["127.0.0.1:0"]].concat();
    let table: [(Vec<&str>, i32, &[&str]); 9] = [
        (vec![], 1, &["no validation could be answered", "--challenges redis://"]),
        (off.to_vec(), 1, &["every challenge listener is off"]),
        (vec!["--http01-listen", "nonsense"], 2, &["nonsense", "127.0.0.1:5002"]),
        (vec!["--default-ipv4", "::1"], 2, &["::1", "or none"]),
        (vec!["--no-such-flag"], 2, &["--no-such-flag"]),
        ([&any[..], &["--management-listen", "0.0.0.0:0"]].concat(), 1, &["0.0.0.0:0", "token", "127.0.0.1"]),
        ([&management[..], &["--http01-listen", &taken]].concat(), 1, &["listen for http-01", &taken]),
        ([&any[..], &management, &["--analytics", "ftp://x"]].concat(), 2, &["ftp://x", "http://"]),
        (
            [
                &any[..],
                &management,
                &["--doh-listen", "127.0.0.1:0", "--doh-cert", "/no/cert", "--doh-key", "/no"],
            ]
            .concat(),
            1,
            &["/no/cert"],
        ),
    ];
    for (arguments, code, parts) in table {
        let (got, said) = refused(&arguments);
        assert_eq!(got, code, "{arguments:?}: {said}");
        for part in parts {
            assert!(said.contains(part), "{arguments:?}: {part:?} is missing in {said}");
        }
        assert!(!said.contains("panicked"), "{said}");
    }
}

#[tokio::test]
async fn answers_with_the_requesters_data_in_redis() {
    let redis = Redis::start_with_password("let-me-in").await.unwrap();
    let http01 = free_address();
    let mut process = Process::start_with("wec-challenge-server", |_| {
        let mut command = quiet();
        command
            .args([
                "--http01-listen",
                &http01.to_string(),
                "--tlsalpn01-listen",
                "off",
                "--dns-listen",
                "off",
            ])
            .env("WEC_CHALLENGES", redis.url());
        Ok(command)
    })
    .unwrap();
    process.accepting(http01).await.unwrap();

    let challenge = ChallengeData {
        kind: ChallengeType::Http01,
        name: "a.test".into(),
        token: "token".into(),
        key_authorization: "token.thumb".into(),
    };
    let requester = RedisChallenges::connect(&redis.url()).await.unwrap();
    let path = "/.well-known/acme-challenge/token";
    assert_eq!(get(http01, "a.test", path).await.0, 404);
    requester.put(&challenge).await.unwrap();
    assert_eq!(get(http01, "a.test", path).await.0, 200);
    requester.remove(&challenge).await.unwrap();
    assert_eq!(get(http01, "a.test", path).await.0, 404);
    assert!(!process.log().contains("let-me-in"), "the password is never logged");
}
