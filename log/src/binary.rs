//! The binary form of records: `proto/wec/log/v1/log.proto`, whose comments define every number.
//!
//! A file is a sequence of messages, each preceded by its length. [`MARK`] is the first message of each block: after it
//! all tables are empty, so a reader can begin at any block.

mod alike;
mod numbers;
#[cfg(test)]
mod tests;
mod usual;

use std::collections::HashMap;

use prost::Message as _;
use wec_proto::log as proto;
use wec_proto::results as wire;
use wec_record::wire::{
    chain_from_wire, hit_from_wire, load_from_wire, load_to_wire, request_from_wire, request_to_wire,
    serial_from_wire, serial_to_wire, state_from_wire, state_to_wire,
};
use wec_record::{AuthorizationResult, ChainResult, Record, RequestResult, UnknownRecord};

use proto::entry::Entry as Kind;

use self::alike::Alike;
use self::numbers::{difference, from_differences, to_differences, unzigzag, zigzag};
use self::usual::Usual;

/// Version of the binary form. It grows when a reader of the old form would misread the new one.
pub const BINARY_VERSION: u8 = 3;
/// The first message of a file and of each block, with its length. No protobuf message begins like it.
pub(crate) const MARK: [u8; 8] = [7, b'w', b'e', b'c', b'b', b'\n', 0x1a, BINARY_VERSION];
/// What all versions of [`MARK`] have in common.
pub(crate) const MARK_START: &[u8] = b"\x07wecb\n\x1a";
/// Maximal entries of a table; names beyond it are written in full each time.
const MAX_TABLE: usize = 1 << 14;
/// Maximal bytes of an entry of a table.
const MAX_ENTRY: usize = 1 << 12;
/// The unit of times in a chain result that has only whole ones, nanoseconds.
const MICROSECOND: u64 = 1_000;
/// Maximal requests of a chain result; a longer one is JSON.
const MAX_REQUESTS: usize = 1 << 16;

/// What repeats, and the last values of what is written as a difference: the same for the encoder and the decoder.
#[derive(Clone, Debug, Default)]
struct Tables {
    nodes: Vec<Node>,
    requests: Vec<RequestResult>,
    /// Of a reader: which requests differ in little.
    alike: Alike,
    chains: Vec<ChainResult>,
    last_done: u64,
    last_at: u64,
}

#[derive(Clone, Debug)]
struct Node {
    name: String,
    origin_unix_ns: u64,
    last_seq: u64,
}

/// Writes records. Begins with [`Encoder::begin_block`].
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    tables: Tables,
    requests: HashMap<wire::RequestResult, u32>,
    /// By their encoded form.
    chains: HashMap<Vec<u8>, u32>,
}

/// A point in a block, from which a [`Decoder`] can continue.
#[derive(Debug, Default)]
pub(crate) struct Saved {
    seqs: Vec<u64>,
    requests: usize,
    chains: usize,
    last_done: u64,
    last_at: u64,
}

impl Encoder {
    /// Empties the tables and appends the mark.
    pub(crate) fn begin_block(&mut self, to: &mut Vec<u8>) {
        *self = Self::default();
        to.extend_from_slice(&MARK);
    }

    /// The present point in the block.
    pub(crate) fn save(&self) -> Saved {
        let Tables { nodes, requests, chains, last_done, last_at, .. } = &self.tables;
        Saved {
            seqs: nodes.iter().map(|node| node.last_seq).collect(),
            requests: requests.len(),
            chains: chains.len(),
            last_done: *last_done,
            last_at: *last_at,
        }
    }

    /// A decoder at that point of the present block.
    pub(crate) fn decoder_at(&self, saved: &Saved) -> Decoder {
        let mut tables = self.tables.clone();
        tables.nodes.truncate(saved.seqs.len());
        tables.nodes.iter_mut().zip(&saved.seqs).for_each(|(node, seq)| node.last_seq = *seq);
        tables.requests.truncate(saved.requests);
        tables.chains.truncate(saved.chains);
        tables.last_done = saved.last_done;
        tables.last_at = saved.last_at;
        Decoder { version: BINARY_VERSION, tables, ..Decoder::default() }
    }

