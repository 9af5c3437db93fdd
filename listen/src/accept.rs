//! The accept loop, which owns its connections.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::io::Errno;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::connections::{Connection, Connections};

/// Pauses after a failed accept (the process or the system has no file descriptor left): the first, and the longest.
const REST: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));
/// A connection is closed if the peer does not read what was sent for this long.
const UNSENT: Duration = Duration::from_secs(30);

/// One counter for all listeners, because descriptors and memory belong to the process.
static SHORTAGES: AtomicU64 = AtomicU64::new(0);

/// How often since its start this process could not accept a connection because descriptors or memory were missing:
/// clients waited for this, and may have given up.
pub fn shortages() -> u64 {
    SHORTAGES.load(Ordering::Relaxed)
}

/// False for errors caused by a client that closed its connection before it was accepted.
fn is_shortage(error: &std::io::Error) -> bool {
    let number = error.raw_os_error().map(Errno::from_raw_os_error);
    number.is_some_and(|number| [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM].contains(&number))
}

/// Accepts and serves connections until `stop`, within the rules of `connections`. Several loops may share one socket
/// and one `connections`.
pub async fn accept<Serving>(
    listener: TcpListener,
    connections: Arc<Connections>,
    stop: CancellationToken,
    serve: impl Fn(TcpStream, SocketAddr, Connection) -> Serving,
) where
    Serving: Future<Output = ()> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    let mut stopped = pin!(stop.cancelled());
    let mut rest = REST.0;
    loop {
        // Ended connections are collected here and not awaited: awaiting would wake this task for each of them.
        while let Some(ended) = tasks.try_join_next() {
            report(ended);
        }
        let accepted = async {
            connections.place().await;
            let accepted = listener.accept().await;
            // A connection that could be replaced before this accept may be busy now.
            connections.place().await;
            accepted
        };
        tokio::select! {
            biased;
            () = &mut stopped => break,
            accepted = accepted => match accepted {
                Ok((stream, source)) => {
                    rest = REST.0;
                    // A refused connection is closed by dropping it.
                    let Some(place) = connections.enter(source) else { continue };
                    end_when_unsent(&stream);
                    let serving = serve(stream, source, place.connection.clone());
                    tasks.spawn(place.keep(serving));
                }
                Err(error) => {
                    if rest == REST.0 {
                        tracing::warn!("{}: cannot accept a connection: {error}", connections.rules().what);
                    }
                    connections.accept_failed();
                    if is_shortage(&error) {
                        SHORTAGES.fetch_add(1, Ordering::Relaxed);
                    }
                    tokio::select! {
                        () = &mut stopped => break,
                        () = sleep(rest) => {}
                    }
                    rest = (2 * rest).min(REST.1);
                }
            },
        }
    }
    drop(listener);
    let drained = timeout(connections.rules().grace, async {
        while let Some(ended) = tasks.join_next().await {
            report(ended);
        }
    });
    if drained.await.is_err() {
        tasks.shutdown().await;
    }
}

#[cfg(target_os = "linux")]
fn end_when_unsent(stream: &TcpStream) {
    // Without this a peer that reads nothing keeps its connection for ever. A failure to set it has no other effect.
    let _ = rustix::net::sockopt::set_tcp_user_timeout(stream, UNSENT.as_millis() as u32);
}

#[cfg(not(target_os = "linux"))]
fn end_when_unsent(_: &TcpStream) {}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection's task panicked");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_has_gone_is_no_shortage() {
        for (number, is) in [(Errno::MFILE, true), (Errno::NOBUFS, true), (Errno::CONNABORTED, false)] {
            assert_eq!(
                is_shortage(&std::io::Error::from_raw_os_error(number.raw_os_error())),
                is,
                "{number}"
            );
        }
    }
}
