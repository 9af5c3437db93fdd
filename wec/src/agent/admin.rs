//! The admin port of an agent, on loopback: `GET /healthz` shows what it does, `POST /drain` lets it end after
//! its sessions.
//!
//! It has no token, so it listens on loopback only and refuses what a browser sends for a page.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context as _;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, ORIGIN};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wec_listen::http::Version;
use wec_listen::{Connections, Rules};

use super::this_agent::Status;

/// The default address of the admin port.
const ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7071);

/// The admin port; does nothing if it is off.
#[derive(Debug)]
pub(super) struct Admin {
    shared: Arc<Shared>,
    served: Option<(SocketAddr, JoinHandle<()>)>,
    stop: CancellationToken,
}

/// Where the admin port is.
#[derive(Clone, Copy, Debug)]
pub(super) enum AdminAt {
    Off,
    At(SocketAddr),
}

pub(super) fn parse_admin(text: &str) -> Result<AdminAt, String> {
    if text == "off" {
        return Ok(AdminAt::Off);
    }
    let address: SocketAddr =
        text.parse().map_err(|_| "is neither an address like 127.0.0.1:7071 nor off".to_owned())?;
    if !address.ip().is_loopback() {
        return Err("has no token, so it must be on loopback: 127.0.0.1:7071".to_owned());
    }
    Ok(AdminAt::At(address))
}

#[derive(Debug)]
struct Shared {
    status: watch::Sender<Status>,
    drain: watch::Sender<bool>,
}

impl Admin {
    /// Opens the port.
    ///
    /// # Errors
    /// When the given address cannot be listened on.
    pub(super) async fn start(at: Option<AdminAt>, status: Status) -> anyhow::Result<Self> {
        let shared =
            Arc::new(Shared { status: watch::Sender::new(status), drain: watch::Sender::new(false) });
        let stop = CancellationToken::new();
        let listener = match at {
            Some(AdminAt::Off) => None,
            Some(AdminAt::At(address)) => {
                let bound = TcpListener::bind(address).await;
                Some(bound.with_context(|| format!("cannot listen on {address} for the admin port"))?)
            }
            None => match TcpListener::bind(ADMIN).await {
                Ok(bound) => Some(bound),
                // Another agent of this machine has it.
                Err(_) => {
                    let free = SocketAddr::new(ADMIN.ip(), 0);
                    Some(TcpListener::bind(free).await.context("a free port for the admin port")?)
                }
            },
        };
        let served = match listener {
            None => None,
            Some(listener) => {
                let address = listener.local_addr().context("the admin port's address")?;
                let of_requests = Arc::clone(&shared);
                let service = service_fn(move |request| {
                    let answer = answered(&of_requests, &request);
                    async move { Ok::<_, Infallible>(answer) }
                });
                let connections = Connections::new(Rules::control("the admin port"));
                let serving =
                    wec_listen::http::serve(listener, connections, Version::Http1, service, stop.clone());
                Some((address, tokio::spawn(serving)))
            }
        };
        Ok(Self { shared, served, stop })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.served.as_ref().map(|(address, _)| *address)
    }

    /// Whether the agent was asked to end after its sessions.
    pub(super) fn drains(&self) -> bool {
        *self.shared.drain.borrow()
    }

    /// Completes when that is asked for; never again afterwards.
    pub(super) async fn changed(&self) {
        let mut drain = self.shared.drain.subscribe();
        if self.drains() || drain.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// What it shows from now on.
    pub(super) fn show(&self, status: Status) {
        self.shared.status.send_replace(status);
    }

    /// Closes the port.
    pub(super) async fn finish(self) {
        self.stop.cancel();
        if let Some((_, serving)) = self.served {
            // The panic hook has reported a panic.
            let _ = serving.await;
        }
    }
}

fn answered<B>(shared: &Shared, request: &Request<B>) -> Response<Full<Bytes>> {
    let text = |status: StatusCode, text: &str| {
        let mut response = Response::new(Full::new(Bytes::from(format!("{text}\n"))));
        *response.status_mut() = status;
        response
    };
    if request.headers().contains_key(ORIGIN) {
        return text(StatusCode::FORBIDDEN, "requests from a web page are refused");
    }
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/healthz") => {
            let status = shared.status.borrow().clone();
            let json = serde_json::to_string(&status).unwrap_or_default();
            let mut response = text(StatusCode::OK, &json);
            response
                .headers_mut()
                .insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
            response
        }
        (&Method::POST, "/drain") => {
            shared.drain.send_replace(true);
            text(StatusCode::ACCEPTED, "no more sessions are taken; the agent ends after those that it runs")
        }
        (_, "/healthz" | "/drain") => text(StatusCode::METHOD_NOT_ALLOWED, "GET /healthz, POST /drain"),
        _ => text(StatusCode::NOT_FOUND, "GET /healthz, POST /drain"),
    }
}
