//! Exclusive use of a stored object, until an outcome or its return to the pool.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::USABLE_FOR;
use super::local::{Local, Pooled};
use super::objects::{ExclusiveRegistration, ReadyOrder, StoredCertificate};
use super::shared::Shared;

/// An object that no other chain uses, in this process or another.
///
/// It ends with an outcome ([`State::order_issued`](crate::State::order_issued) and similar). Dropped without
/// one (by an interrupted chain) it returns to the pool as suspect: the next chain asks the CA first.
pub struct Claim<T: Claimable> {
    /// None once it has an outcome.
    item: Option<T>,
    home: Arc<Shared>,
    /// The owner that claimed it: after an expulsion it must not be returned.
    owner: i64,
}

impl<T: Claimable> Claim<T> {
    /// Draws one from the pool; objects that expire too soon end by `expire`.
    pub(super) fn draw(
        home: &Arc<Shared>,
        expires: impl Fn(&T) -> i64,
        expire: impl Fn(&mut Local, T),
    ) -> Option<Self> {
        if home.is_fenced() {
            return None;
        }
        let usable_at = home.ca_now().saturating_add(USABLE_FOR);
        let (item, low) = {
            let mut local = home.local();
            local.wake(home.clock.now());
            let before = local.queue.len();
            let item = loop {
                let item = T::pool(&mut local).draw();
                match item {
                    Some(item) if expires(&item) <= usable_at => expire(&mut local, item),
                    item => break item,
                }
            };
            home.queued(before, local.queue.len());
            let pool = T::pool(&mut local);
            (item, pool.len() < home.options.claim_batch / 2 && !pool.dry)
        };
        if low {
            home.wake.notify_one();
        }
        let owner = home.owner.load(Ordering::Relaxed);
        item.map(|item| {
            home.claims.fetch_add(1, Ordering::Relaxed);
            Self { item: Some(item), home: home.clone(), owner }
        })
    }

    /// Returns it unused and not suspect.
    pub fn release(mut self) {
        if let Some(item) = self.item.take() {
            self.home.put_back(item, self.owner);
        }
    }

    /// Returns it unused and not suspect, to rest for this time because of a rate limit of the CA.
    pub fn rest(mut self, time: Duration) {
        if let Some(item) = self.item.take() {
            self.home.put_to_rest(item, self.owner, time);
        }
    }

    /// Returns it changed, and not suspect.
    pub(super) fn replace(mut self, changed: T) {
        self.item = Some(changed);
        self.release();
    }

    /// The object, which has an outcome.
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
        self.home.claims.fetch_sub(1, Ordering::Relaxed);
        if let Some(mut item) = self.item.take() {
            item.suspect();
            self.home.put_back(item, self.owner);
        }
    }
}

/// Types that can be claimed.
#[expect(private_bounds, reason = "claimable are the types that the pools hold, and no others")]
pub trait Claimable: Pooled {}

impl Claimable for ExclusiveRegistration {}
impl Claimable for ReadyOrder {}
impl Claimable for StoredCertificate {}
