//! `Client`: a connection to a node's statistics.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use wec_pki::Tls;

use crate::config::with_port;
use crate::wire::{Reply, Scope};

/// Time limit of a connection, from its begin to the end of the handshakes.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// Bytes of a reply: ten thousand nodes.
const LONGEST_REPLY: usize = 4 << 20;

/// A stream of bytes, with TLS or without.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection to a node's statistics.
pub struct Client {
    socket: WebSocketStream<Box<dyn Io>>,
    address: String,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is not valid.
    #[error("{0}")]
    Address(String),
    /// There is no connection.
    #[error("cannot connect to node statistics at {address}: {reason}")]
    Connect {
        /// As given.
        address: String,
        /// The error.
        reason: String,
    },
    /// The connection ended.
    #[error("the connection to node statistics at {address} ended: {reason}")]
    Ended {
        /// As given.
        address: String,
        /// The error.
        reason: String,
    },
    /// The reply is not one.
    #[error("{address} sent a message that is no reply of node statistics: {reason}")]
    NoReply {
        /// As given.
        address: String,
        /// The error.
        reason: String,
    },
}

impl Client {
    /// Connects to HOST or HOST:PORT, with TLS if there is some.
    ///
    /// # Errors
    /// When the address is not valid, or nothing answers there in time.
    pub async fn connect(address: &str, tls: Option<&Tls>) -> Result<Self, ClientError> {
        let address = with_port(address).map_err(ClientError::Address)?;
        let failed = |reason: String| ClientError::Connect { address: address.clone(), reason };
        let connecting = async {
            let stream = TcpStream::connect(&address).await.map_err(|error| error.to_string())?;
            // A failure only makes it slower.
            let _ = stream.set_nodelay(true);
            let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
            let stream: Box<dyn Io> = match tls {
                None => Box::new(stream),
                Some(tls) => Box::new(tls.connect(host, stream).await?),
            };
            let request =
                format!("ws://{address}/").into_client_request().map_err(|error| error.to_string())?;
            let config = WebSocketConfig::default()
                .max_message_size(Some(LONGEST_REPLY))
                .max_frame_size(Some(LONGEST_REPLY));
            let (socket, _) =
                client_async_with_config(request, stream, Some(config)).await.map_err(|error| {
                    // A server refuses a client's certificate after the handshake.
                    let error = refused(&error);
                    tls.map_or(error.clone(), |tls| tls.explained(&error))
                })?;
            Ok(socket)
        };
        match timeout(CONNECT_WITHIN, connecting).await {
            Ok(Ok(socket)) => Ok(Self { socket, address }),
            Ok(Err(reason)) => Err(failed(reason)),
            Err(_) => Err(failed(format!("no answer within {} s", CONNECT_WITHIN.as_secs()))),
        }
    }

    /// Asks once.
    ///
    /// # Errors
    /// When the connection ends, or the answer is no reply.
    pub async fn ask(&mut self, scope: Scope) -> Result<Reply, ClientError> {
        self.send(scope.once()).await?;
        self.next().await
    }

    /// Subscribes: [`next`](Self::next) returns a reply at once, and one after each interval.
    ///
    /// # Errors
    /// When the connection ends.
    pub async fn subscribe(&mut self, scope: Scope, interval: Duration) -> Result<(), ClientError> {
        self.send(scope.every(interval)).await
    }

    /// The next reply.
    ///
    /// # Errors
    /// When the connection ends, or the message is no reply.
    pub async fn next(&mut self) -> Result<Reply, ClientError> {
        loop {
            let text = match self.socket.next().await {
                None => return Err(self.ended("it was closed")),
                Some(Err(error)) => return Err(self.ended(&error.to_string())),
                Some(Ok(Message::Text(text))) => text,
                Some(Ok(Message::Close(why))) => {
                    let why = why.map(|why| why.reason.to_string()).filter(|why| !why.is_empty());
                    return Err(self.ended(why.as_deref().unwrap_or("the node closed it")));
                }
                // Pings are answered by the library.
                Some(Ok(_)) => continue,
            };
            return serde_json::from_str(&text).map_err(|error| ClientError::NoReply {
                address: self.address.clone(),
                reason: error.to_string(),
            });
        }
    }

    async fn send(&mut self, text: String) -> Result<(), ClientError> {
        let sent = self.socket.send(Message::text(text)).await;
        sent.map_err(|error| self.ended(&error.to_string()))
    }

    fn ended(&self, reason: &str) -> ClientError {
        ClientError::Ended { address: self.address.clone(), reason: reason.to_owned() }
    }
}

/// Why the handshake failed, with the server's text if it sent one.
fn refused(error: &tungstenite::Error) -> String {
    match error {
        tungstenite::Error::Http(answer) => {
            let text = answer.body().as_deref().map(|text| String::from_utf8_lossy(text).trim().to_owned());
            format!("it answered {}: {}", answer.status(), text.unwrap_or_default())
        }
        error => error.to_string(),
    }
}
