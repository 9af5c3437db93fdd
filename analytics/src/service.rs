//! `Analytics`: the running service. It starts and ends the parts.
//!
//! The parts end in the order of the data flow: first the receiving of results by gRPC, then the queue is
//! drained into the log and the figures, then watchers get the last figures, then the page ends.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wec_board::{Board, By, Change, SessionState};
use wec_figures::repeating::{REPEATS, Reported};
use wec_figures::snapshot::Snapshot;
use wec_figures::window::WindowFigures;
use wec_listen::{Connections, Rules};
use wec_node_stats::Server as NodeStatsServer;
use wec_pki::{Clients, Tls, TlsError};
use wec_record::{Record, RunHeader, Threshold};
use wec_startup::{Access, Holder, Token};

use crate::grpc;
use crate::ingest::Ingest;
use crate::log::LogError;
use crate::runs::{
    self, Catalogue, ConsumerOptions, ExportedRuns, IndexPlace, LogPlace, RecordedRun, Replayed, Reporters,
    Shown,
};
use crate::views::{CapacityView, Health, Joining};
use crate::web::{self, Feed};

/// Time for watchers to fetch the last figures, and for servers to end.
const LAST_FIGURES: Duration = Duration::from_secs(2);

/// Configuration of analytics.
#[derive(Clone, Debug)]
pub struct Config {
    /// Place of the logs.
    pub log: LogPlace,
    /// Address of the page and the web API; none for no page.
    pub web: Option<SocketAddr>,
    /// Address for results by gRPC; none for no listener.
    pub grpc: Option<SocketAddr>,
    /// The session that the page shows and changes.
    pub session: String,
    /// Options of the consumers of each run.
    pub consumers: ConsumerOptions,
    /// Token for people and senders. Required for a listener beyond loopback.
    pub token: Option<Token>,
    /// Further tokens, with names and rights.
    pub holders: Vec<Holder>,
    /// Host names for requests to the page, beside IP addresses and `localhost`.
    pub allowed_hosts: Vec<String>,
    /// The run that is shown by default until a run has begun here.
    pub opens_with: Option<String>,
    /// The statistics of the nodes, for the page.
    pub node_stats: Option<Arc<NodeStatsServer>>,
    /// TLS of the page, for people and services, and of results, for services only.
    pub tls: Option<Tls>,
}

/// A recorded run to show.
#[derive(Debug)]
pub(crate) struct Replay {
    pub(crate) recorded: RecordedRun,
    /// Seconds of the run in one second; none to show its end.
    pub(crate) speed: Option<f64>,
}

/// What the page shows beside the runs that are live.
#[derive(Debug, Default)]
pub(crate) struct Showing {
    pub(crate) replay: Option<Replay>,
    pub(crate) index: IndexPlace,
}

/// Why analytics could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It cannot listen on an address.
    #[error("cannot listen on {address} for {what}: {source}; name another address or free this one")]
    Listen {
        /// The page or results.
        what: &'static str,
        /// As configured.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// A listener that other machines can reach has no token.
    #[error("{what} on {address} can be reached by others: set WEC_TOKEN, or listen on loopback")]
    TokenNeeded {
        /// The page or results.
        what: &'static str,
        /// As configured.
        address: SocketAddr,
    },
    /// The files for TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The log cannot be written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The system refused a thread.
    #[error("cannot start the thread that writes the log: {0}")]
    Thread(io::Error),
}

/// The running service. End it with [`Analytics::finish`]. If it is dropped, it still drains its queue into
/// the log, but nothing waits for that.
#[derive(Debug)]
pub struct Analytics {
    ingest: Ingest,
    shown: Arc<Shown>,
    web_addr: Option<SocketAddr>,
    grpc_addr: Option<SocketAddr>,
    log_thread: Option<thread::JoinHandle<()>>,
    servers: Vec<JoinHandle<()>>,
    stop_results: CancellationToken,
    drain: CancellationToken,
    ended: watch::Sender<bool>,
    capacity: watch::Sender<Option<CapacityView>>,
    stop_web: CancellationToken,
    reporters: Option<Reporters>,
}

