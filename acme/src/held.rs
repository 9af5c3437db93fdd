//! For tests with sockets under paused time.

use std::sync::mpsc::{self, Sender};

/// Keeps paused time from advancing by itself until it is dropped. Bytes arrive in real time: a runtime that waits for them
/// is idle, and time would advance to the bound of the wait.
pub(crate) struct HeldTime {
    _held: Sender<()>,
}

impl HeldTime {
    /// Holds the time of this runtime, which must be paused.
    pub(crate) fn hold() -> Self {
        let (held, over) = mpsc::channel();
        // Paused time does not advance while a blocking task runs.
        tokio::task::spawn_blocking(move || over.recv());
        Self { _held: held }
    }
}
