//! Thresholds held against records: the run's verdict, live and again in a replay of the log.
//!
//! Everything follows from the records in the order of the log, and nothing from a clock. So a replay ends with equal
//! verdicts, even of what was decided on the way: the worst window, and which threshold cut the run short.
//!
//! Each threshold has a tally of its own. One with a window also has a tally of every second of that window and of those
//! whose results may still come, and no more: memory is bounded whatever the run's length.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use wec_record::threshold::{Clock, Metric, Of, Op, Requests, Stat, Threshold, Unit};
use wec_record::{Chain, ChainResult, FailureClass, LoadSample, Record, RequestResult};

use crate::aggregate::times::{LONGEST_NS, Times, may_be_named, nearest_rank};
use crate::counts::{Followed, LoadCounts};
use crate::snapshot::ThresholdResult;

pub(crate) const SECOND: u64 = 1_000_000_000;
/// A second is settled this much later: results reach the log within some tenths of a second.
const SETTLE_S: u64 = 2;
/// A record that is further ahead of all before it has a wrong clock, and moves no window.
const MAX_JUMP_S: u64 = 86_400;
const MAX_PAUSES: usize = 1_000;

/// The thresholds of a run, and how far it meets them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict {
    judges: Vec<Judge>,
    course: Course,
    latest_unix_ns: u64,
    /// The first second that is not settled.
    next: u64,
    followed: Followed,
    /// Whether a threshold has ended the run, by the log.
    cut_short: bool,
}

/// When there was load at all, in seconds since the Unix epoch.
#[derive(Clone, Debug, Default)]
struct Course {
    started_unix_ns: u64,
    /// In which it rested; the last one is open while it does.
    pauses: Vec<(u64, Option<u64>)>,
    /// When the session was stopped: what comes after it is an end, and no load.
    stopped: Option<u64>,
}

#[derive(Clone, Debug)]
struct Judge {
    threshold: Threshold,
    total: Tally,
    window: Option<Window>,
    /// The second at whose end it failed past its grace, so that the run was to be ended.
    tripped: Option<u64>,
    /// What it was then.
    tripped_by: Option<f64>,
}

/// What a value is made of.
#[derive(Clone, Debug, Default)]
struct Tally {
    /// Of the things that the metric is about: iterations, requests, POSTs, due iterations.
    count: u64,
    /// Those of them that were not as they should be.
    bad: u64,
    /// What scenarios reached of what was asked of them.
    reached: Reached,
    min: Option<u64>,
    times: Times,
}

/// A happening, as a metric sees it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Event {
    pub(crate) count: u64,
    pub(crate) bad: u64,
    /// How many of these a target asked for, where that is what matters.
    pub(crate) asked: Option<u64>,
    /// Of which scenario that is; see [`key_of`].
    pub(crate) scenario: u64,
    pub(crate) took: Option<u64>,
}

impl Event {
    pub(crate) const ONE: Self = Self { count: 1, bad: 0, asked: None, scenario: 0, took: None };
}

impl Verdict {
    /// Begins to judge a run that started then.
    pub(crate) fn new(thresholds: &[Threshold], started_unix_ns: u64) -> Self {
        let next = started_unix_ns.div_ceil(SECOND);
        let judges = thresholds.iter().cloned().map(|threshold| Judge {
            window: threshold.window.map(|window| Window::new(window.as_secs(), next)),
            threshold,
            total: Tally::default(),
            tripped: None,
            tripped_by: None,
        });
        Self {
            judges: judges.collect(),
            course: Course { started_unix_ns, ..Course::default() },
            latest_unix_ns: started_unix_ns,
            next,
            ..Self::default()
        }
    }

    /// Counts one record.
    pub(crate) fn record(&mut self, record: &Record) {
        if self.judges.is_empty() {
            return;
        }
        match record {
            Record::Header(_) | Record::Hit { .. } | Record::Lost { .. } => {}
            Record::Chain { origin_unix_ns, result, .. } => self.chain(*origin_unix_ns, result),
            Record::Load { node, at_unix_ns, load, .. } => {
                self.load(node, *at_unix_ns, load);
                self.reach(*at_unix_ns);
            }
            Record::State { at_unix_ns, .. } => self.reach(*at_unix_ns),
            Record::Mark { at_unix_ns, by, what, to, .. } if what == "state" => {
                self.state(*at_unix_ns / SECOND, by, to);
            }
            Record::Mark { .. } => {}
        }
    }

    /// Adds what `other` has seen; its windows are judged apart.
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

