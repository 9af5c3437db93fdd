//! Exclusive use of a stored object, from the draw to an outcome or back into the pool.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use super::objects::{ExclusiveRegistration, ReadyOrder, StoredCertificate};
use super::{local::Local, pool::Pool, shared::Shared};

/// An object that nobody else uses, in this process or another.
///
/// It ends with an outcome ([`State::order_issued`](crate::State::order_issued) and its like). Dropped without one (a
/// chain that was cut off) it goes back to the pool as suspect: the next chain looks at the CA first.
pub struct Claim<T: Claimable> {
    /// None once it has an outcome.
    item: Option<T>,
    home: Arc<Shared>,
    /// The owner under which it was claimed: after an expulsion it is not ours to put back.
    owner: i64,
}

impl<T: Claimable> Claim<T> {
    pub(super) const fn new(item: T, home: Arc<Shared>, owner: i64) -> Self {
        Self { item: Some(item), home, owner }
    }

    /// Puts it back unused and unsuspected.
    pub fn release(mut self) {
        if let Some(item) = self.item.take() {
            self.home.put_back(item, self.owner);
        }
    }

    /// Puts it back unused and unsuspected, to be handed out again after so long: a limit of the CA is about it.
    pub fn rest(mut self, time: Duration) {
        if let Some(item) = self.item.take() {
            self.home.put_to_rest(item, self.owner, time);
        }
    }

    /// The object, which has come to an outcome.
    pub(super) fn conclude(mut self) -> T {
        self.item.take().expect("a claim is concluded once, and consumed by it")
    }
}

impl<T: Claimable> Deref for Claim<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.item.as_ref().expect("a claim has its object until it is consumed")
    }
}

impl<T: Claimable + fmt::Debug> fmt::Debug for Claim<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Claim").field(&self.item).finish()
    }
}

impl<T: Claimable> Drop for Claim<T> {
    fn drop(&mut self) {
        if let Some(mut item) = self.item.take() {
            item.suspect();
            self.home.put_back(item, self.owner);
        }
    }
}

/// What can be claimed.
#[expect(private_bounds, reason = "claimable are the types that the pools hold, and no others")]
pub trait Claimable: Pooled {}

impl Claimable for ExclusiveRegistration {}
impl Claimable for ReadyOrder {}
impl Claimable for StoredCertificate {}

pub(super) trait Pooled: Sized {
    fn pool(local: &mut Local) -> &mut Pool<Self>;
    /// Marks it as one whose state at the CA is not known for sure.
    fn suspect(&mut self);
}

impl Pooled for ExclusiveRegistration {
    fn pool(local: &mut Local) -> &mut Pool<Self> {
        &mut local.exclusive
    }

    fn suspect(&mut self) {
        self.suspect = true;
    }
}

impl Pooled for ReadyOrder {
    fn pool(local: &mut Local) -> &mut Pool<Self> {
        &mut local.orders
    }

    fn suspect(&mut self) {
        self.suspect = true;
    }
}

impl Pooled for StoredCertificate {
    fn pool(local: &mut Local) -> &mut Pool<Self> {
        &mut local.certificates
    }

    fn suspect(&mut self) {
        self.suspect = true;
    }
}
