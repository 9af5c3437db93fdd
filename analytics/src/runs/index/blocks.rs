//! The figures of a run by blocks of time. Those of a long part are assembled from its blocks and from the records
//! before the first and after the last of them.
//!
//! A block is counted by the [`Aggregate`] that counts whole runs. A span has the figures of several blocks, so that a
//! long part needs few pieces. A validation can span two blocks, so a block counts only the validations of names all of
//! whose events are in it, and keeps the events of all names.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Write as _};
use std::mem;
use std::ops::Range;

use prost::encoding::{decode_varint, encode_varint};
use serde::{Deserialize, Serialize};
use wec_figures::aggregate::{Piece, ValidationEvent, Validations};
use wec_record::{ChallengeType, Event, Record};

use super::file::{Sections, unpacked};
use super::names::Names;
use crate::Aggregate;

/// Blocks of a run. With more of them, each two become one.
pub(super) const MAX_BLOCKS: usize = 200;
const NS: u64 = 1_000_000_000;
/// Width of the first blocks, seconds.
const LEAST_WIDTH_S: u64 = 60;
/// Blocks of a span.
const IN_SPAN: u64 = 16;
/// The widest block, seconds: 200 of them are 300 days.
const MAX_WIDTH_S: u64 = LEAST_WIDTH_S << 11;
/// Blocks that are not packed while records are counted.
const OPEN: usize = 8;
const MAX_WARNINGS: usize = 5_000;
const LEVEL: i32 = 3;

/// Where the blocks of a run are among the sections of its index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Blocks {
    width_s: u64,
    /// By the number of the block, which is its start since the Unix epoch divided by the width.
    places: BTreeMap<u64, Places>,
    /// Offset and length of the figures of spans, by the number of their first block divided by that of their blocks.
    spans: BTreeMap<u64, (u64, u64)>,
    /// Whether blocks have counted the validations of names of which they have all events.
    joined: bool,
    /// All warnings and errors of the load tester.
    warnings: Vec<Event>,
}

/// Offset and length of the sections of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Places {
    figures: (u64, u64),
    /// All events of validations.
    validations: (u64, u64),
    /// Those of names that have events in other blocks.
    shared: (u64, u64),
    /// Requests that were counted in the block.
    requests: u64,
}

impl Blocks {
    /// Whether the sections are within this length.
    pub(super) fn is_sound(&self, length: u64) -> bool {
        let within = |(from, count): (u64, u64)| from.checked_add(count).is_some_and(|end| end <= length);
        (LEAST_WIDTH_S..=MAX_WIDTH_S).contains(&self.width_s)
            && self.places.len() <= MAX_BLOCKS
            && self.warnings.len() <= MAX_WARNINGS
            && self.spans.len() <= self.places.len()
            && self.places.keys().all(|number| number.checked_mul(self.width_s * NS).is_some())
            && self.spans.values().all(|figures| within(*figures))
            && self.places.values().all(|Places { figures, validations, shared, .. }| {
                [figures, validations, shared].into_iter().all(|section| within(*section))
            })
    }

    /// Requests of all blocks.
    pub(super) fn requests(&self) -> u64 {
        self.places.values().fold(0, |sum, places| sum.saturating_add(places.requests))
    }

    /// The time of the blocks that are within this time, nanoseconds since the Unix epoch; none without any.
    pub(super) fn within(&self, unix_ns: &Range<u64>) -> Option<Range<u64>> {
        let width = self.width_s * NS;
        let (first, end) = (unix_ns.start.div_ceil(width), unix_ns.end / width);
        (first < end).then(|| first * width..end * width)
    }

