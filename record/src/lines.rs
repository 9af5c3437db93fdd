//! `LineReader`: reads lines as [`Record::parse`] does, into memory that is used again.
//!
//! A line has first what results of a kind have in common, then what differs. The first part is compared with those of
//! the kinds that were read before, at the speed at which memory is compared, and only the other part is read.

use std::iter;
use std::mem;

use crate::line::Line;
use crate::{
    ChainResult, ChallengeType, LoadSample, Record, RequestResult, StateCounts, ValidationHit, Verdict,
};

/// Kinds of chain results and of requests that are known at one time. A run has some twenty of each.
const MAX_KINDS: usize = 64;
/// Maximal length of what a kind has in common, bytes.
const LONGEST_KIND: usize = 1 << 10;
/// After a longer line the memory is given back, bytes.
const LONG: usize = 1 << 16;

/// Reads the lines of a log one after the other.
#[derive(Debug, Default)]
pub struct LineReader {
    /// The first one is of results that are not like others.
    chains: Vec<ChainKind>,
    requests: Vec<RequestKind>,
    /// The kind of the last result and of the last request, by its place.
    last: (usize, usize),
    /// Gives each kind of requests its number.
    made: u32,
    /// A record of another kind than a chain result.
    other: Option<Record>,
    /// The last line was so long that its memory is not kept.
    was_long: bool,
}

/// Where a [`LineReader`] has a record until it reads the next line.
#[derive(Clone, Copy, Debug)]
pub struct Kept(Option<usize>);

/// Chain results that have this text in common.
#[derive(Debug)]
struct ChainKind {
    /// Empty for results that are not like others.
    text: Box<str>,
    /// The last result of the kind.
    record: Record,
    /// The numbers of the kinds of its requests; 0 for one that is not like others.
    requests: Vec<u32>,
    /// The kind of the result after it, by its place.
    next: usize,
}

/// Requests that have this text in common.
#[derive(Debug)]
struct RequestKind {
    text: Box<str>,
    number: u32,
    request: RequestResult,
    /// The kind of the request after it, by its place.
    next: usize,
}

