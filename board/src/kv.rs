//! `Kv`: what the board needs of a store of keys and values, and nothing about sessions, nodes or pools.
//!
//! The rules stand above it once ([`crate::Board`]); [`memory`], [`sqlite`] and [`etcd`] implement it. Every write gets a version,
//! greater than that of all writes before it, whichever key it is of.

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

/// An answer that may take a round trip.
pub(crate) type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, BoardError>> + Send + 'a>>;

/// A store of keys and values. `doing` says what a call is for, in the words of an error.
pub(crate) trait Kv: fmt::Debug + Send + Sync {
    /// All pairs whose keys begin with `prefix`, in order of key, as of one moment.
    fn list<'a>(&'a self, prefix: &'a str, doing: &'static str) -> Answer<'a, Vec<Pair>>;

    /// One pair.
    fn get<'a>(&'a self, key: &'a str, doing: &'static str) -> Answer<'a, Option<Pair>>;

    /// Makes all of `writes` at once if nobody has written their keys since the versions that they are based on; the version
    /// of all of them, or none when they were not made.
    fn write_if(&self, writes: Vec<Write>, doing: &'static str) -> Answer<'_, Option<u64>>;

    /// Grants a lease of about the length that it was opened with: what is bound to it is deleted when it ends.
    fn lease(&self, doing: &'static str) -> Answer<'_, Lease>;

    /// Renews a lease; false when it has ended.
    fn renew(&self, lease: LeaseId) -> Answer<'_, bool>;

    /// Ends a lease.
    fn revoke(&self, lease: LeaseId) -> Answer<'_, ()>;

    /// Shows all pairs whose keys begin with `prefix` to `watcher`, and every write to them from then on, in order,
    /// until [`Kv::close`].
    fn watch<'a>(&'a self, prefix: &'static str, watcher: Arc<dyn Watcher>) -> Answer<'a, ()>;

    /// Ends all watches, and waits until they have ended.
    fn close(&self) -> Answer<'_, ()>;
}

/// Sees what is written.
pub(crate) trait Watcher: fmt::Debug + Send + Sync {
    /// All that is there now. After `missed`, if it is given, there were writes that were not shown one by one.
    fn show_all(&self, pairs: &[Pair], missed: Option<u64>);

    /// What was written at once.
    fn show(&self, events: &[Event]);

    /// Whether writes are being seen.
    fn set_connection(&self, connection: Connection);
}

/// A key and its value as of its last write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) key: String,
    pub(crate) value: Vec<u8>,
    /// Of its last write.
    pub(crate) version: u64,
    /// What it is bound to.
    pub(crate) lease: Option<LeaseId>,
}

/// A write of one key, or a condition of the writes that are made with it.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) key: String,
    /// The version of the key's last write that this one is based on, 0 for a key that does not exist; none for one that
    /// is made whatever is there.
    pub(crate) after: Option<u64>,
    pub(crate) make: Make,
    /// What it is bound to.
    pub(crate) lease: Option<LeaseId>,
}

/// What is made of a key.
#[derive(Clone, Debug)]
pub(crate) enum Make {
    Value(Vec<u8>),
    /// It is deleted.
    Nothing,
    /// It stays as it is.
    Same,
}

impl Write {
    /// Of a value that is bound to nothing.
    pub(crate) const fn put(key: String, after: Option<u64>, value: Vec<u8>) -> Self {
        Self { key, after, make: Make::Value(value), lease: None }
    }

    /// Deletes a key, whatever is there.
    pub(crate) const fn delete(key: String) -> Self {
        Self { key, after: None, make: Make::Nothing, lease: None }
    }

    /// Writes nothing: others are made only if nobody has written this key since.
    pub(crate) const fn unchanged(key: String, since: u64) -> Self {
        Self { key, after: Some(since), make: Make::Same, lease: None }
    }
}

/// What happened to a key.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Put(Pair),
    Deleted { key: String, version: u64 },
}

/// Names a lease.
pub(crate) type LeaseId = i64;

/// A lease as it was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) id: LeaseId,
    /// How long after a renewal it ends; none for one that ends only when it is revoked.
    pub(crate) length: Option<Duration>,
}

impl Event {
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
