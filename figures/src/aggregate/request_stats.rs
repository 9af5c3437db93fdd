//! The figures in the shape of Locust's `requestStats`, for the consumer.

use std::collections::BTreeMap;

use wec_record::{EndpointStats, ErrorStats, RequestStats};

use super::{Aggregate, EndpointTotals};
use crate::distribution::Times;
use crate::snapshot::FailureScope;

/// Requests by method and endpoint at an earlier time, for current rates.
#[derive(Clone, Debug, Default)]
pub struct Earlier {
    at_unix_ns: u64,
    counts: BTreeMap<(String, String), u64>,
}

#[derive(Default)]
struct Group {
    count: u64,
    failed: u64,
    received: u64,
    response: Times,
}

impl Aggregate {
    /// The figures so far, and what the next call needs. `since` is what the last call returned.
    ///
    /// Times are response times of the requests that succeeded. Requests that were cut off by the end of the run
    /// are not counted.
    pub fn request_stats(&self, at_unix_ns: u64, since: &Earlier, running: bool) -> (RequestStats, Earlier) {
        let mut groups = BTreeMap::<(String, String), Group>::new();
        let mut all = Group::default();
        for totals in self.endpoints.iter().chain(self.other_endpoint.as_deref()) {
            let key = (totals.method.clone(), totals.endpoint.clone());
            groups.entry(key).or_default().add(totals);
            all.add(totals);
        }
        let started = self.times.started().unwrap_or(0);
        let begun = if since.at_unix_ns == 0 { started } else { since.at_unix_ns };
        let rate = |count: u64, from: u64| {
            let seconds = at_unix_ns.saturating_sub(from) as f64 / 1e9;
            if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
        };
        let counts: BTreeMap<_, _> = groups.iter().map(|(key, group)| (key.clone(), group.count)).collect();
        let before = |key: &(String, String)| since.counts.get(key).copied().unwrap_or(0);
        let mut stats: Vec<_> = groups
            .iter()
            .map(|(key, group)| {
                let current = rate(group.count.saturating_sub(before(key)), begun);
                group.stats(&key.0, &key.1, current)
            })
            .collect();
        let earlier = since.counts.values().fold(0_u64, |sum, count| sum.saturating_add(*count));
        stats.push(all.stats("", "Aggregated", rate(all.count.saturating_sub(earlier), begun)));
        let stats = RequestStats {
            stats,
            errors: self.errors(),
            total_rps: Some(rate(all.count, started)),
            fail_ratio: Some(if all.count == 0 { 0.0 } else { all.failed as f64 / all.count as f64 }),
            state: if running { "running" } else { "stopped" }.to_owned(),
            user_count: Some(self.workers_running()),
        };
        (stats, Earlier { at_unix_ns, counts })
    }

    fn errors(&self) -> Vec<ErrorStats> {
        let failures = self.failures.iter().chain(&self.other_failure);
        let mut errors: Vec<_> = failures
            .filter(|failure| failure.scope == FailureScope::Request)
            .map(|failure| {
                let of = self.endpoints.iter().find(|totals| totals.endpoint == failure.name);
                let class = failure.class.map(|class| class.to_string());
                let status = (failure.status > 0).then(|| failure.status.to_string());
                let parts =
                    [class.as_deref(), status.as_deref(), Some(&*failure.problem), Some(&*failure.detail)];
                let parts: Vec<_> = parts.into_iter().flatten().filter(|part| !part.is_empty()).collect();
                ErrorStats {
                    method: of.map(|totals| totals.method.clone()).unwrap_or_default(),
                    name: failure.name.clone(),
                    error: parts.join(" "),
                    occurrences: failure.count,
                }
            })
            .collect();
        errors.sort_by(|a, b| (b.occurrences, &a.name, &a.error).cmp(&(a.occurrences, &b.name, &b.error)));
        errors
    }
}

impl Group {
    fn add(&mut self, totals: &EndpointTotals) {
        let outcome = &totals.outcome;
        self.count += outcome.count - outcome.cut_off;
        self.failed += outcome.failed;
        self.received = self.received.saturating_add(totals.received);
        self.response.merge(outcome.response.clone());
    }

    fn stats(&self, method: &str, name: &str, current_rps: f64) -> EndpointStats {
        let timing = self.response.timing();
        let milliseconds = |ns: Option<u64>| ns.map(|ns| ns as f64 / 1e6);
        EndpointStats {
            method: method.to_owned(),
            name: name.to_owned(),
            num_requests: self.count,
            num_failures: self.failed,
            avg_response_time: milliseconds(timing.mean),
            min_response_time: milliseconds(self.response.shortest()),
            max_response_time: milliseconds(timing.max),
            median_response_time: milliseconds(timing.p50),
            current_rps,
            avg_content_length: (self.count > 0).then(|| self.received as f64 / self.count as f64),
        }
    }
}
