//! Reads the usual message into the memory of another one: a chain result of a kind that is in the tables into that of
//! the last one of that kind, so that only its numbers are written, and a hit into that of the last hit. For any other
//! message the result is none, and [`Decoder::decode`] reads it.
//!
//! [`Decoder::decode`]: super::Decoder::decode

use wec_record::{AuthorizationResult, ChallengeType, Record, RequestResult, ValidationHit, Verdict};

use super::numbers::unzigzag;
use super::{CHAIN_BEGINS, HIT_BEGINS, MICROSECOND, Tables};

/// Kinds whose memory is kept.
const MAX_KINDS: usize = 64;
/// Maximal length of a usual message, bytes, and its requests.
const LONGEST: usize = 1 << 16;
const MAX_REQUESTS: usize = 256;

/// The memory of the last chain result of each kind of a block, and of the last hit.
#[derive(Debug, Default)]
pub(super) struct Usual {
    kinds: Vec<Option<Memory>>,
    numbers: Vec<u64>,
    hit: Option<Record>,
}

/// Where a record is.
#[derive(Clone, Copy, Debug)]
pub(super) enum RecordAt {
    Chain(usize),
    Hit,
}

#[derive(Debug)]
struct Memory {
    record: Record,
    /// The number in the table of each of its requests.
    requests: Vec<u64>,
}

impl Usual {
    /// The record at a place that [`Usual::read`] has returned.
    pub(super) fn record(&self, place: RecordAt) -> &Record {
        match place {
            RecordAt::Chain(place) => &self.kinds[place].as_ref().expect("it was read into").record,
            RecordAt::Hit => self.hit.as_ref().expect("it was read into"),
        }
    }

    /// Reads a message of a block of this version. The tables change only if it is a usual one.
    pub(super) fn read(&mut self, tables: &mut Tables, message: &[u8], version: u8) -> Option<RecordAt> {
        if message.len() > LONGEST {
            return None;
        }
        match *message.first()? {
            CHAIN_BEGINS => self.chain(tables, message, version).map(RecordAt::Chain),
            HIT_BEGINS => self.hit(tables, message).map(|()| RecordAt::Hit),
            _ => None,
        }
    }

    fn hit(&mut self, tables: &mut Tables, message: &[u8]) -> Option<()> {
        let Entry { content: mut rest, node, seq, at, at_us, took_us } = Entry::of(message)?;
        let known = tables.nodes.get_mut(usize::try_from(node).ok()?.checked_sub(1)?)?;
        let memory =
            self.hit.get_or_insert_with(|| Record::Hit { node: String::new(), hit: ValidationHit::empty() });
        let Record::Hit { node, hit } = memory else { return None };
        // What is not written is 0, the first of all.
        (hit.challenge, hit.verdict, hit.took) = (*ChallengeType::ALL.first()?, *Verdict::ALL.first()?, 0);
        [&mut hit.name, &mut hit.source, &mut hit.answer].into_iter().for_each(String::clear);
        while !rest.is_empty() {
            let (tag, value) = (varint(&mut rest)?, varint(&mut rest)?);
            let text = match tag {
                // Of later versions there may be more of them.
                HIT_CHALLENGE => {
                    hit.challenge = *ChallengeType::ALL.get(usize::try_from(value).ok()?)?;
                    continue;
                }
                HIT_VERDICT => {
                    hit.verdict = *Verdict::ALL.get(usize::try_from(value).ok()?)?;
                    continue;
                }
                HIT_TOOK => {
                    hit.took = value;
                    continue;
                }
                HIT_NAME => &mut hit.name,
                HIT_SOURCE => &mut hit.source,
                HIT_ANSWER => &mut hit.answer,
                _ => return None,
            };
            str::from_utf8(take(&mut rest, value)?).ok()?.clone_into(text);
        }
        hit.took = hit.took.saturating_add(took_us.saturating_mul(MICROSECOND));
        if *node != known.name {
            known.name.clone_into(node);
        }
        known.last_seq = known.last_seq.wrapping_add_signed(seq).wrapping_add(1);
        let at = at.wrapping_add(at_us.wrapping_mul(MICROSECOND.cast_signed()));
        tables.last_at = tables.last_at.wrapping_add_signed(at);
        (hit.seq, hit.at_unix_ns) = (known.last_seq, tables.last_at);
        Some(())
    }

