//! Planned sessions: those that agents run.

use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context as _, anyhow};
use comfy_table::{Table, presets};
use hyper::Method;
use serde_json::{Map, Value, json};
use wec_analytics::plans::{self, NewSession, PlanPatch, PlanRefusal};
use wec_analytics::{PlanView, SessionChanged, SessionView, Sessions};
use wec_board::{By, PlanState, Selection};
use wec_requester::SessionKeys;
use wec_startup::{parse_node_name, parse_session_id, report, say};

use super::{Mistaken, Way, escaped};
use crate::label::parse_label;

/// Flags of a planned session.
const PLAN: &str = "The session";
/// Most characters of a reason in a table.
const REASON: usize = 60;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Action {
    /// Create a session from a scenario file; agents run it once it is started
    Create {
        /// Scenario file (TOML), without what belongs to agents: paths, listeners, stores, allowed hosts, secrets
        file: PathBuf,
        /// The session's id [default: the file's name without its extension]
        #[arg(long, value_name = "ID", value_parser = parse_session_id, help_heading = PLAN)]
        id: Option<String>,
        #[command(flatten)]
        agents: Meant,
        /// Print the session as JSON
        #[arg(long, help_heading = PLAN)]
        json: bool,
    },
    /// List the sessions that agents run or may run
    List {
        /// Only sessions in this state: ready, running, stopping, stopped, aborted or error
        #[arg(long, value_name = "STATE", value_parser = parse_state)]
        state: Option<PlanState>,
        /// Print the list as JSON
        #[arg(long)]
        json: bool,
    },
    /// Start a session on its agents
    Start {
        /// The session's id
        id: String,
        /// Print the session as JSON
        #[arg(long)]
        json: bool,
    },
    /// Change a session: during a run its load, otherwise all its keys
    Update {
        /// The session's id
        id: String,
        /// Scenario file (TOML) that replaces the session's
        file: Option<PathBuf>,
        /// A key of the scenario file and its value; without a value, the key is removed; may be repeated
        #[arg(long, value_name = "KEY=VALUE", help_heading = PLAN)]
        set: Vec<String>,
        /// The revision that was seen: refused if there is a later one
        #[arg(long, value_name = "N", help_heading = PLAN)]
        revision: Option<u64>,
        #[command(flatten)]
        agents: Meant,
        /// Print the session as JSON
        #[arg(long, help_heading = PLAN)]
        json: bool,
    },
    /// Copy a session under another id
    Clone {
        /// The session's id
        id: String,
        /// The id of the copy
        #[arg(value_parser = parse_session_id)]
        to: String,
        /// Print the copy as JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete a session; logs of its runs stay
    Delete {
        /// The session's id
        id: String,
        /// The revision that was seen: refused if there is a later one
        #[arg(long, value_name = "N")]
        revision: Option<u64>,
        /// Print what was deleted as JSON
        #[arg(long)]
        json: bool,
    },
}

/// The agents that a session is meant for.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Meant {
    /// Names of agents, separated by commas [default: all that meet the other conditions]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = parse_node_name, help_heading = PLAN)]
    nodes: Vec<String>,
    /// The group of agents
    #[arg(long, value_name = "GROUP", help_heading = PLAN)]
    group: Option<String>,
    /// A label that agents must have; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_delimiter = ',', value_parser = parse_label, help_heading = PLAN)]
    label: Vec<(String, String)>,
}

impl Meant {
    /// None if nothing was given.
    fn given(self) -> Option<Selection> {
        let Self { nodes: names, group, label } = self;
        let selection = Selection { names, group, labels: label.into_iter().collect() };
        (selection != Selection::default()).then_some(selection)
    }
}

fn parse_state(text: &str) -> Result<PlanState, String> {
    let known: Vec<_> = PlanState::ALL.iter().map(|state| state.name()).collect();
    text.parse().map_err(|_| format!("is none of {}", known.join(", ")))
}

