//! `Cells`: counts by size, with values rounded to a fixed number of binary digits.

use serde::{Deserialize, Serialize};

use super::{may_be_named, nearest_rank};

/// Counts by size. Sparse and sorted. With 6 digits an octave has 32 cells, and the middle of a cell is within 1.6 % of its
/// values; with 11 digits the cells are those of an HdrHistogram with three decimal digits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(u16, u32)>")]
pub struct Cells<const DIGITS: u32>(Vec<(u16, u32)>);

impl<const DIGITS: u32> TryFrom<Vec<(u16, u32)>> for Cells<DIGITS> {
    type Error = &'static str;

    fn try_from(cells: Vec<(u16, u32)>) -> Result<Self, Self::Error> {
        Self::from_numbered(cells).ok_or("cells are not in order, empty, or of numbers that do not exist")
    }
}

/// The range of values that one cell counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The smallest value.
    pub low: u64,
    /// The largest value.
    pub high: u64,
}

impl Cell {
    /// The value in its middle.
    pub const fn middle(self) -> u64 {
        self.low + (self.high - self.low).div_ceil(2)
    }
}

impl<const DIGITS: u32> Cells<DIGITS> {
    const AN_OCTAVE: u64 = 1 << (DIGITS - 1);

    pub(crate) fn record(&mut self, value: u64) {
        self.add(value, 1);
    }

    /// Adds `count` equal values. A cell's count saturates at 32 bits.
    pub fn add(&mut self, value: u64, count: u32) {
        self.add_to(Self::place_of(value), count);
    }

    /// Adds values with their counts, of which equal ones and those of one cell are best beside each other. Returns how
    /// many were added: not more of each cell than one can have.
    pub(crate) fn add_ascending(&mut self, values: impl Iterator<Item = (u64, u64)>) -> u64 {
        let mut added = 0;
        let mut cell: Option<(u16, u32)> = None;
        for (value, count) in values {
            let (place, count) = (Self::place_of(value), u32::try_from(count).unwrap_or(u32::MAX));
            match &mut cell {
                Some((known, sum)) if *known == place => *sum = sum.saturating_add(count),
                before => {
                    if let Some((known, sum)) = before.replace((place, count)) {
                        self.add_to(known, sum);
                        added += u64::from(sum);
                    }
                }
            }
        }
        if let Some((place, sum)) = cell {
            self.add_to(place, sum);
            added += u64::from(sum);
        }
        added
    }

    /// Adds all values of `other`.
    pub fn merge(&mut self, other: &Self) {
        for &(place, count) in &other.0 {
            self.add_to(place, count);
        }
    }

    /// Subtracts cells that were merged before.
    pub(crate) fn subtract(&mut self, other: &Self) {
        for (place, count) in &other.0 {
            if let Ok(index) = self.0.binary_search_by_key(place, |(place, _)| *place) {
                self.0[index].1 = self.0[index].1.saturating_sub(*count);
            }
        }
        self.0.retain(|(_, count)| *count > 0);
    }

    /// Number of values.
    pub fn count(&self) -> u64 {
        self.iter().map(|(_, count)| count).sum()
    }

    /// The cells that are not empty, ascending, with their counts.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Cell, u64)> {
        self.0.iter().map(|&(place, count)| (Self::cell_at(place), u64::from(count)))
    }

    /// The numbers of the cells that are not empty, ascending, with their counts: for a file.
    pub fn numbered(&self) -> &[(u16, u32)] {
        &self.0
    }

    /// Cells from their numbers and counts; none if these are not ascending, or a count is 0.
    pub fn from_numbered(cells: Vec<(u16, u32)>) -> Option<Self> {
        let ascending = cells.windows(2).all(|two| two[0].0 < two[1].0);
        let largest = Self::place_of(u64::MAX);
        let valid = cells.iter().all(|(place, count)| *place <= largest && *count > 0);
        (ascending && valid).then_some(Self(cells))
    }

    /// The cell of the percentile of `n` values; none if there are too few samples beyond it.
    pub(crate) fn percentile(&self, n: u64, per_mille: u64) -> Option<Cell> {
        if !may_be_named(n, per_mille) {
            return None;
        }
        let rank = nearest_rank(n, per_mille);
        let mut seen = 0;
        self.iter().find_map(|(cell, count)| {
            seen += count;
            (seen >= rank).then_some(cell)
        })
    }

    fn add_to(&mut self, place: u16, count: u32) {
        match self.0.binary_search_by_key(&place, |(place, _)| *place) {
            Ok(index) => self.0[index].1 = self.0[index].1.saturating_add(count),
            Err(index) => self.0.insert(index, (place, count)),
        }
    }

    /// Cells are numbered: those of the first octave have a width of one, those of each further octave twice the width.
    pub(super) const fn place_of(value: u64) -> u16 {
        if value < Self::AN_OCTAVE {
            return value as u16;
        }
        let octave = value.ilog2() - (DIGITS - 1);
        ((octave as u64 + 1) * Self::AN_OCTAVE + ((value >> octave) - Self::AN_OCTAVE)) as u16
    }

    pub(super) const fn cell_at(place: u16) -> Cell {
        let place = place as u64;
        if place < Self::AN_OCTAVE {
            return Cell { low: place, high: place };
        }
        let octave = place / Self::AN_OCTAVE - 1;
        let low = (Self::AN_OCTAVE + place % Self::AN_OCTAVE) << octave;
        Cell { low, high: low + ((1 << octave) - 1) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::distribution::LONGEST_NS;

    fn cell_of<const DIGITS: u32>(value: u64) -> Cell {
        Cells::<DIGITS>::cell_at(Cells::<DIGITS>::place_of(value))
    }

    #[test]
    fn eleven_digits_are_the_cells_of_an_hdr_histogram_of_three() {
        let histogram = hdrhistogram::Histogram::<u64>::new_with_bounds(1, LONGEST_NS, 3).unwrap();
        for value in [1, 2_047, 2_048, 4_095, 4_096, 123_456, 999_999_999, 3_599_999_999_999] {
            let cell =
                Cell { low: histogram.lowest_equivalent(value), high: histogram.highest_equivalent(value) };
            assert_eq!(cell_of::<11>(value), cell, "{value}");
        }
    }

    #[test]
    fn removed_values_leave_no_trace() {
        let of = |values: &[u64]| {
            let mut cells = Cells::<11>::default();
            values.iter().for_each(|value| cells.record(*value));
            cells
        };
        let mut cells = of(&[5, 7, 7_000_000, u64::MAX]);
        cells.subtract(&of(&[7, u64::MAX]));
        assert_eq!(cells, of(&[5, 7_000_000]));
        assert_eq!(cells.count(), 2);
    }

    proptest! {
        #[test]
        fn a_value_lies_in_its_cell_and_six_digits_are_within_two_percent(value: u64) {
            for cell in [cell_of::<6>(value), cell_of::<11>(value)] {
                prop_assert!((cell.low..=cell.high).contains(&value), "{value} in {cell:?}");
            }
            let middle = cell_of::<6>(value).middle();
            prop_assert!(middle.abs_diff(value) <= value / 50, "{value} became {middle}");
        }
    }
}
