//! Lists, adds, activates, deactivates and removes nodes.

use std::fmt::Write as _;

use anyhow::{Context as _, anyhow};
use comfy_table::{Table, presets};
use hyper::Method;
use serde_json::{Value, json};
use wec_analytics::plans::{self, PlanRefusal};
use wec_analytics::{AgentView, Agents};
use wec_board::BoardUrl;
use wec_startup::{Exit, report};

use crate::session::{Mistaken, Way, at, concluded, escaped};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Action {
    /// List the nodes: the machines whose agents have registered, and reserved places
    List {
        /// Print the list as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show a node and its parts in sessions
    Show {
        /// Its name
        name: String,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Reserve a place for a machine that is expected: it counts for the quorum
    Add {
        /// The name that its agent will have
        name: String,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Allow sessions to use a node
    Activate {
        /// Its name
        name: String,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Exclude a node from new sessions; those that it runs continue
    Deactivate {
        /// Its name
        name: String,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove a node whose agent is not live
    Remove {
        /// Its name
        #[arg(required_unless_present = "gone")]
        name: Option<String>,
        /// All nodes that are gone and not expected, such as containers and pods that were replaced
        #[arg(long, conflicts_with = "name")]
        gone: bool,
        /// Print what was removed as JSON
        #[arg(long)]
        json: bool,
    },
}

pub(super) async fn manage(
    action: Action,
    page: Option<String>,
    board: Option<BoardUrl>,
) -> anyhow::Result<Exit> {
    let way = match Way::open(page, board).await? {
        Ok(way) => way,
        Err(usage) => return Ok(usage),
    };
    let outcome = act(&way, action).await;
    way.close().await;
    concluded(outcome)
}

async fn act(way: &Way, action: Action) -> anyhow::Result<()> {
    match action {
        Action::List { json } => list(&way.nodes().await?.nodes, json),
        Action::Show { name, json } => {
            let node = way.node(&name).await?;
            told(&node, json, &described(&node))
        }
        Action::Add { name, json } => {
            told(&way.add(&name).await?, json, &format!("node {name}: its place is reserved"))
        }
        Action::Activate { name, json } => {
            told(&way.activate(&name, true).await?, json, &format!("node {name}: sessions may use it"))
        }
        Action::Deactivate { name, json } => told(
            &way.activate(&name, false).await?,
            json,
            &format!("node {name}: sessions may not use it; those that it runs continue"),
        ),
        Action::Remove { name: Some(name), json, .. } => {
            way.remove(&name).await?;
            if json {
                return report(json!({ "deleted": name }));
            }
            report(format_args!("node {name} is forgotten"))
        }
        Action::Remove { name: None, json, .. } => remove_gone(way, json).await,
    }
}

/// Removes all nodes that are gone and not expected.
async fn remove_gone(way: &Way, as_json: bool) -> anyhow::Result<()> {
    let nodes = way.nodes().await?.nodes;
    let names: Vec<_> = nodes.into_iter().filter(|node| state(node) == GONE).map(|node| node.name).collect();
    for name in &names {
        way.remove(name).await?;
    }
    match names.as_slice() {
        _ if as_json => report(json!({ "deleted": names })),
        [] => report("no node is gone"),
        _ => report(format_args!("forgotten: {}", names.join(", "))),
    }
}

fn told(node: &AgentView, as_json: bool, text: &str) -> anyhow::Result<()> {
    if as_json {
        return report(serde_json::to_string_pretty(node).context("the node as JSON")?);
    }
    report(text)
}

/// The state of a node whose agent is not live, and for which no place is reserved.
const GONE: &str = "gone";

fn state(node: &AgentView) -> &'static str {
    match node {
        AgentView { reserved: true, .. } => "expected",
        AgentView { live: false, expected: true, .. } => "gone, expected",
        AgentView { live: false, .. } => GONE,
        AgentView { activated: false, .. } => "deactivated",
        AgentView { draining: true, .. } => "draining",
        _ => "live",
    }
}

/// `120 chains/s, 480 requests/s, 1000 workers`; empty if it was never measured.
fn strength(node: &AgentView) -> String {
    let shown = |strength: &wec_board::Strength| {
        let per_s = |thousandths: u64| thousandths as f64 / 1_000.0;
        let (chains, requests) = (per_s(strength.chains), per_s(strength.requests));
        format!("{chains:.0} chains/s, {requests:.0} requests/s, {} workers", strength.workers)
    };
    node.strength.as_ref().map(shown).unwrap_or_default()
}

fn labels(node: &AgentView) -> String {
    let labels = node.labels.iter().map(|(key, value)| format!("{key}={value}"));
    labels.collect::<Vec<_>>().join(", ")
}

fn list(nodes: &[AgentView], as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return report(serde_json::to_string_pretty(nodes).context("the nodes as JSON")?);
    }
    if nodes.is_empty() {
        return report("There is no node: wec agent --board URL registers this machine.");
    }
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["node", "state", "group", "labels", "version", "can do", "sessions"]);
    for node in nodes {
        let sessions = node.sessions.iter().map(|(id, part)| format!("{id} {}", part.shown_state()));
        table.add_row([
            node.name.clone(),
            state(node).to_owned(),
            wec_text::visible(&node.group).into_owned(),
            wec_text::visible(&labels(node)).into_owned(),
            wec_text::visible(&node.program).into_owned(),
            strength(node),
            sessions.collect::<Vec<_>>().join(", "),
        ]);
    }
    report(table.trim_fmt())
}

fn described(node: &AgentView) -> String {
    let mut text = format!("node {}: {}", node.name, state(node));
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            // Writing to a String cannot fail.
            let _ = write!(text, "\n{name} {}", wec_text::visible(value));
        }
    };
    line("group", &node.group);
    line("labels", &labels(node));
    line("version", &node.program);
    line("since", &node.since_unix_ns.map(at).unwrap_or_default());
    if node.expected {
        line("place", "reserved: it counts for the quorum of the sessions that are meant for it");
    }
    line("can do", &strength(node));
    for (id, part) in &node.sessions {
        let since = part.since_unix_ns.map(|since| format!(" since {}", at(since))).unwrap_or_default();
        let reason = if part.reason.is_empty() { String::new() } else { format!(": {}", part.reason) };
        line("session", &format!("{id} {}{since}{reason}", part.shown_state()));
    }
    text
}

