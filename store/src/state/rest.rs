//! Resting objects: because of a rate limit of the CA they are not handed out before its Retry-After.

use std::collections::BTreeMap;

/// A bounded set of resting objects, ordered by the end of their rest.
///
/// It belongs to this process: another process with the same account, or one that claims an object after this
/// one has ended, asks the CA again.
#[derive(Debug)]
pub(super) struct Resting<T> {
    /// By time, nanoseconds of the state's clock, and a number to distinguish equal times.
    by_time: BTreeMap<(u64, u64), T>,
    next: u64,
    capacity: usize,
}

impl<T> Resting<T> {
    pub(super) const fn new(capacity: usize) -> Self {
        Self { by_time: BTreeMap::new(), next: 0, capacity }
    }

    /// Lets an item rest until then. If there are too many, returns the one with the shortest rest left.
    pub(super) fn put(&mut self, item: T, until: u64) -> Option<T> {
        self.by_time.insert((until, self.next), item);
        self.next += 1;
        if self.by_time.len() > self.capacity { self.by_time.pop_first().map(|(_, item)| item) } else { None }
    }

    /// Takes an item whose rest is over.
    pub(super) fn wake(&mut self, now: u64) -> Option<T> {
        let first = self.by_time.first_entry().filter(|first| first.key().0 <= now)?;
        Some(first.remove())
    }

    pub(super) fn len(&self) -> usize {
        self.by_time.len()
    }

    /// Takes the items for which `is` holds.
    pub(super) fn extract(&mut self, mut is: impl FnMut(&T) -> bool) -> Vec<T> {
        self.by_time.extract_if(.., |_, item| is(item)).map(|(_, item)| item).collect()
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        self.by_time.retain(|_, item| keep(item));
    }

    pub(super) fn clear(&mut self) {
        self.by_time.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wakes_in_the_order_of_time_and_not_before() {
        let mut resting = Resting::new(8);
        for (item, until) in [('a', 30), ('b', 10), ('c', 20), ('d', 10)] {
            assert_eq!(resting.put(item, until), None);
        }
        let woken = |resting: &mut Resting<char>, now| -> String {
            std::iter::from_fn(|| resting.wake(now)).collect()
        };
        for (now, expected, left) in [(9, "", 4), (10, "bd", 2), (29, "c", 1), (30, "a", 0), (99, "", 0)] {
            assert_eq!((woken(&mut resting, now).as_str(), resting.len()), (expected, left), "{now}");
        }
    }

    #[test]
    fn is_bounded_and_ends_the_shortest_rest_first() {
        let mut resting = Resting::new(2);
        assert_eq!((resting.put('a', 30), resting.put('b', 10)), (None, None));
        assert_eq!(resting.put('c', 20), Some('b'));
        assert_eq!(resting.put('d', 5), Some('d'));
        assert_eq!(resting.extract(|item| *item == 'a'), ['a']);
        assert_eq!(resting.len(), 1);
    }
}
