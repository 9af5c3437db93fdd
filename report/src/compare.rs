//! Compares the runs of two sides: the differences with their confidence, and which may be noise.
//!
//! Each figure has a 95 % interval on each side, from which the interval of the difference follows
//! ([`interval`]). With several runs on a side, the spread between runs also counts: see [`Figure::change`].

mod interval;
mod rule;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use utoipa::ToSchema;
use wec_record::Plan;
use wec_record::plan::Listen;
use wec_record::threshold::Unit;

use self::interval::{Change, Estimate, Scale};
pub use self::rule::{Judged, Rule, RuleMistake, RuleOutcome};
use crate::baseline::{Baseline, Key, Sample};

/// The runs of one side. There is at least one.
#[derive(Clone, Debug)]
pub struct Side(pub Vec<Baseline>);

/// A figure that is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// Ended per second.
    Rate,
    /// Failed share.
    Failed,
    /// Mean response time.
    Mean,
    /// A percentile of the response time, in tenths of a percent.
    Percentile(u16),
}

/// What the data shows of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DifferenceVerdict {
    /// It is better after, beyond noise.
    Better,
    /// It is worse after, beyond noise.
    Worse,
    /// It may be noise.
    NoneShown,
    /// A side has too few samples.
    TooFewSamples,
}

/// One figure of one row, on both sides.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Difference {
    /// The chain or endpoint; `certificates` and `all requests` come before them.
    #[serde(flatten)]
    pub key: Key,
    /// The figure's name: `p99`.
    pub figure: String,
    /// Unit of its values.
    pub unit: Unit,
    /// Value before; null with too few samples.
    pub before: Option<f64>,
    /// Value after.
    pub after: Option<f64>,
    /// Samples before.
    pub n_before: u64,
    /// Samples after.
    pub n_after: u64,
    /// The change: relative to before, or for a share the difference. Null where a side has too few samples.
    pub change: Option<Change>,
    /// What the data shows.
    pub verdict: DifferenceVerdict,
}

/// A whole comparison.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Comparison {
    /// Version of this JSON.
    pub version: u32,
    /// The runs before, by id.
    pub before: Vec<String>,
    /// The runs after.
    pub after: Vec<String>,
    /// Why the sides may not be comparable.
    pub warnings: Vec<String>,
    /// Every figure of every row.
    pub differences: Vec<Difference>,
    /// What `--fail-if` asked for.
    pub rules: Vec<Judged>,
    /// How many figures differ, and how many do by chance alone.
    pub about: String,
}

/// The row of certificates that were issued.
const ISSUED: &str = "certificates";
/// The row of the requests of all endpoints.
const ALL_REQUESTS: &str = "all requests";

const FIGURES: [Figure; 6] = [
    Figure::Rate,
    Figure::Failed,
    Figure::Mean,
    Figure::Percentile(500),
    Figure::Percentile(950),
    Figure::Percentile(990),
];

/// Compares all rows, and judges the rules.
pub fn compare(before: &Side, after: &Side, rules: &[Rule]) -> Comparison {
    let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let row = |name: &str| Key { name: name.to_owned(), ..Key::default() };
    let mut differences =
        vec![Difference::new(&row(ISSUED), Figure::Rate, [&before.issued(), &after.issued()])];
    let mut add = |key: &Key, figures: &[Figure], of: &dyn Fn(&Key) -> bool| {
        let [a, b] = [before, after].map(|side| side.samples(of));
        differences.extend(figures.iter().map(|figure| Difference::new(key, *figure, [&a, &b])));
    };
    add(&row(ALL_REQUESTS), &FIGURES, &|key| !key.chain);
    // Chains first.
    for chain in [true, false] {
        for key in keys.iter().filter(|key| key.chain == chain) {
            add(key, &FIGURES, &|other| other == *key);
        }
    }
    Comparison {
        version: 1,
        before: before.0.iter().map(|run| run.run.clone()).collect(),
        after: after.0.iter().map(|run| run.run.clone()).collect(),
        warnings: warnings(before, after),
        about: text::about(&differences),
        differences,
        rules: rules.iter().map(|rule| rule.judge(before, after)).collect(),
    }
}