    /// Calls `each` with the figures of the blocks within this time, those of a span at once.
    pub(super) fn figures(
        &self,
        sections: &Sections,
        unix_ns: &Range<u64>,
        mut each: impl FnMut(Aggregate),
    ) -> io::Result<()> {
        let numbers = self.numbers(unix_ns);
        let mut next = numbers.start;
        for (number, places) in self.places.range(numbers.clone()) {
            if *number < next {
                continue;
            }
            let span = number / IN_SPAN;
            let (first, end) = (span * IN_SPAN, (span + 1) * IN_SPAN);
            let whole = numbers.start <= first && end <= numbers.end;
            if let Some(figures) = self.spans.get(&span).filter(|_| whole) {
                let requests = self.places.range(first..end).map(|(_, places)| places.requests);
                let requests = requests.fold(0_u64, |sum, count| sum.saturating_add(count));
                each(read_figures(sections, *figures, requests)?);
                next = end;
            } else {
                each(read_figures(sections, places.figures, places.requests)?);
            }
        }
        Ok(())
    }

    /// The events of validations of this time that the blocks within it have not counted, in the order of the log.
    pub(super) fn validations(
        &self,
        sections: &Sections,
        unix_ns: &Range<u64>,
    ) -> io::Result<Vec<ValidationEvent>> {
        let width = self.width_s * NS;
        let within = self.within(unix_ns).map(|within| self.numbers(&within)).unwrap_or(0..0);
        let mut events = Vec::new();
        for (number, places) in self.places.range(unix_ns.start / width..=unix_ns.end / width) {
            let counted = self.joined && within.contains(number);
            let section =
                unpacked(&sections.read(if counted { places.shared } else { places.validations })?)?;
            events.extend(in_order(&section)?.into_iter().filter(|(_, event)| unix_ns.contains(&event.at)));
        }
        // Those of a block are in order already.
        events.sort_by_key(|(place, _)| *place);
        Ok(events.into_iter().map(|(_, event)| event).collect())
    }

    fn numbers(&self, unix_ns: &Range<u64>) -> Range<u64> {
        let width = self.width_s * NS;
        unix_ns.start / width..unix_ns.end / width
    }

    /// Warnings of this time.
    pub(super) fn warnings(&self, unix_ns: &Range<u64>) -> impl Iterator<Item = &Event> {
        self.warnings.iter().filter(|event| unix_ns.contains(&event.at_unix_ns))
    }
}

/// The blocks while a log is read.
#[derive(Debug)]
pub(super) struct MakingBlocks {
    width_s: u64,
    blocks: BTreeMap<u64, Block>,
    /// The numbers of the open blocks; the last one was counted in last.
    open: VecDeque<u64>,
    warnings: Vec<Event>,
    /// Events of validations so far, by which they are ordered: a record may have several.
    events: u64,
    names: Names,
    /// Makes hashes of names that nobody can foresee.
    seed: [u64; 2],
    /// A bound was exceeded.
    over: bool,
}

#[derive(Debug, Default)]
struct Block {
    /// None if they are packed.
    figures: Option<Box<Aggregate>>,
    packed: Vec<u8>,
    events: Vec<u8>,
    packed_events: Vec<u8>,
}

impl Default for MakingBlocks {
    fn default() -> Self {
        Self {
            width_s: LEAST_WIDTH_S,
            blocks: BTreeMap::new(),
            open: VecDeque::new(),
            warnings: Vec::new(),
            events: 0,
            names: Names::default(),
            seed: rand::random(),
            over: false,
        }
    }
}