impl Analytics {
    /// Starts listening and logging. Must be called within a tokio runtime, which then runs the listeners.
    ///
    /// # Errors
    /// When it cannot listen on an address, or an address beyond loopback has no token.
    pub async fn start(config: Config, board: Board) -> Result<Self, StartError> {
        // Whoever may write the logs may write the indexes of earlier ones that are opened in the page.
        Self::start_showing(config, board, Showing { replay: None, index: IndexPlace::Beside }).await
    }

    /// The same; with a replay, its run is shown and no other.
    pub(crate) async fn start_showing(
        config: Config,
        board: Board,
        Showing { replay, index }: Showing,
    ) -> Result<Self, StartError> {
        match &config.log {
            LogPlace::Folder(folder) => wec_log::check(folder, true)?,
            LogPlace::File(file) => wec_log::check(file, false)?,
        }
        let tls = config.tls.as_ref();
        let of_people = tls.map(|tls| tls.acceptor("the page", Clients::People, "http/1.1")).transpose()?;
        let of_services = tls.map(|tls| tls.acceptor("results", Clients::Services, "h2")).transpose()?;
        let access = Access::new(config.token, config.holders);
        let web = listen("the page", config.web, &access).await?;
        let grpc = listen("results", config.grpc, &access).await?;
        let drain = CancellationToken::new();
        let reporters = Reporters::start(&config.consumers.exporters.report_to);
        let exporters = config.consumers.exporters.clone();
        let consumers = ConsumerOptions { reporters: reporters.clone(), ..config.consumers };
        let (ingest, shown, log_thread) =
            runs::start(config.log.clone(), consumers, (board.clone(), &config.session), drain.clone())
                .map_err(StartError::Thread)?;
        let mut analytics = Self {
            web_addr: web.as_ref().map(|(_, address)| *address),
            grpc_addr: grpc.as_ref().map(|(_, address)| *address),
            ingest: ingest.clone(),
            shown: shown.clone(),
            log_thread: Some(log_thread),
            servers: Vec::new(),
            stop_results: CancellationToken::new(),
            drain,
            ended: watch::Sender::new(false),
            capacity: watch::Sender::new(None),
            stop_web: CancellationToken::new(),
            reporters,
        };
        let of_page = Connections::new(Rules {
            // The last figures are fetched within this time.
            grace: LAST_FIGURES,
            ..Rules::control("the page")
        });
        let of_results = Connections::new(grpc::rules());
        let listening = [(&of_page, web.is_some()), (&of_results, grpc.is_some())];
        let listening = listening.into_iter().filter(|(_, there)| *there);
        shown.watch_listeners(listening.map(|(connections, _)| Arc::clone(connections)).collect());
        let ending = end_on_threshold(board.clone(), shown.clone());
        analytics.servers.push(until(analytics.stop_results.clone(), ending));
        analytics.servers.push(until(analytics.stop_results.clone(), report_repeating(shown.clone())));
        analytics.servers.push(until(analytics.stop_results.clone(), look_after(board.clone())));
        let marks = write_marks(board.clone(), config.session.clone(), ingest.clone());
        analytics.servers.push(until(analytics.stop_results.clone(), marks));
        analytics.servers.extend(exporters.start(&ExportedRuns {
            shown: shown.clone(),
            ingest: ingest.clone(),
            results_end: analytics.stop_results.clone(),
            figures_final: analytics.stop_web.clone(),
        }));
        if let Some((listener, _)) = grpc {
            let receiving =
                grpc::Receiving { ingest: ingest.clone(), access: access.clone(), tls: of_services };
            let stop = analytics.stop_results.clone();
            analytics.servers.push(tokio::spawn(grpc::serve(listener, of_results, receiving, stop)));
        }
        if let Some((listener, _)) = web {
            let mut runs = Catalogue::new(config.log, index, Arc::clone(&shown));
            if let Some(run) = config.opens_with {
                runs.open_with(&run)?;
            }
            if let Some(Replay { recorded, speed }) = replay {
                let replayed = Arc::new(Replayed::new(recorded, speed, Arc::clone(&shown)));
                runs.show_only(Arc::clone(&replayed));
                analytics.servers.push(until(analytics.stop_web.clone(), replayed.play()));
            }
            let (tls, token) = (config.tls.is_some(), !access.is_open());
            let joining = Joining::new(board.place(), analytics.grpc_addr, tls, token);
            let setup = web::Setup {
                runs,
                feed: Feed::new(shown, ingest, board.clone(), analytics.capacity.subscribe()),
                board,
                session: config.session,
                node_stats: config.node_stats,
                joining,
                access,
                allowed_hosts: config.allowed_hosts,
                ended: analytics.ended.subscribe(),
                connections: of_page,
                tls: of_people,
            };
            let serving = web::serve(listener, setup, analytics.stop_web.clone());
            analytics.servers.push(tokio::spawn(async move {
                if let Err(error) = serving.await {
                    tracing::error!("the page is no longer served: {error}");
                }
            }));
        }
        Ok(analytics)
    }

