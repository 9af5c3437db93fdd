//! `Form`: how records become the bytes of a log, and `RecordWriter`, which writes them anywhere.

use std::io::{self, Write};

use wec_record::{FORMAT_VERSION, Record, RunHeader};

use crate::LogFormat;
use crate::binary::{Encoder, Saved, push_json};
use crate::frames::Compressor;

/// Content of a block of a binary log that is not compressed, bytes. A little more, because it ends between two records.
const BLOCK: u64 = 1 << 20;
/// Content of a zstd frame. Each begins without knowledge of the one before: frames of half the content take 4 to 7 % more
/// bytes.
pub(crate) const FRAME: u64 = 2 << 20;
/// Content that is compressed and written at once, bytes: one zstd block.
pub(crate) const PIECE: usize = 120 << 10;

/// On JSON, levels 2 to 5 make no smaller files than level 1. Level 8 is the first that finds the repeated numbers of digits
/// between keys: a fifth less, for about eight times the time. Higher levels take twice as long for a few per cent more.
const JSON_LEVEL: i32 = 8;
/// The binary form has a tenth as much content to compress. Level 10 makes 3 % less than level 8, for 40 % more time; level
/// 12 makes 4 % less, for 150 % more.
const BINARY_LEVEL: i32 = 10;

/// How records become bytes.
#[derive(Debug)]
pub(crate) struct Form {
    pub(crate) format: LogFormat,
    encoder: Encoder,
    compressor: Option<Box<Compressor>>,
    /// The point in the block where the content begins.
    saved: Saved,
    /// Content of the block so far.
    block: u64,
    /// The next record begins a block.
    begins: bool,
}

impl Form {
    pub(crate) fn new(format: LogFormat) -> Self {
        Self {
            format,
            encoder: Encoder::default(),
            compressor: format.is_compressed().then(|| {
                let level = if format.is_binary() { BINARY_LEVEL } else { JSON_LEVEL };
                Box::new(Compressor::new(level))
            }),
            saved: Saved::default(),
            block: 0,
            begins: true,
        }
    }

    /// Appends a record to content that may be empty.
    pub(crate) fn append(&mut self, record: &Record, content: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        if content.is_empty() && !self.begins {
            self.saved = self.encoder.save();
        }
        let before = content.len();
        let outcome = if self.format.is_binary() {
            if std::mem::take(&mut self.begins) {
                self.encoder.begin_block(content);
                self.saved = Saved::default();
            }
            self.encoder.encode(record, content)
        } else {
            self.begins = false;
            serde_json::to_writer(&mut *content, record).map(|()| content.push(b'\n'))
        };
        if outcome.is_err() && !self.format.is_binary() {
            content.truncate(before);
        }
        self.block += (content.len() - before) as u64;
        outcome
    }

    /// Appends the line of a record as it is, because the record has not all of it.
    fn append_line(&mut self, line: &str, content: &mut Vec<u8>) {
        let before = content.len();
        if self.format.is_binary() {
            if std::mem::take(&mut self.begins) {
                self.encoder.begin_block(content);
            }
            push_json(line.to_owned(), content);
        } else {
            content.extend_from_slice(line.as_bytes());
            content.push(b'\n');
        }
        self.block += (content.len() - before) as u64;
    }

    /// Appends the bytes of the file that are this content.
    pub(crate) fn encode_content(&mut self, content: &[u8], file: &mut Vec<u8>) {
        match &mut self.compressor {
            Some(compressor) => compressor.add(content, file),
            None => file.extend_from_slice(content),
        }
    }

    /// Whether the block has its length.
    pub(crate) const fn is_full(&self) -> bool {
        self.block >= if self.format.is_compressed() { FRAME } else { BLOCK }
    }

    /// The next record begins a block, and in a compressed log a frame. All content must be in the file.
    pub(crate) fn end_block(&mut self, file: &mut Vec<u8>) {
        self.block = 0;
        self.begins = true;
        if let Some(compressor) = &mut self.compressor {
            compressor.end_frame(file);
        }
    }

