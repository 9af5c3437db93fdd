//! What a request result costs in each format, in a log like that of a demo. docs/log.md has the figures.

use wec_log::LogFormat;
use wec_record::{
    AuthorizationResult, Chain, ChainResult, ChallengeType, Phases, Record, RequestResult, ValidationHit,
    Verdict,
};

use crate::common::{START, file, header};

const US: u64 = 1_000;
const WORKERS: usize = 50;
const CHAINS: usize = 6_000;

/// Endpoint, path, bytes sent and received of a request.
type Kind = (&'static str, &'static str, u64, u64);

const NEW_ACCOUNT: Kind = ("newAccount", "/new-account", 633, 98);
const NEW_ORDER: Kind = ("newOrder", "/new-order", 520, 410);
const AUTHORIZATION: Kind = ("authorization", "/authz/{id}", 430, 515);
const CHALLENGE: Kind = ("challenge", "/challenge/{id}/{n}", 441, 290);
const FINALIZE: Kind = ("finalize", "/order/{id}/finalize", 980, 380);
const ORDER: Kind = ("order", "/order/{id}", 425, 440);
const CERTIFICATE: Kind = ("certificate", "/certificate/{id}", 440, 1_560);
const REVOKE: Kind = ("revokeCert", "/revoke-cert", 1_210, 0);

/// Chains of 50 workers at a CA that answers in 5 to 15 ms, and the validations. Times are whole microseconds that nothing
/// predicts, as those of a real run are; names, orders and serial numbers are like those of the built-in CA.
struct Demo {
    noise: u64,
    ids: u64,
    hits: u64,
    serials: Vec<String>,
    records: Vec<(u64, Record)>,
}