impl MakingBlocks {
    /// Counts the record at this place in the log.
    pub(super) fn take(&mut self, record: &Record, place: u64) {
        if self.over {
            return;
        }
        let outcome = match record {
            Record::Chain { origin_unix_ns, result, .. } => {
                let at = |time: u64| origin_unix_ns.saturating_add(time);
                let times = result.requests.iter().map(|request| request.done).chain([result.done]);
                let counted = self.count(record, place, times.map(at));
                for authorization in &result.authorizations {
                    let name = self.hash(&authorization.name);
                    if let Some(event) =
                        ValidationEvent::of_authorization(name, *origin_unix_ns, authorization)
                    {
                        self.note(event);
                    }
                }
                counted
            }
            Record::Hit { hit, .. } => {
                let name = self.hash(&hit.name);
                self.note(ValidationEvent::of_hit(name, hit));
                self.count(record, place, [hit.at_unix_ns].into_iter())
            }
            Record::Event(event) => {
                self.over |= self.warnings.len() >= MAX_WARNINGS;
                self.warnings.push(event.clone());
                Ok(())
            }
            Record::Mark(_)
            | Record::State { .. }
            | Record::Load { .. }
            | Record::Lost { .. }
            | Record::Observation(_) => self.count(record, place, record.unix_ns().into_iter()),
            Record::Header(_) | Record::Footer(_) | Record::Unknown(_) => Ok(()),
        };
        self.over |= outcome.is_err();
    }

    /// The blocks, and their sections one after the other; none if they could not be put together without loss.
    pub(super) fn finish(mut self, whole: &Aggregate) -> Option<(Blocks, Vec<u8>)> {
        if self.over || !whole.is_within_bounds() {
            return None;
        }
        let (mut places, mut sections) = (BTreeMap::new(), Vec::new());
        let mut add = |section: &[u8]| {
            let from = sections.len() as u64;
            sections.extend_from_slice(section);
            (from, section.len() as u64)
        };
        let Self { width_s, names, .. } = &self;
        let (width_s, joined) = (*width_s, names.are_near());
        let mut spans = BTreeMap::new();
        let mut span: Option<(u64, Aggregate)> = None;
        for (number, mut block) in mem::take(&mut self.blocks) {
            block.pack().ok()?;
            let (counted, shared) =
                if joined { block.join(&self.names, width_s).ok()? } else { Default::default() };
            let figures = block.unpack(unix_ns(number, width_s)).ok()?;
            figures.validations().merge(counted);
            let (of_span, requests) = (number / IN_SPAN, figures.requests());
            if span.as_ref().is_none_or(|(number, _)| *number != of_span) {
                if let Some((number, figures)) = span.take() {
                    spans.insert(number, add(&packed_figures(&figures).ok()?));
                }
                let whole = Aggregate::of_piece(Piece::Further, unix_ns(of_span, IN_SPAN * width_s));
                span = Some((of_span, whole));
            }
            if let Some((_, span)) = &mut span {
                span.put(figures.clone());
            }
            block.pack().ok()?;
            let shared = if shared.is_empty() { Vec::new() } else { packed(&shared).ok()? };
            let (figures, validations) = (add(&block.packed), add(&block.packed_events));
            places.insert(number, Places { figures, validations, shared: add(&shared), requests });
        }
        if let Some((number, figures)) = span {
            spans.insert(number, add(&packed_figures(&figures).ok()?));
        }
        Some((Blocks { width_s, places, spans, joined, warnings: self.warnings }, sections))
    }

