//! A requester whose results go to analytics in another process: the stand-alone service.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;
use wec_acme::Clock;
use wec_board::{BOARD_WITHIN, Board, BoardUrl, By, NodeId, RunRef, Strength};
use wec_delivery::{Entry, GrpcOptions, GrpcSink, Health, Keep, Sink};
use wec_node_stats::{NodeStatsOptions, Server};
use wec_pki::TlsOptions;
use wec_record::{Limit, MarkBy, Record, RunHeader};
use wec_startup::{
    Exit, Stop, Undisclosed, node_name, parse_node_name, parse_service, parse_session_id, redacted, say,
};
use wec_store::{ChallTestSrvWriter, ChallengeWriter, DnsApart, RedisChallenges};

use crate::executor::BoxFuture;
use crate::hook::{Hook, HookLog, HookedRun, run_hooks};
use crate::node::{Begun, Ended, Node, Surroundings};
use crate::plan::{Challenges, Plan};

/// Longest time for results to reach analytics after the last worker has ended; then they stay in the spool.
const DELIVER_WITHIN: Duration = Duration::from_secs(30);
/// The same after an interruption by the user: results in the spool are not lost.
const DELIVER_BRIEFLY: Duration = Duration::from_secs(3);

const SESSION: &str = "Session";
const DELIVERY: &str = "Delivery to analytics";

/// The options of a requester whose analytics and board are in other processes.
#[derive(Clone, Debug, clap::Args)]
pub struct RemoteOptions {
    /// The board: local, sqlite://PATH on one machine, or etcd://HOST:PORT[,HOST:PORT…]
    #[arg(
        long,
        value_name = "URL",
        env = "WEC_BOARD",
        hide_env_values = true,
        default_value = "local",
        value_parser = Undisclosed(BoardUrl::parse),
        help_heading = SESSION
    )]
    pub board: BoardUrl,
    /// The session on the board that this node takes a share of
    #[arg(
        long,
        value_name = "ID",
        env = "WEC_SESSION",
        default_value = "default",
        value_parser = parse_session_id,
        help_heading = SESSION
    )]
    pub session: String,
    /// This node's name on the board [default: the host's name]
    #[arg(long, value_name = "NAME", env = "WEC_NODE", value_parser = parse_node_name, help_heading = SESSION, hide_short_help = true)]
    pub node: Option<String>,
    /// What this machine can do, as in chains=400,requests=2500,workers=100: it gets no more, and loads are shared
    /// in proportion to it [default: unlimited, so that machines share equally]
    #[arg(long, value_name = "STRENGTH", env = "WEC_STRENGTH", help_heading = SESSION, hide_short_help = true)]
    pub strength: Option<Strength>,
    /// Number of live nodes that the session needs; with fewer, no node sends [default: more than half of the live
    /// nodes and the reserved places]
    #[arg(
        long,
        value_name = "NODES",
        env = "WEC_QUORUM",
        value_parser = clap::value_parser!(u32).range(1..),
        help_heading = SESSION,
        hide_short_help = true
    )]
    pub quorum: Option<u32>,
    /// Where its results go.
    #[command(flatten)]
    pub delivery: DeliveryOptions,
    /// CPU, memory and disks of the nodes.
    #[command(flatten)]
    pub node_stats: NodeStatsOptions,
}

/// Where a requester delivers its results.
#[derive(Clone, Debug, clap::Args)]
pub struct DeliveryOptions {
    /// Address at which analytics receives results: http://HOST:PORT, or https:// with --tls-ca
    #[arg(
        long,
        value_name = "URL",
        env = "WEC_ANALYTICS",
        hide_env_values = true,
        default_value = "http://127.0.0.1:8090",
        value_parser = Undisclosed(parse_service),
        help_heading = DELIVERY
    )]
    pub analytics: String,
    /// Folder in which results wait while analytics cannot be reached
    #[arg(long, value_name = "DIR", env = "WEC_SPOOL", default_value = "spool", help_heading = DELIVERY, hide_short_help = true)]
    pub spool: PathBuf,
    /// Largest size of --spool, bytes
    #[arg(long, value_name = "BYTES", env = "WEC_SPOOL_BYTES", default_value_t = 1 << 30, help_heading = DELIVERY, hide_short_help = true)]
    pub spool_bytes: u64,
    /// Token for analytics, required beyond loopback; prefer the environment, because other
    /// users can read the command line
    #[arg(long, value_name = "SECRET", env = "WEC_TOKEN", hide_env_values = true, help_heading = DELIVERY)]
    pub token: Option<String>,
    /// TLS with other services.
    #[command(flatten)]
    pub tls: TlsOptions,
}

