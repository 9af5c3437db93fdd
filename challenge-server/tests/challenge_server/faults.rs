//! Challenge data that is a fault or a detour: what a CA gets.

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use rustls::version::TLS13;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use wec_record::{ChallengeType, Verdict};
use wec_store::challenge::detour;
use wec_store::{ChallengeData, ChallengeWriter, ValidationFault};

use crate::client::{get, handshake};
use crate::dns::{query, values};
use crate::started::{KEY_AUTHORIZATION, Started, TOKEN, challenge, everything, start};

const NAME: &str = "a.test";

async fn put(started: &Started, kind: ChallengeType, fault: ValidationFault) -> ChallengeData {
    let data = ChallengeData { key_authorization: fault.key_authorization(), ..challenge(kind, NAME) };
    started.store.put(&data).await.unwrap();
    data
}

/// The next hit is of this fault.
async fn is_hit(started: &mut Started, fault: ValidationFault) {
    let hit = started.hit().await;
    assert_eq!((hit.verdict, &*hit.answer, &*hit.name), (Verdict::Faulted, fault.name(), NAME));
}

/// Nothing has arrived, nor has the peer closed.
fn is_silent(stream: &TcpStream) {
    let nothing = stream.try_read(&mut [0]).unwrap_err();
    assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn http01_has_each_fault() {
    let mut started = start(everything()).await;
    let address = started.server.addresses().http01.unwrap();
    let path = format!("/.well-known/acme-challenge/{TOKEN}");
    for (fault, status, body) in [
        (ValidationFault::Wrong, 200, "wec-fault-wrong"),
        (ValidationFault::Refused, 403, "refused on purpose\n"),
    ] {
        put(&started, ChallengeType::Http01, fault).await;
        assert_eq!(get(address, NAME, &path).await, (status, body.to_owned()));
        is_hit(&mut started, fault).await;
    }
    for fault in [ValidationFault::Reset, ValidationFault::Silence, ValidationFault::Slow] {
        put(&started, ChallengeType::Http01, fault).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {NAME}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        is_hit(&mut started, fault).await;
        match fault {
            ValidationFault::Reset => {
                let error = stream.read(&mut [0]).await.unwrap_err();
                assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
            }
            ValidationFault::Silence => is_silent(&stream),
            _ => {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\nw") {
                    assert_ne!(stream.read_buf(&mut head).await.unwrap(), 0);
                }
                assert!(head.starts_with(b"HTTP/1.1 200 OK\r\n"));
            }
        }
    }
}

#[tokio::test]
async fn tls_alpn01_has_each_fault() {
    let mut started = start(everything()).await;
    let address = started.server.addresses().tls_alpn01.unwrap();
    let name = || ServerName::try_from(NAME).unwrap();

    let data = put(&started, ChallengeType::TlsAlpn01, ValidationFault::Wrong).await;
    let (_, shown) = handshake(address, name(), &[b"acme-tls/1"], &[&TLS13]).await.unwrap();
    let digest = data.digest();
    assert!(shown.certificate.windows(digest.len()).any(|window| window == digest));
    is_hit(&mut started, ValidationFault::Wrong).await;

    for (fault, why) in [(ValidationFault::Refused, "AccessDenied"), (ValidationFault::Reset, "reset")] {
        put(&started, ChallengeType::TlsAlpn01, fault).await;
        let error = handshake(address, name(), &[b"acme-tls/1"], &[&TLS13]).await.unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
        is_hit(&mut started, fault).await;
    }
    for fault in [ValidationFault::Silence, ValidationFault::Slow] {
        put(&started, ChallengeType::TlsAlpn01, fault).await;
        let shaking = async { handshake(address, name(), &[b"acme-tls/1"], &[&TLS13]).await };
        tokio::select! {
            ended = shaking => {
                panic!("{fault}: the handshake ended: {:?}", ended.err());
            }
            () = is_hit(&mut started, fault) => {}
        }
    }
}

#[tokio::test]
async fn dns01_has_each_fault() {
    let mut started = start(everything()).await;
    let address = started.server.addresses().dns.unwrap();
    let question = query(&format!("_acme-challenge.{NAME}"), RecordType::TXT);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(address).await.unwrap();
    let mut answer = [0; 1232];
    for (fault, code) in [
        (ValidationFault::Wrong, ResponseCode::NoError),
        (ValidationFault::Nxdomain, ResponseCode::NXDomain),
        (ValidationFault::Servfail, ResponseCode::ServFail),
        (ValidationFault::Refused, ResponseCode::Refused),
    ] {
        let data = put(&started, ChallengeType::Dns01, fault).await;
        socket.send(&question).await.unwrap();
        let length = socket.recv(&mut answer).await.unwrap();
        let reply = Message::from_vec(&answer[..length]).unwrap();
        assert_eq!(reply.metadata.response_code, code, "{fault}");
        let served = if fault == ValidationFault::Wrong { vec![data.txt_value()] } else { Vec::new() };
        assert_eq!(values(&answer[..length]), served, "{fault}");
        is_hit(&mut started, fault).await;
        started.store.remove(&data).await.unwrap();
    }
    put(&started, ChallengeType::Dns01, ValidationFault::Silence).await;
    socket.send(&question).await.unwrap();
    is_hit(&mut started, ValidationFault::Silence).await;
    let nothing = socket.try_recv(&mut answer).unwrap_err();
    assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn http01_is_redirected_and_dns01_delegated() {
    let started = start(everything()).await;
    for kind in [ChallengeType::Http01, ChallengeType::Dns01] {
        for data in detour(challenge(kind, NAME)) {
            started.store.put(&data).await.unwrap();
        }
    }
    let addresses = started.server.addresses();
    let http01 = addresses.http01.unwrap();
    let path = format!("/.well-known/acme-challenge/{TOKEN}");
    assert_eq!(get(http01, NAME, &path).await, (302, String::new()));
    let moved = format!("/wec-moved/{TOKEN}");
    assert_eq!(get(http01, NAME, &moved).await, (200, KEY_AUTHORIZATION.to_owned()));
    started.store.put(&challenge(ChallengeType::Http01, NAME)).await.unwrap();
    assert_eq!(get(http01, NAME, &moved).await.0, 404, "there is no redirect to it");

    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(addresses.dns.unwrap()).await.unwrap();
    let mut answer = [0; 1232];
    let value = challenge(ChallengeType::Dns01, NAME).txt_value();
    let target = "_acme-challenge.delegated.a.test.".to_owned();
    for (kind, expected) in
        [(RecordType::TXT, vec![target.clone(), value]), (RecordType::CNAME, vec![target])]
    {
        socket.send(&query(&format!("_acme-challenge.{NAME}"), kind)).await.unwrap();
        let length = socket.recv(&mut answer).await.unwrap();
        assert_eq!(values(&answer[..length]), expected);
    }
}
