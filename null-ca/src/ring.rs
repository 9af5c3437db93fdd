//! A store of the newest N entries that never grows, so that a CA that issues for days has bounded memory.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The newest `capacity` entries by id. Ids ascend from a random start for each process, so that an id from
/// before a restart is unknown afterwards, and not that of another entry.
///
/// Each entry has its own lock: two requests wait for each other only if they use the same entry.
pub(crate) struct Ring<T> {
    slots: Box<[Mutex<Slot<T>>]>,
    next: AtomicU64,
}

/// Boxed, so that an empty slot takes only a pointer.
type Slot<T> = Option<Box<(u64, T)>>;

/// Ids stay below 2^56, so that they fit into seven bytes of a certificate's serial number.
const FIRST_ID_BITS: u32 = 54;

impl<T> Ring<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        let first = rand::random::<u64>() >> (u64::BITS - FIRST_ID_BITS);
        Self { slots: (0..capacity.max(1)).map(|_| Mutex::new(None)).collect(), next: AtomicU64::new(first) }
    }

    /// A new id. Nothing is replaced before [`Ring::put`].
    pub(crate) fn reserve(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Stores under a reserved id and returns the entry that was replaced.
    pub(crate) fn put(&self, id: u64, value: T) -> Option<T> {
        let displaced = self.slot(id).replace(Box::new((id, value)));
        displaced.map(|entry| entry.1)
    }

    /// Runs `f` on the entry under its lock; `None` when it was never stored or was replaced.
    pub(crate) fn with<R>(&self, id: u64, f: impl FnOnce(&mut T) -> R) -> Option<R> {
        match self.slot(id).as_deref_mut() {
            Some((stored, value)) if *stored == id => Some(f(value)),
            _ => None,
        }
    }

    fn slot(&self, id: u64) -> MutexGuard<'_, Slot<T>> {
        let index = (id % self.slots.len() as u64) as usize;
        lock(&self.slots[index])
    }
}

/// A panic under one of this crate's locks never leaves partial values, so the lock can still be used.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgets_the_oldest_entry_when_full() {
        let ring = Ring::new(2);
        let ids: Vec<u64> = (0..3).map(|_| ring.reserve()).collect();
        assert_eq!(ring.put(ids[0], 'a'), None);
        assert_eq!(ring.put(ids[1], 'b'), None);
        assert_eq!(ring.put(ids[2], 'c'), Some('a'));
        assert_eq!(ring.with(ids[0], |value| *value), None);
        assert_eq!(ring.with(ids[1], |value| *value), Some('b'));
        assert_eq!(ring.with(ids[2], |value| *value), Some('c'));
    }

    #[test]
    fn an_id_of_another_process_is_unknown() {
        let (before, after) = (Ring::new(8), Ring::new(8));
        let id = before.reserve();
        before.put(id, ());
        let own = after.reserve();
        after.put(own, ());
        assert_eq!(after.with(id, |_| ()), None);
    }
}
