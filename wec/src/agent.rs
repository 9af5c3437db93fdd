//! `wec agent`: a machine that waits for sessions on the board, runs those that are meant for it, and waits
//! again.
//!
//! | file | content |
//! | --- | --- |
//! | [`configuration`] | flag over environment over `.env` over file over default |
//! | [`follow`] | which sessions to take, to stop and to report |
//! | [`part`] | one session on this agent, from its keys to its outcome |
//! | [`admin`] | the admin port |
//!
//! An agent consents for itself: hosts that may be loaded, paths, listeners, stores and secrets are its own
//! configuration. A session that has any of them is refused.

mod admin;
pub(crate) mod configuration;
mod follow;
mod part;
#[cfg(test)]
mod tests;
mod this_agent;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::task::LocalSet;
use wec_acme::Clock;
use wec_board::{
    AgentInfo, AgentPresence, Board, BoardError, BoardUrl, Membership, NodeId, NodeInfo, NodeKind, NodeState,
    Strength,
};
use wec_node_stats::{NodeStatsOptions, Server};
use wec_pki::TlsOptions;
use wec_record::Calibration;
use wec_requester::config::{Command, Key};
use wec_requester::{
    DeliveryOptions, Flags, Hook, PROGRAM, PlanOptions, SecretRef, calibration_file, check_files_of_agent,
    cpus, read_calibration,
};
use wec_startup::{Exit, Stop, Undisclosed, node_name, parse_node_name, say, show};

use self::admin::{Admin, AdminAt, parse_admin};
use self::this_agent::Agent;
use crate::label::parse_label;

const AGENT: &str = "Agent";
/// How long to wait for the earlier process of this agent to be seen as dead, which takes 10 s.
const SUCCEEDS_WITHIN: Duration = Duration::from_secs(30);
/// Pause between attempts at the start.
const AGAIN: Duration = Duration::from_secs(1);

/// The keys that belong to the machine, and never to a session.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LocalKeys {}

impl Command for LocalKeys {
    fn takes(key: &Key) -> bool {
        key.local && key.name != "config"
    }
}

/// Options of `wec agent`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The board: etcd://HOST:PORT[,HOST:PORT…], or sqlite://PATH on one machine
    #[arg(
        long,
        value_name = "URL",
        env = "WEC_BOARD",
        hide_env_values = true,
        value_parser = Undisclosed(BoardUrl::parse),
        help_heading = AGENT
    )]
    board: Option<BoardUrl>,
    /// The agent's name, which stays the same after a restart [default: the host's name]
    #[arg(long, value_name = "NAME", env = "WEC_NODE", value_parser = parse_node_name, help_heading = AGENT)]
    name: Option<String>,
    /// The group that sessions can name: eu
    #[arg(long, value_name = "GROUP", env = "WEC_GROUP", default_value = "", help_heading = AGENT)]
    group: String,
    /// A label that sessions can name: disk=ssd; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", env = "WEC_LABELS", value_delimiter = ',', value_parser = parse_label, help_heading = AGENT)]
    labels: Vec<(String, String)>,
    /// A secret that sessions may refer to: env:NAME or file:PATH; may be repeated [default: env:WEC_EAB_HMAC_KEY]
    #[arg(long = "allow-secret", value_name = "REF", env = "WEC_ALLOW_SECRETS", value_delimiter = ',', value_parser = parse_secret, help_heading = AGENT)]
    secrets: Vec<SecretRef>,
    /// Loopback address for health checks and the request to drain; off for none [default: 127.0.0.1:7071, or a free
    /// port if another agent has it]
    #[arg(long, value_name = "ADDR", env = "WEC_ADMIN_LISTEN", value_parser = parse_admin, help_heading = AGENT)]
    admin_listen: Option<AdminAt>,
    /// A local command of a drill, with its time in each session's run: 'at 5m: COMMAND', or 'on threshold: COMMAND'
    /// when a threshold has ended the run; may be repeated (in WEC_HOOKS: one a line)
    #[arg(long = "hook", value_name = "WHEN: COMMAND", env = "WEC_HOOKS", value_delimiter = '\n', help_heading = AGENT)]
    hooks: Vec<Hook>,
    /// Skip the short measurement of this machine, which is made if wec calibrate has never run here
    #[arg(long, env = "WEC_NO_CALIBRATION", help_heading = AGENT)]
    no_calibration: bool,
    /// Configuration file of the agent (TOML): the names of these flags, with _ for -
    #[arg(long, value_name = "FILE", env = "WEC_AGENT_CONFIG", help_heading = AGENT)]
    config: Option<PathBuf>,
    /// CPU, memory and disks of the nodes.
    #[command(flatten)]
    node_stats: NodeStatsOptions,
    #[command(flatten)]
    delivery: DeliveryOptions,
    #[command(flatten)]
    local: Flags<LocalKeys>,
}

