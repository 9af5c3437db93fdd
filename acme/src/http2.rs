//! HTTP/2 (RFC 9113): one connection to each server, with all requests on it at once.
//!
//! It uses h2 without hyper, which hides two things: how many streams the server allows, so that a request that waits
//! for one is not counted as sent; and whether a failed stream had reached the server.
//!
//! | event | the request |
//! | --- | --- |
//! | no connection yet | the first request makes one, the others wait for it |
//! | the server allows no more streams | waits, unsent, for the end of another |
//! | the connection is found closed, or GOAWAY has come, before anything is sent | is sent over a new one |
//! | GOAWAY that does not cover it, or REFUSED_STREAM | is sent again: the server did not process it (§8.7) |
//! | a used connection breaks before any byte since it was sent | is sent again, `doubtful`, for the reason given in `http1` |
//! | the connection breaks later | is a reset |
//!
//! It is sent again as often as needed until its time is over, and each time is counted ([`Way::reconnects`]).

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, RecvStream};
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{Method, Uri};
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::FailureClass;
use crate::body::Body;
use crate::clock::Clock;
use crate::connect::{Connected, LONGEST_IDLE, Origins, Settings, digits, header_size, never_sent};
use crate::failure::Failure;
use crate::local;
use crate::origin::Origin;
use crate::transport::{BoxFuture, Reply, Request, Response, Transport, Way, pause_before_reconnect};

/// HTTP/2 with one connection to each server.
pub(crate) struct Http2Transport {
    settings: Settings,
    clock: Clock,
    origins: Origins,
    lanes: Mutex<Vec<(Arc<Origin>, Lane)>>,
}

/// The connection to a server, or its beginning.
enum Lane {
    /// A request is making a connection; the others wait for its outcome. If it was dropped there is none.
    Dialling(watch::Receiver<Option<Result<Arc<Connection>, Failure>>>),
    Open(Arc<Connection>),
}

impl Http2Transport {
    pub(crate) fn new(settings: Settings, clock: Clock) -> Self {
        Self { settings, clock, origins: Origins::default(), lanes: Mutex::default() }
    }

    async fn attempt(&self, request: Request) -> Reply {
        let origin = match self.origins.of(&request.url, &self.settings.dialler) {
            Ok(origin) => origin,
            Err(failure) => return never_sent(self.clock, failure),
        };
        let (head, body, bytes_sent) = match self.assemble(request) {
            Ok(assembled) => assembled,
            Err(failure) => return never_sent(self.clock, failure),
        };
        let bound = self.settings.request_timeout;
        let began = self.clock.now();
        let mut way = Way::default();
        // When it was first sent, or could not be sent over a closed connection; and how that ended.
        let mut in_vain: Option<InVain> = None;
        loop {
            if let Some(vain) = &in_vain
                && timeout_at(vain.deadline, sleep(pause_before_reconnect(way.reconnects))).await.is_err()
            {
                let failure = too_late(bound, in_vain.as_ref(), &way);
                return Reply { sent: vain.sent, way, bytes_sent, ..never_sent(self.clock, failure) };
            }
            let connection = match self.connection(&origin, &mut way).await {
                Ok(connection) => connection,
                Err(failure) => {
                    let unsent = Reply { sent: began, way, ..never_sent(self.clock, failure) };
                    return match in_vain {
                        // The server has not carried it out, or it was never sent.
                        Some(InVain { sent, ended, .. }) if way.doubtful => {
                            unsent.unanswered(sent, bytes_sent, &ended)
                        }
                        _ => unsent,
                    };
                }
            };
            way.address = connection.address;
            let Ok(permit) = timeout(bound, connection.stream()).await else {
                let all = connection.limit();
                let message = format!("all {all} streams that the server allows were in use for {bound:?}");
                let failure = Failure::new(FailureClass::Timeout, message);
                return Reply { way, ..never_sent(self.clock, failure) };
            };
            let mut sender = connection.sender.clone();
            let deadline = in_vain.as_ref().map_or_else(|| Instant::now() + bound, |vain| vain.deadline);
            if let Err(error) = poll_fn(|context| sender.poll_ready(context)).await {
                way.reconnects += 1;
                let sent = in_vain.map_or(began, |vain| vain.sent);
                in_vain = Some(InVain { deadline, sent, ended: broken(&error) });
                continue;
            }

            let sent = self.clock.now();
            let reused = connection.served.swap(true, Ordering::Relaxed);
            let received_before = connection.received.load(Ordering::Relaxed);
            let (mut received, mut head_at) = (0, sent);
            let exchanged = timeout_at(deadline, async {
                let (answer, mut stream) = sender.send_request(head.clone(), body.is_empty())?;
                if !body.is_empty() {
                    stream.send_data(body.clone(), true)?;
                }
                let (parts, body) = answer.await?.into_parts();
                head_at = self.clock.now();
                let body = read(body, &mut received).await?;
                Ok(Response { status: parts.status.as_u16(), headers: parts.headers, body })
            })
            .await;
            let done = self.clock.now();
            drop(permit);
            connection.last_used.store(done, Ordering::Relaxed);
            way.first_byte = head_at - sent;
            let result = match exchanged {
                Ok(Ok(response)) => Ok(response),
                Ok(Err(Broken::Stream(error))) => {
                    let silent = received_before == connection.received.load(Ordering::Relaxed);
                    let failure = broken(&error);
                    let unprocessed = head_at == sent && is_unprocessed(&error);
                    let doubtful = reused && silent && failure.kind == FailureClass::Reset;
                    if unprocessed || doubtful {
                        way.reconnects += 1;
                        way.doubtful |= !unprocessed;
                        in_vain = Some(InVain { deadline, sent, ended: failure });
                        continue;
                    }
                    Err(failure)
                }
                Ok(Err(Broken::Answer(failure))) => Err(failure),
                Err(_) => Err(too_late(bound, in_vain.as_ref(), &way)),
            };
            return Reply { sent, done, reused, way, bytes_sent, bytes_received: received, result };
        }
    }

