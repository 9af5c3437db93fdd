//! What a request result costs in each format. docs/log.md has the figures of real runs.

use wec_log::LogFormat;
use wec_record::Record;

use crate::common::{chain, file, header};

#[test]
fn formats_are_as_small_as_they_promise() {
    let records: Vec<_> =
        std::iter::once(Record::Header(header("run"))).chain((1..=4_000).map(|seq| chain(seq, 4))).collect();
    let [json, json_zstd, binary, binary_zstd] =
        LogFormat::ALL.map(|format| file(format, &records).len() as f64 / 16_000.0);
    let found = format!("{json:.0}, {json_zstd:.1}, {binary:.1}, {binary_zstd:.1} bytes for a request");
    println!("{found}");
    assert!(json_zstd < json / 5.0 && binary < json / 12.0 && binary_zstd < json / 20.0, "{found}");
}