pub(super) async fn act(way: &Way, action: Action) -> anyhow::Result<()> {
    match action {
        Action::Create { file, id, agents, json } => {
            let keys = keys_of(&file)?;
            let id = match id {
                Some(id) => id,
                None => id_of(&file)?,
            };
            let plan = json!(keys.keys);
            let made =
                way.create(NewSession { id, plan, agents: agents.given().unwrap_or_default() }).await?;
            told(&made, json, &format!("created: wec session start {} starts it", made.id))
        }
        Action::List { state, json } => list(&way.plans(state).await?, json),
        Action::Start { id, json } => {
            let started = way.start(&id).await?;
            if !started.waiting.is_empty() {
                say(wec_text::visible(&started.waiting));
            }
            told(&started, json, &format!("started: run {}", started.run))
        }
        Action::Update { id, file, set, revision, agents, json } => {
            let mut plan = Map::new();
            if let Some(file) = &file {
                let (new, now) = (keys_of(file)?.keys, way.plan(&id).await?.keys);
                plan.extend(
                    now.into_keys().filter(|key| !new.contains_key(key)).map(|key| (key, Value::Null)),
                );
                plan.extend(new.into_iter().map(|(key, value)| (key, value.into())));
            }
            for pair in &set {
                let (key, value) = pair.split_once('=').ok_or_else(|| {
                    Mistaken(format!("--set: {pair:?} is not a key and its value, as in workers=8"))
                })?;
                let value = value.trim();
                let value = if value.is_empty() { Value::Null } else { value.into() };
                plan.insert(key.trim().to_owned(), value);
            }
            let agents = agents.given();
            if plan.is_empty() && agents.is_none() {
                anyhow::bail!(Mistaken(
                    "nothing to change: give a FILE, --set KEY=VALUE, or other agents".to_owned()
                ));
            }
            let patch = PlanPatch { revision, plan: plan.into(), agents };
            let (session, changes) = way.update(&id, patch).await?;
            let lines = match changes.is_empty() {
                true => "nothing changed: the values are already set".to_owned(),
                false => changes.join("\n"),
            };
            told(&session, json, &lines)
        }
        Action::Clone { id, to, json } => {
            let copy = way.copy(&id, &to).await?;
            told(&copy, json, &format!("copied to {to}: wec session start {to} starts it"))
        }
        Action::Delete { id, revision, json } => {
            way.delete(&id, revision).await?;
            if json {
                return report(json!({ "deleted": id }));
            }
            report(format_args!("session {id} is deleted"))
        }
    }
}

/// Shows one planned session.
pub(super) async fn show(way: &Way, id: &str, as_json: bool) -> anyhow::Result<()> {
    let plan = way.plan(id).await?;
    if as_json {
        return report(serde_json::to_string_pretty(&plan).context("the session as JSON")?);
    }
    report(described(&plan))
}

/// Stops one planned session.
pub(super) async fn stop(way: &Way, id: &str, now: bool, json: bool) -> anyhow::Result<()> {
    let stopped = way.stop(id, now).await?;
    told(&stopped, json, stopped.state.name())
}

fn told(session: &PlanView, as_json: bool, line: &str) -> anyhow::Result<()> {
    if as_json {
        return report(serde_json::to_string_pretty(session).context("the session as JSON")?);
    }
    let lines: Vec<_> = line.lines().map(|line| wec_text::visible(line).into_owned()).collect();
    report(format_args!("session {}: {}", session.id, lines.join("\n")))
}

fn keys_of(file: &Path) -> anyhow::Result<SessionKeys> {
    let shown = file.display().to_string();
    let text =
        std::fs::read_to_string(file).map_err(|error| Mistaken(format!("cannot read {shown}: {error}")))?;
    Ok(SessionKeys::of_file(&shown, &text).map_err(|mistakes| Mistaken(mistakes.to_string()))?)
}

fn id_of(file: &Path) -> anyhow::Result<String> {
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let parsed = parse_session_id(&stem);
    Ok(parsed.map_err(|why| Mistaken(format!("the file's name {stem:?} {why}: give --id")))?)
}

fn list(plans: &[PlanView], as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return report(serde_json::to_string_pretty(plans).context("the sessions as JSON")?);
    }
    if plans.is_empty() {
        return report("There is no session.");
    }
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["session", "state", "since", "runs", "target", "agents", "parts", "reason"]);
    for plan in plans {
        table.add_row([
            plan.id.clone(),
            plan.shown_state().to_owned(),
            at(plan.since_unix_ns),
            plan.runs.to_string(),
            wec_text::visible(&plan.directory).into_owned(),
            plan.agents.shown(),
            counted(plan),
            shortened(&wec_text::visible(plan.why())),
        ]);
    }
    report(table.trim_fmt())
}

/// A reason in a table: `wec session show` has all of it.
fn shortened(reason: &str) -> String {
    match reason.char_indices().nth(REASON) {
        Some((end, _)) => format!("{}…", reason[..end].trim_end()),
        None => reason.to_owned(),
    }
}

/// How many agents are in which state: `2 TEST_RUNNING, 1 lost`.
fn counted(plan: &PlanView) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for part in &plan.parts {
        match counts.iter_mut().find(|(state, _)| *state == part.shown_state()) {
            Some((_, count)) => *count += 1,
            None => counts.push((part.shown_state(), 1)),
        }
    }
    counts.iter().map(|(state, count)| format!("{count} {state}")).collect::<Vec<_>>().join(", ")
}

