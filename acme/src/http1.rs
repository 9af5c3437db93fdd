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
use crate::clock::{Clock, Term};
use crate::connect::{
    ConnectSettings, Connected, Counted, LONGEST_IDLE, Origins, digits, header_size, never_sent,
};
use crate::failure::Failure;
use crate::local;
use crate::origin::Origin;
use crate::peer::Peer;
use crate::transport::{BoxFuture, Places, Reply, Request, Response, Transport, Way, may_send};

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

    fn message(&self, request: Request) -> Result<Message, Failure> {
        let origin = self.origins.of(&request.url, &self.settings.dialler)?;
        Message::of(origin, request, &self.settings)
    }

    #[expect(clippy::manual_async_fn, reason = "the state of an async fn would contain the message twice")]
    fn attempt(&self, message: Message) -> impl Future<Output = Reply> + Send {
        async move {
            let bytes_sent = message.size;
            let bound = self.settings.request_timeout;
            let mut way = Way::default();
            // The end of a used connection, if the request was sent over it without an answer.
            let mut in_vain: Option<Box<InVain>> = None;
            loop {
                let reused;
                let mut connection = if let Some(idle) = self.idle_unless(in_vain.is_some(), &message.origin)
                {
                    reused = true;
                    idle
                } else {
                    reused = false;
                    let began = self.clock.now();
                    match self.connect(&message.origin, &mut way).await {
                        Ok(connection) => connection,
                        Err(failure) => {
                            let done = self.clock.now();
                            let unsent = Reply { sent: began, done, way, ..never_sent(self.clock, failure) };
                            return match in_vain {
                                None => unsent,
                                Some(ended) => unsent.unanswered(ended.sent, bytes_sent, &ended.failure),
                            };
                        }
                    }
                };
                way.address = connection.address;
                if let Err(failure) = may_send(message.term.as_ref()) {
                    let now = self.clock.now();
                    self.keep(connection, now);
                    let (sent, bytes_sent) = in_vain.map_or((now, 0), |ended| (ended.sent, bytes_sent));
                    return Reply { sent, reused, way, bytes_sent, ..never_sent(self.clock, failure) };
                }

                let sent = self.clock.now();
                let deadline =
                    in_vain.as_ref().map_or_else(|| Instant::now() + bound, |ended| ended.deadline);
                let (mut received, mut head_at) = (0, sent);
                let head = pin!(connection.begin(message.assemble()));
                let exchange = connection.exchange(head, self.clock, &mut head_at, &mut received);
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
                            in_vain = Some(Box::new(InVain { sent, deadline, failure }));
                            continue;
                        }
                        Err(failure)
                    }
                    Err(_) => {
                        let message = format!("no complete answer within {bound:?}");
                        Err(Failure::new(FailureClass::Timeout, message))
                    }
                };
                return Reply { sent, done, reused, way, bytes_sent, bytes_received: received, result };
            }
        }
    }

    /// An idle connection, unless the request must have a new one.
    fn idle_unless(&self, anew: bool, origin: &Arc<Origin>) -> Option<Connection> {
        if anew { None } else { self.take_idle(origin) }
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

/// A connection ended after the request had been sent over it, without any byte of an answer.
struct InVain {
    sent: u64,
    /// The bound of the whole attempt.
    deadline: Instant,
    failure: Failure,
}

/// A request that may be sent more than once.
struct Message {
    origin: Arc<Origin>,
    uri: Uri,
    method: Method,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
    /// It may be sent in this term only.
    term: Option<Term>,
    /// Bytes on the wire: hyper adds only Content-Length.
    size: u64,
}

impl Message {
    fn of(origin: Arc<Origin>, request: Request, settings: &ConnectSettings) -> Result<Self, Failure> {
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
        Ok(Self { origin, uri, method, headers, body: request.body, term: request.term, size: size as u64 })
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
        match self.message(request) {
            // Each attempt waits for the network at least once, so it cannot starve others.
            Ok(message) => Box::pin(unconstrained(self.attempt(message))),
            Err(failure) => Box::pin(std::future::ready(never_sent(self.clock, failure))),
        }
    }
}

type Driver = http1::Connection<TokioIo<Counted>, Full<Bytes>>;
type Head = hyper::Result<http::Response<Incoming>>;

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

    /// Gives the request to hyper. The future is that of the answer's head.
    fn begin(&mut self, request: http::Request<Full<Bytes>>) -> impl Future<Output = Head> + use<> {
        self.received_before = self.received.load(Ordering::Relaxed);
        self.sender.send_request(request)
    }

    /// Sends the request and reads the whole answer. `head_at` is when its head was read; `received` counts the
    /// body's bytes, also of an incomplete one.
    async fn exchange(
        &mut self,
        mut head: Pin<&mut impl Future<Output = Head>>,
        clock: Clock,
        head_at: &mut u64,
        received: &mut u64,
    ) -> Result<Response, Failure> {
        let driver = &mut *self.driver;
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
mod tests;
