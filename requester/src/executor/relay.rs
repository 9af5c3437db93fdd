//! Where arrivals go that fall to a runtime without a single worker for them.
//!
//! Runtimes share arrivals evenly and for good, so that each knows its own without asking. A cap on workers below the number of
//! runtimes, or lowered to that while the run goes on, leaves some without any: what is due there is handed to one that has.

use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc;

/// An arrival that another runtime is to start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    /// When it is due, nanoseconds of the clock.
    pub(super) due: u64,
    /// How many requests it is taken to make, where the rate counts them.
    pub(super) expected: f64,
}

/// The ways between the runtimes of a process, for one scenario.
#[derive(Debug)]
pub struct Relay {
    to: Vec<mpsc::UnboundedSender<Arrival>>,
    from: Mutex<Vec<Option<Inbox>>>,
}

/// What was handed to one runtime.
pub(super) type Inbox = mpsc::UnboundedReceiver<Arrival>;

impl Relay {
    /// Between so many runtimes.
    pub fn new(runtimes: u32) -> Self {
        let (to, from) = (0..runtimes).map(|_| mpsc::unbounded_channel()).unzip();
        let from: Vec<_> = Vec::into_iter(from).map(Some).collect();
        Self { to, from: Mutex::new(from) }
    }

    /// What is handed to the runtime at this place; for whoever asks first.
    pub(super) fn inbox(&self, place: u32) -> Option<Inbox> {
        self.from.lock().unwrap_or_else(PoisonError::into_inner).get_mut(place as usize)?.take()
    }

    /// Hands it to the runtime at a place.
    ///
    /// # Errors
    /// When that runtime takes no more.
    pub(super) fn hand(&self, place: u32, arrival: Arrival) -> Result<(), ()> {
        self.to.get(place as usize).ok_or(())?.send(arrival).map_err(drop)
    }
}
