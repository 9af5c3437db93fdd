//! `wec serve`: shows the runs of a folder in the page, without a run of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use tokio_util::sync::CancellationToken;
use wec_board::Board;
use wec_startup::{Exit, Token, show};

use crate::log::LogError;
use crate::runs::{Catalogue, ConsumerOptions, IndexPlace, LogPlace, RecordedRun, check_index};
use crate::service::{Analytics, Config, Replay, Showing};

/// Shows the runs of a folder in the page.
#[derive(Clone, Debug, clap::Args)]
pub struct ServeOptions {
    /// Folder of the logs
    #[arg(value_name = "DIR", env = "WEC_LOG_DIR", default_value = "results")]
    folder: PathBuf,
    /// Folder for the indexes of long logs, instead of the logs' own folder; off to write none
    #[arg(long, env = "WEC_INDEX", value_name = "DIR|off")]
    index: Option<PathBuf>,
    /// Address of the page and the web API
    #[arg(long, env = "WEC_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:8089")]
    listen: SocketAddr,
    /// A further host name for requests to the page; may be repeated
    #[arg(long, alias = "allow-host", env = "WEC_PAGE_HOSTS", value_name = "NAME", value_delimiter = ',')]
    page_host: Vec<String>,
    /// Token for the page, required beyond loopback; prefer the environment, because other
    /// users can read the command line
    #[arg(long, env = "WEC_TOKEN", value_name = "SECRET", hide_env_values = true, value_parser = Token::parse)]
    token: Option<Token>,
}

/// Serves the page until `stop`.
///
/// # Errors
/// When the folder does not exist, or it cannot listen on the address.
pub async fn serve(options: ServeOptions, stop: CancellationToken) -> anyhow::Result<Exit> {
    let folder = options.folder.display().to_string();
    ensure!(
        options.folder.is_dir(),
        "{folder} is not a folder: name the folder of the logs, such as results"
    );
    let index = match options.index {
        None => IndexPlace::Beside,
        Some(off) if off.as_os_str() == "off" => IndexPlace::Nowhere,
        Some(folder) => IndexPlace::Folder(folder),
    };
    check_index(&index).context("the folder of --index")?;
    let page = ServedPage {
        folder: options.folder,
        listen: options.listen,
        allowed_hosts: options.page_host,
        token: options.token,
        opens_with: None,
    };
    let analytics = page.start_with(index).await?;
    if let Some(address) = analytics.web_addr() {
        show(format_args!("runs of {folder} on http://{address}/?view=runs"));
    }
    stop.cancelled().await;
    analytics.finish().await;
    Ok(Exit::Passed)
}

/// Requests of a run from which on its index is written at its end: without one, people would wait for its page. An
/// estimate, see ADR 161.
const LONG_RUN: u64 = 500_000;

/// Where the index of a run with this number of requests is written at its end: beside its log, or for a short run
/// nowhere.
pub const fn index_at_end(requests: u64) -> IndexPlace {
    if requests < LONG_RUN { IndexPlace::Nowhere } else { IndexPlace::Beside }
}

/// Writes the index of a run that has ended beside its log in this folder. Reads the log.
///
/// # Errors
/// When the run has no log there, or it cannot be read.
pub fn write_index(folder: &Path, run: &str) -> Result<(), LogError> {
    let place = LogPlace::Folder(folder.to_owned());
    Catalogue::new(place, IndexPlace::Beside, Arc::default()).open_with(run)
}

/// A page over a folder of logs.
#[derive(Clone, Debug)]
pub struct ServedPage {
    /// The folder of the logs.
    pub folder: PathBuf,
    /// The address of the page.
    pub listen: SocketAddr,
    /// As in [`Config`].
    pub allowed_hosts: Vec<String>,
    /// As in [`Config`].
    pub token: Option<Token>,
    /// As in [`Config`].
    pub opens_with: Option<String>,
}

impl ServedPage {
    /// Starts serving.
    ///
    /// # Errors
    /// When it cannot listen on the address, or the run to show first has no log there.
    pub async fn start(self) -> anyhow::Result<Analytics> {
        self.start_showing(Showing::default()).await
    }

    /// The same, with indexes of the runs that are opened. That of the run to show first is written anew.
    ///
    /// # Errors
    /// As [`ServedPage::start`].
    pub async fn start_with(self, index: IndexPlace) -> anyhow::Result<Analytics> {
        self.start_showing(Showing { index, ..Showing::default() }).await
    }

    /// Starts serving a recorded run: at its end, or with a speed at the pace of a clock that begins at its
    /// start. Logs of the folder are not shown.
    ///
    /// # Errors
    /// When it cannot listen on the address.
    pub async fn replay(self, recorded: RecordedRun, speed: Option<f64>) -> anyhow::Result<Analytics> {
        let replay = Some(Replay { recorded, speed });
        self.start_showing(Showing { replay, ..Showing::default() }).await
    }

    async fn start_showing(self, showing: Showing) -> anyhow::Result<Analytics> {
        let config = Config {
            log: LogPlace::Folder(self.folder),
            web: Some(self.listen),
            grpc: None,
            session: "default".to_owned(),
            consumers: ConsumerOptions::default(),
            token: self.token,
            allowed_hosts: self.allowed_hosts,
            opens_with: self.opens_with,
            node_stats: None,
            holders: Vec::new(),
            tls: None,
        };
        Ok(Analytics::start_showing(config, Board::local(), showing).await?)
    }
}
