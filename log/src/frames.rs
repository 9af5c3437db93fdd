//! zstd frames (RFC 8878): the content of a file made of them, and the writer of such a file.
//!
//! The reader walks over the blocks of a frame itself, so that it knows to the byte which part of a cut file is complete.

use std::io::{self, Read};

use xxhash_rust::xxh64::Xxh64;
use zstd::zstd_safe::zstd_sys::ZSTD_EndDirective;
use zstd::zstd_safe::{
    CCtx, CParameter, DCtx, DParameter, InBuffer, OutBuffer, ResetDirective, get_error_name,
};

/// The first bytes of a frame.
pub(crate) const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Maximal length of a block's content, bytes.
const MAX_BLOCK: usize = 128 << 10;
/// Bytes of a file that are read at once.
const PIECE: usize = 1 << 18;
/// 8 MiB: what `zstd -19` and all lower levels need.
const MAX_WINDOW_LOG: u32 = 23;
/// zstd's text for a frame with a larger window.
const TOO_LARGE: &str = "Frame requires too much memory for decoding";
/// An empty last block.
const LAST_BLOCK: [u8; 3] = [1, 0, 0];

/// Whether a frame of that magic is one that readers skip.
pub(crate) const fn is_skippable(magic: u32) -> bool {
    magic >> 4 == 0x184_d2a5
}

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Chunk {
    /// Content of this frame, by its start in the file, was appended.
    Data { frame: u64 },
    /// A part of the file was skipped. What was appended before may end in the middle of a record.
    Damaged { frame: u64, why: String },
    /// The end of the file; its last `torn` bytes are an incomplete block.
    End { torn: u64 },
}

/// Reads the content of a file of frames.
pub(crate) struct FrameReader<R> {
    source: R,
    input: Vec<u8>,
    /// How far `input` has been read.
    at: usize,
    /// Of `input[at]` in the file.
    offset: u64,
    frame: Option<Frame>,
    /// Bytes of a frame that is not content, which are still to be skipped.
    to_skip: u64,
    /// The file grows: what is incomplete waits for its rest.
    follows: bool,
    decoder: DCtx<'static>,
    /// Room for the content of a block.
    content: Vec<u8>,
}

/// The frame that is being read.
struct Frame {
    offset: u64,
    /// The hash of its content so far, if it ends with one.
    hash: Option<Xxh64>,
}

impl<R: Read> FrameReader<R> {
    pub(crate) fn new(source: R) -> Self {
        let mut decoder = DCtx::create();
        decoder.set_parameter(DParameter::WindowLogMax(MAX_WINDOW_LOG)).expect("it is within zstd's bounds");
        Self {
            source,
            input: Vec::new(),
            at: 0,
            offset: 0,
            frame: None,
            to_skip: 0,
            follows: false,
            decoder,
            content: vec![0; MAX_BLOCK + 1],
        }
    }

    /// The file grows: at [`Chunk::End`], what is incomplete is read again later.
    pub(crate) const fn follow(&mut self) {
        self.follows = true;
    }

    /// Bytes of the file that were read.
    pub(crate) const fn offset(&self) -> u64 {
        self.offset
    }

    /// Start of the present frame in the file, or of the next one.
    pub(crate) fn frame(&self) -> u64 {
        self.frame.as_ref().map_or(self.offset, |frame| frame.offset)
    }

    /// What completes the file if it is cut off here.
    pub(crate) fn closing(&self) -> Vec<u8> {
        let Some(frame) = &self.frame else { return Vec::new() };
        let mut closing = LAST_BLOCK.to_vec();
        if let Some(hash) = &frame.hash {
            closing.extend_from_slice(&(hash.digest() as u32).to_le_bytes());
        }
        closing
    }

    /// Appends the content of the next block.
    pub(crate) fn read_into(&mut self, to: &mut Vec<u8>) -> io::Result<Chunk> {
        loop {
            let (before, frame) = (to.len(), self.frame());
            let step = if self.frame.is_none() { self.begin_frame()? } else { self.block(to)? };
            match step {
                Step::Done if to.len() == before => {}
                Step::Done => return Ok(Chunk::Data { frame }),
                Step::End(torn) => return Ok(Chunk::End { torn }),
                Step::Damaged(why) => {
                    let frame = self.frame();
                    self.frame = None;
                    let _ = self.decoder.reset(ResetDirective::SessionOnly);
                    self.find_frame()?;
                    return Ok(Chunk::Damaged { frame, why });
                }
            }
        }
    }

