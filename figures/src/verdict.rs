//! Evaluates thresholds: the run's verdict, live and in a replay of the log.
//!
//! Everything follows from the records in the order of the log; no clock is read. So a replay gives the same
//! verdicts, including those made during the run: the worst window, and which threshold ended the run.
//!
//! Each threshold has a tally. One with a window also has a tally for every second of the window and of the
//! time in which its results can still arrive. So memory does not depend on the run's length.

mod metric;
mod window;

use std::collections::{BTreeMap, HashMap};

use wec_record::threshold::{Metric, Of, Threshold, Unit};
use wec_record::{ChainResult, LoadSample, LoadState, MarkBy, Record, ScenarioSample};

use self::metric::{Counts, Reached, key_of};
pub(crate) use self::metric::{Event, Sees, Slice, rounded};
use self::window::Window;
use crate::counts::{Followed, Shortfall};
use crate::distribution::Times;
use crate::snapshot::ThresholdResult;

pub(crate) const SECOND: u64 = 1_000_000_000;
/// A second is complete after this delay: results reach the log within some tenths of a second.
const SETTLE_S: u64 = 2;
/// A record further ahead of all earlier ones has a wrong clock and moves no window.
const MAX_JUMP_S: u64 = 86_400;
const MAX_PAUSES: usize = 1_000;

/// The thresholds of a run and their state.
#[derive(Clone, Debug, Default)]
pub(crate) struct RunVerdict {
    judges: Vec<ThresholdJudge>,
    load_time: LoadTime,
    /// Before this time nothing is judged: the end of the warm-up, or 0.
    warm_until: u64,
    latest_unix_ns: u64,
    /// The first second that is not complete.
    next: u64,
    followed: Followed,
    /// Iterations in flight at the last sample of the warm-up, by node and scenario. They are achieved after it, and
    /// were required before.
    carried: HashMap<(String, u64), u64>,
    /// What no node had as its part, by scenario.
    shortfalls: BTreeMap<String, (Shortfall, i64)>,
    /// Whether a threshold has ended the run, according to the log.
    cut_short: bool,
}

/// The time with load, in seconds since the Unix epoch.
#[derive(Clone, Debug, Default)]
struct LoadTime {
    started_unix_ns: u64,
    /// Pauses; the last one is open while it lasts.
    pauses: Vec<(u64, Option<u64>)>,
    /// When the session was stopped: later records are not load.
    stopped: Option<u64>,
}

#[derive(Clone, Debug)]
struct ThresholdJudge {
    threshold: Threshold,
    total: Tally,
    window: Option<Window>,
    /// The second at whose end it failed after its grace, which ends the run.
    tripped: Option<u64>,
    /// Its value in that second.
    tripped_by: Option<f64>,
}

/// The data for a value.
#[derive(Clone, Debug, Default)]
struct Tally {
    /// Number of the metric's events: iterations, requests, POSTs, due iterations.
    count: u64,
    /// Number of those that failed, or were dropped or refused.
    bad: u64,
    /// Achieved and required by scenario.
    reached: Reached,
    min: Option<u64>,
    times: Times,
}

impl RunVerdict {
    /// For a run that started at this time, with a warm-up of so many nanoseconds.
    pub(crate) fn new(thresholds: &[Threshold], started_unix_ns: u64, warm_up_ns: u64) -> Self {
        let (run_started, started_unix_ns) = (started_unix_ns, started_unix_ns.saturating_add(warm_up_ns));
        let warm_until = if started_unix_ns > run_started { started_unix_ns } else { 0 };
        let next = started_unix_ns.div_ceil(SECOND);
        let judges = thresholds.iter().cloned().map(|threshold| ThresholdJudge {
            window: threshold.window.map(|window| Window::new(window.as_secs(), next)),
            threshold,
            total: Tally::default(),
            tripped: None,
            tripped_by: None,
        });
        Self {
            judges: judges.collect(),
            load_time: LoadTime { started_unix_ns, ..LoadTime::default() },
            warm_until,
            latest_unix_ns: started_unix_ns,
            next,
            ..Self::default()
        }
    }

