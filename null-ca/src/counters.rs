//! Counters of the CA's work, to compare with a client's own counts.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::endpoint::Endpoint;
use crate::faults::{Fault, Flaw};

/// Counts since the start. Read while the CA works, each is right, but they are not from one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Connections accepted.
    pub connections: u64,
    /// Answered requests by endpoint and HTTP status.
    pub answers: BTreeMap<&'static str, BTreeMap<u16, u64>>,
    /// Requests without an answer (reset, silence) by endpoint.
    pub unanswered: BTreeMap<&'static str, u64>,
    /// Nonces issued.
    pub nonces: u64,
    /// Nonces refused because they were unknown, used or removed.
    pub nonces_unknown: u64,
    /// Valid nonces refused on purpose.
    pub nonces_refused: u64,
    /// Accounts created.
    pub accounts: u64,
    /// Orders created.
    pub orders: u64,
    /// Validations that succeeded.
    pub validations_valid: u64,
    /// Validations that failed, on purpose or not.
    pub validations_invalid: u64,
    /// Certificates issued, wrong ones included.
    pub certificates: u64,
    /// Certificates revoked.
    pub revocations: u64,
    /// Faults on purpose.
    pub on_purpose: FaultCounts,
}

/// Faults on purpose, by the names in rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FaultCounts {
    /// Requests with a fault.
    pub faults: BTreeMap<&'static str, u64>,
    /// Wrong certificates.
    pub wrong_certificates: BTreeMap<&'static str, u64>,
}

impl Counts {
    /// Number of answers of `endpoint` with `status`.
    pub fn answered(&self, endpoint: Endpoint, status: u16) -> u64 {
        let statuses = self.answers.get(endpoint.name());
        statuses.and_then(|statuses| statuses.get(&status)).copied().unwrap_or(0)
    }

    /// Number of answers of `endpoint`, whatever the status.
    pub fn answers(&self, endpoint: Endpoint) -> u64 {
        self.answers.get(endpoint.name()).map_or(0, |statuses| statuses.values().sum())
    }
}

/// Every status of this CA's answers.
const STATUSES: [u16; 13] = [200, 201, 204, 400, 403, 404, 405, 409, 413, 415, 429, 500, 503];

#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) connections: Counter,
    pub(crate) nonces_unknown: Counter,
    pub(crate) nonces_refused: Counter,
    pub(crate) accounts: Counter,
    pub(crate) orders: Counter,
    pub(crate) validations_valid: Counter,
    pub(crate) validations_invalid: Counter,
    pub(crate) certificates: Counter,
    pub(crate) revocations: Counter,
    answers: [[Counter; STATUSES.len()]; Endpoint::ALL.len()],
    unanswered: [Counter; Endpoint::ALL.len()],
    faults: [Counter; Fault::ALL.len()],
    flaws: [Counter; Flaw::ALL.len()],
}

#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    pub(crate) fn answered(&self, endpoint: Endpoint, status: u16) {
        let column = STATUSES.iter().position(|known| *known == status);
        let column = column.expect("every status this CA answers with is in the table");
        self.answers[endpoint as usize][column].add();
    }

    pub(crate) fn left_unanswered(&self, endpoint: Endpoint) {
        self.unanswered[endpoint as usize].add();
    }

    pub(crate) fn spoilt(&self, fault: Fault) {
        self.faults[fault as usize].add();
    }

    pub(crate) fn issued_wrong(&self, flaw: Flaw) {
        self.flaws[flaw as usize].add();
    }

    pub(crate) fn read(&self, nonces: u64) -> Counts {
        let by_status = |row: &[Counter; STATUSES.len()]| -> BTreeMap<u16, u64> {
            STATUSES.into_iter().zip(row.iter().map(Counter::read)).filter(seen).collect()
        };
        let endpoints = || Endpoint::ALL.map(Endpoint::name).into_iter();
        Counts {
            connections: self.connections.read(),
            answers: endpoints()
                .zip(self.answers.iter().map(by_status))
                .filter(|(_, statuses)| !statuses.is_empty())
                .collect(),
            unanswered: endpoints().zip(self.unanswered.iter().map(Counter::read)).filter(seen).collect(),
            nonces,
            nonces_unknown: self.nonces_unknown.read(),
            nonces_refused: self.nonces_refused.read(),
            accounts: self.accounts.read(),
            orders: self.orders.read(),
            validations_valid: self.validations_valid.read(),
            validations_invalid: self.validations_invalid.read(),
            certificates: self.certificates.read(),
            revocations: self.revocations.read(),
            on_purpose: FaultCounts {
                faults: (Fault::ALL.map(Fault::name).into_iter())
                    .zip(self.faults.iter().map(Counter::read))
                    .filter(seen)
                    .collect(),
                wrong_certificates: (Flaw::ALL.map(Flaw::name).into_iter())
                    .zip(self.flaws.iter().map(Counter::read))
                    .filter(seen)
                    .collect(),
            },
        }
    }
}

fn seen<T>((_, count): &(T, u64)) -> bool {
    *count > 0
}
