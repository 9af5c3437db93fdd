//! RFC 8737 over the wire, with rustls as the CA and with `openssl s_client`.

use std::process::Stdio;
use std::sync::Arc;

use rustls::version::{TLS12, TLS13};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wec_challenge_server::Config;
use wec_record::{ChallengeType, Verdict};
use wec_testbed::Program;
use x509_parser::prelude::*;

use crate::client::handshake;
use crate::dead_store::DeadStore;
use crate::started::{crowded, everything, impatient, loopback, next, start, start_over};

const ACME: &[&[u8]] = &[b"acme-tls/1"];
const OPENSSL: Program = Program { binary: "openssl", package: "openssl" };

fn name(text: &str) -> ServerName<'static> {
    ServerName::try_from(text.to_owned()).unwrap()
}

#[tokio::test]
async fn proves_the_name_as_rfc_8737_requires() {
    let mut started = start(everything()).await;
    let data = started.put(ChallengeType::TlsAlpn01, "www.example.test").await;
    let address = started.server.addresses().tls_alpn01.unwrap();

    for version in [&TLS13, &TLS12] {
        // The client has verified that the certificate's key signed the handshake.
        let (stream, shown) = handshake(address, name("WWW.Example.test"), ACME, &[version]).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(ACME[0]));
        assert_eq!(shown.intermediates, 0);
        let (_, certificate) = X509Certificate::from_der(&shown.certificate).unwrap();
        let names = certificate.subject_alternative_name().unwrap().unwrap();
        assert_eq!(names.value.general_names, [GeneralName::DNSName("www.example.test")]);
        let acme = certificate
            .extensions()
            .iter()
            .find(|extension| extension.oid.to_id_string() == "1.3.6.1.5.5.7.1.31")
            .expect("id-pe-acmeIdentifier");
        assert!(acme.critical);
        assert_eq!(acme.value, [&[4, 32][..], &data.digest()].concat());
        assert_eq!(certificate.issuer(), certificate.subject(), "self-signed");

        let hit = started.hit().await;
        assert_eq!((hit.challenge, hit.verdict), (ChallengeType::TlsAlpn01, Verdict::Answered));
        assert_eq!(hit.name, "www.example.test");
        let digest: String = data.digest()[..3].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hit.answer, format!("certificate with digest {digest}…"));
    }
}

#[tokio::test]
async fn closes_after_the_proof() {
    let started = start(everything()).await;
    started.put(ChallengeType::TlsAlpn01, "a.test").await;
    let address = started.server.addresses().tls_alpn01.unwrap();
    let (mut stream, _) = handshake(address, name("a.test"), ACME, &[&TLS13]).await.unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.expect("close_notify, not a cut connection");
    assert!(rest.is_empty());
}

#[tokio::test]
async fn proves_an_ip_identifier_named_in_reverse() {
    let mut started = start(everything()).await;
    started.put(ChallengeType::TlsAlpn01, "192.0.2.7").await;
    let address = started.server.addresses().tls_alpn01.unwrap();
    let (_, shown) = handshake(address, name("7.2.0.192.in-addr.arpa"), ACME, &[&TLS13]).await.unwrap();
    let (_, certificate) = X509Certificate::from_der(&shown.certificate).unwrap();
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    assert_eq!(names.value.general_names, [GeneralName::IPAddress(&[192, 0, 2, 7])]);
    assert_eq!(started.hit().await.name, "192.0.2.7");
}