    /// Each threshold as it stands, for rates over what of `elapsed_ns` was not paused.
    pub(crate) fn results(&self, elapsed_ns: u64) -> Vec<ThresholdResult> {
        let elapsed_ns = self
            .course
            .active_ns(elapsed_ns, self.course.started_unix_ns.saturating_add(elapsed_ns) / SECOND);
        let first = self.judges.iter().filter_map(|judge| judge.tripped).min();
        let end = self.latest_unix_ns / SECOND;
        let result = |judge: &Judge| {
            // What is not settled yet is judged as far as it is known, on a copy: the run may end here.
            let mut window = judge.window.clone();
            if let Some(window) = &mut window {
                (self.next..end).for_each(|second| window.enter(second, &judge.threshold, &self.course));
            }
            let aborted = self.cut_short && judge.tripped.is_some() && judge.tripped == first;
            judge.result(window.as_ref(), elapsed_ns, aborted)
        };
        self.judges.iter().map(result).collect()
    }

    /// The threshold that wants the run to be ended, until the log says that it was.
    pub(crate) fn wants_end(&self) -> Option<&Threshold> {
        let tripped = self.judges.iter().filter(|judge| judge.tripped.is_some());
        let first = tripped.min_by_key(|judge| judge.tripped)?;
        (!self.cut_short && self.course.stopped.is_none()).then_some(&first.threshold)
    }

    fn chain(&mut self, origin: u64, result: &ChainResult) {
        for request in &result.requests {
            let second = origin.saturating_add(request.done) / SECOND;
            for judge in &mut self.judges {
                if let Some(event) = judge.threshold.metric.of_request(request) {
                    judge.add(second, event);
                }
            }
        }
        let done = origin.saturating_add(result.done);
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
            for judge in &mut self.judges {
                if let Some(event) = judge.threshold.metric.of_load(&done) {
                    judge.add(second, Event { scenario: key, ..event });
                }
            }
        }
    }

    fn state(&mut self, second: u64, by: &str, to: &str) {
        let Course { pauses, stopped, .. } = &mut self.course;
        let known = pauses.len();
        let open = pauses.last_mut().filter(|(_, end)| end.is_none());
        match (to, open) {
            ("running", Some((_, end))) => *end = Some(second + 1),
            // After the last that is remembered, a pause is judged as load.
            ("paused", None) if known < MAX_PAUSES => pauses.push((second, None)),
            ("stopped", _) => {
                *stopped = stopped.or(Some(second));
                self.cut_short |= by == "threshold";
            }
            _ => {}
        }
    }

    /// Goes on to the latest record, and settles what it leaves behind.
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
                (self.next..end).for_each(|second| window.enter(second, &judge.threshold, &self.course));
            }
        }
        self.next = end;
        // A run is ended once; what fails while it ends has not ended it.
        if self.course.stopped.is_none() && self.judges.iter().all(|judge| judge.tripped.is_none()) {
            let elapsed_ns = self.latest_unix_ns.saturating_sub(self.course.started_unix_ns);
            let elapsed_ns = self.course.active_ns(elapsed_ns, end);
            for judge in &mut self.judges {
                judge.trip(&self.course, elapsed_ns, end);
            }
        }
    }
}

impl Course {
    /// Whether a window of these seconds, both inside, is to be judged: it begins after the grace, and all of it is of the
    /// load. Nothing is asked of a load that rests, or has ended.
    fn judges(&self, threshold: &Threshold, first: u64, last: u64) -> bool {
        first >= self.after_grace(threshold).div_ceil(SECOND)
            && self.stopped.is_none_or(|stopped| last < stopped)
            && !self.pauses.iter().any(|&(from, to)| from <= last && to.is_none_or(|to| first < to))
    }

