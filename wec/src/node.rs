//! `wec node`: the machines that sessions can use.

mod manage;

use wec_board::BoardUrl;
use wec_startup::{Exit, Undisclosed};

/// Options of `wec node`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    action: Action,
    /// A page of the board; its token, if required, is read from WEC_TOKEN [default: http://127.0.0.1:8089]
    #[arg(long, value_name = "URL", env = "WEC_AT", hide_env_values = true, global = true)]
    at: Option<String>,
    /// Use the board instead of a page: etcd://HOST:PORT or sqlite://PATH
    #[arg(long, value_name = "URL", global = true, value_parser = Undisclosed(BoardUrl::parse))]
    board: Option<BoardUrl>,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    #[command(flatten)]
    Manage(manage::Action),
}

pub(crate) async fn node(options: Options) -> anyhow::Result<Exit> {
    let Options { action, at, board } = options;
    match action {
        Action::Manage(action) => manage::manage(action, at, board).await,
    }
}