    fn chain(&mut self, tables: &mut Tables, message: &[u8], version: u8) -> Option<usize> {
        let Entry { content: chain, node, seq, .. } = Entry::of(message)?;
        let Chain { worker, chain, numbers, mut rest, nanoseconds } = Chain::of(chain)?;
        let unit = if nanoseconds || version == 1 { 1 } else { MICROSECOND };
        let time = |number: u64| number.checked_mul(unit);
        let signed = |number: u64| unzigzag(number).checked_mul(unit.cast_signed());
        let place = usize::try_from(chain).ok()?.checked_sub(1)?;
        let template = tables.chains.get(place)?;
        if place >= MAX_KINDS {
            return None;
        }
        if self.kinds.len() <= place {
            self.kinds.resize_with(place + 1, || None);
        }
        let memory = self.kinds[place].get_or_insert_with(|| {
            let (node, result) = (String::new(), template.clone());
            Memory { record: Record::Chain { node, origin_unix_ns: 0, result }, requests: Vec::new() }
        });
        let Record::Chain { node: name, origin_unix_ns, result } = &mut memory.record else { return None };
        let node = tables.nodes.get_mut(usize::try_from(node).ok()?.checked_sub(1)?)?;

        decode(numbers, &mut self.numbers)?;
        let (of_chain, numbers) = self.numbers.split_first_chunk::<8>()?;
        let &[done, tail, waited_to_start, keygen, waited_asked, waited_poll, issuance, count] = of_chain;
        let count = usize::try_from(count).ok().filter(|count| *count <= MAX_REQUESTS)?;
        let (of_requests, of_authorizations) = numbers.split_at_checked(6 * count)?;
        let of_request = |place: usize| -> (u64, &[u64; 5]) {
            // Slices of a fixed length.
            let five = |from: usize| of_requests[from..].first_chunk().expect("there are 6 for each request");
            match version {
                1 => (of_requests[6 * place], five(6 * place + 1)),
                _ => (of_requests[place], five(count + 5 * place)),
            }
        };
        let done = tables.last_done.checked_add_signed(signed(done)?)?;
        // The start follows from the end: first the times relative to it.
        let mut end = 0_i64;
        for place in 0..count {
            let (_, [gap, wait, took, ..]) = of_request(place);
            let wait = i64::try_from(time(wait.checked_add(*took)?)?).ok()?;
            end = end.checked_add(signed(*gap)?)?.checked_add(wait)?;
        }
        let tail = signed(tail)?.checked_neg()?;
        let started = done.checked_add_signed(tail)?.checked_add_signed(end.checked_neg()?)?;
        let due = started.checked_sub(time(waited_to_start)?)?;
        result.requests.truncate(count);
        memory.requests.truncate(count);
        let mut before = started;
        for at in 0..count {
            let (number, [gap, wait, took, first_byte, nonce]) = of_request(at);
            // 0 is one that is not in the table.
            let template = || tables.requests.get(usize::try_from(number).ok()?.checked_sub(1)?);
            match (result.requests.get_mut(at), memory.requests.get_mut(at)) {
                (Some(_), Some(known)) if *known == number => {}
                (Some(request), Some(known)) => {
                    match tables.alike.sizes_if_alike(*known, number) {
                        Some([sent, received]) => {
                            (request.bytes_sent, request.bytes_received) = (sent, received);
                        }
                        None => request.clone_from(template()?),
                    }
                    *known = number;
                }
                _ => {
                    result.requests.push(template()?.clone());
                    memory.requests.push(number);
                }
            }
            let request = &mut result.requests[at];
            let took = time(*took)?;
            request.due = before.checked_add_signed(signed(*gap)?)?;
            request.sent = request.due.checked_add(time(*wait)?)?;
            request.done = request.sent.checked_add(took)?;
            request.took = request.done - request.due;
            request.phases.first_byte = match first_byte.checked_sub(1) {
                None => 0,
                Some(after) => took.checked_sub(time(after)?)?,
            };
            request.nonce_age = match nonce {
                0 => 0,
                1 => request.sent.checked_sub(before)?,
                age => time(age - 1)?,
            };
            before = request.done;
        }
        (result.keygen, result.waited_asked, result.waited_poll) =
            (time(keygen)?, time(waited_asked)?, time(waited_poll)?);
        result.issuance = match issuance.checked_sub(1) {
            Some(issuance) => Some(time(issuance)?),
            None => None,
        };
        let mut authorizations = 0;
        result.order.clear();
        result.serial.clear();
        while !rest.is_empty() {
            let (tag, value) = (varint(&mut rest)?, varint(&mut rest)?);
            if tag == NANOSECONDS {
                continue;
            }
            let value = take(&mut rest, value)?;
            match tag {
                AUTHORIZATION => {
                    let times = of_authorizations.get(2 * authorizations..2 * authorizations + 2)?;
                    if result.authorizations.len() == authorizations {
                        result.authorizations.push(AuthorizationResult::default());
                    }
                    let authorization = &mut result.authorizations[authorizations];
                    read_authorization(authorization, value)?;
                    let place = |number: u64, of: fn(&RequestResult) -> u64| match number.checked_sub(1) {
                        None => Some(0),
                        Some(rest) if rest % 2 == 0 => {
                            result.requests.get(usize::try_from(rest / 2).ok()?).map(of)
                        }
                        Some(rest) => started.checked_add_signed(signed(rest / 2)?),
                    };
                    authorization.answered = place(times[0], |request| request.sent)?;
                    authorization.settled = place(times[1], |request| request.done)?;
                    authorizations += 1;
                }
                ORDER => str::from_utf8(value).ok()?.clone_into(&mut result.order),
                SERIAL => {
                    let mut digits = std::mem::take(&mut result.serial).into_bytes();
                    digits.resize(2 * value.len(), 0);
                    for (two, byte) in digits.chunks_exact_mut(2).zip(value) {
                        two.copy_from_slice(&[hex(byte >> 4), hex(byte & 15)]);
                    }
                    result.serial = String::from_utf8(digits).ok()?;
                }
                _ => return None,
            }
        }
        if 2 * authorizations != of_authorizations.len() {
            return None;
        }
        result.authorizations.truncate(authorizations);
        result.took = done.checked_sub(due)?;
        if *name != node.name {
            node.name.clone_into(name);
        }
        *origin_unix_ns = node.origin_unix_ns;
        node.last_seq = node.last_seq.wrapping_add_signed(seq).wrapping_add(1);
        tables.last_done = done;
        (result.seq, result.worker) = (node.last_seq, worker);
        (result.due, result.started, result.done) = (due, started, done);
        Some(place)
    }
}