    /// The content without its first `written` bytes, as it is at the start of another file, after the header.
    pub(crate) fn again(
        &mut self,
        header: &Record,
        content: &[u8],
        ends: &[usize],
        written: usize,
    ) -> (Vec<u8>, Vec<usize>) {
        // A record of which a part was written is not in the old file.
        let whole = ends.iter().rev().find(|end| **end <= written).copied().unwrap_or(0);
        let (mut again, mut ends_again) = (Vec::new(), Vec::new());
        let decoder = self.format.is_binary().then(|| self.encoder.decoder_at(&self.saved));
        if let Some(compressor) = &mut self.compressor {
            compressor.reset();
        }
        self.begins = true;
        self.block = 0;
        // A header was read from a log, or has only values with a JSON form.
        let _ = self.append(header, &mut again);
        ends_again.push(again.len());
        match decoder {
            None => {
                let shift = again.len();
                again.extend_from_slice(&content[whole..]);
                ends_again.extend(ends.iter().filter(|end| **end > whole).map(|end| end - whole + shift));
            }
            Some(mut decoder) => {
                // Every end is the end of a record, after entries of tables.
                let mut at = 0;
                while at < content.len() {
                    let Ok(length) = prost::decode_length_delimiter(&content[at..]) else { break };
                    let from = at + prost::length_delimiter_len(length);
                    at = from + length;
                    if let Ok(Some((record, _))) = decoder.decode(&content[from..at])
                        && at > whole
                    {
                        let _ = self.append(&record, &mut again);
                        ends_again.push(again.len());
                    }
                }
            }
        }
        (again, ends_again)
    }
}

/// Writes records in a format. Unlike [`Log`](crate::Log), it ends at the first error.
#[derive(Debug)]
pub struct RecordWriter<W> {
    form: Form,
    /// The last header, if it is of an earlier version.
    earlier: Option<RunHeader>,
    content: Vec<u8>,
    file: Vec<u8>,
    to: W,
}

impl<W: Write> RecordWriter<W> {
    /// Writes to this.
    pub fn new(format: LogFormat, to: W) -> Self {
        Self { form: Form::new(format), earlier: None, content: Vec::new(), file: Vec::new(), to }
    }

    /// Writes a record. If it was read from a line, that line is kept to the byte.
    ///
    /// # Errors
    /// Those of the file; and a number that JSON does not have.
    pub fn write(&mut self, record: &Record, line: Option<&str>) -> io::Result<()> {
        if let Record::Header(header) = record {
            self.earlier = (header.version < FORMAT_VERSION).then(|| header.clone());
        }
        let is_present = |line: &str| serde_json::to_string(record).map(|present| present == line);
        // The header before a result in the present form has the present version.
        if matches!(record, Record::Chain { .. })
            && !self.form.format.is_binary()
            && self.earlier.is_some()
            && line.map_or(Ok(true), is_present)?
            && let Some(header) = self.earlier.take()
        {
            let header = RunHeader { version: FORMAT_VERSION, ..header };
            self.form.append(&Record::Header(header), &mut self.content)?;
        }
        match line {
            Some(line) if !self.form.format.is_binary() || !is_present(line)? => {
                self.form.append_line(line, &mut self.content);
            }
            _ => self.form.append(record, &mut self.content)?,
        }
        if self.content.len() >= PIECE { self.flush() } else { Ok(()) }
    }

    /// Writes everything so far.
    ///
    /// # Errors
    /// Those of the file.
    pub fn flush(&mut self) -> io::Result<()> {
        if !self.content.is_empty() {
            self.form.encode_content(&self.content, &mut self.file);
            self.content.clear();
        }
        if self.form.is_full() {
            self.form.end_block(&mut self.file);
        }
        self.to.write_all(&self.file)?;
        self.file.clear();
        self.to.flush()
    }

    /// What is written to.
    pub const fn get_ref(&self) -> &W {
        &self.to
    }

    /// Completes the file.
    ///
    /// # Errors
    /// Those of the file.
    pub fn finish(mut self) -> io::Result<W> {
        self.flush()?;
        self.form.end_block(&mut self.file);
        self.to.write_all(&self.file)?;
        self.to.flush()?;
        Ok(self.to)
    }
}