    /// Begins a run of this process, or continues it if its log exists.
    ///
    /// # Errors
    /// When its log cannot be written, or belongs to another run.
    pub async fn begin(&self, header: RunHeader) -> Result<(), LogError> {
        self.ingest.begin(header).await
    }

    /// The entry point for records of this process.
    pub fn ingest(&self) -> Ingest {
        self.ingest.clone()
    }

    /// The figures of the latest run so far.
    pub fn snapshot(&self) -> Snapshot {
        self.shown.current().figures().lock().snapshot()
    }

    /// From now on keeps what is needed for windows of time within the current run, and judges each window by
    /// these thresholds. Windows of the thresholds themselves are ignored.
    pub fn watch_windows(&self, thresholds: Vec<Threshold>) {
        self.shown.current().figures().lock().watch_windows(thresholds);
    }

    /// The figures of a window, nanoseconds since the Unix epoch, rounded to whole [`PART`](crate::PART)s.
    /// Empty where nothing was kept.
    pub fn window(&self, unix_ns: Range<u64>) -> WindowFigures {
        self.shown
            .current()
            .figures()
            .lock()
            .windows()
            .map(|windows| windows.figures(unix_ns))
            .unwrap_or_default()
    }

    /// Discards everything before this time, nanoseconds since the Unix epoch. No later window may begin
    /// before it.
    pub fn forget_windows_before(&self, unix_ns: u64) {
        if let Some(windows) = self.shown.current().figures().lock().windows() {
            windows.forget_before(unix_ns);
        }
    }

    /// Shows the state of a capacity search.
    pub fn show_capacity(&self, view: CapacityView) {
        self.capacity.send_replace(Some(view));
    }

    /// The id of the latest run; none before the first.
    pub fn run_id(&self) -> Option<String> {
        self.shown.current().figures().lock().header().map(|header| header.run.clone())
    }

    /// The condition of the service.
    pub fn health(&self) -> Health {
        self.shown.health(&*self.shown.current(), &self.ingest)
    }

    /// The address of the page, if any.
    pub const fn web_addr(&self) -> Option<SocketAddr> {
        self.web_addr
    }

    /// The address for results, if any.
    pub const fn grpc_addr(&self) -> Option<SocketAddr> {
        self.grpc_addr
    }

    /// Processes all queued records, writes the log to the disk, and returns the final figures.
    pub async fn finish(mut self) -> Finished {
        self.stop_results.cancel();
        self.drain.cancel();
        if let Some(thread) = self.log_thread.take() {
            // The panic hook has reported a panic of that thread; the figures until then remain.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
        self.ended.send_replace(true);
        self.stop_web.cancel();
        if let Some(reporters) = self.reporters.take() {
            reporters.finish().await;
        }
        for mut server in std::mem::take(&mut self.servers) {
            if tokio::time::timeout(LAST_FIGURES, &mut server).await.is_err() {
                server.abort();
            }
        }
        Finished { snapshot: self.snapshot(), health: self.health() }
    }
}

/// The results of a service that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Finished {
    /// The last run's figures.
    pub snapshot: Snapshot,
    /// Whether the log is complete.
    pub health: Health,
}

impl Drop for Analytics {
    fn drop(&mut self) {
        self.stop_results.cancel();
        self.drain.cancel();
        self.stop_web.cancel();
    }
}

