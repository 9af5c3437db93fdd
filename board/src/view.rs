//! `View`: the board's data in this process, to which components subscribe.
//!
//! It watches the keys. If the board is unreachable, subscribers keep the last known values.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{broadcast, watch};

use crate::agents::view::AgentsView;
use crate::answers::Answers;
use crate::keys::{self, KeyObject};
use crate::kv::{KeyEvent, Pair, Watcher};
use crate::stored::{Stored, StoredValue};
use crate::{Changed, Connection, NodeInfo, RunStatus, Session, SessionSpec, Shares, Versioned};

/// Number of changes that a subscriber may be behind before it misses some.
const CHANGES_KEPT: usize = 1_024;

#[derive(Debug)]
pub(crate) struct View {
    nodes: watch::Sender<Vec<NodeInfo>>,
    /// Each session that exists or has a subscriber.
    sessions: Mutex<BTreeMap<String, SeenSession>>,
    /// The shares of the sessions; the initial value before the first decision.
    shares: Mutex<BTreeMap<String, watch::Sender<Shares>>>,
    /// The names for which a place is reserved.
    places: watch::Sender<BTreeSet<String>>,
    /// By session, the last answers to what time it is.
    answers: watch::Sender<BTreeMap<String, Answers>>,
    agents: watch::Sender<AgentsView>,
    changes: broadcast::Sender<Changed>,
    connection: watch::Sender<Connection>,
}

/// The known parts of a session.
#[derive(Debug, Default)]
struct SeenSession {
    stored: Stored,
    shown: watch::Sender<Option<Versioned<Session>>>,
}

impl SeenSession {
    /// Publishes the known parts.
    fn show(&self) {
        let session = self.stored.session();
        self.shown.send_if_modified(|now| {
            let modified = *now != session;
            *now = session;
            modified
        });
    }
}

impl View {
    pub(crate) fn new() -> Self {
        Self {
            nodes: watch::Sender::new(Vec::new()),
            sessions: Mutex::default(),
            shares: Mutex::default(),
            places: watch::Sender::default(),
            answers: watch::Sender::default(),
            agents: watch::Sender::default(),
            changes: broadcast::Sender::new(CHANGES_KEPT),
            connection: watch::Sender::new(Connection::Connected),
        }
    }

    pub(crate) fn nodes(&self) -> watch::Receiver<Vec<NodeInfo>> {
        self.nodes.subscribe()
    }

    pub(crate) fn session(&self, id: &str) -> watch::Receiver<Option<Versioned<Session>>> {
        self.lock().entry(id.to_owned()).or_default().shown.subscribe()
    }

    pub(crate) fn sessions(&self) -> Vec<Versioned<Session>> {
        self.lock().values().filter_map(|session| session.shown.borrow().clone()).collect()
    }

    pub(crate) fn shares(&self, session: &str) -> watch::Receiver<Shares> {
        self.shares_of(session).subscribe()
    }

    pub(crate) fn places(&self) -> watch::Receiver<BTreeSet<String>> {
        self.places.subscribe()
    }

    pub(crate) fn answers(&self) -> watch::Receiver<BTreeMap<String, Answers>> {
        self.answers.subscribe()
    }

    fn put_answers(&self, session: &str, pair: &Pair) {
        if let Some(answers) = keys::parse::<Answers>(pair) {
            self.answers.send_modify(|known| drop(known.insert(session.to_owned(), answers.value)));
        }
    }

    /// Publishes whether a place is reserved.
    pub(crate) fn put_place(&self, name: &str, reserved: bool) {
        self.places.send_if_modified(|places| match reserved {
            true => places.insert(name.to_owned()),
            false => places.remove(name),
        });
    }

    pub(crate) fn agents(&self) -> watch::Receiver<AgentsView> {
        self.agents.subscribe()
    }

    pub(crate) fn changes(&self) -> broadcast::Receiver<Changed> {
        self.changes.subscribe()
    }

