//! 95 % intervals of figures and of their changes.
//!
//! | figure | interval on one side |
//! | --- | --- |
//! | percentile | the values at the binomial ranks around it, for any distribution |
//! | mean | Student's t |
//! | share | Wilson's score |
//! | rate | of a Poisson count, by its square root |
//!
//! The interval of a change combines those of both sides by the square-and-add method (G. Y. Zou and A.
//! Donner, *Construction of confidence limits about effect measures*, Statistics in Medicine 27, 2008); for
//! shares that is R. G. Newcombe's method 10 (Statistics in Medicine 17, 1998). A relative change is
//! computed in logarithms.

use serde::Serialize;
use utoipa::ToSchema;
use wec_figures::distribution::{may_be_named, nearest_rank, ranks_around};

use crate::baseline::Sample;

const Z: f64 = 1.959_964;
/// A rate from fewer events than this has no interval.
const LEAST_COUNT: u64 = 10;
/// A mean of fewer samples than this has no interval: times are far from normal.
const LEAST_N: u64 = 20;

/// A value with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Estimate {
    pub(super) value: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

/// How a change is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = ChangeScale)]
pub enum Scale {
    /// As a share of the value before.
    Relative,
    /// As a difference, in the figure's unit.
    Difference,
}

/// A change with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = ComparedChange)]
pub struct Change {
    /// How it is given.
    pub scale: Scale,
    /// The change of the values.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

impl Change {
    /// Whether the data shows a difference; else it may be noise.
    pub fn is_shown(&self) -> bool {
        self.low > 0.0 || self.high < 0.0
    }
}

pub(super) fn percentile(sample: &Sample, per_mille: u64) -> Option<Estimate> {
    let n = sample.n();
    if !may_be_named(n, per_mille) {
        return None;
    }
    let (low, high) = ranks_around(n, per_mille)?;
    Some(Estimate {
        value: sample.at_rank(nearest_rank(n, per_mille))?,
        low: sample.at_rank(low)?,
        high: sample.at_rank(high)?,
    })
}

pub(super) fn mean(n: u64, sum: f64, sum_of_squares: f64) -> Option<Estimate> {
    if n < LEAST_N {
        return None;
    }
    let count = n as f64;
    let value = sum / count;
    let variance = ((sum_of_squares - value * sum) / (count - 1.0)).max(0.0);
    let reach = t(count - 1.0) * (variance / count).sqrt();
    Some(Estimate { value, low: value - reach, high: value + reach })
}

pub(super) fn share(part: u64, of: u64) -> Option<Estimate> {
    if of == 0 {
        return None;
    }
    let (n, p) = (of as f64, part as f64 / of as f64);
    let middle = (p + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
    let reach = Z / (1.0 + Z * Z / n) * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    Some(Estimate { value: p, low: (middle - reach).clamp(0.0, p), high: (middle + reach).clamp(p, 1.0) })
}

pub(super) fn rate(count: u64, elapsed_ns: u64) -> Option<Estimate> {
    if count < LEAST_COUNT || elapsed_ns == 0 {
        return None;
    }
    let per = |count: f64| count * 1e9 / elapsed_ns as f64;
    let root = (count as f64).sqrt();
    Some(Estimate {
        value: per(count as f64),
        low: per((root - Z / 2.0).powi(2)),
        high: per((root + Z / 2.0).powi(2)),
    })
}

/// A value where changes are differences.
fn scaled(value: f64, scale: Scale) -> f64 {
    if scale == Scale::Relative { value.max(1e-9).ln() } else { value }
}

fn unscaled(change: f64, scale: Scale) -> f64 {
    if scale == Scale::Relative { change.exp_m1() } else { change }
}

/// The change from `a` to `b`.
pub(super) fn change(a: &Estimate, b: &Estimate, scale: Scale) -> Change {
    let of = |value| scaled(value, scale);
    let difference = of(b.value) - of(a.value);
    let low = difference - (of(b.value) - of(b.low)).hypot(of(a.high) - of(a.value));
    let high = difference + (of(b.high) - of(b.value)).hypot(of(a.value) - of(a.low));
    Change {
        scale,
        value: unscaled(difference, scale),
        low: unscaled(low, scale),
        high: unscaled(high, scale),
    }
}

/// At least as wide as the spread of the values of runs requires; none if there are several runs on a side,
/// but too few of them have a value.
pub(super) fn widened(change: Change, before: &[f64], after: &[f64], scale: Scale) -> Option<Change> {
    let (a, b) = (before.len(), after.len());
    if a.max(b) <= 1 {
        return Some(change);
    }
    let squares = |values: &[f64]| {
        let values: Vec<_> = values.iter().map(|value| scaled(*value, scale)).collect();
        let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
        values.iter().map(|value| (value - mean).powi(2)).sum::<f64>()
    };
    let freedom = (a + b).checked_sub(2).filter(|freedom| *freedom > 0 && a > 0 && b > 0)? as f64;
    let variance = (squares(before) + squares(after)) / freedom;
    let reach = t(freedom) * (variance * (1.0 / a as f64 + 1.0 / b as f64)).sqrt();
    let middle = if scale == Scale::Relative { change.value.ln_1p() } else { change.value };
    Some(Change {
        low: change.low.min(unscaled(middle - reach, scale)),
        high: change.high.max(unscaled(middle + reach, scale)),
        ..change
    })
}

/// The 97.5 % quantile of Student's t.
fn t(freedom: f64) -> f64 {
    const SMALL: [f64; 10] = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228];
    let whole = freedom.floor();
    if whole <= 10.0 {
        return SMALL[(whole.max(1.0) as usize) - 1];
    }
    // Expansion by powers of 1/n: M. Abramowitz and I. Stegun, 26.7.5.
    let (z, n) = (Z, whole);
    let first = (z.powi(3) + z) / 4.0;
    let second = (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0;
    let third = (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z) / 384.0;
    z + first / n + second / n.powi(2) + third / n.powi(3)
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::super::{Figure, Timed};
    use super::*;

    #[test]
    fn intervals_are_those_of_the_tables() {
        for (freedom, value) in [(1.0, 12.706), (10.0, 2.228), (11.0, 2.201), (30.0, 2.042), (120.0, 1.980)] {
            assert!((t(freedom) - value).abs() < 0.002, "{freedom}: {}", t(freedom));
        }
        // Newcombe 1998, Table II, method 10: 56/70 and 48/80; 10/10 and 0/10.
        let change_of = |a: (u64, u64), b: (u64, u64)| {
            let (a, b) = (share(a.0, a.1).unwrap(), share(b.0, b.1).unwrap());
            change(&b, &a, Scale::Difference)
        };
        for (found, low, high) in
            [(change_of((56, 70), (48, 80)), 0.0524, 0.3339), (change_of((10, 10), (0, 10)), 0.6075, 1.0)]
        {
            assert!((found.low - low).abs() < 2e-4 && (found.high - high).abs() < 2e-4, "{found:?}");
        }
    }

    /// Exponential times around 10 ms, times a factor of their run.
    fn run(rng: &mut StdRng, n: u64, factor: f64) -> Timed {
        let mut time = || (10e6 * factor * (0.5 - (1.0 - rng.random::<f64>()).ln())) as u64;
        let sample = Sample::of_times((0..n).map(|_| time()));
        (
            Sample { failed: (0..n).filter(|_| rng.random::<f64>() < 0.03).count() as u64, ..sample },
            60_000_000_000,
        )
    }

    /// How often a difference is shown in this many comparisons.
    fn shown(figure: Figure, times: u32, mut sides: impl FnMut() -> [Vec<Timed>; 2]) -> f64 {
        let found = (0..times).filter(|_| {
            let [a, b] = sides();
            figure.change(&a, &b, figure.scale()).expect("enough samples").is_shown()
        });
        found.count() as f64 / f64::from(times)
    }

    #[test]
    fn two_samples_of_one_distribution_differ_no_more_often_than_stated() {
        let mut rng = StdRng::seed_from_u64(10);
        // The level is 5 %; three standard deviations of 400 comparisons are 3.3 %.
        for figure in [
            Figure::Mean,
            Figure::Failed,
            Figure::Percentile(500),
            Figure::Percentile(950),
            Figure::Percentile(990),
        ] {
            let alarms =
                shown(figure, 400, || [vec![run(&mut rng, 1_200, 1.0)], vec![run(&mut rng, 1_500, 1.0)]]);
            assert!(alarms <= 0.083, "{figure:?}: {alarms}");
        }
        // Poisson counts, as sums of rare events.
        let mut count = || Sample {
            count: (0..4_000).filter(|_| rng.random::<f64>() < 0.1).count() as u64,
            ..Sample::default()
        };
        let alarms =
            shown(Figure::Rate, 400, || [vec![(count(), 60_000_000_000)], vec![(count(), 60_000_000_000)]]);
        assert!(alarms <= 0.083, "rate: {alarms}");
    }

    #[test]
    fn a_shift_is_found() {
        let mut rng = StdRng::seed_from_u64(11);
        for figure in
            [Figure::Mean, Figure::Percentile(500), Figure::Percentile(950), Figure::Percentile(990)]
        {
            let found =
                shown(figure, 100, || [vec![run(&mut rng, 3_000, 1.0)], vec![run(&mut rng, 3_000, 1.4)]]);
            assert!(found >= 0.9, "{figure:?}: {found}");
        }
    }

    /// Runs differ from each other by some percent, as on a shared machine. Without the spread between runs
    /// nearly every comparison would be an alarm.
    #[test]
    fn the_spread_between_runs_counts() {
        let mut rng = StdRng::seed_from_u64(12);
        let side = |factor: f64, rng: &mut StdRng| -> Vec<Timed> {
            (0..4)
                .map(|_| {
                    let of_run = factor * (1.0 + 0.2 * (rng.random::<f64>() - 0.5));
                    run(rng, 1_000, of_run)
                })
                .collect()
        };
        for figure in [Figure::Mean, Figure::Percentile(500)] {
            let alarms = shown(figure, 400, || [side(1.0, &mut rng), side(1.0, &mut rng)]);
            assert!(alarms <= 0.083, "{figure:?}: {alarms}");
            let found = shown(figure, 50, || [side(1.0, &mut rng), side(1.5, &mut rng)]);
            assert!(found >= 0.9, "{figure:?}: {found}");
        }
    }
}