    fn begin_frame(&mut self) -> io::Result<Step> {
        if self.to_skip > 0 {
            return self.skip_on();
        }
        let there = self.want(MAGIC.len())?;
        if there < MAGIC.len() {
            return Ok(self.torn(there));
        }
        let head: [u8; 4] = self.rest()[..4].try_into().expect("four bytes");
        if is_skippable(u32::from_le_bytes(head)) {
            return self.skip();
        }
        if head != MAGIC {
            return Ok(Step::Damaged("no zstd frame begins here".to_owned()));
        }
        let there = self.want(5)?;
        if there < 5 {
            return Ok(self.torn(there));
        }
        let descriptor = self.rest()[4];
        let single = descriptor & 0x20 != 0;
        let size = match descriptor >> 6 {
            0 => usize::from(single),
            1 => 2,
            2 => 4,
            _ => 8,
        };
        let length = 5 + usize::from(!single) + [0, 1, 2, 4][usize::from(descriptor & 3)] + size;
        let there = self.want(length)?;
        if there < length {
            return Ok(self.torn(there));
        }
        self.frame = Some(Frame { offset: self.offset, hash: (descriptor & 4 != 0).then(|| Xxh64::new(0)) });
        if let Err(why) = self.decode(length, &mut Vec::new()) {
            return Ok(Step::Damaged(why));
        }
        self.used(length);
        Ok(Step::Done)
    }

    fn block(&mut self, to: &mut Vec<u8>) -> io::Result<Step> {
        let there = self.want(3)?;
        if there < 3 {
            return Ok(self.torn(there));
        }
        let head = self.rest();
        let head = u32::from_le_bytes([head[0], head[1], head[2], 0]);
        let (last, kind, size) = (head & 1 != 0, head >> 1 & 3, (head >> 3) as usize);
        if kind == 3 || size > MAX_BLOCK {
            return Ok(Step::Damaged(format!("its block at byte {} is damaged", self.offset)));
        }
        let hash = self.frame.as_ref().is_some_and(|frame| frame.hash.is_some());
        let length = 3 + if kind == 1 { 1 } else { size } + if last && hash { 4 } else { 0 };
        let there = self.want(length)?;
        if there < length {
            return Ok(self.torn(there));
        }
        let before = to.len();
        let outcome = self.decode(length, to);
        if let Some(hash) = self.frame.as_mut().and_then(|frame| frame.hash.as_mut()) {
            hash.update(&to[before..]);
        }
        if let Err(why) = outcome {
            return Ok(Step::Damaged(format!("its block at byte {} is damaged: {why}", self.offset)));
        }
        self.used(length);
        if last {
            self.frame = None;
        }
        Ok(Step::Done)
    }

    /// Decodes the next `length` bytes, which are complete.
    fn decode(&mut self, length: usize, to: &mut Vec<u8>) -> Result<(), String> {
        let mut input = InBuffer::around(&self.input[self.at..self.at + length]);
        loop {
            let mut output = OutBuffer::around(&mut self.content[..]);
            self.decoder
                .decompress_stream(&mut output, &mut input)
                .map_err(|code| match get_error_name(code) {
                    TOO_LARGE => format!(
                        "its window is larger than the {} MiB that are read, as with zstd --long or --ultra: compress it \
                         again, with zstd -dc --long=31 FILE | zstd -19 -o NEW",
                        (1 << MAX_WINDOW_LOG) >> 20
                    ),
                    why => why.to_owned(),
                })?;
            let made = output.pos();
            to.extend_from_slice(&self.content[..made]);
            if input.pos == length && made < self.content.len() {
                return Ok(());
            }
        }
    }

    /// A frame that is not content: its magic, a length of four bytes, and that many bytes.
    fn skip(&mut self) -> io::Result<Step> {
        let there = self.want(8)?;
        if there < 8 {
            return Ok(self.torn(there));
        }
        let head = self.rest();
        self.to_skip = 8 + u64::from(u32::from_le_bytes([head[4], head[5], head[6], head[7]]));
        self.skip_on()
    }