fn parse_secret(text: &str) -> Result<SecretRef, String> {
    text.parse()
}

/// What an agent may use for sessions, by its own configuration.
#[derive(Debug)]
struct Consent {
    local: PlanOptions,
    secrets: Vec<SecretRef>,
    /// Commands that run at a time of each run.
    hooks: Vec<Hook>,
    /// Variables of the file `.env`.
    variables: BTreeMap<String, String>,
}

pub(crate) async fn agent(options: Options, stop: Stop) -> anyhow::Result<Exit> {
    let Some(url) = options.board.filter(|url| *url != BoardUrl::Local) else {
        say(
            "error: --board: an agent waits for sessions on a board: give etcd://HOST:PORT, or sqlite://PATH on one machine",
        );
        return Ok(Exit::Usage);
    };
    let mut secrets = options.secrets;
    if secrets.is_empty() {
        secrets.push(SecretRef::Variable("WEC_EAB_HMAC_KEY".to_owned()));
    }
    let variables = match configuration::dot_env() {
        Ok(variables) => variables,
        Err(mistake) => {
            say(format_args!("error: {mistake}"));
            return Ok(Exit::Usage);
        }
    };
    if let Err(mistakes) = check_files_of_agent(&options.local.plan) {
        mistakes.0.iter().for_each(|mistake| say(format_args!("error: {mistake}")));
        return Ok(Exit::Usage);
    }
    // Before the measurement, which takes some seconds.
    let url = url.secured(&options.delivery.tls)?;
    let consent = Consent { local: options.local.plan, secrets, hooks: options.hooks, variables };
    let id = NodeId::new(node_name(options.name.as_deref()));
    let clock = Clock::start();
    let strength = stop.unless_stopped(strength(options.no_calibration, &stop)).await?;
    let board = stop.unless_stopped(url.open_at_start(Duration::MAX)).await?;
    let info = AgentInfo {
        name: id.name.clone(),
        incarnation: id.id,
        group: options.group,
        labels: options.labels.into_iter().collect(),
        program: PROGRAM.to_owned(),
        strength,
        draining: false,
        since_unix_ns: clock.unix_now_ns(),
    };
    let presence = match stop.unless_stopped(registered(&board, &info)).await {
        Ok(presence) => presence,
        Err(error) => {
            board.close().await;
            return Err(error);
        }
    };
    let (stats, listed) =
        match statistics(&options.node_stats, &options.delivery.tls, &board, &info.name).await {
            Ok(started) => started,
            Err(error) => {
                presence.leave().await;
                board.close().await;
                return Err(error);
            }
        };
    let agent = Rc::new(Agent {
        board: board.clone(),
        presence,
        consent,
        delivery: options.delivery,
        clock,
        changes: Rc::default(),
        own: OnceCell::new(),
    });
    let admin = match Admin::start(options.admin_listen, agent.status()).await {
        Ok(admin) => admin,
        Err(error) => {
            board.close().await;
            return Err(error);
        }
    };
    let port = match admin.address() {
        Some(address) => format!(", admin port on http://{address}/healthz"),
        None => String::new(),
    };
    show(format_args!("agent {} waits for sessions{port}", info.name));
    let local = LocalSet::new();
    local.run_until(follow::follow(Rc::clone(&agent), &admin, &stop)).await;
    // Tasks of sessions have ended; what is left holds the agent.
    drop(local);
    admin.finish().await;
    if let Some(listed) = listed {
        listed.leave().await;
    }
    if let Some(stats) = stats {
        stats.finish().await;
    }
    if let Ok(Agent { presence, own, .. }) = Rc::try_unwrap(agent) {
        if let Some((_, Some(server))) = own.into_inner() {
            server.finish().await;
        }
        presence.leave().await;
    }
    board.close().await;
    Ok(Exit::Passed)
}

