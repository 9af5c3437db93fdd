//! How fast node statistics are answered: one node is asked for all, by many clients at once.
//!
//! All nodes are in this process and share one measurement of the machine; every figure of another node crosses
//! loopback. The baseline is the same number of requests for a node alone.

use std::time::Duration;

use wec_node_stats::{Config, LoadOptions, Mode, Sampler, Server, ServerOptions, check};
use wec_startup::{Stop, report};

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Numbers of nodes
    #[arg(long, value_name = "N,N…", value_delimiter = ',', default_value = "1,2,20,200", value_parser = clap::value_parser!(u16).range(1..=500))]
    nodes: Vec<u16>,
    /// Time for each number of nodes, seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Connections, each with one request at a time
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=200))]
    concurrent: u16,
    /// How the figures of other nodes arrive
    #[arg(long, value_enum, default_value_t = Mode::Pull)]
    mode: Mode,
}

pub(crate) async fn run(options: Options, stop: &Stop) -> anyhow::Result<()> {
    report("nodes  replies/s    p50 ms    p99 ms  missing  failed  invalid")?;
    for &nodes in &options.nodes {
        let servers = cluster(nodes, options.mode).await?;
        let load = |number, within| LoadOptions {
            address: servers[0].address().to_string(),
            concurrent: options.concurrent.into(),
            number,
            within,
            nodes: Some(nodes.into()),
            tls: None,
        };
        // Opens the connections between the nodes.
        check(load(u64::from(options.concurrent), None)).await?;
        let measuring = check(load(u64::MAX, Some(Duration::from_secs(options.seconds))));
        let checked = stop.unless_stopped(measuring).await?;
        let ms = |share| checked.quantile(share).unwrap_or_default().as_secs_f64() * 1e3;
        report(format_args!(
            "{nodes:5}  {:9.0}  {:8.2}  {:8.2}  {:7}  {:6}  {:7}",
            checked.per_second(),
            ms(0.5),
            ms(0.99),
            checked.missing,
            checked.failed,
            checked.invalid
        ))?;
        for server in servers {
            server.finish().await;
        }
    }
    Ok(())
}

/// This many nodes on free loopback ports, which know each other.
async fn cluster(nodes: u16, mode: Mode) -> anyhow::Result<Vec<Server>> {
    let sampler = Sampler::start();
    let mut servers = Vec::new();
    for _ in 0..nodes {
        let server = ServerOptions { listen: ([127, 0, 0, 1], 0).into(), advertised: None, tls: None };
        servers.push(Server::start(server, mode, sampler.clone()).await?);
    }
    let config =
        Config { nodes: servers.iter().map(|server| server.advertised().to_owned()).collect(), mode };
    servers.iter().for_each(|server| server.list(&config));
    Ok(servers)
}
