//! The aggregation of records, the same live and in a replay of the log. This file counts records; `merge` adds the
//! counts of two parts, and `figures` makes figures from them.
//!
//! No clock and no file is read here. Everything is bounded, and what exceeds a bound is counted in
//! [`Missing`].

mod certificates;
mod failures;
mod figures;
mod hits;
mod load;
mod marks;
mod merge;
mod metrics;
mod nodes;
mod observed;
mod over_time;
mod part;
mod request_stats;
mod rows;
mod slowest;
mod sound;
mod spent;
mod timeline;
mod totals;
mod validations;
mod warnings;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wec_record::{
    Chain, ChainResult, ChallengeType, FailureClass, LONGEST_DOCUMENT, LoadSample, Mark, Purpose, Record,
    RequestResult, RunHeader, RunTimes, Spent, StateCounts, Threshold, ValidationHit, Verdict,
};

use self::certificates::Certificates;
use self::failures::kept_wait;
use self::hits::HitSources;
use self::load::Loads;
use self::nodes::Nodes;
use self::observed::Observed;
pub use self::over_time::OverTime;
pub use self::part::Piece;
use self::part::{PartOfRun, Place};
pub use self::request_stats::Earlier;
use self::timeline::{Attempts, Timeline};
use self::totals::{ChainTotals, EndpointTotals, HitTotals, KnownEndpoints, OutcomeTotals};
pub use self::validations::{MAX_NAMES, Same, ValidationEvent, Validations};
use self::warnings::Warnings;
use crate::distribution::{LONGEST_NS, Times};
use crate::snapshot::{
    ByteFigures, ChainPercentiles, ConnectionFigures, Example, FailureFigures, FailureScope, ObservedSeries,
    Series, Trend,
};
use crate::verdict::RunVerdict;
use crate::window::Windows;

/// RFC 8555 has a dozen endpoints; the rest is for servers with several templates each.
const MAX_ENDPOINTS: usize = 128;
const MAX_SCENARIOS: usize = 64;
const MAX_NODES: usize = 10_000;
/// A node without a report for this time counts as gone.
const NODE_SILENT_NS: u64 = 10_000_000_000;
/// Characters that are kept of a server's text.
const MAX_TEXT: usize = 300;

/// The figures of one run.
///
/// In a file it has only what a piece of a run needs ([`Piece`]).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Aggregate {
    #[serde(skip)]
    header: Option<RunHeader>,
    /// The part of the run that is aggregated; none for all of it.
    #[serde(skip)]
    period: Option<PartOfRun>,
    /// Of a piece, the place in the log of what is counted now.
    #[serde(skip)]
    place: Place,
    /// Start and end of the run.
    #[serde(skip)]
    times: RunTimes,
    /// The end of the warm-up, nanoseconds since the Unix epoch; 0 without one, and for a part of a run.
    #[serde(skip)]
    warm_until: u64,
    /// Whether a time was out of range.
    strayed: bool,
    /// The latest time in the period; without a period, that of the run.
    latest: u64,
    issued: u64,
    /// Whole issuances.
    issuances: Times,
    /// Whether the load has ended: then rates are of the whole run.
    stopped: bool,
    chains: [ChainTotals; Chain::ALL.len()],
    certificates: Certificates,
    endpoints: Vec<EndpointTotals>,
    #[serde(skip)]
    known_endpoints: KnownEndpoints,
    other_endpoint: Option<Box<EndpointTotals>>,
    failures: Vec<FailureFigures>,
    /// Where each of them was first.
    failure_places: Vec<Place>,
    other_failure: Option<FailureFigures>,
    requests: u64,
    requests_failed: u64,
    refused_origins: u64,
    posts: u64,
    nonces_fetched: u64,
    nonces_rejected: u64,
    retries: u64,
    polls: u64,
    connections: ConnectionFigures,
    bytes: ByteFigures,
    hits: Vec<HitTotals>,
    hit_sources: HitSources,
    validations: Validations,
    nonce_age: Times,
    state: Option<(u64, StateCounts)>,
    /// Changes of the state that nodes could not write before their ends.
    unwritten: u64,
    /// For each node, the time of its last report, and the numbers of its workers and of its claims.
    workers: BTreeMap<String, (u64, u64, u64)>,
    loads: Loads,
    nodes: Nodes,
    #[serde(skip)]
    verdict: RunVerdict,
    marks: Vec<Mark>,
    /// Where each of them is.
    mark_places: Vec<Place>,
    /// Target number of workers of each scenario, by name. Bounded by the number of scenarios in a plan.
    workers_targets: BTreeMap<String, u32>,
    /// Number of marks of the load tester itself.
    generator_marks: usize,
    lost_results: u64,
    unknown_chains: u64,
    unknown_records: u64,
    #[serde(skip)]
    warnings: Warnings,
    dropped_marks: u64,
    observed: Observed,
    timeline: Timeline,
    /// Only if windows of time are used.
    #[serde(skip)]
    windows: Option<Windows>,
    /// What only charts, heat maps and examples show is not counted.
    #[serde(skip)]
    undrawn: bool,
}

