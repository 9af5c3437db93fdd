//! `Connections`: the open connections of a listener, which of them wait, and its counters.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};
use utoipa::ToSchema;

use crate::rules::{Rules, WhenFull};

/// With [`WhenFull::Wait`], a connection keeps its place for this long without a request: in a burst, its request is
/// on the way or not read yet.
const GRACE: Duration = Duration::from_millis(500);

/// The open connections of one listener.
#[derive(Debug)]
pub struct Connections {
    rules: Rules,
    started: Instant,
    open: Mutex<Open>,
    /// Sockets that are not closed yet: those of open connections, and of replaced ones whose tasks have not run
    /// since.
    alive: AtomicUsize,
    /// A socket was closed, or a busy connection began to wait.
    left: Arc<Notify>,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    entries: HashMap<u64, Arc<Entry>>,
    /// For addresses beyond loopback only.
    per_source: HashMap<IpAddr, usize>,
}

#[derive(Debug, Default)]
struct Counters {
    accepted: AtomicU64,
    refused: AtomicU64,
    replaced: AtomicU64,
    slow: AtomicU64,
    accept_errors: AtomicU64,
    unauthenticated: AtomicU64,
    warned_full: AtomicBool,
    warned_slow: AtomicBool,
}

/// What a listener has seen since it was started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ListenerCounts {
    /// The listener's name: `the page` or `results`.
    pub what: String,
    /// Connections that may be open.
    pub bound: u64,
    /// Connections that are open.
    pub open: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections closed at once, because all places were taken by busy ones or by one address.
    pub refused: u64,
    /// Waiting connections closed, because new ones needed their places.
    pub replaced: u64,
    /// Connections closed, because no request came in time.
    pub slow: u64,
    /// Failed attempts to accept a connection, such as when file descriptors run out.
    pub accept_errors: u64,
    /// Requests refused for a missing or wrong token.
    pub unauthenticated: u64,
}

impl Connections {
    /// None yet.
    pub fn new(rules: Rules) -> Arc<Self> {
        Arc::new(Self {
            rules,
            started: Instant::now(),
            open: Mutex::default(),
            alive: AtomicUsize::new(0),
            left: Arc::new(Notify::new()),
            counters: Counters::default(),
        })
    }

