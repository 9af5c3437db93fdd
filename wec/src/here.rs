//! A run with everything in this process: challenge server, requester, analytics and its page.
//!
//! Parts start in the order of their dependencies and end in the reverse order: workers, state, sink,
//! challenge server, analytics. Each part is flushed before the next one ends.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wec_acme::Clock;
use wec_analytics::{
    Analytics, ConsumerOptions, Finished, IndexPlace, Ingest, LogPlace, NoticeDetails, Snapshot,
    broken_thresholds, counted, index_at_end, nothing_succeeded, notice, page_link, summary_table,
};
use wec_board::{Board, NodeId, Session, SessionState, Versioned};
use wec_challenge_server::{Addresses, ChallengeServer, Config as ChallengeConfig, Hits, deliver};
use wec_delivery::{LocalSink, Sink};
use wec_pki::TlsOptions;
use wec_record::{LoadState, Mark, MarkBy, MarkValue, MarkWhat, Record, RunHeader};
use wec_requester::executor::BoxFuture;
use wec_requester::{
    Begun, HookLog, HookedRun, Listen, Node, Plan, StartError, Surroundings, Workload, dns_apart,
    remote_challenges, run_hooks,
};
use wec_startup::{Exit, Stop, TextStyle, node_name, say, told};
use wec_store::{ChallengeWriter, MemoryChallenges};

use crate::fleet::Observer;
use crate::junit::{self, TestRun};
use crate::kept_page::{KeptPage, write_index_of};
use crate::output::{OutputOptions, Page};
use crate::progress::{self, Progress};

/// The default address of the page.
pub(crate) const PAGE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8089);
/// The only session of a board in memory.
const SESSION: &str = "default";
/// Longest time for results to reach the log after the end.
const DELIVER_WITHIN: Duration = Duration::from_secs(30);
/// Validation hits that may be queued for analytics.
const HITS: usize = 65_536;

/// A run and its output.
pub(crate) struct Here {
    /// What to run.
    pub(crate) plan: Plan,
    /// The output.
    pub(crate) output: OutputOptions,
    /// Lines to show before the run.
    pub(crate) notes: Vec<String>,
    /// Text to add to the warning that the load tester was the limit; may be empty.
    pub(crate) when_limited: &'static str,
}

/// Runs it, shows it, and returns its exit code. The figures of its fleets are in the log.
pub(crate) async fn run(here: Here, stop: Stop) -> anyhow::Result<Exit> {
    let mut observer = Observer::of(&here.plan);
    run_controlled(here, &mut observer, stop).await
}

/// The same, with something that controls the run.
pub(crate) async fn run_controlled(
    here: Here,
    controller: &mut impl RunController,
    stop: Stop,
) -> anyhow::Result<Exit> {
    let output = here.output.clone();
    let check = doctor_command(&here.plan);
    let outcome = run_and_conclude(here, controller, stop).await;
    output.leave_failure(&outcome);
    outcome.map_err(|error| pointed(error, &check))
}

/// An error of the CA, or of the way to it, with the command that examines both.
fn pointed(error: anyhow::Error, check: &str) -> anyhow::Error {
    match error.downcast_ref::<StartError>() {
        Some(of_ca) if of_ca.is_of_ca() => anyhow!("{}\nstep by step: {check}", told(&error)),
        _ => error,
    }
}

async fn run_and_conclude(
    here: Here,
    controller: &mut impl RunController,
    stop: Stop,
) -> anyhow::Result<Exit> {
    let Here { plan, output, notes, when_limited } = here;
    output.check()?;
    let ended = conduct(&plan, &output, notes, controller, &stop).await?;
    let snapshot = &ended.snapshot;
    let nothing = nothing_succeeded(snapshot);
    let remark = if snapshot.generator.limited { when_limited } else { "" };
    let none = no_verdict(snapshot, &plan, &stop);
    let told = match none {
        Some((_, why)) => TestRun::NoVerdict(snapshot, why),
        None => TestRun::Ran(snapshot, nothing.as_deref()),
    };
    let text = |style: TextStyle| summary_table(snapshot, style) + &style.wrapped(remark, 0);
    let left = output.leave("the summary", || junit::junit(&told), &ended.log, text, snapshot);
    let exit = verdict(snapshot, nothing.as_deref(), none);
    if nothing.is_some() && none.is_none() {
        say(format_args!("step by step: {}", doctor_command(&plan)));
    }
    if let Some(webhook) = &output.exporters.report_to.webhook {
        let details = ended.details(&left, &output, &stop);
        wec_consumer::notify(webhook, &notice(snapshot, exit, &details)).await;
    }
    ended.conclude(left, &output, &stop).await?;
    Ok(exit)
}

