//! Any bytes as a part of the index beside a log.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    wec_analytics::fuzzing::read_index(bytes);
});
