//! A requester whose results go to analytics of another process: the stand-alone service.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use wec_acme::Clock;
use wec_board::{Board, BoardUrl, By, Session};
use wec_record::{ChainResult, FORMAT_VERSION, Limit, LoadSample, RunHeader, Stamp, StateCounts};
use wec_startup::{Exit, Stop, node_name, say};
use wec_store::{ChallTestSrvWriter, ChallengeWriter, DnsApart, RedisChallenges, State, StateOptions};

use crate::calibration;
use crate::plan::{Challenges, Plan};
use crate::run::{NodeId, Parts, Ran, Requester, preflight};
use crate::seat::Seat;
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
    /// Iterations that ended at this node.
    pub iterations: u64,
    /// Those of them that did what they were to do.
    pub succeeded: u64,
    /// Whether other nodes took part.
    pub shared: bool,
    /// What became of their results.
    pub health: Health,
    /// The bounds of this load tester that were exceeded.
    pub limits: Vec<Limit>,
    /// Whether that is asked to matter.
    pub strict: bool,
}

impl Delivered {
    /// How such a run ends. Its thresholds are held by analytics, which has the results of all nodes.
    pub fn exit(&self, stop: &Stop) -> Exit {
        // A node that came when there was nothing left to do has failed at nothing.
        let nothing = self.succeeded == 0 && (self.iterations > 0 || !self.shared);
        if stop.by_signal() {
            Exit::Interrupted
        } else if self.strict && !self.limits.is_empty() {
            Exit::GeneratorLimited
        } else if nothing {
            Exit::Failed
        } else {
            Exit::Passed
        }
    }

    /// A line for people, and one for each bound that was exceeded.
    pub fn report(&self) -> String {
        let Health { delivered, queued, spooled, lost, .. } = self.health;
        let waiting = queued + spooled;
        let (run, iterations, succeeded) = (&self.run, self.iterations, self.succeeded);
        let mut report = format!(
            "run {run}: {iterations} iterations, {succeeded} succeeded, {delivered} results delivered"
        );
        if waiting > 0 {
            report += &format!(", {waiting} waiting in the spool for the next start");
        }
        if lost > 0 {
            report += &format!(", {lost} LOST because queue and spool were full");
        }
        for limit in &self.limits {
            report += &format!("\ngenerator-limited: {limit}");
        }
        if succeeded == 0 {
            report += if iterations == 0 {
                "\nnot one chain ran to its end at this node"
            } else {
                "\nnothing succeeded at this node"
            };
        }
        report
    }
}

/// This program and its version, as logs name it.
pub const PROGRAM: &str = concat!("wec ", env!("CARGO_PKG_VERSION"));

/// Logical processors that this process may use.
pub fn cpus() -> u32 {
    std::thread::available_parallelism().map_or(1, |cpus| u32::try_from(cpus.get()).unwrap_or(u32::MAX))
}

