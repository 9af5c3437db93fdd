//! The board of a single process: everything in memory, gone with it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::pool::Pool;
use crate::view::View;
use crate::{BoardError, Change, Connection, Made, NodeInfo, Session, Versioned};

#[derive(Debug)]
pub(crate) struct Local {
    view: Arc<View>,
    /// The version of the last write; held while writing, so that writes have an order.
    version: Mutex<u64>,
    /// By session and scenario.
    pools: Mutex<HashMap<(String, String), Pool>>,
}

impl Local {
    pub(crate) fn new(view: Arc<View>) -> Self {
        view.set_connection(Connection::Connected);
        Self { view, version: Mutex::new(0), pools: Mutex::default() }
    }

    pub(crate) fn join(&self, node: NodeInfo) -> Result<(), BoardError> {
        let _writing = self.version.lock().unwrap_or_else(PoisonError::into_inner);
        if self.view.nodes().borrow().iter().any(|known| known.id == node.id) {
            return Err(BoardError::NodeTaken(node.id));
        }
        self.view.put_node(node);
        Ok(())
    }

    pub(crate) fn update(&self, node: NodeInfo) {
        let _writing = self.version.lock().unwrap_or_else(PoisonError::into_inner);
        self.view.put_node(node);
    }

    pub(crate) fn leave(&self, id: &str) {
        self.view.remove_node(id);
    }

    pub(crate) fn put_session(&self, session: Session, only_if_absent: bool) -> Versioned<Session> {
        let mut version = self.version.lock().unwrap_or_else(PoisonError::into_inner);
        if only_if_absent && let Some(there) = self.view.shown(&session.id) {
            return there;
        }
        *version += 1;
        let session = Versioned { version: *version, value: session };
        self.view.put_session(session.clone());
        session
    }

    /// Writes what `next` makes of the session that is there; nothing when that is none.
    pub(crate) fn revise(
        &self,
        id: &str,
        next: impl Fn(Option<&Session>, &[NodeInfo]) -> Result<Option<Session>, BoardError>,
    ) -> Result<Versioned<Session>, BoardError> {
        let mut version = self.version.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.view.shown(id);
        let nodes = self.view.nodes().borrow().clone();
        match next(now.as_ref().map(|now| &now.value), &nodes)? {
            Some(next) => {
                *version += 1;
                let session = Versioned { version: *version, value: next };
                self.view.put_session(session.clone());
                session.value.last_changes.iter().for_each(|changed| self.view.report(changed.clone()));
                Ok(session)
            }
            None => now.ok_or_else(|| BoardError::NoSession(id.to_owned())),
        }
    }

    pub(crate) fn pool(&self, session: &str, scenario: &str, next: impl Fn(Option<&Pool>) -> Pool) -> Pool {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (session.to_owned(), scenario.to_owned());
        let pool = next(pools.get(&key));
        pools.insert(key, pool.clone());
        pool
    }

    pub(crate) fn change<E: From<BoardError>>(
        &self,
        id: &str,
        changes: &[Change],
        allowed: impl Fn(&Session) -> Result<(), E>,
        at_unix_ns: u64,
    ) -> Result<Made, E> {
        let mut version = self.version.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.view.shown(id).ok_or_else(|| BoardError::NoSession(id.to_owned()))?;
        allowed(&now.value)?;
        let Some(next) = now.value.after_all(changes, at_unix_ns)? else {
            return Ok(Made { session: now, changes: Vec::new() });
        };
        *version += 1;
        let changes = next.last_changes.clone();
        let session = Versioned { version: *version, value: next };
        self.view.put_session(session.clone());
        changes.iter().for_each(|changed| self.view.report(changed.clone()));
        Ok(Made { session, changes })
    }
}
