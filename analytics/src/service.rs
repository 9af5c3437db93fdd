//! `Analytics`: the running service, and who starts and ends its parts.
//!
//! Ending goes against the flow: no new results by gRPC, then the queue is emptied into the log and the figures,
//! then watchers get the last figures, then the page goes.

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
use wec_listen::{Connections, Rules};
use wec_record::{Record, RunHeader, Threshold};

use crate::grpc;
use crate::ingest::Ingest;
use crate::log::{self, LogError};
use crate::repeating::Reported;
use crate::runs::{self, Catalogue, ConsumerOptions, LogPlace, Run as _, Shown};
use crate::snapshot::{CapacityView, Health, Snapshot};
use crate::token::Token;
use crate::web::{self, Feed};
use crate::window::WindowFigures;

/// How long watchers may take to fetch the last figures, and servers to end.
const LAST_FIGURES: Duration = Duration::from_secs(2);

/// What analytics is to do.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where logs go.
    pub log: LogPlace,
    /// Where the page and the web API listen; nowhere when none.
    pub web: Option<SocketAddr>,
    /// Where results are taken by gRPC; nowhere when none.
    pub grpc: Option<SocketAddr>,
    /// The session that the page shows and changes.
    pub session: String,
    /// What the consumers of each run are asked to do.
    pub consumers: ConsumerOptions,
    /// What lets people and senders in. Needed for a listener beyond loopback.
    pub token: Option<Token>,
    /// Names, besides IP addresses and `localhost`, by which the page may be asked for.
    pub allowed_hosts: Vec<String>,
    /// The run that is shown where nobody names one, as long as no run has begun here.
    pub opens_with: Option<String>,
}

/// Why analytics could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address} for {what}: {source}; name another address or free this one")]
    Listen {
        /// The page or results.
        what: &'static str,
        /// As configured.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A listener that others could reach has no token.
    #[error("{what} on {address} can be reached by others: set WEC_TOKEN, or listen on loopback")]
    TokenNeeded {
        /// The page or results.
        what: &'static str,
        /// As configured.
        address: SocketAddr,
    },
    /// There can be no log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The system gave no thread.
    #[error("cannot start the thread that writes the log: {0}")]
    Thread(io::Error),
}

/// The running service. End it with [`Analytics::finish`]; dropped, it still empties its queue into the log, but
/// nobody waits for that.
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
}