    pub(crate) fn connection(&self) -> watch::Receiver<Connection> {
        self.connection.subscribe()
    }

    /// Inserts `node` in the order of ids; it replaces one with the same id.
    pub(crate) fn put_node(&self, node: NodeInfo) {
        self.nodes.send_if_modified(|nodes| match nodes.binary_search_by(|known| known.id.cmp(&node.id)) {
            Ok(at) if nodes[at] == node => false,
            Ok(at) => {
                nodes[at] = node;
                true
            }
            Err(at) => {
                nodes.insert(at, node);
                true
            }
        });
    }

    fn remove_node(&self, id: &str) {
        self.nodes.send_if_modified(|nodes| {
            let before = nodes.len();
            nodes.retain(|node| node.id != id);
            nodes.len() != before
        });
    }

    /// All nodes at once; `nodes` may be in any order.
    fn set_nodes(&self, mut nodes: Vec<NodeInfo>) {
        nodes.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        self.nodes.send_if_modified(|now| {
            let modified = *now != nodes;
            *now = nodes;
            modified
        });
    }

    /// Publishes a session, except for parts of which a later write is known.
    pub(crate) fn put_session(&self, id: &str, stored: Stored) {
        let mut sessions = self.lock();
        let session = sessions.entry(id.to_owned()).or_default();
        session.stored.spec.replace(stored.spec);
        session.stored.status.replace(stored.status);
        session.show();
    }

    /// Publishes exactly these `sessions`.
    fn set_sessions(&self, mut sessions: BTreeMap<String, Stored>) {
        let mut known = self.lock();
        for id in known.keys() {
            sessions.entry(id.clone()).or_default();
        }
        for (id, stored) in sessions {
            let session = known.entry(id).or_default();
            session.stored = stored;
            session.show();
        }
    }

    /// Publishes the shares of a session, unless a later decision is known.
    pub(crate) fn put_shares(&self, session: &str, shares: Shares) {
        self.shares_of(session).send_if_modified(|now| {
            let newer = now.epoch < shares.epoch;
            if newer {
                *now = shares;
            }
            newer
        });
    }

    /// Publishes exactly these shares.
    fn set_shares(&self, mut shares: BTreeMap<String, Shares>) {
        let known: Vec<_> = self.lock_shares().keys().cloned().collect();
        for session in known {
            shares.entry(session).or_default();
        }
        for (session, shares) in shares {
            self.shares_of(&session).send_if_modified(|now| {
                let modified = *now != shares;
                *now = shares;
                modified
            });
        }
    }

    fn shares_of(&self, session: &str) -> watch::Sender<Shares> {
        self.lock_shares().entry(session.to_owned()).or_default().clone()
    }

