//! What is counted of chains, endpoints and hits.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wec_record::{ChallengeType, FailureClass, Verdict};

use super::over_time::OverTime;
use super::part::Place;
use super::slowest::Slowest;
use super::spent::{Parts, RequestParts};
use crate::distribution::Times;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct ChainTotals {
    pub(super) outcome: OutcomeTotals,
    pub(super) abandoned: u64,
    pub(super) cut_off: u64,
    pub(super) keygen: u64,
    pub(super) parts: Parts,
    pub(super) slowest: Slowest,
    pub(super) classes: BTreeMap<FailureClass, u64>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct EndpointTotals {
    pub(super) endpoint: String,
    pub(super) method: String,
    pub(super) uri: String,
    pub(super) outcome: OutcomeTotals,
    pub(super) parts: RequestParts,
    /// Response times of what succeeded. A piece of a run has none: they would be most of its file.
    #[serde(skip)]
    pub(super) over_time: OverTime,
    pub(super) slowest: Slowest,
    /// Bytes of the answers' bodies, of all that were not cut off.
    pub(super) received: u64,
    /// Of a piece of a run: where it was first.
    pub(super) first: Place,
}

/// Where endpoints are, by the addresses of their names: most are those of texts that are kept once for the process, so
/// that equal ones are at the same address.
#[derive(Clone, Debug)]
pub(super) struct KnownEndpoints([Option<([&'static str; 3], usize)>; SLOTS]);

const SLOTS: usize = 64;

impl Default for KnownEndpoints {
    fn default() -> Self {
        Self([None; SLOTS])
    }
}

impl KnownEndpoints {
    /// Slots in which names may be.
    const NEAR: usize = 4;

    /// The place of the endpoint with these names, if it was noted and no other one has taken its slot since.
    #[inline]
    pub(super) fn place(&self, names: [&Cow<'static, str>; 3]) -> Option<usize> {
        let names = kept(names)?;
        for slot in Self::near(names) {
            let (known, place) = self.0[slot].as_ref()?;
            if std::iter::zip(known, names).all(|(one, other)| std::ptr::eq(*one, other)) {
                return Some(*place);
            }
        }
        None
    }

    pub(super) fn note(&mut self, names: [&Cow<'static, str>; 3], place: usize) {
        if let Some(names) = kept(names) {
            let free = Self::near(names).find(|slot| self.0[*slot].is_none());
            self.0[free.unwrap_or(slot(names))] = Some((names, place));
        }
    }

    fn near(names: [&'static str; 3]) -> impl Iterator<Item = usize> {
        let first = slot(names);
        (first..first + Self::NEAR).map(|slot| slot % SLOTS)
    }
}

fn kept(names: [&Cow<'static, str>; 3]) -> Option<[&'static str; 3]> {
    match names {
        [Cow::Borrowed(one), Cow::Borrowed(two), Cow::Borrowed(three)] => Some([one, two, three]),
        _ => None,
    }
}

fn slot(names: [&'static str; 3]) -> usize {
    let [one, two, three] = names.map(|name| name.as_ptr().addr());
    let mixed = (one ^ two.rotate_left(17) ^ three.rotate_left(31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed >> (usize::BITS - SLOTS.ilog2())
}

/// Counts and times; failures are timed separately.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct OutcomeTotals {
    pub(super) count: u64,
    pub(super) failed: u64,
    pub(super) cut_off: u64,
    pub(super) unknown: u64,
    pub(super) response: Times,
    pub(super) service: Times,
    pub(super) failed_response: Times,
    pub(super) failed_service: Times,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct HitTotals {
    pub(super) challenge: ChallengeType,
    pub(super) verdict: Verdict,
    pub(super) took: Times,
    /// As that of endpoints.
    pub(super) first: Place,
}

impl OutcomeTotals {
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
