//! The one aggregation: records in, figures out, the same live as in a replay of the log.
//!
//! Nothing here reads a clock or a file. Everything is bounded, and what a bound kept out is counted in
//! [`Missing`].

mod interval;
mod load;
mod timeline;
pub(crate) mod times;

use std::collections::BTreeMap;

use wec_record::{
    Chain, ChainResult, ChallengeType, FailureClass, LoadSample, Purpose, Record, RequestResult, RunHeader,
    StateCounts, Threshold, ValidationHit, Verdict,
};

use self::load::Loads;
use self::timeline::Timeline;
use self::times::Times;
use crate::snapshot::{
    ByteFigures, ChainFigures, ConnectionFigures, EndpointFigures, FailureFigures, FailureScope, HitFigures,
    Mark, Missing, NonceFigures, Run, SNAPSHOT_VERSION, ScenarioFigures, Series, Snapshot,
};
use crate::verdict::Verdict as Judges;
use crate::window::Windows;

/// RFC 8555 has a dozen endpoints; the rest is for servers with several templates each.
const MAX_ENDPOINTS: usize = 128;
const MAX_FAILURES: usize = 256;
const MAX_MARKS: usize = 1_000;
const MAX_SCENARIOS: usize = 64;
const MAX_GENERATOR_MARKS: usize = 200;
const MAX_NODES: usize = 10_000;
/// A node that has not said for so long how many workers it runs is taken for gone.
const NODE_SILENT_NS: u64 = 10_000_000_000;
/// Characters kept of a text that a server chose.
const MAX_TEXT: usize = 300;

/// The figures of one run.
#[derive(Clone, Debug, Default)]
pub struct Aggregate {
    header: Option<RunHeader>,
    /// Wall clock of the earliest start and the latest end, nanoseconds.
    earliest: Option<u64>,
    latest: u64,
    chains: [ChainTotals; Chain::ALL.len()],
    endpoints: Vec<EndpointTotals>,
    other_endpoint: Option<Box<EndpointTotals>>,
    failures: Vec<FailureFigures>,
    other_failure: Option<FailureFigures>,
    requests: u64,
    requests_failed: u64,
    posts: u64,
    nonces_fetched: u64,
    nonces_rejected: u64,
    retries: u64,
    polls: u64,
    connections: ConnectionFigures,
    bytes: ByteFigures,
    hits: Vec<HitTotals>,
    state: Option<(u64, StateCounts)>,
    /// By node: when it last said how many workers it runs, and how many.
    workers: BTreeMap<String, (u64, u64)>,
    loads: Loads,
    judge: Judges,
    marks: Vec<Mark>,
    /// Workers that each scenario is asked to have, by name. Bounded as marks are: by what can be in a plan.
    workers_targets: BTreeMap<String, u32>,
    /// How many of the marks are the generator's own.
    generator_marks: usize,
    lost_results: u64,
    unknown_chains: u64,
    dropped_marks: u64,
    timeline: Timeline,
    /// Only where somebody looks at windows of time.
    windows: Option<Windows>,
}

#[derive(Clone, Debug, Default)]
struct ChainTotals {
    outcome: Outcome,
    abandoned: u64,
    keygen: u64,
    classes: BTreeMap<FailureClass, u64>,
}

#[derive(Clone, Debug, Default)]
struct EndpointTotals {
    endpoint: String,
    method: String,
    uri: String,
    outcome: Outcome,
}

/// Counts and times of something that can fail; failures are timed apart.
#[derive(Clone, Debug, Default)]
struct Outcome {
    count: u64,
    failed: u64,
    response: Times,
    service: Times,
    failed_response: Times,
    failed_service: Times,
}

#[derive(Clone, Debug)]
struct HitTotals {
    challenge: ChallengeType,
    verdict: Verdict,
    took: Times,
}

impl Aggregate {
    /// Counts one record.
    pub fn record(&mut self, record: &Record) {
        self.judge.record(record);
        if let Some(windows) = &mut self.windows {
            windows.record(record);
        }
        match record {
            Record::Header(header) if self.header.is_none() => {
                self.judge = Judges::new(&header.stamp.thresholds(), header.started_unix_ns);
                self.header = Some(header.clone());
            }
            Record::Header(_) => {}
            Record::Chain { origin_unix_ns, result, .. } => self.chain(*origin_unix_ns, result),
            Record::Hit { hit, .. } => self.hit(hit),
            Record::Mark { at_unix_ns, by, scenario, what, from, to } => self.mark(Mark {
                at_unix_ns: *at_unix_ns,
                by: shortened(by),
                scenario: shortened(scenario),
                what: shortened(what),
                from: shortened(from),
                to: shortened(to),
            }),
            Record::State { node, at_unix_ns, counts, .. } => {
                self.span(*at_unix_ns, *at_unix_ns);
                self.workers_of(node, (*at_unix_ns, counts.workers));
                self.state = later(self.state, Some((*at_unix_ns, *counts)));
            }
            Record::Load { node, seq, at_unix_ns, load } => self.load(node, *seq, *at_unix_ns, load),
            Record::Lost { count, .. } => self.lost_results += count,
        }
    }

