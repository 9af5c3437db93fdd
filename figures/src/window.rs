//! Windows of time within a run: figures of any period, and thresholds judged on that period alone.
//!
//! A capacity search examines one step of the load after the other. Data is kept in parts of a quarter of a
//! second, and a window is the sum of its parts. As in the windows of thresholds, an event belongs to the
//! part in which it ended, and percentiles come from cells with three digits. Memory is bounded by
//! [`MAX_PARTS`], and the caller discards past parts.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use wec_record::threshold::{Metric, Of, Stat, Threshold, Unit};
use wec_record::{Chain, ChainResult, FailureClass, LimitKind, LoadSample, Record};

use crate::counts::{Followed, LoadCounts};
use crate::verdict::{Event, Sees, Slice, rounded};
use crate::wording::counted;

/// The shortest window.
pub const PART: Duration = Duration::from_millis(250);
const PART_NS: u64 = PART.as_nanos() as u64;
/// An hour.
const MAX_PARTS: usize = 14_400;
/// Kinds of failures listed for one window.
const MAX_FAILURES: usize = 32;
/// Reasons kept per part why the load tester was limited.
const MAX_LIMITS: usize = 4;

/// The figures of a period.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WindowFigures {
    /// Length of the period, nanoseconds.
    pub over_ns: u64,
    /// Iterations that were due, by the samples in the period; each covers the second before it.
    pub due: u64,
    /// Of those, started.
    pub started: u64,
    /// Of those, dropped because no worker was free.
    pub dropped: u64,
    /// How often a worker found no chain that it could run.
    pub idle: u64,
    /// Chains that ended.
    pub ended: u64,
    /// Of those, failed.
    pub failed: u64,
    /// Chains that ended, by chain.
    pub ended_by_chain: [u64; Chain::ALL.len()],
    /// Failed chains by kind, in the order of first use; at most 32 kinds. Further ones are only in `failed`.
    pub failures: Vec<WindowFailure>,
    /// Chains that failed because of the load tester's own machine, not because of the CA.
    pub local: u64,
    /// Certificates issued.
    pub certificates: u64,
    /// Mean response time of the successful chains, nanoseconds.
    pub mean_ns: Option<u64>,
    /// Median; a percentile is none with fewer than ten samples beyond it.
    pub p50_ns: Option<u64>,
    /// See `p50_ns`.
    pub p95_ns: Option<u64>,
    /// See `p50_ns`.
    pub p99_ns: Option<u64>,
    /// Number of samples in these times.
    pub n: u64,
    /// Why the load tester itself was the limit, if it was. Dropped iterations are counted above and are not
    /// listed here.
    pub limited: Vec<String>,
    /// Each threshold, judged on this period.
    pub thresholds: Vec<WindowThreshold>,
    /// Response time of each part of the period, in order.
    pub parts: Vec<Part>,
}

/// A kind of failure of a chain, and its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowFailure {
    /// The chain that failed.
    pub chain: Chain,
    /// Its class.
    pub class: FailureClass,
    /// HTTP status of the answer that decided the failure; 0 without one.
    pub status: u16,
    /// Problem type of that answer, without its prefix; may be empty.
    pub problem: String,
    /// Number of chains.
    pub count: u64,
}

impl WindowFailure {
    /// Whether both are of one kind, whatever their counts.
    pub fn is_like(&self, other: &Self) -> bool {
        (self.chain, self.class, self.status) == (other.chain, other.class, other.status)
            && self.problem == other.problem
    }
}

/// Adds a failure to the count of its kind.
fn add_failure(failures: &mut Vec<WindowFailure>, failure: &WindowFailure) {
    match failures.iter().position(|known| known.is_like(failure)) {
        Some(place) => failures[place].count += failure.count,
        None if failures.len() < MAX_FAILURES => failures.push(failure.clone()),
        None => {}
    }
}

/// One [`PART`] of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Chains that ended.
    pub ended: u64,
    /// Of those, failed.
    pub failed: u64,
    /// Those that succeeded and have a response time.
    pub n: u64,
    /// The sum of their response times, nanoseconds.
    pub sum_ns: u128,
}

