//! Makes families of series from the counts.

use std::collections::BTreeMap;

use wec_record::{Chain, FailureClass};

use super::{Aggregate, EndpointTotals, OTHER, OutcomeTotals};
use crate::families::{Distribution, Family, Labels, MetricUnit};
use crate::snapshot::FailureScope;

/// The class of a failure whose record has none.
const UNCLASSIFIED: &str = "unclassified";

impl Aggregate {
    /// The families of the run so far; none before it has begun.
    pub fn families(&self) -> Vec<Family> {
        let Some(header) = &self.header else { return Vec::new() };
        let mut families = vec![
            Family::info(
                "wec_run",
                "The run that the figures are of",
                vec![
                    ("run", header.run.clone()),
                    ("session", header.session.clone()),
                    ("target", header.target.clone()),
                    ("program", header.program.clone()),
                ],
            ),
            Family::value(
                "wec_run_start_time",
                "Start of the run, since the Unix epoch",
                header.started_unix_ns as f64 / 1e9,
            )
            .in_unit(MetricUnit::Seconds),
        ];
        families.extend(self.request_families());
        families.extend(self.chain_families());
        families.extend(self.load_families());
        families
    }

    fn request_families(&self) -> Vec<Family> {
        let mut endpoints = BTreeMap::<(&str, &str), OutcomeTotals>::new();
        for totals in self.endpoints.iter().chain(self.other_endpoint.as_deref()) {
            endpoints.entry((name_of(totals), &totals.method)).or_default().merge(totals.outcome.clone());
        }
        let labels = |key: &(&str, &str)| vec![("endpoint", key.0.to_owned()), ("method", key.1.to_owned())];
        let counts = |count: fn(&OutcomeTotals) -> u64| {
            endpoints.iter().map(|(key, outcome)| (labels(key), count(outcome) as f64)).collect()
        };
        let times = |times: fn(&OutcomeTotals) -> Distribution| {
            endpoints.iter().map(|(key, outcome)| (labels(key), times(outcome))).collect()
        };
        let by_connection = [("new", self.connections.new), ("reused", self.connections.reused)];
        vec![
            Family::counter(
                "wec_http_requests",
                "HTTP attempts that ended, with those that failed",
                counts(|outcome| outcome.count - outcome.cut_off),
            ),
            Family::counter(
                "wec_http_requests_cut_off",
                "HTTP attempts that the load tester cut off",
                counts(|outcome| outcome.cut_off),
            ),
            Family::counter(
                "wec_http_request_failures",
                "HTTP attempts that failed, by class of failure",
                self.failures_of(FailureScope::Request, "endpoint"),
            ),
            Family::times(
                "wec_http_response_time",
                "From when a request was due to the end of its answer, of requests that succeeded",
                times(|outcome| Distribution::of(&outcome.response)),
            ),
            Family::times(
                "wec_http_service_time",
                "From when a request was sent to the end of its answer, of requests that succeeded",
                times(|outcome| Distribution::of(&outcome.service)),
            ),
            Family::total("wec_http_retries", "Further attempts after badNonce, 429 or 503", self.retries),
            Family::total("wec_http_polls", "Polls for the state of an object", self.polls),
            Family::counter(
                "wec_http_connection_requests",
                "HTTP attempts on a new connection and on one that had carried a request before",
                by_connection
                    .map(|(kind, count)| (vec![("connection", kind.to_owned())], count as f64))
                    .to_vec(),
            ),
            Family::total(
                "wec_http_reconnects",
                "Requests sent again because their connection was closed before any answer",
                self.connections.reconnects,
            ),
            Family::total("wec_http_sent", "Bytes of requests", self.bytes.sent).in_unit(MetricUnit::Bytes),
            Family::total("wec_http_received", "Bytes of the bodies of answers", self.bytes.received)
                .in_unit(MetricUnit::Bytes),
            Family::total("wec_nonces_fetched", "Requests made only for a nonce", self.nonces_fetched),
            Family::total("wec_nonces_rejected", "Requests refused with badNonce", self.nonces_rejected),
        ]
    }

    fn chain_families(&self) -> Vec<Family> {
        let chains = || Chain::ALL.into_iter().zip(&self.chains);
        let labels = |chain: Chain| vec![("chain", chain.name().to_owned())];
        let mut failures = Vec::new();
        for (chain, totals) in chains() {
            let mut failure = |class: &str, count: u64| {
                let labels = [labels(chain), vec![("class", class.to_owned())]].concat();
                failures.push((labels, count as f64));
            };
            totals.classes.iter().for_each(|(class, count)| failure(class.name(), *count));
            let unclassified = totals.outcome.failed.saturating_sub(totals.classes.values().sum());
            if unclassified > 0 {
                failure(UNCLASSIFIED, unclassified);
            }
        }
        vec![
            Family::counter(
                "wec_chains",
                "Chains that ended, with those that failed",
                chains().map(|(chain, totals)| (labels(chain), totals.outcome.count as f64)).collect(),
            ),
            Family::counter(
                "wec_chains_cut_off",
                "Chains that the load tester cut off",
                chains().map(|(chain, totals)| (labels(chain), totals.cut_off as f64)).collect(),
            ),
            Family::counter(
                "wec_chains_abandoned",
                "Chains that left an order unfinished on purpose",
                chains().map(|(chain, totals)| (labels(chain), totals.abandoned as f64)).collect(),
            ),
            Family::counter("wec_chain_failures", "Chains that failed, by class of failure", failures),
            Family::times(
                "wec_chain_response_time",
                "From when a chain was due to its end, of chains that succeeded",
                chains()
                    .map(|(chain, totals)| (labels(chain), Distribution::of(&totals.outcome.response)))
                    .collect(),
            ),
            Family::total("wec_certificates_issued", "Certificates issued", self.issued),
            Family::times(
                "wec_issuance_response_time",
                "A whole issuance, from newOrder to the certificate",
                vec![(Vec::new(), Distribution::of(&self.issuances))],
            ),
            Family::counter(
                "wec_validation_hits",
                "Validations that arrived at the challenge servers",
                self.hits
                    .iter()
                    .map(|hits| {
                        let verdict = ("verdict", hits.verdict.name().to_owned());
                        let labels = vec![("challenge", hits.challenge.name().to_owned()), verdict];
                        (labels, hits.took.count() as f64)
                    })
                    .collect(),
            ),
        ]
    }