impl RunController for () {
    async fn steer(&mut self, _: Running<'_>) {}
}

/// Controls a run from within this process. `()` does nothing.
pub(crate) trait RunController {
    /// Controls the run while it is polled. The run ends when its session is stopped, not when this returns.
    async fn steer(&mut self, run: Running<'_>);
}

/// A run in progress.
#[derive(Clone, Copy)]
pub(crate) struct Running<'a> {
    /// The figures, and the queue for more records.
    pub(crate) analytics: &'a Analytics,
    /// The board with the run's session.
    pub(crate) board: &'a Board,
    /// The session.
    pub(crate) session: &'a str,
    /// The counters of the workers.
    pub(crate) workload: &'a Workload,
    /// Cancelled when the run is to end.
    pub(crate) stop: &'a Stop,
    /// The process's clock.
    pub(crate) clock: Clock,
    /// The live view.
    pub(crate) progress: &'a Progress,
}

/// The results of a run.
pub(crate) struct Ended {
    /// All its figures.
    pub(crate) snapshot: Snapshot,
    /// The path of its log.
    pub(crate) log: String,
    /// The address of its page.
    page: Option<SocketAddr>,
    /// Results that reached neither log nor summary.
    lost: u64,
    log_error: Option<String>,
    /// Records that are in the summary and not in the log.
    log_failed: u64,
    state: anyhow::Result<()>,
}

impl Ended {
    /// For a run that did not run here.
    #[cfg(test)]
    pub(crate) fn of(snapshot: Snapshot, log: &str) -> Self {
        Self {
            snapshot,
            log: log.to_owned(),
            page: None,
            lost: 0,
            log_error: None,
            log_failed: 0,
            state: Ok(()),
        }
    }

    /// What a notice of the run has beside its figures. `left` is whether they could be written.
    pub(crate) fn details(
        &self,
        left: &anyhow::Result<()>,
        output: &OutputOptions,
        stop: &Stop,
    ) -> NoticeDetails {
        let log_error = || Some(format!("the log is not complete: {}", self.log_error.as_ref()?));
        let error = left.as_ref().err().or(self.state.as_ref().err()).map(told).or_else(log_error);
        let stays = self.page.filter(|_| output.keeps_page() && !stop.by_signal());
        let named = output.exporters.report_to.page_url.as_ref().map(|page| page.url());
        let page = page_link(named, stays.map(|address| (address, false)), &self.snapshot.run.id);
        NoticeDetails { error, log: self.log.clone(), page }
    }

    /// Warns of what is missing in the figures, after they have been reported, and keeps the page. `left` is whether they
    /// could be written.
    ///
    /// # Errors
    /// When the figures could not be written, or the state or the log is not complete.
    pub(crate) async fn conclude(
        self,
        left: anyhow::Result<()>,
        output: &OutputOptions,
        stop: &Stop,
    ) -> anyhow::Result<()> {
        let (folder, run) = (output.log_dir.clone(), self.snapshot.run.id.clone());
        let index = index_at_end(self.snapshot.requests);
        let page = self.page.filter(|_| output.keeps_page() && !stop.by_signal());
        let complete = left.and(self.check());
        if let Some(address) = page {
            // The error itself follows at the end of the process.
            if let Err(error) = &complete {
                say(format_args!("warning: {}", told(error)));
            }
            let page_host = output.page_host.clone();
            KeptPage { address, folder, run, index, page_host }.keep(stop).await;
        } else if complete.is_ok() && index != IndexPlace::Nowhere {
            write_index_of(folder, run, stop).await;
        }
        complete
    }