    /// Adds the figures of `other`, as if its records had come after these.
    pub fn merge(&mut self, other: Self) {
        self.header = self.header.take().or(other.header);
        self.earliest = self.earliest.into_iter().chain(other.earliest).min();
        self.latest = self.latest.max(other.latest);
        for (ours, theirs) in self.chains.iter_mut().zip(other.chains) {
            ours.outcome.merge(theirs.outcome);
            ours.keygen += theirs.keygen;
            ours.abandoned += theirs.abandoned;
            for (class, count) in theirs.classes {
                *ours.classes.entry(class).or_default() += count;
            }
        }
        for theirs in other.endpoints.into_iter().chain(other.other_endpoint.map(|boxed| *boxed)) {
            self.endpoint(&theirs.endpoint, &theirs.method, &theirs.uri).merge(theirs.outcome);
        }
        for theirs in other.failures.into_iter().chain(other.other_failure) {
            self.failure(theirs);
        }
        self.requests += other.requests;
        self.requests_failed += other.requests_failed;
        self.posts += other.posts;
        self.nonces_fetched += other.nonces_fetched;
        self.nonces_rejected += other.nonces_rejected;
        self.retries += other.retries;
        self.polls += other.polls;
        self.connections.new += other.connections.new;
        self.connections.reused += other.connections.reused;
        self.bytes.sent += other.bytes.sent;
        self.bytes.received += other.bytes.received;
        for theirs in other.hits {
            self.hits_of(theirs.challenge, theirs.verdict).merge(theirs.took);
        }
        self.state = later(self.state, other.state);
        for (node, workers) in &other.workers {
            self.workers_of(node, *workers);
        }
        self.loads.merge(other.loads);
        self.judge.merge(other.judge);
        for mark in other.marks {
            self.mark(mark);
        }
        // The target outlives the bounded list of marks.
        self.workers_targets.extend(other.workers_targets);
        self.lost_results += other.lost_results;
        self.unknown_chains += other.unknown_chains;
        self.dropped_marks += other.dropped_marks;
        self.timeline.merge(other.timeline);
    }

    /// The figures so far.
    pub fn snapshot(&self) -> Snapshot {
        let started =
            self.header.as_ref().map(|header| header.started_unix_ns).or(self.earliest).unwrap_or(0);
        let elapsed_ns = self.latest.saturating_sub(started);
        let rate = |count: u64| {
            if elapsed_ns == 0 { 0.0 } else { rounded(count as f64 * 1e9 / elapsed_ns as f64, 1e3) }
        };
        let mut failures: Vec<_> = self.failures.iter().chain(&self.other_failure).cloned().collect();
        failures.sort_by_key(|failure| std::cmp::Reverse(failure.count));
        Snapshot {
            version: SNAPSHOT_VERSION,
            run: self.header.as_ref().map(run_of).unwrap_or_default(),
            at_unix_ns: self.latest,
            elapsed_ns,
            requests: self.requests,
            requests_failed: self.requests_failed,
            rps: rate(self.requests),
            chains: Chain::ALL
                .into_iter()
                .zip(&self.chains)
                .map(|(chain, totals)| {
                    let outcome = &totals.outcome;
                    let figures = ChainFigures {
                        count: outcome.count,
                        failed: outcome.failed,
                        abandoned: totals.abandoned,
                        rps: rate(outcome.count),
                        response_time_ns: outcome.response.timing(),
                        service_time_ns: outcome.service.timing(),
                        failed_response_time_ns: outcome.failed_response.timing(),
                        failed_service_time_ns: outcome.failed_service.timing(),
                        keygen_ns: totals.keygen,
                        classes: totals.classes.clone(),
                    };
                    (chain, figures)
                })
                .collect(),
            endpoints: self
                .endpoints
                .iter()
                .chain(self.other_endpoint.as_deref())
                .map(|totals| {
                    let outcome = &totals.outcome;
                    EndpointFigures {
                        endpoint: totals.endpoint.clone(),
                        method: totals.method.clone(),
                        uri: totals.uri.clone(),
                        count: outcome.count,
                        failed: outcome.failed,
                        rps: rate(outcome.count),
                        response_time_ns: outcome.response.timing(),
                        service_time_ns: outcome.service.timing(),
                        failed_response_time_ns: outcome.failed_response.timing(),
                        failed_service_time_ns: outcome.failed_service.timing(),
                    }
                })
                .collect(),
            failures,
            nonces: NonceFigures {
                fetched: self.nonces_fetched,
                rejected: self.nonces_rejected,
                rejected_share: (self.posts > 0)
                    .then(|| rounded(self.nonces_rejected as f64 / self.posts as f64, 1e6)),
            },
            retries: self.retries,
            polls: self.polls,
            connections: self.connections.clone(),
            bytes: self.bytes.clone(),
            hits: self
                .hits
                .iter()
                .map(|hits| {
                    let took_ns = hits.took.timing();
                    HitFigures { challenge: hits.challenge, verdict: hits.verdict, count: took_ns.n, took_ns }
                })
                .collect(),
            state: StateCounts {
                workers: self.workers_running(),
                ..self.state.map(|(_, counts)| counts).unwrap_or_default()
            },
            workers_target: self.workers_target(),
            scenarios: self.scenarios(),
            generator: self.loads.generator(self.latest),
            thresholds: self.judge.results(elapsed_ns),
            marks: self.marks.clone(),
            missing: self.missing(),
        }
    }