fn described(plan: &PlanView) -> String {
    let mut lines =
        vec![format!("session {}: {} since {}", plan.id, plan.shown_state(), at(plan.since_unix_ns))];
    if !plan.why().is_empty() {
        lines.push(plan.why().to_owned());
    }
    let run = if plan.run.is_empty() { String::new() } else { format!(", the last one {}", plan.run) };
    lines.push(format!("runs {}{run}; revision {}; by {}", plan.runs, plan.revision, plan.program));
    lines.push(format!("meant for {}", plan.agents.shown()));
    for part in &plan.parts {
        let since = part.since_unix_ns.map(|since| format!(" since {}", at(since))).unwrap_or_default();
        let gone = if part.live { "" } else { ", not live" };
        let reason = if part.reason.is_empty() { String::new() } else { format!(": {}", part.reason) };
        lines.push(format!("  {} {}{since}{gone}{reason}", part.node, part.state.name()));
    }
    lines.push("keys".to_owned());
    lines.extend(plan.keys.iter().map(|(key, value)| format!("  {key} = {value}")));
    lines.push("changes".to_owned());
    let change = |change: &wec_board::PlanChange| {
        format!("  {} {}: {}", at(change.at_unix_ns), change.author(), change.what)
    };
    lines.extend(plan.changes.iter().map(change));
    let lines: Vec<_> = lines.iter().map(|line| wec_text::visible(line).into_owned()).collect();
    lines.join("\n")
}

pub(crate) fn at(unix_ns: u64) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_nanos(unix_ns)).to_string()
}

/// The errors of a command are the same by page and by board.
fn refused(refusal: PlanRefusal) -> anyhow::Error {
    match refusal {
        PlanRefusal::Mistakes(mistakes) => anyhow!(Mistaken(mistakes.to_string())),
        other => anyhow!(other),
    }
}

impl Way {
    async fn create(&self, new: NewSession) -> anyhow::Result<PlanView> {
        match self {
            Self::Page(page) => page.ask(Method::POST, "sessions", Some(&json!(new))).await,
            Self::Board(board, _) => plans::create(board, new, By::Cli).await.map_err(refused),
        }
    }

    async fn plans(&self, state: Option<PlanState>) -> anyhow::Result<Vec<PlanView>> {
        match self {
            Self::Page(page) => {
                let sessions: Sessions = page.ask(Method::GET, "sessions", None).await?;
                let mut plans: Vec<_> =
                    sessions.sessions.into_iter().filter_map(|entry| entry.plan).collect();
                plans.sort_by(|one, other| one.id.cmp(&other.id));
                plans.retain(|plan| state.is_none_or(|state| plan.state == state));
                Ok(plans)
            }
            Self::Board(board, _) => plans::list(board, state).await.map_err(refused),
        }
    }

    async fn plan(&self, id: &str) -> anyhow::Result<PlanView> {
        match self {
            Self::Page(page) => {
                let session: SessionView =
                    page.ask(Method::GET, &format!("sessions/{}", escaped(id)), None).await?;
                let unknown =
                    || anyhow!("session {id:?} was not planned: wec session show --session {id} --board …");
                session.plan.ok_or_else(unknown)
            }
            Self::Board(board, _) => plans::show(board, id).await.map_err(refused),
        }
    }

    async fn start(&self, id: &str) -> anyhow::Result<PlanView> {
        match self {
            Self::Page(page) => {
                page.ask(Method::POST, &format!("sessions/{}/start", escaped(id)), Some(&json!({}))).await
            }
            Self::Board(board, _) => plans::start(board, id, By::Cli).await.map_err(refused),
        }
    }

    async fn stop(&self, id: &str, now: bool) -> anyhow::Result<PlanView> {
        match self {
            Self::Page(page) => {
                let path = format!("sessions/{}/stop", escaped(id));
                page.ask(Method::POST, &path, Some(&json!({ "now": now }))).await
            }
            Self::Board(board, _) => plans::stop(board, id, now, By::Cli).await.map_err(refused),
        }
    }

    async fn update(&self, id: &str, patch: PlanPatch) -> anyhow::Result<(PlanView, Vec<String>)> {
        match self {
            Self::Page(page) => {
                let path = format!("sessions/{}", escaped(id));
                let changed: SessionChanged = page.ask(Method::PATCH, &path, Some(&json!(patch))).await?;
                let plan = changed.session.plan.context("the page has no planned sessions")?;
                Ok((plan, changed.plan_changes))
            }
            Self::Board(board, _) => {
                let changed = plans::update(board, id, patch, By::Cli).await.map_err(refused)?;
                Ok((changed.session, changed.changes))
            }
        }
    }

    async fn copy(&self, id: &str, to: &str) -> anyhow::Result<PlanView> {
        match self {
            Self::Page(page) => {
                let path = format!("sessions/{}/clone", escaped(id));
                page.ask(Method::POST, &path, Some(&json!({ "id": to }))).await
            }
            Self::Board(board, _) => plans::copy(board, id, to, By::Cli).await.map_err(refused),
        }
    }

    async fn delete(&self, id: &str, revision: Option<u64>) -> anyhow::Result<()> {
        match self {
            Self::Page(page) => {
                let based = revision.map(|revision| format!("?revision={revision}")).unwrap_or_default();
                let path = format!("sessions/{}{based}", escaped(id));
                page.ask::<Value>(Method::DELETE, &path, None).await.map(drop)
            }
            Self::Board(board, _) => plans::delete(board, id, revision).await.map_err(refused),
        }
    }
}