    /// Appends a record, after the entries of tables that it needs.
    ///
    /// # Errors
    /// When a number of it has no JSON form.
    pub(crate) fn encode(&mut self, record: &Record, to: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        let entry = match record {
            // Names beyond the bounds of a table.
            record if !self.has_room(record) => None,
            Record::Chain { node, origin_unix_ns, result } if is_regular(result) => {
                let number = self.node(node, Some(*origin_unix_ns), to);
                let chain = self.chain(result, to);
                Some(self.of_node(Kind::Chain(chain), number, result.seq))
            }
            Record::Hit { node, hit } => {
                let (took, took_us) = match hit.took % MICROSECOND {
                    0 => (0, hit.took / MICROSECOND),
                    _ => (hit.took, 0),
                };
                let message = wire::ValidationHit { at_unix_ns: 0, took, ..hit.clone().into() };
                let entry = self.at(Kind::Hit(message), node, hit.seq, hit.at_unix_ns, to);
                Some(proto::Entry { took_us, ..entry })
            }
            Record::State { node, seq, at_unix_ns, counts } => {
                Some(self.at(Kind::State(state_to_wire(*counts, 0)), node, *seq, *at_unix_ns, to))
            }
            Record::Load { node, seq, at_unix_ns, load } => {
                let mut load = load_to_wire(load.clone(), 0);
                load.generator.iter_mut().for_each(|generator| to_differences(&mut generator.lag_ns));
                Some(self.at(Kind::Load(load), node, *seq, *at_unix_ns, to))
            }
            Record::Lost { node, seq, at_unix_ns, count, why } => {
                let lost = wire::Lost { count: *count, why: why.clone(), at_unix_ns: 0 };
                Some(self.at(Kind::Lost(lost), node, *seq, *at_unix_ns, to))
            }
            Record::Header(_)
            | Record::Mark(_)
            | Record::Event(_)
            | Record::Observation(_)
            | Record::Footer(_)
            | Record::Unknown(_)
            | Record::Chain { .. } => None,
        };
        match entry {
            Some(entry) => push(&entry, to),
            None => push_json(serde_json::to_string(record)?, to),
        }
        Ok(())
    }

    fn has_room(&self, record: &Record) -> bool {
        let longest = MAX_ENTRY - 32;
        self.tables.nodes.len() < MAX_TABLE && record.origin().is_none_or(|(node, _)| node.len() <= longest)
    }

    fn at(&mut self, kind: Kind, node: &str, seq: u64, at_unix_ns: u64, to: &mut Vec<u8>) -> proto::Entry {
        let number = self.node(node, None, to);
        let at = difference(at_unix_ns, self.tables.last_at);
        self.tables.last_at = at_unix_ns;
        let (at, at_us) = match at % MICROSECOND.cast_signed() {
            0 => (0, at / MICROSECOND.cast_signed()),
            _ => (at, 0),
        };
        proto::Entry { at, at_us, ..self.of_node(kind, number, seq) }
    }

    fn of_node(&mut self, kind: Kind, number: u32, seq: u64) -> proto::Entry {
        let node = &mut self.tables.nodes[number as usize - 1];
        let difference = difference(seq, node.last_seq).wrapping_sub(1);
        node.last_seq = seq;
        proto::Entry { entry: Some(kind), node: number, seq: difference, ..proto::Entry::default() }
    }

    /// The node's number. Without an origin, the last one of that name.
    fn node(&mut self, name: &str, origin: Option<u64>, to: &mut Vec<u8>) -> u32 {
        let nodes = &mut self.tables.nodes;
        let same =
            |node: &Node| node.name == name && origin.is_none_or(|origin| node.origin_unix_ns == origin);
        // They are few.
        if let Some(at) = nodes.iter().rposition(same) {
            return at as u32 + 1;
        }
        let origin_unix_ns = origin.unwrap_or(0);
        let node = proto::Node { name: name.to_owned(), origin_unix_ns };
        push(&proto::Entry { entry: Some(Kind::NewNode(node)), ..proto::Entry::default() }, to);
        nodes.push(Node { name: name.to_owned(), origin_unix_ns, last_seq: 0 });
        nodes.len() as u32
    }