    /// What requesters say of each scenario; of one that runs a number of iterations no single one of them knows how many
    /// there are to be, and the run's header does.
    fn scenarios(&self) -> BTreeMap<String, ScenarioFigures> {
        let mut scenarios = self.loads.scenarios(self.latest);
        let plan = self.header.as_ref().and_then(|header| header.stamp.scenario["scenarios"].as_array());
        for planned in plan.into_iter().flatten() {
            let figures = planned["name"].as_str().and_then(|name| scenarios.get_mut(name));
            if let (Some(figures), Some(iterations)) = (figures, planned["iterations"].as_u64()) {
                figures.asked = iterations;
            }
        }
        scenarios
    }

    /// The figures over time: all, or those that changed after the revision that a reader has `seen`. Returns the
    /// revision that the reader has seen then.
    pub fn series(&mut self, seen: Option<u64>) -> (Series, u64) {
        self.timeline.series(seen)
    }

    /// Keeps from now on what windows of time are made of, to judge them by these thresholds.
    pub(crate) fn watch_windows(&mut self, thresholds: Vec<Threshold>) {
        self.windows = Some(Windows::new(thresholds));
    }

    /// Windows of time, where they are kept.
    pub(crate) const fn windows(&mut self) -> Option<&mut Windows> {
        self.windows.as_mut()
    }

    /// The threshold that wants the run to be ended, until the log says that it was.
    pub(crate) fn wants_end(&self) -> Option<&Threshold> {
        self.judge.wants_end()
    }

    /// The run's header, once seen.
    pub const fn header(&self) -> Option<&RunHeader> {
        self.header.as_ref()
    }

    /// How many workers the run is asked to have, by its marks.
    pub(crate) fn workers_target(&self) -> Option<u32> {
        let targets = self.workers_targets.values().copied();
        targets.reduce(u32::saturating_add)
    }

    /// The same, of one scenario.
    pub(crate) fn workers_target_of(&self, scenario: &str) -> Option<u32> {
        self.workers_targets.get(scenario).copied()
    }

    fn chain(&mut self, origin: u64, result: &ChainResult) {
        let done = origin.saturating_add(result.done);
        self.span(origin.saturating_add(result.started), done);
        for request in &result.requests {
            self.request(origin, request);
        }
        let Some(chain) = result.chain else {
            self.unknown_chains += 1;
            return;
        };
        let totals = &mut self.chains[chain.index()];
        if result.abandoned && result.successful {
            totals.outcome.count += 1;
            totals.abandoned += 1;
            self.timeline.abandoned_chain(done, chain);
            return;
        }
        totals.outcome.record(
            result.successful,
            result.took,
            // The design's records know only `chaintook`.
            if result.done == 0 { result.took } else { result.done.saturating_sub(result.started) },
        );
        totals.keygen += result.keygen;
        if let Some(class) = result.class {
            *totals.classes.entry(class).or_default() += 1;
        }
        self.timeline.chain(done, chain, result.successful, result.took);
        if !result.successful {
            let failed = result.requests.iter().rev().find(|request| !request.successful);
            self.failure(FailureFigures {
                scope: FailureScope::Chain,
                name: chain.name().to_owned(),
                class: result.class,
                status: failed.map_or(0, |request| request.status),
                problem: failed.map(|request| shortened(&request.problem)).unwrap_or_default(),
                count: 1,
                example: shortened(&result.error),
            });
        }
    }

