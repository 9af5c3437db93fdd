//! Hard limits over all processes, kept by reserving in batches from the database and spending locally.

use std::sync::Arc;

use wec_record::Object;

use super::shared::Shared;

/// How many of each may ever be made at one CA, over all processes and restarts; none means no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Limits {
    /// Accounts.
    pub registrations: Option<u64>,
    /// Orders made ready.
    pub authorizations: Option<u64>,
    /// Certificates.
    pub certificates: Option<u64>,
}

impl Limits {
    pub(crate) fn of(&self, kind: Object) -> Option<i64> {
        let limit = match kind {
            Object::Registration => self.registrations,
            Object::Order => self.authorizations,
            Object::Certificate => self.certificates,
        };
        limit.map(|limit| i64::try_from(limit).unwrap_or(i64::MAX))
    }
}

/// The right to make one object. Goes back when it is dropped without having been spent on one or forfeited.
#[derive(Debug)]
pub struct Reservation {
    kind: Object,
    /// None when there is no limit, and so nothing to go back.
    home: Option<Arc<Shared>>,
}

impl Reservation {
    pub(crate) const fn free(kind: Object) -> Self {
        Self { kind, home: None }
    }

    pub(super) const fn counted(kind: Object, home: Arc<Shared>) -> Self {
        Self { kind, home: Some(home) }
    }

    /// What may be made.
    pub const fn kind(&self) -> Object {
        self.kind
    }

    /// Nobody knows whether the CA made the object, or it did and the object is of no use: a hard limit counts it for as
    /// long as this process lives.
    pub fn forfeit(mut self) {
        self.home = None;
    }

    /// The object exists.
    pub(crate) fn spend(mut self, kind: Object) {
        debug_assert_eq!(self.kind, kind, "a reservation is spent on what it was made for");
        self.home = None;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            home.unreserve(self.kind);
        }
    }
}

/// What this process holds of one limit.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Allowance {
    /// Reserved in the database and not yet stored as made: available, in chains' hands, or waiting to be written.
    pub(super) reserved: i64,
    /// Of these, what no chain has taken.
    pub(super) available: i64,
    /// Taken since the last beat: how much to reserve at once, and whether others may have the rest.
    pub(super) taken: i64,
    /// How many were ever made, over all processes, when some were last asked for below a limit.
    pub(super) made: i64,
    /// Nothing was granted since the last beat, or others lack it: no use asking again before.
    pub(super) exhausted: bool,
    /// Some was given to others since the last beat. The database learns of it with the next one; until the one after
    /// that it is theirs to take.
    pub(super) gave: bool,
}

/// How much of an unused stock goes to others who lack it: half, and the last one too if it was idle.
pub(super) fn share(held: usize, used_lately: bool) -> usize {
    if used_lately { held / 2 } else { held.div_ceil(2) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_is_shared_only_when_idle() {
        for (held, used, shared) in [
            (0, true, 0),
            (0, false, 0),
            (1, true, 0),
            (1, false, 1),
            (2, true, 1),
            (9, true, 4),
            (9, false, 5),
        ] {
            assert_eq!(share(held, used), shared, "{held} {used}");
        }
    }
}