    fn load_families(&self) -> Vec<Family> {
        let state = self.state.map(|(_, counts)| counts).unwrap_or_default();
        let objects = [
            ("registrations", state.registrations),
            ("authorizations", state.authorizations),
            ("certificates", state.certificates),
            ("revoked", state.revoked),
        ];
        let workers = self.live_workers();
        let scenarios = self.loads.scenarios(self.latest, self.stopped);
        let of_scenario = |name: &str| vec![("scenario", name.to_owned())];
        let per_scenario = |value: fn(&crate::snapshot::ScenarioFigures) -> u64| {
            let scenarios = scenarios.iter();
            scenarios.map(|(name, figures)| (of_scenario(name), value(figures) as f64)).collect()
        };
        let lag = self.nodes.lag();
        let generator = self.loads.generator(self.latest, &lag, &self.request_times());
        let share = |value: Option<f64>| value.map(|value| (Vec::new(), value)).into_iter().collect();
        let causes = generator.causes.iter();
        let limited = causes.map(|(cause, figures)| {
            (vec![("cause", cause.name().to_owned())], f64::from(u8::from(figures.limited_now)))
        });
        vec![
            Family::gauge(
                "wec_workers",
                "Workers of a node",
                workers.map(|(node, count)| (vec![("node", node.to_owned())], count as f64)).collect(),
            ),
            Family::gauge(
                "wec_workers_target",
                "Target number of workers, by scenario; with a rate, the largest number allowed",
                per_scenario(|figures| figures.workers_target),
            ),
            Family::gauge(
                "wec_workers_busy",
                "Workers that are running a chain, by scenario",
                per_scenario(|figures| figures.busy),
            ),
            Family::gauge(
                "wec_target_rate",
                "Target rate, in chains or requests per second, by scenario",
                scenarios
                    .iter()
                    .filter_map(|(name, figures)| {
                        let unit = ("unit", figures.rate_unit.clone());
                        Some(([of_scenario(name), vec![unit]].concat(), figures.rate_target?))
                    })
                    .collect(),
            ),
            Family::gauge(
                "wec_missing_rate",
                "Part of the target rate that no node has, in chains or requests per second, by scenario",
                scenarios
                    .iter()
                    .filter_map(|(name, figures)| {
                        let unit = ("unit", figures.rate_unit.clone());
                        Some(([of_scenario(name), vec![unit]].concat(), figures.rate_missing?))
                    })
                    .collect(),
            ),
            Family::counter(
                "wec_iterations_due",
                "Iterations that were due, by scenario",
                per_scenario(|figures| figures.due),
            ),
            Family::counter(
                "wec_iterations_dropped",
                "Iterations dropped because no worker was free, by scenario",
                per_scenario(|figures| figures.dropped),
            ),
            Family::gauge(
                "wec_state_objects",
                "Objects in the state store, by kind",
                objects.map(|(kind, count)| (vec![("kind", kind.to_owned())], count as f64)).to_vec(),
            ),
            Family::times(
                "wec_generator_lag",
                "How much later than due the load tester ran its work",
                vec![(Vec::new(), Distribution::of(&lag))],
            ),
            Family::gauge(
                "wec_generator_limited",
                "1 while the load tester is the limit, by cause",
                limited.collect(),
            ),
            Family::gauge(
                "wec_generator_busiest_thread_ratio",
                "Share of the latest second for which the busiest thread of a requester ran",
                share(generator.cpu_share),
            ),
            Family::gauge(
                "wec_generator_processors",
                "Processors used by all requesters",
                share(generator.processors),
            ),
            Family::value(
                "wec_generator_queue_ratio",
                "Fill level of the fullest queue of results of a requester",
                generator.backlog_share,
            ),
            Family::total("wec_results_lost", "Results that senders lost", self.lost_results),
        ]
    }

    /// Failures by name and class. The table of failures is bounded: those beyond it have the name `other`.
    fn failures_of(&self, scope: FailureScope, label: &'static str) -> Vec<(Labels, f64)> {
        let mut counts = BTreeMap::<(&str, &str), u64>::new();
        for failure in self.failures.iter().chain(&self.other_failure).filter(|row| row.scope == scope) {
            let class = failure.class.map_or(UNCLASSIFIED, FailureClass::name);
            *counts.entry((&failure.name, class)).or_default() += failure.count;
        }
        let labels = |name: &str, class: &str| vec![(label, name.to_owned()), ("class", class.to_owned())];
        counts.into_iter().map(|((name, class), count)| (labels(name, class), count as f64)).collect()
    }
}

/// A request without one of RFC 8555's names has its URI template.
fn name_of(totals: &EndpointTotals) -> &str {
    match &*totals.endpoint {
        "" if totals.uri.is_empty() => OTHER,
        "" => &totals.uri,
        name => name,
    }
}
