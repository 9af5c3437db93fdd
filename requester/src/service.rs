//! A requester whose results go to analytics of another process: the stand-alone service.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use wec_acme::Clock;
use wec_board::BoardUrl;
use wec_record::{FORMAT_VERSION, Limit, RunHeader, Stamp};
use wec_startup::{Exit, Stop};
use wec_store::{ChallTestSrvWriter, ChallengeWriter, DnsApart, RedisChallenges, State, StateOptions};

use crate::plan::{Challenges, Plan};
use crate::run::{NodeId, Parts, Requester, preflight};
use crate::sink::{GrpcOptions, GrpcSink, Health, Sink};

/// How long results may take to reach analytics after the last worker has ended; then they stay in the spool.
const DELIVER_WITHIN: Duration = Duration::from_secs(30);
/// The same when people have cut the run: what is in the spool is not lost.
const DELIVER_BRIEFLY: Duration = Duration::from_secs(3);

/// Where results go and what is followed, when that is in other processes.
#[derive(Clone, Debug, clap::Args)]
pub struct RemoteOptions {
    /// Where analytics takes results
    #[arg(long, value_name = "URL", env = "WEC_ANALYTICS", default_value = "http://127.0.0.1:8090")]
    pub analytics: String,
    /// The board: `local`, or `etcd://HOST:PORT[,HOST:PORT…]`
    #[arg(long, value_name = "URL", env = "WEC_BOARD", default_value = "local")]
    pub board: BoardUrl,
    /// The session on the board to take a share of
    #[arg(long, value_name = "ID", env = "WEC_SESSION", default_value = "default")]
    pub session: String,
    /// This node's name on the board [default: the host's name]
    #[arg(long, value_name = "NAME", env = "WEC_NODE")]
    pub node: Option<String>,
    /// Folder in which results wait while analytics is away
    #[arg(long, value_name = "DIR", env = "WEC_SPOOL", default_value = "spool")]
    pub spool: PathBuf,
    /// How many bytes may wait there
    #[arg(long, value_name = "BYTES", env = "WEC_SPOOL_BYTES", default_value_t = 1 << 30)]
    pub spool_bytes: u64,
    /// What analytics beyond loopback wants to be shown; prefer the environment
    #[arg(long, value_name = "SECRET", env = "WEC_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
}

/// What a remote run ended with.
#[derive(Clone, Debug)]
pub struct Delivered {
    /// The run's id: its log is `<run>.jsonl` at analytics.
    pub run: String,
    /// Iterations that ended.
    pub iterations: u64,
    /// What became of their results.
    pub health: Health,
    /// The bounds of this load tester that were exceeded.
    pub limits: Vec<Limit>,
    /// Whether that is asked to matter.
    pub strict: bool,
}

impl Delivered {
    /// How such a run ends, and whether people stopped it.
    pub fn exit(&self, stop: &Stop) -> Exit {
        if stop.by_signal() {
            Exit::Interrupted
        } else if self.strict && !self.limits.is_empty() {
            Exit::GeneratorLimited
        } else {
            Exit::Passed
        }
    }

    /// A line for people, and one for each bound that was exceeded.
    pub fn report(&self) -> String {
        let Health { delivered, queued, spooled, lost, .. } = self.health;
        let waiting = queued + spooled;
        let mut report =
            format!("run {}: {} iterations, {delivered} results delivered", self.run, self.iterations);
        if waiting > 0 {
            report += &format!(", {waiting} waiting in the spool for the next start");
        }
        if lost > 0 {
            report += &format!(", {lost} LOST because queue and spool were full");
        }
        for limit in &self.limits {
            report += &format!("\ngenerator-limited: {limit}");
        }
        report
    }
}

/// The process's name for people: what was given, else the host's.
pub fn node_name(given: Option<&str>) -> String {
    let host =
        || std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|name| name.trim().to_owned());
    given
        .map(str::to_owned)
        .or_else(host)
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "node".to_owned())
}

