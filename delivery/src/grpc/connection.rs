//! The state of the connection to analytics: none, being made, or open.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};
use tonic::Status;
use tonic::transport::Endpoint;
use wec_pki::Tls;

use super::codec::{Bearer, Link, open};

/// The longest time of one attempt.
pub(super) const CONNECT: Duration = Duration::from_secs(5);

/// The connection to analytics.
pub(super) enum Connection {
    /// No attempt before this moment.
    Waiting(Instant),
    Connecting(Connecting),
    Open(Box<Link>),
}

pub(super) type Connecting = std::pin::Pin<Box<dyn Future<Output = Result<Box<Link>, Status>> + Send>>;

/// What happens next in a delivery.
pub(super) enum LinkEvent {
    Tick,
    Opened(Result<Box<Link>, Status>),
    MaySend,
    Acknowledged(Result<Option<u64>, Status>),
}

/// A stream to analytics, within the time of an attempt.
pub(super) async fn open_within(
    endpoint: Endpoint,
    token: Option<Bearer>,
    tls: Option<Tls>,
) -> Result<Box<Link>, Status> {
    let opened = timeout(CONNECT, open(endpoint, token, tls)).await;
    opened.unwrap_or_else(|_| Err(Status::unavailable("analytics does not answer"))).map(Box::new)
}

/// What happens next on the connection. Dropping this loses nothing.
pub(super) async fn next_event(connection: &mut Connection, more: bool) -> LinkEvent {
    match connection {
        Connection::Waiting(until) => {
            sleep_until(*until).await;
            LinkEvent::Tick
        }
        Connection::Connecting(building) => LinkEvent::Opened(building.await),
        Connection::Open(link) => tokio::select! {
            acknowledged = link.acks.message() => {
                LinkEvent::Acknowledged(acknowledged.map(|ack| ack.map(|ack| ack.through_seq)))
            }
            _ = link.batches.reserve(), if more => LinkEvent::MaySend,
        },
    }
}