impl Analytics {
    /// Starts listening and logging. Must be called within a tokio runtime, on which the listeners then live.
    ///
    /// # Errors
    /// When an address cannot be listened on, or one beyond loopback has no token.
    pub async fn start(config: Config, board: Board) -> Result<Self, StartError> {
        match &config.log {
            LogPlace::Folder(folder) => log::check(folder, true)?,
            LogPlace::File(file) => log::check(file, false)?,
        }
        let web = listen("the page", config.web, config.token.as_ref()).await?;
        let grpc = listen("results", config.grpc, config.token.as_ref()).await?;
        let drain = CancellationToken::new();
        let (ingest, shown, log_thread) =
            runs::start(config.log.clone(), config.consumers, board.session(&config.session), drain.clone())
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
        };
        let of_page = Connections::new(Rules {
            // The last figures are fetched within it.
            grace: LAST_FIGURES,
            ..Rules::control("the page")
        });
        let of_results = Connections::new(grpc::rules());
        let listening = [(&of_page, web.is_some()), (&of_results, grpc.is_some())];
        let listening = listening.into_iter().filter(|(_, there)| *there);
        shown.watch_listeners(listening.map(|(connections, _)| Arc::clone(connections)).collect());
        let ending = end_on_threshold(board.clone(), config.session.clone(), shown.clone());
        analytics.servers.push(until(analytics.stop_results.clone(), ending));
        analytics.servers.push(until(analytics.stop_results.clone(), report_repeating(shown.clone())));
        let marks = write_marks(board.clone(), config.session.clone(), ingest.clone());
        analytics.servers.push(until(analytics.stop_results.clone(), marks));
        if let Some((listener, _)) = grpc {
            analytics.servers.push(tokio::spawn(grpc::serve(
                listener,
                of_results,
                ingest.clone(),
                config.token.clone(),
                analytics.stop_results.clone(),
            )));
        }
        if let Some((listener, _)) = web {
            let mut runs = Catalogue::new(config.log, Arc::clone(&shown));
            if let Some(run) = config.opens_with {
                runs.open_with(&run)?;
            }
            let setup = web::Setup {
                runs,
                feed: Feed::new(shown, ingest, board.clone(), analytics.capacity.subscribe()),
                board,
                session: config.session,
                token: config.token,
                allowed_hosts: config.allowed_hosts,
                ended: analytics.ended.subscribe(),
                connections: of_page,
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

    /// Begins a run of this process, or goes on with it where its log is there already.
    ///
    /// # Errors
    /// When its log cannot be written to, or is another run's.
    pub async fn begin(&self, header: RunHeader) -> Result<(), LogError> {
        self.ingest.begin(header).await
    }

    /// The entrance for records of this process.
    pub fn ingest(&self) -> Ingest {
        self.ingest.clone()
    }

    /// The figures of the latest run so far.
    pub fn snapshot(&self) -> Snapshot {
        self.shown.current().figures().lock().snapshot()
    }

    /// Keeps from now on what windows of time within the run that has begun are made of, to judge each of them by these
    /// thresholds, whose own windows do not count.
    pub fn watch_windows(&self, thresholds: Vec<Threshold>) {
        self.shown.current().figures().lock().watch_windows(thresholds);
    }

    /// What happened in the window, nanoseconds since the Unix epoch, rounded to whole [`PART`](crate::PART)s. Empty where
    /// nothing was kept of it.
    pub fn window(&self, unix_ns: Range<u64>) -> WindowFigures {
        self.shown
            .current()
            .figures()
            .lock()
            .windows()
            .map(|windows| windows.figures(unix_ns))
            .unwrap_or_default()
    }

    /// Forgets what was before, nanoseconds since the Unix epoch: no window will reach back so far.
    pub fn forget_windows_before(&self, unix_ns: u64) {
        if let Some(windows) = self.shown.current().figures().lock().windows() {
            windows.forget_before(unix_ns);
        }
    }

    /// Shows how far a search for the CA's capacity is.
    pub fn show_capacity(&self, view: CapacityView) {
        self.capacity.send_replace(Some(view));
    }

    /// Which run that is; none before the first.
    pub fn run_id(&self) -> Option<String> {
        self.shown.current().figures().lock().header().map(|header| header.run.clone())
    }

    /// Whether what is shown is all there is.
    pub fn health(&self) -> Health {
        self.shown.health(&*self.shown.current(), &self.ingest)
    }

    /// Where the page is, if anywhere.
    pub const fn web_addr(&self) -> Option<SocketAddr> {
        self.web_addr
    }

    /// Where results are taken, if anywhere.
    pub const fn grpc_addr(&self) -> Option<SocketAddr> {
        self.grpc_addr
    }

    /// Takes what is still on its way, writes the log to the disk, and says the final figures.
    pub async fn finish(mut self) -> Finished {
        self.stop_results.cancel();
        self.drain.cancel();
        if let Some(thread) = self.log_thread.take() {
            // A panic of that thread has been reported by the panic hook; the figures until then are there.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
        self.ended.send_replace(true);
        self.stop_web.cancel();
        for mut server in std::mem::take(&mut self.servers) {
            if tokio::time::timeout(LAST_FIGURES, &mut server).await.is_err() {
                server.abort();
            }
        }
        Finished { snapshot: self.snapshot(), health: self.health() }
    }
}

/// What a service that has ended leaves.
#[derive(Clone, Debug, PartialEq)]
pub struct Finished {
    /// The last run's figures.
    pub snapshot: Snapshot,
    /// Whether all of it is in the log.
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
    token: Option<&Token>,
) -> Result<Option<(TcpListener, SocketAddr)>, StartError> {
    let Some(address) = address else { return Ok(None) };
    if !address.ip().is_loopback() && token.is_none() {
        return Err(StartError::TokenNeeded { what, address });
    }
    let failed = |source| StartError::Listen { what, address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok(Some((listener, bound)))
}

/// Every change of the session becomes a mark in the log, whoever made it.
async fn write_marks(board: Board, session: String, ingest: Ingest) {
    let mut changes = board.changes();
    loop {
        let change = match changes.recv().await {
            Ok(change) if change.session == session => change,
            Ok(_) => continue,
            Err(RecvError::Lagged(missed)) => {
                tracing::warn!("{missed} changes of the load are not marked in the log");
                continue;
            }
            Err(RecvError::Closed) => return,
        };
        let mark = Record::Mark(change.mark);
        if ingest.deliver(vec![mark]).await.is_err() {
            return;
        }
    }
}

/// How often it is looked whether a threshold wants the run to be ended.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Stops the session when a threshold of the run that follows it has failed and is to abort it. The mark of that change
/// comes back with the log, so nothing is remembered here.
async fn end_on_threshold(board: Board, session: String, shown: Arc<Shown>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let run = shown.current();
        let failed = {
            let aggregate = run.figures().lock();
            let follows = aggregate.header().is_some_and(|header| header.session == session);
            aggregate.wants_end().filter(|_| follows).map(ToString::to_string)
        };
        let Some(expression) = failed else { continue };
        tracing::warn!("the run is ended: {expression} has failed");
        if let Err(error) = board.change(&session, Change::state(By::Threshold, SessionState::Stopped)).await
        {
            tracing::error!("the run cannot be ended: {error}");
        }
        // The mark takes its time into the log; and a board that is away is not asked all the time.
        tokio::time::sleep(4 * LOOK_EVERY).await;
    }
}

/// How often it is looked whether an error repeats.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Warns of errors that repeat from the start of the run on, once each.
async fn report_repeating(shown: Arc<Shown>) {
    let mut reported = Reported::default();
    loop {
        tokio::time::sleep(REPORT_EVERY).await;
        let snapshot = shown.current().figures().lock().snapshot();
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