/// What a run of `plan` is, for the first line of its log.
pub fn identify(plan: &Plan, session: &str, host: &str, clock: Clock) -> RunHeader {
    let started_unix_ns = clock.unix_now_ns();
    RunHeader {
        version: FORMAT_VERSION,
        run: format!("{}-{:04x}", started_unix_ns / 1_000_000_000, rand::random::<u16>()),
        session: session.to_owned(),
        program: concat!("wec ", env!("CARGO_PKG_VERSION")).to_owned(),
        target: plan.directory.to_string(),
        started_unix_ns,
        stamp: Stamp {
            host: host.to_owned(),
            platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            cpus: std::thread::available_parallelism()
                .map_or(1, |cpus| u32::try_from(cpus.get()).unwrap_or(u32::MAX)),
            // A plan is made of numbers, texts and lists: it always has a JSON form.
            scenario: serde_json::to_value(plan).unwrap_or_default(),
        },
    }
}

/// Opens the state store that `plan` names.
///
/// # Errors
/// See [`wec_store::StoreError`].
pub async fn open_state(plan: &Plan) -> Result<State, wec_store::StoreError> {
    let options = StateOptions { limits: plan.limits, ..StateOptions::default() };
    State::open(&plan.state, plan.directory.as_str(), options).await
}

/// Where challenge data goes when challenge servers elsewhere answer; none for memory.
///
/// # Errors
/// When Redis cannot be reached, or an address is none.
pub async fn remote_challenges(plan: &Plan) -> anyhow::Result<Option<Arc<dyn ChallengeWriter>>> {
    let writer: Arc<dyn ChallengeWriter> = match &plan.challenges {
        Challenges::Memory => return Ok(None),
        Challenges::Redis(url) => Arc::new(RedisChallenges::connect(url).await?),
        Challenges::ChallTestSrv(url) => Arc::new(ChallTestSrvWriter::new(url.as_str())?),
    };
    dns_apart(plan, writer).map(Some)
}

/// `writer`, or a store over it whose dns-01 records go where the plan says.
///
/// # Errors
/// When that address is none.
pub fn dns_apart(plan: &Plan, writer: Arc<dyn ChallengeWriter>) -> anyhow::Result<Arc<dyn ChallengeWriter>> {
    Ok(match &plan.dns_challenges {
        Some(url) => Arc::new(DnsApart::new(Arc::new(ChallTestSrvWriter::new(url.as_str())?), writer)),
        None => writer,
    })
}

/// Runs `plan` with its results going to analytics elsewhere.
///
/// # Errors
/// When something that the run needs cannot be had; every message names it. [`wec_startup::Interrupted`] when a signal
/// came before the run began.
pub async fn run_remote(
    plan: Plan,
    remote: RemoteOptions,
    challenges: Arc<dyn ChallengeWriter>,
    stop: Stop,
) -> anyhow::Result<Delivered> {
    let clock = Clock::start();
    stop.unless_stopped(preflight(&plan, clock)).await?;
    let node = NodeId::new(node_name(remote.node.as_deref()));
    let board = stop.unless_stopped(remote.board.open()).await?;
    let state = stop.unless_stopped(open_state(&plan)).await?;
    let header = identify(&plan, &remote.session, &node.name, clock);
    let run = header.run.clone();
    let sink = GrpcSink::start(
        GrpcOptions {
            analytics: remote.analytics,
            token: remote.token,
            sender: node.id.clone(),
            node: node.name.clone(),
            header,
            spool: remote.spool,
            spool_bytes: remote.spool_bytes,
        },
        clock,
    )?;
    let sink = Arc::new(sink);
    let parts = Parts {
        clock,
        state: state.clone(),
        challenges,
        sink: Arc::clone(&sink) as Arc<dyn Sink>,
        board: board.clone(),
        session: remote.session,
        node,
    };
    let started = stop.unless_stopped(Requester::start(&plan, parts, stop.clone())).await;
    let (iterations, limits) = match started {
        Ok(requester) => {
            let workload = requester.workload();
            tracing::info!(%run, target = %plan.directory, workers = plan.workers(), "running");
            let limits = requester.run().await;
            (workload.iterations(), limits)
        }
        Err(error) => {
            // What was opened is closed all the same; the first error is the one to tell.
            let _ = state.close().await;
            return Err(error);
        }
    };
    let closed = state.close().await.context("the last changes of the state");
    let impatient = stop.by_signal() && stop.cut.is_cancelled();
    let health = sink.finish(if impatient { DELIVER_BRIEFLY } else { DELIVER_WITHIN }).await;
    board.close().await;
    closed?;
    Ok(Delivered { run, iterations, health, limits, strict: plan.strict })
}
