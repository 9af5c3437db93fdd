//! From a URL to a stream of bytes: servers, addresses, TLS. `http1` and `http2` implement the protocols above it.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::header::HeaderValue;
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::FailureClass;
use crate::behaviour::{SLOW_OCTETS, SLOW_PAUSE};
use crate::clock::Clock;
use crate::dial::Dialler;
use crate::failure::Failure;
use crate::given::OtherIssuer;
use crate::local;
use crate::origin::Origin;
use crate::peer::Peer;
use crate::tls::HttpVersion;
use crate::transport::{Queueing, Reply, Way};

/// An idle connection older than this is not used again, nanoseconds.
pub(crate) const LONGEST_IDLE: u64 = 90_000_000_000;
/// Most servers that a CA's URLs may use at a time; connections to more are not kept.
const MOST_ORIGINS: usize = 16;

/// How to connect.
#[derive(Clone, Debug)]
pub(crate) struct ConnectSettings {
    pub(crate) http: HttpVersion,
    pub(crate) max_connections: usize,
    pub(crate) connect_timeout: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) user_agent: HeaderValue,
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) dialler: Arc<Dialler>,
    /// Common counters of all clients of this network.
    pub(crate) queueing: Arc<Queueing>,
    /// Whether answers are read in small parts with pauses.
    pub(crate) slow: bool,
}

/// Message for a server without HTTP/2.
pub(crate) const NO_HTTP2: &str = "the server does not support HTTP/2 (ALPN h2)";

/// A new connection, before any HTTP.
pub(crate) struct Connected {
    pub(crate) stream: Counted,
    /// Bytes read from it so far.
    pub(crate) received: Arc<AtomicU64>,
    /// The address it goes to.
    pub(crate) address: Option<Peer>,
}

impl ConnectSettings {
    /// A connection to this server for the requested HTTP version. Adds the time it took to `way`, also after a
    /// failure.
    pub(crate) async fn connect(
        &self,
        origin: &Origin,
        clock: Clock,
        way: &mut Way,
    ) -> Result<Connected, Failure> {
        let mut made = Way::default();
        let stream = self.stream(origin, clock, &mut made).await;
        way.add(made);
        let received = Arc::new(AtomicU64::new(0));
        let pause = self.slow.then(|| Box::pin(sleep(SLOW_PAUSE)));
        let stream = Counted { stream: stream?, received: Arc::clone(&received), pause };
        Ok(Connected { stream, received, address: made.address })
    }

    async fn stream(&self, origin: &Origin, clock: Clock, way: &mut Way) -> Result<Stream, Failure> {
        let bound = self.connect_timeout;
        let stream = self.dialler.dial(origin, bound, way).await?;
        let dialled = clock.now();
        let stream = match &origin.server_name {
            None if self.http == HttpVersion::Http2 => {
                let message = format!("{} is not https, which HTTP/2 needs here", origin.prefix);
                return Err(Failure::new(FailureClass::Tls, message));
            }
            None => Stream::Plain(stream),
            Some(name) => {
                let connector = TlsConnector::from(Arc::clone(&self.tls));
                let shaken = timeout(bound, connector.connect(name.clone(), stream)).await;
                way.tls = clock.now() - dialled;
                let stream = match shaken {
                    Ok(Ok(stream)) => stream,
                    Ok(Err(error)) => return Err(self.no_handshake(&error)),
                    Err(_) => {
                        let message = format!("no TLS handshake within {bound:?}");
                        return Err(Failure::new(FailureClass::Tls, message));
                    }
                };
                let agreed = stream.get_ref().1.alpn_protocol();
                if self.http == HttpVersion::Http2 && agreed != Some(HttpVersion::Http2.alpn()) {
                    return Err(Failure::new(FailureClass::Tls, NO_HTTP2));
                }
                Stream::Tls(Box::new(stream))
            }
        };
        Ok(stream)
    }

    fn no_handshake(&self, error: &io::Error) -> Failure {
        let tls = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
        let no_protocol = rustls::Error::AlertReceived(rustls::AlertDescription::NoApplicationProtocol);
        let message = if self.http == HttpVersion::Http2 && tls == Some(&no_protocol) {
            NO_HTTP2.to_owned()
        } else if let Some(other) = tls.and_then(OtherIssuer::behind) {
            format!("TLS handshake failed: {other}")
        } else {
            format!("TLS handshake failed: {error}")
        };
        let kind = if local::is_refusal(error) { FailureClass::Local } else { FailureClass::Tls };
        Failure::new(kind, message)
    }
}

/// The servers so far.
#[derive(Debug, Default)]
pub(crate) struct Origins(Mutex<Vec<Arc<Origin>>>);

impl Origins {
    /// The server of this URL. The gate checks a new one first.
    pub(crate) fn of(&self, url: &str, dialler: &Dialler) -> Result<Arc<Origin>, Failure> {
        let mut origins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = origins.iter().find(|origin| origin.path_of(url).is_some()) {
            return Ok(Arc::clone(known));
        }
        let origin = Arc::new(Origin::of(url)?);
        dialler.judge_origin(&origin)?;
        if origins.len() < MOST_ORIGINS {
            origins.push(Arc::clone(&origin));
        }
        Ok(origin)
    }
}

/// The reply to a request without a connection.
pub(crate) fn never_sent(clock: Clock, failure: Failure) -> Reply {
    let now = clock.now();
    Reply {
        sent: now,
        done: now,
        reused: false,
        way: Way::default(),
        bytes_sent: 0,
        bytes_received: 0,
        result: Err(failure),
    }
}

pub(crate) fn header_size(name: &str, value: &HeaderValue) -> usize {
    name.len() + ": \r\n".len() + value.len()
}

pub(crate) fn digits(number: usize) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A stream that counts the bytes read, so that it is certain whether any byte of an answer has come.
pub(crate) struct Counted {
    stream: Stream,
    received: Arc<AtomicU64>,
    /// Until the next part may be read, for a slow reader.
    pause: Option<Pin<Box<Sleep>>>,
}

impl Counted {
    /// Reads a small part after a pause.
    fn poll_read_slowly(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(context));
        }
        let mut octets = [0; SLOW_OCTETS];
        let room = buffer.remaining().min(SLOW_OCTETS);
        let mut part = ReadBuf::new(&mut octets[..room]);
        ready!(self.stream.poll_read(context, &mut part))?;
        buffer.put_slice(part.filled());
        if let Some(pause) = &mut self.pause {
            pause.as_mut().reset(Instant::now() + SLOW_PAUSE);
        }
        Poll::Ready(Ok(()))
    }
}

impl Stream {
    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = match self.pause {
            None => self.stream.poll_read(context, buffer),
            Some(_) => self.poll_read_slowly(context, buffer),
        };
        self.received.fetch_add((buffer.filled().len() - before) as u64, Ordering::Relaxed);
        polled
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(context, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_write(context, buffer),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(context, buffers),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(context, buffers),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(context),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