    fn chain(&mut self, result: &ChainResult, to: &mut Vec<u8>) -> proto::Chain {
        let template = wire::ChainResult::from(template_of(result));
        let key = template.encode_to_vec();
        let known = self.chains.get(&key).copied();
        let (chain, own) = match known {
            Some(number) => (number, None),
            None if result.error.is_empty()
                && self.tables.chains.len() < MAX_TABLE
                && key.len() <= MAX_ENTRY =>
            {
                let message = Kind::NewChain(template.clone());
                push(&proto::Entry { entry: Some(message), ..proto::Entry::default() }, to);
                self.tables.chains.push(chain_from_wire(template.clone(), 0));
                let number = self.tables.chains.len() as u32;
                self.chains.insert(key, number);
                (number, None)
            }
            None => (0, Some(template)),
        };
        let end = result.requests.last().map_or(result.started, |last| last.done);
        let nanoseconds = !is_whole(result, self.tables.last_done);
        let unit = if nanoseconds { 1 } else { MICROSECOND };
        let signed = |of: u64, from: u64| zigzag(difference(of, from) / unit.cast_signed());
        let mut numbers = Vec::with_capacity(8 + 6 * result.requests.len());
        numbers.extend([
            signed(result.done, self.tables.last_done),
            signed(result.done, end),
            (result.started - result.due) / unit,
            result.keygen / unit,
            result.waited_asked / unit,
            result.waited_poll / unit,
            result.issuance.map_or(0, |issuance| issuance / unit + 1),
            result.requests.len() as u64,
        ]);
        self.tables.last_done = result.done;
        let mut own_requests = Vec::new();
        for request in &result.requests {
            numbers.push(self.request(request, &mut own_requests, to).into());
        }
        let mut before = result.started;
        for request in &result.requests {
            let first_byte = request.phases.first_byte;
            let took = request.done - request.sent;
            numbers.extend([
                signed(request.due, before),
                (request.sent - request.due) / unit,
                took / unit,
                if first_byte == 0 { 0 } else { 1 + (took - first_byte) / unit },
                match request.nonce_age {
                    0 => 0,
                    age if Some(age) == request.sent.checked_sub(before) => 1,
                    age => 1 + age / unit,
                },
            ]);
            before = request.done;
        }
        let mut authorizations = Vec::new();
        for authorization in &result.authorizations {
            let AuthorizationResult { name, id, challenge, answered, settled } = authorization;
            let place = |of: fn(&RequestResult) -> u64, time: u64| match time {
                0 => 0,
                time => match result.requests.iter().position(|request| of(request) == time) {
                    Some(place) => 1 + 2 * place as u64,
                    None => 2 + 2 * signed(time, result.started),
                },
            };
            numbers
                .extend([place(|request| request.sent, *answered), place(|request| request.done, *settled)]);
            authorizations.push(wire::AuthorizationResult {
                name: name.clone(),
                id: id.clone(),
                challenge: challenge.map_or(0, |kind| kind as u32 + 1),
                answered: 0,
                settled: 0,
            });
        }
        proto::Chain {
            worker: result.worker,
            chain,
            own,
            numbers,
            own_requests,
            authorizations,
            order: result.order.clone(),
            // Another text than hex is not regular.
            serial: serial_to_wire(&result.serial).unwrap_or_default(),
            nanoseconds,
        }
    }

