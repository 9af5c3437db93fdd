//! HTTP/1.1 over TLS or plain TCP, with its own pool.
//!
//! The request that uses a connection drives it, not a separate task: nothing is spawned, nothing needs a second
//! wake-up, and dropping a request closes its connection. An idle connection is checked before it is used again.
//!
//! A server may close a connection between two requests at any time (RFC 9112 §9.5), so a request and the close can
//! cross. If a used connection ends before any byte of an answer, the request is sent again, with the same bytes,
//! over a new connection. RFC 9110 §9.2.2 allows a client to repeat a request that is not idempotent if it knows that
//! this is safe: an ACME request has a nonce that is valid once (RFC 8555 §6.5), so a server that did carry out the
//! first refuses the second with `badNonce`. [`Way::doubtful`] reports that this may have happened.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderName, HeaderValue, USER_AGENT};
use http::{Method, Uri};
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::task::unconstrained;
use tokio::time::{Instant, timeout_at};

use crate::FailureClass;
use crate::body::Body;
use crate::clock::Clock;
use crate::connect::{
    ConnectSettings, Connected, Counted, LONGEST_IDLE, Origins, digits, header_size, never_sent,
};
use crate::failure::Failure;
use crate::local;
use crate::origin::Origin;
use crate::peer::Peer;
use crate::transport::{BoxFuture, Places, Reply, Request, Response, Transport, Way};

/// HTTP/1.1 with a bounded number of connections, each with a place; callers without one wait in turn.
pub(crate) struct HttpTransport {
    settings: ConnectSettings,
    clock: Clock,
    /// One for each connection.
    places: Places,
    /// Last in, first out: surplus connections at the bottom age until they are closed.
    idle: Mutex<Vec<Connection>>,
    origins: Origins,
}

impl HttpTransport {
    pub(crate) fn new(settings: ConnectSettings, clock: Clock) -> Self {
        Self {
            places: Places::counted(
                settings.max_connections,
                settings.request_timeout,
                Arc::clone(&settings.queueing),
            ),
            settings,
            clock,
            idle: Mutex::default(),
            origins: Origins::default(),
        }
    }

    async fn attempt(&self, request: Request) -> Reply {
        let origin = match self.origins.of(&request.url, &self.settings.dialler) {
            Ok(origin) => origin,
            Err(failure) => return never_sent(self.clock, failure),
        };
        let message = match Message::of(&origin, request, &self.settings) {
            Ok(message) => message,
            Err(failure) => return never_sent(self.clock, failure),
        };
        let bytes_sent = message.size;
        let bound = self.settings.request_timeout;
        let mut way = Way::default();
        // The end of a used connection, if the request was sent over it without an answer.
        let mut in_vain: Option<(u64, Instant, Failure)> = None;
        loop {
            let idle = if in_vain.is_some() { None } else { self.take_idle(&origin) };
            let reused = idle.is_some();
            let mut connection = match idle {
                Some(connection) => connection,
                None => {
                    let began = self.clock.now();
                    match self.connect(&origin, &mut way).await {
                        Ok(connection) => connection,
                        Err(failure) => {
                            let done = self.clock.now();
                            let unsent = Reply { sent: began, done, way, ..never_sent(self.clock, failure) };
                            return match in_vain {
                                None => unsent,
                                Some((sent, _, ended)) => unsent.unanswered(sent, bytes_sent, &ended),
                            };
                        }
                    }
                }
            };
            way.address = connection.address;

            let sent = self.clock.now();
            let deadline =
                in_vain.as_ref().map_or_else(|| Instant::now() + bound, |(_, deadline, _)| *deadline);
            let (mut received, mut head_at) = (0, sent);
            let exchange = connection.exchange(message.assemble(), self.clock, &mut head_at, &mut received);
            let outcome = timeout_at(deadline, exchange).await;
            let done = self.clock.now();
            way.first_byte = head_at - sent;
            let result = match outcome {
                Ok(Ok(response)) => {
                    self.keep(connection, done);
                    Ok(response)
                }
                Ok(Err(failure)) => {
                    if reused && failure.kind == FailureClass::Reset && !connection.has_answered() {
                        way.reconnects += 1;
                        way.doubtful = true;
                        in_vain = Some((sent, deadline, failure));
                        continue;
                    }
                    Err(failure)
                }
                Err(_) => {
                    Err(Failure::new(FailureClass::Timeout, format!("no complete answer within {bound:?}")))
                }
            };
            return Reply { sent, done, reused, way, bytes_sent, bytes_received: received, result };
        }
    }

