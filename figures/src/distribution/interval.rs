//! Confidence interval of a percentile, as ranks of samples, for any distribution.
//!
//! The number of n independent samples below the true p-quantile is binomial(n, p) for every distribution. So
//! the l-th and the u-th smallest enclose the quantile with the probability that this number is at least l
//! and less than u. H. A. David and H. N. Nagaraja, *Order Statistics*, 3rd edition (Wiley 2003), section
//! 7.1.
//!
//! Iterations of a load test are not fully independent: a slow second slows many of them. Then the interval
//! is too narrow, and repeated runs give more information.

/// Probability beyond either end, together 5 %.
const MISSED_AT_EACH_END: f64 = 0.025;
/// Above this variance the normal distribution approximates the binomial one, and the interval is one rank
/// wider at both ends.
const NORMAL_FROM_VARIANCE: f64 = 1_000.0;

/// The ranks, from 1, of the samples that enclose the percentile with 95 % confidence; none if `n` is too
/// small.
pub fn ranks_around(n: u64, per_mille: u64) -> Option<(u64, u64)> {
    let p = per_mille as f64 / 1000.0;
    let variance = n as f64 * p * (1.0 - p);
    let (low, high) = if variance > NORMAL_FROM_VARIANCE {
        let (mean, reach) = (n as f64 * p, 1.959_964 * variance.sqrt());
        ((mean - reach).floor() as u64, (mean + reach).ceil() as u64 + 1)
    } else {
        binomial_ranks(n, p)
    };
    (low >= 1 && high <= n).then_some((low, high))
}

/// The largest l with P(B < l) ≤ 2.5 % and the smallest u with P(B ≥ u) ≤ 2.5 %, of B ~ binomial(n, p).
fn binomial_ranks(n: u64, p: f64) -> (u64, u64) {
    let mode = (((n + 1) as f64 * p) as u64).min(n);
    let odds = p / (1.0 - p);
    // Weights relative to that of the mode, from the ratio of neighbours, so that no factorial overflows. The
    // weights left out at both ends are below the precision of the sum.
    let falling = |(_, weight): &(u64, f64)| *weight > 1e-18;
    let below = std::iter::successors(Some((mode, 1.0)), |&(k, weight)| {
        (k > 0).then(|| (k - 1, weight * k as f64 / ((n - k + 1) as f64 * odds)))
    });
    let mut weights: Vec<(u64, f64)> = below.take_while(falling).collect();
    weights.reverse();
    let above = std::iter::successors(Some((mode, 1.0)), |&(k, weight)| {
        (k < n).then(|| (k + 1, weight * (n - k) as f64 * odds / (k + 1) as f64))
    });
    weights.extend(above.skip(1).take_while(falling));

    let bound = MISSED_AT_EACH_END * weights.iter().map(|(_, weight)| weight).sum::<f64>();
    let low = first_beyond(bound, weights.iter());
    let high = first_beyond(bound, weights.iter().rev());
    (low, high + 1)
}

/// The number at which the cumulated weights exceed `bound`.
fn first_beyond<'a>(bound: f64, weights: impl Iterator<Item = &'a (u64, f64)>) -> u64 {
    let mut sum = 0.0;
    let mut beyond = weights.skip_while(|(_, weight)| {
        sum += weight;
        sum <= bound
    });
    beyond.next().expect("together they exceed every share of their sum").0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    #[test]
    fn small_samples_have_the_ranks_of_the_binomial_tables() {
        // Medians: the table of the sign test's interval, as in W. J. Conover, Practical Nonparametric Statistics.
        let cases = [
            (5, 500, None),
            (6, 500, Some((1, 6))),
            (10, 500, Some((2, 9))),
            (15, 500, Some((4, 12))),
            (20, 500, Some((6, 15))),
            (25, 500, Some((8, 18))),
            (30, 500, Some((10, 21))),
            (50, 500, Some((18, 33))),
            (100, 500, Some((40, 61))),
            // P(B < 85) = 4.0 %, P(B < 84) = 2.1 %; P(B ≥ 97) = 0.8 %, P(B ≥ 96) = 2.4 %.
            (100, 900, Some((84, 96))),
            (100, 990, None),
            (0, 500, None),
        ];
        for (n, per_mille, ranks) in cases {
            assert_eq!(ranks_around(n, per_mille), ranks, "p{per_mille}‰ of {n}");
        }
    }

    #[test]
    fn every_percentile_that_may_be_named_has_an_interval_around_it() {
        for (per_mille, least) in [(500, 20), (900, 100), (950, 200), (990, 1_000), (999, 10_000)] {
            for n in [least, least + 1, 3 * least, 1_000 * least, 10_000_000 * least] {
                let (low, high) = ranks_around(n, per_mille).unwrap();
                let rank = crate::distribution::nearest_rank(n, per_mille);
                assert!(low < rank && rank < high, "p{per_mille}‰ of {n}: {low} {rank} {high}");
            }
        }
    }

    #[test]
    fn the_normal_approximation_continues_the_exact_ranks() {
        for per_mille in [500, 900, 950, 990, 999] {
            let p = per_mille as f64 / 1000.0;
            let n = (NORMAL_FROM_VARIANCE / (p * (1.0 - p))) as u64 + 10;
            let ((low, high), exact) = (ranks_around(n, per_mille).unwrap(), binomial_ranks(n, p));
            assert!(
                low.abs_diff(exact.0) <= 2 && high.abs_diff(exact.1) <= 2,
                "{low} {high}, exactly {exact:?}"
            );
        }
    }

    /// How often the intervals of seeded samples contain the true percentile, for three distributions:
    /// uniform, exponential, and one with two humps and a gap between them.
    #[test]
    fn ninety_five_percent_of_intervals_contain_the_true_percentile() {
        let mut rng = StdRng::seed_from_u64(7);
        let quantiles: [fn(f64) -> f64; 3] =
            [|u| u, |u| -(1.0 - u).ln(), |u| if u < 0.7 { u } else { 50.0 + 9.0 * u }];
        for (n, per_mille, times) in
            [(20_u64, 500_u64, 2_000), (137, 500, 1_000), (200, 950, 1_000), (1_000, 990, 400)]
        {
            for (place, quantile) in quantiles.iter().enumerate() {
                let (low, high) = ranks_around(n, per_mille).unwrap();
                let truth = quantile(per_mille as f64 / 1000.0);
                let held = (0..times).filter(|_| {
                    let mut samples: Vec<f64> = (0..n).map(|_| quantile(rng.random())).collect();
                    samples.sort_unstable_by(f64::total_cmp);
                    samples[low as usize - 1] <= truth && truth <= samples[high as usize - 1]
                });
                let (share, times) = (held.count() as f64 / f64::from(times), f64::from(times));
                // At least 95 %, less three standard deviations of the simulation. A much higher share would
                // mean that the interval is too wide.
                let least = 0.95 - 3.0 * (0.95 * 0.05 / times).sqrt();
                assert!(
                    (least..0.99).contains(&share),
                    "p{per_mille}‰ of {n}, distribution {place}: {share}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn ranks_lie_among_the_samples(n in 0_u64..3_000_000, per_mille in 1_u64..1000) {
            if let Some((low, high)) = ranks_around(n, per_mille) {
                prop_assert!(1 <= low && low < high && high <= n);
            }
        }
    }
}