    /// The number of a request in the table; 0 if it was added to `own`.
    fn request(
        &mut self,
        request: &RequestResult,
        own: &mut Vec<wire::RequestResult>,
        to: &mut Vec<u8>,
    ) -> u32 {
        let without_times = RequestResult {
            took: 0,
            due: 0,
            sent: 0,
            done: 0,
            nonce_age: 0,
            phases: wec_record::Phases { first_byte: 0, ..request.phases },
            ..request.clone()
        };
        let once = !request.error.is_empty()
            || !request.request_id.is_empty()
            || !request.traceparent.is_empty()
            || !request.document.is_empty()
            || without_times.phases != wec_record::Phases::default();
        let template = request_to_wire(without_times, 0);
        if let Some(number) = self.requests.get(&template) {
            return *number;
        }
        if once || self.tables.requests.len() >= MAX_TABLE || template.encoded_len() > MAX_ENTRY {
            own.push(template);
            return 0;
        }
        let message = Kind::NewRequest(template.clone());
        push(&proto::Entry { entry: Some(message), ..proto::Entry::default() }, to);
        self.tables.requests.push(request_from_wire(template.clone(), 0));
        let number = self.tables.requests.len() as u32;
        self.requests.insert(template, number);
        number
    }
}

/// Appends a record as a line of JSON text, without a line break.
pub(crate) fn push_json(line: String, to: &mut Vec<u8>) {
    push(&proto::Entry { entry: Some(Kind::Json(line)), ..proto::Entry::default() }, to);
}

fn push(entry: &proto::Entry, to: &mut Vec<u8>) {
    entry.encode_length_delimited(to).expect("a vector has room");
}

/// What all chain results of a kind have in common.
fn template_of(result: &ChainResult) -> ChainResult {
    ChainResult {
        seq: 0,
        worker: 0,
        took: 0,
        due: 0,
        started: 0,
        done: 0,
        keygen: 0,
        waited_asked: 0,
        waited_poll: 0,
        issuance: None,
        rests: false,
        authorizations: Vec::new(),
        requests: Vec::new(),
        order: String::new(),
        serial: String::new(),
        chain: result.chain,
        later_chain: result.later_chain,
        successful: result.successful,
        error: result.error.clone(),
        class: result.class,
        status: result.status,
        problem: result.problem.clone(),
        abandoned: result.abandoned,
        scenario: result.scenario.clone(),
        profile: result.profile.clone(),
        detail: result.detail.clone(),
        issued: result.issued,
        unverified: result.unverified.clone(),
    }
}

/// Whether its times are in the order that [`proto::Chain::numbers`] can express. Those of our own requesters are.
fn is_regular(result: &ChainResult) -> bool {
    let ChainResult { took, due, started, done, issuance, requests, authorizations, .. } = result;
    let times = due <= started && started <= done && *took == done - due && *issuance != Some(u64::MAX);
    let small = |time: u64| time <= u64::MAX / 8;
    times
        && small(*done)
        && serial_to_wire(&result.serial).is_some()
        && requests.len() <= MAX_REQUESTS
        && authorizations.iter().all(|it| small(it.answered) && small(it.settled))
        && requests.iter().all(|request| {
            let RequestResult { took, due, sent, done, nonce_age, .. } = request;
            due <= sent
                && sent <= done
                && small(*done)
                && *took == done - due
                && request.phases.first_byte <= done - sent
                && *nonce_age != u64::MAX
        })
}

/// Whether all its times are whole microseconds, as those of our own clock are.
fn is_whole(result: &ChainResult, last_done: u64) -> bool {
    let ChainResult { due, started, done, keygen, waited_asked, waited_poll, issuance, .. } = result;
    let whole = |times: &[u64]| times.iter().all(|time| time % MICROSECOND == 0);
    whole(&[last_done, *due, *started, *done, *keygen, *waited_asked, *waited_poll, issuance.unwrap_or(0)])
        && result.authorizations.iter().all(|it| whole(&[it.answered, it.settled]))
        && result.requests.iter().all(|request| {
            whole(&[request.due, request.sent, request.done, request.nonce_age, request.phases.first_byte])
        })
}

/// Reads records.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// Version of the present block; 0 before the first.
    version: u8,
    tables: Tables,
    /// The memory of the last chain, for the next one.
    spare: proto::Chain,
    /// Lags of the last load sample: the next one has about as many.
    lags: usize,
    usual: Usual,
    /// The last record that was not read as a usual one.
    other: Option<Record>,
}

