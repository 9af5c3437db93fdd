//! `wec node`: the nodes and the statistics of their machines.

mod watch;

use wec_startup::{Exit, Stop};

/// Options of `wec node`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Serve CPU, memory and disks of all nodes over a websocket
    Serve(wec_node_stats::ServeOptions),
    /// Show CPU, memory and disks of all nodes; or check that many requests at once are answered
    Watch(watch::Options),
}

pub(crate) async fn node(options: Options, stop: Stop) -> anyhow::Result<Exit> {
    match options.action {
        Action::Serve(options) => {
            wec_node_stats::serve(options, stop.finish.clone()).await.map(|()| Exit::Passed)
        }
        Action::Watch(options) => watch::watch(options, stop).await,
    }
}
