//! Any text as a baseline. One that is read is written and compared without a panic.
#![no_main]

use wec_report::baseline::Baseline;
use wec_report::compare::{Side, compare};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let Ok(read) = Baseline::read(text) else { return };
    let _ = read.text();
    let side = || Side(vec![read.clone(), read.clone()]);
    let compared = compare(&side(), &side(), &[]);
    let _ = (compared.text(), compared.markdown());
});
