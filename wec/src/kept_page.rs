//! The page after the end of its run, until the user ends it, and the index with which later pages open the run.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread;

use tokio::sync::oneshot;
use wec_analytics::{IndexPlace, ServedPage, Token, write_index};
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
    /// Where its index is written.
    pub(crate) index: IndexPlace,
    /// Further host names for requests to the page.
    pub(crate) page_host: Vec<String>,
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
        let Self { address, folder, run, index, page_host } = self;
        let page = ServedPage {
            folder,
            listen: address,
            allowed_hosts: page_host,
            token: std::env::var("WEC_TOKEN").ok().and_then(Token::new),
            opens_with: Some(run),
        };
        if index == IndexPlace::Beside {
            say(
                "reading the log of the run for the page that stays, and writing the index with which it opens at once",
            );
        }
        match page.start_with(index).await {
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

/// Writes the index of a long run, so that `wec serve` opens it at once. A signal ends this without harm; after a run that a
/// signal ended nobody waits for an index.
pub(crate) async fn write_index_of(folder: PathBuf, run: String, stop: &Stop) {
    if stop.by_signal() {
        return;
    }
    stop.mark_over();
    stop.finish.cancel();
    stop.cut.cancel();
    say("writing the index with which wec serve opens this run at once; Ctrl-C leaves it out");
    let (outcome, written) = oneshot::channel();
    // Unlike those of the runtime, the process does not wait for this thread.
    let index = move || outcome.send(write_index(&folder, &run));
    let thread = thread::Builder::new().name("wec-index".to_owned()).spawn(index);
    let failed = tokio::select! {
        biased;
        () = stop.enough.cancelled() => return wec_startup::remove_unfinished(),
        written = written => match (thread, written) {
            (Err(error), _) => Some(error.to_string()),
            (_, Ok(Err(error))) => Some(error.to_string()),
            // The panic hook has reported a panic.
            _ => None,
        },
    };
    if let Some(why) = failed {
        say(format_args!("warning: the index was not written: {why}"));
    }
}