    /// What the listener allows.
    pub const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// What was counted so far.
    pub fn counts(&self) -> ListenerCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counters { accepted, refused, replaced, slow, accept_errors, unauthenticated, .. } =
            &self.counters;
        ListenerCounts {
            what: self.rules.what.to_owned(),
            bound: self.rules.connections as u64,
            open: self.lock().entries.len() as u64,
            accepted: read(accepted),
            refused: read(refused),
            replaced: read(replaced),
            slow: read(slow),
            accept_errors: read(accept_errors),
            unauthenticated: read(unauthenticated),
        }
    }

    /// Counts a request that had no token or a wrong one.
    pub fn count_unauthenticated(&self) {
        self.counters.unauthenticated.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits until replaced connections have closed their sockets, so there are never many more sockets than places.
    /// With [`WhenFull::Wait`] it also waits until a place is free or can be taken.
    pub(crate) async fn place(&self) {
        let most = self.rules.connections + self.rules.connections / 8 + 1;
        let mut waited = false;
        while self.alive.load(Ordering::Acquire) >= most || self.is_taken() {
            // The grace of a waiting connection may end meanwhile.
            let _ = timeout(GRACE, self.left.notified()).await;
            waited = true;
        }
        if waited {
            // Another accept loop of the same listener may be waiting, too.
            self.left.notify_one();
        }
    }

    /// Whether a new connection must wait: all places belong to connections that are busy, or within their grace.
    fn is_taken(&self) -> bool {
        let open = match self.rules.when_full {
            WhenFull::Refuse => return false,
            WhenFull::Wait => self.lock(),
        };
        open.entries.len() >= self.rules.connections
            && open.entries.values().all(|entry| entry.waits().is_none_or(|time| time < GRACE))
    }

    /// Takes a place for a connection from `source`; none if there is no place. With [`WhenFull::Wait`] there is
    /// always one: [`Connections::place`] has waited for it, and another accept loop may have taken it since.
    pub(crate) fn enter(self: &Arc<Self>, source: SocketAddr) -> Option<Admitted> {
        let address = source.ip().to_canonical();
        let address = Some(address).filter(|address| !address.is_loopback());
        let mut open = self.lock();
        let of_source = address.map_or(0, |address| open.per_source.get(&address).copied().unwrap_or(0));
        let admitted = if self.rules.per_source.is_some_and(|most| of_source >= most) {
            open.replace_longest_waiting(address)
        } else if open.entries.len() >= self.rules.connections {
            match (open.replace_longest_waiting(None), self.rules.when_full) {
                (Admission::Refused, WhenFull::Wait) => Admission::Free,
                (admitted, _) => admitted,
            }
        } else {
            Admission::Free
        };
        match admitted {
            Admission::Free => {}
            Admission::Replaced => {
                self.counters.replaced.fetch_add(1, Ordering::Relaxed);
            }
            Admission::Refused => {
                self.counters.refused.fetch_add(1, Ordering::Relaxed);
            }
        }
        let place = (admitted != Admission::Refused).then(|| {
            self.counters.accepted.fetch_add(1, Ordering::Relaxed);
            self.alive.fetch_add(1, Ordering::AcqRel);
            let entry = Arc::new(Entry::new(self.started, address, Arc::clone(&self.left)));
            let id = open.next;
            open.next += 1;
            open.entries.insert(id, Arc::clone(&entry));
            if let Some(address) = address {
                *open.per_source.entry(address).or_default() += 1;
            }
            Admitted { id, connections: Arc::clone(self), connection: Connection(entry) }
        });
        drop(open);
        if admitted != Admission::Free && !self.counters.warned_full.swap(true, Ordering::Relaxed) {
            let Rules { what, connections, .. } = self.rules;
            let fate = match admitted {
                Admission::Refused => "this one is closed",
                _ => "the one that has waited longest for a request is closed",
            };
            tracing::warn!(
                "{what}: a connection from {} finds its {connections} places taken, {fate}; \
                 further ones are only counted",
                source.ip()
            );
        }
        place
    }

    /// Closes the connection that has waited longest, to free its descriptor.
    pub(crate) fn accept_failed(&self) {
        self.counters.accept_errors.fetch_add(1, Ordering::Relaxed);
        let mut open = self.lock();
        let some = self.rules.when_full == WhenFull::Refuse
            || open.entries.values().any(|entry| entry.waits().is_some_and(|time| time >= GRACE));
        if some && open.replace_longest_waiting(None) == Admission::Replaced {
            self.counters.replaced.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn was_slow(&self) {
        self.counters.slow.fetch_add(1, Ordering::Relaxed);
        if !self.counters.warned_slow.swap(true, Ordering::Relaxed) {
            let Rules { what, first_request, .. } = self.rules;
            tracing::warn!(
                "{what}: a connection without a request for {first_request:?} is closed; further ones are only counted"
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Admission {
    Free,
    Replaced,
    Refused,
}

impl Open {
    /// Ends the connection that has waited longest, only of `source` if it is given. Its place is free at once.
    fn replace_longest_waiting(&mut self, source: Option<IpAddr>) -> Admission {
        let waiting = self.entries.iter().filter(|(_, entry)| {
            entry.busy.load(Ordering::Acquire) == 0
                && source.is_none_or(|source| entry.source == Some(source))
        });
        // Ids increase, so they order connections that began to wait in the same millisecond.
        let longest = waiting.min_by_key(|(id, entry)| (entry.since.load(Ordering::Relaxed), **id));
        let Some((&id, _)) = longest else { return Admission::Refused };
        if let Some(entry) = self.leave(id) {
            entry.replaced.notify_one();
        }
        Admission::Replaced
    }

    fn leave(&mut self, id: u64) -> Option<Arc<Entry>> {
        let entry = self.entries.remove(&id)?;
        if let Some(source) = entry.source
            && let Some(count) = self.per_source.get_mut(&source)
        {
            *count -= 1;
            if *count == 0 {
                self.per_source.remove(&source);
            }
        }
        Some(entry)
    }
}

#[derive(Debug)]
struct Entry {
    started: Instant,
    /// None for loopback, which has no separate bound.
    source: Option<IpAddr>,
    /// Requests that are being answered.
    busy: AtomicU32,
    /// Whether there has been a request.
    asked: AtomicBool,
    /// Milliseconds from the listener's start until it began to wait.
    since: AtomicU64,
    replaced: Notify,
    /// Belongs to the listener; notified when the connection's place can be taken.
    waits_again: Arc<Notify>,
}

impl Entry {
    fn new(started: Instant, source: Option<IpAddr>, waits_again: Arc<Notify>) -> Self {
        Self {
            started,
            source,
            busy: AtomicU32::new(0),
            asked: AtomicBool::new(false),
            since: AtomicU64::new(started.elapsed().as_millis() as u64),
            replaced: Notify::new(),
            waits_again,
        }
    }
}

impl Entry {
    /// How long it has waited for a request; none while it is busy.
    fn waits(&self) -> Option<Duration> {
        let since = Duration::from_millis(self.since.load(Ordering::Relaxed));
        (self.busy.load(Ordering::Acquire) == 0).then(|| self.started.elapsed().saturating_sub(since))
    }
}

/// A connection's place among those of its listener.
#[derive(Clone, Debug)]
pub struct Connection(Arc<Entry>);

impl Connection {
    /// A place without a listener, for a stream that was not accepted by one, such as in a test.
    pub fn alone() -> Self {
        Self(Arc::new(Entry::new(Instant::now(), None, Arc::default())))
    }

    /// Marks the connection as busy until the guard is dropped.
    pub fn busy(&self) -> Busy {
        self.0.busy.fetch_add(1, Ordering::AcqRel);
        self.0.asked.store(true, Ordering::Relaxed);
        Busy(Arc::clone(&self.0))
    }

    /// Resolves when the connection is to be closed.
    async fn unwanted(&self, rules: &Rules) -> Unwanted {
        let entry = &self.0;
        let shortest = rules.first_request.min(rules.idle);
        loop {
            let asked = entry.asked.load(Ordering::Relaxed);
            let until = if entry.busy.load(Ordering::Acquire) > 0 {
                Instant::now() + shortest
            } else {
                let since = Duration::from_millis(entry.since.load(Ordering::Relaxed));
                let end = entry.started + since + if asked { rules.idle } else { rules.first_request };
                if end <= Instant::now() {
                    return if asked { Unwanted::Idle } else { Unwanted::Slow };
                }
                end
            };
            tokio::select! {
                () = entry.replaced.notified() => return Unwanted::Replaced,
                () = sleep_until(until) => {}
            }
        }
    }
}

enum Unwanted {
    Slow,
    Idle,
    Replaced,
}

/// Exists as long as a request is being answered, including its body.
#[derive(Debug)]
pub struct Busy(Arc<Entry>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.since.store(self.0.started.elapsed().as_millis() as u64, Ordering::Relaxed);
        if self.0.busy.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.waits_again.notify_one();
        }
    }
}

/// Gives the place back when dropped.
#[derive(Debug)]
pub(crate) struct Admitted {
    id: u64,
    connections: Arc<Connections>,
    pub(crate) connection: Connection,
}

impl Admitted {
    /// Serves the connection until it ends or must be closed.
    pub(crate) async fn keep(self, serving: impl Future<Output = ()>) {
        tokio::select! {
            () = serving => {}
            why = self.connection.unwanted(&self.connections.rules) => {
                if matches!(why, Unwanted::Slow) {
                    self.connections.was_slow();
                }
            }
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.connections.lock().leave(self.id);
        self.connections.alive.fetch_sub(1, Ordering::AcqRel);
        self.connections.left.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(connections: usize, per_source: Option<usize>) -> Arc<Connections> {
        Connections::new(Rules { connections, per_source, ..Rules::control("the test") })
    }

    fn from(last: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, last], 1000))
    }

    #[tokio::test]
    async fn one_address_takes_its_own_places_and_loopback_takes_any() {
        let listener = listener(8, Some(2));
        let mut places: Vec<_> = (0..5).map(|_| listener.enter(from(1)).unwrap()).collect();
        assert_eq!((listener.counts().open, listener.counts().replaced), (2, 3), "its own oldest are closed");
        let busy: Vec<_> = places.iter().map(|place| place.connection.busy()).collect();
        assert!(listener.enter(from(1)).is_none(), "all of its own are busy");
        assert_eq!(listener.counts().refused, 1);
        places.extend([from(2), from(2)].map(|source| listener.enter(source).unwrap()));
        places.extend((0..4).map(|_| listener.enter(SocketAddr::from(([127, 0, 0, 1], 1))).unwrap()));
        assert_eq!((listener.counts().open, listener.counts().replaced), (8, 3));
        drop((busy, places));
        assert_eq!(listener.counts().open, 0);
    }

    #[tokio::test]
    async fn without_descriptors_the_one_that_has_waited_longest_gives_up_its_own() {
        let listener = listener(8, None);
        let (first, second) = (listener.enter(from(1)).unwrap(), listener.enter(from(2)).unwrap());
        let busy = first.connection.busy();
        listener.accept_failed();
        listener.accept_failed();
        let counts = listener.counts();
        assert_eq!((counts.accept_errors, counts.replaced, counts.open), (2, 1, 1), "the busy one is kept");
        second.connection.0.replaced.notified().await;
        drop((busy, first, second));
    }
}
