//! `wec-analytics` as its own program: its options, and its run from start to end.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio_util::sync::CancellationToken;
use wec_board::{BOARD_WITHIN, Board, BoardUrl, NodeId, NodeInfo, NodeKind, NodeState, SessionState};
use wec_consumer::ConsumerListener;
use wec_figures::outcome::{broken_thresholds, nothing_succeeded};
use wec_figures::snapshot::Snapshot;
use wec_node_stats::NodeStatsOptions;
use wec_pki::TlsOptions;
use wec_startup::{Access, Exit, Interrupted, TextStyle, Token, Undisclosed, parse_session_id, say, show};

use crate::runs::{ConsumerOptions, LogPlace, Notices};
use crate::service::{Analytics, Config, Finished};
use crate::summary::summary_table;

const LISTENERS: &str = "Listeners";
const SESSION: &str = "Session";

/// Receives results, logs them, aggregates them and shows them live.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Address of the page and the web API
    #[arg(long, env = "WEC_ANALYTICS_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:8089", help_heading = LISTENERS)]
    listen: SocketAddr,
    /// Address for results by gRPC
    #[arg(long, env = "WEC_ANALYTICS_GRPC_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:8090", help_heading = LISTENERS)]
    grpc_listen: SocketAddr,
    /// The board: local, sqlite://PATH on one machine, or etcd://HOST:PORT[,HOST:PORT…]
    #[arg(
        long,
        env = "WEC_BOARD",
        hide_env_values = true,
        value_name = "URL",
        default_value = "local",
        value_parser = Undisclosed(BoardUrl::parse),
        help_heading = SESSION
    )]
    board: BoardUrl,
    /// The session that the page shows and changes
    #[arg(
        long,
        env = "WEC_SESSION",
        value_name = "ID",
        default_value = "default",
        value_parser = parse_session_id,
        help_heading = SESSION
    )]
    session: String,
    /// End when the run has ended or its requesters are gone; needs the board that they use
    #[arg(long, help_heading = SESSION)]
    once: bool,
    /// Folder of the logs, one file for each run
    #[arg(long, env = "WEC_LOG_DIR", value_name = "DIR", default_value = "results", help_heading = "Output")]
    log_dir: PathBuf,
    #[command(flatten)]
    consumers: ConsumerOptions,
    #[command(flatten)]
    consumer: ConsumerListener,
    /// A further host name for requests to the page; may be repeated
    #[arg(long, alias = "allow-host", env = "WEC_PAGE_HOSTS", value_name = "NAME", value_delimiter = ',', help_heading = LISTENERS)]
    page_host: Vec<String>,
    /// Token for people and requesters, required beyond loopback; prefer the environment, because other
    /// users can read the command line
    #[arg(long, env = "WEC_TOKEN", value_name = "SECRET", hide_env_values = true, value_parser = Token::parse, help_heading = LISTENERS)]
    token: Option<Token>,
    /// File of further tokens for people, one per line: NAME:look:SECRET or NAME:steer:SECRET; the log has this name
    /// with each change
    #[arg(long, env = "WEC_TOKENS", value_name = "FILE", help_heading = LISTENERS)]
    tokens: Option<PathBuf>,
    #[command(flatten)]
    node_stats: NodeStatsOptions,
    #[command(flatten)]
    tls: TlsOptions,
}