    pub(crate) fn record(&mut self, record: &Record) {
        if self.judges.is_empty() {
            return;
        }
        match record {
            Record::Header(_)
            | Record::Footer(_)
            | Record::Hit { .. }
            | Record::Lost { .. }
            | Record::Event(_)
            | Record::Observation(_)
            | Record::Unknown(_) => {}
            Record::Chain { origin_unix_ns, result, .. } => self.chain(*origin_unix_ns, result),
            Record::Load { node, at_unix_ns, load, .. } => {
                self.load(node, *at_unix_ns, load);
                self.reach(*at_unix_ns);
            }
            Record::State { at_unix_ns, .. } => self.reach(*at_unix_ns),
            Record::Mark(mark) => {
                if let Some(state) = mark.new_state() {
                    self.state(mark.at_unix_ns / SECOND, &mark.by, state);
                }
            }
        }
    }

    /// Adds the data of `other`, except its windows.
    pub(crate) fn merge(&mut self, other: Self) {
        if self.judges.is_empty() {
            *self = other;
            return;
        }
        self.latest_unix_ns = self.latest_unix_ns.max(other.latest_unix_ns);
        self.cut_short |= other.cut_short;
        for (ours, theirs) in self.judges.iter_mut().zip(other.judges) {
            ours.total.merge(theirs.total);
            ours.tripped = ours.tripped.into_iter().chain(theirs.tripped).min();
        }
    }

    /// The result of each threshold. Rates are over the part of `elapsed_ns` without pauses.
    pub(crate) fn results(&self, elapsed_ns: u64) -> Vec<ThresholdResult> {
        let elapsed_ns = self
            .load_time
            .active_ns(elapsed_ns, self.load_time.started_unix_ns.saturating_add(elapsed_ns) / SECOND);
        let first = self.judges.iter().filter_map(|judge| judge.tripped).min();
        let end = self.latest_unix_ns / SECOND;
        let result = |judge: &ThresholdJudge| {
            // Incomplete seconds are judged on a copy, because the run may end here.
            let mut window = judge.window.clone();
            if let Some(window) = &mut window {
                (self.next..end).for_each(|second| window.enter(second, &judge.threshold, &self.load_time));
            }
            let aborted = self.cut_short && judge.tripped.is_some() && judge.tripped == first;
            judge.result(window.as_ref(), elapsed_ns, aborted)
        };
        self.judges.iter().map(result).collect()
    }

    /// Whether a threshold may end the run.
    pub(crate) fn may_end(&self) -> bool {
        self.judges.iter().any(|judge| judge.threshold.abort)
    }

    /// The threshold that ends the run, until the log has the mark of that end.
    pub(crate) fn wants_end(&self) -> Option<&Threshold> {
        let tripped = self.judges.iter().filter(|judge| judge.tripped.is_some());
        let first = tripped.min_by_key(|judge| judge.tripped)?;
        (!self.cut_short && self.load_time.stopped.is_none()).then_some(&first.threshold)
    }

    fn chain(&mut self, origin: u64, result: &ChainResult) {
        for request in &result.requests {
            let at = origin.saturating_add(request.done);
            if at < self.warm_until {
                continue;
            }
            let second = at / SECOND;
            for judge in &mut self.judges {
                if let Some(event) = judge.threshold.metric.of_request(request) {
                    judge.add(second, event);
                }
            }
        }
        let done = origin.saturating_add(result.done);
        if done < self.warm_until {
            return;
        }
        for judge in &mut self.judges {
            if let Some(event) = judge.threshold.metric.of_chain(result) {
                judge.add(done / SECOND, event);
            }
        }
        self.reach(done);
    }