/// Where a [`Decoder`] has a record until it reads the next message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept(Option<usual::RecordAt>);

/// Numbers whose memory is kept.
const MAX_SPARE: usize = 1 << 12;
/// The first byte of an entry that is a chain.
const CHAIN_BEGINS: u8 = 4 << 3 | 2;
/// Of one that is a hit.
const HIT_BEGINS: u8 = 5 << 3 | 2;
/// And of one that is a load sample.
const LOAD_BEGINS: u8 = 7 << 3 | 2;

impl Decoder {
    /// As [`Decoder::decode`], with less work for the usual record.
    pub(crate) fn read(&mut self, message: &[u8]) -> Result<Option<(Kept, Option<String>)>, Bad> {
        if let Some(place) = self.usual.read(&mut self.tables, message, self.version) {
            return Ok(Some((Kept(Some(place)), None)));
        }
        let decoded = self.decode(message)?;
        Ok(decoded.map(|(record, line)| {
            self.other = Some(record);
            (Kept(None), line)
        }))
    }

    /// The record that was read last.
    pub(crate) fn record(&self, kept: Kept) -> &Record {
        match kept.0 {
            Some(place) => self.usual.record(place),
            None => self.other.as_ref().expect("the caller has read one"),
        }
    }

    /// Reads a message without its length: a record, with its line if it is JSON, or none for a mark or an entry of a table.
    ///
    /// # Errors
    /// What is wrong with the message.
    pub(crate) fn decode(&mut self, message: &[u8]) -> Result<Option<(Record, Option<String>)>, Bad> {
        if let Some(version) = message.strip_prefix(&MARK_START[1..]) {
            *self = Self::default();
            return match version {
                [version @ 1..=BINARY_VERSION] => {
                    self.version = *version;
                    Ok(None)
                }
                [version] => Err(Bad::Newer((*version).into())),
                _ => Err(Bad::Message("it is a damaged mark".to_owned())),
            };
        }
        let bad = |why: &str| Bad::Message(why.to_owned());
        let mut entry = proto::Entry::default();
        if message.first() == Some(&CHAIN_BEGINS) {
            entry.entry = Some(Kind::Chain(cleared(std::mem::take(&mut self.spare))));
        }
        if message.first() == Some(&LOAD_BEGINS) {
            entry.entry = Some(Kind::Load(with_room(self.lags)));
        }
        entry.merge(message).map_err(|error| Bad::Message(error.to_string()))?;
        let proto::Entry { entry, node, seq, at, at_us, took_us } = entry;
        let kind = entry.ok_or_else(|| bad("it is of a kind that this version does not know"))?;
        match kind {
            Kind::NewNode(proto::Node { name, origin_unix_ns }) => {
                let nodes = room(&mut self.tables.nodes, message)?;
                nodes.push(Node { name, origin_unix_ns, last_seq: 0 });
                return Ok(None);
            }
            Kind::NewRequest(request) => {
                let requests = room(&mut self.tables.requests, message)?;
                requests.push(request_from_wire(request, 0));
                self.tables.alike.add(requests);
                return Ok(None);
            }
            Kind::NewChain(chain) => {
                room(&mut self.tables.chains, message)?.push(chain_from_wire(chain, 0));
                return Ok(None);
            }
            Kind::Json(text) => {
                let record = Record::parse(&text, 1).or_else(|error| {
                    let unknown = UnknownRecord::of_other_form(&text, &error);
                    unknown.map(Record::from).ok_or_else(|| Bad::Message(error.source.to_string()))
                })?;
                return Ok(Some((record, Some(text))));
            }
            _ => {}
        }
        let place = (node as usize).checked_sub(1);
        let node = place
            .and_then(|place| self.tables.nodes.get_mut(place))
            .ok_or_else(|| bad("its node is not in this block"))?;
        let seq = node.last_seq.wrapping_add_signed(seq).wrapping_add(1);
        node.last_seq = seq;
        let (node, origin_unix_ns) = (node.name.clone(), node.origin_unix_ns);
        if let Kind::Chain(mut chain) = kind {
            let result = self.tables.chain(&mut chain, seq, self.version);
            self.spare = chain;
            let result = result.ok_or_else(|| bad("a number of it is not in this block"))?;
            return Ok(Some((Record::Chain { node, origin_unix_ns, result }, None)));
        }
        let at = at.wrapping_add(at_us.wrapping_mul(MICROSECOND.cast_signed()));
        let at_unix_ns = self.tables.last_at.wrapping_add_signed(at);
        self.tables.last_at = at_unix_ns;
        let record = match kind {
            Kind::Hit(hit) => {
                let took = hit.took.saturating_add(took_us.saturating_mul(MICROSECOND));
                hit_from_wire(wire::ValidationHit { at_unix_ns, took, ..hit }, node, seq)
            }
            Kind::State(counts) => Record::State { node, seq, at_unix_ns, counts: state_from_wire(counts) },
            Kind::Load(mut load) => {
                self.lags = load.generator.as_ref().map_or(0, |generator| generator.lag_ns.len());
                if self.version >= 3 {
                    load.generator.iter_mut().for_each(|generator| from_differences(&mut generator.lag_ns));
                }
                Record::Load { node, seq, at_unix_ns, load: load_from_wire(load) }
            }
            Kind::Lost(lost) => Record::Lost { node, seq, at_unix_ns, count: lost.count, why: lost.why },
            Kind::Chain(_) | Kind::Json(_) | Kind::NewNode(_) | Kind::NewRequest(_) | Kind::NewChain(_) => {
                return Err(bad("it has a node and needs none"));
            }
        };
        Ok(Some((record, None)))
    }
}

