//! Any bytes as the messages of a binary log, after the mark.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    wec_log::fuzzing::read_messages(bytes);
});