/// The end of a remote run.
#[derive(Clone, Debug)]
pub struct Delivered {
    /// The run's id: its log is `<run>.jsonl` at analytics.
    pub run: String,
    /// Iterations that ended at this node.
    pub iterations: u64,
    /// Iterations that succeeded.
    pub succeeded: u64,
    /// Whether other nodes took part.
    pub shared: bool,
    /// The state of the delivery.
    pub health: Health,
    /// The destination of the results, without secrets.
    pub analytics: String,
    /// The exceeded bounds of this load tester.
    pub limits: Vec<Limit>,
    /// Whether an exceeded bound decides the exit code.
    pub strict: bool,
}

impl Delivered {
    /// The exit code of such a run. Analytics evaluates its thresholds, because it has the results of all
    /// nodes.
    pub fn exit(&self, stop: &Stop) -> Exit {
        // A node that joined when there was nothing left to do has not failed.
        let nothing = self.succeeded == 0 && (self.iterations > 0 || !self.shared);
        if stop.by_signal() {
            Exit::Interrupted
        } else if self.delivered_nothing() {
            Exit::CouldNotRun
        } else if self.strict && !self.limits.is_empty() {
            Exit::GeneratorLimited
        } else if nothing {
            Exit::Failed
        } else {
            Exit::Passed
        }
    }

    /// There were results, and none of them reached analytics.
    fn delivered_nothing(&self) -> bool {
        self.health.pushed > 0 && self.health.delivered == 0
    }

    /// A line for people, and one for each exceeded bound.
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
            report += &format!(", {lost} LOST: {}", self.health.lost_why.as_deref().unwrap_or_default());
        }
        if self.delivered_nothing() {
            let why = self.health.trouble.as_deref().unwrap_or("it acknowledged none");
            report += &format!("\nerror: no result reached analytics at {}: {why}", self.analytics);
        }
        for limit in &self.limits {
            report += &format!("\ngenerator-limited: {limit}");
        }
        if succeeded == 0 {
            report += if iterations == 0 {
                "\nno chain ran to its end at this node"
            } else {
                "\nnothing succeeded at this node"
            };
        }
        report
    }
}

/// The external challenge store; none for memory.
///
/// # Errors
/// When Redis or the challtestsrv cannot be reached, or an address is not valid.
pub async fn remote_challenges(
    plan: &Plan,
    tls: &TlsOptions,
) -> anyhow::Result<Option<Arc<dyn ChallengeWriter>>> {
    let writer: Arc<dyn ChallengeWriter> = match &plan.challenges {
        Challenges::Memory => return Ok(None),
        Challenges::Redis(url) => {
            tls.check_server("the challenge store", url)?;
            Arc::new(
                RedisChallenges::connect_with(url, tls.files().as_ref())
                    .await?
                    .with_ttl(plan.challenge_ttl()),
            )
        }
        Challenges::ChallTestSrv(url) => Arc::new(challtestsrv(url, "--challenges").await?),
    };
    dns_apart(plan, writer).await.map(Some)
}

/// `writer`, or a store over it that writes dns-01 records as the plan requires.
///
/// # Errors
/// When the address is not valid, or there is no server.
pub async fn dns_apart(
    plan: &Plan,
    writer: Arc<dyn ChallengeWriter>,
) -> anyhow::Result<Arc<dyn ChallengeWriter>> {
    Ok(match &plan.dns_challenges {
        Some(url) => Arc::new(DnsApart::new(Arc::new(challtestsrv(url, "--dns-challenges").await?), writer)),
        None => writer,
    })
}

