//! What a shared number of workers has required, of all nodes together and of this node, in worker-seconds.

use std::sync::{Mutex, PoisonError};

/// The totals of one scenario since this node had a part.
#[derive(Debug, Default)]
pub(crate) struct WorkerSeconds(Mutex<Option<(Steps, Steps)>>);

/// A number that changes in steps, and its integral.
#[derive(Clone, Copy, Debug)]
struct Steps {
    /// Since this moment of the clock, nanoseconds.
    since: u64,
    value: u32,
    /// The integral until then.
    total: f64,
}

/// The totals at a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct WorkersRequired {
    /// The target number of workers of all nodes together.
    pub(crate) target: u64,
    /// What it has required, worker-seconds.
    pub(crate) of_all: f64,
    /// What was this node's part of that, worker-seconds.
    pub(crate) part: f64,
}

impl WorkerSeconds {
    /// The target of all nodes from a moment of the clock on, and this node's part from another one on.
    pub(crate) fn set(&self, (now, of_all): (u64, u32), (since, part): (u64, u32)) {
        let mut totals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (target, own) = totals.get_or_insert((Steps::begin(now), Steps::begin(now)));
        target.set(now, of_all);
        own.set(since, part);
    }

    /// None before there was a part.
    pub(crate) fn until(&self, now: u64) -> Option<WorkersRequired> {
        let totals = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (target, own) = totals?;
        Some(WorkersRequired { target: target.value.into(), of_all: target.until(now), part: own.until(now) })
    }
}

impl Steps {
    const fn begin(since: u64) -> Self {
        Self { since, value: 0, total: 0.0 }
    }

    /// The integral until a moment; nothing is taken off for an earlier one.
    fn until(&self, at: u64) -> f64 {
        self.total + f64::from(self.value) * at.saturating_sub(self.since) as f64 / 1e9
    }

    fn set(&mut self, at: u64, value: u32) {
        *self = Self { since: at.max(self.since), value, total: self.until(at) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn totals_grow_with_the_target_and_with_the_part() {
        let workers = WorkerSeconds::default();
        assert_eq!(workers.until(SECOND), None, "there was no part yet");
        let at = |seconds: u64| {
            let WorkersRequired { target, of_all, part } = workers.until(seconds * SECOND).unwrap();
            (target, of_all, part)
        };
        workers.set((10 * SECOND, 4), (10 * SECOND, 2));
        assert_eq!((at(10), at(15)), ((4, 0.0, 0.0), (4, 20.0, 10.0)));
        workers.set((20 * SECOND, 10), (20 * SECOND, 5));
        assert_eq!(at(21), (10, 50.0, 25.0));
        // Stopped, it sees at 40 s that its right has ended at 30 s.
        workers.set((40 * SECOND, 10), (30 * SECOND, 0));
        assert_eq!(at(40), (10, 240.0, 70.0));
        workers.set((41 * SECOND, 10), (30 * SECOND, 0));
        assert_eq!(at(42), (10, 260.0, 70.0));
        workers.set((50 * SECOND, 10), (50 * SECOND, 5));
        assert_eq!(at(51), (10, 350.0, 75.0));
    }
}
