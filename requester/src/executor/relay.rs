//! Passes arrivals of a runtime without a free worker to another runtime.
//!
//! Runtimes share arrivals and the cap on workers evenly and permanently, so that each knows its own part
//! without communication. An arrival whose runtime has only busy workers is passed to one with a free worker:
//! an arrival is dropped only if no runtime has one.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc::{self, error::TrySendError};
use wec_record::plan::MAX_WORKERS;

/// Arrivals that may wait for one runtime: one for each worker that there can be. A runtime gets only as many
/// as it has available workers; an arrival beyond the bound is dropped and counted.
const LONGEST_INBOX: usize = MAX_WORKERS as usize;

/// An arrival passed to another runtime.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    /// When it is due, nanoseconds of the clock.
    pub(super) due: u64,
    /// Expected number of requests, if the rate counts them.
    pub(super) expected: f64,
    /// Whether another runtime passed it on.
    pub(super) handed: bool,
}

/// The connections between the runtimes of a process, for one scenario.
#[derive(Debug)]
pub(super) struct Relay {
    /// Available workers of each runtime, as last reported, minus those used by others since.
    spare: Vec<AtomicI64>,
    to: Vec<mpsc::Sender<Arrival>>,
    from: Mutex<Vec<Option<Inbox>>>,
}

/// Arrivals passed to one runtime.
pub(super) type Inbox = mpsc::Receiver<Arrival>;

impl Relay {
    /// Between this many runtimes.
    pub(super) fn new(runtimes: u32) -> Self {
        let (to, from) = (0..runtimes).map(|_| mpsc::channel(LONGEST_INBOX)).unzip();
        let from: Vec<_> = Vec::into_iter(from).map(Some).collect();
        let spare = (0..runtimes).map(|_| AtomicI64::new(0)).collect();
        Self { spare, to, from: Mutex::new(from) }
    }

    /// The arrivals passed to the runtime at this place; only the first call gets them.
    pub(super) fn inbox(&self, place: u32) -> Option<Inbox> {
        self.from.lock().unwrap_or_else(PoisonError::into_inner).get_mut(place as usize)?.take()
    }

    /// Reports the available workers of the runtime at this place.
    pub(super) fn report_spare(&self, place: u32, workers: u32) {
        self.spare[place as usize].store(workers.into(), Ordering::Relaxed);
    }

    /// Passes an arrival from the runtime at this place to the one with the most available workers.
    ///
    /// # Errors
    /// The arrival, when none has an available worker, or that runtime has ended or its queue is full.
    pub(super) fn hand_over(&self, place: u32, arrival: Arrival) -> Result<(), Arrival> {
        let others = self.spare.iter().zip(&self.to).enumerate().filter(|(to, _)| *to != place as usize);
        match others.map(|(_, other)| other).max_by_key(|(spare, _)| spare.load(Ordering::Relaxed)) {
            // If two runtimes pass an arrival to the last available worker at the same time, only one succeeds.
            // The number is right again with the next report.
            Some((spare, to)) if spare.fetch_sub(1, Ordering::Relaxed) > 0 => {
                to.try_send(Arrival { handed: true, ..arrival }).map_err(TrySendError::into_inner)
            }
            _ => Err(arrival),
        }
    }
}
