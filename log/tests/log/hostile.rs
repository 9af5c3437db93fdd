//! Damaged and foreign bytes: skipped, counted, never a panic.

use proptest::prelude::*;
use wec_log::{Found, LogFormat, LogReport, Reader, fuzzing, read_logs};
use wec_record::Record;

use crate::common::{chain, file, header, path, read, record};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_bytes_are_read_to_their_end(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        fuzzing::read(&bytes);
        fuzzing::read_messages(&bytes);
    }

    #[test]
    fn a_damaged_file_is_read_to_its_end(
        written in prop::collection::vec(record(), 1..6), format in 0usize..4,
        changes in prop::collection::vec((0.0..1.0f64, any::<u8>(), 0usize..3), 1..6),
    ) {
        let mut bytes = file(LogFormat::ALL[format], &written);
        for (place, value, how) in changes {
            let place = (bytes.len() as f64 * place) as usize;
            match how {
                0 => bytes[place] = value,
                1 => bytes.insert(place, value),
                _ => drop(bytes.remove(place)),
            }
            if bytes.is_empty() {
                break;
            }
        }
        fuzzing::read(&bytes);
    }
}

#[test]
fn the_corpus_of_the_fuzzer_is_read_to_its_end() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus");
    let mut records = 0;
    for (folder, read) in [("log", fuzzing::read as fn(&[u8]) -> u64), ("messages", fuzzing::read_messages)] {
        for file in std::fs::read_dir(format!("{corpus}/{folder}")).unwrap() {
            records += read(&std::fs::read(file.unwrap().path()).unwrap());
        }
    }
    assert!(records >= 9 * 11, "{records}");
}

/// Several blocks and frames in each format.
const CHAINS: u64 = 30_000;

/// The report of a file that was changed at one place, and how many chain results are left.
fn after(format: LogFormat, change: impl FnOnce(&mut Vec<u8>)) -> (LogReport, usize) {
    let folder = tempfile::tempdir().unwrap();
    let records: Vec<_> =
        std::iter::once(Record::Header(header("run"))).chain((1..=CHAINS).map(|seq| chain(seq, 4))).collect();
    let mut bytes = file(format, &records);
    change(&mut bytes);
    let (found, _, report) = read(&[path(folder.path(), "log", &bytes)]);
    (report, found.iter().filter(|record| matches!(record, Record::Chain { .. })).count())
}

#[test]
fn a_damaged_frame_costs_that_frame() {
    for format in [LogFormat::JsonZstd, LogFormat::BinaryZstd] {
        let mut place = 0;
        let (report, left) = after(format, |bytes| {
            // In the second frame.
            let starts: Vec<_> = memchr::memmem::find_iter(bytes, b"\x28\xb5\x2f\xfd").collect();
            assert!(starts.len() >= 2, "{starts:?}");
            place = starts[1];
            bytes[place + 40_000] ^= 0x55;
        });
        let problems = report.problems().join("; ");
        // What is copied from the damaged place is damaged, too.
        assert!((1..=3_000).contains(&report.damaged_lines), "{format}: {problems}");
        assert!(report.damaged.iter().all(|it| it.frame == Some(place as u64)), "{problems}");
        assert!(left > 15_000 && left < 30_000, "{format}: {left}");
        assert!(problems.contains(&format!("in the frame at byte {place} of the file")), "{problems}");
    }
}

#[test]
fn a_damaged_message_costs_at_most_its_block() {
    for (flip, least) in [(0x80, 10_000), (0x01, 10_000)] {
        let (report, left) = after(LogFormat::Binary, |bytes| {
            let middle = bytes.len() / 4;
            for byte in &mut bytes[middle..middle + 3] {
                *byte ^= flip;
            }
        });
        let problems = report.problems().join("; ");
        assert!(report.damaged_lines > 0 || left == 30_000, "{problems}");
        assert!(left > least, "{left}: {problems}");
    }
}

/// A zstd frame of a few kilobytes may have gigabytes of content.
#[test]
fn a_bomb_is_read_in_pieces() {
    // Blocks that repeat one byte 128 Ki times.
    let mut bytes = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 0x58];
    for _ in 0..1_000 {
        let head = (131_072_u32 << 3) | (1 << 1);
        bytes.extend_from_slice(&head.to_le_bytes()[..3]);
        bytes.push(b'x');
    }
    bytes.extend_from_slice(&[1, 0, 0]);
    let mut reader = Reader::new(&bytes[..]).unwrap();
    let found = reader.next().unwrap();
    assert!(matches!(&found, Some(Found::Damaged(_, why)) if why.contains("longer than")), "{found:?}");
    assert!(reader.next().unwrap().is_none());
    // A window that would need more memory than any level below `--ultra`.
    let huge = [0x28, 0xb5, 0x2f, 0xfd, 0, 0xa0, 1, 0, 0];
    let found = format!("{:?}", Reader::new(&huge[..]).unwrap().next().unwrap());
    assert!(found.contains("Damaged"), "{found}");
}

#[test]
fn what_is_no_log_is_refused_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes, why) in [
        ("zstd", &b"\x28\xb5\x2f\xfd"[..], "its first record is not complete"),
        ("zeros", &[0; 100], "its first record is not complete"),
        ("mark", b"\x07wecb\n\x1a\x01", "it is empty"),
        ("image", b"\x89PNG\r\n\x1a\n\0\0\0\n", "line 1: "),
    ] {
        let path = path(folder.path(), name, bytes);
        let error = read_logs(std::slice::from_ref(&path), |_| {}).unwrap_err().to_string();
        assert!(error.contains(why) && error.contains(path.to_str().unwrap()), "{why}: {error}");
    }
}