/// A threshold judged on a period.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowThreshold {
    /// As written.
    pub expression: String,
    /// The unit of its value.
    pub unit: Unit,
    /// The value in the period; none with too few samples.
    pub value: Option<f64>,
    /// Whether it held; none without any sample.
    pub passed: Option<bool>,
    /// Samples.
    pub n: u64,
    /// If there are too few samples for a percentile, the number of samples beyond the limit, which then
    /// decides.
    pub beyond: Option<u64>,
}

/// Keeps the parts of a run.
#[derive(Clone, Debug)]
pub struct Windows {
    thresholds: Vec<Threshold>,
    /// Number of the first part since the Unix epoch.
    first: u64,
    parts: VecDeque<Kept>,
    followed: Followed,
}

#[derive(Clone, Debug, Default)]
struct Kept {
    judged: Vec<Slice>,
    chains: Slice,
    ended_by_chain: [u64; Chain::ALL.len()],
    failures: Vec<WindowFailure>,
    certificates: u64,
    local: u64,
    load: LoadCounts,
    /// The exceeded bound, its place, and the text for it.
    limited: Vec<(LimitKind, String, String)>,
}

impl Windows {
    pub(crate) fn new(thresholds: Vec<Threshold>) -> Self {
        Self { thresholds, first: 0, parts: VecDeque::new(), followed: Followed::default() }
    }

    pub(crate) fn record(&mut self, record: &Record) {
        match record {
            Record::Chain { origin_unix_ns, result, .. } => self.chain(*origin_unix_ns, result),
            Record::Load { node, at_unix_ns, load, .. } => self.load(node, *at_unix_ns, load),
            _ => {}
        }
    }

    /// Drops what was before this time, nanoseconds since the Unix epoch.
    pub fn forget_before(&mut self, unix_ns: u64) {
        let first = unix_ns / PART_NS;
        while self.first < first && self.parts.pop_front().is_some() {
            self.first += 1;
        }
    }

    /// The figures of a window of time, nanoseconds since the Unix epoch.
    pub fn figures(&self, unix_ns: Range<u64>) -> WindowFigures {
        let parts = unix_ns.start / PART_NS..unix_ns.end / PART_NS;
        let over_ns = parts.end.saturating_sub(parts.start) * PART_NS;
        let empty = Kept::default();
        let of = |number: u64| {
            number.checked_sub(self.first).and_then(|place| self.parts.get(place as usize)).unwrap_or(&empty)
        };
        let mut sum = Kept { judged: vec![Slice::default(); self.thresholds.len()], ..Kept::default() };
        for part in parts.clone().map(of) {
            sum.plus(part);
        }
        let time = |per_mille| sum.chains.percentile(per_mille);
        let mut limited: Vec<_> = sum.limited.into_iter().map(|(_, _, said)| said).collect();
        // Known before the sample that reports it arrives.
        if sum.local > 0 {
            limited.push(format!(
                "{} failed because this machine refused (no file descriptor, local port or memory), not because of the CA",
                counted(sum.local, "chain", "chains")
            ));
        }
        WindowFigures {
            over_ns,
            due: sum.load.due,
            started: sum.load.started,
            dropped: sum.load.dropped,
            idle: sum.load.idle,
            ended: sum.chains.count,
            failed: sum.chains.bad,
            ended_by_chain: sum.ended_by_chain,
            failures: sum.failures,
            local: sum.local,
            certificates: sum.certificates,
            mean_ns: (sum.chains.n > 0).then(|| (sum.chains.sum / u128::from(sum.chains.n)) as u64),
            p50_ns: time(500),
            p95_ns: time(950),
            p99_ns: time(990),
            n: sum.chains.n,
            limited,
            thresholds: self
                .thresholds
                .iter()
                .zip(&sum.judged)
                .map(|(threshold, slice)| judge(threshold, slice, over_ns))
                .collect(),
            parts: parts
                .map(of)
                .map(|Kept { chains, .. }| Part {
                    ended: chains.count,
                    failed: chains.bad,
                    n: chains.n,
                    sum_ns: chains.sum,
                })
                .collect(),
        }
    }

