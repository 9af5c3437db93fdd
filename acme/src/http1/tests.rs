use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::*;
use crate::body::LONGEST_BODY;
use crate::clock::Deadline;
use crate::dial::Dialler;
use crate::held::HeldTime;
use crate::tls::{HttpVersion, Roots, client_config};

fn transport(max_connections: usize) -> HttpTransport {
    let settings = ConnectSettings {
        http: HttpVersion::Http1,
        max_connections,
        connect_timeout: Duration::from_secs(60),
        request_timeout: Duration::from_secs(60),
        user_agent: HeaderValue::from_static("test/1"),
        queueing: Arc::default(),
        slow: false,
        tls: client_config(&Roots::Insecure, None, HttpVersion::Http1).unwrap(),
        dialler: Dialler::open(),
    };
    HttpTransport::new(settings, Clock::start())
}

fn post(url: &str) -> Request {
    Request {
        method: "POST",
        url: url.into(),
        body: Bytes::from_static(b"0123456789ab"),
        accept: Some("application/pem-certificate-chain"),
        traceparent: None,
        term: None,
    }
}

/// Every request allocates this state, and moves its connection.
#[tokio::test]
async fn the_states_of_a_request_and_of_a_connection_are_small() {
    let transport = transport(1);
    let message = transport.message(post("http://127.0.0.1:1/")).unwrap();
    let state = size_of_val(&transport.attempt(message));
    assert!(state <= 1_300, "{state} bytes");
    assert!(size_of::<Connection>() <= 96, "{} bytes", size_of::<Connection>());
}

/// Sends with a turn, as the client does.
async fn send(transport: &HttpTransport, request: Request) -> Reply {
    let _place = transport.places.take().await.unwrap();
    transport.send(request).await
}

/// What the raw server does with one request. After the last act it closes the connection.
#[derive(Clone)]
enum Act {
    Answer(String),
    /// Answers with the request as body.
    Echo,
    /// Sends nothing.
    Wait,
}

struct Server {
    url: String,
    opened: Arc<AtomicUsize>,
    /// It has read a request that it does not answer.
    waits: Arc<Notify>,
    closed: Arc<Notify>,
    _tasks: JoinSet<()>,
}

/// Each connection gets the next script. After the last the server stops listening.
async fn serve(scripts: Vec<Vec<Act>>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/path", listener.local_addr().unwrap());
    let (opened, waits, closed) =
        (Arc::new(AtomicUsize::new(0)), Arc::<Notify>::default(), Arc::<Notify>::default());
    let mut tasks = JoinSet::new();
    let (counter, unanswered, done) = (Arc::clone(&opened), Arc::clone(&waits), Arc::clone(&closed));
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        for script in scripts {
            let (mut stream, _) = listener.accept().await.unwrap();
            counter.fetch_add(1, Ordering::SeqCst);
            let (unanswered, done) = (Arc::clone(&unanswered), Arc::clone(&done));
            connections.spawn(async move {
                for act in script {
                    // A request arrives whole, because it is smaller than a TCP segment.
                    let mut buffer = vec![0; 4096];
                    let length = stream.read(&mut buffer).await.unwrap_or(0);
                    if length == 0 {
                        break;
                    }
                    match act {
                        Act::Answer(text) => stream.write_all(text.as_bytes()).await.unwrap(),
                        Act::Echo => {
                            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
                            stream.write_all(head.as_bytes()).await.unwrap();
                            stream.write_all(&buffer[..length]).await.unwrap();
                        }
                        Act::Wait => {
                            unanswered.notify_one();
                            std::future::pending().await
                        }
                    }
                }
                drop(stream);
                done.notify_one();
            });
        }
        connections.join_all().await;
    });
    Server { url, opened, waits, closed, _tasks: tasks }
}

fn says(text: &str) -> Act {
    Act::Answer(text.to_owned())
}

fn ok() -> Act {
    says("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nreplay-nonce: n\r\n\r\nhi")
}

#[tokio::test]
async fn counts_the_bytes_that_are_on_the_wire() {
    let server = serve(vec![vec![Act::Echo]]).await;
    let reply = send(&transport(1), post(&server.url)).await;
    assert!(reply.way.first_byte > 0 && reply.way.first_byte <= reply.done - reply.sent, "{:?}", reply.way);
    let response = reply.result.unwrap();
    let sent = String::from_utf8(response.body.to_vec()).unwrap();
    assert_eq!(reply.bytes_sent, sent.len() as u64, "{sent}");
    assert_eq!(reply.bytes_received, sent.len() as u64);
    let sent = sent.to_lowercase();
    for line in [
        "post /path http/1.1",
        "user-agent: test/1",
        "content-type: application/jose+json",
        "content-length: 12",
    ] {
        assert!(sent.contains(line), "{line} is not in {sent}");
    }
}

