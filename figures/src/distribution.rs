//! Distributions of times, and when a percentile may be shown.
//!
//! [`Times`] is for a whole run, with mean, deviation and intervals. [`Cells`] is for a second or a part of
//! one: there are thousands of them, most with few values.

mod cells;
mod interval;
mod octaves;
mod times;
mod timing;

pub use self::cells::{Cell, Cells};
pub use self::interval::ranks_around;
pub use self::times::{QuantileStep, Times};
pub use self::timing::Timing;

/// Times above one hour count as one hour: no request waits that long.
pub(crate) const LONGEST_NS: u64 = 3_600_000_000_000;

/// Bound of a count in a file, as of an hour of twenty million a second. Sums of many, and of their squares, do not
/// overflow.
pub(crate) const MOST: u64 = 1 << 36;

/// A percentile needs this many samples beyond it.
const TAIL: u64 = 10;

/// Whether `n` samples leave 10 of them beyond the percentile, so that it may be shown.
pub fn may_be_named(n: u64, per_mille: u64) -> bool {
    u128::from(n) * u128::from(1000 - per_mille) >= u128::from(TAIL) * 1000
}

/// The rank, from 1, of the percentile among `n` sorted samples.
pub fn nearest_rank(n: u64, per_mille: u64) -> u64 {
    (u128::from(n) * u128::from(per_mille)).div_ceil(1000).max(1) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_needs_ten_samples_in_its_tail() {
        let cases = [
            (500, 19, false),
            (500, 20, true),
            (900, 99, false),
            (900, 100, true),
            (950, 199, false),
            (950, 200, true),
            (990, 999, false),
            (990, 1_000, true),
            (999, 9_999, false),
            (999, 10_000, true),
            (999, u64::MAX, true),
            (500, 0, false),
        ];
        for (per_mille, n, named) in cases {
            assert_eq!(may_be_named(n, per_mille), named, "p{per_mille}‰ of {n}");
        }
    }
}