impl Aggregate {
    fn count(&mut self, record: &Record) {
        self.verdict.record(record);
        if let Some(windows) = &mut self.windows {
            windows.record(record);
        }
        match record {
            Record::Header(header) if self.header.is_none() => {
                match &mut self.period {
                    None => {
                        let (started, warm_up) = (header.started_unix_ns, header.stamp.warm_up_ns());
                        self.verdict = RunVerdict::new(header.stamp.thresholds(), started, warm_up);
                        self.warm_until = if warm_up > 0 { started.saturating_add(warm_up) } else { 0 };
                    }
                    Some(period) => period.begin(header.started_unix_ns),
                }
                self.times.begin(header.started_unix_ns);
                self.header = Some(header.clone());
            }
            Record::Header(_) | Record::Footer(_) => {}
            Record::Chain { node, origin_unix_ns, result } => self.chain(node, *origin_unix_ns, result),
            Record::Hit { hit, .. } => self.hit(hit),
            Record::Mark(mark) => self.mark(mark.clone().shortened(MAX_TEXT)),
            Record::State { node, at_unix_ns, counts, .. } => {
                let charted = self.sample_at(*at_unix_ns);
                let at = charted.unwrap_or_else(|at| {
                    self.timeline.leave_out();
                    at
                });
                if self.is_after_period(at) {
                    return;
                }
                if charted.is_ok() && self.is_in_part(at) {
                    self.timeline.state(at, counts);
                }
                self.workers_of(node, (at, counts.workers, counts.claimed));
                if self.is_in_part(at) {
                    self.unwritten = self.unwritten.saturating_add(counts.unwritten);
                }
                self.state = later(self.state, Some((at, *counts)));
            }
            Record::Load { node, seq, at_unix_ns, load } => self.load(node, *seq, *at_unix_ns, load),
            Record::Lost { at_unix_ns, .. } if !self.is_in_part(*at_unix_ns) => {}
            Record::Lost { count, .. } => self.lost_results = self.lost_results.saturating_add(*count),
            Record::Event(event) if self.piece().is_none() && self.is_in_part(event.at_unix_ns) => {
                self.warnings.record(event);
            }
            Record::Event(_) => {}
            // It does not extend the run.
            Record::Observation(observation) if self.includes(observation.at_unix_ns) => {
                self.observed.record(observation);
            }
            Record::Observation(_) => {}
            Record::Unknown(_) => self.unknown_records += 1,
        }
    }

    /// The series: all of it, or the buckets changed after the revision `seen`. Returns the current revision.
    pub fn series(&mut self, seen: Option<u64>) -> (Series, u64) {
        self.timeline.series(seen)
    }

    /// The whole series in at most this many buckets.
    pub fn coarse_series(&self, buckets: usize) -> Series {
        self.timeline.coarser(buckets).series(None).0
    }