/// A node may lose its right to send while a request waits for its connection.
#[tokio::test]
async fn a_request_whose_term_has_ended_is_not_sent_over_a_new_or_a_used_connection() {
    let server = serve(vec![vec![ok()]]).await;
    let transport = transport(4);
    let right = Deadline::new(1, None);
    let late = Request { term: Some(right.begin()), ..post(&server.url) };
    right.set(2, None);
    for reused in [false, true] {
        let reply = send(&transport, late.clone()).await;
        assert_eq!((reply.bytes_sent, reply.reused), (0, reused));
        let failure = reply.result.unwrap_err();
        assert_eq!((failure.kind, &*failure.detail), (FailureClass::Interrupted, "lease"));
    }
    let in_time = Request { term: Some(right.begin()), ..post(&server.url) };
    assert_eq!(send(&transport, in_time).await.result.unwrap().body, "hi");
    assert_eq!(server.opened.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn uses_a_connection_again() {
    let server = serve(vec![vec![ok(), ok(), ok()]]).await;
    let transport = transport(4);
    for round in 0..3 {
        let reply = send(&transport, post(&server.url)).await;
        assert_eq!(reply.reused, round > 0);
        assert_eq!(reply.result.unwrap().body, "hi");
    }
    assert_eq!(server.opened.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn detects_that_an_idle_connection_was_closed_before_using_it() {
    let server = serve(vec![vec![ok()], vec![ok()]]).await;
    let transport = transport(4);
    assert!(send(&transport, post(&server.url)).await.result.is_ok());
    server.closed.notified().await;
    let reply = send(&transport, post(&server.url)).await;
    assert!(reply.result.is_ok() && !reply.reused);
    assert_eq!((reply.way.reconnects, reply.way.doubtful), (0, false));
}

#[tokio::test]
async fn a_request_on_a_reused_connection_that_breaks_is_sent_again_on_a_new_one() {
    let server = serve(vec![vec![ok(), says("")], vec![Act::Echo]]).await;
    let transport = transport(4);
    assert!(send(&transport, post(&server.url)).await.result.is_ok());
    let reply = send(&transport, post(&server.url)).await;
    assert_eq!((reply.way.reconnects, reply.way.doubtful, reply.reused), (1, true, false));
    // The same bytes with the same nonce, so that a server which processed the first can detect the second.
    let echoed = reply.result.unwrap().body;
    assert_eq!(reply.bytes_sent, echoed.len() as u64);
    assert!(echoed.ends_with(b"0123456789ab"), "{echoed:?}");
}

#[tokio::test]
async fn without_a_new_connection_the_requests_outcome_is_unknown() {
    let server = serve(vec![vec![ok(), says("")]]).await;
    let transport = transport(4);
    assert!(send(&transport, post(&server.url)).await.result.is_ok());
    let reply = send(&transport, post(&server.url)).await;
    let failure = reply.result.unwrap_err();
    assert_eq!(failure.kind, FailureClass::Reset, "the request was sent, so it is not a failure to connect");
    assert!(failure.message.contains("; no new connection: "), "{failure}");
    assert!(reply.bytes_sent > 0 && reply.way.doubtful);
}

#[tokio::test]
async fn any_other_broken_connection_is_a_reset() {
    for (script, received) in [
        // A new connection.
        (vec![says("")], 0),
        // A reused connection, within the head and within the body.
        (vec![ok(), says("HTTP/1.1 20")], 0),
        (vec![ok(), says("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345")], 5),
    ] {
        let server = serve(vec![script]).await;
        let transport = transport(4);
        let mut reply = send(&transport, post(&server.url)).await;
        if reply.result.is_ok() {
            reply = send(&transport, post(&server.url)).await;
        }
        assert_eq!(reply.way.reconnects, 0);
        assert_eq!(reply.bytes_received, received);
        assert_eq!(reply.result.unwrap_err().kind, FailureClass::Reset);
    }
}

#[tokio::test]
async fn no_request_fails_when_a_server_closes_idle_connections() {
    // Each connection ends after one to four answers, without `Connection: close`.
    let scripts = (0..400).map(|number| vec![ok(); number % 4 + 1]).collect();
    let server = serve(scripts).await;
    let transport = Arc::new(transport(8));
    let mut workers = JoinSet::new();
    for _ in 0..16 {
        let (transport, url) = (Arc::clone(&transport), server.url.clone());
        workers.spawn(async move {
            for _ in 0..20 {
                let reply = send(&transport, post(&url)).await;
                assert!(reply.result.is_ok(), "{:?}", reply.result);
            }
        });
    }
    workers.join_all().await;
    let opened = server.opened.load(Ordering::SeqCst);
    assert!((320 / 4..=320).contains(&opened), "{opened} connections");
}

#[tokio::test]
async fn a_connection_that_the_server_will_close_is_not_kept() {
    let last = says("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi");
    let server = serve(vec![vec![last, ok()], vec![ok()]]).await;
    let transport = transport(4);
    assert!(send(&transport, post(&server.url)).await.result.is_ok());
    assert!(!send(&transport, post(&server.url)).await.reused);
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_malformed() {
    let server = serve(vec![vec![says("SSH-2.0-OpenSSH_9.2\r\n\r\n")]]).await;
    let failure = send(&transport(1), post(&server.url)).await.result.unwrap_err();
    assert_eq!(failure.kind, FailureClass::Malformed, "{failure}");
}

#[tokio::test]
async fn a_body_above_the_bound_is_refused() {
    let endless = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(LONGEST_BODY as usize + 1));
    let server = serve(vec![vec![says(&endless)]]).await;
    let reply = send(&transport(1), post(&server.url)).await;
    let failure = reply.result.unwrap_err();
    assert_eq!(failure.kind, FailureClass::Malformed);
    assert!(failure.message.contains("more than 1048576 bytes"), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn silence_ends_at_the_requests_bound() {
    let time = HeldTime::hold();
    let server = serve(vec![vec![Act::Wait]]).await;
    let transport = transport(1);
    let silence = async {
        server.waits.notified().await;
        drop(time);
    };
    let (reply, ()) = tokio::join!(send(&transport, post(&server.url)), silence);
    assert_eq!(reply.result.unwrap_err().kind, FailureClass::Timeout);
    assert_eq!(u128::from(reply.done - reply.sent), transport.settings.request_timeout.as_nanos());
}

#[tokio::test]
async fn a_request_that_finds_all_connections_in_use_waits_in_order() {
    let server = serve(vec![vec![Act::Wait], vec![ok()]]).await;
    let transport = transport(1);
    let mut first = Box::pin(send(&transport, post(&server.url)));
    let mut second = Box::pin(send(&transport, post(&server.url)));
    while server.opened.load(Ordering::SeqCst) == 0 {
        tokio::select! {
            biased;
            _ = &mut first => unreachable!("the server does not answer"),
            _ = &mut second => unreachable!("the only connection is in use"),
            () = tokio::task::yield_now() => {}
        }
    }
    // The first request was dropped: its connection is closed and its place is free.
    drop(first);
    let reply = second.await;
    assert!(reply.result.is_ok() && !reply.reused);
    assert_eq!(server.opened.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_fails_the_handshake() {
    let server = serve(vec![vec![says("HTTP/1.1 400 Bad Request\r\n\r\n")]]).await;
    let url = server.url.replace("http://", "https://");
    let failure = send(&transport(1), post(&url)).await.result.unwrap_err();
    assert_eq!(failure.kind, FailureClass::Tls, "{failure}");
}

#[tokio::test]
async fn unusable_urls_are_reported_as_such() {
    let transport = transport(1);
    for url in ["ftp://ca.test/x", "/relative", "https://", "http://a b/", "http://127.0.0.1:1/\u{7f}"] {
        let failure = send(&transport, post(url)).await.result.unwrap_err();
        assert_eq!(failure.kind, FailureClass::Malformed, "{url}: {failure}");
        assert!(failure.message.starts_with("not a usable URL: "), "{failure}");
    }
}

#[test]
fn origins_are_scheme_host_and_port() {
    for (url, host, address, port, tls) in [
        ("https://ca.test/x", "ca.test", "ca.test", 443, true),
        ("http://ca.test:8080/x", "ca.test:8080", "ca.test", 8080, false),
        ("https://[::1]:14000/dir", "[::1]:14000", "::1", 14000, true),
    ] {
        let origin = Origin::of(url).unwrap();
        assert_eq!((origin.host.to_str().unwrap(), &*origin.address, origin.port), (host, address, port));
        assert_eq!(origin.server_name.is_some(), tls);
    }
    let origin = Origin::of("https://ca.test/x").unwrap();
    assert_eq!(origin.path_of("https://ca.test/y?z"), Some("/y?z"));
    assert_eq!(origin.path_of("https://ca.test"), Some(""));
    assert_eq!(origin.path_of("https://ca.test.evil/y"), None);
    assert_eq!(origin.path_of("https://ca.test:8443/y"), None);
}