/// Keys of [`proto::Entry`](wec_proto::log::Entry) and [`proto::Chain`](wec_proto::log::Chain): numbers of fields with
/// their types.
const NODE: u64 = 10 << 3;
const SEQ: u64 = 11 << 3;
const AT: u64 = 12 << 3;
const AT_US: u64 = 13 << 3;
const TOOK_US: u64 = 14 << 3;
const WORKER: u64 = 1 << 3;
const CHAIN: u64 = 2 << 3;
const NUMBERS: u64 = 4 << 3 | 2;
const AUTHORIZATION: u64 = 6 << 3 | 2;
const ORDER: u64 = 7 << 3 | 2;
const SERIAL: u64 = 8 << 3 | 2;
const NANOSECONDS: u64 = 9 << 3;
/// Keys of an authorization.
const NAME: u64 = 1 << 3 | 2;
const ID: u64 = 2 << 3 | 2;
const CHALLENGE: u64 = 3 << 3;

/// Keys of a hit.
const HIT_CHALLENGE: u64 = 2 << 3;
const HIT_NAME: u64 = 3 << 3 | 2;
const HIT_SOURCE: u64 = 4 << 3 | 2;
const HIT_VERDICT: u64 = 5 << 3;
const HIT_ANSWER: u64 = 6 << 3 | 2;
const HIT_TOOK: u64 = 7 << 3;

/// An entry whose first field has all that is not in the entry itself.
struct Entry<'a> {
    content: &'a [u8],
    node: u64,
    seq: i64,
    at: i64,
    at_us: i64,
    took_us: u64,
}

impl<'a> Entry<'a> {
    /// None for one with other fields, or in another order.
    fn of(message: &'a [u8]) -> Option<Self> {
        let mut rest = &message[1..];
        let length = varint(&mut rest)?;
        let content = take(&mut rest, length)?;
        let mut entry = Self { content, node: 0, seq: 0, at: 0, at_us: 0, took_us: 0 };
        while !rest.is_empty() {
            let (tag, value) = (varint(&mut rest)?, varint(&mut rest)?);
            match tag {
                NODE => entry.node = value,
                SEQ => entry.seq = unzigzag(value),
                AT => entry.at = unzigzag(value),
                AT_US => entry.at_us = unzigzag(value),
                TOOK_US => entry.took_us = value,
                _ => return None,
            }
        }
        Some(entry)
    }
}

