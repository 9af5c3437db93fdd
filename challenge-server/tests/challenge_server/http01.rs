//! RFC 8555 §8.3 over the wire.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wec_challenge_server::Config;
use wec_record::{ChallengeType, Verdict};

use crate::client::{exchange, get};
use crate::dead_store::DeadStore;
use crate::started::{
    KEY_AUTHORIZATION, TOKEN, crowded, everything, impatient, loopback, next, start, start_over,
};

fn path() -> String {
    format!("/.well-known/acme-challenge/{TOKEN}")
}

#[tokio::test]
async fn answers_the_key_authorization_and_records_the_hit() {
    let mut started = start(everything()).await;
    started.put(ChallengeType::Http01, "www.example.test").await;
    let address = started.server.addresses().http01.unwrap();

    let host = format!("WWW.example.TEST:{}", address.port());
    assert_eq!(get(address, &host, &path()).await, (200, KEY_AUTHORIZATION.to_owned()));
    let hit = started.hit().await;
    assert_eq!((hit.seq, hit.challenge, hit.verdict), (1, ChallengeType::Http01, Verdict::Answered));
    let beginning = format!("{}…", &KEY_AUTHORIZATION[..6]);
    assert_eq!((hit.name, hit.answer), ("www.example.test".to_owned(), beginning));
    assert!(hit.source.starts_with("127.0.0.1:"), "{}", hit.source);
    assert!(hit.at_unix_ns > 1_700_000_000_000_000_000 && hit.took > 0);

    assert_eq!(get(address, "other.example.test", &path()).await.0, 404, "the token is bound to its host");
    assert_eq!(started.hit().await.verdict, Verdict::Unknown);
}

#[tokio::test]
async fn answers_ip_identifiers_in_any_spelling() {
    let mut started = start(everything()).await;
    started.put(ChallengeType::Http01, "2001:db8::1").await;
    started.put(ChallengeType::Http01, "192.0.2.1").await;
    let address = started.server.addresses().http01.unwrap();
    assert_eq!(get(address, "[2001:DB8:0::1]:80", &path()).await.0, 200);
    assert_eq!(started.hit().await.name, "2001:db8::1");
    assert_eq!(get(address, "192.0.2.1", &path()).await.0, 200);
}

#[tokio::test]
async fn keeps_a_connection_for_several_validations_and_takes_head_and_absolute_targets() {
    let started = start(everything()).await;
    started.put(ChallengeType::Http01, "a.test").await;
    let address = started.server.addresses().http01.unwrap();
    let path = path();
    let requests = format!(
        "GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n\
         GET http://a.test{path} HTTP/1.1\r\nHost: ignored.test\r\n\r\n\
         HEAD {path} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"
    );
    let responses = exchange(address, requests.as_bytes()).await;
    assert_eq!(responses.matches("HTTP/1.1 200 OK").count(), 3, "{responses}");
    assert_eq!(responses.matches(KEY_AUTHORIZATION).count(), 2, "HEAD has no body: {responses}");
    assert!(responses.contains("content-type: application/octet-stream"));
}

#[tokio::test]
async fn other_requests_get_a_short_refusal_and_a_hit_with_its_reason() {
    let mut started = start(everything()).await;
    started.put(ChallengeType::Http01, "a.test").await;
    let address = started.server.addresses().http01.unwrap();
    let path = path();
    let request = |line: &str, host: &str| format!("{line} HTTP/1.1\r\n{host}Connection: close\r\n\r\n");
    for (request, status) in [
        (request("GET /", "Host: a.test\r\n"), "404"),
        (request("GET /.well-known/acme-challenge/", "Host: a.test\r\n"), "404"),
        (request("GET /.well-known/acme-challenge/../secret", "Host: a.test\r\n"), "404"),
        (request(&format!("DELETE {path}"), "Host: a.test\r\n"), "405"),
        (request(&format!("GET {path}"), ""), "400"),
    ] {
        let response = exchange(address, request.as_bytes()).await;
        assert!(response.starts_with(&format!("HTTP/1.1 {status}")), "{request:?}: {response}");
        assert!(response.len() < 300, "{response}");
        let hit = started.hit().await;
        assert_eq!(hit.verdict, Verdict::Refused, "{request:?}");
        assert!(hit.answer.starts_with(status), "{}", hit.answer);
    }
}