/// Checks the server first: otherwise a wrong address would be noticed only by failing authorizations.
async fn challtestsrv(url: &wec_acme::Url, flag: &str) -> anyhow::Result<ChallTestSrvWriter> {
    let reached = ChallTestSrvWriter::reach(url.as_str()).await;
    reached.with_context(|| {
        let url = redacted(url.as_str());
        format!("{flag} challtestsrv+{url}: no management API of a challtestsrv answers there; start it, or give its address")
    })
}

/// Runs `plan` and delivers its results to analytics in another process.
///
/// # Errors
/// When something that the run needs is not available; every message names it. [`wec_startup::Interrupted`]
/// after a signal before the run began.
pub async fn run_remote(
    mut plan: Plan,
    remote: RemoteOptions,
    challenges: Arc<dyn ChallengeWriter>,
    stop: Stop,
) -> anyhow::Result<Delivered> {
    let tls = &remote.delivery.tls;
    tls.check_server("analytics", &remote.delivery.analytics)?;
    plan.state = tls.database(&plan.state)?;
    let stats = remote.node_stats.start(tls, tls.load()?.as_ref()).await?;
    let address = stats.as_ref().map(|stats| stats.advertised().to_owned());
    let node = Node {
        clock: Clock::start(),
        id: NodeId { stats: address, ..NodeId::new(node_name(remote.node.as_deref())) },
        session: remote.session.clone(),
        run: None,
    };
    let (strength, quorum) = (once(remote.strength), remote.quorum);
    let mut remote = Remote::new(BoardOf::Url(remote.board), remote.delivery, challenges, &stop);
    (remote.strength, remote.quorum) = (strength, quorum);
    remote.stats = stats;
    let delivered = remote.run(node, &plan, &stop).await;
    if let Some(stats) = remote.stats {
        stats.finish().await;
    }
    if let BoardOf::Open(board) = remote.board {
        board.close().await;
    }
    delivered
}

/// Runs this node's part of `plan` on an open board, and delivers its results to analytics in another process.
///
/// # Errors
/// See [`run_remote`].
pub async fn run_on(board: &Board, part: RemotePart, plan: &Plan, stop: &Stop) -> anyhow::Result<Delivered> {
    let RemotePart { node, strength, options, challenges, began, hooks } = part;
    let plan = &Plan { state: options.tls.database(&plan.state)?, ..plan.clone() };
    let mut remote = Remote::new(BoardOf::Open(board.clone()), options, challenges, stop);
    (remote.began, remote.strength, remote.hooks) = (Some(began), strength, hooks);
    remote.waits_for_next = true;
    remote.run(node, plan, stop).await
}

/// A node's part of a run whose results go to another process.
pub struct RemotePart {
    /// The node, and the session that it takes part in.
    pub node: Node,
    /// What it can do for the session, now and later.
    pub strength: watch::Receiver<Strength>,
    /// Where its results go.
    pub options: DeliveryOptions,
    /// The challenge store.
    pub challenges: Arc<dyn ChallengeWriter>,
    /// Called when the load begins.
    pub began: Box<dyn FnOnce()>,
    /// Local commands of a drill.
    pub hooks: Vec<Hook>,
}

/// A board that is open, or is opened by the run.
enum BoardOf {
    Url(BoardUrl),
    Open(Board),
}

/// A strength that does not change; none is of a machine that was not measured.
fn once(strength: Option<Strength>) -> watch::Receiver<Strength> {
    watch::Sender::new(strength.unwrap_or(Strength::UNMEASURED)).subscribe()
}

/// Board, analytics and challenge servers in other processes.
struct Remote {
    options: DeliveryOptions,
    challenges: Arc<dyn ChallengeWriter>,
    board: BoardOf,
    strength: watch::Receiver<Strength>,
    quorum: Option<u32>,
    sink: Option<Arc<Counting>>,
    stats: Option<Server>,
    /// Whether other nodes took part.
    shared: bool,
    /// Whether the run goes on after a signal to this process, also if it was the last one: an agent may be back.
    waits_for_next: bool,
    /// Called when the load begins.
    began: Option<Box<dyn FnOnce()>>,
    hooks: Vec<Hook>,
    stop: Stop,
}