    fn check(self) -> anyhow::Result<()> {
        self.state?;
        if self.lost > 0 {
            say(format_args!("warning: {} results did not reach the log and the summary", self.lost));
        }
        if self.log_failed > 0 {
            let missing = counted(self.log_failed, "record", "records");
            say(format_args!("warning: {missing} in the summary could not be written to the log"));
        }
        match self.log_error {
            Some(error) => bail!("the log {} is not complete, but the summary above is: {error}", self.log),
            None => Ok(()),
        }
    }
}

/// Starts all that a run needs, runs it, and ends everything.
///
/// # Errors
/// When something that the run needs is not available; then nothing is left behind.
pub(crate) async fn conduct(
    plan: &Plan,
    output: &OutputOptions,
    notes: Vec<String>,
    controller: &mut impl RunController,
    stop: &Stop,
) -> anyhow::Result<Ended> {
    let clock = Clock::start();
    let node = Node { clock, id: NodeId::new(node_name(None)), session: SESSION.to_owned(), run: None };
    let mut surroundings = InProcess::new(plan, output, controller, stop, clock);
    surroundings.notes = notes;
    let ended = node.run(plan, &mut surroundings, stop).await?;
    surroundings.end(ended).await
}

/// A programming error: the order of a run's steps was changed.
const NO_ANALYTICS: &str = "analytics was not started";

/// Board, analytics and challenge server of this process, and its terminal.
struct InProcess<'a, P> {
    plan: &'a Plan,
    output: &'a OutputOptions,
    notes: Vec<String>,
    /// Lines about the stored state.
    state: Vec<String>,
    controller: &'a mut P,
    stop: &'a Stop,
    analytics: Option<Analytics>,
    log: String,
    server: Option<OwnServer>,
    hits: Option<JoinHandle<wec_delivery::Health>>,
    sink: Option<Arc<LocalSink>>,
    clock: Clock,
}

impl<'a, P> InProcess<'a, P> {
    fn new(
        plan: &'a Plan,
        output: &'a OutputOptions,
        controller: &'a mut P,
        stop: &'a Stop,
        clock: Clock,
    ) -> Self {
        Self {
            plan,
            output,
            notes: Vec::new(),
            state: Vec::new(),
            controller,
            stop,
            analytics: None,
            log: String::new(),
            server: None,
            hits: None,
            sink: None,
            clock,
        }
    }

    /// Ends everything after the run, in the reverse order of the start.
    async fn end(self, ended: wec_requester::Ended) -> anyhow::Result<Ended> {
        let Self { analytics, log, server, hits, .. } = self;
        if let Some(server) = server {
            server.finish().await;
        }
        if let Some(hits) = hits {
            hits.await.context("passing on validation hits")?;
        }
        let analytics = analytics.context(NO_ANALYTICS)?;
        let page = analytics.web_addr();
        let Finished { snapshot, health } = analytics.finish().await;
        let lost = ended.health.lost + ended.health.queued;
        Ok(Ended {
            snapshot,
            log,
            page,
            lost,
            log_error: health.log_error,
            log_failed: health.log_failed,
            state: ended.state,
        })
    }

    /// A sink into analytics, with an id of its own.
    fn local_sink(&self, id: &str) -> anyhow::Result<LocalSink> {
        let ingest = self.analytics.as_ref().context(NO_ANALYTICS)?.ingest();
        Ok(LocalSink::start(id, self.clock, move |records| ingest.try_deliver(records)))
    }
}