/// Runs the service until `stop`, or with `--once` until the run is over. Prints the summary of the latest
/// run and ends with its verdict, because only analytics has the results of all requesters.
///
/// # Errors
/// When it cannot start.
pub async fn run(options: Options, stop: CancellationToken) -> anyhow::Result<Exit> {
    if options.once && options.board == BoardUrl::Local {
        say(
            "error: --once: the board shows the end of a run: name the board of its requesters with --board etcd://HOST:PORT",
        );
        return Ok(Exit::Usage);
    }
    options.tls.check_listener("the page", options.listen)?;
    options.tls.check_listener("results", options.grpc_listen)?;
    let tls = options.tls.load()?;
    let holders = options.tokens.as_deref().map(Access::read).transpose().map_err(anyhow::Error::msg)?;
    let holders = holders.unwrap_or_default();
    let opening = options.board.secured(&options.tls)?.open_at_start(BOARD_WITHIN);
    let board = stop.run_until_cancelled(opening).await.ok_or(Interrupted)??;
    wec_startup::private_folder(&options.log_dir)
        .with_context(|| format!("cannot make the folder of logs {}", options.log_dir.display()))?;
    // First, because a run of this process may report to it.
    let consumer = options.consumer.start(&options.consumers.exporters.report_to, &options.log_dir).await?;
    if let Some(consumer) = &consumer {
        show(format_args!("consumer on http://{}/", consumer.address()));
    }
    let listens = (options.listen, options.tls.tls_ca.is_some());
    let notices = Notices::start(&options.consumers.exporters.report_to, listens);
    let stats = options.node_stats.start(&options.tls, tls.as_ref()).await?.map(Arc::new);
    if let Some(stats) = &stats {
        stats.follow(&board);
    }
    let config = Config {
        log: LogPlace::Folder(options.log_dir),
        web: Some(options.listen),
        grpc: Some(options.grpc_listen),
        session: options.session.clone(),
        consumers: ConsumerOptions { notices: notices.clone(), ..options.consumers },
        token: options.token,
        holders,
        allowed_hosts: options.page_host,
        opens_with: None,
        node_stats: stats.clone(),
        tls,
    };
    let analytics = Analytics::start(config, board.clone()).await?;
    let id = format!("analytics-{:08x}", rand::random::<u32>());
    let node = NodeId {
        id,
        name: wec_startup::node_name(None),
        stats: stats.as_ref().map(|stats| stats.advertised().to_owned()),
    };
    let node = NodeInfo {
        session: options.session.clone(),
        ..NodeInfo::new(&node, NodeKind::Analytics, NodeState::Serving)
    };
    let membership = board.join(node).await?;
    if let (Some(web), Some(grpc)) = (analytics.web_addr(), analytics.grpc_addr()) {
        let scheme = if options.tls.tls_ca.is_some() { "https" } else { "http" };
        show(format_args!("page on {scheme}://{web}/, results by gRPC on {grpc}"));
    }
    tokio::select! {
        () = stop.cancelled() => {}
        () = run_over(&analytics, &board, &options.session), if options.once => {}
    }
    let Finished { snapshot, health } = analytics.finish().await;
    if let Some(notices) = notices {
        notices.finish().await;
    }
    if let Some(consumer) = consumer {
        // After the last report of our own run.
        consumer.finish().await;
    }
    membership.leave().await;
    board.close().await;
    if snapshot.run.id.is_empty() {
        return Ok(Exit::Passed);
    }
    let table = summary_table(&snapshot, TextStyle::stdout());
    show(wec_text::printable(table.trim_end_matches('\n')));
    if let Some(error) = health.log_error {
        bail!("the log is not complete, but the summary above is: {error}");
    }
    Ok(verdict(&snapshot))
}

/// How often to check whether the run is over.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Waits until a run of the session has begun and all its requesters have left. They leave after their last
/// result was received.
async fn run_over(analytics: &Analytics, board: &Board, session: &str) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(run) = analytics.run_id() else { continue };
        let shown = board.session(session).borrow().clone();
        let Some(shown) = shown.filter(|shown| shown.value.status.run == run) else { continue };
        let nodes = board.nodes().borrow().clone();
        let lives = |member: &String| nodes.iter().any(|node| node.id == *member);
        if !shown.value.status.members.iter().any(lives) {
            if shown.value.spec.state != SessionState::Stopped {
                say("warning: all requesters are gone, and none of them has ended the run");
            }
            return;
        }
    }
}

/// Whether the run passed.
fn verdict(snapshot: &Snapshot) -> Exit {
    let (broken, nothing) = (broken_thresholds(snapshot), nothing_succeeded(snapshot));
    broken.iter().for_each(say);
    if let Some(nothing) = &nothing {
        say(format_args!("error: {nothing}"));
    }
    if broken.is_empty() && nothing.is_none() { Exit::Passed } else { Exit::Failed }
}
