//! HTTP within a listener's [`Rules`]: bounded heads, streams and windows. A request keeps its connection busy from
//! its head to the end of its answer.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ::http::{Request, Response};
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::{http1, http2};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::time::{Sleep, sleep};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::accept::accept;
use crate::connections::{Busy, Connection, Connections};
use crate::rules::Rules;

/// A version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
}

/// How HTTP arrives.
#[derive(Clone)]
pub struct Transport {
    /// The version of HTTP.
    pub version: Version,
    /// TLS; none for plain connections. Its handshake is within [`Rules::first_request`].
    pub tls: Option<TlsAcceptor>,
}

impl From<Version> for Transport {
    fn from(version: Version) -> Self {
        Self { version, tls: None }
    }
}

/// Serves `service` until `stop`. Requests that are being answered then may finish within the grace.
pub async fn serve<S, B>(
    listener: TcpListener,
    connections: Arc<Connections>,
    transport: impl Into<Transport>,
    service: S,
    stop: CancellationToken,
) where
    S: Service<Request<Timed>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let rules = *connections.rules();
    let Transport { version, tls } = transport.into();
    accept(listener, connections, stop.clone(), |stream, source, connection| {
        let (service, stop, tls) = (service.clone(), stop.clone(), tls.clone());
        async move {
            // Answers are written at once. A failure only makes them slower.
            let _ = stream.set_nodelay(true);
            let tracked = tracked(&connection, &rules, service);
            let ended = match tls {
                None => exchange(version, &rules, stream, tracked, &stop).await,
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => exchange(version, &rules, stream, tracked, &stop).await,
                    Err(error) => return tracing::warn!(%source, "{}: no TLS: {error}", rules.what),
                },
            };
            if let Err(error) = ended {
                tracing::debug!(%source, %error, "{}: connection ended early", rules.what);
            }
        }
    })
    .await;
}

/// The requests of one connection.
async fn exchange<Io, S, B>(
    version: Version,
    rules: &Rules,
    stream: Io,
    service: S,
    stop: &CancellationToken,
) -> hyper::Result<()>
where
    Io: AsyncRead + AsyncWrite + Unpin + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let io = TokioIo::new(stream);
    match version {
        Version::Http1 => served(http1(rules).serve_connection(io, service), stop).await,
        Version::Http2 => served(http2(rules).serve_connection(io, service), stop).await,
    }
}

/// Serves until the connection ends; after `stop` it accepts no further requests.
async fn served<C: GracefulConnection>(serving: C, stop: &CancellationToken) -> Result<(), C::Error> {
    let mut serving = pin!(serving);
    tokio::select! {
        ended = &mut serving => return ended,
        () = stop.cancelled() => {}
    }
    serving.as_mut().graceful_shutdown();
    serving.await
}

/// HTTP/1.1 within the rules.
pub fn http1(rules: &Rules) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(rules.idle).max_buf_size(rules.head_bytes.max(8192));
    http
}

/// HTTP/2 within the rules.
pub fn http2(rules: &Rules) -> http2::Builder<TokioExecutor> {
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .max_concurrent_streams(rules.streams)
        .max_header_list_size(rules.head_bytes as u32)
        .initial_stream_window_size(rules.window)
        .initial_connection_window_size(rules.window.saturating_mul(4))
        .keep_alive_interval(Some(rules.first_request))
        .keep_alive_timeout(rules.first_request);
    http
}

/// Wraps `service`: its requests keep `connection` busy and must send their body in time.
pub fn tracked<S, B>(
    connection: &Connection,
    rules: &Rules,
    service: S,
) -> impl Service<Request<Incoming>, Response = Response<Held<B>>, Error = S::Error, Future: Send> + Send + use<S, B>
where
    S: Service<Request<Timed>, Response = Response<B>> + Send,
    S::Future: Send,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + Unpin,
{
    let (connection, within) = (connection.clone(), rules.body);
    service_fn(move |request: Request<Incoming>| {
        let busy = connection.busy();
        let answer = service.call(request.map(|body| Timed::new(body, within)));
        async move { answer.await.map(|response| response.map(|body| Held { body, _busy: busy })) }
    })
}

/// The body of a request; an error if it does not end in time.
#[derive(Debug)]
pub struct Timed {
    body: Incoming,
    within: Option<Duration>,
    /// Counts from the first poll of the body.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Timed {
    fn new(body: Incoming, within: Option<Duration>) -> Self {
        Self { body, within, deadline: None }
    }
}

impl Body for Timed {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let Some(within) = self.within else { return Poll::Pending };
        ready!(self.deadline.get_or_insert_with(|| Box::pin(sleep(within))).as_mut().poll(context));
        Poll::Ready(Some(Err(TooSlow(within).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[derive(Debug)]
struct TooSlow(Duration);

impl fmt::Display for TooSlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the request's body did not end within {:?}", self.0)
    }
}

impl Error for TooSlow {}

/// The body of an answer. Its connection is busy until it has been sent.
#[derive(Debug)]
pub struct Held<B> {
    body: B,
    _busy: Busy,
}

impl<B: Body + Unpin> Body for Held<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