impl<P: RunController> Surroundings for InProcess<'_, P> {
    async fn board(&mut self, run: &str) -> anyhow::Result<Board> {
        let board = Board::local();
        let (analytics, log) = start_analytics(self.output, &board, run).await?;
        (self.analytics, self.log) = (Some(analytics), log);
        Ok(board)
    }

    fn opened(&mut self, notes: Vec<String>) {
        self.state = notes;
    }

    async fn challenges(&mut self, plan: &Plan) -> anyhow::Result<Arc<dyn ChallengeWriter>> {
        let (challenges, server) =
            challenges(plan, &TlsOptions { plaintext: true, ..TlsOptions::default() }).await?;
        if let Some(server) = &server {
            let stream = server.server.hits().stream(HITS);
            let sink = self.local_sink(&NodeId::new("challenge-server").id)?;
            self.hits = Some(tokio::spawn(async move {
                deliver(stream, &sink, || 0).await;
                sink.finish(DELIVER_WITHIN).await
            }));
        }
        self.server = server;
        Ok(challenges)
    }

    fn sink(&mut self, _header: RunHeader, node: &Node) -> anyhow::Result<Arc<dyn Sink>> {
        let sink = Arc::new(self.local_sink(&node.id.id)?);
        self.sink = Some(Arc::clone(&sink));
        Ok(sink)
    }

    async fn accompany(&mut self, run: Begun<'_>) -> anyhow::Result<()> {
        let Self { plan, output, stop, clock, .. } = *self;
        let analytics = self.analytics.as_ref().context(NO_ANALYTICS)?;
        // A run that cannot start leaves no log.
        analytics.begin(run.header).await?;
        let progress = Progress::start(progress::ViewOptions {
            quiet: output.quiet,
            target: wec_text::without_query(plan.directory.as_str()).into_owned(),
            page: analytics.web_addr(),
            notes: std::mem::take(&mut self.notes),
            state: std::mem::take(&mut self.state),
            run_time: plan.run_time(),
            warm_up: plan.warm_up,
            iterations: plan.iterations(),
        });
        let running = Running {
            analytics,
            board: run.board,
            session: SESSION,
            workload: &run.workload,
            stop,
            clock,
            progress: &progress,
        };
        let steering = async {
            self.controller.steer(running).await;
            std::future::pending::<Infallible>().await
        };
        let shown = async {
            tokio::select! {
                // The controller learns of the end before it is dropped.
                biased;
                never = steering => match never {},
                () = run.ended.cancelled() => {}
                never = progress.watch(analytics, run.board.session(SESSION), run.workload.clone(), stop) => match never {},
            }
        };
        let failed = || analytics.snapshot().thresholds.iter().any(|one| one.passed == Some(false));
        let hooked = HookedRun {
            log: Arc::new(IngestOfHooks(analytics.ingest())),
            threshold_failed: &failed,
            clock,
            ago: Duration::ZERO,
            ended: run.ended.clone(),
        };
        let hooks = run_hooks(&output.hooks, hooked);
        tokio::join!(shown, hooks, mark_end(stop.clone(), run.board.clone(), analytics.ingest(), clock));
        progress.end();
        Ok(())
    }

    async fn deliver(&mut self, _cut_by_signal: bool) -> wec_delivery::Health {
        match &self.sink {
            Some(sink) => sink.finish(DELIVER_WITHIN).await,
            None => wec_delivery::Health::default(),
        }
    }
}

/// Hooks write into the log of the analytics of this process.
struct IngestOfHooks(Ingest);

impl HookLog for IngestOfHooks {
    fn log(&self, record: Record) -> BoxFuture<'_, ()> {
        Box::pin(async {
            // Only analytics that has ended returns the record.
            let _ = self.0.deliver(vec![record]).await;
        })
    }
}

async fn start_analytics(
    output: &OutputOptions,
    board: &Board,
    run: &str,
) -> anyhow::Result<(Analytics, String)> {
    wec_startup::private_folder(&output.log_dir)
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
        consumers: ConsumerOptions {
            log: output.log.clone(),
            exporters: output.exporters.clone(),
            // Those of the run are in its plan.
            thresholds: Vec::new(),
            reporters: None,
            notices: None,
        },
        token: std::env::var("WEC_TOKEN").ok().and_then(wec_analytics::Token::new),
        allowed_hosts: output.page_host.clone(),
        opens_with: None,
        node_stats: None,
        holders: Vec::new(),
        tls: None,
    };
    let log = output.log_dir.join(format!("{run}.{}", output.log.format.extension())).display().to_string();
    match Analytics::start(config(listen), board.clone()).await {
        // Another process uses the default port. A port that was given is not replaced.
        Err(wec_analytics::StartError::Listen { .. }) if output.listen.is_none() => {
            let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            Ok((Analytics::start(config(Some(free)), board.clone()).await?, log))
        }
        started => Ok((started?, log)),
    }
}

/// A challenge server of this process.
#[derive(Debug)]
pub(crate) struct OwnServer {
    server: ChallengeServer,
    stop: CancellationToken,
}