impl Difference {
    /// A figure of a row, of the samples on both sides.
    fn new(key: &Key, figure: Figure, [a, b]: [&Vec<Timed>; 2]) -> Self {
        let [all_a, all_b] = [a, b].map(|samples| pooled(samples));
        let change = figure.change(a, b, figure.scale());
        Self {
            key: key.clone(),
            figure: figure.name(),
            unit: figure.unit(),
            before: figure.of(&all_a).map(|estimate| estimate.value),
            after: figure.of(&all_b).map(|estimate| estimate.value),
            n_before: figure.samples(&all_a.0),
            n_after: figure.samples(&all_b.0),
            change,
            verdict: DifferenceVerdict::of(change.as_ref(), figure.unit()),
        }
    }
}

impl DifferenceVerdict {
    fn of(change: Option<&Change>, unit: Unit) -> Self {
        match change {
            None => Self::TooFewSamples,
            Some(change) if !change.is_shown() => Self::NoneShown,
            Some(change) if (change.value > 0.0) == (unit == Unit::PerSecond) => Self::Better,
            Some(_) => Self::Worse,
        }
    }
}

/// A sample and the time that it covers, nanoseconds.
type Timed = (Sample, u64);

impl Side {
    fn keys(&self) -> impl Iterator<Item = &Key> {
        self.0.iter().flat_map(|run| run.rows.iter().map(|row| &row.key))
    }

    /// For each run, the sum of the rows of this kind.
    fn samples(&self, of: impl Fn(&Key) -> bool) -> Vec<Timed> {
        let of_run = |run: &Baseline| {
            let mut sum = Sample::default();
            run.rows.iter().filter(|row| of(&row.key)).for_each(|row| sum.merge(&row.sample));
            (sum, run.elapsed_ns)
        };
        self.0.iter().map(of_run).collect()
    }

    /// For each run, the certificates that it issued.
    fn issued(&self) -> Vec<Timed> {
        let sample = |run: &Baseline| (Sample { count: run.issued, ..Sample::default() }, run.elapsed_ns);
        self.0.iter().map(sample).collect()
    }
}

fn pooled(samples: &[Timed]) -> Timed {
    let mut sum = (Sample::default(), 0);
    for (sample, elapsed_ns) in samples {
        sum.0.merge(sample);
        sum.1 += elapsed_ns;
    }
    sum
}

impl Figure {
    /// As in the comparison's rows.
    pub fn name(self) -> String {
        match self {
            Self::Rate => "rate".to_owned(),
            Self::Failed => "failed".to_owned(),
            Self::Mean => "mean".to_owned(),
            Self::Percentile(per_mille) => format!("p{}", f64::from(per_mille) / 10.0),
        }
    }

    const fn unit(self) -> Unit {
        match self {
            Self::Rate => Unit::PerSecond,
            Self::Failed => Unit::Share,
            Self::Mean | Self::Percentile(_) => Unit::Ns,
        }
    }

    /// How a change of it is given.
    const fn scale(self) -> Scale {
        if matches!(self, Self::Failed) { Scale::Difference } else { Scale::Relative }
    }

    fn samples(self, sample: &Sample) -> u64 {
        match self {
            Self::Rate | Self::Failed => sample.count,
            Self::Mean | Self::Percentile(_) => sample.n(),
        }
    }

    /// The value with its interval; none with too few samples.
    fn of(self, (sample, elapsed_ns): &Timed) -> Option<Estimate> {
        match self {
            Self::Rate => interval::rate(sample.count, *elapsed_ns),
            Self::Failed => interval::share(sample.failed, sample.count),
            Self::Mean => interval::mean(sample.n(), sample.sum, sample.sum_of_squares),
            Self::Percentile(per_mille) => interval::percentile(sample, u64::from(per_mille)),
        }
    }