    /// The request, and its size before the headers are compressed.
    fn assemble(&self, request: Request) -> Result<(http::Request<()>, Bytes, u64), Failure> {
        let uri = Uri::from_maybe_shared(Bytes::from(request.url))
            .map_err(|error| Failure::new(FailureClass::Malformed, format!("not a usable URL: {error}")))?;
        let length = request.body.len();
        let named = |name: &str, value: &str| name.len() + value.len();
        let mut size = named(":method", request.method)
            + named(":scheme", uri.scheme_str().unwrap_or_default())
            + named(":authority", uri.authority().map_or("", |authority| authority.as_str()))
            + named(":path", uri.path_and_query().map_or("/", |path| path.as_str()))
            + header_size("user-agent", &self.settings.user_agent)
            + length;
        let mut head = http::Request::new(());
        *head.uri_mut() = uri;
        let headers = head.headers_mut();
        headers.reserve(4);
        headers.insert(USER_AGENT, self.settings.user_agent.clone());
        if length > 0 {
            const JOSE: HeaderValue = HeaderValue::from_static("application/jose+json");
            size += header_size("content-type", &JOSE) + "content-length".len() + digits(length);
            headers.insert(CONTENT_TYPE, JOSE);
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        if let Some(accept) = request.accept {
            let accept = HeaderValue::from_static(accept);
            size += header_size("accept", &accept);
            headers.insert(ACCEPT, accept);
        }
        if let Some(value) = request.traceparent.as_deref().and_then(|text| HeaderValue::from_str(text).ok())
        {
            size += header_size("traceparent", &value);
            headers.insert("traceparent", value);
        }
        *head.method_mut() = match request.method {
            "HEAD" => Method::HEAD,
            "POST" => Method::POST,
            _ => Method::GET,
        };
        Ok((head, request.body, size as u64))
    }

    /// The connection to this server. If there is no usable one it is made, and `way` gets the time this took.
    async fn connection(&self, origin: &Arc<Origin>, way: &mut Way) -> Result<Arc<Connection>, Failure> {
        enum Part {
            Dial(watch::Sender<Option<Result<Arc<Connection>, Failure>>>),
            Wait(watch::Receiver<Option<Result<Arc<Connection>, Failure>>>),
        }
        loop {
            let part = {
                let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
                let place = lanes.iter().position(|(known, _)| Arc::ptr_eq(known, origin));
                match place.map(|place| &lanes[place].1) {
                    Some(Lane::Open(connection)) if connection.is_usable(self.clock.now()) => {
                        return Ok(Arc::clone(connection));
                    }
                    Some(Lane::Dialling(outcome)) if outcome.has_changed().is_ok() => {
                        Part::Wait(outcome.clone())
                    }
                    _ => {
                        let (tell, told) = watch::channel(None);
                        if let Some(place) = place {
                            lanes.swap_remove(place);
                        }
                        lanes.push((Arc::clone(origin), Lane::Dialling(told)));
                        Part::Dial(tell)
                    }
                }
            };
            match part {
                Part::Dial(tell) => {
                    let dialled = self.connect(origin, way).await;
                    let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
                    lanes.retain(|(known, _)| !Arc::ptr_eq(known, origin));
                    if let Ok(connection) = &dialled {
                        lanes.push((Arc::clone(origin), Lane::Open(Arc::clone(connection))));
                    }
                    tell.send_replace(Some(dialled.clone()));
                    return dialled;
                }
                Part::Wait(mut outcome) => {
                    // Without an outcome the request that dialled was dropped, and another one must dial.
                    if let Ok(dialled) = outcome.wait_for(Option::is_some).await
                        && let Some(dialled) = &*dialled
                    {
                        return dialled.clone();
                    }
                }
            }
        }
    }

    /// Boxed, because it is rare and would make every request's state larger.
    fn connect<'a>(
        &'a self,
        origin: &'a Arc<Origin>,
        way: &'a mut Way,
    ) -> BoxFuture<'a, Result<Arc<Connection>, Failure>> {
        Box::pin(async move {
            let Connected { stream, received, address } =
                self.settings.connect(origin, self.clock, way).await?;
            let handshake = h2::client::Builder::new().enable_push(false).handshake::<_, Bytes>(stream);
            let (sender, driver) = match timeout(self.settings.connect_timeout, handshake).await {
                Ok(Ok(shaken)) => shaken,
                Ok(Err(error)) => {
                    let message = format!("HTTP/2 cannot start: {error}");
                    return Err(Failure::new(FailureClass::Connect, message));
                }
                Err(_) => {
                    let bound = self.settings.connect_timeout;
                    let message = format!("HTTP/2 did not start within {bound:?}");
                    return Err(Failure::new(FailureClass::Connect, message));
                }
            };
            let closed = Arc::new(AtomicBool::new(false));
            let limit = bounded(sender.current_max_send_streams());
            let driver = tokio::spawn({
                let closed = Arc::clone(&closed);
                async move {
                    // Its end reaches the streams that it ends.
                    if let Err(error) = driver.await {
                        tracing::debug!(%error, "an HTTP/2 connection ended");
                    }
                    closed.store(true, Ordering::Relaxed);
                }
            });
            Ok(Arc::new(Connection {
                address,
                sender,
                driver,
                closed,
                received,
                served: AtomicBool::new(false),
                last_used: AtomicU64::new(self.clock.now()),
                permits: Semaphore::new(limit),
                limit: Mutex::new(limit),
            }))
        })
    }
}