#[tokio::test]
async fn health_checks_are_no_hits() {
    let started = start(everything()).await;
    let addresses = started.server.addresses();
    for address in [addresses.http01, addresses.management] {
        assert_eq!(get(address.unwrap(), "localhost", "/healthz").await, (200, "ok\n".to_owned()));
    }
    assert_eq!(started.server.hits().counts().total(), 0);
}

#[tokio::test]
async fn a_failing_store_is_a_503_and_a_hit_that_names_it() {
    let (server, mut hits, stop) = start_over(everything(), Arc::new(DeadStore)).await;
    assert_eq!(get(server.addresses().http01.unwrap(), "a.test", &path()).await.0, 503);
    let hit = next(&mut hits).await;
    assert_eq!(hit.verdict, Verdict::StoreFailed);
    assert!(hit.answer.contains("redis://gone"), "{}", hit.answer);
    stop.cancel();
}

#[tokio::test]
async fn oversized_and_malformed_requests_are_refused() {
    let started = start(everything()).await;
    let address = started.server.addresses().http01.unwrap();
    let big = "x".repeat(100_000);
    for (request, statuses) in [
        (format!("GET /{big} HTTP/1.1\r\nHost: a.test\r\n\r\n"), ["414", "431"]),
        (format!("GET / HTTP/1.1\r\nHost: a.test\r\nX-Big: {big}\r\n\r\n"), ["431", "431"]),
        ("\u{16}\u{3}\u{1} not http\r\n\r\n".to_owned(), ["400", "400"]),
    ] {
        let response = exchange(address, request.as_bytes()).await;
        let status = response.split(' ').nth(1).unwrap_or_default();
        // The server may close with unread data, and then the reset can arrive before the answer.
        assert!(statuses.contains(&status) || response.is_empty(), "{response:?}");
    }
    assert_eq!(get(address, "a.test", "/healthz").await.0, 200, "the server still answers");
}

#[tokio::test]
async fn slow_and_idle_clients_lose_their_connections_and_others_get_them() {
    let config = Config { http01: Some(loopback()), limits: impatient(), ..Config::default() };
    let started = start(config).await;
    let address = started.server.addresses().http01.unwrap();
    let mut slow = Vec::new();
    for _ in 0..impatient().connections {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a").await.unwrap();
        slow.push(stream);
    }
    let mut idle = TcpStream::connect(address).await.unwrap();
    assert_eq!(get(address, "a.test", "/healthz").await.0, 200, "answered once a slow client was cut off");
    for mut stream in slow {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    }
    let mut rest = Vec::new();
    let _ = idle.read_to_end(&mut rest).await;
}

#[tokio::test]
async fn incomplete_requests_do_not_block_a_validation() {
    let config = Config { http01: Some(loopback()), limits: crowded(), ..Config::default() };
    let started = start(config).await;
    let address = started.server.addresses().http01.unwrap();
    let mut half = Vec::new();
    for _ in 0..12 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a").await.unwrap();
        half.push(stream);
    }
    assert_eq!(get(address, "a.test", "/healthz").await.0, 200);
}

#[tokio::test]
async fn stopping_ends_the_stream_of_hits() {
    let stop = tokio_util::sync::CancellationToken::new();
    let store = Arc::new(wec_store::MemoryChallenges::new());
    let server =
        wec_challenge_server::ChallengeServer::start(everything(), store, stop.clone()).await.unwrap();
    let address = server.addresses().http01.unwrap();
    let mut hits = server.hits().stream(10);
    let _idle = TcpStream::connect(address).await.unwrap();
    stop.cancel();
    server.finish().await;
    assert_eq!(hits.recv().await, None);
    assert!(TcpStream::connect(address).await.is_err());
}