fn refused(refusal: PlanRefusal) -> anyhow::Error {
    match refusal {
        PlanRefusal::Mistakes(mistakes) => anyhow!(Mistaken(mistakes.to_string())),
        other => anyhow!(other),
    }
}

impl Way {
    async fn nodes(&self) -> anyhow::Result<Agents> {
        match self {
            Self::Page(page) => page.ask(Method::GET, "nodes", None).await,
            Self::Board(board, _) => plans::nodes(board).await.map_err(refused),
        }
    }

    async fn node(&self, name: &str) -> anyhow::Result<AgentView> {
        match self {
            Self::Page(page) => page.ask(Method::GET, &format!("nodes/{}", escaped(name)), None).await,
            Self::Board(board, _) => plans::node(board, name).await.map_err(refused),
        }
    }

    async fn add(&self, name: &str) -> anyhow::Result<AgentView> {
        match self {
            Self::Page(page) => page.ask(Method::POST, "nodes", Some(&json!({ "name": name }))).await,
            Self::Board(board, _) => plans::add_node(board, name).await.map_err(refused),
        }
    }

    async fn activate(&self, name: &str, activated: bool) -> anyhow::Result<AgentView> {
        match self {
            Self::Page(page) => {
                let verb = if activated { "activate" } else { "deactivate" };
                let path = format!("nodes/{}/{verb}", escaped(name));
                page.ask(Method::POST, &path, Some(&json!({}))).await
            }
            Self::Board(board, _) => plans::activate(board, name, activated).await.map_err(refused),
        }
    }

    async fn remove(&self, name: &str) -> anyhow::Result<()> {
        match self {
            Self::Page(page) => {
                page.ask::<Value>(Method::DELETE, &format!("nodes/{}", escaped(name)), None).await.map(drop)
            }
            Self::Board(board, _) => plans::remove_node(board, name).await.map_err(refused),
        }
    }
}
