//! The sequence of arrivals: the position of each on a ramp's total.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// The spacing of arrivals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spacing {
    /// Equal intervals: the n-th when n were due.
    Even,
    /// Exponential intervals with the same mean, as of independent users.
    Poisson {
        /// Equal seeds give equal arrivals.
        seed: u64,
    },
}

/// Every n-th of one sequence of positions s₀ < s₁ < … on a [`Ramp`](super::Ramp)'s total: 0, 1, 2, … for
/// even spacing, sums of exponentials of mean 1 for Poisson.
///
/// Each of n runtimes generates the whole sequence and keeps its own part, so that together they give the
/// sequence, whatever n is. A position does not depend on the ramp: when the ramp changes, the arrivals stay
/// the same and only their times move.
#[derive(Debug)]
pub struct Arrivals {
    of: u32,
    next: f64,
    gaps: Gaps,
}

#[derive(Debug)]
enum Gaps {
    Even,
    Exponential(Box<StdRng>),
}

impl Gaps {
    /// The distance over `steps` arrivals.
    fn over(&mut self, steps: u32) -> f64 {
        match self {
            Self::Even => f64::from(steps),
            Self::Exponential(rng) => (0..steps).map(|_| exponential(rng)).sum(),
        }
    }
}

/// A random number of mean 1.
fn exponential(rng: &mut StdRng) -> f64 {
    exponential_above(rng.random())
}

/// The quantile of this share of an exponential distribution of mean 1.
fn exponential_above(share: f64) -> f64 {
    // A share is in [0, 1): the logarithm's argument is never 0.
    -(1.0 - share).ln()
}

impl Arrivals {
    /// The part of runtime `place` of `of`, from 0.
    pub fn new(spacing: Spacing, (place, of): (u32, u32)) -> Self {
        let (mut gaps, first) = match spacing {
            Spacing::Even => (Gaps::Even, 0),
            Spacing::Poisson { seed } => (Gaps::Exponential(Box::new(StdRng::seed_from_u64(seed))), 1),
        };
        let next = gaps.over(place + first);
        Self { of, next, gaps }
    }

    /// The position of the next one.
    pub const fn next(&self) -> f64 {
        self.next
    }

    /// Advances to the next one and returns the distance.
    pub fn advance(&mut self) -> f64 {
        let gap = self.gaps.over(self.of);
        self.next += gap;
        gap
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::{Fit, Ramp};
    use super::*;

    fn positions(spacing: Spacing, place: (u32, u32), count: usize) -> Vec<f64> {
        let mut arrivals = Arrivals::new(spacing, place);
        let position = |_| {
            let here = arrivals.next();
            arrivals.advance();
            here
        };
        (0..count).map(position).collect()
    }

    fn gaps_of(positions: &[f64]) -> Vec<f64> {
        positions.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    #[test]
    fn poisson_gaps_are_exponential() {
        for seed in 0..20 {
            let gaps = gaps_of(&positions(Spacing::Poisson { seed }, (0, 1), 10_000));
            let fit = Fit::to_exponential(&gaps);
            // With twenty random seeds the probability of a p below 0.001 is 2 %. These seeds are fixed, and none
            // is below.
            assert!(fit.p > 0.001, "seed {seed}: {fit:?}");
        }
    }

    /// A random sample would hide an error of a thousandth; the sum over the whole distribution does not.
    #[test]
    fn poisson_gaps_have_a_mean_of_one() {
        let parts = 100_000;
        let middles = (0..parts).map(|part| (f64::from(part) + 0.5) / f64::from(parts));
        let mean = middles.map(exponential_above).sum::<f64>() / f64::from(parts);
        assert!((mean - 1.0).abs() < 1e-5, "{mean}");

        let drawn = (0..20).flat_map(|seed| gaps_of(&positions(Spacing::Poisson { seed }, (0, 1), 10_000)));
        let (count, sum) = drawn.fold((0.0, 0.0), |(count, sum), gap| (count + 1.0, sum + gap));
        // Five standard deviations of the mean.
        assert!((sum / count - 1.0_f64).abs() < 5.0 / f64::sqrt(count), "{}", sum / count);
    }

    #[test]
    fn the_same_test_rejects_similar_distributions() {
        let even = gaps_of(&positions(Spacing::Even, (0, 1), 10_000));
        assert!(Fit::to_exponential(&even).p < 1e-9);
        let mut rng = StdRng::seed_from_u64(3);
        let uniform: Vec<f64> = (0..10_000).map(|_| rng.random_range(0.0..2.0)).collect();
        assert!(Fit::to_exponential(&uniform).p < 1e-9, "a uniform distribution with mean 1");
        let stretched: Vec<f64> = gaps_of(&positions(Spacing::Poisson { seed: 1 }, (0, 1), 10_000))
            .iter()
            .map(|gap| gap * 1.05)
            .collect();
        assert!(Fit::to_exponential(&stretched).p < 1e-3, "exponential, 5 % too slow");
    }

    #[test]
    fn another_seed_makes_other_arrivals_and_the_same_seed_the_same() {
        let of_seed = |seed| positions(Spacing::Poisson { seed }, (0, 1), 100);
        assert_eq!(of_seed(5), of_seed(5));
        assert_ne!(of_seed(5), of_seed(6));
    }

    proptest! {
        #[test]
        fn the_runtimes_parts_add_up_to_the_whole_sequence(of in 1u32..17, seed: u64, poisson: bool) {
            let spacing = if poisson { Spacing::Poisson { seed } } else { Spacing::Even };
            let each = 40;
            let whole = positions(spacing, (0, 1), each * of as usize);
            let mut parts: Vec<f64> = (0..of).flat_map(|place| positions(spacing, (place, of), each)).collect();
            parts.sort_by(f64::total_cmp);
            for (part, whole) in parts.iter().zip(&whole) {
                prop_assert!((part - whole).abs() < 1e-9 * whole.max(1.0), "{part} beside {whole}");
            }
        }
    }

    proptest! {
        // Each case simulates hours, one arrival at a time.
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn an_even_schedule_never_drifts(
            start in 0.0f64..50.0,
            stages in proptest::collection::vec((0.0f64..50.0, 60u64..3600), 1..4),
            changes in proptest::collection::vec((1u64..9000, 0.0f64..50.0), 0..4),
            of in 1u32..5,
            at in 0u64..10_000,
        ) {
            // As in a run, changes come one after the other and arrivals continue at their position.
            let mut ramp = Ramp::stages(start, stages.into_iter().map(|(value, takes)| (value, Duration::from_secs(takes))));
            let mut changes = changes;
            changes.sort_by_key(|change| change.0);
            changes.retain(|change| change.0 < at);
            changes.push((at, 0.0));
            let mut runtimes: Vec<_> = (0..of).map(|place| Arrivals::new(Spacing::Even, (place, of))).collect();
            let mut started = 0u64;
            let mut before = Duration::ZERO;
            for (change, value) in changes {
                let change = Duration::from_secs(change);
                for arrivals in &mut runtimes {
                    while let Some(due) = ramp.when(arrivals.next()).filter(|due| *due < change) {
                        prop_assert!(due + Duration::from_micros(1) >= before, "no new arrival is due in the past");
                        started += 1;
                        arrivals.advance();
                    }
                }
                let drift = started as f64 - ramp.total(change);
                prop_assert!(drift.abs() <= 1.0, "{started} started, {} due", ramp.total(change));
                ramp = ramp.then_hold(change, value);
                before = change;
            }
        }
    }
}
