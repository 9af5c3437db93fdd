//! `wec node watch`: a live table of all nodes, and the check with many requests at once.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use wec_node_stats::{Checked, Client, ClientError, LoadOptions, Reply, Scope, check};
use wec_pki::TlsOptions;
use wec_startup::{Exit, Stop, TextStyle, report, say};

/// Pause before a lost connection is opened again.
const AGAIN: Duration = Duration::from_secs(1);
/// Requests of a check without --number.
const NUMBER: u64 = 200;

/// The heading of its flags.
const WATCHING: &str = "Watching";

/// Options of `wec node watch`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Address of any node's statistics
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7070", help_heading = WATCHING)]
    stats: String,
    /// Time between two updates, seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = interval, help_heading = WATCHING)]
    every: f64,
    /// Show them once
    #[arg(long, conflicts_with_all = ["concurrent", "number"], help_heading = WATCHING)]
    once: bool,
    /// Print each reply as a line of JSON
    #[arg(long, conflicts_with_all = ["concurrent", "number"], help_heading = WATCHING)]
    json: bool,
    /// Check: send requests over this many connections at once, and count what is missing, failed or invalid
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=200), help_heading = WATCHING)]
    concurrent: Option<u16>,
    /// Check: number of requests [default: 200]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000_000), help_heading = WATCHING)]
    number: Option<u64>,
    /// Check: number of nodes that each reply must have
    #[arg(long, value_name = "N", help_heading = WATCHING)]
    nodes: Option<usize>,
    #[command(flatten)]
    tls: TlsOptions,
}

fn interval(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.1..=3600.0).contains(seconds));
    seconds.ok_or_else(|| "is not a number of seconds from 0.1 to 3600".to_owned())
}

pub(crate) async fn watch(options: Options, stop: Stop) -> anyhow::Result<Exit> {
    if options.concurrent.is_some() || options.number.is_some() {
        return check_at(options, &stop).await;
    }
    if options.nodes.is_some() {
        say("error: --nodes: it belongs to the check: give --concurrent or --number, too");
        return Ok(Exit::Usage);
    }
    // The first connection must succeed; later ones are opened again.
    let tls = options.tls.load()?;
    let mut client = Client::connect(&options.stats, tls.as_ref()).await?;
    if options.once {
        show(&client.ask(Scope::AllNodes).await?, options.json, false)?;
        return Ok(Exit::Passed);
    }
    let watching = async {
        loop {
            let error = match follow(&mut client, &options).await {
                Ok(never) => match never {},
                Err(error) => error,
            };
            let Some(ended) = error.downcast_ref::<ClientError>() else { return Err(error) };
            say(format_args!("{ended}; connecting again"));
            client = loop {
                tokio::time::sleep(AGAIN).await;
                if let Ok(client) = Client::connect(&options.stats, tls.as_ref()).await {
                    break client;
                }
            };
        }
    };
    match stop.finish.run_until_cancelled(watching).await {
        Some(ended) => ended,
        None => Ok(Exit::Passed),
    }
}

async fn follow(client: &mut Client, options: &Options) -> anyhow::Result<std::convert::Infallible> {
    client.subscribe(Scope::AllNodes, Duration::from_secs_f64(options.every)).await?;
    loop {
        show(&client.next().await?, options.json, std::io::stdout().is_terminal())?;
    }
}

fn show(reply: &Reply, as_json: bool, redraws: bool) -> anyhow::Result<()> {
    if as_json {
        return report(serde_json::to_string(reply)?);
    }
    if redraws {
        // To the top left corner, and everything after it deleted. The table itself has no control characters.
        let _ = std::io::stdout().write_all(b"\x1b[H\x1b[2J");
    }
    report(table(reply, TextStyle::stdout()))
}

/// The nodes as text.
fn table(reply: &Reply, style: TextStyle) -> String {
    if !reply.error.is_empty() {
        return format!("{}: {}", reply.host, reply.error);
    }
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(["node", "CPU", "memory", "of", "disk", "of", ""]);
    for node in reply.nodes.values() {
        let address = wec_text::visible(&node.address).into_owned();
        if node.error.is_empty() {
            table.add_row([
                address,
                percent(node.cpu_used),
                percent(node.memory_used_percent),
                gib(node.memory_total),
                percent(node.disk_used_percent),
                gib(node.disk_total),
                String::new(),
            ]);
        } else {
            let none = || "-".to_owned();
            let error = wec_text::visible(&node.error);
            table.add_row([address, none(), none(), none(), none(), none(), format!("down: {error}")]);
        }
    }
    for column in table.column_iter_mut().skip(1).take(5) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let lines = table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>();
    let up = reply.nodes.values().filter(|node| node.error.is_empty()).count();
    let count =
        format!("{up} of {} nodes answer; asked at {}", reply.nodes.len(), wec_text::visible(&reply.host));
    format!("{}\n{}", lines.join("\n"), style.dim(&count))
}

fn percent(value: f64) -> String {
    format!("{value:.1} %")
}

fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
}

async fn check_at(options: Options, stop: &Stop) -> anyhow::Result<Exit> {
    let load = LoadOptions {
        address: options.stats,
        concurrent: options.concurrent.unwrap_or(1).into(),
        number: options.number.unwrap_or(NUMBER),
        within: None,
        nodes: options.nodes,
        tls: options.tls.load()?,
    };
    let checked = stop.unless_stopped(check(load)).await?;
    report(summary(&checked))?;
    Ok(if checked.is_good() { Exit::Passed } else { Exit::Failed })
}

fn summary(checked: &Checked) -> String {
    let Checked { requests, responses, missing, failed, invalid, took, reason, .. } = checked;
    let mut text = format!(
        "{requests} requests, {responses} replies in {:.1} s: {missing} missing, {failed} failed, {invalid} invalid",
        took.as_secs_f64()
    );
    if let (Some(median), Some(p99)) = (checked.quantile(0.5), checked.quantile(0.99)) {
        text += &format!(
            "\n{:.0} replies/s, p50 {:.1} ms, p99 {:.1} ms",
            checked.per_second(),
            median.as_secs_f64() * 1e3,
            p99.as_secs_f64() * 1e3
        );
    }
    if let Some(reason) = reason {
        text += &format!("\none of them: {}", wec_text::visible(reason));
    }
    text
}

#[cfg(test)]
mod tests {
    use wec_node_stats::NodeStats;

    use super::*;

    #[test]
    fn a_node_that_is_down_has_a_row_with_its_reason() {
        let up = NodeStats {
            address: "a:7070".to_owned(),
            cpu_used: 12.345,
            memory_total: 8 << 30,
            memory_used_percent: 50.0,
            ..NodeStats::default()
        };
        let down = NodeStats {
            address: "b:7070".to_owned(),
            error: "refused\u{1b}[2J".to_owned(),
            ..NodeStats::default()
        };
        let nodes = [up, down].map(|node| (node.address.clone(), node)).into();
        let reply = Reply { host: "a:7070".to_owned(), nodes, error: String::new() };
        let shown = table(&reply, TextStyle::default());
        for expected in
            ["12.3 %", "50.0 %", "8.0 GiB", "down: refused", "1 of 2 nodes answer; asked at a:7070"]
        {
            assert!(shown.contains(expected), "{expected}: {shown}");
        }
        assert!(!shown.contains('\u{1b}'), "{shown:?}");
    }
}
