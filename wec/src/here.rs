//! A run with everything in this process: challenge server, requester, analytics and its page.
//!
//! Parts start in the order in which one needs the other, and end the other way round: workers, state, sink,
//! challenge server, analytics. What a part still holds is flushed before the next one goes.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio_util::sync::CancellationToken;
use wec_acme::Clock;
use wec_analytics::{
    Analytics, Finished, Ingest, LogPlace, Snapshot, broken_thresholds, nothing_succeeded, summary_table,
};
use wec_board::{Board, By, Session, SessionState, Versioned};
use wec_challenge_server::{ChallengeServer, Config as ChallengeConfig, HitStream};
use wec_record::{Record, RunHeader};
use wec_requester::sink::{LocalSink, Sink};
use wec_requester::{
    NodeId, Parts, Plan, Requester, Workload, dns_apart, identify, open_state, preflight, remote_challenges,
};
use wec_startup::{Exit, Paper, Stop, node_name, say};
use wec_store::{ChallengeWriter, MemoryChallenges};

use crate::junit::{self, Outcome};
use crate::progress::{self, Progress};
use crate::run::{OutputOptions, Page};

/// The page's address unless another is asked for.
const PAGE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8089);
/// The one session of a board in memory.
const SESSION: &str = "default";
/// How long results may take from the workers into the log, after the end.
const DELIVER_WITHIN: Duration = Duration::from_secs(30);
/// Validation hits that may wait for analytics.
const HITS: usize = 65_536;

/// What is run, and what is shown of it.
pub(crate) struct Here {
    /// What to do.
    pub(crate) plan: Plan,
    /// What to leave.
    pub(crate) output: OutputOptions,
    /// Lines to show people before the run.
    pub(crate) notes: Vec<String>,
    /// What to tell people of a run in which the load tester was the limit, beside that it was; may be empty.
    pub(crate) when_limited: &'static str,
}

/// Runs it, shows it, and says how it ended.
pub(crate) async fn run(here: Here, stop: Stop) -> anyhow::Result<Exit> {
    let output = here.output.clone();
    let outcome = run_and_conclude(here, stop).await;
    output.leave_failure(&outcome);
    outcome
}

async fn run_and_conclude(here: Here, stop: Stop) -> anyhow::Result<Exit> {
    let Here { plan, output, notes, when_limited } = here;
    output.check()?;
    let ended = conduct(&plan, &output, notes, &mut (), &stop).await?;
    let snapshot = &ended.snapshot;
    let nothing = nothing_succeeded(snapshot);
    let remark = if snapshot.generator.limited { when_limited } else { "" };
    let none = no_verdict(snapshot, &plan, &stop);
    let told = match none {
        Some((_, why)) => Outcome::NoVerdict(snapshot, why),
        None => Outcome::Ran(snapshot, nothing.as_deref()),
    };
    let text = |paper: Paper| summary_table(snapshot, paper) + &paper.wrapped(remark, 0);
    output.leave("the summary", || junit::junit(&told), &ended.log, text, snapshot)?;
    let exit = verdict(snapshot, nothing.as_deref(), none);
    ended.check()?;
    Ok(exit)
}

impl Pilot for () {
    async fn steer(&mut self, _: Running<'_>) {}
}

/// Who steers a run from within this process. `()` leaves it alone.
pub(crate) trait Pilot {
    /// Steers for as long as it is polled. What ends the run is a session that is stopped, not that this returns.
    async fn steer(&mut self, run: Running<'_>);
}

/// A run that is under way.
#[derive(Clone, Copy)]
pub(crate) struct Running<'a> {
    /// What is found, and where to deliver more.
    pub(crate) analytics: &'a Analytics,
    /// Where the session is that the run follows.
    pub(crate) board: &'a Board,
    /// Which one.
    pub(crate) session: &'a str,
    /// What the workers count.
    pub(crate) workload: &'a Workload,
    /// Cancelled when the run is to end.
    pub(crate) stop: &'a Stop,
    /// The process's.
    pub(crate) clock: Clock,
    /// What people are shown meanwhile.
    pub(crate) progress: &'a Progress,
}

/// What a run leaves.
pub(crate) struct Ended {
    /// All its figures.
    pub(crate) snapshot: Snapshot,
    /// Where its log is.
    pub(crate) log: String,
    /// Results that reached neither.
    lost: u64,
    log_error: Option<String>,
    state: anyhow::Result<()>,
}

impl Ended {
    /// Of nothing that ran.
    #[cfg(test)]
    pub(crate) fn of(snapshot: Snapshot, log: &str) -> Self {
        Self { snapshot, log: log.to_owned(), lost: 0, log_error: None, state: Ok(()) }
    }

