//! Whether a sample may come from a distribution: for tests, and for benchmarks of arrivals.

/// How well a sample fits a distribution, by the Kolmogorov–Smirnov test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fit {
    /// The largest distance between the two distribution functions.
    pub d: f64,
    /// The probability of a distance at least this large if the sample comes from the distribution: the
    /// asymptotic series with Stephens' correction, accurate from about 35 values on.
    pub p: f64,
}

impl Fit {
    /// Of a sample and the exponential distribution of mean 1.
    pub fn to_exponential(sample: &[f64]) -> Self {
        Self::to(sample, |x| 1.0 - (-x).exp())
    }

    /// Of a sample and the distribution with this function.
    pub fn to(sample: &[f64], cdf: impl Fn(f64) -> f64) -> Self {
        let mut sorted = sample.to_vec();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len() as f64;
        let apart = |(i, x): (usize, &f64)| {
            let expected = cdf(*x);
            (expected - i as f64 / n).max((i + 1) as f64 / n - expected)
        };
        let d = sorted.iter().enumerate().map(apart).fold(0.0, f64::max);
        let lambda = (n.sqrt() + 0.12 + 0.11 / n.sqrt()) * d;
        // The series does not converge where the probability is close to 1.
        let p = if lambda < 0.2 {
            1.0
        } else {
            let term = |k: i32| (-1f64).powi(k - 1) * (-2.0 * f64::from(k * k) * lambda * lambda).exp();
            (2.0 * (1..=100).map(term).sum::<f64>()).clamp(0.0, 1.0)
        };
        Self { d, p }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_tables_of_critical_values() {
        // The quantiles of the limiting distribution: 1.2238 at 10 %, 1.3581 at 5 %, 1.6276 at 1 %.
        for (lambda, p) in [(1.2238, 0.10), (1.3581, 0.05), (1.6276, 0.01)] {
            // A uniform sample, shifted so that it has this distance.
            let n = 100_000;
            let root = f64::from(n).sqrt();
            let d = lambda / (root + 0.12 + 0.11 / root);
            let sample: Vec<f64> = (0..n).map(|i| (f64::from(i) + 0.5) / f64::from(n) + d).collect();
            let fit = Fit::to(&sample, |x| x.clamp(0.0, 1.0));
            assert!((fit.d - d).abs() < 1e-5, "{fit:?}");
            assert!((fit.p - p).abs() < 1e-3, "{fit:?}");
        }
    }

    #[test]
    fn a_perfect_sample_fits() {
        let sample: Vec<f64> = (0..1000).map(|i| (f64::from(i) + 0.5) / 1000.0).collect();
        assert_eq!(Fit::to(&sample, |x| x).p, 1.0);
    }
}
