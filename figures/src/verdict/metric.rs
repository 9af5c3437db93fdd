//! How a metric measures: events, their sum over a period, and the value of that sum.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use wec_record::threshold::{Metric, Of, Op, Requests, Stat, TimeKind, Unit};
use wec_record::{ChainResult, FailureClass, RequestResult};

use crate::counts::LoadCounts;
use crate::distribution::{Cells, LONGEST_NS};

/// An event that a metric counts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Event {
    pub count: u64,
    pub(crate) bad: u64,
    /// How many of these the target required, if the metric needs it. Negative where an earlier event had too many.
    pub(crate) asked: Option<i64>,
    /// The scenario; see [`key_of`].
    pub(crate) scenario: u64,
    pub(crate) took: Option<u64>,
}

impl Event {
    pub(crate) const ONE: Self = Self { count: 1, bad: 0, asked: None, scenario: 0, took: None };
}

/// How a metric measures records.
pub(crate) trait Sees {
    /// The statistic of times; none for a metric of anything else.
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
        // An interruption by the load tester is not a result of the CA.
        if result.is_cut_off() {
            return None;
        }
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
            Self::Certificates => result.issued.then_some(Event::ONE),
            // A chain whose failed request is already counted is not counted again.
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
        if request.is_cut_off() {
            return None;
        }
        match self {
            Self::Requests(wanted, stat) if wanted.fit(request) => {
                let service = if request.done == 0 { request.took } else { request.service_time() };
                // With a selector for the status, the times of all matching requests count, failed or not.
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
                let asked = i64::try_from(done.asked).unwrap_or(i64::MAX);
                Some(Event { count: done.achieved, asked: Some(asked), ..Event::default() })
            }
            // Whether `due` includes dropped iterations depends on the executor; the share is of what it
            // reports.
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
                Some(if clock == TimeKind::Response { response } else { service }.min(LONGEST_NS))
            }
            _ => None,
        }
    }
}

/// A second's tally, or a window's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slice {
    pub count: u64,
    pub(crate) bad: u64,
    reached: Reached,
    /// Number of events with a time.
    pub(crate) n: u64,
    pub(crate) sum: u128,
    /// Times by the cell of an HdrHistogram with three digits.
    pub(super) cells: Cells<11>,
}

impl Slice {
    pub(crate) fn add(&mut self, event: Event) {
        self.count += event.count;
        self.bad += event.bad;
        self.reached.add(event);
        if let Some(took) = event.took {
            self.n += 1;
            self.sum += u128::from(took);
            self.cells.record(took);
        }
    }

    pub(crate) fn plus(&mut self, other: &Self) {
        self.count += other.count;
        self.bad += other.bad;
        self.reached.plus_all(&other.reached);
        self.n += other.n;
        self.sum += other.sum;
        self.cells.merge(&other.cells);
    }

    pub(super) fn minus(&mut self, other: &Self) {
        self.count -= other.count;
        self.bad -= other.bad;
        self.reached.minus_all(&other.reached);
        self.n -= other.n;
        self.sum -= other.sum;
        self.cells.subtract(&other.cells);
    }

    pub(crate) fn value(&self, metric: &Metric, over_ns: u64) -> Option<f64> {
        let counts = Counts { count: self.count, bad: self.bad, reached: &self.reached, over_ns };
        counts.value(metric).or_else(|| {
            let of = metric.time()?;
            let ns = match of {
                Of::Percentile(per_mille) => self.percentile(u64::from(per_mille))?,
                Of::Avg if self.n == 0 => return None,
                Of::Avg => (self.sum / u128::from(self.n)) as u64,
                Of::Max => self.cells.iter().next_back()?.0.high,
                Of::Min => self.cells.iter().next()?.0.low,
            };
            Some(ns as f64)
        })
    }

    /// How many times violate `limit`, each taken as the end of its cell.
    pub(crate) fn beyond(&self, op: Op, limit: f64) -> u64 {
        let beyond = self.cells.iter().filter(|(cell, _)| !op.holds(cell.high as f64, limit));
        beyond.map(|(_, count)| count).sum()
    }

    pub(crate) fn percentile(&self, per_mille: u64) -> Option<u64> {
        self.cells.percentile(self.n, per_mille).map(|cell| cell.high)
    }
}

/// All data except times.
pub(super) struct Counts<'a> {
    pub(super) count: u64,
    pub(super) bad: u64,
    pub(super) reached: &'a Reached,
    pub(super) over_ns: u64,
}

impl Counts<'_> {
    /// None if there is no value, and for times.
    pub(super) fn value(&self, metric: &Metric) -> Option<f64> {
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

/// Achieved and required by scenario. Units may differ, and a starved scenario must not be hidden by others,
/// so their shares are kept apart.
#[derive(Clone, Debug, Default)]
pub(super) struct Reached(BTreeMap<u64, (u64, i64)>);

impl Reached {
    pub(super) fn add(&mut self, event: Event) {
        if let Some(asked) = event.asked {
            self.plus(event.scenario, (event.count, asked));
        }
    }

    fn plus(&mut self, scenario: u64, (count, asked): (u64, i64)) {
        let reached = self.0.entry(scenario).or_default();
        *reached = (reached.0 + count, reached.1.saturating_add(asked));
    }

    pub(super) fn plus_all(&mut self, other: &Self) {
        other.0.iter().for_each(|(scenario, reached)| self.plus(*scenario, *reached));
    }

    fn minus_all(&mut self, other: &Self) {
        for (scenario, (count, asked)) in &other.0 {
            if let Some(reached) = self.0.get_mut(scenario) {
                *reached = (reached.0 - count, reached.1.saturating_sub(*asked));
            }
        }
    }

    /// The share of the worst scenario; none where nothing was required.
    pub(super) fn least(&self) -> Option<f64> {
        let asked = self.0.values().filter(|(_, asked)| *asked > 0);
        asked.map(|(count, asked)| *count as f64 / *asked as f64).min_by(f64::total_cmp)
    }
}

/// A hash of a scenario's name.
pub(super) fn key_of(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

/// As many digits as are significant and as every JSON reader preserves.
pub(crate) fn rounded(value: f64, unit: Unit) -> f64 {
    let to_one_in = match unit {
        Unit::Ns | Unit::Count => 1.0,
        Unit::Share => 1e6,
        Unit::PerSecond => 1e3,
    };
    (value * to_one_in).round() / to_one_in
}