/// The default value, with the memory of this one.
fn cleared(mut chain: proto::Chain) -> proto::Chain {
    chain.numbers.clear();
    // A damaged file may have had a very long one.
    chain.numbers.shrink_to(MAX_SPARE);
    chain.own_requests.clear();
    chain.authorizations.clear();
    let proto::Chain { numbers, own_requests, authorizations, .. } = chain;
    proto::Chain { numbers, own_requests, authorizations, ..proto::Chain::default() }
}

/// A load sample with room for lags.
fn with_room(lags: usize) -> wire::Load {
    let [lag_ns, lag_count] = [(); 2].map(|()| Vec::with_capacity(lags.min(MAX_SPARE)));
    let generator = wire::GeneratorLoad { lag_ns, lag_count, ..wire::GeneratorLoad::default() };
    wire::Load { generator: Some(generator), ..wire::Load::default() }
}

/// What is wrong with a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Bad {
    /// It is damaged.
    Message(String),
    /// The file has a later version.
    Newer(u32),
}

/// A table that may have this entry, so that a file cannot occupy more memory than the encoder needs.
fn room<'a, T>(table: &'a mut Vec<T>, entry: &[u8]) -> Result<&'a mut Vec<T>, Bad> {
    if table.len() < MAX_TABLE && entry.len() <= MAX_ENTRY + 16 {
        Ok(table)
    } else {
        Err(Bad::Message("a table of its block would be too large".to_owned()))
    }
}