    /// Metrics of other programs over time.
    pub fn observed(&self) -> Vec<ObservedSeries> {
        self.observed.series()
    }

    /// The last value of each metric of one source; of a total the total itself.
    pub fn observed_last(&self, source: &str) -> BTreeMap<String, f64> {
        self.observed.last(source)
    }

    /// Percentiles of one chain over time, in the smallest buckets of which most have enough samples, but in
    /// at least `buckets` of them if the run is long enough.
    pub fn percentiles_over_time(&self, chain: Chain, buckets: usize) -> ChainPercentiles {
        self.timeline.percentiles(chain, buckets)
    }

    /// From now on keeps the data for windows of time, to judge them by these thresholds.
    pub fn watch_windows(&mut self, thresholds: Vec<Threshold>) {
        self.windows = Some(Windows::new(thresholds));
    }

    /// Windows of time, if they are kept.
    pub const fn windows(&mut self) -> Option<&mut Windows> {
        self.windows.as_mut()
    }

    /// Whether a threshold may end the run.
    pub fn may_end(&self) -> bool {
        self.verdict.may_end()
    }

    /// The threshold that ends the run, until the log has the mark of that end.
    pub fn wants_end(&self) -> Option<&Threshold> {
        self.verdict.wants_end()
    }

    /// The run's header, once it was read.
    pub const fn header(&self) -> Option<&RunHeader> {
        self.header.as_ref()
    }

    /// Start and end of the whole run.
    pub const fn times(&self) -> &RunTimes {
        &self.times
    }

    /// Wall clock of the latest end, nanoseconds since the Unix epoch.
    pub const fn latest(&self) -> u64 {
        self.latest
    }

    /// Whether the load has ended.
    pub const fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Target number of workers of the run, by its marks.
    pub fn workers_target(&self) -> Option<u32> {
        let targets = self.workers_targets.values().copied();
        targets.reduce(u32::saturating_add)
    }

    /// The same for one scenario.
    pub fn workers_target_of(&self, scenario: &str) -> Option<u32> {
        self.workers_targets.get(scenario).copied()
    }

