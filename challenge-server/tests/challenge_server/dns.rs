//! dns-01 over UDP, TCP and HTTPS, with Debian's `dig` and with hand-made messages.

use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::version::TLS13;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use wec_challenge_server::{Config, DohCertificate, DohConfig};
use wec_record::{ChallengeType, Verdict};
use wec_store::{ChallengeData, ChallengeWriter};
use wec_testbed::Program;

use crate::client::{exchange, handshake};
use crate::started::{challenge, everything, impatient, loopback, start};

const DIG: Program = Program { binary: "dig", package: "bind9-dnsutils" };

pub(crate) fn query(name: &str, kind: RecordType) -> Vec<u8> {
    let mut query = Message::new(7, MessageType::Query, OpCode::Query);
    query.add_query(Query::query(Name::from_ascii(format!("{name}.")).unwrap(), kind));
    query.to_vec().unwrap()
}

pub(crate) fn values(reply: &[u8]) -> Vec<String> {
    let reply = Message::from_vec(reply).unwrap();
    let text = |data: &RData| match data {
        RData::TXT(txt) => String::from_utf8(txt.txt_data.concat()).unwrap(),
        other => other.to_string(),
    };
    reply.answers.iter().map(|record| text(&record.data)).collect()
}

async fn dig(address: SocketAddr, arguments: &[&str]) -> String {
    let output = tokio::process::Command::new(DIG.find().unwrap())
        .arg(format!("@{}", address.ip()))
        .args(["-p", &address.port().to_string(), "+tries=1", "+time=5"])
        .args(arguments)
        .output()
        .await
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn dig_gets_the_same_over_udp_tcp_and_https() {
    let mut started = start(everything()).await;
    let first = started.put(ChallengeType::Dns01, "www.example.test").await;
    let second = ChallengeData { key_authorization: "second.thumb".into(), ..first.clone() };
    started.store.put(&second).await.unwrap();
    let mut expected = [format!("\"{}\"", first.txt_value()), format!("\"{}\"", second.txt_value())];
    expected.sort();

    let addresses = started.server.addresses();
    let (dns, doh) = (addresses.dns.unwrap(), addresses.doh.unwrap());
    for (address, transport) in
        [(dns, "+notcp"), (dns, "+tcp"), (doh, "+https"), (doh, "+https-get"), (dns, "+noedns")]
    {
        let short = dig(address, &[transport, "+short", "TXT", "_acme-challenge.www.example.test"]).await;
        let mut lines: Vec<&str> = short.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, expected, "{transport}: {short}");
        let hit = started.hit().await;
        assert_eq!((hit.challenge, hit.verdict), (ChallengeType::Dns01, Verdict::Answered));
        assert_eq!(hit.name, "www.example.test");
        let beginning = format!("{}…", &first.txt_value()[..6]);
        assert!(hit.answer.split(' ').any(|value| value == beginning), "{}", hit.answer);
    }

    let whole = dig(dns, &["CAA", "www.example.test"]).await;
    assert!(whole.contains("status: NOERROR") && whole.contains("flags: qr aa rd ra"), "{whole}");
    assert!(whole.contains("EDNS: version: 0, flags:; udp: 1232"), "{whole}");
    assert!(whole.contains("AUTHORITY: 1"), "NODATA comes with the SOA: {whole}");
    let absent = dig(dns, &["TXT", "_acme-challenge.nothing.test"]).await;
    assert!(absent.contains("status: NXDOMAIN"), "{absent}");
    assert_eq!(started.hit().await.verdict, Verdict::Unknown);
    assert_eq!(dig(dns, &["+short", "A", "any.host.test"]).await, "127.0.0.1\n");
}

#[tokio::test]
async fn a_truncated_answer_can_be_repeated_whole_over_tcp() {
    let started = start(everything()).await;
    let one = challenge(ChallengeType::Dns01, "many.test");
    for number in 0..50 {
        let data = ChallengeData { key_authorization: format!("{number}.thumb"), ..one.clone() };
        started.store.put(&data).await.unwrap();
    }
    let address = started.server.addresses().dns.unwrap();
    let ignored = dig(address, &["+ignore", "TXT", "_acme-challenge.many.test"]).await;
    assert!(ignored.contains("qr aa tc rd") && ignored.contains("ANSWER: 0"), "{ignored}");
    let whole = dig(address, &["+short", "TXT", "_acme-challenge.many.test"]).await;
    assert_eq!(whole.lines().count(), 50, "{whole}");
}

