//! A part of a run is a period of it: decides which records belong to the period. A part is put together from
//! pieces.
//!
//! `Aggregate::record`, which counts one record, is here, because the first records of a part are counted again
//! if the run's start turns out to be another one.

use std::ops::Range;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wec_record::{Event, Mark, MarkBy, MarkValue, MarkWhat, Record, RunTimes, WarmUp, Within};

use super::totals::KnownEndpoints;
use super::validations::Validations;
use super::{Aggregate, MAX_NODES, MAX_SCENARIOS, OTHER};

/// Records that are kept until the run's start is sure.
const MAX_EARLY: usize = 1_000;

/// A part of a run. It is nowhere before the run's start is known.
#[derive(Clone, Debug)]
pub(super) struct PartOfRun {
    from: Duration,
    to: Option<Duration>,
    pub(super) unix_ns: Range<u64>,
    /// The records until two agree on the run's start: they are of another part if the header's is out of range.
    early: Vec<Record>,
    piece: Option<Piece>,
}

/// A piece of a part, of a run whose times are all in range. Validations are left out, because they can span two
/// pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// The one with which the part begins: it takes what was before the part.
    First,
    /// Its totals since a node's start are reduced when it is put to the first one.
    Further,
}

/// A place in the log, by which the rows of pieces are ordered: a record may list requests that ended in another order,
/// and so are in several pieces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Place {
    record: u64,
    /// The place of the request among those of its record; the chain itself comes after them.
    pub(super) in_record: usize,
}

impl PartOfRun {
    /// The run has started at this time.
    pub(super) fn begin(&mut self, started_unix_ns: u64) {
        if self.piece.is_some() {
            return;
        }
        let at = |after: Duration| {
            started_unix_ns.saturating_add(u64::try_from(after.as_nanos()).unwrap_or(u64::MAX))
        };
        self.unix_ns = at(self.from)..self.to.map_or(u64::MAX, at);
    }
}

impl Aggregate {
    /// For a part of a run: from and to these times after the run's start, `to` excluded.
    ///
    /// A chain, a request or a validation belongs to the part in which it ended; a mark or a sample to the
    /// part in which it was made. Totals since a node's start, in its samples, are reduced by those of its
    /// last sample before. Records before the log's header belong to no part. A part has no verdict.
    pub fn of_period(from: Duration, to: Option<Duration>) -> Self {
        let period = Some(PartOfRun { from, to, unix_ns: 0..0, early: Vec::new(), piece: None });
        // Rates of scenarios are means over the part.
        Self { period, stopped: true, ..Self::default() }
    }

    /// For a piece of a part, nanoseconds since the Unix epoch.
    pub fn of_piece(piece: Piece, unix_ns: Range<u64>) -> Self {
        let (from, early) = (Duration::ZERO, Vec::new());
        let period = Some(PartOfRun { from, to: None, unix_ns, early, piece: Some(piece) });
        Self { period, stopped: true, ..Self::default() }
    }

    /// For figures alone: what only charts, heat maps and examples of slow requests show is not counted, which is a
    /// fifth of the work. Series have counts, but neither percentiles nor load; rows have no distribution over time.
    #[must_use]
    pub const fn without_charts(mut self) -> Self {
        (self.undrawn, self.timeline.undrawn) = (true, true);
        self
    }

    /// The next record has this place in the log, by which rows of pieces are ordered.
    pub const fn at_place(&mut self, place: u64) {
        self.place = Place { record: place, in_record: 0 };
    }

    /// Adds a piece that follows.
    pub fn put(&mut self, piece: Self) {
        self.merge(piece);
    }

    /// All pieces of the part of this time are here: its rows get the order that they have when the log is read.
    pub fn complete(&mut self, unix_ns: Range<u64>, times: RunTimes) {
        self.endpoints.sort_by_key(|totals| totals.first);
        self.known_endpoints = KnownEndpoints::default();
        self.hits.sort_by_key(|totals| totals.first);
        sort_by_places(&mut self.failures, &mut self.failure_places);
        self.times = times;
        if let Some(period) = &mut self.period {
            period.unix_ns = unix_ns;
        }
    }

    /// What a piece does not count by itself: authorizations and hits that ended in it.
    pub const fn validations(&mut self) -> &mut Validations {
        &mut self.validations
    }

    /// Requests that were counted.
    pub const fn requests(&self) -> u64 {
        self.requests
    }

    /// Counts what was warned of.
    pub fn warning(&mut self, event: &Event) {
        self.warnings.record(event);
    }