    fn hash(&self, name: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.seed, name).hash(&mut hasher);
        hasher.finish()
    }

    /// Counts a record in all blocks that have a part of it, which ends at one of these times.
    fn count(&mut self, record: &Record, place: u64, unix_ns: impl Iterator<Item = u64>) -> io::Result<()> {
        let width = self.width_s * NS;
        let mut numbers: Vec<_> = unix_ns.map(|at| at / width).collect();
        numbers.sort_unstable();
        numbers.dedup();
        for number in numbers {
            let figures = self.open(number)?;
            figures.at_place(place);
            figures.record(record);
        }
        while self.blocks.len() > MAX_BLOCKS {
            self.double_width()?;
        }
        Ok(())
    }

    fn note(&mut self, event: ValidationEvent) {
        self.names.take(event.name, event.at / NS);
        let block = self.blocks.entry(event.at / (self.width_s * NS)).or_default();
        write(self.events, event, &mut block.events);
        self.events += 1;
    }

    /// The figures of a block.
    fn open(&mut self, number: u64) -> io::Result<&mut Aggregate> {
        if self.open.back() != Some(&number) {
            self.open.retain(|open| *open != number);
            self.open.push_back(number);
            if self.open.len() > OPEN
                && let Some(block) = self.open.pop_front().and_then(|first| self.blocks.get_mut(&first))
            {
                block.pack()?;
            }
        }
        let block = self.blocks.entry(number).or_default();
        block.unpack(unix_ns(number, self.width_s))
    }

    /// Makes one block of each two.
    fn double_width(&mut self) -> io::Result<()> {
        if self.width_s >= MAX_WIDTH_S {
            return Err(io::Error::other("the run is too long"));
        }
        self.width_s *= 2;
        self.open.clear();
        for (number, mut block) in mem::take(&mut self.blocks) {
            // Packed, they have no time of their own.
            block.pack()?;
            let Some(first) = self.blocks.get_mut(&(number / 2)) else {
                self.blocks.insert(number / 2, block);
                continue;
            };
            let time = unix_ns(number / 2, self.width_s);
            let figures = mem::take(block.unpack(time.clone())?);
            first.unpack(time)?.put(figures);
            first.packed_events.extend(block.packed_events);
            first.pack()?;
        }
        Ok(())
    }
}

impl Block {
    fn pack(&mut self) -> io::Result<()> {
        if let Some(figures) = self.figures.take() {
            self.packed = packed_figures(&figures)?;
        }
        if !self.events.is_empty() {
            // Frames follow each other.
            self.packed_events.extend(packed(&mem::take(&mut self.events))?);
        }
        Ok(())
    }

    /// Counts the validations of the names that are in this block only. Returns them with the events of the others.
    fn join(&self, names: &Names, width_s: u64) -> io::Result<(Validations, Vec<u8>)> {
        let (mut counted, mut shared) = (Validations::default(), Vec::new());
        for (place, event) in in_order(&unpacked(&self.packed_events)?)? {
            if names.is_in_one(event.name, width_s) {
                counted.count(event);
            } else {
                write(place, event, &mut shared);
            }
        }
        counted.settle();
        Ok((counted, shared))
    }

    fn unpack(&mut self, unix_ns: Range<u64>) -> io::Result<&mut Aggregate> {
        if self.figures.is_none() {
            let mut figures = Aggregate::of_piece(Piece::Further, unix_ns);
            if !self.packed.is_empty() {
                figures.put(serde_json::from_slice(&unpacked(&self.packed)?)?);
            }
            self.figures = Some(Box::new(figures));
        }
        Ok(self.figures.as_mut().expect("it is there now"))
    }
}

/// The time of the block with this number, nanoseconds since the Unix epoch.
fn unix_ns(number: u64, width_s: u64) -> Range<u64> {
    let width = width_s.saturating_mul(NS);
    number.saturating_mul(width)..number.saturating_add(1).saturating_mul(width)
}

fn packed_figures(figures: &Aggregate) -> io::Result<Vec<u8>> {
    packed(&serde_json::to_vec(figures)?)
}

/// The figures of a section, which have this number of requests.
fn read_figures(sections: &Sections, section: (u64, u64), requests: u64) -> io::Result<Aggregate> {
    let figures: Aggregate = serde_json::from_slice(&unpacked(&sections.read(section)?)?)?;
    if figures.requests() == requests && figures.is_sound() { Ok(figures) } else { Err(damaged()) }
}

fn damaged() -> io::Error {
    io::Error::other("a block is damaged")
}

fn packed(content: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), LEVEL)?;
    encoder.include_checksum(true)?;
    encoder.write_all(content)?;
    encoder.finish()
}

