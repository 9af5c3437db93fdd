//! `wec-analytics` as a program of its own: its options, and its run from start to end.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use tokio_util::sync::CancellationToken;
use wec_board::{BoardUrl, NodeInfo, NodeKind};
use wec_startup::Paper;

use crate::ingest::LogPlace;
use crate::service::{Analytics, Config};
use crate::summary::summary_table;
use crate::token::Token;

/// Takes results, logs them, aggregates them and shows them live.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Where the page and the web API listen
    #[arg(long, env = "WEC_ANALYTICS_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:8089")]
    listen: SocketAddr,
    /// Where results are taken by gRPC
    #[arg(long, env = "WEC_ANALYTICS_GRPC_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:8090")]
    grpc_listen: SocketAddr,
    /// Folder of the logs, one file for each run
    #[arg(long, env = "WEC_LOG_DIR", value_name = "DIR", default_value = "results")]
    log_dir: PathBuf,
    /// The board: `local`, or `etcd://HOST:PORT[,HOST:PORT…]`
    #[arg(long, env = "WEC_BOARD", value_name = "URL", default_value = "local")]
    board: BoardUrl,
    /// The session that the page shows and changes
    #[arg(long, env = "WEC_SESSION", value_name = "ID", default_value = "default")]
    session: String,
    /// A further host name by which the page may be asked for; may be repeated
    #[arg(long = "allow-host", env = "WEC_PAGE_HOSTS", value_name = "NAME", value_delimiter = ',')]
    allow_hosts: Vec<String>,
    /// What lets people and requesters in; needed beyond loopback. The command line can be read by others on this
    /// machine: prefer the environment
    #[arg(long, env = "WEC_TOKEN", value_name = "SECRET", hide_env_values = true, value_parser = parse_token)]
    token: Option<Token>,
}

/// Runs the service until `stop`, and prints the summary of the latest run.
///
/// # Errors
/// When it cannot start.
pub async fn run(options: Options, stop: CancellationToken) -> anyhow::Result<()> {
    let board = options.board.open().await?;
    std::fs::create_dir_all(&options.log_dir)
        .with_context(|| format!("cannot make the folder of logs {}", options.log_dir.display()))?;
    let config = Config {
        log: LogPlace::Folder(options.log_dir),
        web: Some(options.listen),
        grpc: Some(options.grpc_listen),
        session: options.session,
        token: options.token,
        allowed_hosts: options.allow_hosts,
    };
    let analytics = Analytics::start(config, board.clone()).await?;
    let node = NodeInfo {
        id: format!("analytics-{:08x}", rand::random::<u32>()),
        name: std::env::var("HOSTNAME").unwrap_or_else(|_| "analytics".to_owned()),
        kind: NodeKind::Analytics,
        workers: 0,
    };
    let membership = board.join(node).await?;
    if let (Some(web), Some(grpc)) = (analytics.web_addr(), analytics.grpc_addr()) {
        println!("page on http://{web}/, results by gRPC on {grpc}");
    }
    stop.cancelled().await;
    let snapshot = analytics.finish().await;
    membership.leave().await;
    board.close().await;
    if !snapshot.run.id.is_empty() {
        print!("{}", summary_table(&snapshot, Paper::stdout()));
    }
    Ok(())
}

fn parse_token(text: &str) -> Result<Token, String> {
    Token::new(text).ok_or_else(|| "an empty token lets nobody in: leave it out or set one".to_owned())
}