#[tokio::test]
async fn a_tcp_connection_takes_several_queries() {
    let started = start(everything()).await;
    let data = started.put(ChallengeType::Dns01, "a.test").await;
    let mut stream = TcpStream::connect(started.server.addresses().dns.unwrap()).await.unwrap();
    let query = query("_acme-challenge.a.test", RecordType::TXT);
    let framed = [&(query.len() as u16).to_be_bytes(), query.as_slice()].concat();
    stream.write_all(&[framed.as_slice(), &framed].concat()).await.unwrap();
    for _ in 0..2 {
        let length = stream.read_u16().await.unwrap();
        let mut reply = vec![0; length.into()];
        stream.read_exact(&mut reply).await.unwrap();
        assert_eq!(values(&reply), [data.txt_value()]);
    }
}

#[tokio::test]
async fn slow_and_malformed_clients_over_tcp_lose_their_connections() {
    let config = Config { dns: Some(loopback()), limits: impatient(), ..Config::default() };
    let started = start(config).await;
    let address = started.server.addresses().dns.unwrap();
    for half in [&b"\x00"[..], b"\x00\x20half a query", b"\xff\xff", b"\x00\x00"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(half).await.unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty(), "{half:?}: {rest:?}");
    }
}

#[tokio::test]
async fn garbage_datagrams_do_not_disturb_the_next_query() {
    let started = start(everything()).await;
    let data = started.put(ChallengeType::Dns01, "a.test").await;
    let socket = UdpSocket::bind(loopback()).await.unwrap();
    socket.connect(started.server.addresses().dns.unwrap()).await.unwrap();
    for garbage in [&b""[..], b"x", &[0xff; 12], &[0x80; 4000]] {
        socket.send(garbage).await.unwrap();
    }
    let question = query("_acme-challenge.a.test", RecordType::TXT);
    socket.send(&question).await.unwrap();
    let mut reply = [0; 1500];
    let length = socket.recv(&mut reply).await.unwrap();
    assert_eq!(values(&reply[..length]), [data.txt_value()]);
}

#[tokio::test]
async fn doh_over_http2_accepts_get_and_post_only() {
    let started = start(everything()).await;
    let data = started.put(ChallengeType::Dns01, "a.test").await;
    let address = started.server.addresses().doh.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let (stream, _) = handshake(address, name, &[b"h2", b"http/1.1"], &[&TLS13]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);

    let question = query("_acme-challenge.a.test", RecordType::TXT);
    let encoded = URL_SAFE_NO_PAD.encode(&question);
    let get = |path: &str| Request::get(format!("https://localhost{path}")).body(Full::default()).unwrap();
    let post = |kind: &str, body: Vec<u8>| {
        Request::post("https://localhost/dns-query")
            .header("content-type", kind)
            .body(Full::new(Bytes::from(body)))
            .unwrap()
    };
    let message = "application/dns-message";
    let table = [
        (get(&format!("/dns-query?dns={encoded}")), 200),
        (post(message, question.clone()), 200),
        (get(&format!("/dns-query?ct=x&dns={encoded}")), 200),
        (get("/dns-query"), 400),
        (get("/dns-query?dns=%%%"), 400),
        (get("/dns-query?dns=AAAA"), 400),
        (get("/other"), 404),
        (post("application/json", question.clone()), 415),
        (post(message, vec![0; 70_000]), 413),
        (Request::put("https://localhost/dns-query").body(Full::default()).unwrap(), 405),
    ];
    for (request, status) in table {
        let shown = format!("{} {}", request.method(), request.uri());
        let response = client.send_request(request).await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{shown}");
        if status == 200 {
            assert_eq!(response.headers()["content-type"], message);
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(values(&body), [data.txt_value()], "{shown}");
        }
    }
    let malformed = post(message, [&question[..20], &[0xff; 3]].concat());
    let response = client.send_request(malformed).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(Message::from_vec(&body).unwrap().metadata.response_code, ResponseCode::FormErr);
}

#[tokio::test]
async fn doh_takes_a_given_certificate_and_plain_http() {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["doh.test".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let pem = DohCertificate::Pem { chain: certificate.pem().into(), key: key.serialize_pem().into() };
    let doh = |certificate| Config {
        doh: Some(DohConfig { listen: loopback(), certificate }),
        ..Config::default()
    };

    let started = start(doh(pem)).await;
    let name = ServerName::try_from("doh.test").unwrap();
    let address = started.server.addresses().doh.unwrap();
    let (_, shown) = handshake(address, name, &[], &[&TLS13]).await.unwrap();
    assert_eq!(&shown.certificate, certificate.der());

    let started = start(doh(DohCertificate::None)).await;
    let data = started.put(ChallengeType::Dns01, "a.test").await;
    let encoded = URL_SAFE_NO_PAD.encode(query("_acme-challenge.a.test", RecordType::TXT));
    let request =
        format!("GET /dns-query?dns={encoded} HTTP/1.1\r\nHost: doh.test\r\nConnection: close\r\n\r\n");
    let response = exchange(started.server.addresses().doh.unwrap(), request.as_bytes()).await;
    assert!(response.starts_with("HTTP/1.1 200") && response.contains(&data.txt_value()), "{response}");
}
