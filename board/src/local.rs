//! The board of a single process: everything in memory, gone with it.

use std::sync::{Arc, Mutex, PoisonError};

use crate::view::View;
use crate::{BoardError, Change, Connection, Made, NodeInfo, Session, Versioned};

#[derive(Debug)]
pub(crate) struct Local {
    view: Arc<View>,
    /// The version of the last write; held while writing, so that writes have an order.
    version: Mutex<u64>,
}

impl Local {
    pub(crate) fn new(view: Arc<View>) -> Self {
        view.set_connection(Connection::Connected);
        Self { view, version: Mutex::new(0) }
    }

    pub(crate) fn join(&self, node: NodeInfo) -> Result<(), BoardError> {
        let _writing = self.version.lock().unwrap_or_else(PoisonError::into_inner);
        if self.view.nodes().borrow().iter().any(|known| known.id == node.id) {
            return Err(BoardError::NodeTaken(node.id));
        }
        self.view.put_node(node);
        Ok(())
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
