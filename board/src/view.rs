//! `View`: what this process knows of the board, in the form that components subscribe to.
//!
//! Both boards write here. Readers keep what they last saw when etcd is away.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{broadcast, watch};

use crate::{Changed, Connection, NodeInfo, Session, Versioned};

/// Changes a subscriber may fall behind by before it is told that it missed some.
const CHANGES_KEPT: usize = 1_024;

#[derive(Debug)]
pub(crate) struct View {
    nodes: watch::Sender<Vec<NodeInfo>>,
    /// A sender for each session that exists or that somebody waits for.
    sessions: Mutex<BTreeMap<String, watch::Sender<Option<Versioned<Session>>>>>,
    changes: broadcast::Sender<Changed>,
    connection: watch::Sender<Connection>,
}

impl View {
    pub(crate) fn new() -> Self {
        Self {
            nodes: watch::Sender::new(Vec::new()),
            sessions: Mutex::default(),
            changes: broadcast::Sender::new(CHANGES_KEPT),
            connection: watch::Sender::new(Connection::Connected),
        }
    }

    pub(crate) fn nodes(&self) -> watch::Receiver<Vec<NodeInfo>> {
        self.nodes.subscribe()
    }

    pub(crate) fn session(&self, id: &str) -> watch::Receiver<Option<Versioned<Session>>> {
        self.lock().entry(id.to_owned()).or_insert_with(|| watch::Sender::new(None)).subscribe()
    }

    /// The session as shown now.
    pub(crate) fn shown(&self, id: &str) -> Option<Versioned<Session>> {
        self.lock().get(id).and_then(|sender| sender.borrow().clone())
    }

    pub(crate) fn changes(&self) -> broadcast::Receiver<Changed> {
        self.changes.subscribe()
    }

    pub(crate) fn connection(&self) -> watch::Receiver<Connection> {
        self.connection.subscribe()
    }

    pub(crate) fn set_connection(&self, connection: Connection) {
        self.connection.send_if_modified(|now| {
            let modified = *now != connection;
            *now = connection;
            modified
        });
    }

    /// Puts `node` in its place by id, over an earlier one with the same id.
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

    pub(crate) fn remove_node(&self, id: &str) {
        self.nodes.send_if_modified(|nodes| {
            let before = nodes.len();
            nodes.retain(|node| node.id != id);
            nodes.len() != before
        });
    }

    /// All nodes at once; `nodes` may be in any order.
    pub(crate) fn set_nodes(&self, mut nodes: Vec<NodeInfo>) {
        nodes.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        self.nodes.send_if_modified(|now| {
            let modified = *now != nodes;
            *now = nodes;
            modified
        });
    }

    /// Shows `session` unless a later one is shown already.
    pub(crate) fn put_session(&self, session: Versioned<Session>) {
        let mut sessions = self.lock();
        let sender = sessions.entry(session.value.id.clone()).or_insert_with(|| watch::Sender::new(None));
        sender.send_if_modified(|now| {
            let newer = now.as_ref().is_none_or(|now| now.version < session.version);
            if newer {
                *now = Some(session);
            }
            newer
        });
    }

    /// Shows that the session is gone unless it was put again after `version`.
    pub(crate) fn remove_session(&self, id: &str, version: u64) {
        if let Some(sender) = self.lock().get(id) {
            sender.send_if_modified(|now| now.take_if(|now| now.version < version).is_some());
        }
    }

    /// Shows `sessions` and no others, whatever was shown.
    pub(crate) fn set_sessions(&self, sessions: Vec<Versioned<Session>>) {
        let mut known = self.lock();
        for sender in known.values() {
            sender.send_if_modified(|now| {
                let gone =
                    now.as_ref().is_some_and(|now| sessions.iter().all(|one| one.value.id != now.value.id));
                if gone {
                    *now = None;
                }
                gone
            });
        }
        for session in sessions {
            let sender = known.entry(session.value.id.clone()).or_insert_with(|| watch::Sender::new(None));
            sender.send_if_modified(|now| {
                let modified = now.as_ref() != Some(&session);
                *now = Some(session);
                modified
            });
        }
    }

    pub(crate) fn report(&self, changed: Changed) {
        // No receiver: nobody keeps a log here.
        let _ = self.changes.send(changed);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, watch::Sender<Option<Versioned<Session>>>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
