//! A connection to a key-value store that tests can cut.
//!
//! While it is cut, calls fail and no writes arrive, as with an unreachable etcd. Afterwards the current
//! content is delivered at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Answer, KeyEvent, Kv, Lease, LeaseId, Pair, Watcher, Write};
use crate::{BoardError, Connection};

/// Length of a lease over a link. It ends only by [`Link::end_leases`], when a test calls it.
const LEASE: Duration = Duration::from_secs(10);

/// A board's connection to its key-value store, for tests: it can be cut and restored.
#[derive(Clone, Debug)]
pub struct Link {
    kv: Arc<dyn Kv>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    cut: bool,
    /// Leases granted over the link that have not ended.
    leases: Vec<LeaseId>,
    ends: Vec<Arc<End>>,
}

/// The end of a watch: what a watcher receives over the link.
#[derive(Debug)]
struct End {
    prefix: &'static str,
    watcher: Arc<dyn Watcher>,
    state: Arc<Mutex<State>>,
    /// The version of the last delivered write.
    shown: AtomicU64,
}

impl Link {
    pub(crate) fn to(kv: Arc<dyn Kv>) -> Self {
        Self { kv, state: Arc::default() }
    }

    /// From now on nothing passes.
    pub fn cut(&self) {
        self.lock().cut = true;
        self.set_connection(Connection::Lost { reason: "the link is cut".to_owned() });
    }

    /// From now on everything passes, and missed writes are delivered.
    pub async fn mend(&self) {
        self.lock().cut = false;
        self.set_connection(Connection::Connected);
        let ends = self.lock().ends.clone();
        for end in ends {
            let pairs = self.kv.list(end.prefix, "following the board").await;
            let pairs = pairs.expect("what is behind the link answers");
            end.show_all(&pairs, Some(end.shown.load(Ordering::Relaxed)));
        }
    }

    /// Ends the leases granted over the link, as if they had not been renewed in time.
    pub async fn end_leases(&self) {
        let leases = std::mem::take(&mut self.lock().leases);
        for lease in leases {
            self.kv.revoke(lease).await.expect("what is behind the link answers");
        }
    }

    fn set_connection(&self, connection: Connection) {
        self.lock().ends.iter().for_each(|end| end.watcher.set_connection(connection.clone()));
    }

    fn passes(&self, doing: &'static str) -> Result<(), BoardError> {
        if self.lock().cut {
            return Err(BoardError::Lost { doing, reason: "the link is cut".to_owned() });
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Kv for Link {
    fn list<'a>(&'a self, prefix: &'a str, doing: &'static str) -> Answer<'a, Vec<Pair>> {
        Box::pin(async move {
            self.passes(doing)?;
            self.kv.list(prefix, doing).await
        })
    }

    fn get<'a>(&'a self, key: &'a str, doing: &'static str) -> Answer<'a, Option<Pair>> {
        Box::pin(async move {
            self.passes(doing)?;
            self.kv.get(key, doing).await
        })
    }

    fn write_if(&self, writes: Vec<Write>, doing: &'static str) -> Answer<'_, Option<u64>> {
        Box::pin(async move {
            self.passes(doing)?;
            self.kv.write_if(writes, doing).await
        })
    }

    fn lease(&self, doing: &'static str) -> Answer<'_, Lease> {
        Box::pin(async move {
            self.passes(doing)?;
            let lease = self.kv.lease(doing).await?;
            self.lock().leases.push(lease.id);
            Ok(Lease { length: Some(LEASE), ..lease })
        })
    }

    fn renew(&self, lease: LeaseId) -> Answer<'_, bool> {
        Box::pin(async move {
            self.passes("renewing a lease")?;
            Ok(self.lock().leases.contains(&lease))
        })
    }

    fn revoke(&self, lease: LeaseId) -> Answer<'_, ()> {
        Box::pin(async move {
            self.passes("ending a lease")?;
            self.lock().leases.retain(|known| *known != lease);
            self.kv.revoke(lease).await
        })
    }

    fn watch<'a>(&'a self, prefix: &'static str, watcher: Arc<dyn Watcher>) -> Answer<'a, ()> {
        Box::pin(async move {
            let end = Arc::new(End { prefix, watcher, state: self.state.clone(), shown: AtomicU64::new(0) });
            self.lock().ends.push(end.clone());
            self.kv.watch(prefix, end).await
        })
    }

    fn close(&self) -> Answer<'_, ()> {
        // The store behind the link has other users.
        Box::pin(async { Ok(()) })
    }
}

impl End {
    fn is_cut(&self) -> bool {
        lock(&self.state).cut
    }
}

impl Watcher for End {
    fn show_all(&self, pairs: &[Pair], missed: Option<u64>) {
        if !self.is_cut() {
            self.shown.fetch_max(pairs.iter().map(|pair| pair.version).max().unwrap_or(0), Ordering::Relaxed);
            self.watcher.show_all(pairs, missed);
        }
    }

    fn show(&self, events: &[KeyEvent]) {
        if !self.is_cut() {
            self.shown.fetch_max(events.iter().map(KeyEvent::version).max().unwrap_or(0), Ordering::Relaxed);
            self.watcher.show(events);
        }
    }

    fn set_connection(&self, connection: Connection) {
        self.watcher.set_connection(connection);
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
