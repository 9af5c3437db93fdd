//! How the ports that face the CA accept connections. Each connection may be a validation, so none is refused: beyond
//! the limit a new one replaces the one that has waited longest without a request, and waits if there is none.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use wec_listen::{Connection, Connections, Rules, WhenFull, within_descriptors};

use crate::config::ListenLimits;

/// Serves connections until `stop`. `serve` marks the connection as busy from the last octet of a request to the last
/// octet of its answer, and limits the time of both.
pub(crate) async fn accept<Serving>(
    what: &'static str,
    listener: TcpListener,
    limits: ListenLimits,
    stop: CancellationToken,
    serve: impl Fn(TcpStream, SocketAddr, Connection) -> Serving,
) where
    Serving: Future<Output = ()> + Send + 'static,
{
    let rules = Rules {
        connections: within_descriptors(limits.connections, 8),
        per_source: None,
        when_full: WhenFull::Wait,
        first_request: limits.request_timeout,
        idle: limits.request_timeout,
        ..Rules::control(what)
    };
    wec_listen::accept(listener, Connections::new(rules), stop, serve).await;
}
