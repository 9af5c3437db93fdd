//! A session as stored: two values, each with the version of its last write.

use serde::de::DeserializeOwned;

use crate::kv::{Pair, Write};
use crate::{RunStatus, Session, SessionSpec, Versioned, keys};

/// Both parts of a session, if they exist.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) spec: StoredValue<SessionSpec>,
    pub(crate) status: StoredValue<RunStatus>,
}

/// A value with the version of its last write.
#[derive(Clone, Debug)]
pub(crate) struct StoredValue<T> {
    /// 0 if it was never written.
    pub(crate) version: u64,
    /// None if it does not exist or cannot be parsed.
    pub(crate) value: Option<T>,
}

impl Stored {
    /// None without a spec: the session does not exist.
    pub(crate) fn session(&self) -> Option<Versioned<Session>> {
        let spec = self.spec.value.clone()?;
        let status = self.status.value.clone().unwrap_or_default();
        let version = self.spec.version.max(self.status.version);
        Some(Versioned { version, value: Session { spec, status } })
    }
}

impl Default for Stored {
    fn default() -> Self {
        Self { spec: StoredValue::gone(0, None), status: StoredValue::gone(0, Some(RunStatus::default())) }
    }
}

impl<T> StoredValue<T> {
    /// Deleted by a write; `default` is its value.
    pub(crate) const fn gone(version: u64, default: Option<T>) -> Self {
        Self { version, value: default }
    }

    /// Replaces this value by a later one.
    pub(crate) fn replace(&mut self, by: Self) {
        if self.version < by.version {
            *self = by;
        }
    }
}

impl<T: DeserializeOwned> StoredValue<T> {
    /// A value of another program is not parsed; it has a version and is overwritten.
    pub(crate) fn read(pair: &Pair) -> Self {
        Self { version: pair.version, value: keys::parse(pair).map(|read| read.value) }
    }
}

impl<T: PartialEq + serde::Serialize> StoredValue<T> {
    /// Whether it has this value already.
    pub(crate) fn is(&self, next: &T) -> bool {
        self.value.as_ref() == Some(next)
    }

    /// A write of `next`, if the key has not been written since.
    pub(crate) fn write(&self, key: String, next: &T) -> Write {
        match self.is(next) {
            true => Write::unchanged(key, self.version),
            false => Write::put(key, Some(self.version), keys::json(next)),
        }
    }

    /// The value after that write.
    pub(crate) fn written(self, next: T, version: u64) -> Self {
        if self.is(&next) { self } else { Self { version, value: Some(next) } }
    }
}
