//! `Server`: answers clients on a listener of its own.

mod http;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use std::{future, io};

use futures_util::{SinkExt as _, StreamExt as _};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use wec_board::{Board, NodeInfo};
use wec_listen::{Connections, Rules};
use wec_pki::{Clients, Tls, TlsError};

use crate::client::Io;
use crate::config::{Config, Mode};
use crate::peers::Peers;
use crate::sample::Sampler;
use crate::wire::{NodeStats, Reply, Request, Scope};

/// The listener's name.
const WHAT: &str = "node statistics";
/// A request has a few dozen bytes.
const LONGEST_REQUEST: usize = 4 << 10;
/// Bytes that the kernel holds for a client that does not read: the less, the newer is what it gets next.
const UNREAD: usize = 32 << 10;
/// How often a client is pinged.
const PING_EVERY: Duration = Duration::from_secs(30);
/// A client that sends nothing for this long, not even an answer to a ping, is gone.
const SILENT: Duration = Duration::from_secs(100);
/// Time limit of sending one message.
const SEND_WITHIN: Duration = Duration::from_secs(30);

/// Why node statistics are not served.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It cannot listen.
    #[error(
        "cannot listen on {address} for node statistics: {source}; name another address or free this one"
    )]
    Listen {
        /// As configured.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// The files for TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Where to serve.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The address of the listener.
    pub listen: SocketAddr,
    /// The address at which other nodes reach it, HOST:PORT; none for that of the listener.
    pub advertised: Option<String>,
    /// TLS with clients and other nodes; all of them need a certificate.
    pub tls: Option<Tls>,
}

/// The running listener. It ends when this is dropped, or with [`Server::finish`].
#[derive(Debug)]
pub struct Server {
    node: Arc<Node>,
    address: SocketAddr,
    secured: bool,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Node {
    /// This node's address, as others know it.
    address: String,
    mode: Mode,
    sampler: Sampler,
    peers: Peers,
    /// Follows the board.
    following: OnceLock<AbortOnDropHandle<()>>,
}

impl Server {
    /// Listens. Until [`list`](Self::list) or [`follow`](Self::follow) this node is the only one.
    ///
    /// # Errors
    /// When it cannot listen on the address.
    pub async fn start(options: ServerOptions, mode: Mode, sampler: Sampler) -> Result<Self, StartError> {
        let ServerOptions { listen, advertised, tls } = options;
        let acceptor =
            tls.as_ref().map(|tls| tls.acceptor(WHAT, Clients::Services, "http/1.1")).transpose()?;
        let failed = |source| StartError::Listen { address: listen, source };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let node = Arc::new(Node {
            address: advertised.unwrap_or_else(|| own_address(address)),
            mode,
            sampler,
            peers: Peers::new(tls),
            following: OnceLock::new(),
        });
        let secured = acceptor.is_some();
        let connections = Connections::new(Rules::control(WHAT));
        let stop = CancellationToken::new();
        let (shared, stopped) = (Arc::clone(&node), stop.clone());
        let serving =
            wec_listen::accept(listener, connections, stop.clone(), move |stream, source, connection| {
                let (node, stop, acceptor) = (Arc::clone(&shared), stopped.clone(), acceptor.clone());
                async move {
                    // Both only make it slower, or what a slow client gets older.
                    let _ = stream.set_nodelay(true);
                    let _ = bound_unread(&stream);
                    let stream: Box<dyn Io> = match acceptor {
                        None => Box::new(stream),
                        Some(acceptor) => match acceptor.accept(stream).await {
                            Ok(stream) => Box::new(stream),
                            Err(error) => return tracing::warn!(%source, "{WHAT}: no TLS: {error}"),
                        },
                    };
                    if let Some(socket) = http::upgraded(stream, source, &connection, &stop).await {
                        let _busy = connection.busy();
                        let socket = TokioIo::new(socket);
                        let config = WebSocketConfig::default()
                            .max_message_size(Some(LONGEST_REQUEST))
                            .max_frame_size(Some(LONGEST_REQUEST));
                        let socket =
                            WebSocketStream::from_raw_socket(socket, Role::Server, Some(config)).await;
                        if let Err(error) = Conversation::new(socket, node).run(&stop).await {
                            tracing::debug!(%source, %error, "a client of node statistics is gone");
                        }
                    }
                }
            });
        Ok(Self { node, address, secured, stop, serving: tokio::spawn(serving) })
    }

    /// The address of the listener.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of the websocket.
    pub fn url(&self) -> String {
        format!("{}://{}/", if self.secured { "wss" } else { "ws" }, self.address)
    }

    /// This node's address, as others know it: HOST:PORT.
    pub fn advertised(&self) -> &str {
        &self.node.address
    }

    /// Makes the nodes of a configuration the other ones.
    pub fn list(&self, config: &Config) {
        self.node.set_peers(config.nodes.iter().cloned());
    }