    /// Warns of what is missing in the figures; to be asked after they have been told.
    ///
    /// # Errors
    /// When the state or the log is not whole.
    pub(crate) fn check(self) -> anyhow::Result<()> {
        self.state?;
        if self.lost > 0 {
            say(format_args!("warning: {} results never reached the log and the summary", self.lost));
        }
        match self.log_error {
            Some(error) => bail!("the log {} is not whole, the summary above is: {error}", self.log),
            None => Ok(()),
        }
    }
}

/// Starts all that a run needs, runs it, and ends it all again.
///
/// # Errors
/// When something that the run needs cannot be had; then nothing is left behind.
pub(crate) async fn conduct(
    plan: &Plan,
    output: &OutputOptions,
    notes: Vec<String>,
    pilot: &mut impl Pilot,
    stop: &Stop,
) -> anyhow::Result<Ended> {
    let clock = Clock::start();
    let client = stop.unless_stopped(preflight(plan, clock)).await?;
    let board = Board::local();
    let node = NodeId::new(node_name(None));
    let header = identify(plan, SESSION, &node.name, clock);

    let (analytics, log) = start_analytics(output, &board, &header.run).await?;
    let state = stop.unless_stopped(open_state(plan)).await?;
    let (challenges, server) = stop.unless_stopped(challenges(plan)).await?;
    let hits = server.as_ref().map(|server| {
        let stream = server.server.hits().stream(HITS);
        tokio::spawn(pass_on_hits(stream, analytics.ingest(), clock))
    });

    let ingest = analytics.ingest();
    let sink = Arc::new(LocalSink::start(&node.id, clock, move |records| ingest.try_deliver(records)));
    let parts = Parts {
        clock,
        client: Arc::new(client),
        state: state.clone(),
        challenges,
        sink: Arc::clone(&sink) as Arc<dyn Sink>,
        board: board.clone(),
        session: SESSION.to_owned(),
        node,
    };
    let requester = match stop.unless_stopped(Requester::start(plan, parts, stop.clone())).await {
        Ok(requester) => requester,
        Err(error) => {
            // What was opened is closed all the same; the first error is the one to tell.
            let _ = state.close().await;
            return Err(error);
        }
    };
    // A run that could not start leaves no log behind. What it had to make before is not of its time.
    let header = RunHeader { started_unix_ns: requester.ready_unix_ns(), ..header };
    analytics.begin(header).await?;
    let ending = tokio::spawn(mark_end(stop.clone(), board.clone(), analytics.ingest(), clock));
    let progress = Progress::start(progress::Setting {
        quiet: output.quiet,
        target: plan.directory.to_string(),
        page: analytics.web_addr(),
        notes,
        run_time: plan.run_time(),
        iterations: plan.iterations(),
    });
    let workload = requester.workload();
    let running = Running {
        analytics: &analytics,
        board: &board,
        session: SESSION,
        workload: &workload,
        stop,
        clock,
        progress: &progress,
    };
    let steering = async {
        pilot.steer(running).await;
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        // What was exceeded is in the snapshot, too.
        _limits = requester.run() => {}
        never = progress.watch(&analytics, board.session(SESSION), workload.clone(), stop) => match never {},
        never = steering => match never {},
    }
    progress.end();
    ending.await.context("marking the end")?;

    let state = state.close().await.context("the last changes of the state");
    let delivered = sink.finish(DELIVER_WITHIN).await;
    if let Some(server) = server {
        server.finish().await;
    }
    if let Some(hits) = hits {
        hits.await.context("passing on validation hits")?;
    }
    let Finished { snapshot, health } = analytics.finish().await;
    let lost = delivered.lost + delivered.queued;
    Ok(Ended { snapshot, log, lost, log_error: health.log_error, state })
}

async fn start_analytics(
    output: &OutputOptions,
    board: &Board,
    run: &str,
) -> anyhow::Result<(Analytics, String)> {
    std::fs::create_dir_all(&output.log_dir)
        .with_context(|| format!("cannot make the folder of logs {}", output.log_dir.display()))?;
    let listen = match output.listen {
        _ if output.headless => None,
        Some(Page::Off) => None,
        Some(Page::At(address)) => Some(address),
        None => Some(PAGE),
    };
    let config = |web| wec_analytics::Config {
        log: LogPlace::Folder(output.log_dir.clone()),
        web,
        grpc: None,
        session: SESSION.to_owned(),
        thresholds: Vec::new(),
        token: std::env::var("WEC_TOKEN").ok().and_then(wec_analytics::Token::new),
        allowed_hosts: Vec::new(),
    };
    let log = output.log_dir.join(format!("{run}.jsonl")).display().to_string();
    match Analytics::start(config(listen), board.clone()).await {
        // Somebody else has the usual port. Whoever named a port wants that one.
        Err(wec_analytics::StartError::Listen { .. }) if output.listen.is_none() => {
            let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            Ok((Analytics::start(config(Some(free)), board.clone()).await?, log))
        }
        started => Ok((started?, log)),
    }
}

/// A challenge server of this process.
pub(crate) struct OwnServer {
    server: ChallengeServer,
    stop: CancellationToken,
}

impl OwnServer {
    /// Ends it, after the last chain whose validations it answers.
    pub(crate) async fn finish(self) {
        self.stop.cancel();
        self.server.finish().await;
    }
}

/// Where challenge data goes; with challenges in memory, into a server of this process.
///
/// # Errors
/// When what the plan names cannot be reached, or an address cannot be listened on.
pub(crate) async fn challenges(plan: &Plan) -> anyhow::Result<(Arc<dyn ChallengeWriter>, Option<OwnServer>)> {
    if let Some(writer) = remote_challenges(plan).await? {
        return Ok((writer, None));
    }
    let challenges = Arc::new(MemoryChallenges::default());
    let config = ChallengeConfig {
        http01: plan.listen.http01,
        tls_alpn01: plan.listen.tlsalpn01,
        dns: plan.listen.dns,
        default_ipv4: Some(Ipv4Addr::LOCALHOST),
        ..ChallengeConfig::default()
    };
    let (reader, stop) = (Arc::clone(&challenges) as _, CancellationToken::new());
    let server =
        ChallengeServer::start(config, reader, stop.clone()).await.context("the challenge server")?;
    Ok((dns_apart(plan, challenges)?, Some(OwnServer { server, stop })))
}

/// Marks when the load ends, so that no rate is asked of the time in which the last chains finish. A session that was
/// stopped has its mark already.
async fn mark_end(stop: Stop, board: Board, ingest: Ingest, clock: Clock) {
    stop.finish.cancelled().await;
    let by = if stop.by_signal() { By::Signal } else { By::Schedule };
    let state = |session: &Versioned<Session>| session.value.state;
    let from = board.session(SESSION).borrow().as_ref().map(state).unwrap_or(SessionState::Running);
    if from == SessionState::Stopped {
        return;
    }
    let mark = Record::Mark {
        at_unix_ns: clock.unix_now_ns(),
        by: by.name().to_owned(),
        scenario: String::new(),
        what: "state".to_owned(),
        from: from.name().to_owned(),
        to: SessionState::Stopped.name().to_owned(),
    };
    // Only analytics that has ended gives it back.
    let _ = ingest.deliver(vec![mark]).await;
}

/// Numbers hits and hands them to analytics until the challenge server has ended.
async fn pass_on_hits(mut stream: HitStream, ingest: Ingest, clock: Clock) {
    let node = NodeId::new("challenge-server").id;
    let mut seq = 0;
    let mut hits = Vec::new();
    while stream.recv_many(&mut hits, 512).await > 0 {
        let mut records: Vec<Record> = Vec::with_capacity(hits.len() + 1);
        for mut hit in hits.drain(..) {
            seq += 1;
            hit.seq = seq;
            records.push(Record::Hit { node: node.clone(), hit });
        }
        let lost = stream.take_lost();
        if lost > 0 {
            seq += 1;
            let why = "validation hits came faster than analytics took them".to_owned();
            records.push(Record::Lost {
                node: node.clone(),
                seq,
                at_unix_ns: clock.unix_now_ns(),
                count: lost,
                why,
            });
        }
        if ingest.deliver(records).await.is_err() {
            return;
        }
    }
}

/// Why what was found is no verdict on the CA, if it is none, and how such a run ends.
fn no_verdict(snapshot: &Snapshot, plan: &Plan, stop: &Stop) -> Option<(Exit, &'static str)> {
    // A run may be too short for a bound to be exceeded for long enough.
    let dropped = snapshot.generator.dropped_share.is_some_and(|share| share > plan.bounds.dropped);
    if stop.by_signal() {
        Some((Exit::Interrupted, "the run was interrupted: there is no verdict on a part of it"))
    } else if plan.strict && (snapshot.generator.limited || dropped) {
        let why = "the run was generator-limited, and --strict asks for one that is not";
        Some((Exit::GeneratorLimited, why))
    } else {
        None
    }
}

/// In the order of [`Exit`]: what people cut short has no verdict, and one that is not the CA's is not given.
fn verdict(snapshot: &Snapshot, nothing: Option<&str>, none: Option<(Exit, &str)>) -> Exit {
    if let Some((Exit::Interrupted, why)) = none {
        say(format_args!("error: {why}"));
        return Exit::Interrupted;
    }
    let broken = broken_thresholds(snapshot);
    broken.iter().for_each(say);
    if let Some(nothing) = nothing {
        say(format_args!("error: {nothing}"));
    }
    match none {
        Some((exit, why)) => {
            say(format_args!("error: {why}"));
            exit
        }
        None if broken.is_empty() && nothing.is_none() => Exit::Passed,
        None => Exit::Failed,
    }
}
