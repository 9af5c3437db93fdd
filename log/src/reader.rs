//! `Reader`: the one loop that reads a log, whatever its format. It finds the records, damaged places and the
//! incomplete end; its callers decide what to do with them.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::{self, Cursor, Read};

use wec_record::{LineReader, Record, UnknownRecord};

use crate::LogFormat;
use crate::binary::{Bad, Decoder, MARK_START};
use crate::format::{DECISIVE, is_binary, is_compressed, other_compression};
use crate::frames::{Chunk, FrameReader, read_some};

/// Maximal length of a line or a message, bytes.
const LONGEST: usize = 16 << 20;

/// The byte order mark of UTF-8.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
/// What the first line of a baseline has.
const BASELINE: &str = r#""format":"wec-baseline""#;

/// Reads the records of one file.
pub struct Reader<R> {
    content: Content<R>,
    /// None until enough of the content is there.
    binary: Option<bool>,
    lines: LineReader,
    decoder: Decoder,
    buffer: Vec<u8>,
    /// How far `buffer` has been read.
    at: usize,
    /// Of `buffer[at]` in the content.
    offset: u64,
    /// Lines or messages so far.
    number: u64,
    /// Start of the present block of a binary log in the content.
    block: u64,
    /// Starts of frames in the content, and in the file.
    frames: VecDeque<(u64, u64)>,
    /// A damaged message was skipped, and its end may be wrong.
    doubtful: bool,
    /// Looks for the next mark.
    lost: bool,
    /// Looks for the end of a line that is too long.
    skips: bool,
    /// The file grows: its end is where it is read on later.
    follows: bool,
    ended: bool,
    end: End,
}

/// What a [`Reader`] finds.
#[derive(Debug)]
pub enum Found<'a> {
    /// A record, and its line, if it is JSON. The next record takes its memory.
    Record(Place, &'a Record, Option<Cow<'a, str>>),
    /// An empty line.
    Blank(Place),
    /// A place that is not a record. It is skipped.
    Damaged(Place, String),
    /// It has a later format.
    Newer(u32),
}

/// A place in a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Number of the line or message, from 1.
    pub number: u64,
    /// Its start, bytes from the start of the content; in a file that is not compressed, of the file.
    pub offset: u64,
    /// Start of its zstd frame, bytes from the start of the file; none in a file that is not compressed.
    pub frame: Option<u64>,
    /// Where in the file a reader can begin that finds it: the start of its line, block or frame.
    pub start: u64,
    /// The format of the file.
    pub format: LogFormat,
}

/// Up to where a file is complete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// Length of the complete part, bytes.
    pub length: u64,
    /// What makes the part a complete file.
    pub closing: Vec<u8>,
    /// Bytes of an incomplete last record or block.
    pub torn: u64,
}

enum Content<R> {
    Plain { source: R, offset: u64 },
    Frames(Box<FrameReader<R>>),
}

type Source<R> = io::Chain<Cursor<Vec<u8>>, R>;

impl<R: Read> Reader<Source<R>> {
    /// Detects the format.
    ///
    /// # Errors
    /// Those of the source.
    pub fn new(mut source: R) -> io::Result<Self> {
        let mut start = Vec::new();
        source.by_ref().take(DECISIVE as u64).read_to_end(&mut start)?;
        if let Some(other) = other_compression(&start) {
            return Err(io::Error::other(format!(
                "it is compressed by {other}, and only zstd is read: decompress it first, for example with {other} -dc \
                 FILE, and give the result, or - for standard input"
            )));
        }
        let compressed = is_compressed(&start);
        let source = Cursor::new(start).chain(source);
        let content = if compressed {
            Content::Frames(Box::new(FrameReader::new(source)))
        } else {
            Content::Plain { source, offset: 0 }
        };
        Ok(Self {
            content,
            binary: None,
            lines: LineReader::default(),
            decoder: Decoder::default(),
            buffer: Vec::new(),
            at: 0,
            offset: 0,
            number: 0,
            block: 0,
            frames: VecDeque::new(),
            doubtful: false,
            lost: false,
            skips: false,
            follows: false,
            ended: false,
            end: End::default(),
        })
    }

    /// Reads a file that grows: at its end [`Reader::next`] returns none, and later what was appended. An incomplete
    /// record or block waits for its rest. The source must have [`DECISIVE`] bytes.
    ///
    /// # Errors
    /// Those of the source.
    pub fn follow(source: R) -> io::Result<Self> {
        let mut reader = Self::new(source)?;
        reader.follows = true;
        if let Content::Frames(frames) = &mut reader.content {
            frames.follow();
        }
        Ok(reader)
    }
}

