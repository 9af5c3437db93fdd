//! The right to make one object below a hard limit.

use std::sync::Arc;

use wec_record::Object;

use super::shared::Shared;

/// The right to make one object. It returns when it is dropped without being spent or forfeited.
#[derive(Debug)]
pub struct Reservation {
    kind: Object,
    /// None when there is no limit.
    home: Option<Arc<Shared>>,
}

impl Reservation {
    pub(crate) const fn free(kind: Object) -> Self {
        Self { kind, home: None }
    }

    pub(super) const fn counted(kind: Object, home: Arc<Shared>) -> Self {
        Self { kind, home: Some(home) }
    }

    /// The object that may be made.
    pub const fn kind(&self) -> Object {
        self.kind
    }

    /// It is not known whether the CA made the object, or the object is unusable: the hard limit counts it
    /// for the life of this process.
    pub fn forfeit(mut self) {
        self.home = None;
    }

    /// The object was made.
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
