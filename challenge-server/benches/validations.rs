//! Validations per CPU-second, beside Debian's `pebble-challtestsrv`. The same client puts the same load on both, one
//! connection per validation as CAs do, and only the servers' CPU time counts, user and system.
//!
//! `cargo bench -p wec-challenge-server`; without `--bench` (as under `cargo test`) it only checks that it runs.

#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use wec_testbed::{ChallTestSrv, Process, free_address};

/// Rounds for each server in turn, so that other load of the machine affects both.
const ROUNDS: usize = 3;
/// Linux's USER_HZ on every architecture that Debian has.
const TICKS_PER_SECOND: f64 = 100.0;

/// The load for both.
#[derive(Clone, Copy)]
enum Load {
    Http01,
    /// This many requests for each name: a CA validates from several places, and the servers may keep a certificate.
    TlsAlpn01 {
        looks: usize,
    },
}

fn main() {
    let measured = std::env::args().any(|arg| arg == "--bench");
    let (http, tls) = if measured { (30_000, 9_000) } else { (32, 32) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    println!(
        "{:<28}{:>9}{:>13}{:>25}{:>16}{:>7}",
        "one connection each", "at once", "validations", "challtestsrv per CPU s", "wec per CPU s", "ratio"
    );
    for (name, load, clients, count) in [
        ("http-01", Load::Http01, 16, http),
        ("http-01", Load::Http01, 64, http),
        ("http-01", Load::Http01, 256, http),
        ("tls-alpn-01, a name once", Load::TlsAlpn01 { looks: 1 }, 64, tls),
        ("tls-alpn-01, a name 3 times", Load::TlsAlpn01 { looks: 3 }, 64, tls),
    ] {
        let [theirs, ours] = runtime.block_on(compare(load, clients, count));
        let all = ROUNDS * count;
        let per_second = |seconds: f64| all as f64 / seconds.max(1.0 / TICKS_PER_SECOND);
        let (theirs, ours) = (per_second(theirs), per_second(ours));
        println!("{name:<28}{clients:>9}{all:>13}{theirs:>25.0}{ours:>16.0}{:>7.2}", ours / theirs);
    }
}

/// CPU-seconds of pebble-challtestsrv and of our server for `ROUNDS` times `count` validations.
async fn compare(load: Load, clients: usize, count: usize) -> [f64; 2] {
    let mut theirs = ChallTestSrv::start().await.unwrap();
    let (mut ours, management, http01, tlsalpn01) = our_server().await;
    let tls = Arc::new(client_config());
    let servers = [
        (theirs.process().pid(), theirs.management_address(), theirs.http01, theirs.tlsalpn01),
        (ours.pid(), management, http01, tlsalpn01),
    ];
    let mut seconds = [0.0; 2];
    for round in 0..ROUNDS {
        for (turn, (pid, management, http01, tlsalpn01)) in servers.into_iter().enumerate() {
            prepare(management, load, round, count).await;
            let before = cpu_seconds(pid);
            let address = if matches!(load, Load::Http01) { http01 } else { tlsalpn01 };
            validate(load, address, round, clients, count, &tls).await;
            seconds[turn] += cpu_seconds(pid) - before;
        }
    }
    ours.kill().unwrap();
    seconds
}

async fn our_server() -> (Process, SocketAddr, SocketAddr, SocketAddr) {
    let [management, http01, tlsalpn01] = std::array::from_fn(|_| free_address());
    let mut server = Process::start_with("wec-challenge-server", |_| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wec-challenge-server"));
        command
            .args(["--management-listen", &management.to_string(), "--http01-listen", &http01.to_string()])
            .args(["--tlsalpn01-listen", &tlsalpn01.to_string(), "--dns-listen", "off"]);
        Ok(command)
    })
    .unwrap();
    for address in [management, http01, tlsalpn01] {
        server.accepting(address).await.unwrap();
    }
    (server, management, http01, tlsalpn01)
}

/// Puts the challenge data into the server.
async fn prepare(management: SocketAddr, load: Load, round: usize, count: usize) {
    match load {
        Load::Http01 => {
            say(management, "/add-http01", r#"{"token":"token","content":"token.thumbprint"}"#).await
        }
        Load::TlsAlpn01 { looks } => {
            for number in 0..count.div_ceil(looks) {
                let body = format!(r#"{{"host":"{}","content":"token.thumbprint"}}"#, name(round, number));
                say(management, "/add-tlsalpn01", &body).await;
            }
        }
    }
}

async fn say(management: SocketAddr, path: &str, body: &str) {
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: bench.test\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    assert!(exchange(management, &request).await.starts_with("HTTP/1.1 200"));
}

fn name(round: usize, number: usize) -> String {
    format!("{number}.{round}.bench.test")
}

async fn validate(
    load: Load,
    address: SocketAddr,
    round: usize,
    clients: usize,
    count: usize,
    tls: &Arc<ClientConfig>,
) {
    let next = Arc::new(AtomicUsize::new(0));
    let mut running = JoinSet::new();
    for _ in 0..clients {
        let (next, tls) = (Arc::clone(&next), TlsConnector::from(Arc::clone(tls)));
        running.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return;
                }
                match load {
                    Load::Http01 => http01(address).await,
                    Load::TlsAlpn01 { looks } => tls_alpn01(address, &tls, name(round, number / looks)).await,
                }
            }
        });
    }
    running.join_all().await;
}

async fn http01(address: SocketAddr) {
    let request = "GET /.well-known/acme-challenge/token HTTP/1.1\r\nHost: a.bench.test\r\n\
                   User-Agent: bench\r\nAccept: */*\r\nConnection: close\r\n\r\n";
    assert!(exchange(address, request).await.ends_with("token.thumbprint"));
}

async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    response
}

async fn tls_alpn01(address: SocketAddr, tls: &TlsConnector, name: String) {
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from(name).unwrap();
    let mut stream = tls.connect(name, stream).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"acme-tls/1"[..]));
    stream.shutdown().await.unwrap();
}

/// TLS 1.3 as both servers support it, without resumption and checks: the client is not measured.
fn client_config() -> ClientConfig {
    let provider =
        CryptoProvider { kx_groups: vec![aws_lc_rs::kx_group::X25519], ..aws_lc_rs::default_provider() };
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    config.resumption = Resumption::disabled();
    config
}

#[derive(Debug)]
struct Trusting;

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

/// User and system time of a process with all its threads, also ended ones.
fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The fields follow the program's name in parentheses, which may contain anything; utime is the 14th of all.
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks: Vec<u64> =
        fields.split_whitespace().skip(11).take(2).map(|field| field.parse().unwrap()).collect();
    ticks.iter().sum::<u64>() as f64 / TICKS_PER_SECOND
}