impl<R: Read> Reader<R> {
    /// The next record or defect; none at the end.
    ///
    /// # Errors
    /// Those of the source.
    #[expect(clippy::should_implement_trait, reason = "what it finds borrows from it")]
    pub fn next(&mut self) -> io::Result<Option<Found<'_>>> {
        while self.binary.is_none() {
            let there = self.rest().len();
            if self.follows && self.ended && there < MARK_START.len() {
                self.stop();
                return Ok(None);
            }
            if there >= MARK_START.len() || self.ended {
                self.binary = Some(is_binary(self.rest()));
            } else if let Some((place, why)) = self.fill()? {
                return Ok(Some(Found::Damaged(place, why)));
            }
        }
        if self.binary == Some(true) { self.message() } else { self.line() }
    }

    /// The format; JSON until the first record has been read.
    pub fn format(&self) -> LogFormat {
        LogFormat::new(self.binary == Some(true), matches!(self.content, Content::Frames(_)))
    }

    /// Lines or messages read, including damaged ones.
    pub const fn read(&self) -> u64 {
        self.number
    }

    /// Bytes of the file that were read.
    pub fn bytes(&self) -> u64 {
        match &self.content {
            Content::Plain { offset, .. } => *offset,
            Content::Frames(frames) => frames.offset(),
        }
    }

    /// Up to where the file is complete, after [`Reader::next`] has returned none.
    pub const fn end(&self) -> &End {
        &self.end
    }

    fn line(&mut self) -> io::Result<Option<Found<'_>>> {
        if self.skips && !self.skip_line()? {
            self.stop();
            return Ok(None);
        }
        let mut searched = 0;
        let length = loop {
            if let Some(at) = memchr::memchr(b'\n', &self.rest()[searched..]) {
                break searched + at;
            }
            searched = self.rest().len();
            if searched >= LONGEST {
                return self.endless_line();
            }
            if self.ended {
                self.stop();
                return Ok(None);
            }
            if let Some((place, why)) = self.fill()? {
                return Ok(Some(Found::Damaged(place, why)));
            }
        };
        self.number += 1;
        let place = self.place();
        let from = self.at;
        self.used(length + 1);
        let line = &self.buffer[from..from + length];
        // Editors and spreadsheets write it before the first line.
        let line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        if line.trim_ascii().is_empty() {
            return Ok(Some(Found::Blank(place)));
        }
        let text = match std::str::from_utf8(line) {
            Ok(text) => text,
            Err(error) => {
                let why = format!("byte {} of it is not UTF-8", error.valid_up_to());
                return Ok(Some(Found::Damaged(place, why)));
            }
        };
        if let Some(kept) = self.lines.read(text) {
            return Ok(Some(Found::Record(place, self.lines.record(kept), Some(Cow::Borrowed(text)))));
        }
        Ok(Some(match Record::parse(text, self.number) {
            Ok(record) => {
                let kept = self.lines.keep(record);
                Found::Record(place, self.lines.record(kept), Some(Cow::Borrowed(text)))
            }
            Err(_) if self.number == 1 && text.contains(BASELINE) => {
                Found::Damaged(place, "it is a baseline, not a log: compare it with wec compare".to_owned())
            }
            Err(error) => match UnknownRecord::of_other_form(text, &error) {
                Some(unknown) => {
                    let kept = self.lines.keep(unknown.into());
                    Found::Record(place, self.lines.record(kept), Some(Cow::Borrowed(text)))
                }
                None => Found::Damaged(place, error.source.to_string()),
            },
        }))
    }

    /// Skips a line that is too long.
    fn endless_line(&mut self) -> io::Result<Option<Found<'_>>> {
        self.number += 1;
        let place = self.place();
        if self.number == 1 {
            // No log begins so. A small compressed file may have content without end.
            self.used(self.rest().len());
            self.ended = true;
            return Ok(Some(Found::Damaged(place, format!("it is longer than {LONGEST} bytes"))));
        }
        self.skips = true;
        self.skip_line()?;
        Ok(Some(Found::Damaged(place, format!("it is longer than {LONGEST} bytes"))))
    }

    /// Skips the rest of a line that is too long. False if its end is not there yet.
    fn skip_line(&mut self) -> io::Result<bool> {
        loop {
            if let Some(at) = memchr::memchr(b'\n', self.rest()) {
                self.used(at + 1);
                self.skips = false;
                return Ok(true);
            }
            self.used(self.rest().len());
            if self.ended {
                self.skips = self.follows;
                return Ok(!self.follows);
            }
            // A second defect within it is the same one.
            let _ = self.fill()?;
        }
    }

    fn message(&mut self) -> io::Result<Option<Found<'_>>> {
        loop {
            if self.lost && !self.find_mark()? {
                self.stop();
                return Ok(None);
            }
            let length = length_of(self.rest());
            let is_whole = match length {
                Some(Some((head, length))) => self.rest().len() >= head + length,
                Some(None) => true,
                None => false,
            };
            if !is_whole {
                if self.ended {
                    self.stop();
                    return Ok(None);
                }
                if let Some((place, why)) = self.fill()? {
                    return Ok(Some(Found::Damaged(place, why)));
                }
                continue;
            }
            let Some((head, length)) = length.flatten() else {
                self.number += 1;
                let place = self.place();
                self.used(1);
                self.lost = true;
                if !self.doubtful {
                    return Ok(Some(Found::Damaged(place, "its length is not possible".to_owned())));
                }
                continue;
            };
            let place = self.place();
            let message = &self.buffer[self.at + head..self.at + head + length];
            if message.starts_with(&MARK_START[1..]) {
                self.block = place.offset;
            }
            match self.decoder.read(message) {
                Ok(read) => {
                    self.doubtful = false;
                    self.used(head + length);
                    self.number += u64::from(read.is_some());
                    if let Some((kept, line)) = read {
                        let place = Place { number: self.number, ..place };
                        let record = self.decoder.record(kept);
                        return Ok(Some(Found::Record(place, record, line.map(Cow::Owned))));
                    }
                }
                Err(Bad::Newer(version)) => {
                    self.used(head + length);
                    return Ok(Some(Found::Newer(version)));
                }
                Err(Bad::Message(why)) => {
                    self.number += 1;
                    let again = std::mem::replace(&mut self.doubtful, true);
                    // Its length may be what is wrong.
                    self.lost = again || memchr::memmem::find(message, MARK_START).is_some();
                    self.used(if self.lost { 1 } else { head + length });
                    return Ok(Some(Found::Damaged(Place { number: self.number, ..place }, why)));
                }
            }
        }
    }

    /// Goes to the next mark, or to the end. False if it may come later.
    fn find_mark(&mut self) -> io::Result<bool> {
        loop {
            if let Some(at) = memchr::memmem::find(self.rest(), MARK_START) {
                self.used(at);
                (self.lost, self.doubtful) = (false, false);
                return Ok(true);
            }
            if self.ended && !self.follows {
                self.used(self.rest().len());
                self.lost = false;
                return Ok(true);
            }
            self.used(self.rest().len().saturating_sub(MARK_START.len() - 1));
            if self.ended {
                return Ok(false);
            }
            // A second defect on the way to it is the same one.
            let _ = self.fill()?;
        }
    }

    /// Reads more of the content. A damaged part of the file is returned; the record before it is not complete.
    fn fill(&mut self) -> io::Result<Option<(Place, String)>> {
        self.buffer.drain(..self.at);
        self.at = 0;
        if self.buffer.is_empty() {
            self.end.length = self.bytes();
            if let Content::Frames(frames) = &self.content {
                self.end.closing = frames.closing();
            }
        }
        let before = self.offset + self.buffer.len() as u64;
        match &mut self.content {
            Content::Plain { source, offset } => {
                let read = read_some(source, &mut self.buffer)?;
                *offset += read as u64;
                self.ended = read == 0;
            }
            Content::Frames(frames) => match frames.read_into(&mut self.buffer)? {
                Chunk::Data { frame } => {
                    if self.frames.back().is_none_or(|(_, last)| *last != frame) {
                        self.frames.push_back((before, frame));
                    }
                }
                Chunk::Damaged { frame, why } => {
                    self.number += 1;
                    let place = Place { frame: Some(frame), start: frame, ..self.place() };
                    self.used(self.buffer.len());
                    self.lost = self.binary == Some(true);
                    return Ok(Some((place, why)));
                }
                Chunk::End { torn } => {
                    self.ended = true;
                    self.end.torn = torn;
                }
            },
        }
        Ok(None)
    }

    /// At the end of what is there.
    fn stop(&mut self) {
        if self.follows {
            self.ended = false;
        } else {
            self.tear();
        }
    }

    /// What is left at the end is incomplete.
    fn tear(&mut self) {
        let left = self.rest().len();
        if let Content::Plain { .. } = self.content {
            self.end.length = self.bytes() - left as u64;
        }
        self.end.torn += left as u64;
        self.used(left);
    }

    fn place(&self) -> Place {
        let frame = self.frames.front().map(|(_, frame)| *frame);
        let start = if self.binary == Some(true) { self.block } else { self.offset };
        let (number, offset, format) = (self.number, self.offset, self.format());
        Place { number, offset, frame, start: frame.unwrap_or(start), format }
    }

    fn rest(&self) -> &[u8] {
        &self.buffer[self.at..]
    }

    fn used(&mut self, length: usize) {
        self.at += length;
        self.offset += length as u64;
        while self.frames.get(1).is_some_and(|(start, _)| *start <= self.offset) {
            self.frames.pop_front();
        }
    }
}

impl<R> std::fmt::Debug for Reader<R> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Reader").field("offset", &self.offset).finish_non_exhaustive()
    }
}

/// The length before a message: how many bytes it takes and its value. `None` if it is incomplete, `Some(None)` if no
/// message has it.
fn length_of(bytes: &[u8]) -> Option<Option<(usize, usize)>> {
    let mut length = 0;
    for (place, byte) in bytes.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some((1..=LONGEST).contains(&length).then_some((place + 1, length)));
        }
    }
    (bytes.len() >= 4).then_some(None)
}
