//! `Ranges`: which record numbers of a node have been read.

/// A set of numbers, kept as ranges, because a node's numbers are mostly ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// Whether the number is new.
    pub(crate) fn add(&mut self, number: u64) -> bool {
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

    /// The numbers missing between the first and the last. A node may have counted before this run.
    pub(crate) fn gaps(&self) -> Vec<(u64, u64)> {
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
                prop_assert_eq!(ranges.add(number), set.insert(number));
            }
            let missing: u64 = ranges.gaps().iter().map(|(first, last)| last - first + 1).sum();
            let span = set.last().zip(set.first()).map_or(0, |(last, first)| last - first + 1);
            prop_assert_eq!(missing, span - set.len() as u64);
        }
    }
}
