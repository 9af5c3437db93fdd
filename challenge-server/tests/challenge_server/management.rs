//! The management API, with requests as in the README of pebble-challtestsrv.

use std::net::SocketAddr;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use rustls::version::TLS13;
use rustls_pki_types::ServerName;
use serde_json::{Value, json};
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;
use wec_challenge_server::{ChallengeServer, Config, ManagementConfig, StartError};
use wec_store::MemoryChallenges;

use crate::client::{exchange, get, handshake, post};
use crate::started::{Started, everything, loopback, start};

/// Sends a body as `curl -d` does.
const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";

async fn told(started: &Started, path: &str, body: Value) {
    let address = started.server.addresses().management.unwrap();
    let answer = post(address, path, FORM, &body.to_string()).await;
    assert_eq!(answer, (200, String::new()), "{path} {body}");
}

async fn history(started: &Started, path: &str, host: &str) -> Value {
    let address = started.server.addresses().management.unwrap();
    let (status, body) = post(address, path, FORM, &json!({ "host": host }).to_string()).await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

/// Code and records of an answer over UDP.
async fn ask(started: &Started, name: &str, kind: RecordType) -> (ResponseCode, Vec<String>) {
    let mut query = Message::new(7, MessageType::Query, OpCode::Query);
    query.add_query(Query::query(Name::from_ascii(format!("{name}.")).unwrap(), kind));
    let socket = UdpSocket::bind(loopback()).await.unwrap();
    socket.connect(started.server.addresses().dns.unwrap()).await.unwrap();
    socket.send(&query.to_vec().unwrap()).await.unwrap();
    let mut reply = [0; 1500];
    let length = socket.recv(&mut reply).await.unwrap();
    let reply = Message::from_vec(&reply[..length]).unwrap();
    let records = reply.answers.iter().map(|record| format!("{} {}", record.record_type(), record.data));
    (reply.metadata.response_code, records.collect())
}

fn none() -> (ResponseCode, Vec<String>) {
    (ResponseCode::NoError, vec![])
}

fn one(record: &str) -> (ResponseCode, Vec<String>) {
    (ResponseCode::NoError, vec![record.to_owned()])
}

#[tokio::test]
async fn http01_is_set_by_token_for_every_host() {
    let started = start(everything()).await;
    let address = started.server.addresses().http01.unwrap();
    told(&started, "/add-http01", json!({"token": "aaaa", "content": "bbbb"})).await;
    for host in ["a.test", "b.test:5002"] {
        let answer = get(address, host, "/.well-known/acme-challenge/aaaa").await;
        assert_eq!(answer, (200, "bbbb".to_owned()));
    }
    told(&started, "/del-http01", json!({"token": "aaaa"})).await;
    assert_eq!(get(address, "a.test", "/.well-known/acme-challenge/aaaa").await.0, 404);
}

#[tokio::test]
async fn redirects_are_served_by_path() {
    let mut started = start(everything()).await;
    let address = started.server.addresses().http01.unwrap();
    let redirect = json!({"path": "/.well-known/whatever", "targetURL": "https://localhost:5003/ok"});
    told(&started, "/add-redirect", redirect).await;
    let request = b"GET /.well-known/whatever HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
    let response = exchange(address, request).await;
    assert!(response.starts_with("HTTP/1.1 302"), "{response}");
    assert!(response.contains("location: https://localhost:5003/ok\r\n"), "{response}");
    assert_eq!(started.hit().await.answer, "302 to https://localhost:5003/ok");
    told(&started, "/del-redirect", json!({"path": "/.well-known/whatever"})).await;
    assert_eq!(get(address, "a.test", "/.well-known/whatever").await.0, 404);
}

#[tokio::test]
async fn tls_alpn01_is_set_by_host() {
    let started = start(everything()).await;
    let address = started.server.addresses().tls_alpn01.unwrap();
    let name = ServerName::try_from("test-host.test").unwrap();
    told(&started, "/add-tlsalpn01", json!({"host": "test-host.test", "content": "foo"})).await;
    handshake(address, name.clone(), &[b"acme-tls/1"], &[&TLS13]).await.unwrap();
    told(&started, "/del-tlsalpn01", json!({"host": "test-host.test"})).await;
    handshake(address, name, &[b"acme-tls/1"], &[&TLS13]).await.unwrap_err();
    let asked = history(&started, "/tlsalpn01-request-history", "test-host.test").await;
    let event = json!({"ServerName": "test-host.test", "SupportedProtos": ["acme-tls/1"]});
    assert_eq!(asked, json!([event, event]));
}

#[tokio::test]
async fn dns_records_are_set_and_cleared() {
    use RecordType::{A, AAAA, CAA, TXT};
    let started = start(everything()).await;
    let host = json!({"host": "host.example.test"});

    told(&started, "/set-txt", json!({"host": "_acme-challenge.host.example.test.", "value": "foo"})).await;
    assert_eq!(ask(&started, "_acme-challenge.HOST.example.test", TXT).await, one("TXT foo"));
    told(&started, "/set-txt", json!({"host": "_acme-challenge.host.example.test.", "value": "bar"})).await;
    assert_eq!(ask(&started, "_acme-challenge.host.example.test", TXT).await.1.len(), 2);
    told(&started, "/clear-txt", json!({"host": "_acme-challenge.host.example.test."})).await;
    assert_eq!(ask(&started, "_acme-challenge.host.example.test", TXT).await.0, ResponseCode::NXDomain);

    told(&started, "/add-a", json!({"host": "host.example.test", "addresses": ["192.0.2.12"]})).await;
    assert_eq!(ask(&started, "host.example.test", A).await, one("A 192.0.2.12"));
    told(&started, "/clear-a", host.clone()).await;
    assert_eq!(ask(&started, "host.example.test", A).await, one("A 127.0.0.1"));
    told(&started, "/set-default-ipv4", json!({"ip": "192.0.2.99"})).await;
    assert_eq!(ask(&started, "host.example.test", A).await, one("A 192.0.2.99"));
    told(&started, "/set-default-ipv4", json!({"ip": ""})).await;
    assert_eq!(ask(&started, "host.example.test", A).await.0, ResponseCode::NXDomain);

    told(&started, "/set-default-ipv6", json!({"ip": "::1"})).await;
    assert_eq!(ask(&started, "host.example.test", AAAA).await, one("AAAA ::1"));
    told(&started, "/add-aaaa", json!({"host": "host.example.test", "addresses": ["2001:db8::1"]})).await;
    assert_eq!(ask(&started, "host.example.test", AAAA).await, one("AAAA 2001:db8::1"));
    told(&started, "/clear-aaaa", host.clone()).await;

    let policy = json!({"host": "host.example.test", "policies": [{"tag": "issue", "value": "ca.test"}]});
    told(&started, "/add-caa", policy).await;
    assert_eq!(ask(&started, "host.example.test", CAA).await, one("CAA 0 issue \"ca.test\""));
    told(&started, "/clear-caa", host.clone()).await;
    assert_eq!(ask(&started, "host.example.test", CAA).await, none());

    told(&started, "/set-cname", json!({"host": "host.example.test", "target": "other.test"})).await;
    let (_, records) = ask(&started, "host.example.test", AAAA).await;
    assert_eq!(records, ["CNAME other.test.", "AAAA ::1"]);
    told(&started, "/clear-cname", json!({"host": "host.example.test", "target": "other.test"})).await;

    told(&started, "/set-servfail", host.clone()).await;
    assert_eq!(ask(&started, "host.example.test", AAAA).await.0, ResponseCode::ServFail);
    told(&started, "/clear-servfail", host).await;
    assert_eq!(ask(&started, "host.example.test", AAAA).await, one("AAAA ::1"));
}

#[tokio::test]
async fn histories_are_kept_by_host_and_cleared_by_type() {
    let started = start(everything()).await;
    let address = started.server.addresses().http01.unwrap();
    let request = "GET /test-whatever/dude?token=blah HTTP/1.1\r\nHost: Example.test:80\r\n\
                   User-Agent: ca/1\r\nConnection: close\r\n\r\n";
    exchange(address, request.as_bytes()).await;
    ask(&started, "example.test", RecordType::CAA).await;

    let http = history(&started, "/http-request-history", "example.test").await;
    let expected = json!([{
        "URL": "/test-whatever/dude?token=blah", "Host": "Example.test:80", "HTTPS": false,
        "ServerName": "", "UserAgent": "ca/1",
    }]);
    assert_eq!(http, expected);
    let dns = history(&started, "/dns-request-history", "example.test").await;
    let question = json!({"Name": "example.test.", "Qtype": 257, "Qclass": 1});
    assert_eq!(dns, json!([{"Question": question, "UserAgent": ""}]));
    assert_eq!(history(&started, "/dns-request-history", "other.test").await, json!([]));

    told(&started, "/clear-request-history", json!({"host": "example.test", "type": "http"})).await;
    assert_eq!(history(&started, "/http-request-history", "example.test").await, json!([]));
    assert_eq!(history(&started, "/dns-request-history", "example.test").await, dns);
}

#[tokio::test]
async fn bad_requests_get_400_with_the_reason() {
    let started = start(everything()).await;
    let address = started.server.addresses().management.unwrap();
    let long = "x".repeat(300);
    for (path, body, why) in [
        ("/set-txt", String::new(), "empty"),
        ("/set-txt", "host=a".into(), "JSON"),
        ("/set-txt", r#"{"value":"v"}"#.into(), "host"),
        ("/set-txt", r#"{"host":"a.test"}"#.into(), "value"),
        ("/set-txt", format!(r#"{{"host":"{long}.test","value":"v"}}"#), "domain name"),
        ("/add-http01", r#"{"token":"t"}"#.into(), "content"),
        ("/add-tlsalpn01", r#"{"host":"a.test"}"#.into(), "content"),
        ("/add-a", r#"{"host":"a.test","addresses":["::1"]}"#.into(), "IPv4"),
        ("/add-a", r#"{"host":"a.test","addresses":[]}"#.into(), "addresses"),
        ("/add-caa", r#"{"host":"a.test","policies":[{"tag":"","value":""}]}"#.into(), "CAA tag"),
        ("/set-cname", r#"{"host":"a.test"}"#.into(), "target"),
        ("/set-default-ipv4", r#"{"ip":"nonsense"}"#.into(), "nonsense"),
        ("/add-redirect", r#"{"path":"/a","targetURL":"x\ny"}"#.into(), "header"),
        ("/clear-request-history", r#"{"host":"a.test","type":"x"}"#.into(), "type"),
    ] {
        let (status, answer) = post(address, path, "", &body).await;
        assert_eq!(status, 400, "{path} {body}");
        assert!(answer.contains(why), "{path} {body}: {answer}");
    }
    let big = json!({"token": "t", "content": "x".repeat(100_000)}).to_string();
    assert_eq!(post(address, "/add-http01", "", &big).await.0, 413);
    assert_eq!(get(address, "localhost", "/set-txt").await.0, 405);
    assert_eq!(post(address, "/no-such-thing", "", "{}").await.0, 404);
}

#[tokio::test]
async fn web_pages_are_refused_and_a_configured_token_is_required() {
    let body = json!({"token": "t", "content": "c"}).to_string();
    let started = start(everything()).await;
    let address = started.server.addresses().management.unwrap();
    for origin in ["http://evil.test", "null", "http://127.0.0.1"] {
        let (status, _) = post(address, "/add-http01", &format!("Origin: {origin}\r\n"), &body).await;
        assert_eq!(status, 403, "{origin}");
    }

    let token = Some("secret".to_owned());
    let config = Config {
        management: Some(ManagementConfig { listen: loopback(), token, open: false }),
        ..Config::default()
    };
    let started = start(config).await;
    let address = started.server.addresses().management.unwrap();
    for (header, status) in [
        ("", 401),
        ("Authorization: Bearer wrong\r\n", 401),
        ("Authorization: secret\r\n", 401),
        ("Authorization: Bearer secret\r\n", 200),
    ] {
        assert_eq!(post(address, "/add-http01", header, &body).await.0, status, "{header:?}");
    }
    assert_eq!(get(address, "localhost", "/healthz").await.0, 200, "health needs no token");
}

#[tokio::test]
async fn beyond_loopback_it_needs_a_token_or_explicit_permission() {
    let listen = SocketAddr::from(([0, 0, 0, 0], 0));
    for (token, open, starts) in
        [(None, false, false), (Some("secret".to_owned()), false, true), (None, true, true)]
    {
        let management = Some(ManagementConfig { listen, token, open });
        let config = Config { management, ..Config::default() };
        let store = std::sync::Arc::new(MemoryChallenges::new());
        let stop = CancellationToken::new();
        let outcome = ChallengeServer::start(config, store, stop.clone()).await;
        stop.cancel();
        match outcome {
            Ok(server) => {
                assert!(starts);
                server.finish().await;
            }
            Err(error) => {
                assert!(!starts && matches!(error, StartError::OpenManagement(_)), "{error}");
                assert!(error.to_string().contains("0.0.0.0"), "{error}");
            }
        }
    }
}