/// The server of node statistics, and this machine's entry among the nodes that have some; none without the flag.
async fn statistics(
    options: &NodeStatsOptions,
    tls: &TlsOptions,
    board: &Board,
    name: &str,
) -> anyhow::Result<(Option<Server>, Option<Membership>)> {
    let Some(server) = options.start(tls, tls.load()?.as_ref()).await? else { return Ok((None, None)) };
    server.follow(board);
    let id = NodeId { stats: Some(server.advertised().to_owned()), ..NodeId::new(name) };
    // It is in no session: its parts have entries of their own.
    let listed = board.join(NodeInfo::new(&id, NodeKind::Requester, NodeState::Serving)).await?;
    Ok((Some(server), Some(listed)))
}

/// The presence on the board. A process of this agent that was killed is there until its lease ends.
async fn registered(board: &Board, info: &AgentInfo) -> Result<AgentPresence, BoardError> {
    let began = tokio::time::Instant::now();
    let mut told = false;
    loop {
        match board.register_agent(info.clone()).await {
            Err(BoardError::AgentTaken(name)) if began.elapsed() < SUCCEEDS_WITHIN => {
                if !std::mem::replace(&mut told, true) {
                    say(format_args!(
                        "an agent {name:?} is on the board: waiting until it has left, or was silent for 10 s"
                    ));
                }
                tokio::time::sleep(AGAIN).await;
            }
            registered => return registered,
        }
    }
}

/// What this machine can do: as `wec calibrate` measured it, or else by a short measurement, which is stored.
async fn strength(without: bool, stop: &Stop) -> anyhow::Result<Option<Strength>> {
    let file = calibration_file();
    let kept = file.as_deref().map(|file| read_calibration(file, &node_name(None), cpus()));
    let kept = kept.unwrap_or(Ok(None)).unwrap_or_else(|error| {
        tracing::warn!("{error:#}");
        None
    });
    let calibration = match kept {
        Some(kept) => Some(kept),
        None if without => None,
        None => {
            say(
                "this machine was never calibrated: a short measurement follows; wec calibrate makes an exact one",
            );
            let measured = crate::calibrate::briefly(stop).await?;
            if let Some(file) = &file
                && let Err(error) = wec_requester::keep_calibration(file, &measured)
            {
                tracing::warn!("{error:#}");
            }
            Some(measured)
        }
    };
    Ok(calibration.map(|calibration| strength_of(&calibration)))
}

fn strength_of(calibration: &Calibration) -> Strength {
    // A rate that was kept up is what it can do for a session; the highest one is only a burst.
    let kept_up = calibration.kept_up_chains_per_s.unwrap_or(calibration.chains_per_s);
    let share = if calibration.chains_per_s > 0.0 { kept_up / calibration.chains_per_s } else { 0.0 };
    let thousandths = |rate: f64| (rate * 1_000.0) as u64;
    Strength {
        chains: thousandths(kept_up),
        requests: thousandths(calibration.requests_per_s * share),
        workers: calibration.workers,
    }
}
