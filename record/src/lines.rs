//! `LineReader`: reads lines as [`Record::parse`] does, into memory that is used again.

use crate::line::{self, Line};
use crate::{ChallengeType, LoadSample, Record, StateCounts, ValidationHit, Verdict};

/// Reads the lines of a log one after the other.
#[derive(Debug, Default)]
pub struct LineReader {
    record: Option<Record>,
}

/// Where a [`LineReader`] has a record until it reads the next line.
#[derive(Clone, Copy, Debug)]
pub struct Kept(());

impl LineReader {
    /// Reads a line in the form in which this version writes it. None for another line, which [`Record::parse`] reads.
    pub fn read(&mut self, text: &str) -> Option<Kept> {
        let kind = text.strip_prefix(r#"{"record":""#)?;
        let before = self.record.take();
        self.record = match kind.as_bytes().first_chunk()? {
            b"cha" => line::chain(text),
            b"hit" => hit(text, before),
            b"sta" => state(text),
            b"loa" => load(text),
            _ => None,
        };
        self.record.as_ref().map(|_| Kept(()))
    }

    /// Keeps a record that was read by other means.
    pub fn keep(&mut self, record: Record) -> Kept {
        self.record = Some(record);
        Kept(())
    }

    /// The record that was read last.
    ///
    /// # Panics
    /// When another line was read since.
    pub fn record(&self, _: Kept) -> &Record {
        self.record.as_ref().expect("the caller has read one")
    }
}

/// Reads the line of a hit into the memory of another one.
fn hit(text: &str, memory: Option<Record>) -> Option<Record> {
    let (mut node, mut hit) = match memory {
        Some(Record::Hit { node, hit }) => (node, hit),
        _ => (String::new(), no_hit()),
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
    let StateCounts { registrations, authorizations, certificates, revoked, workers, unwritten } =
        &mut counts;
    for (key, count) in [
        (r#","counts":{"registrations":"#, registrations),
        (r#","authorizations":"#, authorizations),
        (r#","certificates":"#, certificates),
        (r#","revoked":"#, revoked),
        (r#","workers":"#, workers),
        (r#","unwritten":"#, unwritten),
    ] {
        line.skip(key)?;
        *count = line.number()?;
    }
    line.skip("}")?;
    line.end()?;
    Some(Record::State { node, seq, at_unix_ns, counts })
}

/// The sample itself is read by serde, but not as a part of a record, which serde reads into a tree first.
fn load(text: &str) -> Option<Record> {
    let mut line = Line::new(text);
    line.skip(r#"{"record":"load","node":"#)?;
    let node = line.string()?.to_owned();
    line.skip(r#","seq":"#)?;
    let seq = line.number()?;
    line.skip(r#","at_unix_ns":"#)?;
    let at_unix_ns = line.number()?;
    line.skip(r#","load":"#)?;
    let load: LoadSample = serde_json::from_str(text[line.at..].strip_suffix('}')?).ok()?;
    Some(Record::Load { node, seq, at_unix_ns, load })
}

const fn no_hit() -> ValidationHit {
    ValidationHit {
        seq: 0,
        at_unix_ns: 0,
        challenge: ChallengeType::Http01,
        name: String::new(),
        source: String::new(),
        verdict: Verdict::Unknown,
        answer: String::new(),
        took: 0,
    }
}