impl Remote {
    fn new(
        board: BoardOf,
        options: DeliveryOptions,
        challenges: Arc<dyn ChallengeWriter>,
        stop: &Stop,
    ) -> Self {
        Self {
            options,
            challenges,
            board,
            strength: once(None),
            quorum: None,
            sink: None,
            stats: None,
            shared: false,
            waits_for_next: false,
            began: None,
            hooks: Vec::new(),
            stop: stop.clone(),
        }
    }

    async fn run(&mut self, node: Node, plan: &Plan, stop: &Stop) -> anyhow::Result<Delivered> {
        let ended = node.run(plan, self, stop).await?;
        self.delivered(ended, plan)
    }

    /// What is reported of a run that has ended.
    fn delivered(&self, ended: Ended, plan: &Plan) -> anyhow::Result<Delivered> {
        let Ended { run, iterations, limits, health, state } = ended;
        state?;
        let succeeded = self.sink.as_ref().map_or(0, |sink| sink.succeeded.load(Ordering::Relaxed));
        let (shared, strict) = (self.shared, plan.plain.strict);
        let analytics = redacted(&self.options.analytics);
        Ok(Delivered { run, iterations, succeeded, shared, health, analytics, limits, strict })
    }
}

impl Surroundings for Remote {
    async fn board(&mut self, _run: &str) -> anyhow::Result<Board> {
        let board = match &self.board {
            BoardOf::Url(url) => url.clone().secured(&self.options.tls)?.open_at_start(BOARD_WITHIN).await?,
            BoardOf::Open(board) => board.clone(),
        };
        self.board = BoardOf::Open(board.clone());
        if let Some(stats) = &self.stats {
            stats.follow(&board);
        }
        Ok(board)
    }

    fn strength(&self) -> watch::Receiver<Strength> {
        self.strength.clone()
    }

    fn quorum(&self) -> Option<u32> {
        self.quorum
    }

    fn opened(&mut self, notes: Vec<String>) {
        notes.iter().for_each(say);
    }

    async fn challenges(&mut self, _plan: &Plan) -> anyhow::Result<Arc<dyn ChallengeWriter>> {
        Ok(Arc::clone(&self.challenges))
    }

    fn sink(&mut self, header: RunHeader, node: &Node) -> anyhow::Result<Arc<dyn Sink>> {
        self.options.tls.check_server("analytics", &self.options.analytics)?;
        let options = GrpcOptions {
            analytics: self.options.analytics.clone(),
            token: self.options.token.clone(),
            tls: self.options.tls.load()?,
            sender: node.id.id.clone(),
            node: node.id.name.clone(),
            header: Some(header),
            keep: Keep::Spool { folder: self.options.spool.clone(), bytes: self.options.spool_bytes },
        };
        let sink = GrpcSink::start(options, node.clock)?;
        let sink = Arc::new(Counting { sink, succeeded: AtomicU64::new(0) });
        self.sink = Some(Arc::clone(&sink));
        Ok(sink)
    }

    async fn accompany(&mut self, run: Begun<'_>) -> anyhow::Result<()> {
        if let Some(began) = self.began.take() {
            began();
        }
        tracing::info!(run = run.at.run, target = run.header.target, workers = run.workers, "running");
        let over = async {
            run.over.await;
            // The process ends, and the session waits for its next one.
            let leaves = self.waits_for_next && self.stop.by_signal();
            end_part(run.board, &run.at, &run.node.id.id, (!leaves).then_some(&self.stop)).await
        };
        let Some(sink) = &self.sink else {
            self.shared = over.await;
            return Ok(());
        };
        let clock = run.node.clock;
        let hooked = HookedRun {
            log: Arc::new(SinkOfHooks(Arc::clone(sink))),
            threshold_failed: &|| was_ended_by_threshold(run.board, &run.at.session),
            clock,
            ago: Duration::from_nanos(clock.unix_now_ns().saturating_sub(run.header.started_unix_ns)),
            ended: run.ended,
        };
        (self.shared, ()) = tokio::join!(over, run_hooks(&self.hooks, hooked));
        Ok(())
    }

