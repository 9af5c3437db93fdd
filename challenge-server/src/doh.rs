//! DNS over HTTPS (RFC 8484): GET and POST at `/dns-query`, over HTTP/2 and HTTP/1.1.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Body;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use wec_listen::Connection;

use crate::accept::accept;
use crate::answers::Answers;
use crate::config::ListenLimits;
use crate::dns::{self, Transport};

const PATH: &str = "/dns-query";
const MEDIA_TYPE: &str = "application/dns-message";
const H2: &[u8] = b"h2";
/// The longest query.
const LARGEST_QUERY: usize = 4096;
const LARGEST_HEAD: usize = 16 << 10;
const MOST_STREAMS: u32 = 256;

/// Offers both versions of HTTP.
pub(crate) fn offer_http(config: &mut ServerConfig) {
    config.alpn_protocols = vec![H2.to_vec(), b"http/1.1".to_vec()];
}

/// Serves until `stop`; without `tls` it is plain HTTP/1.1.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    answers: Arc<Answers>,
    limits: ListenLimits,
    stop: CancellationToken,
) {
    let tls = tls.map(TlsAcceptor::from);
    accept("DNS over HTTPS", listener, limits, stop, |stream, source, place| {
        let (tls, answers) = (tls.clone(), Arc::clone(&answers));
        async move {
            let _ = stream.set_nodelay(true);
            let asker = Asker { source, place };
            let Some(tls) = tls else { return http1(stream, asker, answers, limits).await };
            match timeout(limits.request_timeout, tls.accept(stream)).await {
                Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(H2) => {
                    http2(stream, asker, answers, limits).await;
                }
                Ok(Ok(stream)) => http1(stream, asker, answers, limits).await,
                Ok(Err(error)) => tracing::debug!(%source, %error, "DoH handshake failed"),
                Err(_) => tracing::debug!(%source, "DoH handshake took too long"),
            }
        }
    })
    .await;
}

async fn http1<S>(stream: S, asker: Asker, answers: Arc<Answers>, limits: ListenLimits)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let source = asker.source;
    let service = service_fn(move |request| answer(Arc::clone(&answers), asker.clone(), limits, request));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.request_timeout).max_buf_size(LARGEST_HEAD);
    if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%source, %error, "DoH connection ended early");
    }
}

async fn http2<S>(stream: S, asker: Asker, answers: Arc<Answers>, limits: ListenLimits)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let source = asker.source;
    let service = service_fn(move |request| answer(Arc::clone(&answers), asker.clone(), limits, request));
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .max_concurrent_streams(MOST_STREAMS)
        .max_header_list_size(LARGEST_HEAD as u32)
        .keep_alive_interval(Some(limits.request_timeout))
        .keep_alive_timeout(limits.request_timeout);
    if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%source, %error, "DoH connection ended early");
    }
}

/// The client.
#[derive(Clone)]
struct Asker {
    source: SocketAddr,
    place: Connection,
}

async fn answer<B>(
    answers: Arc<Answers>,
    asker: Asker,
    limits: ListenLimits,
    request: Request<B>,
) -> Result<Response<Full<Bytes>>, Infallible>
where
    B: Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let user_agent = request.headers().get(USER_AGENT).and_then(|agent| agent.to_str().ok());
    let transport = Transport::Https(user_agent.unwrap_or_default().to_owned());
    let response = match timeout(limits.request_timeout, query_of(request)).await {
        Ok(Ok(query)) => {
            let _busy = asker.place.busy();
            match dns::respond(&answers, &query, asker.source, &transport).await {
                Some(reply) => message(reply),
                None => refusal(StatusCode::BAD_REQUEST),
            }
        }
        Ok(Err(status)) => refusal(status),
        Err(_) => refusal(StatusCode::REQUEST_TIMEOUT),
    };
    Ok(response)
}

/// The DNS message within a request (RFC 8484 §4.1).
async fn query_of<B>(request: Request<B>) -> Result<Bytes, StatusCode>
where
    B: Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if request.uri().path() != PATH {
        return Err(StatusCode::NOT_FOUND);
    }
    let accepts = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
    if accepts.is_some_and(|accept| !accept.contains(MEDIA_TYPE) && !accept.contains("*/*")) {
        return Err(StatusCode::NOT_ACCEPTABLE);
    }
    match *request.method() {
        Method::GET => {
            let parameters = request.uri().query().unwrap_or_default().split('&');
            let encoded = parameters
                .filter_map(|pair| pair.strip_prefix("dns="))
                .next()
                .ok_or(StatusCode::BAD_REQUEST)?;
            let query = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| StatusCode::BAD_REQUEST)?;
            match query.len() {
                0..=LARGEST_QUERY => Ok(Bytes::from(query)),
                _ => Err(StatusCode::PAYLOAD_TOO_LARGE),
            }
        }
        Method::POST => {
            if request.headers().get(CONTENT_TYPE).is_none_or(|kind| kind != MEDIA_TYPE) {
                return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
            }
            let body = Limited::new(request.into_body(), LARGEST_QUERY).collect().await;
            body.map(|body| body.to_bytes()).map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)
        }
        _ => Err(StatusCode::METHOD_NOT_ALLOWED),
    }
}

fn message(reply: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(reply)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    // RFC 8484 §5.1: the freshness is at most the smallest TTL, and every TTL is 0.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=0"));
    response
}

fn refusal(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}
