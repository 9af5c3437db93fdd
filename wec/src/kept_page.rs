//! The page after the end of its run, until the user ends it.

use std::net::SocketAddr;
use std::path::PathBuf;

use wec_analytics::{ServedPage, Token};
use wec_startup::{Stop, say};

/// The address of a run's page, and what it shows from now on.
#[derive(Debug)]
pub(crate) struct KeptPage {
    /// The address of the page, before and after.
    pub(crate) address: SocketAddr,
    /// The folder of the run's log.
    pub(crate) folder: PathBuf,
    /// The run.
    pub(crate) run: String,
}

impl KeptPage {
    /// Serves the page from the log until a signal. A run that a signal ended has no such page.
    ///
    /// If the page cannot be served, that is a warning: the run is over, and its verdict remains.
    pub(crate) async fn keep(self, stop: &Stop) {
        if stop.by_signal() {
            return;
        }
        // A signal from now on ends the page and does not interrupt the run.
        stop.mark_over();
        stop.finish.cancel();
        stop.cut.cancel();
        let Self { address, folder, run } = self;
        let page = ServedPage {
            folder,
            listen: address,
            allowed_hosts: Vec::new(),
            token: std::env::var("WEC_TOKEN").ok().and_then(Token::new),
            opens_with: Some(run),
        };
        match page.start().await {
            Ok(analytics) => {
                say(format_args!(
                    "the page stays at http://{address}/ until Ctrl-C (--keep-page off ends it with the run)"
                ));
                stop.enough.cancelled().await;
                analytics.finish().await;
            }
            Err(error) => say(format_args!("warning: the page ends with the run: {error}")),
        }
    }
}
