//! Splits a chain's time into parts that add up to it, and the time of requests into phases.

use serde::{Deserialize, Serialize};
use wec_record::{RequestResult, Spent};

use crate::distribution::{MOST, Times};
use crate::snapshot::{PhaseFigures, TimeFigures};

/// The parts of the successful iterations of one chain.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Parts {
    requests: Times,
    connecting: Times,
    asked: Times,
    polls: Times,
    keys: Times,
    own: Times,
}

impl Parts {
    /// Counts an iteration.
    pub(super) fn record(&mut self, spent: Spent) {
        let Spent { requests, connecting, asked, polls, keys, own } = spent;
        self.requests.record(requests);
        self.connecting.record(connecting);
        self.asked.record(asked);
        self.polls.record(polls);
        self.keys.record(keys);
        self.own.record(own);
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.requests.merge(other.requests);
        self.connecting.merge(other.connecting);
        self.asked.merge(other.asked);
        self.polls.merge(other.polls);
        self.keys.merge(other.keys);
        self.own.merge(other.own);
    }

    pub(super) fn is_sound(&self) -> bool {
        let Self { requests, connecting, asked, polls, keys, own } = self;
        [requests, connecting, asked, polls, keys, own].into_iter().all(Times::is_sound)
    }

    pub(super) fn figures(&self) -> TimeFigures {
        TimeFigures {
            requests_ns: self.requests.timing(),
            connecting_ns: self.connecting.timing(),
            asked_ns: self.asked.timing(),
            polls_ns: self.polls.timing(),
            keys_ns: self.keys.timing(),
            own_ns: self.own.timing(),
        }
    }
}

/// The phases of an endpoint's requests, failed or not.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct RequestParts {
    new: u64,
    reused: u64,
    dns: Times,
    connect: Times,
    tls: Times,
    first_byte: Times,
}

impl RequestParts {
    /// Counts a request. A phase that did not occur (DNS for an IP address, TLS for `http://`) adds no
    /// sample.
    pub(super) fn record(&mut self, request: &RequestResult) {
        if request.reused {
            self.reused += 1;
        } else {
            self.new += 1;
        }
        let phases = &request.phases;
        for (times, ns) in [
            (&mut self.dns, phases.dns),
            (&mut self.connect, phases.connect),
            (&mut self.tls, phases.tls),
            (&mut self.first_byte, phases.first_byte),
        ] {
            if ns > 0 {
                times.record(ns);
            }
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.new += other.new;
        self.reused += other.reused;
        self.dns.merge(other.dns);
        self.connect.merge(other.connect);
        self.tls.merge(other.tls);
        self.first_byte.merge(other.first_byte);
    }

    pub(super) fn is_sound(&self) -> bool {
        let Self { new, reused, dns, connect, tls, first_byte } = self;
        *new.max(reused) <= MOST && [dns, connect, tls, first_byte].into_iter().all(Times::is_sound)
    }

    pub(super) fn figures(&self) -> PhaseFigures {
        PhaseFigures {
            new: self.new,
            reused: self.reused,
            dns_ns: self.dns.timing(),
            connect_ns: self.connect.timing(),
            tls_ns: self.tls.timing(),
            first_byte_ns: self.first_byte.timing(),
        }
    }
}