impl Transport for Http2Transport {
    fn send(&self, request: Request) -> BoxFuture<'_, Reply> {
        Box::pin(self.attempt(request))
    }
}

/// A request that was sent over a connection without an answer.
struct InVain {
    /// Until when it may be sent again.
    deadline: Instant,
    sent: u64,
    ended: Failure,
}

fn too_late(bound: Duration, in_vain: Option<&InVain>, way: &Way) -> Failure {
    let mut message = format!("no complete answer within {bound:?}");
    if let Some(InVain { ended, .. }) = in_vain {
        message +=
            &format!(", sent {} times; not processed before that: {}", way.reconnects + 1, ended.message);
    }
    Failure::new(FailureClass::Timeout, message)
}

struct Connection {
    address: Option<SocketAddr>,
    sender: SendRequest<Bytes>,
    /// Reads and writes for all streams; ends with the connection, at the latest when nobody holds it.
    driver: JoinHandle<()>,
    closed: Arc<AtomicBool>,
    /// Bytes read so far.
    received: Arc<AtomicU64>,
    /// Whether a request has been sent over it.
    served: AtomicBool,
    /// Nanoseconds of the client's clock.
    last_used: AtomicU64,
    /// One for each stream that the server allows at a time.
    permits: Semaphore,
    /// How many permits there are, used or not.
    limit: Mutex<usize>,
}