impl OwnServer {
    /// Where it listens.
    pub(crate) fn addresses(&self) -> Addresses {
        self.server.addresses()
    }

    /// The validations that arrived.
    pub(crate) fn hits(&self) -> &Hits {
        self.server.hits()
    }

    /// Ends it, after the last chain whose validations it answers.
    pub(crate) async fn finish(self) {
        self.stop.cancel();
        self.server.finish().await;
    }
}

/// The challenge store; for challenges in memory, with a server of this process.
///
/// # Errors
/// When the store in the plan cannot be reached, or an address is in use.
pub(crate) async fn challenges(
    plan: &Plan,
    tls: &TlsOptions,
) -> anyhow::Result<(Arc<dyn ChallengeWriter>, Option<OwnServer>)> {
    if let Some(writer) = remote_challenges(plan, tls).await? {
        return Ok((writer, None));
    }
    let challenges = Arc::new(MemoryChallenges::default());
    let config = ChallengeConfig {
        http01: plan.listen.http01,
        tls_alpn01: plan.listen.tlsalpn01,
        dns: plan.listen.dns,
        default_ipv4: Some(hosts_address(plan.listen)),
        caa: plan.caa.clone(),
        ..ChallengeConfig::default()
    };
    let (reader, stop) = (Arc::clone(&challenges) as _, CancellationToken::new());
    let server =
        ChallengeServer::start(config, reader, stop.clone()).await.context("the challenge server")?;
    Ok((dns_apart(plan, challenges).await?, Some(OwnServer { server, stop })))
}

/// What DNS answers for names: the address of the listener to which the CA is to connect, or loopback if it listens on all
/// addresses.
fn hosts_address(listen: Listen) -> Ipv4Addr {
    let named = |address: SocketAddr| match address.ip() {
        IpAddr::V4(address) if !address.is_unspecified() => Some(address),
        _ => None,
    };
    let listeners = [listen.http01, listen.tlsalpn01];
    listeners.into_iter().flatten().find_map(named).unwrap_or(Ipv4Addr::LOCALHOST)
}

/// Marks the end of the load, so that the time of the last chains counts for no rate. A session that was
/// stopped has its mark already.
async fn mark_end(stop: Stop, board: Board, ingest: Ingest, clock: Clock) {
    stop.finish.cancelled().await;
    let by = if stop.by_signal() { MarkBy::Signal } else { MarkBy::Schedule };
    let state = |session: &Versioned<Session>| session.value.spec.state;
    let from = board.session(SESSION).borrow().as_ref().map(state).unwrap_or(SessionState::Running);
    if from == SessionState::Stopped {
        return;
    }
    let from = MarkValue::parse(&MarkWhat::State, from.name());
    let to = MarkValue::State(LoadState::Stopped);
    let mark = Mark { from, ..Mark::new(clock.unix_now_ns(), by, MarkWhat::State, to) };
    // Only analytics that has ended returns the record.
    let _ = ingest.deliver(vec![Record::Mark(mark)]).await;
}

/// Why the figures are no verdict on the CA, if they are not, and the exit code of such a run.
fn no_verdict(snapshot: &Snapshot, plan: &Plan, stop: &Stop) -> Option<(Exit, &'static str)> {
    // A run may be too short for a bound to be exceeded for long enough.
    let dropped = snapshot.generator.dropped_share.is_some_and(|share| share > plan.bounds.dropped);
    if stop.by_signal() {
        Some((Exit::Interrupted, "the run was interrupted: a partial run has no verdict"))
    } else if plan.plain.strict && (snapshot.generator.limited || dropped) {
        let why = "the run was generator-limited, which --strict does not allow";
        Some((Exit::GeneratorLimited, why))
    } else {
        None
    }
}

/// In the order of [`Exit`]: an interrupted run has no verdict, and neither has one that the load tester
/// limited.
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

/// The command that checks what a plan's run would meet.
fn doctor_command(plan: &Plan) -> String {
    let mut command = format!("wec doctor --directory {}", wec_text::without_query(plan.directory.as_str()));
    if let Some(cacert) = &plan.cacert {
        command += &format!(" --cacert {}", cacert.display());
    }
    if plan.insecure {
        command += " --insecure true";
    }
    command
}

#[cfg(test)]
mod tests;
