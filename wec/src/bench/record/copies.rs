//! `Copies`: a long log made of a short one.

use anyhow::ensure;
use wec_record::{ChainResult, Footer, LoadSample, Record, RunHeader, StateCounts};

/// Requests in a second: ten million in a day.
const PER_SECOND: f64 = 1e7 / 86_400.0;
/// Chains of this rate make about as many requests.
pub(super) const CHAINS_PER_SECOND: u64 = 29;
const SECOND: u64 = 1_000_000_000;

/// The records of a short run, repeated.
pub(super) struct Copies {
    header: RunHeader,
    /// The requester's id, the wall clock of its origin, and its samples.
    node: String,
    origin_unix_ns: u64,
    loads: Vec<LoadSample>,
    counts: StateCounts,
    /// Chain results and hits, each at a part of the time that one copy takes.
    records: Vec<(f64, Record)>,
    requests: u64,
    noise: u64,
}

impl Copies {
    pub(super) fn of(records: Vec<Record>) -> anyhow::Result<Self> {
        let mut found = (None, None, Vec::new(), StateCounts::default());
        let (mut kept, mut requests) = (Vec::new(), 0);
        for record in records {
            match &record {
                Record::Header(header) => found.0 = Some(header.clone()),
                Record::Load { load, .. } => found.2.push(load.clone()),
                Record::State { counts, .. } => found.3 = *counts,
                Record::Chain { node, origin_unix_ns, result } => {
                    found.1 = Some((node.clone(), *origin_unix_ns));
                    requests += result.requests.len() as u64;
                }
                _ => {}
            }
            if matches!(record, Record::Chain { .. } | Record::Hit { .. }) {
                kept.push(record);
            }
        }
        let (Some(header), Some((node, origin_unix_ns)), mut loads, counts) = found else {
            anyhow::bail!("the short run has no header or no chain");
        };
        // The last ones are of a load that has ended.
        loads.truncate(loads.len().saturating_sub(2).max(1));
        ensure!(requests > 0 && !loads.is_empty(), "the short run made no request or has no sample");
        let of_all = kept.len() as f64;
        let records =
            kept.into_iter().enumerate().map(|(place, record)| (place as f64 / of_all, record)).collect();
        Ok(Self { header, node, origin_unix_ns, loads, counts, records, requests, noise: 1 })
    }

    /// Requests in one copy.
    pub(super) const fn requests(&self) -> u64 {
        self.requests
    }

    /// The header of a log of copies.
    pub(super) fn header(&self) -> RunHeader {
        RunHeader { run: "bench".to_owned(), ..self.header.clone() }
    }

    /// Chain results with at least this number of requests, as a requester hands them over.
    pub(super) fn results(&self, requests: u64) -> Vec<ChainResult> {
        let chains = self.records.iter().filter_map(|(_, record)| match record {
            Record::Chain { result, .. } => Some(result),
            _ => None,
        });
        let mut left = requests;
        let chains = chains.take_while(|result| {
            let more = left > 0;
            left = left.saturating_sub(result.requests.len() as u64);
            more
        });
        chains.cloned().collect()
    }

