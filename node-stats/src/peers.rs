//! The other nodes: one task for each, with a connection that is opened when its figures are needed.
//!
//! | mode | connection | figures |
//! | --- | --- | --- |
//! | pull | from the first request for it until a minute after the last one | asked for by each request; requests that arrive meanwhile share the next answer |
//! | push | always | the latest that the node sent; it sends them each second |

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;
use wec_pki::Tls;

use crate::client::Client;
use crate::config::Mode;
use crate::wire::{NodeStats, Reply, Scope};

/// Longest time for the figures of a node.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Time between two attempts to connect.
const AGAIN: Duration = Duration::from_secs(2);
/// How often nodes send their figures in push mode.
const PUSH_EVERY: Duration = Duration::from_secs(1);
/// In push mode, a node that sends nothing for this long is down.
const PUSH_SILENT: Duration = Duration::from_secs(4);
/// In pull mode, a connection that nobody needed for this long is closed.
const UNUSED: Duration = Duration::from_secs(60);
/// How long a node that has left the board is still listed.
const LISTED_AFTER: Duration = Duration::from_secs(600);

/// The other nodes.
#[derive(Debug)]
pub(crate) struct Peers {
    peers: Mutex<BTreeMap<String, Peer>>,
    tls: Option<Tls>,
}

#[derive(Debug)]
struct Peer {
    link: Arc<Link>,
    /// Since when it is not named any more.
    gone: Option<Instant>,
    _task: AbortOnDropHandle<()>,
}

impl Peers {
    /// None yet.
    pub(crate) fn new(tls: Option<Tls>) -> Self {
        Self { peers: Mutex::default(), tls }
    }

    /// Makes these addresses the other nodes. One that was named before is listed as down for some minutes.
    pub(crate) fn set(&self, addresses: impl IntoIterator<Item = String>, mode: Mode) {
        let mut peers = self.lock();
        let now = Instant::now();
        for peer in peers.values_mut() {
            peer.gone.get_or_insert(now);
        }
        for address in addresses {
            let start = || {
                let link = Arc::new(Link::new(address.clone(), self.tls.clone()));
                let task = AbortOnDropHandle::new(tokio::spawn(Arc::clone(&link).keep(mode)));
                Peer { link, gone: None, _task: task }
            };
            peers.entry(address.clone()).or_insert_with(start).gone = None;
        }
        peers.retain(|_, peer| peer.gone.is_none_or(|gone| now.duration_since(gone) < LISTED_AFTER));
    }

    /// Tries nodes that are down again at once.
    pub(crate) fn retry(&self) {
        for peer in self.lock().values() {
            peer.link.again.notify_one();
        }
    }

