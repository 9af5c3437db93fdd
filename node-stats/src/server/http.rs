//! The HTTP side of the listener: the upgrade to a websocket, the demo page, and refusals.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::{
    ALLOW, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, ORIGIN, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE, X_CONTENT_TYPE_OPTIONS,
};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_util::sync::CancellationToken;
use wec_listen::{Connection, Rules};

use crate::client::Io;

const DEMO: &str = include_str!("demo.html");
/// The demo's script and style are in the page; it connects to its own host only.
const DEMO_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; \
                           base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Answers HTTP requests until one is upgraded to a websocket, and returns that; none if the client leaves before.
pub(super) async fn upgraded(
    stream: Box<dyn Io>,
    source: SocketAddr,
    connection: &Connection,
    stop: &CancellationToken,
) -> Option<Upgraded> {
    let rules = Rules::control("node statistics");
    let upgrading: Arc<Mutex<Option<OnUpgrade>>> = Arc::default();
    let kept = Arc::clone(&upgrading);
    let service = service_fn(move |mut request: Request<wec_listen::http::Timed>| {
        let (response, upgrades) = answer(request.method(), request.uri().path(), request.headers());
        if upgrades {
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(hyper::upgrade::on(&mut request));
        }
        async move { Ok::<_, std::convert::Infallible>(response) }
    });
    let service = wec_listen::http::tracked(connection, &rules, service);
    let mut serving = std::pin::pin!(
        wec_listen::http::http1(&rules).serve_connection(TokioIo::new(stream), service).with_upgrades()
    );
    let ended = tokio::select! {
        ended = &mut serving => ended,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%source, %error, "node statistics: connection ended early");
        return None;
    }
    let upgrading = upgrading.lock().unwrap_or_else(PoisonError::into_inner).take()?;
    upgrading.await.ok()
}

/// The answer to a request, and whether the connection becomes a websocket with it.
fn answer(method: &Method, path: &str, headers: &HeaderMap) -> (Response<Full<Bytes>>, bool) {
    match decide(method, path, headers) {
        Decision::Upgrade(accept) => {
            let mut response = text(StatusCode::SWITCHING_PROTOCOLS, "");
            let fields = response.headers_mut();
            fields.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
            fields.insert(UPGRADE, HeaderValue::from_static("websocket"));
            fields.insert(SEC_WEBSOCKET_ACCEPT, accept);
            (response, true)
        }
        Decision::Demo => {
            let mut response = text(StatusCode::OK, DEMO);
            let fields = response.headers_mut();
            fields.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
            fields.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(DEMO_POLICY));
            (response, false)
        }
        Decision::Refuse(status, why) => {
            let mut response = text(status, why);
            let fields = response.headers_mut();
            match status {
                StatusCode::METHOD_NOT_ALLOWED => drop(fields.insert(ALLOW, HeaderValue::from_static("GET"))),
                StatusCode::UPGRADE_REQUIRED => {
                    fields.insert(UPGRADE, HeaderValue::from_static("websocket"));
                    fields.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
                }
                _ => {}
            }
            (response, false)
        }
    }
}

fn text(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    if status != StatusCode::SWITCHING_PROTOCOLS {
        let fields = response.headers_mut();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        fields.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    }
    response
}

