//! The form of batches in a spool's segments: a head with its own checksum, then the batch with another.
//!
//! | bytes | content |
//! | --- | --- |
//! | 4 | [`MAGIC`] |
//! | 4 | length of the batch |
//! | 8 | number of its last entry |
//! | 4 | results in it |
//! | 4 | entries in it |
//! | 4 | checksum of the batch |
//! | 4 | checksum of all of the above |
//!
//! Numbers are little-endian; a checksum is the beginning of the SHA-256. So a damaged batch is skipped by its
//! length, and after a damaged head the next complete frame is found.

use std::ops::Range;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};

/// No text begins with it, and it is rare elsewhere.
const MAGIC: [u8; 4] = [0xf5, b'w', b'e', b'c'];
/// Bytes of a head.
pub(crate) const HEAD: usize = 32;
/// No batch is larger: a greater length is damage.
const LARGEST: usize = 256 << 20;

/// A batch as it is sent, encoded once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Number of its last entry.
    pub(crate) last_seq: u64,
    /// How many results it holds.
    pub(crate) results: u32,
    /// How many entries it holds, results among them.
    pub(crate) entries: u32,
    /// The encoded batch.
    pub(crate) bytes: Arc<[u8]>,
}

/// The item at a place in a segment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A batch; the next item begins at `next`.
    Frame { frame: Frame, next: usize },
    /// No batch up to `next`. `known` is its content, if its head is intact.
    Damage { next: usize, known: Option<Known> },
    /// The beginning of a frame, or nothing. More may be written after it.
    End,
}

/// Content of a damaged batch, from its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) last_seq: u64,
    pub(crate) results: u32,
}

pub(crate) fn encoded(frame: &Frame) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD + frame.bytes.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&(frame.bytes.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&frame.last_seq.to_le_bytes());
    bytes.extend_from_slice(&frame.results.to_le_bytes());
    bytes.extend_from_slice(&frame.entries.to_le_bytes());
    bytes.extend_from_slice(&checksum(&frame.bytes));
    let head = checksum(&bytes);
    bytes.extend_from_slice(&head);
    bytes.extend_from_slice(&frame.bytes);
    bytes
}

/// The item at `at`. `complete` means that nothing will be written after `segment`.
pub(crate) fn find(segment: &[u8], at: usize, complete: bool) -> Found {
    if at >= segment.len() {
        return Found::End;
    }
    match head(segment, at) {
        Some(head) if head.batch.end <= segment.len() => {
            let bytes = &segment[head.batch.clone()];
            let next = head.batch.end;
            if checksum(bytes) == head.checksum {
                let Head { last_seq, results, entries, .. } = head;
                return Found::Frame {
                    frame: Frame { last_seq, results, entries, bytes: bytes.into() },
                    next,
                };
            }
            Found::Damage { next, known: head.known() }
        }
        // Its end is missing. Another frame follows only if somebody continued to write after an incomplete one.
        Some(head) => match next_whole(segment, at + 1) {
            Some(next) => Found::Damage { next, known: head.known() },
            None if complete => Found::Damage { next: segment.len(), known: head.known() },
            None => Found::End,
        },
        None => match next_whole(segment, at + 1) {
            Some(next) => Found::Damage { next, known: None },
            None if complete => Found::Damage { next: segment.len(), known: None },
            None => Found::End,
        },
    }
}

struct Head {
    last_seq: u64,
    results: u32,
    entries: u32,
    checksum: [u8; 4],
    batch: Range<usize>,
}

impl Head {
    const fn known(&self) -> Option<Known> {
        Some(Known { last_seq: self.last_seq, results: self.results })
    }
}

fn head(segment: &[u8], at: usize) -> Option<Head> {
    let bytes = segment.get(at..at + HEAD)?;
    if bytes[..4] != MAGIC || checksum(&bytes[..HEAD - 4]) != bytes[HEAD - 4..] {
        return None;
    }
    let number = |range: Range<usize>| bytes[range].iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte));
    let length = number(4..8) as usize;
    (length <= LARGEST).then(|| Head {
        last_seq: number(8..16),
        results: number(16..20) as u32,
        entries: number(20..24) as u32,
        checksum: [bytes[24], bytes[25], bytes[26], bytes[27]],
        batch: at + HEAD..at + HEAD + length,
    })
}

/// Where the next complete frame begins.
fn next_whole(segment: &[u8], from: usize) -> Option<usize> {
    (from..segment.len().saturating_sub(HEAD - 1)).filter(|at| segment[*at] == MAGIC[0]).find(|at| {
        let whole = |head: &Head| {
            segment.get(head.batch.clone()).is_some_and(|bytes| checksum(bytes) == head.checksum)
        };
        head(segment, *at).is_some_and(|head| whole(&head))
    })
}

fn checksum(bytes: &[u8]) -> [u8; 4] {
    let digest = digest(&SHA256, bytes);
    let digest = digest.as_ref();
    [digest[0], digest[1], digest[2], digest[3]]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(last_seq: u64) -> Frame {
        Frame { last_seq, results: 2, entries: 3, bytes: vec![last_seq as u8; 50].into() }
    }

    fn all(segment: &[u8]) -> (Vec<u64>, Vec<Option<u32>>) {
        let (mut at, mut frames, mut damages) = (0, Vec::new(), Vec::new());
        loop {
            at = match find(segment, at, true) {
                Found::Frame { frame, next } => {
                    frames.push(frame.last_seq);
                    next
                }
                Found::Damage { next, known } => {
                    damages.push(known.map(|known| known.results));
                    next
                }
                Found::End => return (frames, damages),
            }
        }
    }

    #[test]
    fn a_damaged_frame_hides_no_other() {
        let segment: Vec<u8> = (1..=3).flat_map(|seq| encoded(&frame(seq))).collect();
        assert_eq!(all(&segment), (vec![1, 2, 3], vec![]));
        let length = HEAD + 50;
        for at in 0..length {
            let mut damaged = segment.clone();
            damaged[length + at] ^= 0x55;
            let known = if at < HEAD { None } else { Some(2) };
            assert_eq!(all(&damaged), (vec![1, 3], vec![known]), "byte {at}");
        }
        for cut in 1..length {
            let torn = &segment[..segment.len() - cut];
            let known = if length - cut < HEAD { None } else { Some(2) };
            assert_eq!(all(torn), (vec![1, 2], vec![known]), "{cut} bytes cut off");
            assert_eq!(find(torn, 2 * length, false), Found::End, "more bytes may follow");
        }
        // Missing bytes, additional bytes, and zeros as after a crash of the machine.
        let lost: Vec<u8> = [&segment[..length + 20], &segment[length + 40..]].concat();
        assert_eq!(all(&lost), (vec![1, 3], vec![None]));
        let more: Vec<u8> = [&segment[..length], b"noise", &segment[length..]].concat();
        assert_eq!(all(&more), (vec![1, 2, 3], vec![None]));
        let zeros: Vec<u8> = [&segment[..2 * length], &vec![0; length]].concat();
        assert_eq!(all(&zeros), (vec![1, 2], vec![None]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_their_end(noise in proptest::collection::vec(any::<u8>(), 0..400), cut in 0usize..200) {
            let mut segment = noise;
            segment.extend_from_slice(&encoded(&frame(7)));
            segment.truncate(segment.len().saturating_sub(cut));
            all(&segment);
        }
    }
}