    fn chain(&mut self, node: &str, origin: u64, result: &ChainResult) {
        let done = origin.saturating_add(result.done);
        let charted = self.span(origin.saturating_add(result.started), done).then_some(done);
        let of_node = self.nodes.place(node);
        // Those of one second are drawn together.
        let (mut drawn_at, mut drawn) = (charted, Attempts::default());
        let in_piece = self.piece().is_some();
        for (place, request) in result.requests.iter().enumerate() {
            if in_piece {
                self.place.in_record = place;
            }
            let at = origin.saturating_add(request.done);
            let included = self.includes(at);
            if !included && !self.is_warm_up(at) {
                continue;
            }
            // One that claims another time than its chain's must not stretch the charts.
            let charted = charted.map(|done| at.min(done));
            if seconds(charted) != seconds(drawn_at) {
                self.timeline.requests(drawn_at, std::mem::take(&mut drawn));
                drawn_at = charted;
            }
            let failed = !request.successful && !request.is_cut_off();
            drawn.add(request, failed);
            if included {
                self.request(request);
                self.nodes.request(of_node, request);
                if request.successful {
                    self.succeeded(request, (at, charted), || request_example(request, node, at, result));
                }
                if failed {
                    let kept = kept_wait(&result.requests, place);
                    self.failed_request(request, (node, result.seq), (at, charted), kept);
                }
            }
        }
        self.timeline.requests(drawn_at, drawn);
        if in_piece {
            self.place.in_record = usize::MAX;
        }
        for authorization in &result.authorizations {
            if !in_piece && self.includes(origin.saturating_add(authorization.settled)) {
                self.validations.authorization(origin, authorization);
            }
        }
        // Records of the 2015 design have no times, and no parts.
        let spent = result.spent().filter(|_| result.successful);
        if !self.includes(done) {
            if self.is_warm_up(done) {
                self.draw(charted, result, spent);
            }
            return;
        }
        self.draw(charted, result, spent);
        let Some(chain) = result.chain else {
            self.unknown_chains += 1;
            return;
        };
        self.nodes.chain(of_node, result);
        let totals = &mut self.chains[chain.index()];
        if result.is_cut_off() {
            totals.cut_off += 1;
            return;
        }
        if result.issued {
            self.issued += 1;
            if let Some(took) = result.issuance {
                self.issuances.record(took);
            }
        }
        if result.abandoned && result.successful {
            totals.outcome.count += 1;
            totals.abandoned += 1;
            return;
        }
        // Records of the 2015 design have only `chaintook`.
        let service = if result.done == 0 { result.took } else { result.done.saturating_sub(result.started) };
        totals.outcome.record(result.successful, result.took, service);
        self.certificates.record(chain, result, service);
        totals.keygen = totals.keygen.saturating_add(result.keygen);
        if let Some(spent) = spent {
            totals.parts.record(spent);
        }
        if result.successful && !self.undrawn {
            totals.slowest.record(result.took, done, || chain_example(result, node, done, service));
        }
        if let Some(class) = result.class {
            *totals.classes.entry(class).or_default() += 1;
        }
        if !result.successful {
            let (status, problem) = result.failed_by();
            let failed = result.last_failed();
            self.failure(FailureFigures {
                scope: FailureScope::Chain,
                name: chain.name().to_owned(),
                class: result.class,
                status,
                problem: shortened(problem),
                detail: shortened(&result.detail),
                count: 1,
                first_unix_ns: done,
                last_unix_ns: done,
                retry_after_min_ns: failed.and_then(|request| request.retry_after),
                retry_after_max_ns: failed.and_then(|request| request.retry_after),
                retry_kept: 0,
                retry_early: 0,
                trend: Trend::of(charted),
                example: shortened(&result.error),
                request_id: failed.map(|request| shortened(&request.request_id)).unwrap_or_default(),
                traceparent: failed.map(|request| shortened(&request.traceparent)).unwrap_or_default(),
                document: failed.map(document).unwrap_or_default(),
                node: shortened(node),
                seq: result.seq,
            });
        }
    }

    /// Draws an iteration that ended, with the parts of its time if it succeeded.
    fn draw(&mut self, charted: Option<u64>, result: &ChainResult, spent: Option<Spent>) {
        let Some(chain) = result.chain.filter(|_| !result.is_cut_off()) else { return };
        if result.issued {
            self.timeline.issued(charted, result.issuance);
        }
        if result.abandoned && result.successful {
            return self.timeline.abandoned_chain(charted, chain);
        }
        self.timeline.chain(charted, chain, result.successful, result.took);
        if let Some(spent) = spent {
            self.timeline.by_ca(charted, chain, spent.requests.saturating_add(spent.connecting));
        }
        if let Some(class) = result.class.filter(|_| !result.successful) {
            self.timeline.failed_chain(charted, class);
        }
    }

    fn request(&mut self, request: &RequestResult) {
        self.requests += 1;
        self.posts += u64::from(request.method == "POST");
        match request.purpose {
            Purpose::Step => {}
            Purpose::Nonce => self.nonces_fetched += 1,
            Purpose::Retry => self.retries += 1,
            Purpose::Poll => self.polls += 1,
        }
        self.nonces_rejected += u64::from(request.class == Some(FailureClass::BadNonce));
        if request.reused {
            self.connections.reused += 1;
        } else {
            self.connections.new += 1;
        }
        self.connections.reconnects += u64::from(request.reconnects);
        self.bytes.sent = self.bytes.sent.saturating_add(request.bytes_sent);
        self.bytes.received = self.bytes.received.saturating_add(request.bytes_received);
        if request.nonce_age > 0 {
            self.nonce_age.record(request.nonce_age);
        }
        let totals = self.endpoint_of(request);
        let outcome = &mut totals.outcome;
        outcome.unknown += u64::from(request.outcome_is_unknown());
        if request.is_cut_off() {
            outcome.count += 1;
            outcome.cut_off += 1;
        } else {
            outcome.record(
                request.successful,
                request.took,
                if request.done == 0 { request.took } else { request.service_time() },
            );
            totals.parts.record(request);
            totals.received = totals.received.saturating_add(request.bytes_received);
        }
    }