    async fn deliver(&mut self, cut_by_signal: bool) -> Health {
        let Some(sink) = &self.sink else { return Health::default() };
        let spool = self.options.spool.display().to_string();
        deliver(&sink.sink, cut_by_signal, &spool, &self.stop).await
    }
}

/// Whether a threshold that ends the run has failed. Other thresholds are known to analytics only.
fn was_ended_by_threshold(board: &Board, session: &str) -> bool {
    let session = board.session(session).borrow().clone();
    session.is_some_and(|session| {
        let marks = session.value.spec.last_changes.iter().map(|change| &change.mark);
        marks.into_iter().any(|mark| mark.by == MarkBy::Threshold && mark.new_state().is_some())
    })
}

/// Hooks write their events into the log at analytics.
struct SinkOfHooks(Arc<Counting>);

impl HookLog for SinkOfHooks {
    fn log(&self, record: Record) -> BoxFuture<'_, ()> {
        // Only analytics makes marks.
        if let Record::Event(event) = record {
            self.0.push_entry(Entry::Event(Box::new(event)));
        }
        Box::pin(std::future::ready(()))
    }
}

/// Writes to the board that this node's part of the run is over, except for running chains: the run ends with
/// the last node, unless the session goes on, without `stop`. Returns whether there were others.
async fn end_part(board: &Board, run: &RunRef, node: &str, stop: Option<&Stop>) -> bool {
    let ending = async {
        match stop {
            Some(stop) => {
                let by = if stop.by_signal() { By::Signal } else { By::Schedule };
                board.done(run, node, by).await
            }
            None => board.leave_run(run, node).await,
        }
    };
    match tokio::time::timeout(DELIVER_BRIEFLY, ending).await {
        Ok(Ok(session)) => session.value.status.members.len() > 1,
        Ok(Err(error)) => {
            tracing::warn!(%error, "cannot write to the board that this node has ended its part of the run");
            true
        }
        Err(_) => true,
    }
}

/// Delivers the remaining results. A first signal shows what is pending, a second one ends the wait.
async fn deliver(sink: &GrpcSink, impatient: bool, spool: &str, stop: &Stop) -> Health {
    let within = if impatient { DELIVER_BRIEFLY } else { DELIVER_WITHIN };
    let began = tokio::time::Instant::now();
    let delivering = sink.finish(within);
    tokio::pin!(delivering);
    let pending = || {
        let Health { queued, spooled, .. } = sink.health();
        let left = within.saturating_sub(began.elapsed()).as_secs();
        say(format_args!(
            "the load has ended; {} results have not reached analytics yet, which may take {left} s more: \
             interrupt again to leave them in {spool} for the next start",
            queued + spooled
        ));
    };
    tokio::select! {
        health = &mut delivering => return health,
        () = given_up(impatient, stop, pending) => sink.hurry(),
    }
    delivering.await
}

/// Completes when the user no longer waits for the delivery: with the second signal, or with the first if one has ended
/// the load. A first one only reports what is `pending`.
async fn given_up(impatient: bool, stop: &Stop, pending: impl FnOnce()) {
    if !impatient {
        stop.cut.cancelled().await;
        pending();
    }
    stop.enough.cancelled().await;
}

/// Counts successful results on the way.
struct Counting {
    sink: GrpcSink,
    succeeded: AtomicU64,
}

impl Sink for Counting {
    fn push_entry(&self, entry: Entry) {
        if let Entry::Chain(result) = &entry {
            self.succeeded.fetch_add(u64::from(result.successful), Ordering::Relaxed);
        }
        self.sink.push_entry(entry);
    }

    fn lose(&self, count: u64, why: &str) {
        self.sink.lose(count, why);
    }

    fn health(&self) -> Health {
        self.sink.health()
    }
}

#[cfg(test)]
mod tests;
