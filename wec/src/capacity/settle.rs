//! Tests whether a step has settled: a test for a trend in response times and chains in flight.
//!
//! After a change of the load, response times move: connections are made, caches fill, queues build up.
//! Measurements in this time belong to the change and not to the rate. And above its capacity a CA never
//! settles: its queue, and with it the number of chains in flight and the response time, grow for as long as
//! the load lasts. One test serves both.
//!
//! A series has a trend when two conditions hold. First, the Mann–Kendall test (Mann 1945, Kendall 1975: the
//! sum of the signs of all pairwise differences, which needs no distribution of the values, and is normal
//! enough from five values on) finds it *significant* at 5 %. Second, its *size*, Sen's slope (Sen 1968: the
//! median of all pairwise slopes) over the whole window, is more than 10 % of the level: a real but small
//! trend must not prevent a measurement.

/// Two-sided, 5 %.
const SIGNIFICANT_Z: f64 = 1.96;
/// Share of the level, over the window.
const MATTERS_SHARE: f64 = 0.10;
/// With fewer values no trend is significant: for four in perfect order, Z is 1.70.
const ENOUGH: usize = 5;
/// Smaller changes of a response time, nanoseconds, come from the scheduler and not from the CA.
const MATTERS_NS: f64 = 2e6;
/// Smaller changes of the number of workers in a chain are chance: one more chain at the moment of the
/// sample.
const MATTERS_WORKERS: f64 = 1.5;

/// A sample of one part of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sample {
    /// Mean response time of the successful chains in it, nanoseconds.
    pub(crate) response_ns: Option<f64>,
    /// Mean number of workers in a chain.
    pub(crate) busy: f64,
}

/// The result of the test for a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Shown {
    /// No significant trend.
    Settled,
    /// A series falls: the step is still improving.
    Falling,
    /// A series grows.
    Rising(Rise),
}

/// The series that grows, and by how much in the window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rise {
    /// The series.
    pub(crate) what: Series,
    /// Its start, by Sen's line: workers, or nanoseconds.
    pub(crate) from: f64,
    /// Its end.
    pub(crate) to: f64,
}

/// A series of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Series {
    /// [`Sample::busy`]
    Busy,
    /// [`Sample::response_ns`]
    Response,
}

/// Tests a window, in order of time.
pub(crate) fn look(window: &[Sample]) -> Shown {
    let busy: Vec<f64> = window.iter().map(|sample| sample.busy).collect();
    let response: Vec<f64> = window.iter().filter_map(|sample| sample.response_ns).collect();
    // Workers first: their growth is the cause, and is easier to understand.
    let looks = [(Series::Busy, busy, MATTERS_WORKERS), (Series::Response, response, MATTERS_NS)];
    let mut falling = false;
    for (what, values, matters) in looks {
        let Some(trend) = trend(&values) else { continue };
        let change = trend.to - trend.from;
        if !trend.is_significant || change.abs() <= matters.max(MATTERS_SHARE * trend.level.abs()) {
            continue;
        }
        if change > 0.0 {
            return Shown::Rising(Rise { what, from: trend.from.max(0.0), to: trend.to });
        }
        falling = true;
    }
    if falling { Shown::Falling } else { Shown::Settled }
}

/// A series' trend.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Trend {
    is_significant: bool,
    /// Median.
    level: f64,
    /// Sen's line through the medians, at the first value.
    from: f64,
    /// Sen's line at the last value.
    to: f64,
}

fn trend(values: &[f64]) -> Option<Trend> {
    if values.len() < ENOUGH {
        return None;
    }
    let level = median(values.to_vec())?;
    let half = (values.len() - 1) as f64 / 2.0;
    let slope = sens_slope(values)?;
    Some(Trend {
        is_significant: mann_kendall(values).abs() > SIGNIFICANT_Z,
        level,
        from: level - slope * half,
        to: level + slope * half,
    })
}

/// The test's Z: positive if values grow, standard normal without a trend. Corrected for ties.
fn mann_kendall(values: &[f64]) -> f64 {
    let n = values.len();
    let mut s = 0_i64;
    for (place, value) in values.iter().enumerate() {
        for later in &values[place + 1..] {
            s += i64::from(later > value) - i64::from(later < value);
        }
    }
    let weight = |n: usize| {
        let n = n as f64;
        n * (n - 1.0) * (2.0 * n + 5.0)
    };
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let ties: f64 = sorted.chunk_by(|a, b| a == b).map(|equal| weight(equal.len())).sum();
    let deviation = ((weight(n) - ties) / 18.0).sqrt();
    if deviation > 0.0 { (s - s.signum()) as f64 / deviation } else { 0.0 }
}