    /// A request that succeeded and was counted just before ended at `at`; `charted` is its time in the charts.
    fn succeeded(
        &mut self,
        request: &RequestResult,
        (at, charted): (u64, Option<u64>),
        example: impl FnOnce() -> Example,
    ) {
        if self.undrawn {
            return;
        }
        let in_piece = self.piece().is_some();
        let totals = self.endpoint_of(request);
        totals.slowest.record(request.took, at, example);
        if let Some(charted) = charted.filter(|_| !in_piece) {
            totals.over_time.record(charted / 1_000_000_000, request.took.min(LONGEST_NS));
        }
    }

    /// A request of the record with this number of the node failed at this time; `charted` is its time in the charts, and
    /// `kept` is whether the wait that it asked for was kept.
    fn failed_request(
        &mut self,
        request: &RequestResult,
        (node, seq): (&str, u64),
        (at_unix_ns, charted): (u64, Option<u64>),
        kept: Option<bool>,
    ) {
        self.requests_failed += 1;
        self.refused_origins += u64::from(request.class == Some(FailureClass::RefusedOrigin));
        self.failure(FailureFigures {
            scope: FailureScope::Request,
            name: shortened(if request.endpoint.is_empty() { &request.uri } else { &request.endpoint }),
            class: request.class,
            status: request.status,
            problem: shortened(&request.problem),
            detail: shortened(&request.detail),
            count: 1,
            first_unix_ns: at_unix_ns,
            last_unix_ns: at_unix_ns,
            retry_after_min_ns: request.retry_after,
            retry_after_max_ns: request.retry_after,
            retry_kept: u64::from(kept == Some(true)),
            retry_early: u64::from(kept == Some(false)),
            trend: Trend::of(charted),
            example: shortened(&request.error),
            request_id: shortened(&request.request_id),
            traceparent: shortened(&request.traceparent),
            document: document(request),
            node: shortened(node),
            seq,
        });
    }

    fn hit(&mut self, hit: &ValidationHit) {
        let at = hit.at_unix_ns;
        let within = self.span(at, at.saturating_add(hit.took.min(LONGEST_NS)));
        if !self.includes(at) {
            if self.is_warm_up(at) {
                self.timeline.hit(within.then_some(at));
            }
            return;
        }
        self.hits_of(hit.challenge, hit.verdict).took.record(hit.took);
        self.hit_sources.record(hit);
        if self.piece().is_none() {
            self.validations.hit(hit);
        }
        self.timeline.hit(within.then_some(at));
    }

    fn load(&mut self, node: &str, seq: u64, at_unix_ns: u64, load: &LoadSample) {
        let charted = self.sample_at(at_unix_ns);
        let at_unix_ns = charted.unwrap_or_else(|latest| latest);
        if self.includes(at_unix_ns) {
            self.loads.record(node, seq, at_unix_ns, load);
            self.nodes.load(node, load);
        } else if self.is_warm_up(at_unix_ns) {
            self.loads.record_warm_up(node, seq, at_unix_ns, load);
        } else {
            if !self.is_after_period(at_unix_ns) && self.piece() != Some(Piece::Further) {
                self.loads.record_before(node, seq, at_unix_ns, load);
            }
            return;
        }
        match charted {
            Ok(at) => self.timeline.load(at, node, load),
            Err(_) => self.timeline.leave_out(),
        }
        self.silence(at_unix_ns, &load.ca);
        self.keeps_up(at_unix_ns, &load.generator);
    }

    fn endpoint_of(&mut self, request: &RequestResult) -> &mut EndpointTotals {
        let names = [&request.endpoint, &request.method, &request.uri];
        let place = self.known_endpoints.place(names).or_else(|| {
            let place = self.place_of(&request.endpoint, &request.method, &request.uri)?;
            self.known_endpoints.note(names, place);
            Some(place)
        });
        self.endpoint_at(place)
    }