    /// Makes the nodes on a board the other ones, from now on.
    pub fn follow(&self, board: &Board) {
        let mut nodes = board.nodes();
        let node = Arc::downgrade(&self.node);
        let following = tokio::spawn(async move {
            loop {
                let Some(node) = node.upgrade() else { return };
                let of = |node: &NodeInfo| node.stats.clone();
                let addresses: Vec<_> = nodes.borrow_and_update().iter().filter_map(of).collect();
                node.set_peers(addresses);
                drop(node);
                if nodes.changed().await.is_err() {
                    return;
                }
            }
        });
        // A second board would be an error of the caller; the first stays.
        let _ = self.node.following.set(AbortOnDropHandle::new(following));
    }

    /// The figures of all nodes, without a connection.
    pub async fn all(&self) -> Reply {
        self.node.reply(Scope::AllNodes).await
    }

    /// Ends the connections and waits for that.
    pub async fn finish(mut self) {
        self.stop.cancel();
        // The panic hook has reported a panic of the task.
        let _ = (&mut self.serving).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Node {
    fn set_peers(&self, addresses: impl IntoIterator<Item = String>) {
        self.peers.set(addresses.into_iter().filter(|address| *address != self.address), self.mode);
    }

    async fn reply(&self, scope: Scope) -> Reply {
        let own = async { NodeStats::up(&self.address, &self.sampler.figures().await) };
        let (own, others) = match scope {
            Scope::ThisNode => (own.await, Vec::new()),
            Scope::AllNodes => tokio::join!(own, self.peers.figures(self.mode)),
        };
        let nodes = others.into_iter().chain([own]).map(|stats| (stats.address.clone(), stats)).collect();
        Reply { host: self.address.clone(), nodes, error: String::new() }
    }
}

/// The address by which others reach a listener: the host's name, if it listens on all addresses.
fn own_address(bound: SocketAddr) -> String {
    if bound.ip().is_unspecified() {
        format!("{}:{}", wec_startup::node_name(None), bound.port())
    } else {
        bound.to_string()
    }
}

fn bound_unread(stream: &TcpStream) -> io::Result<()> {
    Ok(rustix::net::sockopt::set_socket_send_buffer_size(stream, UNREAD)?)
}

/// The messages with one client.
struct Conversation<S> {
    socket: WebSocketStream<S>,
    node: Arc<Node>,
    /// The subscription.
    pushing: Option<(Scope, Interval)>,
}

impl<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin> Conversation<S> {
    fn new(socket: WebSocketStream<S>, node: Arc<Node>) -> Self {
        Self { socket, node, pushing: None }
    }

    /// Answers until the client leaves or `stop`. While a message is being sent nothing else happens: intervals that
    /// pass meanwhile are left out, so a slow client gets the latest figures only.
    async fn run(mut self, stop: &CancellationToken) -> Result<(), tungstenite::Error> {
        let mut pings = interval(PING_EVERY);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        pings.reset();
        let mut heard = Instant::now();
        loop {
            let message = tokio::select! {
                biased;
                () = stop.cancelled() => return self.close().await,
                message = self.socket.next() => match message {
                    Some(message) => message?,
                    None => return Ok(()),
                },
                scope = due(&mut self.pushing) => {
                    let reply = self.node.reply(scope).await;
                    self.send(Message::text(reply.json())).await?;
                    continue;
                }
                _ = pings.tick() => {
                    if heard.elapsed() > SILENT {
                        return Ok(());
                    }
                    self.send(Message::Ping(bytes::Bytes::new())).await?;
                    continue;
                }
            };
            heard = Instant::now();
            match message {
                Message::Text(text) => self.answer(text.as_bytes()).await?,
                Message::Binary(bytes) => self.answer(&bytes).await?,
                // Pings and the close are answered by the library.
                Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => {}
            }
        }
    }

    async fn answer(&mut self, message: &[u8]) -> Result<(), tungstenite::Error> {
        let reply = match Request::parse(message) {
            Ok(Request::Discover) => {
                self.node.peers.retry();
                return Ok(());
            }
            Ok(Request::Once(scope)) => self.node.reply(scope).await,
            Ok(Request::Every(scope, every)) => {
                // The first tick is now.
                let mut ticks = interval(every);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
                self.pushing = Some((scope, ticks));
                return Ok(());
            }
            Ok(Request::End) => {
                self.pushing = None;
                return Ok(());
            }
            Err(error) => Reply::refusal(&self.node.address, error),
        };
        self.send(Message::text(reply.json())).await
    }

    async fn send(&mut self, message: Message) -> Result<(), tungstenite::Error> {
        let sent = timeout(SEND_WITHIN, self.socket.send(message)).await;
        sent.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
    }

    async fn close(&mut self) -> Result<(), tungstenite::Error> {
        let frame = CloseFrame { code: CloseCode::Away, reason: "the node stops".into() };
        self.socket.close(Some(frame)).await
    }
}

/// The scope of the subscription when its next reply is due; never without one.
async fn due(pushing: &mut Option<(Scope, Interval)>) -> Scope {
    match pushing {
        Some((scope, ticks)) => {
            ticks.tick().await;
            *scope
        }
        None => future::pending().await,
    }
}