    /// The figures of all of them.
    pub(crate) async fn figures(&self, mode: Mode) -> Vec<NodeStats> {
        let now = Instant::now();
        let links: Vec<_> = {
            let mut peers = self.lock();
            peers.retain(|_, peer| peer.gone.is_none_or(|gone| now.duration_since(gone) < LISTED_AFTER));
            peers.values().map(|peer| (Arc::clone(&peer.link), peer.gone)).collect()
        };
        let asked = links.iter().map(async |(link, gone)| match gone {
            None => link.figures(mode).await,
            Some(gone) => {
                let seconds = now.duration_since(*gone).as_secs();
                NodeStats::down(&link.address, format!("it left the board {seconds} s ago"))
            }
        });
        join_all(asked).await
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Peer>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a client's request and the task of a node share.
#[derive(Debug)]
struct Link {
    address: String,
    tls: Option<Tls>,
    /// Number of requests for its figures.
    wanted: watch::Sender<u64>,
    seen: watch::Sender<Seen>,
    /// Ends the wait for the next attempt to connect.
    again: Notify,
}

/// What is known of a node.
#[derive(Clone, Debug)]
enum Seen {
    /// Nothing yet.
    Nothing,
    /// No connection, and why.
    Down(String),
    /// Its figures, for all requests up to this number.
    Up(u64, NodeStats),
}

impl Link {
    fn new(address: String, tls: Option<Tls>) -> Self {
        let (wanted, seen) = (watch::Sender::new(0), watch::Sender::new(Seen::Nothing));
        Self { address, tls, wanted, seen, again: Notify::new() }
    }

    async fn figures(&self, mode: Mode) -> NodeStats {
        let mut number = 0;
        self.wanted.send_modify(|wanted| {
            *wanted += 1;
            number = *wanted;
        });
        let mut seen = self.seen.subscribe();
        let known = seen.wait_for(|seen| match seen {
            Seen::Nothing => false,
            Seen::Down(_) => true,
            Seen::Up(through, _) => mode == Mode::Push || *through >= number,
        });
        match timeout(ANSWER_WITHIN, known).await {
            Ok(Ok(seen)) => match &*seen {
                Seen::Up(_, stats) => stats.clone(),
                Seen::Down(why) => NodeStats::down(&self.address, why),
                Seen::Nothing => NodeStats::down(&self.address, "not asked yet"),
            },
            _ => NodeStats::down(&self.address, format!("no answer within {} s", ANSWER_WITHIN.as_secs())),
        }
    }

    /// Connects whenever it is needed, until the task is aborted.
    async fn keep(self: Arc<Self>, mode: Mode) {
        let mut wanted = self.wanted.subscribe();
        if *wanted.borrow() > 0 {
            // Asked for before this task ran.
            wanted.mark_changed();
        }
        let mut was_up = true;
        loop {
            if mode == Mode::Pull && !matches!(*self.seen.borrow(), Seen::Down(_)) {
                // The sender is in `self`, so there is no error.
                let _ = wanted.changed().await;
                wanted.mark_changed();
            }
            let ended = match Client::connect(&self.address, self.tls.as_ref()).await {
                Ok(client) => {
                    tracing::info!("connected to the statistics of node {}", self.address);
                    was_up = true;
                    match mode {
                        Mode::Pull => self.answer(client, &mut wanted).await,
                        Mode::Push => self.receive(client).await,
                    }
                }
                Err(error) => Err(error.to_string()),
            };
            let Err(why) = ended else { continue };
            if std::mem::take(&mut was_up) {
                tracing::warn!("no statistics of node {}: {why}", self.address);
            }
            self.seen.send_replace(Seen::Down(why));
            tokio::select! {
                () = sleep(AGAIN) => {}
                () = self.again.notified() => {}
            }
        }
    }

    /// Pull: asks for each request. `Ok` when nobody asked for a while.
    async fn answer(&self, mut client: Client, wanted: &mut watch::Receiver<u64>) -> Result<(), String> {
        // One request tells whether it works again; then requests wait for an answer.
        wanted.mark_changed();
        loop {
            tokio::select! {
                _ = wanted.changed() => {}
                unasked = client.next() => match unasked {
                    Ok(_) => continue,
                    Err(error) => return Err(error.to_string()),
                },
                () = sleep(UNUSED) => {
                    self.seen.send_replace(Seen::Nothing);
                    return Ok(());
                }
            }
            let through = *wanted.borrow_and_update();
            let reply = timeout(ANSWER_WITHIN, client.ask(Scope::ThisNode)).await;
            let reply = reply.map_err(|_| format!("no answer within {} s", ANSWER_WITHIN.as_secs()))?;
            let stats = self.of(reply.map_err(|error| error.to_string())?);
            self.seen.send_replace(Seen::Up(through, stats));
        }
    }

    /// Push: takes what the node sends.
    async fn receive(&self, mut client: Client) -> Result<(), String> {
        client.subscribe(Scope::ThisNode, PUSH_EVERY).await.map_err(|error| error.to_string())?;
        loop {
            let reply = timeout(PUSH_SILENT, client.next()).await;
            let reply = reply.map_err(|_| format!("it sent nothing for {} s", PUSH_SILENT.as_secs()))?;
            let stats = self.of(reply.map_err(|error| error.to_string())?);
            self.seen.send_replace(Seen::Up(0, stats));
        }
    }

    /// The figures in a node's reply, under the address by which it is known here.
    fn of(&self, reply: Reply) -> NodeStats {
        match reply.nodes.into_values().next() {
            Some(stats) => NodeStats { address: self.address.clone(), ..stats },
            None if reply.error.is_empty() => NodeStats::down(&self.address, "its reply has no figures"),
            None => NodeStats::down(&self.address, reply.error),
        }
    }
}