    fn load(&mut self, node: &str, at_unix_ns: u64, load: &LoadSample) {
        let second = at_unix_ns / SECOND;
        for scenario in &load.scenarios {
            let Some((now, before)) = self.followed.follow(node, scenario) else { continue };
            let done = now.since(&before.unwrap_or_default());
            let key = key_of(&scenario.name);
            let missing = self.missing(node, at_unix_ns, scenario);
            let here = (node.to_owned(), key);
            if at_unix_ns < self.warm_until {
                self.carried.insert(here, scenario.in_flight());
                continue;
            }
            let carried = self.carried.remove(&here).unwrap_or(0).cast_signed();
            for judge in &mut self.judges {
                if let Some(event) = judge.threshold.metric.of_load(&done) {
                    let asked =
                        event.asked.map(|asked| asked.saturating_add(missing).saturating_add(carried));
                    judge.add(second, Event { scenario: key, asked, ..event });
                }
            }
        }
    }

    /// By how much the part of a scenario's target that no node had has grown since the last sample of any node.
    fn missing(&mut self, node: &str, at_unix_ns: u64, sample: &ScenarioSample) -> i64 {
        if sample.rate_target_of_all.is_none() || self.judges.is_empty() {
            return 0;
        }
        let (shortfall, known) = self.shortfalls.entry(sample.name.clone()).or_default();
        shortfall.add(node, at_unix_ns, sample);
        let now = shortfall.missing().round() as i64;
        now - std::mem::replace(known, now)
    }

    fn state(&mut self, second: u64, by: &MarkBy, to: LoadState) {
        let LoadTime { pauses, stopped, .. } = &mut self.load_time;
        let known = pauses.len();
        let open = pauses.last_mut().filter(|(_, end)| end.is_none());
        match (to, open) {
            (LoadState::Running, Some((_, end))) => *end = Some(second + 1),
            // When the list of pauses is full, further pauses are judged as load.
            (LoadState::Paused, None) if known < MAX_PAUSES => pauses.push((second, None)),
            (LoadState::Stopped, _) => {
                *stopped = stopped.or(Some(second));
                self.cut_short |= *by == MarkBy::Threshold;
            }
            _ => {}
        }
    }

    /// Advances to the latest record, and judges the seconds before it.
    fn reach(&mut self, at_unix_ns: u64) {
        if at_unix_ns.saturating_sub(self.latest_unix_ns) / SECOND > MAX_JUMP_S {
            return;
        }
        self.latest_unix_ns = self.latest_unix_ns.max(at_unix_ns);
        let end = (self.latest_unix_ns / SECOND).saturating_sub(SETTLE_S);
        if end <= self.next {
            return;
        }
        for judge in &mut self.judges {
            if let Some(window) = &mut judge.window {
                (self.next..end).for_each(|second| window.enter(second, &judge.threshold, &self.load_time));
            }
        }
        self.next = end;
        // A run is ended once; a threshold that fails afterwards has not ended it.
        if self.load_time.stopped.is_none() && self.judges.iter().all(|judge| judge.tripped.is_none()) {
            let elapsed_ns = self.latest_unix_ns.saturating_sub(self.load_time.started_unix_ns);
            let elapsed_ns = self.load_time.active_ns(elapsed_ns, end);
            for judge in &mut self.judges {
                judge.trip(&self.load_time, elapsed_ns, end);
            }
        }
    }
}

impl LoadTime {
    /// Whether a window of these seconds (inclusive) is judged: it begins after the grace, and there is load
    /// in all of it. Pauses and the end of the load are not judged.
    fn judges(&self, threshold: &Threshold, first: u64, last: u64) -> bool {
        first >= self.after_grace(threshold).div_ceil(SECOND)
            && self.stopped.is_none_or(|stopped| last < stopped)
            && !self.pauses.iter().any(|&(from, to)| from <= last && to.is_none_or(|to| first < to))
    }