/// What a run of `plan` is, for the first line of its log.
pub fn identify(plan: &Plan, session: &str, host: &str, clock: Clock) -> RunHeader {
    let started_unix_ns = clock.unix_now_ns();
    RunHeader {
        version: FORMAT_VERSION,
        run: format!("{}-{:04x}", started_unix_ns / 1_000_000_000, rand::random::<u16>()),
        session: session.to_owned(),
        program: PROGRAM.to_owned(),
        target: plan.directory.to_string(),
        started_unix_ns,
        stamp: Stamp {
            host: host.to_owned(),
            platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            cpus: cpus(),
            // A plan is made of numbers, texts and lists: it always has a JSON form.
            scenario: serde_json::to_value(plan).unwrap_or_default(),
            calibration: calibration::kept(&node_name(None), cpus()),
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
    let client = stop.unless_stopped(preflight(&plan, clock)).await?;
    let node = NodeId::new(node_name(remote.node.as_deref()));
    let board = stop.unless_stopped(remote.board.open()).await?;
    let state = stop.unless_stopped(open_state(&plan)).await?;
    let mut header = identify(&plan, &remote.session, &node.name, clock);
    let wanted = Session { run: header.run.clone(), ..plan.session(&remote.session) };
    let seat = stop.unless_stopped(Seat::take(&board, wanted, &node)).await?;
    // All nodes of a session make one run, in one log.
    header.run = seat.run().to_owned();
    header.started_unix_ns = seat.began_unix_ns().unwrap_or(header.started_unix_ns);
    let run = header.run.clone();
    let (spool, spool_dir) = (remote.spool.clone(), remote.spool.display().to_string());
    let sink = GrpcSink::start(
        GrpcOptions {
            analytics: remote.analytics,
            token: remote.token,
            sender: node.id.clone(),
            node: node.name.clone(),
            header,
            spool,
            spool_bytes: remote.spool_bytes,
        },
        clock,
    )?;
    let sink = Arc::new(Counting { sink, succeeded: AtomicU64::new(0) });
    let parts = Parts {
        clock,
        client: Arc::new(client),
        state: state.clone(),
        challenges,
        sink: Arc::clone(&sink) as Arc<dyn Sink>,
        board: board.clone(),
        session: remote.session,
        node,
    };
    let (session, id) = (parts.session.clone(), parts.node.id.clone());
    let started = stop.unless_stopped(Requester::start_at(seat, &plan, parts, stop.clone())).await;
    let (iterations, ran, shared) = match started {
        Ok(requester) => {
            let workload = requester.workload();
            tracing::info!(%run, target = %plan.directory, workers = plan.workers(), "running");
            let over = requester.over();
            let part = async {
                over.await;
                end_part(&board, &session, &run, &id, &stop).await
            };
            let (ran, shared) = tokio::join!(requester.run_and_stay(), part);
            (workload.iterations(), ran, shared)
        }
        Err(error) => {
            // What was opened is closed all the same; the first error is the one to tell.
            let _ = state.close().await;
            return Err(error);
        }
    };
    let Ran { limits, seat, cut_by_signal } = ran;
    let closed = state.close().await.context("the last changes of the state");
    let health = deliver(&sink.sink, cut_by_signal, &spool_dir, &stop).await;
    seat.leave().await;
    board.close().await;
    closed?;
    let succeeded = sink.succeeded.load(Ordering::Relaxed);
    Ok(Delivered { run, iterations, succeeded, shared, health, limits, strict: plan.strict })
}

/// Tells the board that this node's part of the run is over, but for the chains that still run: with the last one the run is.
/// Says whether there were others.
async fn end_part(board: &Board, session: &str, run: &str, node: &str, stop: &Stop) -> bool {
    let by = if stop.by_signal() { By::Signal } else { By::Schedule };
    match tokio::time::timeout(DELIVER_BRIEFLY, board.done(session, run, node, by)).await {
        Ok(Ok(session)) => session.value.members.len() > 1,
        Ok(Err(error)) => {
            tracing::warn!(%error, "the board does not know that this node has ended its part of the run");
            true
        }
        Err(_) => true,
    }
}

/// Delivers what is left. The first signal meanwhile says what is waited for, the next one ends that.
async fn deliver(sink: &GrpcSink, impatient: bool, spool: &str, stop: &Stop) -> Health {
    let within = if impatient { DELIVER_BRIEFLY } else { DELIVER_WITHIN };
    let began = tokio::time::Instant::now();
    let delivering = sink.finish(within);
    tokio::pin!(delivering);
    if !impatient {
        tokio::select! {
            health = &mut delivering => return health,
            () = stop.cut.cancelled() => {}
        }
        let Health { queued, spooled, .. } = sink.health();
        let left = within.saturating_sub(began.elapsed()).as_secs();
        say(format_args!(
            "the load has ended; {} results have not reached analytics yet, which may take {left} s more: \
             interrupt again to leave them in {spool} for the next start",
            queued + spooled
        ));
    }
    tokio::select! {
        health = &mut delivering => return health,
        () = stop.enough.cancelled() => sink.hurry(),
    }
    delivering.await
}

/// Counts on the way what had the result that it was made for.
struct Counting {
    sink: GrpcSink,
    succeeded: AtomicU64,
}

impl Sink for Counting {
    fn push(&self, result: ChainResult) {
        self.succeeded.fetch_add(u64::from(result.successful), Ordering::Relaxed);
        self.sink.push(result);
    }

    fn push_state(&self, at_unix_ns: u64, counts: StateCounts) {
        self.sink.push_state(at_unix_ns, counts);
    }

    fn push_load(&self, at_unix_ns: u64, load: LoadSample) {
        self.sink.push_load(at_unix_ns, load);
    }

    fn health(&self) -> Health {
        self.sink.health()
    }
}
