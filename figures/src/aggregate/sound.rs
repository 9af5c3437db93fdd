//! Checks whether figures that were read from a file can come from records. Whoever can write beside a log can write an
//! index: false figures could overflow when they are added, use unbounded memory, or be shown as measured times.

use super::marks::MAX_MARKS;
use super::{
    Aggregate, ChainTotals, EndpointTotals, HitTotals, MAX_ENDPOINTS, MAX_NODES, MAX_SCENARIOS, OutcomeTotals,
};
use crate::distribution::MOST;
use crate::snapshot::{ByteFigures, ConnectionFigures, FailureFigures};

/// Maximal length of a text of the figures, bytes. Names of endpoints are those of the log.
const LONGEST_TEXT: usize = 16 << 10;

impl Aggregate {
    /// Whether a piece of a run can have these figures.
    pub fn is_sound(&self) -> bool {
        let ConnectionFigures { new, reused, reconnects } = &self.connections;
        let ByteFigures { sent, received } = &self.bytes;
        let counts = [
            self.issued,
            self.requests,
            self.requests_failed,
            self.refused_origins,
            self.posts,
            self.nonces_fetched,
            self.nonces_rejected,
            self.retries,
            self.polls,
            self.unwritten,
            self.lost_results,
            self.unknown_chains,
            self.unknown_records,
            self.dropped_marks,
            *new,
            *reused,
            *reconnects,
        ];
        counts.into_iter().all(|count| count <= MOST)
            && [sent, received].into_iter().all(|bytes| *bytes <= MOST << 20)
            && new.checked_add(*reused) == Some(self.requests)
            && self.issuances.is_sound()
            && self.nonce_age.is_sound()
            && self.chains.iter().all(ChainTotals::is_sound)
            && self.certificates.is_sound()
            && self.endpoints.len() <= MAX_ENDPOINTS
            && self.endpoints.iter().all(EndpointTotals::is_sound)
            && self.other_endpoint.is_none()
            && self.failures.len() == self.failure_places.len()
            && self.failures.iter().all(is_sound_failure)
            && self.other_failure.is_none()
            && self.hits.iter().all(HitTotals::is_sound)
            && self.validations.is_sound()
            && self.workers.len() <= MAX_NODES
            && self.loads.is_sound()
            && self.nodes.is_sound()
            && self.hit_sources.is_sound()
            && self.marks.len() <= MAX_MARKS
            && self.marks.len() == self.mark_places.len()
            && self.generator_marks <= self.marks.len()
            && self.workers_targets.len() <= MAX_SCENARIOS
            && self.observed.is_sound()
            && self.timeline.is_sound()
    }
}

fn is_sound_failure(failure: &FailureFigures) -> bool {
    let FailureFigures { name, problem, detail, example, request_id, traceparent, document, node, .. } =
        failure;
    let FailureFigures { count, trend, .. } = failure;
    let texts = [name, problem, detail, example, request_id, traceparent, document, node];
    *count <= MOST && trend.is_sound() && texts.into_iter().all(|text| text.len() <= LONGEST_TEXT)
}

impl ChainTotals {
    fn is_sound(&self) -> bool {
        self.outcome.is_sound(self.abandoned)
            && self.cut_off <= MOST
            && self.parts.is_sound()
            && self.slowest.is_sound(LONGEST_TEXT)
            && self.classes.values().all(|count| *count <= MOST)
    }
}

impl EndpointTotals {
    fn is_sound(&self) -> bool {
        let texts = [&self.endpoint, &self.method, &self.uri];
        self.outcome.is_sound(self.outcome.cut_off)
            && self.received <= MOST << 20
            && self.parts.is_sound()
            && self.slowest.is_sound(LONGEST_TEXT)
            && texts.into_iter().all(|text| text.len() <= LONGEST_TEXT)
    }
}

impl HitTotals {
    fn is_sound(&self) -> bool {
        self.took.is_sound()
    }
}

impl OutcomeTotals {
    /// `neither` of them neither failed nor succeeded.
    fn is_sound(&self, neither: u64) -> bool {
        let Self { count, failed, unknown, response, service, failed_response, failed_service, cut_off: _ } =
            self;
        let times = [response, service, failed_response, failed_service];
        [count, failed, unknown, &neither].into_iter().all(|count| *count <= MOST)
            && failed + neither <= *count
            && times.into_iter().all(|times| times.is_sound() && times.count() <= *count)
    }
}
