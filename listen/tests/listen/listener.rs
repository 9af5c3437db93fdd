//! A listener and its rules, with clients on loopback.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use wec_listen::http::{Version, serve};
use wec_listen::{Connections, Rules, WhenFull};

/// Far longer than any step takes.
const LONG: Duration = Duration::from_secs(60);

struct Server {
    address: SocketAddr,
    connections: Arc<Connections>,
    /// The number of requests that are never answered.
    unanswered: watch::Receiver<usize>,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

/// Long limits, so that only the limit under test applies.
fn rules() -> Rules {
    Rules { connections: 16, first_request: LONG, idle: LONG, body: Some(LONG), ..Rules::control("the test") }
}

async fn start(rules: Rules, version: Version) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (connections, stop) = (Connections::new(rules), CancellationToken::new());
    let (asked, unanswered) = watch::channel(0);
    let never = move || {
        asked.send_modify(|asked| *asked += 1);
        std::future::pending::<()>()
    };
    let app = Router::new()
        .route("/", get(async || "here"))
        .route("/body", post(async |body: String| body))
        .route("/never", get(never));
    let service = hyper_util::service::TowerToHyperService::new(app);
    let serving = tokio::spawn(serve(listener, connections.clone(), version, service, stop.clone()));
    Server { address, connections, unanswered, stop, serving }
}

impl Server {
    async fn sends(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream
    }

    async fn is_answered(&self) -> bool {
        let mut stream = self.sends(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        received(&mut stream).await.ends_with("here")
    }

    async fn end(self) {
        self.stop.cancel();
        timeout(LONG, self.serving).await.unwrap().unwrap();
    }
}

/// Everything until the server closes the connection.
async fn received(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset is a close, too.
    let _ = timeout(LONG, stream.read_to_end(&mut bytes)).await.expect("the server closes it");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether the server has neither sent anything on this connection nor closed it.
fn is_silent(stream: &TcpStream) -> bool {
    stream.try_read(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

/// Waits until the runtime, that of the server and of its clients, has nothing left to do: only then paused time goes on.
async fn nothing_left_to_do() {
    tokio::time::pause();
    tokio::time::sleep(Duration::from_millis(1)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn half_requests_do_not_keep_others_out_and_are_counted() {
    let server = start(rules(), Version::Http1).await;
    let mut half = Vec::new();
    for n in 0..300 {
        half.push(server.sends(if n % 2 == 0 { b"GET / HTTP/1.1\r\nHost:" } else { b"" }).await);
        if n % 50 == 0 {
            assert!(server.is_answered().await, "after {n} half requests");
        }
    }
    assert!(server.is_answered().await);
    let counts = server.connections.counts();
    assert!(counts.open <= 16, "{counts:?}");
    assert!(counts.replaced >= 284, "{counts:?}");
    assert_eq!(counts.bound, 16);
    assert_eq!(received(&mut half[0]).await, "", "the oldest is closed");
    server.end().await;
}

#[tokio::test]
async fn busy_connections_keep_their_places() {
    let mut server = start(Rules { connections: 4, ..rules() }, Version::Http1).await;
    let mut busy = Vec::new();
    for _ in 0..4 {
        busy.push(server.sends(b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n").await);
    }
    // Until its request has been read, a connection waits and may be replaced.
    timeout(LONG, server.unanswered.wait_for(|asked| *asked == 4)).await.unwrap().unwrap();
    let mut stream = server.sends(b"").await;
    assert_eq!(received(&mut stream).await, "");
    let counts = server.connections.counts();
    assert_eq!((counts.refused, counts.replaced), (1, 0), "{counts:?}");
    server.end().await;
}

#[tokio::test]
async fn a_slow_head_a_slow_preface_and_a_slow_body_end() {
    let short = Duration::from_millis(200);
    let rules = Rules { first_request: short, body: Some(short), ..rules() };
    for (version, starts) in [
        (Version::Http1, &b"GET / HTTP/1.1\r\nHos"[..]),
        (Version::Http2, b"PRI * HTTP/2.0"),
        (Version::Http2, b""),
    ] {
        let server = start(rules, version).await;
        let answer = received(&mut server.sends(starts).await).await;
        // HTTP/2 begins with the server's settings.
        assert!(answer.is_empty() || version == Version::Http2, "{answer:?}");
        assert_eq!(server.connections.counts().slow, 1);
        server.end().await;
    }
    let server = start(rules, Version::Http1).await;
    let mut slow = server.sends(b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf").await;
    assert!(received(&mut slow).await.starts_with("HTTP/1.1 400"));
    server.end().await;
}

#[tokio::test]
async fn an_idle_connection_ends_and_one_with_a_request_does_not() {
    let short = Duration::from_millis(200);
    let server = start(Rules { first_request: short, idle: short, ..rules() }, Version::Http1).await;
    let busy = server.sends(b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n").await;
    for _ in 0..3 {
        let mut idle = server.sends(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(received(&mut idle).await.ends_with("here"));
    }
    // By now it has been idle for three times as long as it may.
    assert!(is_silent(&busy), "still open");
    assert_eq!(server.connections.counts().slow, 0);
    server.end().await;
}

#[tokio::test]
async fn connections_wait_for_a_place_where_they_may() {
    let server = start(Rules { connections: 2, when_full: WhenFull::Wait, ..rules() }, Version::Http1).await;
    let never = b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n";
    let first = server.sends(never).await;
    let _second = server.sends(never).await;
    let mut third = server.sends(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    nothing_left_to_do().await;
    assert!(is_silent(&third), "it waits");
    drop(first);
    assert!(received(&mut third).await.ends_with("here"));
    server.end().await;
}

#[tokio::test]
async fn where_connections_wait_half_requests_do_not_keep_others_out_either() {
    let server = start(Rules { when_full: WhenFull::Wait, ..rules() }, Version::Http1).await;
    let mut half = Vec::new();
    for _ in 0..100 {
        half.push(server.sends(b"GET / HTTP/1.1\r\nHost:").await);
    }
    assert!(server.is_answered().await);
    let counts = server.connections.counts();
    assert!(counts.open <= 16 && counts.replaced >= 84 && counts.refused == 0, "{counts:?}");
    server.end().await;
}

#[tokio::test]
async fn a_large_head_is_refused() {
    let server = start(rules(), Version::Http1).await;
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(32 << 10));
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let _ = stream.write_all(head.as_bytes()).await;
    let answer = received(&mut stream).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    server.end().await;
}