/// Slope per value.
fn sens_slope(values: &[f64]) -> Option<f64> {
    let mut slopes = Vec::with_capacity(values.len() * values.len() / 2);
    for (place, value) in values.iter().enumerate() {
        let later = values[place + 1..].iter().zip(1..);
        slopes.extend(later.map(|(later, distance): (_, u32)| (later - value) / f64::from(distance)));
    }
    median(slopes)
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => values.get(middle).copied(),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::rngs::StdRng;
    use rand::{SeedableRng as _, seq::SliceRandom as _};

    use super::*;

    fn busy(values: &[f64]) -> Vec<Sample> {
        values.iter().map(|busy| Sample { response_ns: None, busy: *busy }).collect()
    }

    fn response(ms: &[f64]) -> Vec<Sample> {
        ms.iter().map(|ms| Sample { response_ns: Some(ms * 1e6), busy: 1.0 }).collect()
    }

    #[test]
    fn the_test_agrees_with_what_is_computed_by_hand() {
        // S = 10 of 10 pairs, variance 5·4·15/18.
        assert!((mann_kendall(&[1.0, 2.0, 3.0, 4.0, 5.0]) - 9.0 / (300.0f64 / 18.0).sqrt()).abs() < 1e-12);
        assert!((mann_kendall(&[5.0, 4.0, 3.0, 2.0, 1.0]) + 9.0 / (300.0f64 / 18.0).sqrt()).abs() < 1e-12);
        assert_eq!(mann_kendall(&[3.0; 9]), 0.0, "only ties");
        // Gilbert 1987, section 16.4: one tie of two.
        let tied = (weight_of(6) - weight_of(2)) / 18.0;
        assert!((mann_kendall(&[1.0, 2.0, 2.0, 3.0, 4.0, 5.0]) - 13.0 / tied.sqrt()).abs() < 1e-12);
        assert_eq!(
            sens_slope(&[1.0, 3.0, 5.0, 100.0, 9.0]),
            Some(2.0),
            "one outlier does not change the slope"
        );
    }

    fn weight_of(n: u32) -> f64 {
        f64::from(n) * (f64::from(n) - 1.0) * (2.0 * f64::from(n) + 5.0)
    }

    #[test]
    fn windows_are_steady_rising_or_undecided() {
        let rising = |what, shown: Shown| matches!(shown, Shown::Rising(rise) if rise.what == what);
        // A queue that grows by two per second.
        assert!(rising(
            Series::Busy,
            look(&busy(&[5.0, 7.0, 9.0, 11.0, 13.0, 15.0, 17.0, 19.0, 21.0, 23.0]))
        ));
        // Noise around a level.
        assert_eq!(look(&busy(&[9.0, 12.0, 10.0, 11.0, 8.0, 12.0, 9.0, 10.0, 11.0, 9.0])), Shown::Settled);
        // Significant, but too small: 3 % of the level.
        assert_eq!(
            look(&response(&[100.0, 100.4, 100.8, 101.2, 101.6, 102.0, 102.4, 102.8])),
            Shown::Settled
        );
        assert!(rising(Series::Response, look(&response(&[100.0, 110.0, 121.0, 129.0, 141.0, 150.0]))));
        // A CA that becomes faster.
        assert_eq!(look(&response(&[300.0, 200.0, 150.0, 120.0, 110.0, 101.0])), Shown::Falling);
        // A rise below the scheduler's noise.
        assert_eq!(look(&response(&[1.0, 1.2, 1.4, 1.6, 1.8, 2.0])), Shown::Settled);
        // Too few values.
        assert_eq!(look(&busy(&[1.0, 10.0, 100.0, 1_000.0])), Shown::Settled);
        assert_eq!(look(&[]), Shown::Settled);
    }

    #[test]
    fn a_rise_has_its_first_and_last_level() {
        let Shown::Rising(rise) = look(&busy(&[2.0, 4.0, 6.0, 8.0, 10.0, 12.0])) else { panic!("it rises") };
        assert_eq!((rise.from, rise.to), (2.0, 12.0));
    }

    proptest! {
        #[test]
        fn a_reversed_series_has_the_opposite_trend(values in proptest::collection::vec(-100i32..100, 5..30)) {
            let forwards: Vec<f64> = values.iter().map(|value| f64::from(*value)).collect();
            let backwards: Vec<f64> = forwards.iter().rev().copied().collect();
            prop_assert!((mann_kendall(&forwards) + mann_kendall(&backwards)).abs() < 1e-9);
            let slope = sens_slope(&forwards).unwrap() + sens_slope(&backwards).unwrap();
            prop_assert!(slope.abs() < 1e-9);
        }
    }

    /// For random orders, a trend is found as often as the significance level allows.
    #[test]
    fn a_random_order_is_seldom_a_trend() {
        let mut rng = StdRng::seed_from_u64(12);
        let mut values: Vec<f64> = (0..12).map(f64::from).collect();
        let trends = (0..10_000).filter(|_| {
            values.shuffle(&mut rng);
            mann_kendall(&values).abs() > 1.96
        });
        let share = trends.count() as f64 / 10_000.0;
        assert!((0.03..=0.06).contains(&share), "{share}");
    }
}