    fn chain(&mut self, origin: u64, result: &ChainResult) {
        for request in &result.requests {
            let events = self.thresholds.iter().enumerate();
            let events =
                events.filter_map(|(at, threshold)| Some((at, threshold.metric.of_request(request)?)));
            let events: Vec<_> = events.collect();
            self.judged(origin.saturating_add(request.done), &events);
        }
        let events = self.thresholds.iter().enumerate();
        let events = events.filter_map(|(at, threshold)| Some((at, threshold.metric.of_chain(result)?)));
        let events: Vec<_> = events.collect();
        let done = origin.saturating_add(result.done);
        self.judged(done, &events);
        if result.is_cut_off() {
            return;
        }
        // The time of an abandoned order is not that of a whole chain.
        let timed = result.successful && !result.abandoned;
        let event =
            Event { bad: u64::from(!result.successful), took: timed.then_some(result.took), ..Event::ONE };
        let is_local = |class| class == Some(FailureClass::Local);
        let local = is_local(result.class) || result.requests.iter().any(|request| is_local(request.class));
        if let Some(part) = self.part(done) {
            part.local += u64::from(local);
            part.chains.add(event);
            if let Some(chain) = result.chain {
                part.ended_by_chain[chain.index()] += 1;
                if let Some(class) = result.class {
                    let (status, problem) = result.failed_by();
                    let failure =
                        WindowFailure { chain, class, status, problem: problem.to_owned(), count: 1 };
                    add_failure(&mut part.failures, &failure);
                }
            }
            part.certificates += u64::from(result.issued);
        }
    }

    fn judged(&mut self, at_unix_ns: u64, events: &[(usize, Event)]) {
        if events.is_empty() {
            return;
        }
        let thresholds = self.thresholds.len();
        if let Some(part) = self.part(at_unix_ns) {
            part.judged.resize(thresholds, Slice::default());
            events.iter().for_each(|(place, event)| part.judged[*place].add(*event));
        }
    }

    fn load(&mut self, node: &str, at_unix_ns: u64, load: &LoadSample) {
        let mut sum = LoadCounts::default();
        for scenario in &load.scenarios {
            let Some((now, before)) = self.followed.follow(node, scenario) else { continue };
            // What a node did before its first sample belongs to no window.
            sum.plus(&now.since(&before.unwrap_or(now)));
        }
        let events = self.thresholds.iter().enumerate();
        let events = events.filter_map(|(at, threshold)| Some((at, threshold.metric.of_load(&sum)?)));
        let events: Vec<_> = events.collect();
        self.judged(at_unix_ns, &events);
        let limits = load.generator.limits.iter();
        let limits: Vec<_> = limits
            .filter(|limit| limit.now && limit.what != LimitKind::Dropped)
            .map(|limit| (limit.what, limit.place.clone(), limit.to_string()))
            .collect();
        if let Some(part) = self.part(at_unix_ns) {
            part.load.plus(&sum);
            part.limit(&limits);
        }
    }

    /// The part for this time; none if it was discarded, or is too far ahead.
    fn part(&mut self, at_unix_ns: u64) -> Option<&mut Kept> {
        let number = at_unix_ns / PART_NS;
        if self.parts.is_empty() {
            self.first = self.first.max(number);
        }
        let place = usize::try_from(number.checked_sub(self.first)?).ok()?;
        if place >= 2 * MAX_PARTS {
            return None;
        }
        if place >= self.parts.len() {
            self.parts.resize(place + 1, Kept::default());
        }
        let surplus = self.parts.len().saturating_sub(MAX_PARTS);
        self.parts.drain(..surplus);
        self.first += surplus as u64;
        self.parts.get_mut(place.checked_sub(surplus)?)
    }
}

impl Kept {
    fn plus(&mut self, other: &Self) {
        for (ours, theirs) in self.judged.iter_mut().zip(&other.judged) {
            ours.plus(theirs);
        }
        self.chains.plus(&other.chains);
        for (ours, theirs) in self.ended_by_chain.iter_mut().zip(other.ended_by_chain) {
            *ours += theirs;
        }
        other.failures.iter().for_each(|failure| add_failure(&mut self.failures, failure));
        self.certificates += other.certificates;
        self.local += other.local;
        self.load.plus(&other.load);
        self.limit(&other.limited);
    }

    fn limit(&mut self, limits: &[(LimitKind, String, String)]) {
        for limit in limits {
            let same = |known: &(LimitKind, String, String)| (known.0, &known.1) == (limit.0, &limit.1);
            match self.limited.iter().position(same) {
                // The time of one limit grows, so its last text is the most complete.
                Some(place) => self.limited[place].clone_from(limit),
                None if self.limited.len() < MAX_LIMITS => self.limited.push(limit.clone()),
                None => {}
            }
        }
    }
}

