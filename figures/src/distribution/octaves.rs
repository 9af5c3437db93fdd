//! `Octaves`: counts by size to three decimal digits, with memory for the octaves that have values.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Cell, Cells, LONGEST_NS};

/// Cells of an octave.
const CELLS: usize = 1024;

/// Counts by size. The cells are those of an HdrHistogram with three decimal digits, whose one array takes 264 KiB; a
/// run has some hundred distributions, of which most extend over few octaves, of 4 KiB each.
#[derive(Clone, Debug, Default)]
pub(super) struct Octaves {
    octaves: Vec<Option<Box<[u32; CELLS]>>>,
    /// What does not fit into 32 bits, by the number of the cell.
    beyond: BTreeMap<u16, u64>,
}

/// As the numbers of its cells that are not empty, each with its count.
impl Serialize for Octaves {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(|(cell, count)| (Cells::<11>::place_of(cell.low), count)))
    }
}

impl<'de> Deserialize<'de> for Octaves {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut octaves = Self::default();
        for (place, count) in Vec::<(u16, u64)>::deserialize(deserializer)? {
            if place > Cells::<11>::place_of(LONGEST_NS) {
                return Err(de::Error::custom("a time is longer than any that is counted"));
            }
            octaves.add(Cells::<11>::cell_at(place).low, count);
        }
        Ok(octaves)
    }
}

impl Octaves {
    /// Adds `count` equal values. A cell's count saturates at 64 bits.
    #[inline]
    pub(super) fn add(&mut self, value: u64, count: u64) {
        let place = Cells::<11>::place_of(value);
        let (number, cell) = (usize::from(place) / CELLS, usize::from(place) % CELLS);
        let cell = match self.octaves.get_mut(number) {
            Some(Some(octave)) => &mut octave[cell],
            _ => &mut self.octave(number)[cell],
        };
        match u32::try_from(count).ok().and_then(|count| cell.checked_add(count)) {
            Some(sum) => *cell = sum,
            None => {
                let sum = u64::from(std::mem::take(cell)).saturating_add(count);
                self.add_beyond(place, sum);
            }
        }
    }

    #[cold]
    fn add_beyond(&mut self, place: u16, count: u64) {
        let beyond = self.beyond.entry(place).or_default();
        *beyond = beyond.saturating_add(count);
    }

    /// Adds all values of `other`.
    pub(super) fn merge(&mut self, other: Self) {
        for (number, theirs) in other.octaves.into_iter().enumerate() {
            let Some(theirs) = theirs else { continue };
            let ours = self.octave(number);
            let mut full = Vec::new();
            for (place, (ours, theirs)) in ours.iter_mut().zip(*theirs).enumerate() {
                match ours.checked_add(theirs) {
                    Some(sum) => *ours = sum,
                    None => full.push(((number * CELLS + place) as u16, theirs)),
                }
            }
            full.into_iter().for_each(|(place, count)| self.add_beyond(place, count.into()));
        }
        other.beyond.into_iter().for_each(|(place, count)| self.add_beyond(place, count));
    }

    /// The cells that are not empty, ascending, with their counts.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Cell, u64)> + '_ {
        let count = |place: u16, count: u32| {
            let beyond = if self.beyond.is_empty() { None } else { self.beyond.get(&place) };
            u64::from(count).saturating_add(beyond.copied().unwrap_or(0))
        };
        self.octaves.iter().enumerate().flat_map(move |(number, octave)| {
            octave.iter().flat_map(move |counts| {
                let places = (number * CELLS) as u16..;
                let counts = places.zip(counts.iter()).map(move |(place, cell)| (place, count(place, *cell)));
                counts
                    .filter(|(_, count)| *count > 0)
                    .map(|(place, count)| (Cells::<11>::cell_at(place), count))
            })
        })
    }

    #[cold]
    fn octave(&mut self, number: usize) -> &mut [u32; CELLS] {
        if self.octaves.len() <= number {
            self.octaves.resize_with(number + 1, || None);
        }
        self.octaves[number].get_or_insert_with(|| Box::new([0; CELLS]))
    }
}

#[cfg(test)]
mod tests {
    use hdrhistogram::Histogram;
    use proptest::prelude::*;

    use super::*;
    use crate::distribution::LONGEST_NS;

    proptest! {
        #[test]
        fn counts_the_same_as_an_hdr_histogram(
            one in prop::collection::vec((0..=LONGEST_NS, 1..5_u64), 0..20),
            two in prop::collection::vec((0..100_u64, prop_oneof![1..5_u64, 1 << 30..1_u64 << 34]), 0..20),
        ) {
            let mut theirs = Histogram::<u64>::new_with_bounds(1, LONGEST_NS, 3).unwrap();
            let of = |values: &[(u64, u64)]| {
                let mut octaves = Octaves::default();
                values.iter().for_each(|(value, count)| octaves.add(*value, *count));
                octaves
            };
            one.iter().chain(&two).for_each(|(value, count)| theirs.record_n(*value, *count).unwrap());
            let theirs: Vec<_> = theirs
                .iter_recorded()
                .map(|cell| {
                    let value = cell.value_iterated_to();
                    (theirs.lowest_equivalent(value), theirs.highest_equivalent(value), cell.count_at_value())
                })
                .collect();
            let mut ours = of(&one);
            ours.merge(of(&two));
            let ours: Vec<_> = ours.iter().map(|(cell, count)| (cell.low, cell.high, count)).collect();
            prop_assert_eq!(ours, theirs);
        }
    }
}