    fn lock_shares(&self) -> MutexGuard<'_, BTreeMap<String, watch::Sender<Shares>>> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, changed: Changed) {
        // Without a receiver nothing writes a log here.
        let _ = self.changes.send(changed);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, SeenSession>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watcher for View {
    fn show_all(&self, pairs: &[Pair], missed: Option<u64>) {
        let mut nodes = Vec::new();
        let mut sessions: BTreeMap<String, Stored> = BTreeMap::new();
        let (mut shares, mut places) = (BTreeMap::new(), BTreeSet::new());
        for pair in pairs {
            match keys::object(&pair.key) {
                KeyObject::Node(_) => nodes.extend(keys::parse::<NodeInfo>(pair).map(|node| node.value)),
                KeyObject::Session(id) => {
                    sessions.entry(id.to_owned()).or_default().spec = StoredValue::read(pair)
                }
                KeyObject::Status(id) => {
                    sessions.entry(id.to_owned()).or_default().status = StoredValue::read(pair)
                }
                KeyObject::Shares(session) => {
                    shares.extend(keys::parse::<Shares>(pair).map(|found| (session.to_owned(), found.value)));
                }
                KeyObject::Reserved(name) => drop(places.insert(name.to_owned())),
                KeyObject::Clocks(session) => self.put_answers(session, pair),
                KeyObject::Agent(_)
                | KeyObject::Registered(_)
                | KeyObject::Plan(_)
                | KeyObject::Task(..)
                | KeyObject::Elsewhere => {}
            }
        }
        // Changes made after the missed ones are reported, as far as they are still known.
        let mut changes: Vec<_> = sessions
            .values()
            .filter(|session| missed.is_some_and(|missed| session.spec.version > missed))
            .map(|session| (session.spec.version, last_changes(&session.spec)))
            .collect();
        changes.sort_unstable_by_key(|(version, _)| *version);
        self.set_nodes(nodes);
        self.set_sessions(sessions);
        self.set_shares(shares);
        self.places.send_if_modified(|now| std::mem::replace(now, places.clone()) != places);
        self.agents.send_replace(AgentsView::of(pairs));
        for changed in changes.into_iter().flat_map(|(_, changes)| changes) {
            self.report(changed);
        }
    }

    fn show(&self, events: &[KeyEvent]) {
        // Both parts of a session may have been written together: subscribers must not get one without the
        // other.
        let (mut sessions, mut changes) = (BTreeMap::<&str, Stored>::new(), Vec::new());
        for event in events {
            match (keys::object(event.key()), event) {
                (KeyObject::Node(id), KeyEvent::Deleted { .. }) => self.remove_node(id),
                (KeyObject::Node(_), KeyEvent::Put(pair)) => {
                    if let Some(node) = keys::parse::<NodeInfo>(pair) {
                        self.put_node(node.value);
                    }
                }
                (KeyObject::Session(id), KeyEvent::Deleted { version, .. }) => {
                    sessions.entry(id).or_default().spec = StoredValue::gone(*version, None);
                }
                (KeyObject::Session(id), KeyEvent::Put(pair)) => {
                    let spec = StoredValue::read(pair);
                    changes.extend(last_changes(&spec));
                    if spec.value.is_some() {
                        sessions.entry(id).or_default().spec = spec;
                    }
                }
                (KeyObject::Status(id), KeyEvent::Deleted { version, .. }) => {
                    sessions.entry(id).or_default().status =
                        StoredValue::gone(*version, Some(RunStatus::default()));
                }
                (KeyObject::Status(id), KeyEvent::Put(pair)) => {
                    let status = StoredValue::read(pair);
                    if status.value.is_some() {
                        sessions.entry(id).or_default().status = status;
                    }
                }
                (KeyObject::Shares(session), KeyEvent::Put(pair)) => {
                    if let Some(shares) = keys::parse::<Shares>(pair) {
                        self.put_shares(session, shares.value);
                    }
                }
                (KeyObject::Reserved(name), event) => self.put_place(name, matches!(event, KeyEvent::Put(_))),
                (KeyObject::Clocks(session), KeyEvent::Put(pair)) => self.put_answers(session, pair),
                (KeyObject::Shares(_) | KeyObject::Clocks(_), KeyEvent::Deleted { .. })
                | (
                    KeyObject::Agent(_)
                    | KeyObject::Registered(_)
                    | KeyObject::Plan(_)
                    | KeyObject::Task(..)
                    | KeyObject::Elsewhere,
                    _,
                ) => {}
            }
        }
        for (id, stored) in sessions {
            self.put_session(id, stored);
        }
        self.agents.send_if_modified(|agents| {
            events.iter().fold(false, |modified, event| agents.apply(event) | modified)
        });
        changes.into_iter().for_each(|changed| self.report(changed));
    }

    fn set_connection(&self, connection: Connection) {
        self.connection.send_if_modified(|now| {
            let modified = *now != connection;
            *now = connection;
            modified
        });
    }
}

fn last_changes(spec: &StoredValue<SessionSpec>) -> Vec<Changed> {
    spec.value.as_ref().map(|spec| spec.last_changes.clone()).unwrap_or_default()
}
