//! `Consumer`: the running service.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wec_listen::http::Version;
use wec_listen::{Connections, Rules};
use wec_startup::Token;

use crate::api::{self, Guard};
use crate::influx::Influx;
use crate::job::{Jobs, Times};
use crate::job_file::{JobFile, JobFileError};
use crate::shared::Shared;
use crate::writer::{Writer, WriterCounts};

/// Points that may wait for the database: a day of some ten runs.
const BUFFER: usize = 100_000;
/// Time limit for writing the waiting points when the service ends.
const LAST_POINTS: Duration = Duration::from_secs(10);

/// Configuration of the consumer.
#[derive(Debug)]
pub struct Config {
    /// The address of the API.
    pub listen: SocketAddr,
    /// Required beyond loopback.
    pub token: Option<Token>,
    /// Where the points go.
    pub influx: Influx,
    /// The file that keeps the jobs.
    pub jobs: PathBuf,
    /// How often points are written, and when a silent job ends.
    pub times: Times,
}

/// Why the consumer could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It cannot listen on the address.
    #[error("cannot listen on {address} for the consumer: {source}; name another address or free this one")]
    Listen {
        /// As configured.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// Other machines can reach the listener, and it has no token.
    #[error(
        "the consumer on {0} can be reached from other machines: set WEC_CONSUMER_TOKEN, or listen on loopback"
    )]
    TokenNeeded(SocketAddr),
    /// The jobs cannot be kept.
    #[error(transparent)]
    Jobs(#[from] JobFileError),
}

/// The running service. End it with [`Consumer::finish`].
#[derive(Debug)]
pub struct Consumer {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Consumer {
    /// Starts listening, and continues the jobs of an earlier process.
    ///
    /// # Errors
    /// When it cannot listen, or cannot keep the jobs.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let Config { listen: address, token, influx, jobs, times } = config;
        if !address.ip().is_loopback() && token.is_none() {
            return Err(StartError::TokenNeeded(address));
        }
        let failed = |source| StartError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (file, kept) = JobFile::open(&jobs)?;
        let jobs = Jobs::new(times, kept);
        let continued = jobs.running().count();
        if continued > 0 {
            tracing::info!("{continued} jobs of an earlier process continue");
        }
        let shared = Arc::new(Shared::new(jobs, file, Writer::start(influx, BUFFER)));
        let stop = CancellationToken::new();
        let connections = Connections::new(Rules::control("the consumer"));
        let guard = Guard { token, connections: Arc::clone(&connections) };
        let service = TowerToHyperService::new(api::router(Arc::clone(&shared), guard));
        let serving = wec_listen::http::serve(listener, connections, Version::Http1, service, stop.clone());
        let ticking = {
            let (shared, stop) = (Arc::clone(&shared), stop.clone());
            async move {
                stop.run_until_cancelled(shared.tick()).await;
            }
        };
        Ok(Self { address, shared, stop, tasks: vec![tokio::spawn(serving), tokio::spawn(ticking)] })
    }

    /// The address of the API.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The counts of points so far.
    pub fn counts(&self) -> WriterCounts {
        self.shared.writer.counts()
    }

    /// Stops listening, and writes the points that wait. The jobs stay in their file.
    pub async fn finish(mut self) -> WriterCounts {
        self.stop.cancel();
        for task in std::mem::take(&mut self.tasks) {
            // A panic was reported by the panic hook.
            let _ = task.await;
        }
        let shared = Arc::clone(&self.shared);
        drop(self);
        match Arc::try_unwrap(shared) {
            Ok(shared) => shared.writer.finish(LAST_POINTS).await,
            // A connection that did not end in time still holds it.
            Err(shared) => shared.writer.counts(),
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
