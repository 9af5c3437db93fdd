//! The permit of a scenario's executors to start iterations: this node's right to send, for the registration
//! whose share they have.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use wec_acme::Clock;
use wec_board::SendRight;

use crate::pace::StartBound;

/// Iterations that are due for longer than this are dropped on a board with leases: when a process that was
/// stopped goes on, it must not make up for that time at once, because the CA counts by seconds.
pub(crate) const LATE: Duration = Duration::from_millis(250);

/// Checked before each start of an iteration. On a board without leases that costs two loads.
#[derive(Debug)]
pub(crate) struct Permit {
    right: SendRight,
    /// The registration for which the present number of workers was shared out.
    registration: AtomicI64,
    /// Of all runtimes of the process.
    bound: Mutex<StartBound>,
}

impl Permit {
    pub(crate) fn new(right: SendRight) -> Self {
        Self { right, registration: AtomicI64::new(0), bound: Mutex::default() }
    }

    /// Sets the registration for which the workers from now on were shared out.
    pub(crate) fn set_registration(&self, registration: i64) {
        self.registration.store(registration, Ordering::Release);
    }

    /// Whether a worker may start an iteration.
    pub(crate) fn holds(&self) -> bool {
        self.holds_for(self.registration.load(Ordering::Acquire))
    }

    /// Whether an iteration of a schedule that was shared out to this registration may start.
    pub(crate) fn holds_for(&self, registration: i64) -> bool {
        self.right.holds(registration)
    }

    /// Whether a right that has ended still held at a moment of the clock.
    pub(crate) fn held_at(&self, registration: i64, clock: Clock, at: u64) -> bool {
        let standing = *self.right.standing().borrow();
        standing.registration == registration
            && standing.ends.is_some_and(|ends| at < clock.at(ends.instant()))
    }

    /// Whether an iteration that was due at a moment of the clock may start at another one: not if the last second
    /// would have more than were due in it. On a board without leases it always may.
    pub(crate) fn starts(&self, due: u64, now: u64) -> bool {
        !self.right.ends() || self.bound.lock().unwrap_or_else(PoisonError::into_inner).starts(due, now)
    }

    /// Whether an iteration that was due so long ago may no longer start.
    pub(crate) fn is_late(&self, late_ns: u64) -> bool {
        u128::from(late_ns) > LATE.as_nanos() && self.right.ends()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use super::*;

    /// A permit that always holds, for registration 0.
    pub(crate) fn always() -> Arc<Permit> {
        Arc::new(Permit::new(SendRight::unlimited(0)))
    }
}