    /// The idle connection last used, unless its peer has closed it.
    fn take_idle(&self, origin: &Arc<Origin>) -> Option<Connection> {
        loop {
            let mut connection = {
                let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
                let last = idle.iter().rposition(|connection| Arc::ptr_eq(&connection.origin, origin))?;
                idle.remove(last)
            };
            if connection.is_alive() {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection that is usable after the answer, and closes one that was not used for long.
    fn keep(&self, mut connection: Connection, now: u64) {
        if !connection.is_alive() {
            return;
        }
        connection.idle_since = now;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(connection);
        if idle.first().is_some_and(|oldest| now.saturating_sub(oldest.idle_since) > LONGEST_IDLE) {
            idle.remove(0);
        }
        // Connections to several servers together must not exceed the bound.
        if idle.len() > self.settings.max_connections {
            idle.remove(0);
        }
    }

    /// Boxed, because it is rare and would make every request's state larger. Adds the time it took to `way`.
    fn connect<'a>(
        &'a self,
        origin: &'a Arc<Origin>,
        way: &'a mut Way,
    ) -> BoxFuture<'a, Result<Connection, Failure>> {
        Box::pin(async move {
            let Connected { stream, received, address } =
                self.settings.connect(origin, self.clock, way).await?;
            let io = TokioIo::new(stream);
            let (sender, driver) = http1::handshake(io)
                .await
                .map_err(|error| Failure::new(FailureClass::Connect, describe(&error)))?;
            Ok(Connection {
                origin: Arc::clone(origin),
                address,
                sender,
                driver: Box::new(driver),
                received,
                received_before: 0,
                idle_since: 0,
            })
        })
    }
}

/// A request that may be sent more than once.
struct Message {
    uri: Uri,
    method: Method,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
    /// Bytes on the wire: hyper adds only Content-Length.
    size: u64,
}

impl Message {
    fn of(origin: &Origin, request: Request, settings: &ConnectSettings) -> Result<Self, Failure> {
        let start = origin.prefix.len();
        let uri = match &request.url[start..] {
            "" => Uri::from_static("/"),
            _ => Uri::from_maybe_shared(Bytes::from(request.url).slice(start..)).map_err(|error| {
                Failure::new(FailureClass::Malformed, format!("not a usable URL: {error}"))
            })?,
        };
        let length = request.body.len();
        let mut headers = Vec::with_capacity(4);
        headers.push((HOST, origin.host.clone()));
        headers.push((USER_AGENT, settings.user_agent.clone()));
        if length > 0 {
            headers.push((CONTENT_TYPE, HeaderValue::from_static("application/jose+json")));
        }
        if let Some(accept) = request.accept {
            headers.push((ACCEPT, HeaderValue::from_static(accept)));
        }
        if let Some(value) = request.traceparent.as_deref().and_then(|text| HeaderValue::from_str(text).ok())
        {
            headers.push((HeaderName::from_static("traceparent"), value));
        }
        // Request line, headers, what hyper adds for a body, and the empty line.
        let size = request.method.len()
            + " HTTP/1.1\r\n".len()
            + 1
            + uri.path_and_query().map_or(0, |path| path.as_str().len())
            + headers.iter().map(|(name, value)| header_size(name.as_str(), value)).sum::<usize>()
            + if length > 0 { "content-length: \r\n".len() + digits(length) } else { 0 }
            + 2
            + length;
        let method = match request.method {
            "HEAD" => Method::HEAD,
            "POST" => Method::POST,
            _ => Method::GET,
        };
        Ok(Self { uri, method, headers, body: request.body, size: size as u64 })
    }

    /// The request for hyper. URL, values and body are shared, not copied.
    fn assemble(&self) -> http::Request<Full<Bytes>> {
        let mut message = http::Request::new(Full::new(self.body.clone()));
        *message.uri_mut() = self.uri.clone();
        *message.method_mut() = self.method.clone();
        let headers = message.headers_mut();
        headers.reserve(self.headers.len());
        for (name, value) in &self.headers {
            headers.insert(name.clone(), value.clone());
        }
        message
    }
}

impl Transport for HttpTransport {
    fn places(&self) -> Option<&Places> {
        Some(&self.places)
    }

    fn send(&self, request: Request) -> BoxFuture<'_, Reply> {
        // Each attempt waits for the network at least once, so it cannot starve others.
        Box::pin(unconstrained(self.attempt(request)))
    }
}

type Driver = http1::Connection<TokioIo<Counted>, Full<Bytes>>;

struct Connection {
    origin: Arc<Origin>,
    address: Option<Peer>,
    sender: SendRequest<Full<Bytes>>,
    /// Boxed: it is large, and a connection is moved four times for each request.
    driver: Box<Driver>,
    /// Bytes read so far, and when the current request was sent.
    received: Arc<AtomicU64>,
    received_before: u64,
    idle_since: u64,
}

impl Connection {
    /// Whether the next request can use it. Lets hyper finish the last answer and notice a closed peer.
    ///
    /// No task waits for events on an idle connection, so the poll here has no waker.
    fn is_alive(&mut self) -> bool {
        let mut nobody = Context::from_waker(Waker::noop());
        Pin::new(&mut *self.driver).poll(&mut nobody).is_pending() && self.sender.is_ready()
    }

    /// Whether any byte has come since the current request was sent.
    fn has_answered(&self) -> bool {
        self.received.load(Ordering::Relaxed) > self.received_before
    }

