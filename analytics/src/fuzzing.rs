//! Entry point for `fuzz/` and for the test that stands in for it: no bytes in an index may make a reader panic, use
//! unbounded memory or loop endlessly.

/// Reads bytes as an index, and shows what it has: after a byte 0 its head, a byte 0 and its sections, after another byte
/// the figures or the events of a block.
pub fn read_index(bytes: &[u8]) {
    crate::runs::read_any_index(bytes);
}
