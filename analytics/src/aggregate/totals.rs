//! What is counted of chains, endpoints and hits.

use std::collections::BTreeMap;

use wec_record::{ChallengeType, FailureClass, Verdict};

use super::spent::{Parts, RequestParts};
use crate::distribution::Times;

#[derive(Clone, Debug, Default)]
pub(super) struct ChainTotals {
    pub(super) outcome: Outcome,
    pub(super) abandoned: u64,
    pub(super) cut_off: u64,
    pub(super) keygen: u64,
    pub(super) parts: Parts,
    pub(super) classes: BTreeMap<FailureClass, u64>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct EndpointTotals {
    pub(super) endpoint: String,
    pub(super) method: String,
    pub(super) uri: String,
    pub(super) outcome: Outcome,
    pub(super) parts: RequestParts,
    /// Bytes of the answers' bodies, of all that were not cut off.
    pub(super) received: u64,
}

/// Counts and times; failures are timed separately.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    pub(super) count: u64,
    pub(super) failed: u64,
    pub(super) cut_off: u64,
    pub(super) unknown: u64,
    pub(super) response: Times,
    pub(super) service: Times,
    pub(super) failed_response: Times,
    pub(super) failed_service: Times,
}

#[derive(Clone, Debug)]
pub(super) struct HitTotals {
    pub(super) challenge: ChallengeType,
    pub(super) verdict: Verdict,
    pub(super) took: Times,
}

impl Outcome {
    pub(super) fn record(&mut self, successful: bool, response: u64, service: u64) {
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

    pub(super) fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.failed += other.failed;
        self.cut_off += other.cut_off;
        self.unknown += other.unknown;
        self.response.merge(other.response);
        self.service.merge(other.service);
        self.failed_response.merge(other.failed_response);
        self.failed_service.merge(other.failed_service);
    }

    pub(super) fn clamped(&self) -> u64 {
        [&self.response, &self.service, &self.failed_response, &self.failed_service]
            .into_iter()
            .map(Times::clamped)
            .sum()
    }
}
