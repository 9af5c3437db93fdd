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

mod connection;

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, RecvStream};
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{Method, Uri};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use self::connection::{Connection, bounded};
use crate::FailureClass;
use crate::body::Body;
use crate::clock::Clock;
use crate::connect::{ConnectSettings, Connected, Origins, digits, header_size, never_sent};
use crate::failure::Failure;
use crate::local;
use crate::origin::Origin;
use crate::transport::{
    BoxFuture, Reply, Request, Response, Transport, Way, may_send, pause_before_reconnect,
};

/// HTTP/2 with one connection to each server.
pub(crate) struct Http2Transport {
    settings: ConnectSettings,
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
    pub(crate) fn new(settings: ConnectSettings, clock: Clock) -> Self {
        Self { settings, clock, origins: Origins::default(), lanes: Mutex::default() }
    }

    async fn attempt(&self, mut request: Request) -> Reply {
        let term = request.term.take();
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
            if let Err(failure) = may_send(term.as_ref()) {
                let (sent, bytes_sent) = in_vain
                    .filter(|_| way.doubtful)
                    .map_or((self.clock.now(), 0), |vain| (vain.sent, bytes_sent));
                return Reply { sent, way, bytes_sent, ..never_sent(self.clock, failure) };
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
        enum Turn {
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
                        Turn::Wait(outcome.clone())
                    }
                    _ => {
                        let (tell, told) = watch::channel(None);
                        if let Some(place) = place {
                            lanes.swap_remove(place);
                        }
                        lanes.push((Arc::clone(origin), Lane::Dialling(told)));
                        Turn::Dial(tell)
                    }
                }
            };
            match part {
                Turn::Dial(tell) => {
                    let dialled = self.connect(origin, way).await;
                    let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
                    lanes.retain(|(known, _)| !Arc::ptr_eq(known, origin));
                    if let Ok(connection) = &dialled {
                        lanes.push((Arc::clone(origin), Lane::Open(Arc::clone(connection))));
                    }
                    tell.send_replace(Some(dialled.clone()));
                    return dialled;
                }
                Turn::Wait(mut outcome) => {
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
mod tests;