#[tokio::test]
async fn refuses_with_the_alert_for_each_reason() {
    let mut started = start(everything()).await;
    started.put(ChallengeType::TlsAlpn01, "a.test").await;
    let address = started.server.addresses().tls_alpn01.unwrap();
    let table: [(_, &[&[u8]], _, _); 5] = [
        (name("b.test"), ACME, "UnrecognisedName", Verdict::Unknown),
        // For an address, rustls sends no server name.
        (name("192.0.2.1"), ACME, "UnrecognisedName", Verdict::Refused),
        (name("a.test"), &[b"h2", b"http/1.1"], "NoApplicationProtocol", Verdict::Refused),
        (name("a.test"), &[b"acme-tls/1", b"h2"], "NoApplicationProtocol", Verdict::Refused),
        (name("a.test"), &[], "NoApplicationProtocol", Verdict::Refused),
    ];
    for (name, alpn, alert, verdict) in table {
        let error = handshake(address, name, alpn, &[&TLS13, &TLS12]).await.unwrap_err();
        assert!(error.to_string().contains(alert), "{error}");
        assert_eq!(started.hit().await.verdict, verdict);
    }
}

#[tokio::test]
async fn a_failing_store_is_an_internal_error_alert() {
    let (server, mut hits, stop) = start_over(everything(), Arc::new(DeadStore)).await;
    let address = server.addresses().tls_alpn01.unwrap();
    let error = handshake(address, name("a.test"), ACME, &[&TLS13]).await.unwrap_err();
    assert!(error.to_string().contains("InternalError"), "{error}");
    assert_eq!(next(&mut hits).await.verdict, Verdict::StoreFailed);
    stop.cancel();
}

#[tokio::test]
async fn a_new_challenge_of_a_name_replaces_the_old_one() {
    use wec_store::{ChallengeData, ChallengeWriter};
    let started = start(everything()).await;
    let old = started.put(ChallengeType::TlsAlpn01, "a.test").await;
    let address = started.server.addresses().tls_alpn01.unwrap();
    let (_, first) = handshake(address, name("a.test"), ACME, &[&TLS13]).await.unwrap();
    started.store.put(&ChallengeData { key_authorization: "new.thumb".into(), ..old }).await.unwrap();
    let (_, second) = handshake(address, name("a.test"), ACME, &[&TLS13]).await.unwrap();
    assert_ne!(first.certificate, second.certificate);
}

#[tokio::test]
async fn garbage_and_silence_do_not_block_the_listener() {
    let config = Config { tls_alpn01: Some(loopback()), limits: impatient(), ..Config::default() };
    let mut started = start(config).await;
    started.put(ChallengeType::TlsAlpn01, "a.test").await;
    let address = started.server.addresses().tls_alpn01.unwrap();
    let mut silent = Vec::new();
    for _ in 0..impatient().connections {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let mut garbage = TcpStream::connect(address).await.unwrap();
    garbage.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    handshake(address, name("a.test"), ACME, &[&TLS13]).await.expect("the server still answers");
    let mut verdicts = [started.hit().await.verdict, started.hit().await.verdict];
    verdicts.sort_by_key(|verdict| *verdict as u8);
    assert_eq!(verdicts, [Verdict::Answered, Verdict::Refused]);
}

#[tokio::test]
async fn silent_connections_do_not_block_a_validation() {
    let config = Config { tls_alpn01: Some(loopback()), limits: crowded(), ..Config::default() };
    let mut started = start(config).await;
    started.put(ChallengeType::TlsAlpn01, "a.test").await;
    let address = started.server.addresses().tls_alpn01.unwrap();
    let mut silent = Vec::new();
    for _ in 0..12 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    handshake(address, name("a.test"), ACME, &[&TLS13]).await.expect("the server still answers");
    assert_eq!(started.hit().await.verdict, Verdict::Answered);
}

#[tokio::test]
async fn openssl_sees_the_same_proof() {
    let started = start(everything()).await;
    started.put(ChallengeType::TlsAlpn01, "www.example.test").await;
    let address = started.server.addresses().tls_alpn01.unwrap().to_string();
    let output = tokio::process::Command::new(OPENSSL.find().unwrap())
        .args(["s_client", "-connect", &address, "-servername", "www.example.test", "-alpn", "acme-tls/1"])
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("ALPN protocol: acme-tls/1"), "{text}");
    assert!(text.contains("BEGIN CERTIFICATE"), "{text}");
}
