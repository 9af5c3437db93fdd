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
use wec_record::{Record, RunHeader, Threshold};

use crate::grpc;
use crate::ingest::{self, Ingest, LogPlace, Shown};
use crate::log::LogError;
use crate::snapshot::{Health, Snapshot};
use crate::token::Token;
use crate::web::{self, Feed};
use crate::window::WindowFigures;

/// How long watchers may take to fetch the last figures.
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
    /// What runs must hold beside what their headers say.
    pub thresholds: Vec<Threshold>,
    /// What lets people and senders in. Needed for a listener beyond loopback.
    pub token: Option<Token>,
    /// Names, besides IP addresses and `localhost`, by which the page may be asked for.
    pub allowed_hosts: Vec<String>,
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
    stop_web: CancellationToken,
}

impl Analytics {
    /// Starts listening and logging. Must be called within a tokio runtime, on which the listeners then live.
    ///
    /// # Errors
    /// When an address cannot be listened on, or one beyond loopback has no token.
    pub async fn start(config: Config, board: Board) -> Result<Self, StartError> {
        let web = listen("the page", config.web, config.token.as_ref()).await?;
        let grpc = listen("results", config.grpc, config.token.as_ref()).await?;
        let drain = CancellationToken::new();
        let (ingest, shown, log_thread) =
            ingest::start(config.log, config.thresholds, board.session(&config.session), drain.clone())
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
            stop_web: CancellationToken::new(),
        };
        let ending = end_on_threshold(board.clone(), config.session.clone(), shown.clone());
        analytics.servers.push(until(analytics.stop_results.clone(), ending));
        let marks = write_marks(board.clone(), config.session.clone(), ingest.clone());
        analytics.servers.push(until(analytics.stop_results.clone(), marks));
        if let Some((listener, _)) = grpc {
            let serving =
                grpc::serve(listener, ingest.clone(), config.token.clone(), analytics.stop_results.clone());
            analytics.servers.push(tokio::spawn(async move {
                if let Err(error) = serving.await {
                    tracing::error!("results are no longer taken: {error}");
                }
            }));
        }
        if let Some((listener, _)) = web {
            let setup = web::Setup {
                feed: Feed::new(shown, ingest, board.clone(), config.session.clone()),
                board,
                session: config.session,
                token: config.token,
                allowed_hosts: config.allowed_hosts,
                ended: analytics.ended.subscribe(),
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
        self.shown.run().lock().snapshot()
    }

    /// Keeps from now on what windows of time within the run that has begun are made of, to judge each of them by these
    /// thresholds, whose own windows do not count.
    pub fn watch_windows(&self, thresholds: Vec<Threshold>) {
        self.shown.run().lock().watch_windows(thresholds);
    }

    /// What happened in the window, nanoseconds since the Unix epoch, rounded to whole [`PART`](crate::PART)s. Empty where
    /// nothing was kept of it.
    pub fn window(&self, unix_ns: Range<u64>) -> WindowFigures {
        self.shown.run().lock().windows().map(|windows| windows.figures(unix_ns)).unwrap_or_default()
    }

    /// Forgets what was before, nanoseconds since the Unix epoch: no window will reach back so far.
    pub fn forget_windows_before(&self, unix_ns: u64) {
        if let Some(windows) = self.shown.run().lock().windows() {
            windows.forget_before(unix_ns);
        }
    }

    /// Which run that is; none before the first.
    pub fn run_id(&self) -> Option<String> {
        self.shown.run().lock().header().map(|header| header.run.clone())
    }

    /// Whether what is shown is all there is.
    pub fn health(&self) -> Health {
        self.shown.health(&self.ingest)
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
        let mark = Record::Mark {
            at_unix_ns: change.at_unix_ns,
            by: change.by.name().to_owned(),
            scenario: change.scenario,
            what: change.what,
            from: change.from,
            to: change.to,
        };
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
        let run = shown.run();
        let failed = {
            let aggregate = run.lock();
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

fn until(stop: CancellationToken, work: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(async move {
        stop.run_until_cancelled(work).await;
    })
}