    fn endpoint(&mut self, endpoint: &str, method: &str, uri: &str) -> &mut EndpointTotals {
        let place = self.place_of(endpoint, method, uri);
        self.endpoint_at(place)
    }

    /// The totals at this place, or those of all endpoints beyond the bound.
    fn endpoint_at(&mut self, place: Option<usize>) -> &mut EndpointTotals {
        match place {
            Some(place) => &mut self.endpoints[place],
            None => self.other_endpoint.get_or_insert_with(|| {
                Box::new(EndpointTotals { endpoint: OTHER.into(), ..EndpointTotals::default() })
            }),
        }
    }

    /// The place of an endpoint, which may be new; none if there are too many. A linear search suffices: there are few.
    fn place_of(&mut self, endpoint: &str, method: &str, uri: &str) -> Option<usize> {
        let known = self
            .endpoints
            .iter()
            .position(|known| known.uri == uri && known.endpoint == endpoint && known.method == method);
        if known.is_none() && self.endpoints.len() < MAX_ENDPOINTS && endpoint != OTHER {
            self.endpoints.push(EndpointTotals {
                endpoint: endpoint.to_owned(),
                method: method.to_owned(),
                uri: uri.to_owned(),
                first: self.place,
                ..EndpointTotals::default()
            });
            return Some(self.endpoints.len() - 1);
        }
        known
    }

    fn hits_of(&mut self, challenge: ChallengeType, verdict: Verdict) -> &mut HitTotals {
        let known = self.hits.iter().position(|hits| hits.challenge == challenge && hits.verdict == verdict);
        let place = known.unwrap_or_else(|| {
            let (first, took) = (self.place, Times::default());
            self.hits.push(HitTotals { challenge, verdict, took, first });
            self.hits.len() - 1
        });
        &mut self.hits[place]
    }

    fn workers_of(&mut self, node: &str, latest: (u64, u64, u64)) {
        if let Some(known) = self.workers.get_mut(node) {
            *known = latest.max(*known);
        } else if self.workers.len() < MAX_NODES {
            self.workers.insert(node.to_owned(), latest);
        }
    }
}

fn seconds(at_unix_ns: Option<u64>) -> Option<u64> {
    at_unix_ns.map(|at| at / 1_000_000_000)
}

/// The name of the rest of a bounded table.
const OTHER: &str = "other";

/// The counts with the later time. If times are equal, the larger ones, so that the order of records does not
/// matter.
fn later(a: Option<(u64, StateCounts)>, b: Option<(u64, StateCounts)>) -> Option<(u64, StateCounts)> {
    let key = |(at, counts): &(u64, StateCounts)| {
        (
            *at,
            counts.registrations,
            counts.authorizations,
            counts.certificates,
            counts.revoked,
            counts.workers,
        )
    };
    a.into_iter().chain(b).max_by_key(key)
}

fn request_example(request: &RequestResult, node: &str, at_unix_ns: u64, of: &ChainResult) -> Example {
    let service_ns = if request.done == 0 { request.took } else { request.service_time() };
    Example {
        at_unix_ns,
        response_ns: request.took,
        service_ns,
        status: request.status,
        requests: 1,
        chain: of.chain,
        node: shortened(node),
        seq: of.seq,
        traceparent: shortened(&request.traceparent),
    }
}

fn chain_example(result: &ChainResult, node: &str, at_unix_ns: u64, service_ns: u64) -> Example {
    Example {
        at_unix_ns,
        response_ns: result.took,
        service_ns,
        status: 0,
        requests: result.requests.len() as u64,
        chain: result.chain,
        node: shortened(node),
        seq: result.seq,
        traceparent: String::new(),
    }
}

/// The problem document of a request; a record may have any text.
fn document(request: &RequestResult) -> String {
    let text = &request.document;
    text[..text.floor_char_boundary(LONGEST_DOCUMENT)].to_owned()
}

fn shortened(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}
