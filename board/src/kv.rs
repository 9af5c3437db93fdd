//! `Kv`: the operations that the board needs from a key-value store. It is independent of sessions, nodes and
//! pools.
//!
//! The rules of the board are above it, in [`crate::Board`]; [`memory`], [`sqlite`] and [`etcd`] implement
//! it. Every write has a version greater than that of all earlier writes, of any key.

pub(crate) mod etcd;
#[cfg(feature = "test-util")]
pub(crate) mod link;
pub(crate) mod memory;
pub(crate) mod sqlite;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::{BoardError, Connection};

/// The result of an operation that may need a round trip.
pub(crate) type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, BoardError>> + Send + 'a>>;

/// A key-value store. `doing` describes the operation in an error.
pub(crate) trait Kv: fmt::Debug + Send + Sync {
    /// All pairs whose keys begin with `prefix`, ordered by key, from one moment.
    fn list<'a>(&'a self, prefix: &'a str, doing: &'static str) -> Answer<'a, Vec<Pair>>;

    /// One pair.
    fn get<'a>(&'a self, key: &'a str, doing: &'static str) -> Answer<'a, Option<Pair>>;

    /// Makes all of `writes` atomically if their keys have not been written since the given versions; returns
    /// the version of the writes, or none if they were not made.
    fn write_if(&self, writes: Vec<Write>, doing: &'static str) -> Answer<'_, Option<u64>>;

    /// Grants a lease of about the configured length; keys bound to it are deleted when it ends.
    fn lease(&self, doing: &'static str) -> Answer<'_, Lease>;

    /// Renews a lease; false when it has ended.
    fn renew(&self, lease: LeaseId) -> Answer<'_, bool>;

    /// Ends a lease.
    fn revoke(&self, lease: LeaseId) -> Answer<'_, ()>;

    /// Passes all pairs whose keys begin with `prefix` to `watcher`, and then every write to them, in order,
    /// until [`Kv::close`].
    fn watch<'a>(&'a self, prefix: &'static str, watcher: Arc<dyn Watcher>) -> Answer<'a, ()>;

    /// Ends all watches, and waits until they have ended.
    fn close(&self) -> Answer<'_, ()>;
}

/// Receives writes.
pub(crate) trait Watcher: fmt::Debug + Send + Sync {
    /// All current pairs. With `missed`, writes after that version were not delivered one by one.
    fn show_all(&self, pairs: &[Pair], missed: Option<u64>);

    /// Writes that were made together.
    fn show(&self, events: &[KeyEvent]);

    /// Whether writes are being received.
    fn set_connection(&self, connection: Connection);
}

/// A key and the value of its last write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) key: String,
    pub(crate) value: Vec<u8>,
    /// The version of its last write.
    pub(crate) version: u64,
    /// The lease that it is bound to.
    pub(crate) lease: Option<LeaseId>,
}

/// A write of one key, or a condition for the other writes.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) key: String,
    /// The version of the key's last write that this one requires, 0 for a key that does not exist; none for
    /// no condition.
    pub(crate) after: Option<u64>,
    pub(crate) make: Make,
    /// The lease to bind it to.
    pub(crate) lease: Option<LeaseId>,
}

/// The effect on a key.
#[derive(Clone, Debug)]
pub(crate) enum Make {
    Value(Vec<u8>),
    /// The key is deleted.
    Nothing,
    /// The key is not changed.
    Same,
}

impl Write {
    /// Writes a value without a lease.
    pub(crate) const fn put(key: String, after: Option<u64>, value: Vec<u8>) -> Self {
        Self { key, after, make: Make::Value(value), lease: None }
    }

    /// Deletes a key without a condition.
    pub(crate) const fn delete(key: String) -> Self {
        Self { key, after: None, make: Make::Nothing, lease: None }
    }

    /// Writes nothing: the others are made only if this key has not been written since.
    pub(crate) const fn unchanged(key: String, since: u64) -> Self {
        Self { key, after: Some(since), make: Make::Same, lease: None }
    }
}

/// A change of a key.
#[derive(Clone, Debug)]
pub(crate) enum KeyEvent {
    Put(Pair),
    Deleted { key: String, version: u64 },
}

/// The id of a lease.
pub(crate) type LeaseId = i64;

/// A granted lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) id: LeaseId,
    /// Time from a renewal to its end; none for a lease that ends only when it is revoked.
    pub(crate) length: Option<Duration>,
}

impl KeyEvent {
    pub(crate) fn key(&self) -> &str {
        match self {
            Self::Put(pair) => &pair.key,
            Self::Deleted { key, .. } => key,
        }
    }

    pub(crate) fn version(&self) -> u64 {
        match self {
            Self::Put(pair) => pair.version,
            Self::Deleted { version, .. } => *version,
        }
    }
}