impl Demo {
    fn random(&mut self) -> u64 {
        // splitmix64
        self.noise = self.noise.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.noise ^ (self.noise >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Microseconds from..to, in nanoseconds.
    fn time(&mut self, from: u64, to: u64) -> u64 {
        (from + self.random() % (to - from)) * US
    }

    fn request(
        &mut self,
        (endpoint, uri, sent_bytes, received): Kind,
        requests: &mut Vec<RequestResult>,
        before: u64,
    ) {
        let due = before + self.time(3, 60);
        let sent = due + self.time(60, 400);
        let done = sent + self.time(5_000, 15_000);
        let body = self.time(4, 30);
        // Most nonces are from another worker's answer.
        let age = if self.random() % 5 < 2 { sent - before } else { self.time(50, 9_000) };
        requests.push(RequestResult {
            uri: uri.into(),
            took: done - due,
            successful: true,
            endpoint: endpoint.into(),
            method: "POST".into(),
            status: 200,
            bytes_sent: sent_bytes + self.random() % 3,
            bytes_received: received + self.random() % 3,
            due,
            sent,
            done,
            reused: true,
            address: "127.0.0.1:39931".into(),
            nonce_age: age,
            phases: Phases { first_byte: done - sent - body, ..Phases::default() },
            ..RequestResult::default()
        });
    }

    fn chain(&mut self, worker: usize, started: u64) -> u64 {
        let chain = match self.random() % 17 {
            0..2 => Chain::Registration,
            2..10 => Chain::Authorization,
            10..15 => Chain::Certificate,
            _ => Chain::Revoke,
        };
        let mut result = ChainResult { chain: Some(chain), successful: true, ..ChainResult::default() };
        let kinds: &[Kind] = match chain {
            Chain::Registration => &[NEW_ACCOUNT],
            Chain::Authorization => &[NEW_ORDER, AUTHORIZATION, CHALLENGE, AUTHORIZATION, AUTHORIZATION],
            Chain::Certificate => &[FINALIZE, ORDER, CERTIFICATE],
            _ => &[REVOKE],
        };
        let mut before = started;
        for (place, kind) in kinds.iter().enumerate() {
            if place >= 3 {
                let wait = self.time(20_000, 21_000);
                (before, result.waited_poll) = (before + wait, result.waited_poll + wait);
            }
            self.request(*kind, &mut result.requests, before);
            before = result.requests[place].done;
        }
        let (at, random) = (before - self.time(20_000, 60_000), self.random());
        match chain {
            Chain::Authorization => {
                self.ids += 1 + random % 3;
                let kind = if random % 2 == 0 { ChallengeType::Http01 } else { ChallengeType::TlsAlpn01 };
                result.order = format!("/order/{}", self.ids);
                let name = format!("w1-{:x}.demo.test", self.ids);
                result.authorizations.push(AuthorizationResult {
                    name: name.clone(),
                    id: format!("/authz/{}", self.ids),
                    challenge: Some(kind),
                    answered: result.requests[2].sent,
                    settled: before,
                });
                self.hit(at, kind, name);
            }
            Chain::Certificate => {
                (result.keygen, result.issued) = (self.time(20, 60), true);
                result.issuance = Some(self.time(30_000, 200_000));
                result.order = format!("/order/{}", self.ids - random % 60);
                result.serial = format!("4e{:014x}{random:016x}", self.ids);
                self.serials.push(result.serial.clone());
            }
            Chain::Revoke => result.serial = self.issued(),
            _ => {}
        }
        let done = before + self.time(2, 40);
        (result.due, result.started, result.done, result.took) = (started, started, done, done - started);
        (result.worker, result.scenario) = (worker as u32, "default".to_owned());
        self.records
            .push((done, Record::Chain { node: "vm-6af4145f".to_owned(), origin_unix_ns: START, result }));
        done
    }

    /// The serial number of a certificate that was not revoked yet.
    fn issued(&mut self) -> String {
        let random = self.random() as usize;
        if self.serials.is_empty() {
            "4e".to_owned()
        } else {
            self.serials.swap_remove(random % self.serials.len())
        }
    }

    fn hit(&mut self, at: u64, challenge: ChallengeType, name: String) {
        self.hits += 1;
        let random = self.random();
        let answer = match challenge {
            ChallengeType::Http01 => format!("{:.6}…", format!("{:x}Qz_-Xk", random >> 40)),
            _ => format!("certificate with digest {:06x}…", random >> 40),
        };
        let hit = ValidationHit {
            seq: self.hits,
            at_unix_ns: START + 123 + at,
            challenge,
            name,
            source: format!("127.0.0.1:{}", 32_768 + random % 28_000),
            verdict: Verdict::Answered,
            answer,
            took: self.time(20, 200),
        };
        self.records.push((at, Record::Hit { node: "vm-9e2b11aa".to_owned(), hit }));
    }
}

fn demo(chains: usize) -> Vec<Record> {
    let mut demo = Demo { noise: 5, ids: 1_000, hits: 0, serials: Vec::new(), records: Vec::new() };
    let mut free = [1_000_000 * US; WORKERS];
    for _ in 0..chains {
        let worker = (0..WORKERS).min_by_key(|worker| free[*worker]).unwrap();
        let started = free[worker] + demo.time(5, 80);
        free[worker] = demo.chain(worker, started);
    }
    let mut records = demo.records;
    records.sort_by_key(|(at, _)| *at);
    let mut seq = 0;
    let numbered = records.into_iter().map(|(_, mut record)| {
        if let Record::Chain { result, .. } = &mut record {
            seq += 1;
            result.seq = seq;
        }
        record
    });
    std::iter::once(Record::Header(header("run"))).chain(numbered).collect()
}

#[test]
fn formats_are_as_small_as_they_promise() {
    let all = demo(CHAINS);
    let chains: Vec<_> = all.iter().filter(|record| !matches!(record, Record::Hit { .. })).cloned().collect();
    let requests = |record: &Record| match record {
        Record::Chain { result, .. } => result.requests.len(),
        _ => 0,
    };
    let requests: usize = chains.iter().map(requests).sum();
    println!("{requests} request results in {CHAINS} chain results, {} hits", all.len() - chains.len());
    let sizes = |records: &[Record]| {
        LogFormat::ALL.map(|format| file(format, records).len() as f64 / requests as f64)
    };
    let (whole, alone) = (sizes(&all), sizes(&chains));
    for (format, (whole, alone)) in LogFormat::ALL.into_iter().zip(whole.into_iter().zip(alone)) {
        println!("{format}: {whole:.1} bytes for a request result, chain results alone {alone:.1}");
    }
    assert!(alone[1] <= 24.0 && alone[3] <= 14.5, "chain results alone: {alone:?}");
    assert!(whole[1] <= 27.0 && whole[3] <= 17.5, "the whole log: {whole:?}");
}
