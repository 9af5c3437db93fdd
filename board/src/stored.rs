//! A session as the board stores it: two values, each with the version of its last write.

use serde::de::DeserializeOwned;

use crate::kv::{Pair, Write};
use crate::{RunStatus, Session, SessionSpec, Versioned, keys};

/// Both parts of a session, as far as they are there.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) spec: Part<SessionSpec>,
    pub(crate) status: Part<RunStatus>,
}

/// One value as of its last write.
#[derive(Clone, Debug)]
pub(crate) struct Part<T> {
    /// 0 for one that has never been written.
    pub(crate) version: u64,
    /// None where it is not there, or is not understood.
    pub(crate) value: Option<T>,
}

impl Stored {
    /// None without a spec: then nobody wants such a session.
    pub(crate) fn session(&self) -> Option<Versioned<Session>> {
        let spec = self.spec.value.clone()?;
        let status = self.status.value.clone().unwrap_or_default();
        let version = self.spec.version.max(self.status.version);
        Some(Versioned { version, value: Session { spec, status } })
    }
}

impl Default for Stored {
    fn default() -> Self {
        Self { spec: Part::gone(0, None), status: Part::gone(0, Some(RunStatus::default())) }
    }
}

impl<T> Part<T> {
    /// Deleted by a write; `default` is what it is taken for.
    pub(crate) const fn gone(version: u64, default: Option<T>) -> Self {
        Self { version, value: default }
    }

    /// Takes a later value in the place of this one.
    pub(crate) fn replace(&mut self, by: Self) {
        if self.version < by.version {
            *self = by;
        }
    }
}

impl<T: DeserializeOwned> Part<T> {
    /// What another program has put there has no value, but a version: it is written over.
    pub(crate) fn read(pair: &Pair) -> Self {
        Self { version: pair.version, value: keys::parse(pair).map(|read| read.value) }
    }
}

impl<T: PartialEq + serde::Serialize> Part<T> {
    /// Whether it is so already.
    pub(crate) fn is(&self, next: &T) -> bool {
        self.value.as_ref() == Some(next)
    }

    /// What makes it `next`, if nobody has written it since.
    pub(crate) fn write(&self, key: String, next: &T) -> Write {
        match self.is(next) {
            true => Write::unchanged(key, self.version),
            false => Write::put(key, Some(self.version), keys::json(next)),
        }
    }

    /// It as it is after that write.
    pub(crate) fn written(self, next: T, version: u64) -> Self {
        if self.is(&next) { self } else { Self { version, value: Some(next) } }
    }
}
