//! `Octaves`: counts by size to three decimal digits, with memory for the octaves that have values.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Cell, Cells, LONGEST_NS};

/// Cells of an octave.
const CELLS: usize = 1024;

/// Counts by size. The cells are those of an HdrHistogram with three decimal digits, whose one array takes 264 KiB; a
/// run has some fifty distributions, of which most extend over few octaves, of 8 KiB each.
#[derive(Clone, Debug, Default)]
pub(super) struct Octaves(Vec<Option<Box<[u64; CELLS]>>>);

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
        let place = usize::from(Cells::<11>::place_of(value));
        let cell = match self.0.get_mut(place / CELLS) {
            Some(Some(octave)) => &mut octave[place % CELLS],
            _ => &mut self.octave(place / CELLS)[place % CELLS],
        };
        *cell = cell.saturating_add(count);
    }

    /// Adds all values of `other`.
    pub(super) fn merge(&mut self, other: Self) {
        for (number, theirs) in other.0.into_iter().enumerate() {
            let Some(theirs) = theirs else { continue };
            for (ours, theirs) in self.octave(number).iter_mut().zip(*theirs) {
                *ours = ours.saturating_add(theirs);
            }
        }
    }

    /// The cells that are not empty, ascending, with their counts.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Cell, u64)> + '_ {
        self.0.iter().enumerate().flat_map(|(number, octave)| {
            octave.iter().flat_map(move |counts| {
                counts.iter().enumerate().filter(|(_, count)| **count > 0).map(move |(place, count)| {
                    (Cells::<11>::cell_at((number * CELLS + place) as u16), *count)
                })
            })
        })
    }

    #[cold]
    fn octave(&mut self, number: usize) -> &mut [u64; CELLS] {
        if self.0.len() <= number {
            self.0.resize_with(number + 1, || None);
        }
        self.0[number].get_or_insert_with(|| Box::new([0; CELLS]))
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
            two in prop::collection::vec((0..100_000_u64, 1..5_u64), 0..20),
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
