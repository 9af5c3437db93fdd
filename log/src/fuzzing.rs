//! Entry points for `fuzz/` and for the property tests that stand in for it: no bytes may make a reader panic, use
//! unbounded memory or loop endlessly.

use crate::reader::{Found, Reader};
use crate::{LogFormat, RecordWriter};

/// Reads any bytes as a log, and writes each record that was found in the other form. Returns the number of records.
///
/// # Panics
/// When a record changes, or the reader continues after the end.
pub fn read(bytes: &[u8]) -> u64 {
    // A file of another compression is refused.
    let Ok(mut reader) = Reader::new(bytes) else { return 0 };
    let mut count = 0;
    // Each item takes at least one byte of content. zstd makes at most 128 KiB from a few bytes.
    let most = 16 + (bytes.len() as u64) * (128 << 10);
    for items in 0.. {
        assert!(items <= most, "the reader does not end");
        let Some(found) = reader.next().expect("a slice can be read") else { break };
        let Found::Record(_, record, line) = found else { continue };
        count += 1;
        let to = if line.is_some() { LogFormat::Binary } else { LogFormat::Json };
        let mut writer = RecordWriter::new(to, Vec::new());
        if writer.write(record, line.as_deref()).is_err() {
            // A binary log may have numbers that JSON does not have. They are refused when records are judged.
            continue;
        }
        let written = writer.finish().expect("a vector has room");
        let mut again = Reader::new(&written[..]).expect("a slice can be read");
        match again.next().expect("a slice can be read") {
            Some(Found::Record(_, same, _)) if same == record || crate::judge(record).is_err() => {}
            Some(Found::Damaged(_, why)) if crate::judge(record).is_err() => drop(why),
            other => panic!("{record:?} became {other:?}"),
        }
    }
    assert!(reader.next().expect("a slice can be read").is_none());
    assert!(reader.end().length <= bytes.len() as u64);
    count
}

/// Reads bytes as binary messages: what is fuzzed begins after the mark.
pub fn read_messages(bytes: &[u8]) -> u64 {
    read(&[&crate::binary::MARK[..], bytes].concat())
}