/// A chain, as far as its numbers.
struct Chain<'a> {
    worker: u32,
    chain: u64,
    numbers: &'a [u8],
    /// What is after the numbers.
    rest: &'a [u8],
    /// The unit of its times.
    nanoseconds: bool,
}

impl<'a> Chain<'a> {
    fn of(mut rest: &'a [u8]) -> Option<Self> {
        let (mut worker, mut chain) = (0, 0);
        loop {
            let (tag, value) = (varint(&mut rest)?, varint(&mut rest)?);
            match tag {
                WORKER => worker = value.try_into().ok()?,
                CHAIN => chain = value,
                NUMBERS => {
                    let numbers = take(&mut rest, value)?;
                    return Some(Self { worker, chain, numbers, rest, nanoseconds: nanoseconds(rest)? });
                }
                _ => return None,
            }
        }
    }
}

/// The unit is after everything else.
fn nanoseconds(mut rest: &[u8]) -> Option<bool> {
    let mut nanoseconds = false;
    while !rest.is_empty() {
        let (tag, value) = (varint(&mut rest)?, varint(&mut rest)?);
        if tag == NANOSECONDS {
            nanoseconds = value != 0;
        } else {
            take(&mut rest, value)?;
        }
    }
    Some(nanoseconds)
}

fn read_authorization(to: &mut AuthorizationResult, mut rest: &[u8]) -> Option<()> {
    to.name.clear();
    to.id.clear();
    to.challenge = None;
    while !rest.is_empty() {
        let (tag, value) = (varint(&mut rest)?, varint(&mut rest)?);
        match tag {
            NAME => str::from_utf8(take(&mut rest, value)?).ok()?.clone_into(&mut to.name),
            ID => str::from_utf8(take(&mut rest, value)?).ok()?.clone_into(&mut to.id),
            CHALLENGE => {
                let place = usize::try_from(value).ok()?.checked_sub(1);
                to.challenge = place.and_then(|place| ChallengeType::ALL.get(place).copied());
            }
            _ => return None,
        }
    }
    Some(())
}

/// The next bytes.
fn take<'a>(rest: &mut &'a [u8], length: u64) -> Option<&'a [u8]> {
    rest.split_off(..usize::try_from(length).ok()?)
}

/// All numbers of a packed field.
fn decode(mut packed: &[u8], to: &mut Vec<u64>) -> Option<()> {
    // Each takes a byte or more.
    to.resize(packed.len(), 0);
    let mut count = 0;
    for number in &mut *to {
        if packed.is_empty() {
            break;
        }
        *number = varint(&mut packed)?;
        count += 1;
    }
    to.truncate(count);
    Some(())
}

/// The next number. Its bytes are put together all at once: how many they are is hard to predict.
fn varint(rest: &mut &[u8]) -> Option<u64> {
    if let Some(eight) = rest.first_chunk::<8>() {
        let word = u64::from_le_bytes(*eight);
        let ends = !word & 0x8080_8080_8080_8080;
        if ends != 0 {
            let bits = ends.trailing_zeros() + 1;
            *rest = &rest[bits as usize / 8..];
            // Seven bits of each byte, then of two, and of four.
            let word = word & (u64::MAX >> (64 - bits)) & 0x7f7f_7f7f_7f7f_7f7f;
            let word = word & 0x007f_007f_007f_007f | (word & 0x7f00_7f00_7f00_7f00) >> 1;
            let word = word & 0x0000_3fff_0000_3fff | (word & 0x3fff_0000_3fff_0000) >> 2;
            return Some(word & 0x0fff_ffff | (word & 0x0fff_ffff_0000_0000) >> 4);
        }
    }
    let mut number = 0;
    for (place, byte) in rest.iter().take(9).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            *rest = &rest[place + 1..];
            return Some(number);
        }
    }
    None
}

const fn hex(digit: u8) -> u8 {
    b"0123456789abcdef"[digit as usize & 15]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_are_read_as_they_are_written(
            numbers in prop::collection::vec(prop_oneof![any::<u64>(), 0_u64..300, 0_u64..1 << 40], 0..20),
        ) {
            let mut packed = Vec::new();
            for number in &numbers {
                prost::encoding::encode_varint(*number, &mut packed);
            }
            let mut read = Vec::new();
            let all = decode(&packed, &mut read);
            // Ten bytes are left to prost.
            if numbers.iter().all(|number| *number < 1 << 63) {
                prop_assert_eq!((all, read), (Some(()), numbers));
            } else {
                prop_assert_eq!(all, None);
            }
        }
    }
}