    /// The target numbers of workers, by all marks of the run until the end of the part.
    pub fn targets_by<'a>(&mut self, marks: impl Iterator<Item = &'a Mark>) {
        self.workers_targets.clear();
        marks.for_each(|mark| self.workers_target_by(mark));
    }

    /// Whether no bound was exceeded, so that pieces of it can be put together without loss. That of marks is kept by
    /// pieces as by whole logs.
    pub fn is_within_bounds(&self) -> bool {
        self.other_endpoint.is_none()
            && self.other_failure.is_none()
            && self.failures.iter().all(|failure| failure.detail != OTHER && failure.name != OTHER)
            && self.certificates.is_within_bounds()
            && self.loads.is_within_bounds()
            && self.nodes.is_within_bounds()
            && self.hit_sources.is_within_bounds()
            && self.observed.beyond() == 0
            && self.workers.len() < MAX_NODES
            && self.workers_targets.len() < MAX_SCENARIOS
            && self.timeline.outside() == 0
    }

    /// Whether this is a piece of a part.
    pub(super) fn piece(&self) -> Option<Piece> {
        self.period.as_ref().and_then(|period| period.piece)
    }

    /// Counts one record.
    pub fn record(&mut self, record: &Record) {
        if self.piece().is_some() {
            return self.count(record);
        }
        let has_start = self.header.is_some();
        if let Some(period) =
            self.period.as_mut().filter(|period| has_start && period.early.len() < MAX_EARLY)
        {
            if !self.times.is_agreed() {
                period.early.push(record.clone());
                self.count(record);
                if self.strayed && self.times.is_agreed() {
                    self.begin_again();
                }
                return;
            }
            period.early.clear();
        }
        self.count(record);
    }

    /// The header's start turned out to be out of range: counts the first records in the part from the true start.
    fn begin_again(&mut self) {
        let (Some(mut period), Some(started)) = (self.period.take(), self.times.started()) else { return };
        let early = std::mem::take(&mut period.early);
        let undrawn = self.undrawn;
        period.begin(started);
        *self = Self {
            header: self.header.take(),
            period: Some(period),
            times: std::mem::take(&mut self.times),
            strayed: true,
            stopped: true,
            windows: self.windows.take(),
            ..Self::default()
        };
        if undrawn {
            *self = std::mem::take(self).without_charts();
        }
        early.iter().for_each(|record| self.count(record));
    }

    /// Whether the figures have what ended at this moment, nanoseconds since the Unix epoch.
    pub fn includes(&self, at_unix_ns: u64) -> bool {
        at_unix_ns >= self.warm_until && self.is_in_part(at_unix_ns)
    }

    /// Whether this moment is in the warm-up: what ended in it is drawn and in no figure.
    pub(super) const fn is_warm_up(&self, at_unix_ns: u64) -> bool {
        at_unix_ns < self.warm_until
    }

    /// The mark at the end of the warm-up, once the run has reached it.
    pub(super) fn warm_up_mark(&self) -> Option<Mark> {
        let header = self.header.as_ref()?;
        let warm_up = Some(header.stamp.warm_up_ns()).filter(|warm_up| *warm_up > 0)?;
        let at = header.started_unix_ns.saturating_add(warm_up);
        let [from, to] = [WarmUp::Running, WarmUp::Ended].map(MarkValue::WarmUp);
        let mark = Mark { from, ..Mark::new(at, MarkBy::Schedule, MarkWhat::WarmUp, to) };
        (self.latest >= at && self.is_in_part(at)).then_some(mark)
    }

    /// Whether the part of the run that is aggregated has this moment.
    pub(super) fn is_in_part(&self, at_unix_ns: u64) -> bool {
        self.period.as_ref().is_none_or(|period| period.unix_ns.contains(&at_unix_ns))
    }

    pub(super) fn is_after_period(&self, at_unix_ns: u64) -> bool {
        self.period.as_ref().is_some_and(|period| at_unix_ns >= period.unix_ns.end)
    }

    /// Start and end of the whole run; none if a time was out of range, so that the order of the log matters.
    pub fn sure_times(&self) -> Option<&RunTimes> {
        Some(&self.times).filter(|_| !self.strayed)
    }

    /// The whole run has these times: those of the records of its part are in range, however far from its start.
    pub fn of_times(&mut self, times: RunTimes) {
        self.times = times;
    }

    /// The run has a record that ends at this time.
    pub fn reach(&mut self, at_unix_ns: u64) {
        self.span(at_unix_ns, at_unix_ns);
    }

    /// The run has this number of records of kinds that are not known.
    pub const fn add_unknown(&mut self, records: u64) {
        self.unknown_records += records;
    }

    /// When a sample was taken. If that is out of the range of the run, an error with the latest time instead: with its
    /// own time, the sample would hide all others of its node.
    pub(super) fn sample_at(&mut self, at_unix_ns: u64) -> Result<u64, u64> {
        if self.span(at_unix_ns, at_unix_ns) { Ok(at_unix_ns) } else { Err(self.times.latest()) }
    }

    /// Takes the time that a record covers. Returns whether it is in the range of the run.
    pub(super) fn span(&mut self, from_unix_ns: u64, to_unix_ns: u64) -> bool {
        if let Some(PartOfRun { unix_ns, piece: Some(_), .. }) = &self.period {
            if to_unix_ns >= unix_ns.start {
                self.latest = self.latest.max(to_unix_ns.min(unix_ns.end));
            }
            return true;
        }
        let within = self.times.take(from_unix_ns, to_unix_ns);
        self.strayed |= within != Within::Run;
        if within == Within::Nothing {
            return false;
        }
        if let Some(PartOfRun { unix_ns, .. }) = &self.period {
            if to_unix_ns >= unix_ns.start {
                self.latest = self.latest.max(to_unix_ns.min(unix_ns.end));
            }
            return true;
        }
        if within == Within::RunThatMoves {
            self.timeline.restart();
        }
        self.latest = self.times.latest();
        true
    }
}

/// Sorts what is at these places, and the places.
pub(super) fn sort_by_places<T>(of: &mut Vec<T>, places: &mut Vec<Place>) {
    let mut both: Vec<_> = places.drain(..).zip(of.drain(..)).collect();
    both.sort_by_key(|(place, _)| *place);
    (*places, *of) = both.into_iter().unzip();
}
