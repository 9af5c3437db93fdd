//! Metrics of other programs beside the load, and which of them moved with the response times.
//!
//! Of each series the last sample of each bucket is kept, so figures do not depend on the order of records.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wec_record::{FLEET_SOURCE, Observation};

use crate::snapshot::{Measure, ObservedFigures, ObservedSeries};

/// Series that are kept.
const MAX_SERIES: usize = 256;
/// Sources whose left out series are kept.
const MAX_SOURCES: usize = 256;
/// One hour of buckets of one second; then buckets become wider.
const MAX_BUCKETS: usize = 3_600;
/// With it the buckets span 119 years.
const MAX_STEP_S: u64 = 1 << 20;
/// A rank correlation of fewer points is not meaningful.
const LEAST_POINTS: usize = 20;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Observed {
    step_s: u64,
    #[serde(with = "pairs")]
    series: BTreeMap<(String, String), Points>,
    /// Chosen series that the sampler left out, at most at one time; by source.
    left_out: BTreeMap<String, u64>,
    /// Samples of series beyond the bound.
    beyond: u64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Points {
    counter: bool,
    /// By bucket: time and value of its last sample.
    samples: BTreeMap<u64, (u64, f64)>,
}

/// A map whose keys are not texts, for JSON.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    type Series = BTreeMap<(String, String), super::Points>;

    pub(super) fn serialize<S: Serializer>(series: &Series, serializer: S) -> Result<S::Ok, S::Error> {
        series.iter().collect::<Vec<_>>().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Series, D::Error> {
        Ok(Vec::deserialize(deserializer)?.into_iter().collect())
    }
}

impl Default for Observed {
    fn default() -> Self {
        Self { step_s: 1, series: BTreeMap::new(), left_out: BTreeMap::new(), beyond: 0 }
    }
}

impl Observed {
    pub(super) fn record(&mut self, observation: &Observation) {
        let Observation { at_unix_ns, source, gauges, counters, left_out } = observation;
        self.leave_out(source, *left_out);
        for (values, counter) in [(gauges, false), (counters, true)] {
            for (name, value) in values {
                self.add(source, name, counter, *at_unix_ns, *value);
            }
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        for (source, count) in other.left_out {
            self.leave_out(&source, count);
        }
        self.beyond = self.beyond.saturating_add(other.beyond);
        while self.step_s < other.step_s {
            self.double_step();
        }
        for ((source, name), points) in other.series {
            for (at, value) in points.samples.into_values() {
                self.add(&source, &name, points.counter, at, value);
            }
        }
    }

    pub(super) fn is_sound(&self) -> bool {
        let sources = self.left_out.len();
        self.step_s.is_power_of_two()
            && self.step_s <= MAX_STEP_S
            && self.series.len() <= MAX_SERIES
            && sources <= MAX_SOURCES
            && self.series.values().all(|points| points.samples.len() <= MAX_BUCKETS)
    }

    fn leave_out(&mut self, source: &str, count: u64) {
        let sources = self.left_out.len();
        match self.left_out.get_mut(source) {
            Some(most) => *most = (*most).max(count),
            None if count > 0 && sources < MAX_SOURCES => {
                self.left_out.insert(source.to_owned(), count);
            }
            None => self.beyond = self.beyond.saturating_add(count),
        }
    }

    fn add(&mut self, source: &str, name: &str, counter: bool, at_unix_ns: u64, value: f64) {
        let key = (source.to_owned(), name.to_owned());
        if !value.is_finite() || (self.series.len() >= MAX_SERIES && !self.series.contains_key(&key)) {
            self.beyond = self.beyond.saturating_add(1);
            return;
        }
        let bucket = at_unix_ns / 1_000_000_000 / self.step_s;
        let points = self.series.entry(key).or_default();
        points.counter = counter;
        points.put(bucket, (at_unix_ns, value));
        if points.samples.len() > MAX_BUCKETS {
            self.double_step();
        }
    }

    fn double_step(&mut self) {
        self.step_s *= 2;
        for points in self.series.values_mut() {
            for (bucket, sample) in std::mem::take(&mut points.samples) {
                points.put(bucket / 2, sample);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// Width of a bucket, seconds.
    pub(super) const fn step_s(&self) -> u64 {
        self.step_s
    }

    /// How many series were left out, or could not be kept.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Samples beyond the bound of series.
    pub(super) const fn beyond(&self) -> u64 {
        self.beyond
    }

    /// The last value of each series of a source; of a total the total itself.
    pub(super) fn last(&self, source: &str) -> BTreeMap<String, f64> {
        let of_source = self.series.iter().filter(|((of, _), _)| of == source);
        let last = of_source.filter_map(|((_, name), points)| {
            let (_, (_, value)) = points.samples.last_key_value()?;
            Some((name.clone(), *value))
        });
        last.collect()
    }

    /// The series as people read them: values, rates of totals, and means of times.
    pub(super) fn series(&self) -> Vec<ObservedSeries> {
        let mut all = Vec::new();
        for ((source, name), points) in &self.series {
            let of = |measure, name: String, values: Vec<(u64, f64)>| ObservedSeries {
                source: source.clone(),
                name,
                measure,
                step_s: self.step_s,
                at_unix_ns: values.iter().map(|(at, _)| *at).collect(),
                values: values.into_iter().map(|(_, value)| value).collect(),
            };
            if !points.counter {
                all.push(of(Measure::Value, name.clone(), points.samples.values().copied().collect()));
                continue;
            }
            // The sum and the count of the same times give a mean.
            let pair = |from: &str, to: &str| {
                let (name, labels) = split(name);
                let other = format!("{}{to}{labels}", name.strip_suffix(from)?);
                self.series.get(&(source.clone(), other)).map(|other| (name, labels, other))
            };
            if let Some((name, labels, counts)) = pair("_sum", "_count") {
                let name = format!("{}{labels}", name.trim_end_matches("_sum"));
                all.push(of(Measure::Mean, name, points.mean(counts)));
            } else {
                all.push(of(Measure::Rate, name.clone(), points.rate()));
            }
        }
        all.retain(|series| !series.values.is_empty());
        all
    }

    /// Figures of each series, those that moved most with the response times first. `times` has the response times
    /// of issuances, by the start of each bucket of `step_s` seconds.
    pub(super) fn figures(&self, step_s: u64, times: &BTreeMap<u64, f64>) -> Vec<ObservedFigures> {
        let step_s = step_s.max(self.step_s);
        let mut figures: Vec<_> = self
            .series()
            .into_iter()
            // What the load tester itself did is no other program's metric.
            .filter(|series| series.source != FLEET_SOURCE)
            .map(|series| {
                let mut buckets = BTreeMap::<u64, (f64, u32)>::new();
                for (at, value) in series.at_unix_ns.iter().zip(&series.values) {
                    let bucket = buckets.entry(at / 1_000_000_000 / step_s).or_default();
                    *bucket = ((bucket.0 + value).clamp(f64::MIN, f64::MAX), bucket.1 + 1);
                }
                let pairs: Vec<_> = times
                    .iter()
                    .filter_map(|(start, time)| {
                        let (sum, n) = buckets.get(&(start / step_s))?;
                        Some((sum / f64::from(*n), *time))
                    })
                    .collect();
                let rank_correlation = rank_correlation(&pairs).filter(|_| pairs.len() >= LEAST_POINTS);
                let n = series.values.len() as u64;
                let fold = |of: fn(f64, f64) -> f64, from| series.values.iter().copied().fold(from, of);
                ObservedFigures {
                    samples: n,
                    mean: mean(&series.values),
                    min: fold(f64::min, f64::INFINITY),
                    max: fold(f64::max, f64::NEG_INFINITY),
                    points: pairs.len() as u64,
                    rank_correlation: rank_correlation.map(|r| (r * 1e3).round() / 1e3),
                    source: series.source,
                    name: series.name,
                    measure: series.measure,
                }
            })
            .collect();
        let strength = |figures: &ObservedFigures| figures.rank_correlation.map_or(-1.0, f64::abs);
        figures.sort_by(|a, b| strength(b).total_cmp(&strength(a)));
        figures
    }
}

impl Points {
    fn put(&mut self, bucket: u64, sample: (u64, f64)) {
        let last = self.samples.entry(bucket).or_insert(sample);
        if (sample.0, sample.1.to_bits()) > (last.0, last.1.to_bits()) {
            *last = sample;
        }
    }

    /// Per second, from each sample to the next; none over a restart of the program.
    fn rate(&self) -> Vec<(u64, f64)> {
        let samples: Vec<_> = self.samples.values().collect();
        let rates = samples.windows(2).filter_map(|two| {
            let seconds = two[1].0.saturating_sub(two[0].0) as f64 / 1e9;
            let grown = two[1].1 - two[0].1;
            let rate = grown / seconds;
            (seconds > 0.0 && grown >= 0.0 && rate.is_finite()).then_some((two[1].0, rate))
        });
        rates.collect()
    }

    /// Growth of this sum by growth of the count, from each sample to the next.
    fn mean(&self, counts: &Self) -> Vec<(u64, f64)> {
        let both: Vec<_> = self
            .samples
            .iter()
            .filter_map(|(bucket, (at, sum))| Some((*at, *sum, counts.samples.get(bucket)?.1)))
            .collect();
        let means = both.windows(2).filter_map(|two| {
            let (sum, count) = (two[1].1 - two[0].1, two[1].2 - two[0].2);
            let mean = sum / count;
            (count > 0.0 && sum >= 0.0 && mean.is_finite()).then_some((two[1].0, mean))
        });
        means.collect()
    }
}

/// The mean, also where the sum of the values is beyond all numbers.
fn mean(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let sum: f64 = values.iter().sum();
    if sum.is_finite() { sum / n } else { values.iter().map(|value| value / n).sum() }
}

/// A name and its labels.
fn split(series: &str) -> (&str, &str) {
    series.split_at(series.find('{').unwrap_or(series.len()))
}

/// Spearman's rank correlation; none if one side is constant.
fn rank_correlation(pairs: &[(f64, f64)]) -> Option<f64> {
    let (a, b) = (ranks(pairs.iter().map(|pair| pair.0)), ranks(pairs.iter().map(|pair| pair.1)));
    let mean = (pairs.len() as f64 + 1.0) / 2.0;
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>();
    let spread = (product(&a, &a) * product(&b, &b)).sqrt();
    (spread > 0.0).then(|| product(&a, &b) / spread)
}

/// The rank of each value, from 1; equal values share their mean rank.
fn ranks(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut sorted: Vec<_> = values.enumerate().collect();
    sorted.sort_by(|a, b| a.1.total_cmp(&b.1));
    let mut ranks = vec![0.0; sorted.len()];
    let mut from = 0;
    while from < sorted.len() {
        let equal = sorted[from..].iter().take_while(|(_, value)| *value == sorted[from].1).count();
        let rank = from as f64 + (equal as f64 + 1.0) / 2.0;
        sorted[from..from + equal].iter().for_each(|(place, _)| ranks[*place] = rank);
        from += equal;
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const START: u64 = 1_795_254_960;

    fn at(second: u64, gauges: &[(&str, f64)], counters: &[(&str, f64)]) -> Observation {
        let map = |values: &[(&str, f64)]| {
            values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
        };
        Observation {
            at_unix_ns: (START + second) * SECOND,
            source: "ca".to_owned(),
            gauges: map(gauges),
            counters: map(counters),
            left_out: 0,
        }
    }

    #[test]
    fn totals_are_rates_and_sums_with_counts_are_means() {
        let mut observed = Observed::default();
        for (second, total, sum, count) in
            [(0, 10.0, 1.0, 1.0), (1, 14.0, 2.0, 3.0), (3, 20.0, 2.0, 3.0), (4, 1.0, 5.0, 4.0)]
        {
            let counters = [("cpu_total", total), ("t_sum{a=\"1\"}", sum), ("t_count{a=\"1\"}", count)];
            observed.record(&at(second, &[("g", 7.0)], &counters));
        }
        let found: Vec<_> = observed
            .series()
            .into_iter()
            .map(|series| (series.name, series.measure, series.values))
            .collect();
        let expected = [
            ("cpu_total", Measure::Rate, vec![4.0, 3.0]),
            ("g", Measure::Value, vec![7.0; 4]),
            ("t_count{a=\"1\"}", Measure::Rate, vec![2.0, 0.0, 1.0]),
            ("t{a=\"1\"}", Measure::Mean, vec![0.5, 3.0]),
        ];
        assert_eq!(found, expected.map(|(name, measure, values)| (name.to_owned(), measure, values)));
    }

    #[test]
    fn order_and_merging_change_nothing() {
        let all: Vec<_> = (0..8_000).map(|n| at(n, &[("g", n as f64)], &[("c", n as f64)])).collect();
        let of = |records: &mut dyn Iterator<Item = &Observation>| {
            let mut observed = Observed::default();
            records.for_each(|record| observed.record(record));
            observed
        };
        let forward = of(&mut all.iter());
        let mut merged = of(&mut all[4_000..].iter());
        merged.merge(of(&mut all[..4_000].iter()));
        assert_eq!(forward.step_s, 4);
        assert_eq!(forward.series(), of(&mut all.iter().rev()).series());
        assert_eq!(forward.series(), merged.series());
    }

    #[test]
    fn ranks_say_what_moved_with_the_times() {
        let mut observed = Observed::default();
        let mut times = BTreeMap::new();
        for second in 0..40 {
            let up = second as f64;
            observed.record(&at(
                second,
                &[("up", up.powi(3)), ("down", -up), ("still", 1.0), ("odd", up % 2.0)],
                &[],
            ));
            times.insert(START + second, 5.0 + up);
        }
        let figures = observed.figures(1, &times);
        let found: Vec<_> =
            figures.iter().map(|figures| (figures.name.as_str(), figures.rank_correlation)).collect();
        assert_eq!(found[..2], [("down", Some(-1.0)), ("up", Some(1.0))]);
        assert_eq!((found[2].0, found[3]), ("odd", ("still", None)));
        assert!(found[2].1.unwrap().abs() < 0.2);
        assert_eq!((figures[0].points, figures[0].samples), (40, 40));
        times.retain(|start, _| *start < START + 19);
        assert!(observed.figures(1, &times).iter().all(|figures| figures.rank_correlation.is_none()));
    }

    /// JSON has no infinity.
    #[test]
    fn the_largest_numbers_make_finite_figures() {
        let mut observed = Observed::default();
        let values = [f64::MAX, f64::MIN, f64::MAX, f64::MAX, f64::INFINITY, f64::NAN];
        for (second, value) in (0..).zip(values) {
            let total = [("t_sum", value), ("t_count", second as f64 / 1e9), ("c", value)];
            observed.record(&at(second, &[("g", value), ("m", f64::MAX / 2.0)], &total));
        }
        assert_eq!(observed.beyond(), 6, "infinity and no number of three series");
        for series in observed.series() {
            assert!(series.values.iter().all(|value| value.is_finite()), "{series:?}");
        }
        let figures = observed.figures(4, &[(START, 1.0), (START + 4, 2.0)].into());
        for figures in &figures {
            let numbers = [figures.mean, figures.min, figures.max];
            assert!(numbers.iter().all(|number| number.is_finite()), "{figures:?}");
        }
        let of = |name: &str| figures.iter().find(|figures| figures.name == name).unwrap();
        for name in ["g", "m"] {
            assert!((of(name).mean / (f64::MAX / 2.0) - 1.0).abs() < 1e-9, "{name}: {}", of(name).mean);
        }
    }

    #[test]
    fn sources_beyond_the_bound_are_counted() {
        let mut observed = Observed::default();
        let mut half = Observed::default();
        for n in 0..30_000_u64 {
            let observation =
                Observation { source: format!("ca {n}"), left_out: 2, ..at(n, &[("g", 1.0)], &[]) };
            observed.record(&observation);
            half.record(&observation);
        }
        let kept = |observed: &Observed| (observed.left_out.len(), observed.series.len());
        assert_eq!(kept(&observed), (MAX_SOURCES, MAX_SERIES));
        assert_eq!(observed.beyond(), 3 * (30_000 - 256));
        observed.merge(half);
        assert_eq!(kept(&observed), (MAX_SOURCES, MAX_SERIES));
        assert_eq!(observed.left_out(), 2 * 256);
    }

    #[test]
    fn series_beyond_the_bound_are_counted() {
        let mut observed = Observed::default();
        let names: Vec<_> = (0..300).map(|n| format!("g{n:03}")).collect();
        let gauges: Vec<_> = names.iter().map(|name| (name.as_str(), 1.0)).collect();
        observed.record(&at(0, &gauges, &[]));
        assert_eq!((observed.series().len(), observed.beyond()), (256, 44));
    }
}
