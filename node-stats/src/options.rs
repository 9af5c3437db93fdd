//! The options of a process that serves node statistics, and `wec node serve`, which does nothing else.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;
use wec_board::BoardUrl;
use wec_pki::{Tls, TlsOptions};
use wec_startup::show;

use crate::config::{Config, DEFAULT_PORT, Mode, with_port};
use crate::sample::Sampler;
use crate::server::{Server, ServerOptions};

const NODE_STATISTICS: &str = "Node statistics";

/// Options of a process that serves node statistics beside its work.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct NodeStatsOptions {
    /// Serve the statistics of all nodes over a websocket on this address [default: do not]
    #[arg(long, env = "WEC_NODE_STATS", value_name = "ADDR", help_heading = NODE_STATISTICS, hide_short_help = true)]
    node_stats: Option<SocketAddr>,
    /// Address at which other nodes reach --node-stats [default: the same, with the host's name for 0.0.0.0]
    #[arg(long, env = "WEC_NODE_STATS_AT", value_name = "HOST:PORT", requires = "node_stats", value_parser = with_port, help_heading = NODE_STATISTICS, hide_short_help = true)]
    node_stats_at: Option<String>,
}

impl NodeStatsOptions {
    /// Listens, if asked to.
    ///
    /// # Errors
    /// When it cannot listen on the address, or would be reached by others without TLS.
    pub async fn start(&self, options: &TlsOptions, tls: Option<&Tls>) -> anyhow::Result<Option<Server>> {
        let Some(listen) = self.node_stats else { return Ok(None) };
        options.check_listener("node statistics", listen)?;
        let server = ServerOptions { listen, advertised: self.node_stats_at.clone(), tls: tls.cloned() };
        let server = Server::start(server, Mode::Pull, Sampler::start()).await?;
        tracing::info!("node statistics on {}", server.url());
        Ok(Some(server))
    }
}

/// Options of `wec node serve`.
#[derive(Clone, Debug, clap::Args)]
pub struct ServeOptions {
    /// JSON file with the nodes and the mode: {"nodes": ["HOST:PORT"], "mode": "pull"}
    #[arg(long, value_name = "FILE", help_heading = NODE_STATISTICS)]
    config: Option<PathBuf>,
    /// Address of the websocket
    #[arg(long, value_name = "ADDR", default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT)), help_heading = NODE_STATISTICS)]
    listen: SocketAddr,
    /// Address at which other nodes reach this one [default: that of --listen, with the host's name for 0.0.0.0]
    #[arg(long, value_name = "HOST:PORT", value_parser = with_port, help_heading = NODE_STATISTICS)]
    known_as: Option<String>,
    #[command(flatten)]
    tls: TlsOptions,
}

/// Serves node statistics until `stop`. The nodes are those of the configuration, or else of the board.
///
/// # Errors
/// When the configuration or the board cannot be read, or it cannot listen.
pub async fn serve(
    options: ServeOptions,
    board: Option<BoardUrl>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let config = options.config.as_deref().map(Config::read).transpose()?;
    let mode = config.as_ref().map(|config| config.mode).unwrap_or_default();
    let board = match board.filter(|_| config.is_none()) {
        None => None,
        Some(board) => Some(board.secured(&options.tls)?.open().await.context("node statistics")?),
    };
    options.tls.check_listener("node statistics", options.listen)?;
    let server =
        ServerOptions { listen: options.listen, advertised: options.known_as, tls: options.tls.load()? };
    let server = Server::start(server, mode, Sampler::start()).await?;
    if let Some(config) = &config {
        if !config.nodes.iter().any(|node| node == server.advertised()) {
            tracing::warn!(
                "the configuration does not name this node, {}: give the address in it with --known-as",
                server.advertised()
            );
        }
        server.list(config);
    }
    if let Some(board) = &board {
        server.follow(board);
    }
    show(format_args!("node statistics of {} on {}", server.advertised(), server.url()));
    stop.cancelled().await;
    server.finish().await;
    if let Some(board) = board {
        board.close().await;
    }
    Ok(())
}
