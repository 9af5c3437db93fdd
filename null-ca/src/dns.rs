//! Questions to a DNS server: over UDP, and over TCP when the answer is too long.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// Time limit of a UDP answer; then the query is sent once more.
const UDP_PATIENCE: Duration = Duration::from_secs(3);

pub(crate) fn question(name: &str, kind: RecordType) -> Result<Message, String> {
    let asked = Name::from_ascii(name).map_err(|error| format!("`{name}`: {error}"))?;
    let mut question = Message::query();
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(asked, kind));
    Ok(question)
}

pub(crate) async fn ask(question: &Message, target: SocketAddr) -> std::io::Result<Message> {
    let wire = question.to_vec().map_err(std::io::Error::other)?;
    let answer = match timeout(UDP_PATIENCE, ask_udp(&wire, question.metadata.id, target)).await {
        Ok(answer) => answer?,
        Err(_) => ask_udp(&wire, question.metadata.id, target).await?,
    };
    if !answer.metadata.truncation {
        return Ok(answer);
    }
    let mut tcp = TcpStream::connect(target).await?;
    let length = u16::try_from(wire.len()).map_err(std::io::Error::other)?;
    tcp.write_all(&[&length.to_be_bytes(), wire.as_slice()].concat()).await?;
    let mut answer = vec![0; usize::from(tcp.read_u16().await?)];
    tcp.read_exact(&mut answer).await?;
    Message::from_vec(&answer).map_err(std::io::Error::other)
}

async fn ask_udp(wire: &[u8], id: u16, target: SocketAddr) -> std::io::Result<Message> {
    let any: SocketAddr = match target {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(target).await?;
    socket.send(wire).await?;
    let mut answer = [0; 4096];
    loop {
        let length = socket.recv(&mut answer).await?;
        let message = Message::from_vec(&answer[..length]).map_err(std::io::Error::other)?;
        if message.metadata.id == id {
            return Ok(message);
        }
    }
}