    /// Sends the request and reads the whole answer. `head_at` is when its head was read; `received` counts the
    /// body's bytes, also of an incomplete one.
    async fn exchange(
        &mut self,
        request: http::Request<Full<Bytes>>,
        clock: Clock,
        head_at: &mut u64,
        received: &mut u64,
    ) -> Result<Response, Failure> {
        self.received_before = self.received.load(Ordering::Relaxed);
        let driver = &mut *self.driver;
        let mut head = pin!(self.sender.send_request(request));
        let answer = poll_fn(|context| drive(driver, context, |context| head.as_mut().poll(context))).await;
        let (parts, mut body) = answer.map_err(|error| broken(&error))?.into_parts();
        *head_at = clock.now();
        let body = read(driver, &mut body, received).await?;
        Ok(Response { status: parts.status.as_u16(), headers: parts.headers, body })
    }
}

/// Polls the waiting future, then the connection, then the waiting future again.
///
/// Only the connection needs the waker: whatever it brings is taken here at once. Waking the waiting side as well
/// would poll the whole chain once more for nothing. This is correct because nothing else drives the connection, and
/// because [`HttpTransport::send`] lifts tokio's cooperative budget, which could refuse the second poll.
fn drive<T>(
    driver: &mut Driver,
    context: &mut Context<'_>,
    mut wanted: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Poll<T> {
    let mut nobody = Context::from_waker(Waker::noop());
    if let Poll::Ready(value) = wanted(&mut nobody) {
        return Poll::Ready(value);
    }
    // Its end reaches the waiting side as an error or as the end of the body.
    let _ = Pin::new(driver).poll(context);
    wanted(&mut nobody)
}

async fn read(driver: &mut Driver, body: &mut Incoming, received: &mut u64) -> Result<Bytes, Failure> {
    let mut pieces = Body::new(received);
    loop {
        if body.is_end_stream() {
            break;
        }
        let frame =
            poll_fn(|context| drive(driver, context, |context| Pin::new(&mut *body).poll_frame(context)))
                .await;
        let data = match frame {
            None => break,
            Some(frame) => frame.map_err(|error| broken(&error))?.into_data(),
        };
        // Frames without data are trailers, which ACME does not use.
        if let Ok(data) = data {
            pieces.push(data)?;
        }
    }
    Ok(pieces.joined())
}

fn broken(error: &hyper::Error) -> Failure {
    let kind = if error.is_parse() {
        FailureClass::Malformed
    } else if local::is_refusal(error) {
        FailureClass::Local
    } else {
        FailureClass::Reset
    };
    Failure::new(kind, describe(error))
}

/// An error with its causes, since hyper's outermost error has little information.
fn describe(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::sync::Notify;
    use tokio::task::JoinSet;

    use super::*;
    use crate::body::LONGEST_BODY;
    use crate::dial::Dialler;
    use crate::tls::{HttpVersion, Roots, client_config};

    fn transport(max_connections: usize) -> HttpTransport {
        let settings = ConnectSettings {
            http: HttpVersion::Http1,
            max_connections,
            connect_timeout: Duration::from_secs(60),
            request_timeout: Duration::from_secs(60),
            user_agent: HeaderValue::from_static("test/1"),
            queueing: Arc::default(),
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
        }
    }

    /// Every request allocates this state, and moves its connection.
    #[tokio::test]
    async fn a_requests_state_takes_less_than_two_kib_and_a_connection_is_small() {
        let transport = transport(1);
        let state = size_of_val(&transport.attempt(post("http://127.0.0.1:1/")));
        assert!(state < 2048, "{state} bytes");
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
        closed: Arc<Notify>,
        _tasks: JoinSet<()>,
    }

    /// Each connection gets the next script. After the last the server stops listening.
    async fn serve(scripts: Vec<Vec<Act>>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/path", listener.local_addr().unwrap());
        let (opened, closed) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let mut tasks = JoinSet::new();
        let (counter, done) = (Arc::clone(&opened), Arc::clone(&closed));
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            for script in scripts {
                let (mut stream, _) = listener.accept().await.unwrap();
                counter.fetch_add(1, Ordering::SeqCst);
                let done = Arc::clone(&done);
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
                            Act::Wait => std::future::pending().await,
                        }
                    }
                    drop(stream);
                    done.notify_one();
                });
            }
            connections.join_all().await;
        });
        Server { url, opened, closed, _tasks: tasks }
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
        assert!(
            reply.way.first_byte > 0 && reply.way.first_byte <= reply.done - reply.sent,
            "{:?}",
            reply.way
        );
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
        assert_eq!(
            failure.kind,
            FailureClass::Reset,
            "the request was sent, so it is not a failure to connect"
        );
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

    #[tokio::test]
    async fn silence_ends_at_the_requests_bound() {
        let server = serve(vec![vec![Act::Wait]]).await;
        let mut transport = transport(1);
        transport.settings.request_timeout = Duration::from_millis(50);
        let reply = send(&transport, post(&server.url)).await;
        assert_eq!(reply.result.unwrap_err().kind, FailureClass::Timeout);
        assert!(reply.done - reply.sent >= 50_000_000);
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
}