    fn request(&mut self, origin: u64, request: &RequestResult) {
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
        self.bytes.sent += request.bytes_sent;
        self.bytes.received += request.bytes_received;
        self.endpoint(&request.endpoint, &request.method, &request.uri).record(
            request.successful,
            request.took,
            if request.done == 0 { request.took } else { request.service_time() },
        );
        self.timeline.request(origin.saturating_add(request.done), request.successful);
        if !request.successful {
            self.requests_failed += 1;
            self.failure(FailureFigures {
                scope: FailureScope::Request,
                name: shortened(if request.endpoint.is_empty() { &request.uri } else { &request.endpoint }),
                class: request.class,
                status: request.status,
                problem: shortened(&request.problem),
                count: 1,
                example: shortened(&request.error),
            });
        }
    }

    fn hit(&mut self, hit: &ValidationHit) {
        self.span(hit.at_unix_ns, hit.at_unix_ns.saturating_add(hit.took));
        self.hits_of(hit.challenge, hit.verdict).record(hit.took);
        self.timeline.hit(hit.at_unix_ns);
    }

    fn mark(&mut self, mark: Mark) {
        self.span(mark.at_unix_ns, mark.at_unix_ns);
        if mark.what == "workers" {
            let known = self.workers_targets.contains_key(&mark.scenario);
            if let (Ok(workers), true) =
                (mark.to.parse(), known || self.workers_targets.len() < MAX_SCENARIOS)
            {
                self.workers_targets.insert(mark.scenario.clone(), workers);
            }
        }
        let by_generator = mark.by == GENERATOR;
        // A generator at its limits comes and goes; that must not take the room of what people did.
        let full = by_generator && self.generator_marks >= MAX_GENERATOR_MARKS;
        if self.marks.len() < MAX_MARKS && !full {
            self.generator_marks += usize::from(by_generator);
            self.marks.push(mark);
        } else {
            self.dropped_marks += 1;
        }
    }

    fn load(&mut self, node: &str, seq: u64, at_unix_ns: u64, load: &LoadSample) {
        self.span(at_unix_ns, at_unix_ns);
        self.loads.record(node, seq, at_unix_ns, load);
        self.timeline.load(at_unix_ns, node, load);
        if let Some(limited) = load.generator.turned {
            let now = load.generator.limits.iter().filter(|limit| limit.now).map(|limit| limit.what.name());
            let limited_by = format!("limited by {}", now.collect::<Vec<_>>().join(", "));
            let (from, to) =
                if limited { (KEEPS_UP.into(), limited_by) } else { ("limited".into(), KEEPS_UP.into()) };
            let (by, what) = (GENERATOR.to_owned(), "generator".to_owned());
            self.mark(Mark { at_unix_ns, by, scenario: String::new(), what, from, to });
        }
    }

    /// The design's records carry no wall clock: their time 0 says nothing about the run's span.
    fn span(&mut self, from_unix_ns: u64, to_unix_ns: u64) {
        if from_unix_ns > 0 {
            self.earliest = Some(self.earliest.map_or(from_unix_ns, |earliest| earliest.min(from_unix_ns)));
        }
        self.latest = self.latest.max(to_unix_ns);
    }

    /// The totals of an endpoint. Looked through in order: there are few, and the busy ones came first.
    fn endpoint(&mut self, endpoint: &str, method: &str, uri: &str) -> &mut Outcome {
        let known = self
            .endpoints
            .iter()
            .position(|known| known.uri == uri && known.endpoint == endpoint && known.method == method);
        match known {
            Some(place) => &mut self.endpoints[place].outcome,
            None if self.endpoints.len() < MAX_ENDPOINTS && endpoint != OTHER => {
                self.endpoints.push(EndpointTotals {
                    endpoint: endpoint.to_owned(),
                    method: method.to_owned(),
                    uri: uri.to_owned(),
                    outcome: Outcome::default(),
                });
                &mut self.endpoints.last_mut().expect("just pushed").outcome
            }
            None => {
                let other = self.other_endpoint.get_or_insert_with(|| {
                    Box::new(EndpointTotals { endpoint: OTHER.into(), ..EndpointTotals::default() })
                });
                &mut other.outcome
            }
        }
    }