    /// What of some time until a second was not paused, with pauses in whole seconds.
    fn active_ns(&self, elapsed_ns: u64, second: u64) -> u64 {
        let paused = |&(from, to): &(u64, Option<u64>)| {
            // The second in which it went on is a part of the pause for windows, and of the load for rates.
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

/// What a metric makes of what happened.
pub(crate) trait Sees {
    /// Which of the times it is about; none for one about anything else.
    fn time(&self) -> Option<Of>;
    fn of_chain(&self, result: &ChainResult) -> Option<Event>;
    fn of_request(&self, request: &RequestResult) -> Option<Event>;
    fn of_load(&self, done: &LoadCounts) -> Option<Event>;
}

impl Sees for Metric {
    fn time(&self) -> Option<Of> {
        match self {
            Self::Chain(_, Stat::Time(_, of)) | Self::Requests(_, Stat::Time(_, of)) => Some(*of),
            _ => None,
        }
    }

    fn of_chain(&self, result: &ChainResult) -> Option<Event> {
        let chain = result.chain?;
        match self {
            Self::Chain(wanted, stat) if wanted.is_none_or(|wanted| wanted == chain) => {
                let service =
                    if result.done == 0 { result.took } else { result.done.saturating_sub(result.started) };
                Some(Event {
                    bad: u64::from(!result.successful),
                    took: stat.time_of(result.successful, result.took, service),
                    ..Event::ONE
                })
            }
            Self::Certificates => {
                let certificate = matches!(chain, Chain::Certificate | Chain::Refresh);
                (certificate && result.successful).then_some(Event::ONE)
            }
            // A chain that failed by a request that is counted already is not counted again.
            Self::Errors(wanted) => {
                let class = (!result.successful).then_some(result.class);
                let counted = class.is_some_and(|class| {
                    !result.requests.iter().any(|request| !request.successful && request.class == class)
                });
                (counted && is_wanted(*wanted, result.class)).then_some(Event::ONE)
            }
            _ => None,
        }
    }

    fn of_request(&self, request: &RequestResult) -> Option<Event> {
        match self {
            Self::Requests(wanted, stat) if wanted.fit(request) => {
                let service = if request.done == 0 { request.took } else { request.service_time() };
                // Whoever asks for a status asks for the times of just those, failed or not.
                let timed = request.successful || wanted.status.is_some();
                Some(Event {
                    bad: u64::from(!request.successful),
                    took: stat.time_of(timed, request.took, service),
                    ..Event::ONE
                })
            }
            Self::Errors(wanted) => {
                (!request.successful && is_wanted(*wanted, request.class)).then_some(Event::ONE)
            }
            Self::NoncesRejected => (request.method == "POST").then(|| Event {
                bad: u64::from(request.class == Some(FailureClass::BadNonce)),
                ..Event::ONE
            }),
            _ => None,
        }
    }

    fn of_load(&self, done: &LoadCounts) -> Option<Event> {
        match self {
            Self::Achieved => {
                Some(Event { count: done.achieved, asked: Some(done.asked), ..Event::default() })
            }
            // The executor's own number: whether due counts what was dropped is its business, the share is of both.
            Self::Dropped => Some(Event { count: done.due, bad: done.dropped, ..Event::default() }),
            _ => None,
        }
    }
}

fn is_wanted(wanted: Option<FailureClass>, class: Option<FailureClass>) -> bool {
    wanted.is_none() || wanted == class
}

trait Fits {
    fn fit(&self, request: &RequestResult) -> bool;
}

impl Fits for Requests {
    fn fit(&self, request: &RequestResult) -> bool {
        self.endpoint.as_ref().is_none_or(|endpoint| *endpoint == request.endpoint)
            && self.method.as_ref().is_none_or(|method| *method == request.method)
            && self.status.is_none_or(|status| status.fits(request.status))
    }
}

trait Timed {
    fn time_of(self, timed: bool, response: u64, service: u64) -> Option<u64>;
}

impl Timed for Stat {
    fn time_of(self, timed: bool, response: u64, service: u64) -> Option<u64> {
        match self {
            Self::Time(clock, _) if timed => {
                Some(if clock == Clock::Response { response } else { service }.min(LONGEST_NS))
            }
            _ => None,
        }
    }
}

/// By scenario, what was reached and what was asked for. They may count in different units, and one that is starved must not
/// vanish beside one that is not: their shares are told apart.
#[derive(Clone, Debug, Default)]
struct Reached(BTreeMap<u64, (u64, u64)>);

impl Reached {
    fn add(&mut self, event: Event) {
        if let Some(asked) = event.asked {
            self.plus(event.scenario, (event.count, asked));
        }
    }

    fn plus(&mut self, scenario: u64, (count, asked): (u64, u64)) {
        let reached = self.0.entry(scenario).or_default();
        *reached = (reached.0 + count, reached.1 + asked);
    }

    fn plus_all(&mut self, other: &Self) {
        other.0.iter().for_each(|(scenario, reached)| self.plus(*scenario, *reached));
    }

    fn minus_all(&mut self, other: &Self) {
        for (scenario, (count, asked)) in &other.0 {
            if let Some(reached) = self.0.get_mut(scenario) {
                *reached = (reached.0 - count, reached.1 - asked);
            }
        }
    }

    /// The share of the scenario that is worst off; none where nothing was asked for.
    fn least(&self) -> Option<f64> {
        let asked = self.0.values().filter(|(_, asked)| *asked > 0);
        asked.map(|(count, asked)| *count as f64 / *asked as f64).min_by(f64::total_cmp)
    }
}

/// A scenario's name as a number.
fn key_of(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
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

/// All but times.
struct Counts<'a> {
    count: u64,
    bad: u64,
    reached: &'a Reached,
    over_ns: u64,
}

impl Counts<'_> {
    /// None where it cannot be given, and for times.
    fn value(&self, metric: &Metric) -> Option<f64> {
        let share = |part: u64, of: u64| (of > 0).then(|| part as f64 / of as f64);
        match metric {
            Metric::Chain(_, Stat::Count) | Metric::Requests(_, Stat::Count) | Metric::Errors(_) => {
                Some(self.count as f64)
            }
            Metric::Chain(_, Stat::Rate) | Metric::Requests(_, Stat::Rate) | Metric::Certificates => {
                (self.over_ns > 0).then(|| self.count as f64 * 1e9 / self.over_ns as f64)
            }
            Metric::Chain(_, Stat::Failed)
            | Metric::Requests(_, Stat::Failed)
            | Metric::NoncesRejected
            | Metric::Dropped => share(self.bad, self.count),
            Metric::Achieved => self.reached.least(),
            Metric::Chain(_, Stat::Time(..)) | Metric::Requests(_, Stat::Time(..)) => None,
        }
    }
}

impl Judge {
    fn add(&mut self, second: u64, event: Event) {
        self.total.add(event);
        if let Some(window) = &mut self.window {
            window.add(second, event);
        }
    }

    fn holds(&self, value: f64) -> bool {
        self.threshold.op.holds(value, self.threshold.limit.value())
    }

    /// Notes the second in which it has failed so that the run is to be ended.
    fn trip(&mut self, course: &Course, elapsed_ns: u64, second: u64) {
        if !self.threshold.abort {
            return;
        }
        let failed_by = match &self.window {
            Some(window) => window.worst.filter(|_| window.failed > 0).map(|worst| worst.value),
            None => {
                let graced = second.saturating_mul(SECOND) >= course.after_grace(&self.threshold);
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
            // The value itself, not what is left of its digits: both must not contradict each other at the limit.
            passed: value.map(|value| self.tripped.is_none() && self.holds(value)),
            n,
            windows,
            windows_failed,
            worst_unix_ns: at,
            aborted,
        }
    }
}

/// As many digits as mean something, and as every JSON reader gives back.
pub(crate) fn rounded(value: f64, unit: Unit) -> f64 {
    let to_one_in = match unit {
        Unit::Ns | Unit::Count => 1.0,
        Unit::Share => 1e6,
        Unit::PerSecond => 1e3,
    };
    (value * to_one_in).round() / to_one_in
}

/// The seconds of a sliding window, those whose results still come, and the worst window so far.
#[derive(Clone, Debug)]
struct Window {
    /// Seconds.
    width: u64,
    /// Number of the first second that is kept.
    first: u64,
    seconds: VecDeque<Slice>,
    /// All that is in the window now: the sum of its seconds.
    sum: Slice,
    /// Seconds in the sum, the first and the one behind the last.
    inside: (u64, u64),
    judged: u64,
    failed: u64,
    worst: Option<Worst>,
}

#[derive(Clone, Copy, Debug)]
struct Worst {
    value: f64,
    n: u64,
    /// Its first second.
    first: u64,
}

/// A second's tally, or a window's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slice {
    pub(crate) count: u64,
    pub(crate) bad: u64,
    reached: Reached,
    /// Of those that have a time.
    pub(crate) n: u64,
    pub(crate) sum: u128,
    /// Times by the cell that an HdrHistogram of three digits would count them in.
    cells: BTreeMap<u64, u64>,
}

impl Window {
    fn new(width: u64, first: u64) -> Self {
        Self {
            width,
            first,
            seconds: VecDeque::new(),
            sum: Slice::default(),
            inside: (first, first),
            judged: 0,
            failed: 0,
            worst: None,
        }
    }

    /// What came too late for its window is in the whole run's tally only.
    fn add(&mut self, second: u64, event: Event) {
        // Far beyond lies a wrong clock.
        let place = second.checked_sub(self.first).filter(|place| *place <= self.width + MAX_JUMP_S);
        let Some(place) = place.map(|place| place as usize) else { return };
        if place >= self.seconds.len() {
            self.seconds.resize(place + 1, Slice::default());
        }
        self.seconds[place].add(event);
        if (self.inside.0..self.inside.1).contains(&second) {
            self.sum.add(event);
        }
    }

    /// Slides on, so that `second` is the last one inside, and judges what is inside then.
    fn enter(&mut self, second: u64, threshold: &Threshold, course: &Course) {
        if let Some(slice) = second.checked_sub(self.first).and_then(|place| self.seconds.get(place as usize))
        {
            self.sum.plus(slice);
        }
        self.inside.1 = second + 1;
        while self.inside.1 - self.inside.0 > self.width {
            if let Some(slice) = self.seconds.pop_front() {
                self.sum.minus(&slice);
            }
            self.inside.0 += 1;
            self.first = self.inside.0;
        }
        if self.inside.1 - self.inside.0 == self.width && course.judges(threshold, self.inside.0, second) {
            self.judge(threshold, self.inside.0);
        }
    }

    fn judge(&mut self, threshold: &Threshold, first: u64) {
        let metric = &threshold.metric;
        let Some(value) = self.sum.value(metric, self.width * SECOND) else { return };
        self.judged += 1;
        self.failed += u64::from(!threshold.op.holds(value, threshold.limit.value()));
        let limit = threshold.limit.value();
        let worse = |worst: Worst| match threshold.op {
            Op::Equal => (value - limit).abs() > (worst.value - limit).abs(),
            op if op.wants_little() => value > worst.value,
            _ => value < worst.value,
        };
        if self.worst.is_none_or(worse) {
            let n = if metric.unit() == Unit::Ns { self.sum.n } else { self.sum.count };
            self.worst = Some(Worst { value, n, first });
        }
    }
}

impl Slice {
    pub(crate) fn add(&mut self, event: Event) {
        self.count += event.count;
        self.bad += event.bad;
        self.reached.add(event);
        if let Some(took) = event.took {
            self.n += 1;
            self.sum += u128::from(took);
            *self.cells.entry(cell_of(took)).or_default() += 1;
        }
    }

    pub(crate) fn plus(&mut self, other: &Self) {
        self.count += other.count;
        self.bad += other.bad;
        self.reached.plus_all(&other.reached);
        self.n += other.n;
        self.sum += other.sum;
        for (cell, count) in &other.cells {
            *self.cells.entry(*cell).or_default() += count;
        }
    }

    fn minus(&mut self, other: &Self) {
        self.count -= other.count;
        self.bad -= other.bad;
        self.reached.minus_all(&other.reached);
        self.n -= other.n;
        self.sum -= other.sum;
        for (cell, count) in &other.cells {
            let left = self.cells.get(cell).copied().unwrap_or(0).saturating_sub(*count);
            if left == 0 {
                self.cells.remove(cell);
            } else {
                self.cells.insert(*cell, left);
            }
        }
    }

    pub(crate) fn value(&self, metric: &Metric, over_ns: u64) -> Option<f64> {
        let counts = Counts { count: self.count, bad: self.bad, reached: &self.reached, over_ns };
        counts.value(metric).or_else(|| {
            let of = metric.time()?;
            let ns = match of {
                Of::Percentile(per_mille) => self.percentile(u64::from(per_mille))?,
                Of::Avg if self.n == 0 => return None,
                Of::Avg => (self.sum / u128::from(self.n)) as u64,
                Of::Max => end_of(*self.cells.last_key_value()?.0),
                Of::Min => *self.cells.first_key_value()?.0,
            };
            Some(ns as f64)
        })
    }

    /// How many times are not as they must be against `limit`, each taken as the end of its cell.
    pub(crate) fn beyond(&self, op: Op, limit: f64) -> u64 {
        let beyond = self.cells.iter().filter(|(cell, _)| !op.holds(end_of(**cell) as f64, limit));
        beyond.map(|(_, count)| count).sum()
    }

    pub(crate) fn percentile(&self, per_mille: u64) -> Option<u64> {
        if !may_be_named(self.n, per_mille) {
            return None;
        }
        let rank = nearest_rank(self.n, per_mille);
        let mut seen = 0;
        self.cells.iter().find_map(|(cell, count)| {
            seen += count;
            (seen >= rank).then(|| end_of(*cell))
        })
    }
}

/// Bits of a value that three significant digits need: HdrHistogram has 2,048 cells before their width doubles.
const CELL_BITS: u32 = 11;

/// The least value in the cell of `ns`.
const fn cell_of(ns: u64) -> u64 {
    let coarse = width_of(ns);
    ns >> coarse << coarse
}

/// The largest value in the cell that begins with `ns`.
const fn end_of(ns: u64) -> u64 {
    ns + (1 << width_of(ns)) - 1
}

const fn width_of(ns: u64) -> u32 {
    (u64::BITS - ns.leading_zeros()).saturating_sub(CELL_BITS)
}

#[cfg(test)]
mod tests {
    use wec_record::{RunHeader, ScenarioSample, Stamp, StateCounts};

    use super::*;

    const START_S: u64 = 1_795_254_960;

    fn verdict(expressions: &[&str]) -> Verdict {
        let thresholds: Vec<Threshold> = expressions.iter().map(|text| text.parse().unwrap()).collect();
        Verdict::new(&thresholds, START_S * SECOND)
    }

    /// A certificate chain with one POST to newOrder that ended `second` seconds after the start and took `ms`.
    fn chain(second: u64, ms: u64, class: Option<FailureClass>) -> Record {
        let (done, took) = (second * SECOND + SECOND / 2, ms * 1_000_000);
        let request = RequestResult {
            took,
            done,
            sent: done - took / 2,
            endpoint: "newOrder".into(),
            method: "POST".into(),
            successful: class.is_none(),
            class,
            status: if class.is_none() { 201 } else { 503 },
            ..RequestResult::default()
        };
        let result = ChainResult {
            chain: Some(Chain::Certificate),
            successful: class.is_none(),
            class,
            took,
            started: done - took / 2,
            done,
            requests: vec![request],
            ..ChainResult::default()
        };
        Record::Chain { node: "r1".to_owned(), origin_unix_ns: START_S * SECOND, result }
    }

    fn tick(second: u64) -> Record {
        let at_unix_ns = (START_S + second) * SECOND;
        Record::State { node: "r1".to_owned(), seq: 0, at_unix_ns, counts: StateCounts::default() }
    }

    fn state(second: u64, by: &str, to: &str) -> Record {
        Record::Mark {
            at_unix_ns: (START_S + second) * SECOND,
            by: by.to_owned(),
            scenario: String::new(),
            what: "state".to_owned(),
            from: String::new(),
            to: to.to_owned(),
        }
    }

    fn load(second: u64, ended: u64, asked: u64, due: u64, dropped: u64) -> Record {
        let scenario = ScenarioSample {
            name: "default".to_owned(),
            rate_unit: "chains".to_owned(),
            ended,
            asked,
            due,
            dropped,
            ..ScenarioSample::default()
        };
        Record::Load {
            node: "r1".to_owned(),
            seq: 0,
            at_unix_ns: (START_S + second) * SECOND,
            load: LoadSample { scenarios: vec![scenario], ..LoadSample::default() },
        }
    }

    fn judged(expression: &str, records: impl IntoIterator<Item = Record>) -> ThresholdResult {
        let mut verdict = verdict(&[expression]);
        records.into_iter().for_each(|record| verdict.record(&record));
        verdict.results(verdict.latest_unix_ns - START_S * SECOND).remove(0)
    }

    #[test]
    fn each_metric_is_of_what_it_names() {
        // A hundred chains of 1 to 100 ms in ten seconds, every tenth refused.
        let records = || {
            let chains = (0..100_u64)
                .map(|i| chain(i / 10, i + 1, (i % 10 == 9).then_some(FailureClass::ServerError)));
            chains.chain([load(10, 90, 100, 120, 20), tick(10)])
        };
        let cases = [
            ("chain.certificate{count} > 0", Some(100.0), 100),
            ("chain{count} > 0", Some(100.0), 100),
            ("chain.revoke{count} < 1", Some(0.0), 0),
            ("chain.revoke{failed} < 1%", None, 0),
            ("chain.certificate{failed} < 1%", Some(0.1), 100),
            ("chain.certificate{rate} > 1", Some(10.0), 100),
            ("chain.certificate{min} < 1s", Some(1e6), 90),
            ("chain.certificate{max} < 1s", Some(99e6), 90),
            ("chain.certificate{service.max} < 1s", Some(49.5e6), 90),
            ("chain.certificate{avg} < 1s", Some(50e6), 90),
            ("chain.certificate{p(99)} < 1s", None, 90),
            ("requests{endpoint=newOrder}{failed} < 1%", Some(0.1), 100),
            ("requests{endpoint=finalize}{count} < 1", Some(0.0), 0),
            ("requests{status=5xx}{count} < 1", Some(10.0), 10),
            ("requests{status=503}{max} < 1s", Some(100e6), 10),
            ("requests{max} < 1s", Some(99e6), 90),
            ("certificates{rate} > 1", Some(9.0), 90),
            ("errors{count} < 1", Some(10.0), 10),
            ("errors{class=server-error}{count} < 1", Some(10.0), 10),
            ("errors{class=timeout}{count} < 1", Some(0.0), 0),
            ("nonces{rejected} < 1%", Some(0.0), 100),
            ("rate{achieved/target} > 0.98", Some(0.9), 90),
            ("dropped < 1%", Some(0.166_667), 120),
        ];
        for (expression, value, n) in cases {
            let result = judged(expression, records());
            assert_eq!((result.value, result.n), (value, n), "{expression}");
        }
    }

    #[test]
    fn what_has_no_value_is_undecided() {
        for expression in
            ["chain{p(50)} < 1m", "chain{failed} < 1%", "rate{achieved/target} > 0", "dropped < 1%"]
        {
            let result = judged(expression, [tick(5)]);
            assert_eq!((result.value, result.passed), (None, None), "{expression}");
        }
        let window = judged("chain{p(50)} < 1s over 5s", (0..10).map(|second| chain(second, 1, None)));
        assert_eq!(
            (window.passed, window.windows),
            (None, Some(0)),
            "five samples in a window make no median"
        );
    }

    /// One slow second in twenty: not seen in the whole run's median, but in every window that holds it.
    #[test]
    fn a_window_finds_what_the_whole_run_hides() {
        let records = || {
            let chains = (0..20_u64).flat_map(|second| {
                (0..50).map(move |_| chain(second, if second == 12 { 400 } else { 10 }, None))
            });
            chains.chain([tick(20)])
        };
        assert_eq!(judged("chain{p(50)} < 100ms", records()).passed, Some(true));
        let window = judged("chain{p(50)} < 100ms over 1s", records());
        assert_eq!((window.passed, window.windows, window.windows_failed), (Some(false), Some(20), Some(1)));
        assert_eq!(window.worst_unix_ns, Some((START_S + 12) * SECOND));
        let value = window.value.unwrap();
        assert!((value - 400e6).abs() <= 0.4e6, "three digits: {value}");
        assert_eq!(window.n, 50);
        assert_eq!(judged("chain{p(50)} < 100ms over 3s", records()).windows_failed, Some(0));
        let graced = judged("chain{p(50)} < 100ms over 1s abort after 13s", records());
        assert_eq!((graced.passed, graced.windows), (Some(true), Some(7)), "windows after the grace only");
    }

    #[test]
    fn a_scenario_that_is_starved_does_not_vanish_beside_another() {
        let of = |second: u64, name: &str, unit: &str, done: u64, asked: u64| {
            let mut record = load(second, done, asked, asked, 0);
            let Record::Load { load, .. } = &mut record else { panic!("a load") };
            (load.scenarios[0].name, load.scenarios[0].rate_unit) = (name.to_owned(), unit.to_owned());
            load.scenarios[0].requests = done;
            record
        };
        let records = || {
            let seconds = (1..=10).flat_map(|second| {
                [
                    of(second, "few", "chains", 8 * second, 20 * second),
                    of(second, "many", "requests", 990 * second, 1_000 * second),
                ]
            });
            seconds.chain([tick(12)])
        };
        for expression in ["rate{achieved/target} > 0.9", "rate{achieved/target} > 0.9 over 3s"] {
            let result = judged(expression, records());
            assert_eq!((result.passed, result.value), (Some(false), Some(0.4)), "{expression}");
        }
    }

    #[test]
    fn a_pause_is_not_of_the_time_that_a_rate_is_over() {
        let busy = |seconds: std::ops::Range<u64>| {
            seconds.flat_map(|second| (0..20).map(move |_| chain(second, 1, None)))
        };
        let records = || {
            let rest = [state(4, "cli", "paused"), state(10, "cli", "running")];
            busy(0..4).chain(rest).chain(busy(10..14)).chain([tick(14)])
        };
        let result = judged("chain{rate} > 15/s", records());
        assert_eq!((result.passed, result.value), (Some(true), Some(20.0)));
        let on = judged("chain{rate} > 15/s", busy(0..4).chain([state(4, "cli", "paused"), tick(14)]));
        assert_eq!((on.passed, on.value), (Some(true), Some(20.0)), "one that lasts");
    }

    #[test]
    fn a_window_with_too_little_fails_what_must_be_equal() {
        let records = (0..12).filter(|second| *second != 7).map(|second| chain(second, 1, None));
        let result = judged("chain{count} == 3 over 3s", records);
        assert_eq!((result.passed, result.windows_failed, result.value), (Some(false), Some(3), Some(2.0)));
    }

    #[test]
    fn windows_slide_by_seconds_and_forget() {
        // 10, 20, … iterations a second: the worst of `>` is the least.
        let chains =
            (0..8_u64).flat_map(|second| (0..10 * (second + 1)).map(move |_| chain(second, 1, None)));
        let result = judged("chain{rate} >= 25/s over 2s", chains.chain([tick(8)]));
        assert_eq!((result.value, result.n), (Some(15.0), 30));
        assert_eq!((result.windows, result.windows_failed), (Some(7), Some(1)));
        assert_eq!(result.worst_unix_ns, Some(START_S * SECOND));
    }

    #[test]
    fn a_load_that_rests_or_has_ended_owes_nothing() {
        let busy = |seconds: std::ops::Range<u64>| {
            seconds.flat_map(|second| (0..10).map(move |_| chain(second, 1, None)))
        };
        let expression = "chain{rate} > 5/s over 2s";
        let rested = busy(0..4)
            .chain([state(4, "page", "paused"), tick(9), state(10, "page", "running")])
            .chain(busy(11..15))
            .chain([tick(15)]);
        assert_eq!(judged(expression, rested).passed, Some(true));
        let ended = busy(0..4).chain([state(4, "cli", "stopped"), tick(30)]);
        assert_eq!(judged(expression, ended).passed, Some(true));
        let silent = busy(0..4).chain([tick(30)]);
        assert_eq!(judged(expression, silent).passed, Some(false), "and otherwise it does");
    }

    #[test]
    fn a_threshold_trips_once_it_fails_past_its_grace_and_stays_failed() {
        let failing = |second| chain(second, 1, Some(FailureClass::Problem));
        let mut verdict = verdict(&["chain{failed} < 10% abort after 5s", "chain{count} < 2 abort after 8s"]);
        for second in 0..=6 {
            verdict.record(&failing(second));
            assert!(verdict.wants_end().is_none(), "second {second}");
        }
        verdict.record(&failing(7));
        assert_eq!(
            verdict.wants_end().map(ToString::to_string).as_deref(),
            Some("chain{failed} < 10% abort after 5s")
        );
        let results = verdict.results(7 * SECOND);
        assert!(!results[0].aborted, "the log does not say yet that the run was ended");

        verdict.record(&state(8, "threshold", "stopped"));
        assert!(verdict.wants_end().is_none(), "once is enough");
        (9..200).for_each(|second| verdict.record(&chain(second, 1, None)));
        let results = verdict.results(200 * SECOND);
        assert_eq!((results[0].passed, results[0].value, results[0].aborted), (Some(false), Some(1.0), true));
        assert!(!results[1].aborted, "it failed after the other had ended the run");
        assert_eq!(results[1].passed, Some(false));
    }

    #[test]
    fn memory_is_bounded_by_the_window() {
        let mut verdict = verdict(&["chain{p(99)} < 1s over 10s"]);
        for second in 0..5_000 {
            verdict.record(&chain(second, second % 900, None));
        }
        // From here on a wrong clock.
        verdict.record(&chain(1 << 30, 1, None));
        let window = verdict.judges[0].window.as_ref().unwrap();
        assert!(window.seconds.len() <= 14, "{}", window.seconds.len());
        assert!(window.sum.cells.len() <= 10);
        assert_eq!(window.sum.n, 10);
    }

    #[test]
    fn cells_are_those_of_an_hdr_histogram_of_three_digits() {
        let histogram = hdrhistogram::Histogram::<u64>::new_with_bounds(1, LONGEST_NS, 3).unwrap();
        for value in [1, 2_047, 2_048, 4_095, 4_096, 123_456, 999_999_999, 3_599_999_999_999] {
            assert_eq!(cell_of(value), histogram.lowest_equivalent(value), "{value}");
            assert_eq!(end_of(cell_of(value)), histogram.highest_equivalent(value), "{value}");
        }
    }

    #[test]
    fn a_run_without_thresholds_judges_nothing() {
        let header = RunHeader {
            version: 1,
            run: String::new(),
            session: String::new(),
            program: String::new(),
            target: String::new(),
            started_unix_ns: 1,
            stamp: Stamp { scenario: serde_json::json!({ "workers": 5 }), ..Stamp::default() },
        };
        assert!(header.stamp.thresholds().is_empty());
        assert!(Verdict::default().results(5).is_empty());
    }
}