    fn skip_on(&mut self) -> io::Result<Step> {
        while self.to_skip > 0 {
            let there = self.want(1)?;
            if there == 0 && self.follows {
                return Ok(Step::End(0));
            }
            if there == 0 {
                return Ok(Step::End(std::mem::take(&mut self.to_skip)));
            }
            let used = there.min(usize::try_from(self.to_skip).unwrap_or(usize::MAX));
            self.used(used);
            self.to_skip -= used as u64;
        }
        Ok(Step::Done)
    }

    /// Goes to the next frame, or to the end.
    fn find_frame(&mut self) -> io::Result<()> {
        // At least one byte, so that a damaged head is not found again.
        let mut from = 1;
        loop {
            let there = self.want(from + MAGIC.len())?;
            if there < from + MAGIC.len() {
                self.used(if self.follows { there.saturating_sub(MAGIC.len() - 1) } else { there });
                return Ok(());
            }
            match memchr::memmem::find(&self.rest()[from..], &MAGIC) {
                Some(at) => {
                    self.used(from + at);
                    return Ok(());
                }
                None => self.used(there - (MAGIC.len() - 1)),
            }
            from = 0;
        }
    }

    fn torn(&mut self, there: usize) -> Step {
        if self.follows {
            return Step::End(0);
        }
        self.used(there);
        Step::End(there as u64)
    }

    fn rest(&self) -> &[u8] {
        &self.input[self.at..]
    }

    fn used(&mut self, length: usize) {
        self.at += length;
        self.offset += length as u64;
    }

    /// Reads until that many bytes are there, or the file ends. Returns how many are there.
    fn want(&mut self, length: usize) -> io::Result<usize> {
        if self.rest().len() < length {
            self.input.drain(..self.at);
            self.at = 0;
            while self.input.len() < length {
                if read_some(&mut self.source, &mut self.input)? == 0 {
                    break;
                }
            }
        }
        Ok(self.rest().len())
    }
}

/// Appends what the source has now; 0 bytes at its end.
pub(crate) fn read_some(source: &mut impl Read, to: &mut Vec<u8>) -> io::Result<usize> {
    let before = to.len();
    to.resize(before + PIECE, 0);
    let read = loop {
        match source.read(&mut to[before..]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => break read,
        }
    };
    to.truncate(before + *read.as_ref().unwrap_or(&0));
    read
}

enum Step {
    Done,
    End(u64),
    Damaged(String),
}

/// Makes frames.
pub(crate) struct Compressor {
    context: CCtx<'static>,
    room: Vec<u8>,
    in_frame: bool,
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Compressor").field("in_frame", &self.in_frame).finish_non_exhaustive()
    }
}

impl Compressor {
    pub(crate) fn new(level: i32) -> Self {
        let mut context = CCtx::create();
        for parameter in [CParameter::CompressionLevel(level), CParameter::ChecksumFlag(true)] {
            context.set_parameter(parameter).expect("it is within zstd's bounds");
        }
        Self { context, room: vec![0; MAX_BLOCK], in_frame: false }
    }

    /// Appends whole blocks with this content, so that a reader has all of it.
    pub(crate) fn add(&mut self, content: &[u8], to: &mut Vec<u8>) {
        self.in_frame = true;
        self.run(content, ZSTD_EndDirective::ZSTD_e_flush, to);
    }

    /// Ends the frame, if there is one.
    pub(crate) fn end_frame(&mut self, to: &mut Vec<u8>) {
        if std::mem::take(&mut self.in_frame) {
            self.run(&[], ZSTD_EndDirective::ZSTD_e_end, to);
        }
    }

    /// Begins a frame, whatever became of the one before.
    pub(crate) fn reset(&mut self) {
        self.in_frame = false;
        let _ = self.context.reset(ResetDirective::SessionOnly);
    }

    fn run(&mut self, content: &[u8], directive: ZSTD_EndDirective, to: &mut Vec<u8>) {
        let mut input = InBuffer::around(content);
        loop {
            let mut output = OutBuffer::around(&mut self.room[..]);
            let left = self
                .context
                .compress_stream2(&mut output, &mut input, directive)
                .expect("zstd compresses any bytes, and its memory was allocated with the context");
            let made = output.pos();
            to.extend_from_slice(&self.room[..made]);
            if left == 0 && input.pos == content.len() {
                return;
            }
        }
    }
}
