//! The table of failures: one row for each kind, within bounds.

use wec_record::RequestResult;

use super::{Aggregate, OTHER};
use crate::snapshot::{FailureFigures, Trend};

/// Rows of the table.
const MAX_FAILURES: usize = 256;
/// Details of one kind of failure. They come from a server, and must not displace other kinds.
const MAX_DETAILS: usize = 16;

impl Aggregate {
    /// Whether a kind of failure has occurred so often.
    pub fn has_failed_times(&self, count: u64) -> bool {
        self.failures.iter().any(|known| known.count >= count)
    }

    pub(super) fn failure(&mut self, mut failure: FailureFigures) {
        let mut place = self
            .failures
            .iter()
            .position(|known| same_kind(known, &failure) && known.detail == failure.detail);
        if place.is_none() && !failure.detail.is_empty() {
            let details = self.failures.iter().filter(|known| same_kind(known, &failure)).count();
            if details >= MAX_DETAILS {
                failure.detail = OTHER.to_owned();
                place = self
                    .failures
                    .iter()
                    .position(|known| same_kind(known, &failure) && known.detail == OTHER);
            }
        }
        match place {
            Some(at) => {
                let known = &mut self.failures[at];
                known.add(&failure);
                // Of pieces, whose order is not that of the log.
                if self.place < self.failure_places[at] {
                    self.failure_places[at] = self.place;
                    known.example = failure.example;
                    known.request_id = failure.request_id;
                    known.traceparent = failure.traceparent;
                    known.document = failure.document;
                    (known.node, known.seq) = (failure.node, failure.seq);
                }
            }
            None if self.failures.len() < MAX_FAILURES && failure.name != OTHER => {
                self.failures.push(failure);
                self.failure_places.push(self.place);
            }
            None => {
                let other = self.other_failure.get_or_insert_with(|| FailureFigures {
                    scope: failure.scope,
                    name: OTHER.to_owned(),
                    class: None,
                    status: 0,
                    problem: String::new(),
                    detail: String::new(),
                    count: 0,
                    first_unix_ns: failure.first_unix_ns,
                    last_unix_ns: failure.last_unix_ns,
                    retry_after_min_ns: None,
                    retry_after_max_ns: None,
                    retry_kept: 0,
                    retry_early: 0,
                    trend: Trend::default(),
                    example: failure.example.clone(),
                    request_id: failure.request_id.clone(),
                    traceparent: failure.traceparent.clone(),
                    document: failure.document.clone(),
                    node: failure.node.clone(),
                    seq: failure.seq,
                });
                other.add(&failure);
            }
        }
    }
}

/// The shortest time by which a wait that was kept may seem too short: times in logs are whole microseconds.
const PRECISION_NS: u64 = 1_000_000;

/// Whether the chain's next request to the endpoint of the one at this place was sent no sooner than the answer had asked;
/// none if it asked for no wait, or no such request followed.
pub(super) fn kept_wait(requests: &[RequestResult], place: usize) -> Option<bool> {
    let failed = &requests[place];
    let wait = failed.retry_after?;
    let same = |next: &&RequestResult| next.endpoint == failed.endpoint && next.method == failed.method;
    let next = requests[place + 1..].iter().find(same)?;
    let sent = if next.sent == 0 { next.due } else { next.sent };
    Some(sent.saturating_add(PRECISION_NS) >= failed.done.saturating_add(wait))
}

/// Whether two failures differ only in their details.
fn same_kind(a: &FailureFigures, b: &FailureFigures) -> bool {
    a.scope == b.scope
        && a.class == b.class
        && a.status == b.status
        && a.name == b.name
        && a.problem == b.problem
}

impl FailureFigures {
    fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.first_unix_ns = self.first_unix_ns.min(other.first_unix_ns);
        self.last_unix_ns = self.last_unix_ns.max(other.last_unix_ns);
        let both = |a: Option<u64>, b: Option<u64>| a.into_iter().chain(b);
        self.retry_after_min_ns = both(self.retry_after_min_ns, other.retry_after_min_ns).min();
        self.retry_after_max_ns = both(self.retry_after_max_ns, other.retry_after_max_ns).max();
        self.retry_kept += other.retry_kept;
        self.retry_early += other.retry_early;
        self.trend.add(&other.trend);
    }
}
