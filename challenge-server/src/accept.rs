//! The accept loop of every TCP listener: bounded, and the owner of its connections.

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// A connection may finish what it is doing for this long after the stop.
const GRACE: Duration = Duration::from_millis(500);

/// Serves connections until `stop`, at most `most` at a time: further ones wait in the kernel's queue.
pub(crate) async fn accept<Serving>(
    listener: TcpListener,
    most: usize,
    stop: CancellationToken,
    serve: impl Fn(TcpStream, SocketAddr) -> Serving,
) where
    Serving: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    let mut stopped = pin!(stop.cancelled());
    loop {
        // Ended connections are reaped here and not awaited, or each would wake this task for nothing.
        while let Some(ended) = connections.try_join_next() {
            report(ended);
        }
        let full = connections.len() >= most;
        tokio::select! {
            biased;
            () = &mut stopped => break,
            Some(ended) = connections.join_next(), if full => report(ended),
            accepted = listener.accept(), if !full => match accepted {
                Ok((stream, source)) => {
                    connections.spawn(serve(stream, source));
                }
                Err(error) => {
                    // Out of file descriptors, mostly: give connections time to end.
                    tracing::warn!(%error, "could not accept a connection");
                    sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
    drop(listener);
    let drained = timeout(GRACE, async {
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    });
    if drained.await.is_err() {
        connections.shutdown().await;
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection's task panicked");
    }
}
