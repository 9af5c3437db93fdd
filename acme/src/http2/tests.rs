//! HTTP/2 against an h2 server of the test, over TLS.

use std::future::Future;
use std::sync::atomic::AtomicUsize;
use std::task::Poll;

use h2::server::{self, SendResponse};
use rcgen::{CertificateParams, KeyPair};
use rustls_pki_types::PrivateKeyDer;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::*;
use crate::clock::Deadline;
use crate::dial::Dialler;
use crate::held::HeldTime;
use crate::tls::{HttpVersion, Roots, client_config};

type Served = server::Connection<TlsStream<TcpStream>, Bytes>;

fn transport() -> Http2Transport {
    let settings = ConnectSettings {
        http: HttpVersion::Http2,
        max_connections: 1,
        connect_timeout: Duration::from_secs(20),
        request_timeout: Duration::from_secs(20),
        user_agent: HeaderValue::from_static("test/1"),
        queueing: Arc::default(),
        slow: false,
        tls: client_config(&Roots::Insecure, None, HttpVersion::Http2).unwrap(),
        dialler: Dialler::open(),
    };
    Http2Transport::new(settings, Clock::start())
}

fn post(url: &str) -> Request {
    Request {
        method: "POST",
        url: url.into(),
        body: Bytes::from_static(b"0123456789ab"),
        accept: None,
        traceparent: None,
        term: None,
    }
}

struct Server {
    url: String,
    opened: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A server that calls `serve` for each connection with its number. It allows two streams at a time.
async fn start<F: Future<Output = ()> + Send + 'static>(
    alpn: &'static [u8],
    serve: impl Fn(usize, Served) -> F + Send + 'static,
) -> Server {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut tls =
        rustls::ServerConfig::builder_with_provider(rustls::crypto::aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
    if !alpn.is_empty() {
        tls.alpn_protocols = vec![alpn.to_vec()];
    }
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/x", listener.local_addr().unwrap().port());
    let opened = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&opened);
    let task = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let Ok((stream, _)) = listener.accept().await else { return };
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let number = counted.fetch_add(1, Ordering::SeqCst);
            let mut builder = server::Builder::new();
            let Ok(connection) = builder.max_concurrent_streams(2).handshake(stream).await else {
                continue;
            };
            connections.spawn(serve(number, connection));
        }
    });
    Server { url, opened, task }
}

fn answer(mut respond: SendResponse<Bytes>) {
    let head = http::Response::builder().status(201).header("replay-nonce", "n").body(()).unwrap();
    let mut stream = respond.send_response(head, false).unwrap();
    stream.send_data(Bytes::from_static(b"hello"), true).unwrap();
}

/// Answers every request.
async fn obliging(_: usize, mut connection: Served) {
    while let Some(Ok((_, respond))) = connection.accept().await {
        answer(respond);
    }
}