#[derive(Debug, PartialEq)]
enum Decision {
    /// With the value of Sec-WebSocket-Accept.
    Upgrade(HeaderValue),
    Demo,
    Refuse(StatusCode, &'static str),
}

fn decide(method: &Method, path: &str, headers: &HeaderMap) -> Decision {
    if method != Method::GET {
        return Decision::Refuse(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered here\n");
    }
    if !(has(headers, &CONNECTION, "upgrade") && has(headers, &UPGRADE, "websocket")) {
        return match path {
            "/demo" => Decision::Demo,
            _ => Decision::Refuse(
                StatusCode::BAD_REQUEST,
                "this is a websocket with node statistics: connect with a websocket client, or open /demo\n",
            ),
        };
    }
    if !is_from_here(headers) {
        return Decision::Refuse(
            StatusCode::FORBIDDEN,
            "connections from pages of other sites are not allowed: open /demo by the node's IP address\n",
        );
    }
    if !has(headers, &SEC_WEBSOCKET_VERSION, "13") {
        return Decision::Refuse(StatusCode::UPGRADE_REQUIRED, "version 13 of the protocol is needed\n");
    }
    let accept = headers.get(SEC_WEBSOCKET_KEY).map(|key| derive_accept_key(key.as_bytes()));
    match accept.and_then(|accept| accept.parse().ok()) {
        Some(accept) => Decision::Upgrade(accept),
        None => Decision::Refuse(StatusCode::BAD_REQUEST, "Sec-WebSocket-Key is missing\n"),
    }
}

/// Whether the field has this among its values.
fn has(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|value| value.trim().eq_ignore_ascii_case(wanted))
}

/// Only browsers send an origin. It must be this listener's, by an IP address: a name could be one that another site
/// lets resolve to this machine.
fn is_from_here(headers: &HeaderMap) -> bool {
    let mut origins = headers.get_all(ORIGIN).into_iter();
    let Some(origin) = origins.next() else { return true };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let same = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")))
        .is_some_and(|origin| origin.eq_ignore_ascii_case(host));
    let address = host.parse::<Authority>().is_ok_and(|host| {
        let name = host.host().trim_matches(['[', ']']);
        name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
    });
    same && address && origins.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let parse = |(name, value): &(&str, &str)| {
            (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap())
        };
        pairs.iter().map(parse).collect()
    }

    const UPGRADES: [(&str, &str); 5] = [
        ("host", "127.0.0.1:7070"),
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        // The example of RFC 6455, section 1.3.
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    fn status(method: Method, path: &str, pairs: &[(&str, &str)]) -> StatusCode {
        answer(&method, path, &headers(pairs)).0.status()
    }

    #[test]
    fn any_path_is_upgraded() {
        for path in ["/", "/demo", "/any/path"] {
            let accept = HeaderValue::from_static("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
            assert_eq!(decide(&Method::GET, path, &headers(&UPGRADES)), Decision::Upgrade(accept));
        }
    }

    #[test]
    fn refuses_what_is_no_upgrade() {
        assert_eq!(status(Method::GET, "/", &[]), StatusCode::BAD_REQUEST);
        assert_eq!(status(Method::GET, "/demo", &[]), StatusCode::OK);
        assert_eq!(status(Method::GET, "/demo/", &[]), StatusCode::BAD_REQUEST);
        for method in [Method::POST, Method::HEAD, Method::OPTIONS] {
            assert_eq!(status(method.clone(), "/", &UPGRADES), StatusCode::METHOD_NOT_ALLOWED);
            assert_eq!(status(method, "/demo", &[]), StatusCode::METHOD_NOT_ALLOWED);
        }
        for missing in 1..UPGRADES.len() {
            let mut pairs = UPGRADES.to_vec();
            let (name, _) = pairs.remove(missing);
            let wanted = if name == "sec-websocket-version" {
                StatusCode::UPGRADE_REQUIRED
            } else {
                StatusCode::BAD_REQUEST
            };
            assert_eq!(status(Method::GET, "/", &pairs), wanted, "without {name}");
        }
    }

    #[test]
    fn only_its_own_page_may_connect() {
        for (host, origin, allowed) in [
            ("127.0.0.1:7070", "http://127.0.0.1:7070", true),
            ("127.0.0.1:7070", "https://127.0.0.1:7070", true),
            ("localhost:7070", "http://LOCALHOST:7070", true),
            ("[::1]:7070", "http://[::1]:7070", true),
            ("127.0.0.1:7070", "http://127.0.0.1:7071", false),
            ("127.0.0.1:7070", "http://evil.example", false),
            ("evil.example:7070", "http://evil.example:7070", false),
            ("127.0.0.1:7070", "null", false),
        ] {
            let mut pairs = UPGRADES.to_vec();
            pairs[0].1 = host;
            pairs.push(("origin", origin));
            let wanted = if allowed { StatusCode::SWITCHING_PROTOCOLS } else { StatusCode::FORBIDDEN };
            assert_eq!(status(Method::GET, "/", &pairs), wanted, "{host} {origin}");
        }
        let mut named = UPGRADES;
        named[0].1 = "node-a:7070";
        assert_eq!(status(Method::GET, "/", &named), StatusCode::SWITCHING_PROTOCOLS, "no browser");
    }
}