    /// Makes the records of a log with at least this number of requests.
    pub(super) fn each(&mut self, requests: u64, mut to: impl FnMut(Record)) {
        let mut header = self.header();
        header.started_unix_ns = self.origin_unix_ns;
        to(Record::Header(header));
        let records = std::mem::take(&mut self.records);
        let length = self.requests as f64 / PER_SECOND * 1e9;
        let (mut made, mut copy, mut hit_seq, mut seq, mut second) = (0, 0, 0, 0, 0);
        'all: loop {
            for (place, record) in &records {
                if made >= requests {
                    break 'all;
                }
                let started = ((f64::from(copy) + place) * length) as u64 + SECOND;
                while second * SECOND < started {
                    second += 1;
                    seq += 2;
                    self.sample(second, seq, &mut to);
                }
                match record {
                    Record::Chain { result, .. } => {
                        seq += 1;
                        made += result.requests.len() as u64;
                        let mut result = self.chain(result, started);
                        result.seq = seq;
                        result.authorizations.iter_mut().for_each(|it| it.name = named(copy, &it.name));
                        let (node, origin_unix_ns) = (self.node.clone(), self.origin_unix_ns);
                        to(Record::Chain { node, origin_unix_ns, result });
                    }
                    Record::Hit { node, hit } => {
                        hit_seq += 1;
                        let mut hit = hit.clone();
                        (hit.seq, hit.name) = (hit_seq, named(copy, &hit.name));
                        hit.at_unix_ns = self.origin_unix_ns + started + self.scaled(1_000_000);
                        hit.took = self.scaled(hit.took);
                        to(Record::Hit { node: node.clone(), hit });
                    }
                    _ => {}
                }
            }
            copy += 1;
        }
        // Without its footer a log that was written a moment ago is taken for one that grows.
        to(Record::Footer(Footer { at_unix_ns: self.origin_unix_ns + second * SECOND, ..Footer::default() }));
        self.records = records;
    }

    /// What a requester reports each second.
    fn sample(&self, second: u64, seq: u64, to: &mut impl FnMut(Record)) {
        let (node, at_unix_ns) = (self.node.clone(), self.origin_unix_ns + second * SECOND);
        let mut load = self.loads[second as usize % self.loads.len()].clone();
        load.over_ns = SECOND;
        for scenario in &mut load.scenarios {
            let chains = second * CHAINS_PER_SECOND;
            (scenario.due, scenario.started, scenario.ended) = (chains, chains, chains);
        }
        to(Record::Load { node: node.clone(), seq: seq - 1, at_unix_ns, load });
        to(Record::State { node, seq, at_unix_ns, counts: self.counts });
    }

    /// The same chain at another time, each of its times longer or shorter by up to a quarter.
    fn chain(&mut self, of: &ChainResult, started: u64) -> ChainResult {
        let mut result = of.clone();
        let (mut before, mut before_of) = (started, of.started);
        for (request, of) in result.requests.iter_mut().zip(&of.requests) {
            request.due = before + self.scaled(of.due.saturating_sub(before_of));
            request.sent = request.due + self.scaled(of.sent - of.due);
            request.done = request.sent + self.scaled(of.done - of.sent);
            request.took = request.done - request.due;
            let after_first = of.done - of.sent - of.phases.first_byte.min(of.done - of.sent);
            if of.phases.first_byte > 0 {
                let after_first = self.scaled(after_first);
                request.phases.first_byte = (request.done - request.sent).saturating_sub(after_first);
            }
            request.nonce_age = match of.nonce_age {
                age if age == of.sent.saturating_sub(before_of) => request.sent - before,
                age => self.scaled(age),
            };
            (before, before_of) = (request.done, of.done);
        }
        for (authorization, of_it) in result.authorizations.iter_mut().zip(&of.authorizations) {
            let place = |time: u64, at: fn(&wec_record::RequestResult) -> u64| {
                of.requests.iter().position(|request| at(request) == time)
            };
            if let Some(place) = place(of_it.answered, |request| request.sent) {
                authorization.answered = result.requests[place].sent;
            }
            if let Some(place) = place(of_it.settled, |request| request.done) {
                authorization.settled = result.requests[place].done;
            }
        }
        result.started = started;
        result.due = started.saturating_sub(self.scaled(of.started - of.due));
        result.done = before + self.scaled(of.done.saturating_sub(before_of));
        result.took = result.done - result.due;
        let (length, length_of) = (result.done - started, of.done - of.started);
        for part in [&mut result.keygen, &mut result.waited_asked, &mut result.waited_poll] {
            let share = *part as f64 / length_of.max(1) as f64;
            *part = wec_acme::clock::reading((share * length as f64) as u64).min(length);
        }
        result.issuance = of.issuance.map(|issuance| self.scaled(issuance));
        result
    }

    /// Between three quarters and five quarters of it, by a counter-based generator (splitmix64).
    fn scaled(&mut self, value: u64) -> u64 {
        self.noise = self.noise.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.noise ^ (self.noise >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let share = 0.75 + (mixed >> 40) as f64 / f64::from(1 << 24) / 2.0;
        wec_acme::clock::reading((value as f64 * share) as u64)
    }
}

/// A name of its own for each copy.
fn named(copy: i32, name: &str) -> String {
    format!("c{copy}.{name}")
}
