//! DNS over UDP and TCP (RFC 1035 §4.2, RFC 7766). [`crate::dns`] makes the answers.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use wec_listen::Connection;

use crate::accept::accept;
use crate::answers::Answers;
use crate::config::ListenLimits;
use crate::dns::{Transport, respond};

/// Queries over UDP at a time; more are dropped, which clients of UDP must expect.
const MOST_DATAGRAMS: usize = 4096;
/// Queries are small; the kernel cuts longer datagrams, which are malformed then.
const LARGEST_QUERY: usize = 4096;

/// Both transports on one address; port 0 finds a port that is free for both.
pub(crate) async fn bind(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    const ATTEMPTS: usize = 16;
    let mut attempt = 1;
    loop {
        let udp = UdpSocket::bind(address).await?;
        match TcpListener::bind(udp.local_addr()?).await {
            Ok(tcp) => return Ok((udp, tcp)),
            Err(error) if address.port() != 0 || attempt == ATTEMPTS => return Err(error),
            Err(_) => attempt += 1,
        }
    }
}

/// Serves datagrams until `stop`.
pub(crate) async fn serve_udp(socket: UdpSocket, answers: Arc<Answers>, stop: CancellationToken) {
    let socket = Arc::new(socket);
    let mut under_way = JoinSet::new();
    let mut buffer = vec![0; LARGEST_QUERY];
    let mut stopped = pin!(stop.cancelled());
    loop {
        while under_way.try_join_next().is_some() {}
        let received = tokio::select! {
            biased;
            () = &mut stopped => break,
            received = socket.recv_from(&mut buffer) => received,
        };
        // An error is an ICMP message about an earlier answer: the client has gone.
        let Ok((length, source)) = received else { continue };
        if under_way.len() >= MOST_DATAGRAMS {
            tracing::warn!(%source, "a DNS query was dropped: {MOST_DATAGRAMS} are in progress");
            continue;
        }
        let query = buffer[..length].to_vec();
        let (socket, answers) = (Arc::clone(&socket), Arc::clone(&answers));
        under_way.spawn(async move {
            if let Some(reply) = respond(&answers, &query, source, &Transport::Udp).await
                && let Err(error) = socket.send_to(&reply, source).await
            {
                tracing::debug!(%source, %error, "a DNS answer could not be sent");
            }
        });
    }
    under_way.shutdown().await;
}

/// Serves connections until `stop`.
pub(crate) async fn serve_tcp(
    listener: TcpListener,
    answers: Arc<Answers>,
    limits: ListenLimits,
    stop: CancellationToken,
) {
    accept("DNS over TCP", listener, limits, stop, |stream, source, place| {
        let answers = Arc::clone(&answers);
        async move {
            if let Err(error) = connection(stream, source, &place, &answers, limits).await {
                tracing::debug!(%source, %error, "DNS connection ended early");
            }
        }
    })
    .await;
}

/// Answers queries one after the other (RFC 7766 §6.2.1.1 allows answers in order), each within the time limit.
async fn connection(
    mut stream: TcpStream,
    source: SocketAddr,
    place: &Connection,
    answers: &Answers,
    limits: ListenLimits,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let query = match timeout(limits.request_timeout, read_query(&mut stream)).await {
            Ok(Ok(query)) => query,
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Ok(Err(error)) => return Err(error),
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        };
        let _busy = place.busy();
        let Some(reply) = respond(answers, &query, source, &Transport::Tcp).await else { return Ok(()) };
        let length = u16::try_from(reply.len()).map_err(io::Error::other)?;
        let framed = [&length.to_be_bytes(), reply.as_slice()].concat();
        timeout(limits.request_timeout, stream.write_all(&framed)).await??;
    }
}

/// RFC 1035 §4.2.2: the length in two octets, then the message.
async fn read_query(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut query = vec![0; length.into()];
    stream.read_exact(&mut query).await?;
    Ok(query)
}
