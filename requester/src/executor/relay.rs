//! Where arrivals go that fall to a runtime without a free worker for them.
//!
//! Runtimes share arrivals evenly and for good, so that each knows its own without asking, and so they share the cap on workers.
//! What is due where all workers are busy is handed to a runtime that has one free: a drop means that there was none anywhere.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc;

/// An arrival that another runtime is to start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    /// When it is due, nanoseconds of the clock.
    pub(super) due: u64,
    /// How many requests it is taken to make, where the rate counts them.
    pub(super) expected: f64,
    /// Whether another runtime has handed it over.
    pub(super) handed: bool,
}

/// The ways between the runtimes of a process, for one scenario.
#[derive(Debug)]
pub(super) struct Relay {
    /// How many workers each could still put to work, as far as it has said and others have made use of it.
    spare: Vec<AtomicI64>,
    to: Vec<mpsc::UnboundedSender<Arrival>>,
    from: Mutex<Vec<Option<Inbox>>>,
}

/// What was handed to one runtime.
pub(super) type Inbox = mpsc::UnboundedReceiver<Arrival>;

impl Relay {
    /// Between so many runtimes.
    pub(super) fn new(runtimes: u32) -> Self {
        let (to, from) = (0..runtimes).map(|_| mpsc::unbounded_channel()).unzip();
        let from: Vec<_> = Vec::into_iter(from).map(Some).collect();
        let spare = (0..runtimes).map(|_| AtomicI64::new(0)).collect();
        Self { spare, to, from: Mutex::new(from) }
    }

    /// What is handed to the runtime at this place; for whoever asks first.
    pub(super) fn inbox(&self, place: u32) -> Option<Inbox> {
        self.from.lock().unwrap_or_else(PoisonError::into_inner).get_mut(place as usize)?.take()
    }

    /// Says how many workers the runtime at this place could put to work.
    pub(super) fn report_spare(&self, place: u32, workers: u32) {
        self.spare[place as usize].store(workers.into(), Ordering::Relaxed);
    }

    /// Hands it from the runtime at this place to the one that has the most workers to spare.
    ///
    /// # Errors
    /// When none has any, or that one takes no more: the arrival.
    pub(super) fn hand_over(&self, place: u32, arrival: Arrival) -> Result<(), Arrival> {
        let others = self.spare.iter().zip(&self.to).enumerate().filter(|(to, _)| *to != place as usize);
        match others.map(|(_, other)| other).max_by_key(|(spare, _)| spare.load(Ordering::Relaxed)) {
            // Two that hand over at the same time find out: the second one takes back what was not there.
            Some((spare, to)) if spare.fetch_sub(1, Ordering::Relaxed) > 0 => {
                to.send(Arrival { handed: true, ..arrival }).map_err(|refused| refused.0)
            }
            _ => Err(arrival),
        }
    }
}
