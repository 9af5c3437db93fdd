//! From a URL to a stream of bytes: servers, addresses, TLS. What is spoken over it is for `http1` and `http2`.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use http::header::HeaderValue;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::clock::Clock;
use crate::failure::{Failure, FailureKind};
use crate::tls::HttpVersion;
use crate::transport::Reply;

/// An idle connection older than this is not used again, nanoseconds.
pub(crate) const LONGEST_IDLE: u64 = 90_000_000_000;
/// Servers whose URLs a CA may mix; connections to more are not kept.
const MOST_ORIGINS: usize = 16;

/// How to connect.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) http: HttpVersion,
    pub(crate) max_connections: usize,
    pub(crate) connect_timeout: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) user_agent: HeaderValue,
    pub(crate) tls: Arc<ClientConfig>,
}

/// What the server says, or does, that does not speak HTTP/2.
pub(crate) const NO_HTTP2: &str = "the server does not speak HTTP/2 (ALPN h2)";

impl Settings {
    /// A stream to this server over which the HTTP version asked for is spoken, and the count of what is read from it.
    pub(crate) async fn connect(&self, origin: &Origin) -> Result<(Counted, Arc<AtomicU64>), Failure> {
        let bound = self.connect_timeout;
        let stream = match timeout(bound, origin.dial(bound)).await {
            Ok(dialled) => dialled?,
            Err(_) => {
                return Err(Failure::new(FailureKind::Connect, format!("no connection within {bound:?}")));
            }
        };
        let stream = match &origin.server_name {
            None if self.http == HttpVersion::Http2 => {
                let message =
                    format!("{} is not https, without which there is no HTTP/2 here", origin.prefix);
                return Err(Failure::new(FailureKind::Tls, message));
            }
            None => Stream::Plain(stream),
            Some(name) => {
                let connector = TlsConnector::from(Arc::clone(&self.tls));
                let stream = match timeout(bound, connector.connect(name.clone(), stream)).await {
                    Ok(Ok(stream)) => stream,
                    Ok(Err(error)) => return Err(self.no_handshake(&error)),
                    Err(_) => {
                        let message = format!("no TLS handshake within {bound:?}");
                        return Err(Failure::new(FailureKind::Tls, message));
                    }
                };
                let agreed = stream.get_ref().1.alpn_protocol();
                if self.http == HttpVersion::Http2 && agreed != Some(HttpVersion::Http2.alpn()) {
                    return Err(Failure::new(FailureKind::Tls, NO_HTTP2));
                }
                Stream::Tls(Box::new(stream))
            }
        };
        let received = Arc::new(AtomicU64::new(0));
        Ok((Counted { stream, received: Arc::clone(&received) }, received))
    }

    fn no_handshake(&self, error: &io::Error) -> Failure {
        let tls = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
        let no_protocol = rustls::Error::AlertReceived(rustls::AlertDescription::NoApplicationProtocol);
        let message = if self.http == HttpVersion::Http2 && tls == Some(&no_protocol) {
            NO_HTTP2.to_owned()
        } else {
            format!("TLS handshake failed: {error}")
        };
        Failure::new(FailureKind::Tls, message)
    }
}

/// The servers met so far.
#[derive(Debug, Default)]
pub(crate) struct Origins(Mutex<Vec<Arc<Origin>>>);

impl Origins {
    pub(crate) fn of(&self, url: &str) -> Result<Arc<Origin>, Failure> {
        let mut origins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = origins.iter().find(|origin| origin.path_of(url).is_some()) {
            return Ok(Arc::clone(known));
        }
        let origin = Arc::new(Origin::of(url)?);
        if origins.len() < MOST_ORIGINS {
            origins.push(Arc::clone(&origin));
        }
        Ok(origin)
    }
}

/// The reply to a request that never got as far as a connection.
pub(crate) fn never_sent(clock: Clock, failure: Failure) -> Reply {
    let now = clock.now();
    Reply {
        sent: now,
        done: now,
        reused: false,
        stale: false,
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

/// A server: scheme, host and port.
#[derive(Debug)]
pub(crate) struct Origin {
    /// What its URLs begin with: `https://host:port`, as the CA writes it.
    pub(crate) prefix: String,
    /// The Host header.
    pub(crate) host: HeaderValue,
    pub(crate) address: String,
    pub(crate) port: u16,
    /// None without TLS.
    pub(crate) server_name: Option<ServerName<'static>>,
}

impl Origin {
    pub(crate) fn of(url: &str) -> Result<Self, Failure> {
        let unusable = |why: &str| Failure::new(FailureKind::Malformed, format!("not a usable URL: {why}"));
        let uri: Uri = url.parse().map_err(|error: http::uri::InvalidUri| unusable(&error.to_string()))?;
        let authority = uri.authority().ok_or_else(|| unusable("no host"))?;
        let scheme = uri.scheme_str().unwrap_or_default();
        let tls = match scheme {
            "https" => true,
            "http" => false,
            other => return Err(unusable(&format!("its scheme is {other:?}, not https or http"))),
        };
        let prefix = format!("{}://{authority}", url.split("://").next().unwrap_or_default());
        let address = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let server_name = if tls {
            let name = ServerName::try_from(address.clone()).map_err(|error| unusable(&error.to_string()))?;
            Some(name)
        } else {
            None
        };
        let host = authority.as_str().rsplit_once('@').map_or(authority.as_str(), |(_, host)| host);
        Ok(Self {
            host: HeaderValue::from_str(host).map_err(|error| unusable(&error.to_string()))?,
            port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            prefix,
            address,
            server_name,
        })
    }

    /// The rest of a URL on this server.
    pub(crate) fn path_of<'a>(&self, url: &'a str) -> Option<&'a str> {
        url.strip_prefix(self.prefix.as_str()).filter(|path| path.is_empty() || path.starts_with(['/', '?']))
    }

    /// The first address that accepts, each with its share of the bound.
    async fn dial(&self, bound: Duration) -> Result<TcpStream, Failure> {
        let addresses: Vec<SocketAddr> = tokio::net::lookup_host((self.address.as_str(), self.port))
            .await
            .map_err(|error| {
                let message = format!("cannot resolve {}: {error}", self.address);
                Failure::new(FailureKind::Connect, message)
            })?
            .collect();
        let share = bound / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
        let mut last = format!("{} has no address", self.address);
        for address in addresses {
            match timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // Requests are written whole: waiting for more only costs time.
                    if let Err(error) = stream.set_nodelay(true) {
                        last = format!("cannot configure the connection to {address}: {error}");
                        continue;
                    }
                    return Ok(stream);
                }
                Ok(Err(error)) => last = format!("cannot connect to {address}: {error}"),
                Err(_) => last = format!("no connection to {address} within {share:?}"),
            }
        }
        Err(Failure::new(FailureKind::Connect, last))
    }
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A stream that counts what is read, so that "no byte of an answer" is known and not guessed from an error.
pub(crate) struct Counted {
    stream: Stream,
    received: Arc<AtomicU64>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
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
