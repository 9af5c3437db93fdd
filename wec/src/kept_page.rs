//! The page after the end of its run: people look at what was found for as long as they like.

use std::net::SocketAddr;
use std::path::PathBuf;

use wec_analytics::{ServedPage, Token};
use wec_startup::{Stop, say};

/// Where the page of a run was, and what it shows from now on.
#[derive(Debug)]
pub(crate) struct KeptPage {
    /// Where the page was, and will be.
    pub(crate) address: SocketAddr,
    /// Where the run's log is.
    pub(crate) folder: PathBuf,
    /// The run.
    pub(crate) run: String,
}

impl KeptPage {
    /// Serves the page from the log until a signal comes. Whoever ended the run by a signal has seen enough already.
    ///
    /// A page that cannot be served any more is a warning: the run is over, and its verdict stands.
    pub(crate) async fn keep(self, stop: &Stop) {
        if stop.by_signal() {
            return;
        }
        // A signal from now on ends the page and is no interruption of the run.
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