async fn listen(
    what: &'static str,
    address: Option<SocketAddr>,
    access: &Access,
) -> Result<Option<(TcpListener, SocketAddr)>, StartError> {
    let Some(address) = address else { return Ok(None) };
    if !address.ip().is_loopback() && access.is_open() {
        return Err(StartError::TokenNeeded { what, address });
    }
    let failed = |source| StartError::Listen { what, address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok(Some((listener, bound)))
}

/// Writes every change of a session to its run's log as a mark, whoever made it. `session` is the one whose run
/// may have begun in this process.
async fn write_marks(board: Board, session: String, ingest: Ingest) {
    let mut changes = board.changes();
    loop {
        let change = match changes.recv().await {
            Ok(change) => change,
            Err(RecvError::Lagged(missed)) => {
                tracing::warn!("{missed} changes of the load are not marked in the log");
                continue;
            }
            Err(RecvError::Closed) => return,
        };
        let run = run_of(&board, &change.session);
        let mark = vec![Record::Mark(change.mark)];
        let delivered = match run {
            Some(run) => ingest.deliver_of(run, mark).await,
            // A session that was put by hand has no run of its own.
            None if change.session == session => ingest.deliver(mark).await,
            None => continue,
        };
        if delivered.is_err() {
            return;
        }
    }
}

/// The present run of a session.
fn run_of(board: &Board, session: &str) -> Option<String> {
    let session = board.session(session).borrow().clone()?;
    Some(session.value.status.run).filter(|run| !run.is_empty())
}

/// How often to look at planned sessions.
const LOOK_AFTER: Duration = Duration::from_secs(5);

/// Ends planned sessions whose agents have ended or died. Agents do it as well, unless none is left.
async fn look_after(board: Board) {
    loop {
        tokio::time::sleep(LOOK_AFTER).await;
        let active = board.agents().borrow().plans.values().any(|plan| plan.value.state.is_active());
        if active && let Err(error) = board.conclude_plans().await {
            tracing::debug!(%error, "the states of sessions cannot be updated now");
        }
    }
}

/// How often to check whether a threshold ends the run.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The same for a run without such thresholds. The next run may have some.
const LOOK_RARELY: Duration = Duration::from_secs(1);

/// Stops the session when a threshold with `abort` has failed. The mark of that change arrives with the log,
/// so no state is kept here.
async fn end_on_threshold(board: Board, shown: Arc<Shown>) {
    let mut look = LOOK_RARELY;
    loop {
        tokio::time::sleep(look).await;
        look = LOOK_RARELY;
        let mut failed = Vec::new();
        for run in shown.runs() {
            let aggregate = run.figures().lock();
            if aggregate.may_end() {
                look = LOOK_EVERY;
            }
            let Some(header) = aggregate.header() else { continue };
            // Results of an earlier run may still arrive.
            let follows = run_of(&board, &header.session).is_none_or(|run| run == header.run);
            let expression = aggregate.wants_end().filter(|_| follows).map(ToString::to_string);
            failed.extend(expression.map(|expression| (header.session.clone(), expression)));
        }
        if failed.is_empty() {
            continue;
        }
        for (session, expression) in failed {
            tracing::warn!("the run ends: {expression} has failed");
            let stop = Change::state(By::Threshold, SessionState::Stopped);
            if let Err(error) = board.change(&session, stop).await {
                tracing::error!("cannot end the run: {error}");
            }
        }
        // The mark reaches the log after a delay, and an unreachable board is not asked continuously.
        tokio::time::sleep(4 * LOOK_EVERY).await;
    }
}

/// How often to check for repeating errors.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Warns of errors that repeat from the start of the run, once each.
async fn report_repeating(shown: Arc<Shown>) {
    let mut reported = Reported::default();
    loop {
        tokio::time::sleep(REPORT_EVERY).await;
        let run = shown.current();
        let snapshot = {
            let aggregate = run.figures().lock();
            // A snapshot is expensive, and most runs have no such errors.
            if !aggregate.has_failed_times(REPEATS) {
                continue;
            }
            aggregate.snapshot()
        };
        for news in reported.news(&snapshot) {
            tracing::warn!("{news}");
        }
    }
}

fn until(stop: CancellationToken, work: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(async move {
        stop.run_until_cancelled(work).await;
    })
}
