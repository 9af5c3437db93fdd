//! Any bytes as a log: JSON, binary, or compressed.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    wec_log::fuzzing::read(bytes);
});