/// An event: its place among all events of the log, its type, the hash of its name, its time, and of an authorization how
/// long before that it was answered, of a hit where it came from.
fn write(place: u64, event: ValidationEvent, to: &mut Vec<u8>) {
    let ValidationEvent { name, challenge, answered, at, source } = event;
    encode_varint(place, to);
    to.push((challenge as u8) << 1 | u8::from(answered.is_some()));
    to.extend(name.to_le_bytes());
    encode_varint(at, to);
    match answered {
        Some(answered) => encode_varint(at.wrapping_sub(answered), to),
        None => to.extend(source.to_le_bytes()),
    }
}

/// The events of a section, in the order of the log: blocks that became one have theirs one after the other.
fn in_order(section: &[u8]) -> io::Result<Vec<(u64, ValidationEvent)>> {
    let (mut rest, mut events) = (section, Vec::new());
    while !rest.is_empty() {
        events.push(read(&mut rest).ok_or_else(damaged)?);
    }
    events.sort_by_key(|(place, _)| *place);
    Ok(events)
}

fn read(rest: &mut &[u8]) -> Option<(u64, ValidationEvent)> {
    let place = decode_varint(rest).ok()?;
    let kind = *rest.split_off_first()?;
    let challenge = *ChallengeType::ALL.get(usize::from(kind >> 1))?;
    let (name, after) = rest.split_first_chunk()?;
    let name = u64::from_le_bytes(*name);
    *rest = after;
    let at = decode_varint(rest).ok()?;
    let (answered, source) = if kind & 1 == 1 {
        (Some(at.wrapping_sub(decode_varint(rest).ok()?)), 0)
    } else {
        let (source, after) = rest.split_first_chunk()?;
        *rest = after;
        (None, u32::from_le_bytes(*source))
    };
    Some((place, ValidationEvent { name, challenge, answered, at, source }))
}

/// Uses bytes as the figures of a block, or as its events.
pub(super) fn read_any(bytes: &[u8]) {
    let (mut rest, mut validations) = (bytes, Validations::default());
    while let Some((_, event)) = read(&mut rest) {
        validations.count(event);
    }
    validations.settle();
    let Ok(figures) = serde_json::from_slice::<Aggregate>(bytes) else { return };
    if !figures.is_sound() {
        return;
    }
    let mut whole = Aggregate::of_piece(Piece::First, 0..u64::MAX);
    // Those of several blocks are added.
    (0..2).for_each(|_| whole.put(figures.clone()));
    let _ = (whole.snapshot(), whole.series(None), whole.observed());
}

#[cfg(test)]
mod tests {
    use wec_record::{Mark, MarkBy, MarkValue, MarkWhat};

    use super::*;

    #[test]
    fn an_event_is_read_as_it_was_written() {
        let mut written = Vec::new();
        let events = [
            (
                1,
                ValidationEvent {
                    name: 7,
                    challenge: ChallengeType::Dns01,
                    answered: None,
                    at: 5,
                    source: 77,
                },
            ),
            (
                u64::MAX,
                ValidationEvent {
                    name: u64::MAX,
                    challenge: ChallengeType::Http01,
                    answered: Some(9),
                    at: 3,
                    source: 0,
                },
            ),
        ];
        events.iter().for_each(|(place, event)| write(*place, *event, &mut written));
        let mut rest = &written[..];
        let again: Vec<_> = std::iter::from_fn(|| read(&mut rest)).collect();
        assert_eq!(again, events);
        assert!(rest.is_empty());
    }
    #[test]
    fn a_run_with_more_marks_than_are_listed_has_blocks() {
        let (mut blocks, mut whole) = (MakingBlocks::default(), Aggregate::default());
        for second in 0..5_000_u32 {
            let at = (1_700_000_000 + u64::from(second)) * NS;
            let mark =
                Record::Mark(Mark::new(at, MarkBy::Api, MarkWhat::Workers, MarkValue::Workers(second)));
            whole.record(&mark);
            blocks.take(&mark, second.into());
        }
        assert!(whole.snapshot().missing.dropped_marks > 0);
        let (blocks, _) = blocks.finish(&whole).expect("blocks");
        assert_eq!(blocks.places.len(), 84);
    }
}
