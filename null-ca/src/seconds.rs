//! Requests second by second, as they arrive: what a test compares with the target of a load.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::clock::UnixTime;
use crate::endpoint::Endpoint;

/// The requests that arrived within one second of the wall clock. Seconds without a request are left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecondCounts {
    /// The second, since the Unix epoch.
    pub unix_s: u64,
    /// All requests.
    pub requests: u64,
    /// Requests for a new account.
    pub new_accounts: u64,
    /// Requests for a new order.
    pub new_orders: u64,
}

/// Writes a line of JSON for each second, when the next one has begun.
#[derive(Debug)]
pub(crate) struct Seconds(Mutex<State>);

#[derive(Debug)]
struct State {
    now: SecondCounts,
    file: File,
}

impl Seconds {
    /// Into a new file.
    ///
    /// # Errors
    /// When it cannot be created.
    pub(crate) fn create(path: &Path) -> std::io::Result<Self> {
        Ok(Self(Mutex::new(State { now: SecondCounts::default(), file: File::create(path)? })))
    }

    /// A request has arrived.
    pub(crate) fn count(&self, endpoint: Endpoint) {
        self.count_at(UnixTime::now().0, endpoint);
    }

    fn count_at(&self, unix_s: u64, endpoint: Endpoint) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that is set back continues the second that has begun.
        if unix_s > state.now.unix_s {
            state.write();
            state.now = SecondCounts { unix_s, ..SecondCounts::default() };
        }
        state.now.requests += 1;
        match endpoint {
            Endpoint::NewAccount => state.now.new_accounts += 1,
            Endpoint::NewOrder => state.now.new_orders += 1,
            _ => {}
        }
    }

    /// Writes the last second.
    pub(crate) fn finish(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.write();
        state.now = SecondCounts::default();
    }
}

impl State {
    fn write(&mut self) {
        if self.now.requests == 0 {
            return;
        }
        let mut line = serde_json::to_vec(&self.now).expect("numbers are JSON");
        line.push(b'\n');
        if let Err(error) = self.file.write_all(&line) {
            tracing::warn!(%error, "the requests of a second are not written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_a_line_for_each_second_with_requests() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seconds.jsonl");
        let seconds = Seconds::create(&path).unwrap();
        let lines = || {
            let text = std::fs::read_to_string(&path).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<SecondCounts>>()
        };
        for (at, endpoint) in [
            (7, Endpoint::NewNonce),
            (7, Endpoint::NewAccount),
            (9, Endpoint::NewOrder),
            (8, Endpoint::NewOrder),
        ] {
            seconds.count_at(at, endpoint);
        }
        let first = SecondCounts { unix_s: 7, requests: 2, new_accounts: 1, new_orders: 0 };
        assert_eq!(lines(), [first]);
        seconds.finish();
        let second = SecondCounts { unix_s: 9, requests: 2, new_accounts: 0, new_orders: 2 };
        assert_eq!(lines(), [first, second]);
    }
}