/// With too few samples for a percentile, the threshold is judged by how many samples are beyond the limit:
/// short windows at low rates never have a thousand samples, and a step must end with a verdict.
fn judge(threshold: &Threshold, slice: &Slice, over_ns: u64) -> WindowThreshold {
    let Threshold { metric, op, limit, .. } = threshold;
    let (unit, limit) = (metric.unit(), limit.value());
    let n = if unit == Unit::Ns { slice.n } else { slice.count };
    let value = slice.value(metric, over_ns);
    let (mut passed, mut beyond) = (value.map(|value| op.holds(value, limit)), None);
    if let (None, Some(per_mille)) = (value, percentile_of(metric))
        && op.wants_little()
        && n > 0
    {
        let found = slice.beyond(*op, limit);
        let allowed = (n * (1_000 - u64::from(per_mille))).div_ceil(1_000);
        passed = Some(found <= allowed);
        beyond = Some(found);
    }
    let value = value.map(|value| rounded(value, unit));
    WindowThreshold { expression: threshold.to_string(), unit, value, passed, n, beyond }
}

const fn percentile_of(metric: &Metric) -> Option<u16> {
    match metric {
        Metric::Chain(_, Stat::Time(_, Of::Percentile(per_mille)))
        | Metric::Requests(_, Stat::Time(_, Of::Percentile(per_mille))) => Some(*per_mille),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use wec_record::{GeneratorSample, Limit, RequestResult, ScenarioSample};

    use super::*;

    const START: u64 = 1_795_254_960_000_000_000;
    const MS: u64 = 1_000_000;

    fn chain(at_ms: u64, took_ms: u64, successful: bool) -> Record {
        let result = ChainResult {
            chain: Some(Chain::Certificate),
            successful,
            issued: successful,
            took: took_ms * MS,
            done: at_ms * MS,
            ..ChainResult::default()
        };
        Record::Chain { node: "r1".to_owned(), origin_unix_ns: START, result }
    }

    fn load(at_ms: u64, due: u64, dropped: u64, limit: Option<LimitKind>) -> Record {
        let scenario = ScenarioSample {
            name: "default".to_owned(),
            rate_unit: "chains".to_owned(),
            due,
            dropped,
            started: due - dropped,
            ended: due - dropped,
            asked: due,
            ..ScenarioSample::default()
        };
        let limits = limit.map(|what| Limit { what, now: true, total_ns: at_ms * MS, ..Limit::default() });
        let generator =
            GeneratorSample { limits: limits.into_iter().collect(), ..GeneratorSample::default() };
        let load = LoadSample { scenarios: vec![scenario], generator, ..LoadSample::default() };
        Record::Load { node: "r1".to_owned(), seq: 0, at_unix_ns: START + at_ms * MS, load }
    }

    fn windows(thresholds: &[&str], records: impl IntoIterator<Item = Record>) -> Windows {
        let mut windows = Windows::new(thresholds.iter().map(|text| text.parse().unwrap()).collect());
        records.into_iter().for_each(|record| windows.record(&record));
        windows
    }

    fn between(windows: &Windows, from_ms: u64, to_ms: u64) -> WindowFigures {
        windows.figures(START + from_ms * MS..START + to_ms * MS)
    }

    /// Ten chains per second, one in ten failed; each second's time in milliseconds is its number times ten.
    fn run() -> Vec<Record> {
        let chains = (0..100).map(|n| chain(100 * n, 10 * (n / 10 + 1), n % 10 != 9));
        chains.chain((0..=10).map(|second| load(1_000 * second, 10 * second, second, None))).collect()
    }

    #[test]
    fn a_window_contains_only_its_own_time() {
        let windows = windows(&["chain{failed} < 5%", "dropped < 20%", "chain{p(50)} < 45ms"], run());
        let figures = between(&windows, 2_000, 6_000);
        assert_eq!((figures.over_ns, figures.ended, figures.failed, figures.n), (4_000 * MS, 40, 4, 36));
        assert_eq!((figures.due, figures.dropped, figures.started), (40, 4, 36));
        assert_eq!((figures.certificates, figures.mean_ns), (36, Some(45 * MS)));
        assert_eq!(figures.p99_ns, None, "36 samples do not suffice for a 99th percentile");
        let p50 = figures.p50_ns.unwrap() as f64;
        assert!((p50 / (40.0 * MS as f64) - 1.0).abs() < 0.001, "{p50}");
        let judged: Vec<_> =
            figures.thresholds.iter().map(|one| (one.value.map(|value| value as f32), one.passed)).collect();
        assert_eq!(judged[..2], [(Some(0.1), Some(false)), (Some(0.1), Some(true))]);
        assert_eq!(judged[2].1, Some(true));
        assert_eq!(figures.parts.len(), 16);
        assert_eq!(figures.parts.iter().map(|part| part.ended).sum::<u64>(), 40);

        let nothing = between(&windows, 20_000, 21_000);
        assert_eq!((nothing.ended, nothing.parts.len(), nothing.thresholds[0].passed), (0, 4, None));
    }

    #[test]
    fn a_withheld_percentile_is_judged_by_the_samples_beyond_the_bound() {
        let of = |slow: u64| {
            let records = (0..100).map(|n| chain(n, if n < slow { 500 } else { 10 }, true));
            between(&windows(&["chain{p(99)} < 100ms"], records), 0, 1_000).thresholds.remove(0)
        };
        for (slow, passed) in [(0, true), (1, true), (2, false)] {
            let judged = of(slow);
            assert_eq!(
                (judged.value, judged.beyond, judged.passed),
                (None, Some(slow), Some(passed)),
                "{slow} of 100"
            );
        }
    }

    #[test]
    fn the_load_testers_limits_are_reported_without_dropped_iterations() {
        let records = [
            load(500, 0, 0, Some(LimitKind::Lag)),
            load(900, 0, 0, Some(LimitKind::Lag)),
            load(950, 9, 9, Some(LimitKind::Dropped)),
        ];
        let windows = windows(&[], records);
        assert_eq!(between(&windows, 0, 1_000).limited.len(), 1);
        assert!(between(&windows, 1_000, 2_000).limited.is_empty());
    }

    #[test]
    fn refusals_of_this_machine_limit_before_a_sample_reports_them() {
        let mut local = chain(100, 10, false);
        if let Record::Chain { result, .. } = &mut local {
            result.class = Some(FailureClass::Local);
        }
        let windows = windows(&[], [chain(50, 10, true), local]);
        let figures = between(&windows, 0, 1_000);
        assert_eq!((figures.local, figures.failed), (1, 1));
        assert!(figures.limited[0].starts_with("1 chain failed because this machine refused"), "{figures:?}");
    }

    /// For example, an authorization was refused and a later poll failed for another reason.
    #[test]
    fn a_failure_has_the_status_and_problem_that_decided_it() {
        let mut refused = chain(100, 10, false);
        let Record::Chain { result, .. } = &mut refused else { panic!("a chain") };
        (result.class, result.status, result.problem) = (Some(FailureClass::Problem), 403, "caa".into());
        result.requests.push(RequestResult {
            status: 503,
            problem: "busy".into(),
            ..RequestResult::default()
        });
        let figures = between(&windows(&[], [refused]), 0, 1_000);
        let failures: Vec<_> =
            figures.failures.iter().map(|failure| (failure.status, failure.problem.as_str())).collect();
        assert_eq!(failures, [(403, "caa")]);
    }

    #[test]
    fn late_records_of_a_dropped_time_are_ignored_and_memory_is_bounded() {
        let mut windows = windows(&[], run());
        windows.forget_before(START + 5_000 * MS);
        assert_eq!(between(&windows, 0, 5_000).ended, 0);
        assert_eq!(between(&windows, 0, 10_000).ended, 50);
        windows.record(&chain(1_000, 1, true));
        assert_eq!(between(&windows, 0, 10_000).ended, 50, "the late record is ignored");
        for hour in 0..5 {
            windows.record(&chain(3_600_000 * hour + 10_000, 1, true));
        }
        // A record of a wrong clock.
        windows.record(&chain(1 << 42, 1, true));
        assert!(windows.parts.len() <= MAX_PARTS);
        assert_eq!(between(&windows, 3_600_000 * 4, 3_600_000 * 4 + 20_000).ended, 1);
    }
}