impl Connection {
    fn is_usable(&self, now: u64) -> bool {
        let mut nobody = Context::from_waker(Waker::noop());
        let idle = now.saturating_sub(self.last_used.load(Ordering::Relaxed));
        let in_use = self.permits.available_permits() < self.limit();
        !self.closed.load(Ordering::Relaxed)
            && (in_use || idle <= LONGEST_IDLE)
            // GOAWAY is an error here.
            && !matches!(self.sender.clone().poll_ready(&mut nobody), Poll::Ready(Err(_)))
    }

    /// A permit for one stream, as many at a time as the server allows now.
    async fn stream(&self) -> SemaphorePermit<'_> {
        {
            let mut limit = self.limit.lock().unwrap_or_else(PoisonError::into_inner);
            let now = bounded(self.sender.current_max_send_streams());
            if now > *limit {
                self.permits.add_permits(now - *limit);
                *limit = now;
            } else {
                // Permits in use are forgotten by a later call.
                *limit -= self.permits.forget_permits(*limit - now);
            }
        }
        self.permits.acquire().await.expect("nobody closes the semaphore")
    }

    fn limit(&self) -> usize {
        *self.limit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// A server without a limit gets at most this many at a time.
fn bounded(streams: usize) -> usize {
    streams.min(1 << 20)
}

/// Why there is no answer.
enum Broken {
    Stream(h2::Error),
    Answer(Failure),
}

impl From<h2::Error> for Broken {
    fn from(error: h2::Error) -> Self {
        Self::Stream(error)
    }
}

/// The whole body; without a copy if it comes in one piece, the usual case. `received` also counts an incomplete one.
async fn read(mut body: RecvStream, received: &mut u64) -> Result<Bytes, Broken> {
    let mut pieces = Body::new(received);
    while let Some(data) = body.data().await {
        let data = data?;
        // Without this the server could send no more than the first window.
        body.flow_control().release_capacity(data.len())?;
        pieces.push(data).map_err(Broken::Answer)?;
    }
    Ok(pieces.joined())
}

fn broken(error: &h2::Error) -> Failure {
    // Our own side found it in what the server sent.
    let kind = if error.is_library() {
        FailureClass::Malformed
    } else if error.get_io().is_some_and(|error| local::is_refusal(error)) {
        FailureClass::Local
    } else {
        FailureClass::Reset
    };
    Failure::new(kind, format!("HTTP/2: {error}"))
}

/// Whether the server has stated that it did not process the request (RFC 9113 §8.7).
fn is_unprocessed(error: &h2::Error) -> bool {
    error.is_remote() && (error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM))
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::sync::atomic::AtomicUsize;

    use h2::server::{self, SendResponse};
    use rcgen::{CertificateParams, KeyPair};
    use rustls_pki_types::PrivateKeyDer;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::task::JoinSet;
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::server::TlsStream;

    use super::*;
    use crate::dial::Dialler;
    use crate::tls::{HttpVersion, Roots, client_config};

    type Served = server::Connection<TlsStream<TcpStream>, Bytes>;

    fn transport() -> Http2Transport {
        let settings = Settings {
            http: HttpVersion::Http2,
            max_connections: 1,
            connect_timeout: Duration::from_secs(20),
            request_timeout: Duration::from_secs(20),
            user_agent: HeaderValue::from_static("test/1"),
            queueing: Arc::default(),
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

    /// Serves each connection, with its number, by `serve`; the server allows two streams at a time.
    async fn start<F: Future<Output = ()> + Send + 'static>(
        alpn: &'static [u8],
        serve: impl Fn(usize, Served) -> F + Send + 'static,
    ) -> Server {
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
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

    /// Answers everything.
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
    async fn no_more_streams_than_the_server_allows() {
        let most = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&most);
        let server = start(b"h2", move |_, mut connection| {
            let seen = Arc::clone(&seen);
            async move {
                let mut waiting = Vec::new();
                loop {
                    tokio::select! {
                        accepted = connection.accept() => match accepted {
                            Some(Ok((_, respond))) => waiting.push(respond),
                            _ => return,
                        },
                        // Only if nothing more arrives.
                        () = tokio::time::sleep(Duration::from_millis(50)), if !waiting.is_empty() => {
                            seen.fetch_max(waiting.len(), Ordering::SeqCst);
                            waiting.drain(..).for_each(answer);
                        }
                    }
                }
            }
        })
        .await;
        let transport = transport();
        transport.send(post(&server.url)).await.result.unwrap();
        let replies =
            futures_join((0..6).map(|_| transport.send(post(&server.url))).collect::<Vec<_>>()).await;
        assert!(replies.iter().all(|reply| reply.result.is_ok()));
        assert_eq!(most.load(Ordering::SeqCst), 2);
        // A request that waited for a stream was not sent meanwhile.
        let first_done = replies.iter().map(|reply| reply.done).min().unwrap();
        assert!(replies.iter().filter(|reply| reply.sent >= first_done).count() >= 4);
    }

    /// All of them at once.
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
    async fn a_connection_that_the_server_said_goodbye_on_is_replaced_unseen() {
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
    async fn a_request_that_the_server_did_not_process_goes_again_as_often_as_that_takes() {
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
        assert_eq!(server.opened.load(Ordering::SeqCst), 1, "the connection itself is good");
    }

    #[tokio::test]
    async fn what_is_never_processed_ends_at_the_requests_bound() {
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
    async fn a_stream_that_breaks_is_a_reset_and_no_retry() {
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
            // The next is read and the connection dropped without an answer.
            let _ = connection.accept().await;
        })
        .await;
        let transport = transport();
        assert!(transport.send(post(&server.url)).await.result.is_ok());
        let reply = transport.send(post(&server.url)).await;
        // The server may have acknowledged what it read before it closed: then it is an ordinary reset.
        match reply.result {
            Ok(_) => assert!(reply.way.doubtful && reply.way.reconnects == 1),
            Err(failure) => assert_eq!(failure.kind, FailureClass::Reset),
        }
        assert!(server.opened.load(Ordering::SeqCst) <= 2);
    }

    #[tokio::test]
    async fn silence_ends_at_the_requests_bound() {
        let server = start(b"h2", |_, mut connection| async move {
            let mut kept = Vec::new();
            while let Some(Ok(accepted)) = connection.accept().await {
                kept.push(accepted);
            }
        })
        .await;
        let mut transport = transport();
        transport.settings.request_timeout = Duration::from_millis(100);
        let reply = transport.send(post(&server.url)).await;
        assert_eq!(reply.result.unwrap_err().kind, FailureClass::Timeout);
        assert!(reply.done - reply.sent >= 100_000_000);
    }

    #[tokio::test]
    async fn whoever_waits_for_a_connection_makes_it_when_its_maker_is_cut_off() {
        let server = start(b"h2", obliging).await;
        let transport = transport();
        let mut maker = transport.send(post(&server.url));
        // Polled once, it has begun to connect.
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
    async fn a_server_that_does_not_speak_it_is_said_to_be_so() {
        for alpn in [&b"http/1.1"[..], b""] {
            let server = start(alpn, obliging).await;
            let failure = transport().send(post(&server.url)).await.result.unwrap_err();
            assert_eq!(failure.kind, FailureClass::Tls);
            assert!(failure.message.contains("does not speak HTTP/2"), "{failure}");
        }
    }

    #[tokio::test]
    async fn nobody_there_is_no_connection() {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let failure = transport().send(post(&format!("https://{free}/"))).await.result.unwrap_err();
        assert_eq!(failure.kind, FailureClass::Connect);
    }
}
