//! Faults that the challenge data asks for, as far as they are the same for several protocols.
//! [`ValidationFault`](wec_store::ValidationFault) lists them.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{sleep, timeout};

/// The longest time for which a CA is kept waiting. Known CAs give up after 5 to 15 s.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Between two octets of an answer that does not end.
const PAUSE: Duration = Duration::from_secs(1);

/// Sends nothing until the client closes the connection, or for [`PATIENCE`].
pub(crate) async fn silence(stream: &mut (impl AsyncRead + Unpin)) {
    let mut received = [0; 256];
    let closed = async { while stream.read(&mut received).await.is_ok_and(|octets| octets > 0) {} };
    // Either way the connection ends.
    let _ = timeout(PATIENCE, closed).await;
}

/// Sends `head`, then an octet each second until the client closes the connection, or for [`PATIENCE`].
pub(crate) async fn drip(stream: &mut (impl AsyncWrite + Unpin), head: &[u8]) {
    let mut rest = head;
    let sending = async {
        while stream.write_all(rest).await.is_ok() {
            rest = b"w";
            sleep(PAUSE).await;
        }
    };
    let _ = timeout(PATIENCE, sending).await;
}
