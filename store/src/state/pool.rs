//! Claimed objects that no chain is using: bounded, drawn at random in O(1).

use rand::RngExt as _;

use super::rest::Resting;

/// A bounded pool.
#[derive(Debug)]
pub(super) struct Pool<T> {
    items: Vec<T>,
    /// Claimed objects that rest; at most `capacity` beside the items, and not counted with them.
    resting: Resting<T>,
    capacity: usize,
    /// Number drawn since the last heartbeat.
    pub(super) drawn: u64,
    /// The database had no more at the last query; ask again after the next heartbeat.
    pub(super) dry: bool,
}

impl<T> Pool<T> {
    pub(super) const fn new(capacity: usize) -> Self {
        Self { items: Vec::new(), resting: Resting::new(capacity), capacity, drawn: 0, dry: false }
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.room() == 0
    }

    pub(super) fn room(&self) -> usize {
        self.capacity.saturating_sub(self.items.len())
    }

    /// Adds an item, even beyond the bound, because returned items must be kept.
    pub(super) fn put(&mut self, item: T) {
        self.items.push(item);
    }

    /// Adds an item that rests until then.
    pub(super) fn rest(&mut self, item: T, until: u64) {
        self.items.extend(self.resting.put(item, until));
    }

    /// Makes items available whose rest is over.
    pub(super) fn wake(&mut self, now: u64) {
        self.items.extend(std::iter::from_fn(|| self.resting.wake(now)));
    }

    pub(super) fn resting(&self) -> usize {
        self.resting.len()
    }

    /// Any item, which stays.
    pub(super) fn any(&self) -> Option<&T> {
        (!self.items.is_empty()).then(|| &self.items[rand::rng().random_range(0..self.items.len())])
    }

    /// Takes any item.
    pub(super) fn draw(&mut self) -> Option<T> {
        let item = self.take_any()?;
        self.drawn += 1;
        Some(item)
    }

    /// Takes up to `count` items, to give them back to the database.
    pub(super) fn take(&mut self, count: usize) -> Vec<T> {
        (0..count).map_while(|_| self.take_any()).collect()
    }

    /// Takes the items beyond the bound.
    pub(super) fn surplus(&mut self) -> Vec<T> {
        self.take(self.items.len().saturating_sub(self.capacity))
    }

    /// Takes the items for which `is` holds.
    pub(super) fn extract(&mut self, mut is: impl FnMut(&T) -> bool) -> Vec<T> {
        let mut extracted = self.resting.extract(&mut is);
        extracted.extend(self.items.extract_if(.., |item| is(item)));
        extracted
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        self.resting.retain(&mut keep);
        self.items.retain(keep);
    }

    pub(super) fn clear(&mut self) {
        self.items.clear();
        self.resting.clear();
    }

    fn take_any(&mut self) -> Option<T> {
        if self.items.is_empty() {
            return None;
        }
        let index = rand::rng().random_range(0..self.items.len());
        Some(self.items.swap_remove(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_drawn_once_in_random_order() {
        let mut pool = Pool::new(1000);
        (0..1000).for_each(|item| pool.put(item));
        let drawn: Vec<i32> = std::iter::from_fn(|| pool.draw()).collect();
        assert_ne!(drawn, (0..1000).collect::<Vec<_>>());
        let mut sorted = drawn;
        sorted.sort_unstable();
        assert_eq!(sorted, (0..1000).collect::<Vec<_>>());
        assert_eq!(pool.drawn, 1000);
    }

    #[test]
    fn only_what_exceeds_the_bound_is_surplus() {
        let mut pool = Pool::new(3);
        assert!(pool.surplus().is_empty());
        (0..5).for_each(|item| pool.put(item));
        assert!(pool.is_full());
        assert_eq!(pool.surplus().len(), 2);
        assert_eq!(pool.len(), 3);
        assert!(pool.surplus().is_empty());
    }
}