impl Tables {
    /// None if a number is missing, refers to nothing, or is too large.
    fn chain(&mut self, chain: &mut proto::Chain, seq: u64, version: u8) -> Option<ChainResult> {
        let proto::Chain {
            worker,
            chain,
            own,
            numbers,
            own_requests,
            authorizations,
            order,
            serial,
            nanoseconds,
        } = chain;
        let worker = *worker;
        let unit = if *nanoseconds || version == 1 { 1 } else { MICROSECOND };
        let time = |number: u64| number.checked_mul(unit);
        let signed = |number: u64| unzigzag(number).checked_mul(unit.cast_signed());
        let all_numbers = &numbers[..];
        let mut numbers = numbers.iter().copied();
        let mut own_requests = own_requests.drain(..);
        let template = match (*chain as usize).checked_sub(1) {
            Some(place) => self.chains.get(place)?.clone(),
            None => chain_from_wire(own.take()?, 0),
        };
        let done = self.last_done.checked_add_signed(signed(numbers.next()?)?)?;
        let tail = signed(numbers.next()?)?;
        let waited_to_start = time(numbers.next()?)?;
        let (keygen, waited_asked, waited_poll) =
            (time(numbers.next()?)?, time(numbers.next()?)?, time(numbers.next()?)?);
        let issuance = match numbers.next()?.checked_sub(1) {
            Some(issuance) => Some(time(issuance)?),
            None => None,
        };
        let count = usize::try_from(numbers.next()?).ok().filter(|count| *count <= MAX_REQUESTS)?;
        if numbers.len() < count.checked_mul(6)? {
            return None;
        }
        let numbers = &all_numbers[all_numbers.len() - numbers.len()..];
        let (of_requests, of_authorizations) = numbers.split_at(6 * count);
        let of_request = |place: usize| -> [u64; 6] {
            let number = |column: usize| match version {
                1 => of_requests[6 * place + column],
                _ if column == 0 => of_requests[place],
                _ => of_requests[count + 5 * place + column - 1],
            };
            std::array::from_fn(number)
        };
        // The start follows from the end: first the times relative to it.
        let mut end = 0_i64;
        for place in 0..count {
            let [_, gap, wait, took, ..] = of_request(place);
            let wait = i64::try_from(time(wait.checked_add(took)?)?).ok()?;
            end = end.checked_add(signed(gap)?)?.checked_add(wait)?;
        }
        let started = done.checked_add_signed(tail.checked_neg()?)?.checked_add_signed(end.checked_neg()?)?;
        let due = started.checked_sub(waited_to_start)?;
        let mut requests = Vec::with_capacity(count);
        let mut before = started;
        for place in 0..count {
            let [number, gap, wait, took, first_byte, nonce] = of_request(place);
            let template = match usize::try_from(number).ok()?.checked_sub(1) {
                Some(place) => self.requests.get(place)?.clone(),
                None => request_from_wire(own_requests.next()?, 0),
            };
            let due = before.checked_add_signed(signed(gap)?)?;
            let sent = due.checked_add(time(wait)?)?;
            let took = time(took)?;
            let done = sent.checked_add(took)?;
            let first_byte = match first_byte.checked_sub(1) {
                None => 0,
                Some(after) => took.checked_sub(time(after)?)?,
            };
            let nonce_age = match nonce {
                0 => 0,
                1 => sent.checked_sub(before)?,
                age => time(age - 1)?,
            };
            let phases = wec_record::Phases { first_byte, ..template.phases };
            requests.push(RequestResult { took: done - due, due, sent, done, nonce_age, phases, ..template });
            before = done;
        }
        if of_authorizations.len() != 2 * authorizations.len() {
            return None;
        }
        let place = |number: u64, of: fn(&RequestResult) -> u64| match number.checked_sub(1) {
            None => Some(0),
            Some(rest) if rest % 2 == 0 => requests.get(usize::try_from(rest / 2).ok()?).map(of),
            Some(rest) => started.checked_add_signed(signed(rest / 2)?),
        };
        let mut with_times = Vec::with_capacity(authorizations.len());
        for (authorization, times) in authorizations.drain(..).zip(of_authorizations.chunks_exact(2)) {
            with_times.push(AuthorizationResult {
                name: authorization.name,
                id: authorization.id,
                challenge: (authorization.challenge as usize)
                    .checked_sub(1)
                    .and_then(|place| wec_record::ChallengeType::ALL.get(place).copied()),
                answered: place(times[0], |request| request.sent)?,
                settled: place(times[1], |request| request.done)?,
            });
        }
        self.last_done = done;
        Some(ChainResult {
            seq,
            worker,
            took: done.checked_sub(due)?,
            due,
            started,
            done,
            keygen,
            waited_asked,
            waited_poll,
            issuance,
            order: std::mem::take(order),
            serial: serial_from_wire(serial),
            authorizations: with_times,
            requests,
            ..template
        })
    }
}
