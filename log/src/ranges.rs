//! `Numbers`: which record numbers of each node have been read.

use std::collections::BTreeMap;

/// Nodes whose record numbers are checked.
const MAX_NODES: usize = 100_000;

/// The record numbers that have been read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Numbers {
    places: BTreeMap<String, usize>,
    nodes: Vec<(String, Ranges)>,
    /// The place of the node of the last record: the next one is mostly of the same.
    last: usize,
}

impl Numbers {
    /// Whether the number of this node is new.
    pub(crate) fn add(&mut self, node: &str, number: u64) -> bool {
        if self.nodes.get(self.last).is_none_or(|(known, _)| known != node) {
            self.last = match self.places.get(node) {
                Some(place) => *place,
                None if self.nodes.len() >= MAX_NODES => return true,
                None => {
                    let place = self.nodes.len();
                    self.places.insert(node.to_owned(), place);
                    self.nodes.push((node.to_owned(), Ranges::default()));
                    place
                }
            };
        }
        self.nodes.get_mut(self.last).is_none_or(|(_, ranges)| ranges.add(number))
    }

    /// Whether the number of this node was read.
    pub(crate) fn contains(&self, node: &str, number: u64) -> bool {
        let place = self.places.get(node).and_then(|place| self.nodes.get(*place));
        place.is_some_and(|(_, ranges)| ranges.contains(number))
    }

    /// The names of the nodes.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &str> {
        self.places.keys().map(String::as_str)
    }

    /// The missing numbers of each node that misses some: see [`Ranges::gaps`].
    pub(crate) fn gaps(&self) -> BTreeMap<String, Vec<(u64, u64)>> {
        let gaps = self.nodes.iter().map(|(node, ranges)| (node.clone(), ranges.gaps()));
        gaps.filter(|(_, gaps)| !gaps.is_empty()).collect()
    }
}

/// A set of numbers, kept as ranges, because a node's numbers are mostly ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// Whether the number is new.
    fn add(&mut self, number: u64) -> bool {
        if let Some((_, last)) = self.0.last_mut()
            && last.checked_add(1) == Some(number)
        {
            *last = number;
            return true;
        }
        let after = self.0.partition_point(|(first, _)| *first <= number);
        let before = after.checked_sub(1);
        if before.is_some_and(|at| self.0[at].1 >= number) {
            return false;
        }
        let joins_before = before.filter(|at| self.0[*at].1 + 1 == number);
        let joins_after = self.0.get(after).is_some_and(|(first, _)| number + 1 == *first);
        match (joins_before, joins_after) {
            (Some(at), true) => self.0[at].1 = self.0.remove(after).1,
            (Some(at), false) => self.0[at].1 = number,
            (None, true) => self.0[after].0 = number,
            (None, false) => self.0.insert(after, (number, number)),
        }
        true
    }

    fn contains(&self, number: u64) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= number);
        after.checked_sub(1).is_some_and(|at| self.0[at].1 >= number)
    }

    /// The numbers missing between the first and the last. A node may have counted before this run.
    fn gaps(&self) -> Vec<(u64, u64)> {
        self.0.windows(2).map(|two| (two[0].1 + 1, two[1].0 - 1)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_are_a_set(numbers in prop::collection::vec(1u64..60, 0..80)) {
            let (mut ranges, mut set) = (Ranges::default(), std::collections::BTreeSet::new());
            for number in numbers {
                prop_assert_eq!(ranges.contains(number), set.contains(&number));
                prop_assert_eq!(ranges.add(number), set.insert(number));
            }
            let missing: u64 = ranges.gaps().iter().map(|(first, last)| last - first + 1).sum();
            let span = set.last().zip(set.first()).map_or(0, |(last, first)| last - first + 1);
            prop_assert_eq!(missing, span - set.len() as u64);
        }
    }
}