    fn failure(&mut self, failure: FailureFigures) {
        let same = |known: &FailureFigures| {
            known.scope == failure.scope
                && known.class == failure.class
                && known.status == failure.status
                && known.name == failure.name
                && known.problem == failure.problem
        };
        match self.failures.iter().position(same) {
            Some(place) => self.failures[place].count += failure.count,
            None if self.failures.len() < MAX_FAILURES && failure.name != OTHER => {
                self.failures.push(failure)
            }
            None => {
                let other = self.other_failure.get_or_insert_with(|| FailureFigures {
                    scope: failure.scope,
                    name: OTHER.to_owned(),
                    class: None,
                    status: 0,
                    problem: String::new(),
                    count: 0,
                    example: failure.example,
                });
                other.count += failure.count;
            }
        }
    }

    fn hits_of(&mut self, challenge: ChallengeType, verdict: Verdict) -> &mut Times {
        let known = self.hits.iter().position(|hits| hits.challenge == challenge && hits.verdict == verdict);
        let place = known.unwrap_or_else(|| {
            self.hits.push(HitTotals { challenge, verdict, took: Times::default() });
            self.hits.len() - 1
        });
        &mut self.hits[place].took
    }

    fn workers_of(&mut self, node: &str, (at, workers): (u64, u64)) {
        if let Some(known) = self.workers.get_mut(node) {
            *known = (at, workers).max(*known);
        } else if self.workers.len() < MAX_NODES {
            self.workers.insert(node.to_owned(), (at, workers));
        }
    }

    fn workers_running(&self) -> u64 {
        let alive = self.workers.values().filter(|(at, _)| self.latest.saturating_sub(*at) < NODE_SILENT_NS);
        alive.fold(0, |sum, (_, workers)| sum.saturating_add(*workers))
    }

    fn missing(&self) -> Missing {
        let outcomes = (self.chains.iter().map(|chain| &chain.outcome))
            .chain(self.endpoints.iter().chain(self.other_endpoint.as_deref()).map(|totals| &totals.outcome));
        Missing {
            lost_results: self.lost_results,
            unknown_chains: self.unknown_chains,
            clamped_times: outcomes.map(Outcome::clamped).sum::<u64>()
                + self.hits.iter().map(|hits| hits.took.clamped()).sum::<u64>()
                + self.loads.clamped(),
            other_endpoints: self.other_endpoint.as_ref().map_or(0, |other| other.outcome.count),
            other_failures: self.other_failure.as_ref().map_or(0, |other| other.count),
            dropped_marks: self.dropped_marks,
            other_scenarios: self.loads.other_scenarios(),
            outside_series: self.timeline.outside(),
        }
    }
}

/// Who makes the marks of the generator's own limits.
const GENERATOR: &str = "generator";
/// The state of a generator that is none.
const KEEPS_UP: &str = "keeps up";
/// The name of what a bounded table had no room for.
const OTHER: &str = "other";

impl Outcome {
    fn record(&mut self, successful: bool, response: u64, service: u64) {
        self.count += 1;
        if successful {
            self.response.record(response);
            self.service.record(service);
        } else {
            self.failed += 1;
            self.failed_response.record(response);
            self.failed_service.record(service);
        }
    }

    fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.failed += other.failed;
        self.response.merge(other.response);
        self.service.merge(other.service);
        self.failed_response.merge(other.failed_response);
        self.failed_service.merge(other.failed_service);
    }

    fn clamped(&self) -> u64 {
        [&self.response, &self.service, &self.failed_response, &self.failed_service]
            .into_iter()
            .map(Times::clamped)
            .sum()
    }
}

/// The counts with the later time. With equal times the larger, so that the order of records does not matter.
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

fn run_of(header: &RunHeader) -> Run {
    Run {
        id: header.run.clone(),
        session: header.session.clone(),
        program: header.program.clone(),
        target: header.target.clone(),
        started_unix_ns: header.started_unix_ns,
        stamp: header.stamp.clone(),
    }
}

/// More digits would mean nothing, and not every JSON reader gives all of them back.
fn rounded(value: f64, to_one_in: f64) -> f64 {
    (value * to_one_in).round() / to_one_in
}

fn shortened(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}
