//! Adds the counts of one part of a run to those of another.

use super::{Aggregate, later};

impl Aggregate {
    /// Adds the figures of `other`, as if its records had followed.
    pub fn merge(&mut self, other: Self) {
        self.header = self.header.take().or(other.header);
        self.times.merge(&other.times);
        self.strayed |= other.strayed;
        self.latest = if self.period.is_some() { self.latest.max(other.latest) } else { self.times.latest() };
        self.issued += other.issued;
        self.issuances.merge(other.issuances);
        self.stopped |= other.stopped;
        for (ours, theirs) in self.chains.iter_mut().zip(other.chains) {
            ours.cut_off += theirs.cut_off;
            ours.outcome.merge(theirs.outcome);
            ours.keygen = ours.keygen.saturating_add(theirs.keygen);
            ours.parts.merge(theirs.parts);
            ours.slowest.merge(theirs.slowest);
            ours.abandoned += theirs.abandoned;
            for (class, count) in theirs.classes {
                *ours.classes.entry(class).or_default() += count;
            }
        }
        self.certificates.merge(other.certificates);
        for theirs in other.endpoints.into_iter().chain(other.other_endpoint.map(|boxed| *boxed)) {
            self.place = theirs.first;
            let ours = self.endpoint(&theirs.endpoint, &theirs.method, &theirs.uri);
            ours.first = ours.first.min(theirs.first);
            ours.outcome.merge(theirs.outcome);
            ours.parts.merge(theirs.parts);
            ours.over_time.merge(theirs.over_time);
            ours.slowest.merge(theirs.slowest);
            ours.received = ours.received.saturating_add(theirs.received);
        }
        for (theirs, place) in other.failures.into_iter().zip(other.failure_places) {
            self.place = place;
            self.failure(theirs);
        }
        other.other_failure.into_iter().for_each(|theirs| self.failure(theirs));
        self.requests += other.requests;
        self.requests_failed += other.requests_failed;
        self.refused_origins += other.refused_origins;
        self.posts += other.posts;
        self.nonces_fetched += other.nonces_fetched;
        self.nonces_rejected += other.nonces_rejected;
        self.retries += other.retries;
        self.polls += other.polls;
        self.connections.new += other.connections.new;
        self.connections.reused += other.connections.reused;
        self.connections.reconnects += other.connections.reconnects;
        self.bytes.sent = self.bytes.sent.saturating_add(other.bytes.sent);
        self.bytes.received = self.bytes.received.saturating_add(other.bytes.received);
        for theirs in other.hits {
            self.place = theirs.first;
            let ours = self.hits_of(theirs.challenge, theirs.verdict);
            ours.first = ours.first.min(theirs.first);
            ours.took.merge(theirs.took);
        }
        self.hit_sources.merge(other.hit_sources);
        self.validations.merge(other.validations);
        self.nonce_age.merge(other.nonce_age);
        self.state = later(self.state, other.state);
        self.unwritten = self.unwritten.saturating_add(other.unwritten);
        for (node, workers) in &other.workers {
            self.workers_of(node, *workers);
        }
        self.loads.merge(other.loads);
        self.nodes.merge(other.nodes);
        self.verdict.merge(other.verdict);
        if self.piece().is_some() {
            self.marks.extend(other.marks);
            self.mark_places.extend(other.mark_places);
            self.bound_marks();
        } else {
            other.marks.into_iter().for_each(|mark| self.mark(mark));
        }
        // The target is kept even if the list of marks is full.
        self.workers_targets.extend(other.workers_targets);
        self.lost_results += other.lost_results;
        self.unknown_chains += other.unknown_chains;
        self.unknown_records += other.unknown_records;
        self.warnings.merge(other.warnings);
        self.dropped_marks += other.dropped_marks;
        self.observed.merge(other.observed);
        self.timeline.merge(other.timeline);
    }
}
