//! Makes the figures from the counts.

use std::collections::BTreeMap;
use std::time::Duration;

use wec_record::{Chain, FailureClass, Gap, Mark, MarkValue, RunHeader, StateCounts};

use super::{Aggregate, NODE_SILENT_NS, OutcomeTotals};
use crate::distribution::Times;
use crate::never_succeeded::never_succeeded;
use crate::snapshot::{
    ChainFigures, EndpointFigures, GapFigures, HitFigures, IssuedFigures, Missing, NonceFigures,
    ObservedFigures, Period, Run, SNAPSHOT_VERSION, ScenarioFigures, Snapshot, Warnings,
};

impl Aggregate {
    /// The figures so far.
    pub fn snapshot(&self) -> Snapshot {
        let run_started = self.times.started().unwrap_or(0);
        let measured = run_started.max(self.warm_until);
        let started = self.period.as_ref().map_or(measured, |period| period.unix_ns.start);
        let elapsed_ns = self.latest.saturating_sub(started);
        let rate = |count: u64| {
            if elapsed_ns == 0 { 0.0 } else { rounded(count as f64 * 1e9 / elapsed_ns as f64, 1e3) }
        };
        let mut failures: Vec<_> = self.failures.iter().chain(&self.other_failure).cloned().collect();
        // What the CA must never accept comes first, however rare.
        failures.sort_by_key(|failure| {
            (failure.class != Some(FailureClass::Accepted), std::cmp::Reverse(failure.count))
        });
        let responses = self.request_times();
        let (validations, unjoined_hits) = self.validations.figures();
        let mut snapshot = Snapshot {
            version: SNAPSHOT_VERSION,
            run: self.header.as_ref().map(run_of).unwrap_or_default(),
            at_unix_ns: self.latest,
            elapsed_ns,
            period: self.period.as_ref().map(|_| {
                let from_ns = started.saturating_sub(run_started);
                Period { from_ns, to_ns: from_ns.saturating_add(elapsed_ns) }
            }),
            requests: self.requests,
            requests_failed: self.requests_failed,
            refused_origins: self.refused_origins,
            rps: rate(self.requests),
            response_time_ns: responses.timing(),
            issued: IssuedFigures {
                count: self.issued,
                per_second: rate(self.issued),
                response_time_ns: self.issuances.timing(),
            },
            chains: Chain::ALL
                .into_iter()
                .zip(&self.chains)
                .map(|(chain, totals)| {
                    let outcome = &totals.outcome;
                    let figures = ChainFigures {
                        count: outcome.count,
                        failed: outcome.failed,
                        cut_off: totals.cut_off,
                        abandoned: totals.abandoned,
                        rps: rate(outcome.count),
                        response_time_ns: outcome.response.timing(),
                        service_time_ns: outcome.service.timing(),
                        failed_response_time_ns: outcome.failed_response.timing(),
                        failed_service_time_ns: outcome.failed_service.timing(),
                        keygen_ns: totals.keygen,
                        time: totals.parts.figures(),
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
                        cut_off: outcome.cut_off,
                        outcome_unknown: outcome.unknown,
                        rps: rate(outcome.count),
                        bytes_received: totals.received,
                        response_time_ns: outcome.response.timing(),
                        service_time_ns: outcome.service.timing(),
                        failed_response_time_ns: outcome.failed_response.timing(),
                        failed_service_time_ns: outcome.failed_service.timing(),
                        phases: totals.parts.figures(),
                    }
                })
                .collect(),
            unverified: self.certificates.unverified(),
            profiles: self.certificates.profiles(),
            failures,
            nonces: NonceFigures {
                fetched: self.nonces_fetched,
                rejected: self.nonces_rejected,
                rejected_share: (self.posts > 0)
                    .then(|| rounded(self.nonces_rejected as f64 / self.posts as f64, 1e6)),
                age_ns: self.nonce_age.timing(),
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
            hit_sources: self.hit_sources.sources(),
            unknown_hits: self.hit_sources.unknown(),
            validations,
            state: StateCounts {
                workers: self.workers_running(),
                unwritten: self.unwritten,
                claimed: self.live_nodes().fold(0, |sum, (.., claimed)| sum.saturating_add(claimed)),
                ..self.state.map(|(_, counts)| counts).unwrap_or_default()
            },
            workers_target: self.workers_target(),
            scenarios: self.scenarios(),
            nodes: self.nodes.figures(rate),
            generator: self.loads.generator(self.latest, &self.nodes.lag(), &responses),
            orders_expired: self.loads.orders_expired(),
            ca_clock_ahead_s: self.loads.clock_ahead_s(),
            thresholds: self.verdict.results(elapsed_ns),
            never_succeeded: Vec::new(),
            warnings: self.warnings.figures(),
            observed: self.observed_figures(),
            marks: self.marks(),
            gaps: self.gaps().collect(),
            missing: Missing { unjoined_hits, ..self.missing() },
        };
        // A part of a run has no verdict.
        if self.period.is_none() {
            snapshot.never_succeeded = never_succeeded(&snapshot);
        }
        snapshot
    }

    /// The changes of the load, with the end of the warm-up among them by its time.
    fn marks(&self) -> Vec<Mark> {
        let mut marks = self.marks.clone();
        if let Some(mark) = self.warm_up_mark() {
            let place = marks.iter().position(|other| other.at_unix_ns > mark.at_unix_ns);
            marks.insert(place.unwrap_or(marks.len()), mark);
        }
        marks
    }

    /// What the processes of the load tester warned of.
    pub fn warnings(&self) -> Warnings {
        Warnings { warnings: self.warnings.figures(), others: self.warnings.others() }
    }

    /// Response times of all requests that succeeded.
    pub fn request_times(&self) -> Times {
        let mut all = Times::default();
        self.endpoint_times().for_each(|times| all.merge(times.clone()));
        all
    }

    /// Response times of the iterations of this chain that succeeded.
    pub const fn chain_times(&self, chain: Chain) -> &Times {
        &self.chains[chain.index()].outcome.response
    }

    /// Response times of the requests to each endpoint that succeeded, in the order of
    /// [`Snapshot::endpoints`].
    pub fn endpoint_times(&self) -> impl Iterator<Item = &Times> {
        self.endpoints.iter().chain(self.other_endpoint.as_deref()).map(|totals| &totals.outcome.response)
    }

    /// The figures of each scenario from the load samples. The number of iterations, if it is fixed, comes
    /// from the run's header, because no single node knows it.
    fn scenarios(&self) -> BTreeMap<String, ScenarioFigures> {
        let mut scenarios = self.loads.scenarios(self.latest, self.stopped);
        let plan = self.header.as_ref().and_then(|header| header.stamp.plan.as_ref());
        for planned in plan.into_iter().flat_map(|plan| &plan.scenarios) {
            let figures = scenarios.get_mut(&planned.name);
            if let (Some(figures), Some(iterations)) = (figures, planned.load.iterations()) {
                figures.asked = iterations;
            }
        }
        for gap in self.gaps() {
            if let Some(figures) = scenarios.get_mut(&gap.scenario) {
                figures.missing = figures.missing.saturating_add(gap.missing);
                figures.asked = figures.asked.saturating_add(gap.missing);
            }
        }
        scenarios
    }

    /// The gaps of the target, as they were marked.
    fn gaps(&self) -> impl Iterator<Item = GapFigures> {
        self.marks.iter().filter(|mark| self.includes(mark.at_unix_ns)).filter_map(|mark| {
            let MarkValue::Gap(Gap { seconds, missing, required, unit }) = &mark.to else { return None };
            Some(GapFigures {
                scenario: mark.scenario.clone(),
                from_unix_ns: mark.at_unix_ns.saturating_sub(seconds.saturating_mul(1_000_000_000)),
                to_unix_ns: mark.at_unix_ns,
                required: *required,
                missing: *missing,
                unit: unit.clone(),
            })
        })
    }

    /// Number of workers, by the latest samples of the nodes.
    pub fn workers_running(&self) -> u64 {
        self.live_workers().fold(0, |sum, (_, workers)| sum.saturating_add(workers))
    }

    /// The nodes that report, with their numbers of workers.
    pub(super) fn live_workers(&self) -> impl Iterator<Item = (&str, u64)> {
        self.live_nodes().map(|(node, workers, _)| (node, workers))
    }

    /// Their names, workers and claims.
    fn live_nodes(&self) -> impl Iterator<Item = (&str, u64, u64)> {
        let alive =
            self.workers.iter().filter(|(_, (at, ..))| self.latest.saturating_sub(*at) < NODE_SILENT_NS);
        alive.map(|(node, (_, workers, claimed))| (node.as_str(), *workers, *claimed))
    }

    fn observed_figures(&self) -> Vec<ObservedFigures> {
        if self.observed.is_empty() {
            return Vec::new();
        }
        let (step_s, times) = self.timeline.issuance_means(self.observed.step_s());
        self.observed.figures(step_s, &times)
    }

    fn missing(&self) -> Missing {
        let outcomes = (self.chains.iter().map(|chain| &chain.outcome))
            .chain(self.endpoints.iter().chain(self.other_endpoint.as_deref()).map(|totals| &totals.outcome));
        Missing {
            lost_results: self.lost_results,
            unknown_chains: self.unknown_chains,
            unknown_records: self.unknown_records,
            other_warnings: self.warnings.others(),
            clamped_times: outcomes.map(OutcomeTotals::clamped).sum::<u64>()
                + self.hits.iter().map(|hits| hits.took.clamped()).sum::<u64>()
                + self.validations.clamped()
                + self.issuances.clamped()
                + self.nodes.lag().clamped(),
            other_endpoints: self.other_endpoint.as_ref().map_or(0, |other| other.outcome.count),
            other_failures: self.other_failure.as_ref().map_or(0, |other| other.count),
            dropped_marks: self.dropped_marks,
            other_scenarios: self.loads.other_scenarios(),
            observed_left_out: self.observed.left_out(),
            other_observed: self.observed.beyond(),
            outside_series: self.timeline.outside(),
            unjoined_hits: 0,
        }
    }
}

fn run_of(header: &RunHeader) -> Run {
    Run {
        id: header.run.clone(),
        session: header.session.clone(),
        program: header.program.clone(),
        target: header.target.clone(),
        started_unix_ns: header.started_unix_ns,
        run_time_ns: header.stamp.plan.as_ref().and_then(|plan| plan.run_time()).map(nanoseconds),
        warm_up_ns: header.stamp.warm_up_ns(),
        stamp: header.stamp.clone(),
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// More digits are not significant, and not every JSON reader preserves them.
pub(super) fn rounded(value: f64, to_one_in: f64) -> f64 {
    (value * to_one_in).round() / to_one_in
}
