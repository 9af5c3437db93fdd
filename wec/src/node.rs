//! `wec node`: the machines that sessions can use, and the statistics of all nodes.

mod manage;
mod watch;

use wec_board::BoardUrl;
use wec_startup::{Exit, Stop, Undisclosed, say};

/// The heading of the flags that choose the board.
const WHERE: &str = "Which board";

/// Options of `wec node`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    action: Action,
    /// A page of the board; its token, if required, is read from WEC_TOKEN [default: http://127.0.0.1:8089]
    #[arg(long, value_name = "URL", env = "WEC_AT", hide_env_values = true, global = true, help_heading = WHERE)]
    at: Option<String>,
    /// Use the board instead of a page: etcd://HOST:PORT or sqlite://PATH
    #[arg(long, value_name = "URL", global = true, value_parser = Undisclosed(BoardUrl::parse), help_heading = WHERE)]
    board: Option<BoardUrl>,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    #[command(flatten)]
    Manage(manage::Action),
    /// Serve CPU, memory and disks of all nodes over a websocket; --board or WEC_BOARD names the nodes
    Serve(wec_node_stats::ServeOptions),
    /// Show CPU, memory and disks of all nodes; or check that many requests at once are answered
    Watch(watch::Options),
}

pub(crate) async fn node(options: Options, stop: Stop) -> anyhow::Result<Exit> {
    let Options { action, at, board } = options;
    match action {
        Action::Manage(action) => manage::manage(action, at, board).await,
        Action::Serve(options) => {
            let board = match (board, std::env::var("WEC_BOARD")) {
                (None, Ok(url)) if !url.is_empty() => match BoardUrl::parse(&url) {
                    Ok(board) => Some(board),
                    Err(mistake) => {
                        say(format_args!("error: WEC_BOARD: {mistake}"));
                        return Ok(Exit::Usage);
                    }
                },
                (board, _) => board,
            };
            wec_node_stats::serve(options, board, stop.finish.clone()).await.map(|()| Exit::Passed)
        }
        Action::Watch(options) => watch::watch(options, stop).await,
    }
}