    /// The change from one side to the other, of all runs of each together. Where a side has several runs,
    /// the interval is at least as wide as the spread between the runs requires: two-sided t, with a variance
    /// that is taken to be the same on both sides.
    fn change(self, before: &[Timed], after: &[Timed], scale: Scale) -> Option<Change> {
        let (a, b) = (self.of(&pooled(before))?, self.of(&pooled(after))?);
        let change = interval::change(&a, &b, scale);
        let values = |runs: &[Timed]| -> Vec<f64> {
            runs.iter().filter_map(|run| Some(self.of(run)?.value)).collect()
        };
        interval::widened(change, &values(before), &values(after), scale)
    }
}

/// The plan without what differs between any two runs without a difference of the load.
fn of_the_load(plan: &Plan) -> Plan {
    Plan {
        version: 0,
        seed: 0,
        directory: String::new(),
        cacert: None,
        thresholds: Vec::new(),
        listen: Listen::default(),
        ..plan.clone()
    }
}

/// What may make the sides incomparable.
fn warnings(before: &Side, after: &Side) -> Vec<String> {
    let all = || before.0.iter().chain(&after.0);
    let Some(first) = before.0.first() else { return Vec::new() };
    let mut differing: BTreeMap<String, (String, String)> = BTreeMap::new();
    for run in all() {
        let facts = |run: &Baseline| {
            let mut facts = BTreeMap::from([
                ("target".to_owned(), run.target.clone()),
                ("program".to_owned(), run.program.clone()),
                ("host".to_owned(), run.host.clone()),
                ("platform".to_owned(), run.platform.clone()),
                ("cpus".to_owned(), run.cpus.to_string()),
            ]);
            // Each value is shown as it is written in the log.
            let plan = run.plan.as_deref().map(of_the_load);
            flatten("plan", &serde_json::to_value(plan).unwrap_or_default(), &mut facts);
            facts
        };
        let (ours, theirs) = (facts(first), facts(run));
        for key in ours.keys().chain(theirs.keys()) {
            if ours.get(key) == theirs.get(key) {
                continue;
            }
            let shown =
                |facts: &BTreeMap<String, String>| facts.get(key).cloned().unwrap_or("nothing".to_owned());
            differing.entry(key.clone()).or_insert_with(|| (shown(&ours), shown(&theirs)));
        }
    }
    let mut warnings: Vec<_> =
        differing.into_iter().map(|(key, (a, b))| format!("{key} differs: {a}, and {b}")).collect();
    for run in all().filter(|run| run.generator_limited) {
        warnings.push(format!(
            "the load tester itself was a limit in run {}: its figures are not the CA's alone",
            run.run
        ));
    }
    for run in all().filter(|run| !run.log_problems.is_empty()) {
        warnings.push(format!("the log of run {} is not complete: {}", run.run, run.log_problems.join("; ")));
    }
    let runs: Vec<_> = all().map(|run| &run.run).collect();
    if runs.iter().collect::<BTreeSet<_>>().len() < runs.len() {
        warnings.push("a run is given twice".to_owned());
    }
    warnings
}

fn flatten(path: &str, value: &serde_json::Value, into: &mut BTreeMap<String, String>) {
    match value {
        serde_json::Value::Object(object) => {
            object.iter().for_each(|(key, value)| flatten(&format!("{path}.{key}"), value, into));
        }
        serde_json::Value::Array(values) => {
            for (place, value) in values.iter().enumerate() {
                let name = value.get("name").and_then(|name| name.as_str());
                let part = name.map_or_else(|| place.to_string(), str::to_owned);
                flatten(&format!("{path}.{part}"), value, into);
            }
        }
        plain => drop(into.insert(path.to_owned(), plain.to_string())),
    }
}
