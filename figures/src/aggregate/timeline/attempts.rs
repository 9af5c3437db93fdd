//! `Attempts`: what a bucket counts of HTTP attempts.

use wec_record::RequestResult;

/// HTTP attempts that ended in one second.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Attempts {
    pub(super) count: u64,
    pub(super) failed: u64,
    pub(super) bytes_sent: u64,
    pub(super) bytes_received: u64,
}

impl Attempts {
    /// Adds one.
    pub(crate) fn add(&mut self, request: &RequestResult, failed: bool) {
        self.count += 1;
        self.failed += u64::from(failed);
        self.bytes_sent = self.bytes_sent.saturating_add(request.bytes_sent);
        self.bytes_received = self.bytes_received.saturating_add(request.bytes_received);
    }
}