impl LineReader {
    /// Reads a line in the form in which this version writes it. None for another line, which [`Record::parse`] reads.
    pub fn read(&mut self, text: &str) -> Option<Kept> {
        if mem::replace(&mut self.was_long, text.len() > LONG) {
            *self = Self { was_long: self.was_long, ..Self::default() };
        }
        let kind = text.strip_prefix(r#"{"record":""#)?;
        match kind.as_bytes().first_chunk()? {
            b"cha" => self.chain(text).map(|place| Kept(Some(place))),
            b"hit" => self.other(|other| hit(text, other)),
            b"sta" => self.other(|_| state(text)),
            b"loa" => self.other(|_| load(text)),
            _ => None,
        }
    }

    /// Keeps a record that was read by other means.
    pub fn keep(&mut self, record: Record) -> Kept {
        self.other = Some(record);
        Kept(None)
    }

    /// The record that was read last.
    ///
    /// # Panics
    /// When another line was read since.
    pub fn record(&self, kept: Kept) -> &Record {
        match kept.0 {
            Some(place) => &self.chains[place].record,
            None => self.other.as_ref().expect("the caller has read one"),
        }
    }

    fn other(&mut self, read: impl FnOnce(Option<Record>) -> Option<Record>) -> Option<Kept> {
        self.other = read(self.other.take());
        self.other.as_ref().map(|_| Kept(None))
    }

    fn chain(&mut self, text: &str) -> Option<usize> {
        let mut line = Line::new(text);
        let (node, origin) = line.origin()?;
        let place = self.chain_kind(&mut line)?;
        self.chains[self.last.0].next = place;
        self.last.0 = place;
        let known = &mut self.chains[place];
        let Record::Chain { node: name, origin_unix_ns, result } = &mut known.record else { return None };
        if name != node {
            node.clone_into(name);
        }
        *origin_unix_ns = origin;
        line.chain_tail(result)?;
        let authorizations = line.authorizations()?;
        // Taken out, so that the kinds of requests can be changed meanwhile.
        let (mut requests, mut kinds) = (mem::take(&mut result.requests), mem::take(&mut known.requests));
        let (mut before, mut count) = (result.started, 0);
        line.each_request(|line| {
            self.request(line, &mut requests, &mut kinds, (count, before))?;
            before = requests[count].done;
            count += 1;
            Some(())
        })?;
        line.end()?;
        requests.truncate(count);
        kinds.truncate(count);
        let known = &mut self.chains[place];
        known.requests = kinds;
        let Record::Chain { result, .. } = &mut known.record else { return None };
        result.authorizations.clear();
        result.authorizations.extend(authorizations.into_iter().map(|it| it.with_times(&requests)));
        result.requests = requests;
        Some(place)
    }

    /// Reads what results of a kind have in common. Returns the place of the kind.
    fn chain_kind(&mut self, line: &mut Line<'_>) -> Option<usize> {
        if self.chains.is_empty() {
            self.chains.push(ChainKind::default());
        }
        let predicted = self.chains[self.last.0].next;
        let others = (0..self.chains.len()).filter(|place| *place != predicted);
        let known = |place: &usize| {
            let text = &self.chains[*place].text;
            !text.is_empty() && line.is_one_of_many(text)
        };
        if let Some(place) = iter::once(predicted).chain(others).find(known) {
            return Some(place);
        }
        let from = line.at;
        let result = line.chain_head()?;
        let text = &line.text[from..line.at];
        // An error is not the same in many results.
        let is_kind = result.error.is_empty() && text.len() <= LONGEST_KIND;
        let record = Record::Chain { node: String::new(), origin_unix_ns: 0, result };
        let text = if is_kind { text } else { "" };
        let new = ChainKind { text: text.into(), record, ..ChainKind::default() };
        let place = match self.chains.len() {
            _ if !is_kind => 0,
            MAX_KINDS => 1 + self.last.0 % (MAX_KINDS - 1),
            free => free,
        };
        if place == self.chains.len() {
            self.chains.push(new);
        } else {
            self.chains[place] = new;
        }
        Some(place)
    }

    /// Reads the request with this number within its chain, after the end of the one before.
    fn request(
        &mut self,
        line: &mut Line<'_>,
        requests: &mut Vec<RequestResult>,
        kinds: &mut Vec<u32>,
        (number, before): (usize, u64),
    ) -> Option<()> {
        let predicted = self.requests.get(self.last.1).map_or(0, |last| last.next);
        // In the last result of the kind of the chain.
        let before_it = kinds.get(number).map_or(predicted, |kind| place_of(*kind));
        let others = (0..self.requests.len()).filter(|place| *place != predicted && *place != before_it);
        let known =
            |place: &usize| self.requests.get(*place).is_some_and(|kind| line.is_one_of_many(&kind.text));
        let kind = match [predicted, before_it].into_iter().chain(others).find(known) {
            Some(place) => {
                self.requests[self.last.1].next = place;
                self.last.1 = place;
                let kind = &self.requests[place];
                match (requests.get_mut(number), kinds.get(number)) {
                    (Some(_), Some(known)) if *known == kind.number => {}
                    (Some(request), _) => request.clone_from(&kind.request),
                    (None, _) => requests.push(kind.request.clone()),
                }
                kind.number
            }
            None => {
                let from = line.at;
                let request = line.request_head()?;
                let kind = self.add(&line.text[from..line.at], &request);
                match requests.get_mut(number) {
                    Some(known) => *known = request,
                    None => requests.push(request),
                }
                kind
            }
        };
        match kinds.get_mut(number) {
            Some(known) => *known = kind,
            None => kinds.push(kind),
        }
        line.request_tail(&mut requests[number], before)
    }

    /// A further kind of requests. Returns its number; 0 if its text is not the same in many requests.
    fn add(&mut self, text: &str, request: &RequestResult) -> u32 {
        let own = [&request.error, &request.request_id, &request.traceparent, &request.document];
        if text.len() > LONGEST_KIND || own.into_iter().any(|text| !text.is_empty()) {
            return 0;
        }
        self.made = self.made.wrapping_add(1).max(1);
        let new = RequestKind { text: text.into(), number: self.made, request: request.clone(), next: 0 };
        let place = place_of(self.made).min(self.requests.len());
        if place == self.requests.len() {
            self.requests.push(new);
        } else {
            self.requests[place] = new;
        }
        self.requests[self.last.1].next = place;
        self.last.1 = place;
        self.made
    }
}

/// The place of the kind of requests with this number, if another one has not taken it since.
const fn place_of(number: u32) -> usize {
    (number as usize).wrapping_sub(1) % MAX_KINDS
}

impl Default for ChainKind {
    fn default() -> Self {
        let (node, result) = (String::new(), ChainResult::default());
        let record = Record::Chain { node, origin_unix_ns: 0, result };
        Self { text: Box::default(), record, requests: Vec::new(), next: 0 }
    }
}

/// Reads the line of a hit into the memory of another one.
fn hit(text: &str, memory: Option<Record>) -> Option<Record> {
    let (mut node, mut hit) = match memory {
        Some(Record::Hit { node, hit }) => (node, hit),
        _ => (String::new(), ValidationHit::empty()),
    };
    let mut line = Line::new(text);
    line.skip(r#"{"record":"hit","node":"#)?;
    line.string()?.clone_into(&mut node);
    line.skip(r#","seq":"#)?;
    hit.seq = line.number()?;
    line.skip(r#","at_unix_ns":"#)?;
    hit.at_unix_ns = line.number()?;
    line.skip(r#","type":"#)?;
    let kind = line.string()?;
    hit.challenge = ChallengeType::ALL.into_iter().find(|it| it.name() == kind)?;
    line.skip(r#","name":"#)?;
    line.string()?.clone_into(&mut hit.name);
    line.skip(r#","source":"#)?;
    line.string()?.clone_into(&mut hit.source);
    line.skip(r#","verdict":"#)?;
    let verdict = line.string()?;
    hit.verdict = Verdict::ALL.into_iter().find(|it| it.name() == verdict)?;
    line.skip(r#","answer":"#)?;
    line.string()?.clone_into(&mut hit.answer);
    line.skip(r#","took":"#)?;
    hit.took = line.number()?;
    line.end()?;
    Some(Record::Hit { node, hit })
}

fn state(text: &str) -> Option<Record> {
    let mut line = Line::new(text);
    let mut counts = StateCounts::default();
    line.skip(r#"{"record":"state","node":"#)?;
    let node = line.string()?.to_owned();
    line.skip(r#","seq":"#)?;
    let seq = line.number()?;
    line.skip(r#","at_unix_ns":"#)?;
    let at_unix_ns = line.number()?;
    let StateCounts { registrations, authorizations, certificates, revoked, workers, unwritten, claimed } =
        &mut counts;
    for (key, count) in [
        (r#","counts":{"registrations":"#, registrations),
        (r#","authorizations":"#, authorizations),
        (r#","certificates":"#, certificates),
        (r#","revoked":"#, revoked),
        (r#","workers":"#, workers),
        (r#","unwritten":"#, unwritten),
        (r#","claimed":"#, claimed),
    ] {
        line.skip(key)?;
        *count = line.number()?;
    }
    line.skip("}")?;
    line.end()?;
    Some(Record::State { node, seq, at_unix_ns, counts })
}

/// The sample itself is read by serde, but not as a part of a record, which serde reads into a tree first. Its lags, which
/// are most of its line, are read here, and serde reads [`LAG`] instead of them.
fn load(text: &str) -> Option<Record> {
    let mut line = Line::new(text);
    line.skip(r#"{"record":"load","node":"#)?;
    let node = line.string()?.to_owned();
    line.skip(r#","seq":"#)?;
    let seq = line.number()?;
    line.skip(r#","at_unix_ns":"#)?;
    let at_unix_ns = line.number()?;
    line.skip(r#","load":"#)?;
    let sample = text[line.at..].strip_suffix('}')?;
    let load = without_lags(sample).or_else(|| serde_json::from_str(sample).ok())?;
    Some(Record::Load { node, seq, at_unix_ns, load })
}

/// One lag, which a sample has in place of its own.
const LAG: (&str, (u64, u64)) = ("[[7,9]]", (7, 9));

/// A sample; none if it has no lags, or not as this version writes them.
fn without_lags(sample: &str) -> Option<LoadSample> {
    let mut line = Line { text: sample, at: sample.find(LAG_KEY)? + LAG_KEY.len() };
    let from = line.at;
    let mut lags = Vec::with_capacity(64);
    line.skip("[")?;
    line.each(|line| {
        line.skip("[")?;
        let ns = line.number()?;
        line.skip(",")?;
        lags.push((ns, line.number()?));
        line.skip("]")
    })?;
    let mut load: LoadSample =
        serde_json::from_str(&[&sample[..from], LAG.0, &sample[line.at..]].concat()).ok()?;
    // Another object may have such a key.
    (load.generator.lag == [LAG.1]).then(|| {
        load.generator.lag = lags;
        load
    })
}

const LAG_KEY: &str = r#""generator":{"lag":"#;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{AuthorizationResult, Chain, FailureClass, GeneratorSample, LoadSample, Phases, Purpose};

    /// One of many requests: `of` decides what it has in common with others, `number` the rest.
    fn request(of: u64, number: u64, before: u64) -> RequestResult {
        let due = before + number % 3;
        let sent = due + number % 2;
        let failed = of == 4;
        RequestResult {
            uri: format!("/{of}/{{id}}").into(),
            took: 7 + number,
            successful: !failed,
            error: if failed { format!("reset {number}") } else { String::new() },
            class: failed.then_some(FailureClass::Reset),
            endpoint: "order".into(),
            method: if of == 1 { "GET" } else { "POST" }.into(),
            purpose: Purpose::ALL[of as usize % Purpose::ALL.len()],
            status: if failed { 0 } else { 200 },
            bytes_sent: number,
            bytes_received: 2 * number,
            due,
            sent,
            done: due + 7 + number,
            reused: !number.is_multiple_of(5),
            address: if of == 2 { "" } else { "127.0.0.1:1" }.into(),
            nonce_age: number % 4,
            phases: Phases { connect: number % 2, first_byte: number % 6, ..Phases::default() },
            ..RequestResult::default()
        }
    }

    fn chain(seq: u64, of: &[(u64, u64)]) -> Record {
        let (mut before, mut requests) = (1_000 * seq, Vec::new());
        for (of, number) in of {
            requests.push(request(*of, *number, before));
            before = requests.last().map_or(before, |last: &RequestResult| last.done);
        }
        let authorization = AuthorizationResult {
            name: format!("{seq}.test"),
            id: "/authz/1".to_owned(),
            challenge: Some(ChallengeType::Dns01),
            answered: requests.first().map_or(5, |first| first.sent),
            settled: before,
        };
        let result = ChainResult {
            seq,
            worker: 4,
            chain: Some(Chain::ALL[of.len() % Chain::ALL.len()]),
            successful: !seq.is_multiple_of(7),
            error: if !seq.is_multiple_of(7) { String::new() } else { format!("no {seq}") },
            took: before - 1_000 * seq,
            due: 1_000 * seq,
            started: 1_000 * seq + seq % 2,
            done: before,
            keygen: seq % 3,
            scenario: "default".to_owned(),
            order: if !seq.is_multiple_of(4) { format!("/order/{seq}") } else { String::new() },
            serial: if !seq.is_multiple_of(5) { format!("{seq:08x}") } else { String::new() },
            issuance: (!seq.is_multiple_of(3)).then_some(seq),
            authorizations: if !seq.is_multiple_of(2) { vec![authorization] } else { Vec::new() },
            requests,
            ..ChainResult::default()
        };
        Record::Chain { node: format!("r{}", seq % 2), origin_unix_ns: 17 + seq % 2, result }
    }

    fn records() -> impl Strategy<Value = Record> {
        let requests = prop::collection::vec((0_u64..6, 0_u64..100), 0..5);
        prop_oneof![
            6 => (1_u64..1_000, requests).prop_map(|(seq, of)| chain(seq, &of)),
            1 => (1_u64..1_000, "[a-z\"é]{0,6}").prop_map(|(seq, name)| {
                let hit = ValidationHit { seq, at_unix_ns: seq, name, took: seq, ..ValidationHit::empty() };
                Record::Hit { node: "c1".to_owned(), hit }
            }),
            1 => (1_u64..1_000).prop_map(|seq| {
                let counts = StateCounts { certificates: seq, workers: 3, ..StateCounts::default() };
                Record::State { node: "r1".to_owned(), seq, at_unix_ns: seq, counts }
            }),
            1 => (1_u64..1_000, prop::collection::vec((0_u64..1 << 40, 0_u64..9), 0..4)).prop_map(|(seq, lag)| {
                let generator = GeneratorSample { lag, ..GeneratorSample::default() };
                let load = LoadSample { over_ns: seq, generator, ..LoadSample::default() };
                Record::Load { node: "r1".to_owned(), seq, at_unix_ns: seq, load }
            }),
        ]
    }

    proptest! {
        /// Whatever was read before, also of lines that were changed.
        #[test]
        fn lines_are_read_as_serde_reads_them_or_not_at_all(
            records in prop::collection::vec((records(), any::<prop::sample::Index>(), 0_usize..3, any::<bool>()), 1..40),
            to in prop::sample::select(&b"0123456789\"\\{}[],:. tn\x01-e"[..]),
        ) {
            let mut reader = LineReader::default();
            for (record, place, removed, changes) in records {
                let line = serde_json::to_string(&record).unwrap();
                if let Some(kept) = reader.read(&line) {
                    prop_assert_eq!(reader.record(kept), &record);
                } else {
                    prop_assert!(line.contains('\\'), "{}", line);
                }
                if changes && line.is_ascii() {
                    let mut changed = line.into_bytes();
                    let place = place.index(changed.len());
                    let end = (place + removed).min(changed.len());
                    changed.splice(place..end, [to]);
                    let changed = String::from_utf8(changed).unwrap();
                    if let Some(kept) = reader.read(&changed) {
                        let record: Record = serde_json::from_str(&changed).unwrap();
                        prop_assert_eq!(reader.record(kept), &record, "{}", changed);
                    }
                }
            }
        }
    }

    #[test]
    fn lags_of_another_object_are_not_those_of_the_load_tester() {
        let generator = GeneratorSample { lag: vec![(5, 1), (7, 2)], ..GeneratorSample::default() };
        let load = LoadSample { generator, ..LoadSample::default() };
        let record = Record::Load { node: "r1".to_owned(), seq: 1, at_unix_ns: 2, load };
        let line = serde_json::to_string(&record).unwrap();
        let other = r#""load":{"other":{"generator":{"lag":[[1,2]]}},"#;
        let mut reader = LineReader::default();
        for changed in [
            line.clone(),
            line.replace("\"load\":{", other),
            line.replace("\"load\":{", other).replace("\"lag\":[[5,1],[7,2]],", ""),
            line.replace("[[5,1],[7,2]]", "[]"),
            line.replace("[[5,1],[7,2]]", "[[5,1], [7,2]]"),
            line.replace("[[5,1],[7,2]]", "[[7,9]]"),
        ] {
            let kept = reader.read(&changed).unwrap();
            let by_serde: Record = serde_json::from_str(&changed).unwrap();
            assert_eq!(reader.record(kept), &by_serde, "{changed}");
        }
    }
}