#[tokio::test]
async fn one_connection_serves_all() {
    let server = start(b"h2", obliging).await;
    let transport = transport();
    let first = transport.send(post(&server.url)).await;
    let response = first.result.unwrap();
    assert_eq!((response.status, &*response.body), (201, &b"hello"[..]));
    assert_eq!(response.header("replay-nonce"), Some("n"));
    assert!(!first.reused && first.sent <= first.done && first.bytes_received == 5);
    assert!(first.bytes_sent > 12, "{}", first.bytes_sent);

    let (one, two) = tokio::join!(transport.send(post(&server.url)), transport.send(post(&server.url)));
    assert!(one.reused && two.reused && one.result.is_ok() && two.result.is_ok());
    assert_eq!(server.opened.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_request_whose_term_has_ended_is_not_sent_over_a_new_or_a_used_connection() {
    let server = start(b"h2", obliging).await;
    let transport = transport();
    let right = Deadline::new(1, None);
    let late = Request { term: Some(right.begin()), ..post(&server.url) };
    right.set(2, None);
    for _ in 0..2 {
        let reply = transport.send(late.clone()).await;
        assert_eq!((reply.bytes_sent, reply.reused), (0, false), "no request was sent over it yet");
        let failure = reply.result.unwrap_err();
        assert_eq!((failure.kind, &*failure.detail), (FailureClass::Interrupted, "lease"));
    }
    let in_time = Request { term: Some(right.begin()), ..post(&server.url) };
    assert_eq!(transport.send(in_time).await.result.unwrap().status, 201);
    assert_eq!(server.opened.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn no_more_streams_than_the_server_allows() {
    let most = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&most);
    let server = start(b"h2", move |_, mut connection| {
        let seen = Arc::clone(&seen);
        async move {
            // The first alone, then pairs.
            let (mut waiting, mut together) = (Vec::new(), 1);
            while let Some(Ok((_, respond))) = connection.accept().await {
                waiting.push(respond);
                if waiting.len() == together {
                    seen.fetch_max(together, Ordering::SeqCst);
                    waiting.drain(..).for_each(answer);
                    together = 2;
                }
            }
        }
    })
    .await;
    let transport = transport();
    transport.send(post(&server.url)).await.result.unwrap();
    let replies = futures_join((0..6).map(|_| transport.send(post(&server.url))).collect::<Vec<_>>()).await;
    assert!(replies.iter().all(|reply| reply.result.is_ok()));
    assert!(
        replies.iter().all(|reply| reply.way.reconnects == 0),
        "a stream above the server's limit is refused and sent again"
    );
    assert_eq!(most.load(Ordering::SeqCst), 2);
    // The time that a request waits for a stream is before `sent`.
    let first_done = replies.iter().map(|reply| reply.done).min().unwrap();
    assert!(replies.iter().filter(|reply| reply.sent >= first_done).count() >= 4);
}

/// Polls all futures at once.
async fn futures_join<T>(mut futures: Vec<BoxFuture<'_, T>>) -> Vec<T> {
    let mut done: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    poll_fn(|context| {
        for (future, done) in futures.iter_mut().zip(&mut done) {
            if done.is_none()
                && let Poll::Ready(value) = future.as_mut().poll(context)
            {
                *done = Some(value);
            }
        }
        if done.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}

#[tokio::test]
async fn a_connection_with_goaway_is_replaced_without_a_failure() {
    let server = start(b"h2", |_, mut connection| async move {
        let Some(Ok((_, respond))) = connection.accept().await else { return };
        answer(respond);
        connection.graceful_shutdown();
        while connection.accept().await.is_some() {}
    })
    .await;
    let transport = transport();
    for round in 1..=3 {
        let reply = transport.send(post(&server.url)).await;
        assert!(reply.result.is_ok(), "{:?}", reply.result);
        let lane = transport.lanes.lock().unwrap().pop();
        if let Some((origin, Lane::Open(connection))) = lane {
            while connection.is_usable(0) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            transport.lanes.lock().unwrap().push((origin, Lane::Open(connection)));
        }
        assert_eq!(server.opened.load(Ordering::SeqCst), round);
    }
}

#[tokio::test]
async fn a_request_that_the_server_did_not_process_is_sent_until_it_is() {
    let server = start(b"h2", |_, mut connection| async move {
        for _ in 0..6 {
            let Some(Ok((_, mut refused))) = connection.accept().await else { return };
            refused.send_reset(Reason::REFUSED_STREAM);
        }
        while let Some(Ok((_, respond))) = connection.accept().await {
            answer(respond);
        }
    })
    .await;
    let reply = transport().send(post(&server.url)).await;
    assert!(reply.result.is_ok(), "{:?}", reply.result);
    assert_eq!((reply.way.reconnects, reply.way.doubtful), (6, false));
    assert_eq!(server.opened.load(Ordering::SeqCst), 1, "the connection is still used");
}

#[tokio::test]
async fn a_request_that_is_never_processed_ends_at_its_bound() {
    let server = start(b"h2", |_, mut connection| async move {
        while let Some(Ok((_, mut refused))) = connection.accept().await {
            refused.send_reset(Reason::REFUSED_STREAM);
        }
    })
    .await;
    let mut transport = transport();
    transport.settings.request_timeout = Duration::from_millis(500);
    let reply = transport.send(post(&server.url)).await;
    let failure = reply.result.unwrap_err();
    assert_eq!(failure.kind, FailureClass::Timeout);
    assert!(failure.message.contains("not processed"), "{failure}");
    assert!(reply.way.reconnects > 0);
}

#[tokio::test]
async fn a_reset_stream_is_a_failure_without_retry() {
    let server = start(b"h2", |_, mut connection| async move {
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            let head = http::Response::builder().status(200).body(()).unwrap();
            let mut stream = respond.send_response(head, false).unwrap();
            stream.send_data(Bytes::from_static(b"half"), false).unwrap();
            stream.send_reset(Reason::INTERNAL_ERROR);
        }
    })
    .await;
    let reply = transport().send(post(&server.url)).await;
    assert_eq!(reply.way.reconnects, 0);
    assert_eq!(reply.result.unwrap_err().kind, FailureClass::Reset);
}

#[tokio::test]
async fn a_used_connection_that_turns_out_dead_is_replaced() {
    let server = start(b"h2", |_, mut connection| async move {
        let Some(Ok((_, respond))) = connection.accept().await else { return };
        answer(respond);
        // The next request is read, and the connection is dropped without an answer.
        let _ = connection.accept().await;
    })
    .await;
    let transport = transport();
    assert!(transport.send(post(&server.url)).await.result.is_ok());
    let reply = transport.send(post(&server.url)).await;
    // The server may have acknowledged the request before it closed: then it is an ordinary reset.
    match reply.result {
        Ok(_) => assert!(reply.way.doubtful && reply.way.reconnects == 1),
        Err(failure) => assert_eq!(failure.kind, FailureClass::Reset),
    }
    assert!(server.opened.load(Ordering::SeqCst) <= 2);
}

#[tokio::test(start_paused = true)]
async fn silence_ends_at_the_requests_bound() {
    let time = Arc::new(Mutex::new(Some(HeldTime::hold())));
    let server = start(b"h2", move |_, mut connection| {
        let time = Arc::clone(&time);
        async move {
            let mut kept = Vec::new();
            while let Some(Ok(accepted)) = connection.accept().await {
                kept.push(accepted);
                time.lock().unwrap().take();
            }
        }
    })
    .await;
    let transport = transport();
    let reply = transport.send(post(&server.url)).await;
    assert_eq!(reply.result.unwrap_err().kind, FailureClass::Timeout);
    assert_eq!(u128::from(reply.done - reply.sent), transport.settings.request_timeout.as_nanos());
}

#[tokio::test]
async fn a_waiting_request_connects_when_the_request_that_was_connecting_is_dropped() {
    let server = start(b"h2", obliging).await;
    let transport = transport();
    let mut maker = transport.send(post(&server.url));
    // One poll starts the connection.
    poll_fn(|context| {
        assert!(maker.as_mut().poll(context).is_pending());
        Poll::Ready(())
    })
    .await;
    let mut waiting = transport.send(post(&server.url));
    poll_fn(|context| {
        assert!(waiting.as_mut().poll(context).is_pending());
        Poll::Ready(())
    })
    .await;
    drop(maker);
    assert!(waiting.await.result.is_ok());
}

#[tokio::test]
async fn a_server_without_http_2_is_reported_as_such() {
    for alpn in [&b"http/1.1"[..], b""] {
        let server = start(alpn, obliging).await;
        let failure = transport().send(post(&server.url)).await.result.unwrap_err();
        assert_eq!(failure.kind, FailureClass::Tls);
        assert!(failure.message.contains("does not support HTTP/2"), "{failure}");
    }
}

#[tokio::test]
async fn a_refused_connection_is_a_connect_failure() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let failure = transport().send(post(&format!("https://{free}/"))).await.result.unwrap_err();
    assert_eq!(failure.kind, FailureClass::Connect);
}
