//! The listeners of the page and of results against clients that misbehave.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tonic::transport::Endpoint;
use wec_analytics::{Analytics, Config, ListenerCounts, Token};
use wec_board::Board;
use wec_proto::results as wire;
use wec_proto::results::results_client::ResultsClient;
use wec_record::Chain;

use crate::common::{chain_result, exchange, header};

/// Longer than any step takes.
const LONG: Duration = Duration::from_secs(120);

async fn service(token: Option<&str>) -> (Analytics, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let config = Config {
        web: Some("127.0.0.1:0".parse().unwrap()),
        grpc: Some("127.0.0.1:0".parse().unwrap()),
        token: token.and_then(Token::new),
        ..crate::common::config(folder.path())
    };
    (Analytics::start(config, Board::local()).await.unwrap(), folder)
}

fn counts(analytics: &Analytics, what: &str) -> ListenerCounts {
    analytics.health().listeners.into_iter().find(|counts| counts.what == what).unwrap()
}

#[tokio::test]
async fn page_and_results_work_beside_more_incomplete_requests_than_places() {
    let (analytics, _folder) = service(None).await;
    analytics.begin(header("run")).await.unwrap();
    let (page, results) = (analytics.web_addr().unwrap(), analytics.grpc_addr().unwrap());
    let bound = counts(&analytics, "the page").bound;
    let mut half = Vec::new();
    for _ in 0..bound + 40 {
        half.push(half_sent(page, b"GET /api/v1/runs/current/snapshot HTTP/1.1\r\nHost: local").await);
        half.push(half_sent(results, b"PRI * HTTP/2.0\r\n").await);
    }
    let (status, _, body) =
        exchange(page, "GET /api/v1/runs/current/snapshot", &["Host: localhost"], b"").await;
    assert_eq!(status, 200, "{body}");
    assert!(body.contains(r#""what":"the page""#), "{body}");
    let mut client = client_at(results).await;
    let acks = client.deliver(tokio_stream::iter([batch(1, 0)])).await.unwrap();
    assert_eq!(acks.into_inner().message().await.unwrap().unwrap().through_seq, 1);
    for what in ["the page", "results"] {
        let counts = counts(&analytics, what);
        assert!(counts.open <= bound && counts.replaced >= 40 && counts.refused == 0, "{counts:?}");
    }
}

#[tokio::test]
async fn a_large_message_without_the_token_is_refused_before_it_is_read() {
    let (analytics, _folder) = service(Some("geheim")).await;
    let (relay, taken) = counting_relay(analytics.grpc_addr().unwrap()).await;
    let mut client = client_at(relay).await;
    let huge = batch(1, 60 << 20);
    let status = client.deliver(tokio_stream::iter([huge])).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unauthenticated, "{status:?}");
    assert!(status.message().contains("WEC_TOKEN"), "{status:?}");
    let taken = taken.load(Ordering::Relaxed);
    // At most the flow-control window of a stream and the buffers of the relay's sockets.
    assert!(taken < 8 << 20, "{taken} bytes of 60 MiB were read");
    assert_eq!(counts(&analytics, "results").unauthenticated, 1);
}

#[tokio::test]
async fn only_the_first_message_must_be_small() {
    let (analytics, _folder) = service(None).await;
    analytics.begin(header("run")).await.unwrap();
    let mut client = client_at(analytics.grpc_addr().unwrap()).await;
    let mut acks = client.deliver(tokio_stream::iter([batch(1, 2 << 20)])).await.unwrap().into_inner();
    let status = acks.message().await.unwrap_err();
    assert!(
        status.code() == tonic::Code::InvalidArgument && status.message().contains("first message of"),
        "{status:?}"
    );
    let greeting = wire::Batch { entries: Vec::new(), ..batch(1, 0) };
    let stream = tokio_stream::iter([greeting, batch(1, 2 << 20), batch(2, 10)]);
    let mut acks = client.deliver(stream).await.unwrap().into_inner();
    let through = async { while acks.message().await.unwrap().unwrap().through_seq < 2 {} };
    tokio::time::timeout(LONG, through).await.unwrap();
    assert_eq!(analytics.finish().await.snapshot.chains[&Chain::Registration].count, 2);
}

/// One result whose error has this many bytes.
fn batch(seq: u64, error: usize) -> wire::Batch {
    let mut result = chain_result(Chain::Registration, seq, 0, 1_000);
    result.error = "x".repeat(error);
    wire::Batch {
        sender: "r1".to_owned(),
        run: "run".to_owned(),
        origin_unix_ns: crate::common::START,
        first_seq: seq,
        entries: vec![wire::Entry { entry: Some(wire::entry::Entry::Chain(result.into())) }],
        hello: None,
    }
}

async fn client_at(address: SocketAddr) -> ResultsClient<tonic::transport::Channel> {
    ResultsClient::new(Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap())
}

async fn half_sent(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

/// Relays one connection and counts the bytes that the server reads.
async fn counting_relay(to: SocketAddr) -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let taken = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&taken);
    tokio::spawn(async move {
        let (client, _) = listener.accept().await.unwrap();
        let server = TcpStream::connect(to).await.unwrap();
        let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
            (client.into_split(), server.into_split());
        let back = tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
        let mut buffer = vec![0; 16 << 10];
        while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
            if to_server.write_all(&buffer[..read]).await.is_err() {
                break;
            }
            counted.fetch_add(read as u64, Ordering::Relaxed);
        }
        let _ = back.await;
    });
    (address, taken)
}