    /// The part of `elapsed_ns` until `second` without pauses, which are whole seconds.
    fn active_ns(&self, elapsed_ns: u64, second: u64) -> u64 {
        let paused = |&(from, to): &(u64, Option<u64>)| {
            // The second of the resume is part of the pause for windows, and of the load for rates.
            to.map_or(second, |to| to - 1).min(second).saturating_sub(from)
        };
        let paused: u64 = self.pauses.iter().map(paused).sum();
        elapsed_ns.saturating_sub(paused.saturating_mul(SECOND))
    }

    fn after_grace(&self, threshold: &Threshold) -> u64 {
        let grace_ns = u64::try_from(threshold.grace.as_nanos()).unwrap_or(u64::MAX);
        self.started_unix_ns.saturating_add(grace_ns)
    }
}

impl Tally {
    fn add(&mut self, event: Event) {
        self.count += event.count;
        self.bad += event.bad;
        self.reached.add(event);
        if let Some(took) = event.took {
            self.min = Some(self.min.map_or(took, |min| min.min(took)));
            self.times.record(took);
        }
    }

    fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.bad += other.bad;
        self.reached.plus_all(&other.reached);
        self.min = self.min.into_iter().chain(other.min).min();
        self.times.merge(other.times);
    }

    fn value(&self, metric: &Metric, over_ns: u64) -> Option<f64> {
        let counts = Counts { count: self.count, bad: self.bad, reached: &self.reached, over_ns };
        counts.value(metric).or_else(|| {
            let of = metric.time()?;
            let ns = match of {
                Of::Percentile(per_mille) => self.times.percentile(u64::from(per_mille)),
                Of::Avg => self.times.timing().mean,
                Of::Max => self.times.timing().max,
                Of::Min => self.min,
            };
            ns.map(|ns| ns as f64)
        })
    }

    fn samples(&self, metric: &Metric) -> u64 {
        if metric.unit() == Unit::Ns { self.times.count() } else { self.count }
    }
}

impl ThresholdJudge {
    fn add(&mut self, second: u64, event: Event) {
        self.total.add(event);
        if let Some(window) = &mut self.window {
            window.add(second, event);
        }
    }

    fn holds(&self, value: f64) -> bool {
        self.threshold.op.holds(value, self.threshold.limit.value())
    }

    /// Records the second in which it failed so that the run ends.
    fn trip(&mut self, load_time: &LoadTime, elapsed_ns: u64, second: u64) {
        if !self.threshold.abort {
            return;
        }
        let failed_by = match &self.window {
            Some(window) => window.worst.filter(|_| window.failed > 0).map(|worst| worst.value),
            None => {
                let graced = second.saturating_mul(SECOND) >= load_time.after_grace(&self.threshold);
                let value = self.total.value(&self.threshold.metric, elapsed_ns);
                value.filter(|value| graced && !self.holds(*value))
            }
        };
        if let Some(value) = failed_by {
            self.tripped = Some(second);
            self.tripped_by = Some(value);
        }
    }

    fn result(&self, window: Option<&Window>, elapsed_ns: u64, aborted: bool) -> ThresholdResult {
        let Threshold { metric, limit, .. } = &self.threshold;
        let (value, n, at, windows, windows_failed) = match window {
            Some(window) => (
                window.worst.map(|worst| worst.value),
                window.worst.map_or(0, |worst| worst.n),
                window.worst.map(|worst| worst.first.saturating_mul(SECOND)),
                Some(window.judged),
                Some(window.failed),
            ),
            None => {
                let now = self.total.value(metric, elapsed_ns);
                let value = if self.tripped.is_some() { self.tripped_by } else { now };
                (value, self.total.samples(metric), None, None, None)
            }
        };
        let unit = metric.unit();
        ThresholdResult {
            expression: self.threshold.to_string(),
            unit,
            value: value.map(|value| rounded(value, unit)),
            limit: limit.value(),
            // Judges the exact value, not the rounded one, so that both agree at the limit.
            passed: value.map(|value| self.tripped.is_none() && self.holds(value)),
            n,
            windows,
            windows_failed,
            worst_unix_ns: at,
            aborted,
        }
    }
}

#[cfg(test)]
mod tests;
