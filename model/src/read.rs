//! Reads logs line by line, in a fixed amount of memory.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::Counts;
use crate::formats::parse;

/// A longer line is skipped.
const LONGEST: usize = 1 << 20;
/// Skipped lines that are kept as examples.
const EXAMPLES: usize = 5;
/// Bytes that are read at a time.
const BUFFER: usize = 1 << 18;
/// The first bytes of a zstd frame (RFC 8878) and of a gzip member (RFC 1952).
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// A log that cannot be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The file system's or the decompressor's error.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The log.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It is compressed by gzip.
    #[error(
        "{} is compressed by gzip, and only zstd is read: give its content by a pipe, as in zcat FILE | wec model -",
        path.display()
    )]
    Gzip {
        /// The log.
        path: PathBuf,
    },
}

/// What of the logs was not counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Lines read.
    pub lines: u64,
    /// Lines that are about no request: empty ones, and a server's messages.
    pub other: u64,
    /// Lines that could not be read.
    pub unreadable: u64,
    /// The first of those: the log, the number of the line from 1, and why.
    pub examples: Vec<(PathBuf, u64, &'static str)>,
}

impl Skipped {
    fn unreadable(&mut self, path: &Path, number: u64, why: &'static str) {
        self.unreadable += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push((path.to_owned(), number, why));
        }
    }
}

/// Counts the requests of these logs, one after the other; `-` is standard input. Lines that cannot be read are
/// skipped.
///
/// # Errors
/// When a log cannot be read.
pub fn read(logs: &[PathBuf], counts: &mut Counts) -> Result<Skipped, ReadError> {
    let mut skipped = Skipped::default();
    for path in logs {
        let failed = |source| ReadError::Io { path: path.clone(), source };
        let source: Box<dyn Read> = if path.as_os_str() == "-" {
            Box::new(io::stdin().lock())
        } else {
            Box::new(File::open(path).map_err(failed)?)
        };
        let mut source = BufReader::with_capacity(BUFFER, source);
        let start = source.fill_buf().map_err(failed)?;
        if start.starts_with(&GZIP) {
            return Err(ReadError::Gzip { path: path.clone() });
        }
        if start.starts_with(&ZSTD) {
            let content = zstd::stream::read::Decoder::with_buffer(source).map_err(failed)?;
            lines(path, BufReader::with_capacity(BUFFER, content), counts, &mut skipped).map_err(failed)?;
        } else {
            lines(path, source, counts, &mut skipped).map_err(failed)?;
        }
    }
    Ok(skipped)
}

fn lines(
    path: &Path,
    mut source: impl BufRead,
    counts: &mut Counts,
    skipped: &mut Skipped,
) -> io::Result<()> {
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let Some(whole) = next(&mut source, &mut line)? else { break };
        skipped.lines += 1;
        if !whole {
            skipped.unreadable(path, number, "longer than 1 MiB");
            continue;
        }
        match parse(&line) {
            Ok(Some(request)) => counts.add(&request),
            Ok(None) => skipped.other += 1,
            Err(why) => skipped.unreadable(path, number, why),
        }
    }
    Ok(())
}

/// Reads the next line; whether all of it fits. None at the end.
fn next(source: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Option<bool>> {
    let mut whole = true;
    let mut any = false;
    loop {
        let buffer = match source.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            buffer => buffer?,
        };
        if buffer.is_empty() {
            return Ok(any.then_some(whole));
        }
        any = true;
        let end = memchr::memchr(b'\n', buffer);
        let part = &buffer[..end.unwrap_or(buffer.len())];
        whole &= line.len() + part.len() <= LONGEST;
        if whole {
            line.extend_from_slice(part);
        }
        let read = end.map_or(buffer.len(), |end| end + 1);
        source.consume(read);
        if end.is_some() {
            return Ok(Some(whole));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Paths;

    const ORDER: &str =
        r#"192.0.2.7 - - [29/Nov/2026:22:58:44 +0000] "POST /new-order HTTP/1.1" 201 9 "-" "certbot/2""#;

    fn counted(content: &[u8]) -> Result<(u64, Skipped), String> {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("access.log");
        std::fs::write(&log, content).unwrap();
        let mut counts = Counts::new(Paths::default(), 100);
        let mut skipped = read(std::slice::from_ref(&log), &mut counts).map_err(|error| error.to_string())?;
        skipped.examples.iter_mut().for_each(|(path, ..)| *path = PathBuf::from("access.log"));
        Ok((counts.requests(), skipped))
    }

    #[test]
    fn lines_that_cannot_be_read_are_skipped_and_counted() {
        let long = "x".repeat(LONGEST + 1);
        let content = format!("{ORDER}\nhello\n\n{ORDER}\r\n{long}\n{ORDER}");
        let (requests, skipped) = counted(content.as_bytes()).unwrap();
        assert_eq!(requests, 3);
        let why = |number, why| (PathBuf::from("access.log"), number, why);
        let examples = vec![why(2, "none of the known formats"), why(5, "longer than 1 MiB")];
        assert_eq!(skipped, Skipped { lines: 6, other: 1, unreadable: 2, examples });
    }

    #[test]
    fn compressed_logs_are_read_or_named() {
        let content = format!("{ORDER}\n{ORDER}\n");
        let compressed = zstd::encode_all(content.as_bytes(), 3).unwrap();
        assert_eq!(counted(&compressed).unwrap().0, 2);
        // Two frames, as `zstd` appends them.
        assert_eq!(counted(&[compressed.clone(), compressed.clone()].concat()).unwrap().0, 4);
        let error = counted(&[0x1f, 0x8b, 8, 0]).unwrap_err();
        assert!(error.contains("access.log is compressed by gzip") && error.contains("zcat"), "{error}");
        assert!(counted(&compressed[..compressed.len() - 9]).unwrap_err().contains("cannot read"));
        assert_eq!(counted(b"").unwrap(), (0, Skipped::default()));
    }
}
