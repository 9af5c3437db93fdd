//! A deadline that its owner moves, and that many tasks check before each thing they do.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::{Moment, boot_ns};

/// A deadline in terms. It passes by the time since boot, which goes on while the process is stopped, or by tokio's
/// clock. Clones are the same deadline.
///
/// | event | what began in the term |
/// | --- | --- |
/// | the deadline is moved within the term | may go on |
/// | the deadline has passed | may not go on, until it is moved within the term |
/// | another term has begun | may not go on any more |
#[derive(Clone, Debug)]
pub struct Deadline(Arc<State>);

#[derive(Debug)]
struct State {
    term: AtomicI64,
    /// Nanoseconds since boot; the largest number without an end, 0 while the term changes.
    ends_boot_ns: AtomicU64,
    /// By tokio's clock, nanoseconds since `origin`.
    ends_ns: AtomicU64,
    origin: Instant,
}

impl Deadline {
    /// A deadline of this term; without an end it does not pass.
    pub fn new(term: i64, ends: Option<Moment>) -> Self {
        let deadline = Self(Arc::new(State {
            term: AtomicI64::new(term),
            ends_boot_ns: AtomicU64::new(0),
            ends_ns: AtomicU64::new(0),
            origin: Instant::now(),
        }));
        deadline.set(term, ends);
        deadline
    }

    /// Moves the deadline, or begins another term. Two calls must not overlap.
    pub fn set(&self, term: i64, ends: Option<Moment>) {
        let state = &*self.0;
        if self.term() != term {
            state.ends_boot_ns.store(0, Ordering::Release);
            state.term.store(term, Ordering::Release);
        }
        let since_origin = |ends: Moment| ends.instant().saturating_duration_since(state.origin).as_nanos();
        let ends_ns = ends.map_or(0, |ends| u64::try_from(since_origin(ends)).unwrap_or(u64::MAX));
        state.ends_ns.store(ends_ns, Ordering::Release);
        state.ends_boot_ns.store(ends.map_or(u64::MAX, |ends| ends.boot_ns()), Ordering::Release);
    }

    /// Whether what began in this term may go on. Without an end this reads no clock.
    pub fn holds(&self, term: i64) -> bool {
        let state = &*self.0;
        // First, so that another term that begins meanwhile is seen.
        let ends = state.ends_boot_ns.load(Ordering::Acquire);
        if self.term() != term {
            return false;
        }
        let instant = || state.origin + Duration::from_nanos(state.ends_ns.load(Ordering::Acquire));
        ends == u64::MAX || (boot_ns() < ends && Instant::now() < instant())
    }

    /// Whether it passes unless it is moved.
    pub fn ends(&self) -> bool {
        self.0.ends_boot_ns.load(Ordering::Acquire) != u64::MAX
    }

    /// The present term.
    pub fn term(&self) -> i64 {
        self.0.term.load(Ordering::Acquire)
    }

    /// The present term, for something that begins now.
    pub fn begin(&self) -> Term {
        Term { number: self.term(), deadline: self.clone() }
    }
}

/// The term of a [`Deadline`] in which something began.
#[derive(Clone, Debug)]
pub struct Term {
    deadline: Deadline,
    number: i64,
}

impl Term {
    /// Whether it may go on.
    pub fn holds(&self) -> bool {
        self.deadline.holds(self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Option<Moment> {
        Some(Moment::now().after(Duration::from_secs(7)))
    }

    #[tokio::test(start_paused = true)]
    async fn what_began_in_a_term_goes_on_until_the_deadline_or_another_term() {
        // An event, its time in seconds, and whether an operation that began at the start may continue then.
        type Event = fn(&Deadline);
        let cases: [(&str, u64, Event, bool); 6] = [
            ("nothing", 6, |_| (), true),
            ("nothing", 7, |_| (), false),
            ("it is moved", 6, |deadline| deadline.set(1, soon()), true),
            // As after SIGSTOP, when the board has not removed the node yet.
            ("it is moved late", 8, |deadline| deadline.set(1, soon()), true),
            // As after SIGSTOP, when it has.
            ("another term", 8, |deadline| deadline.set(2, soon()), false),
            ("another term, early", 1, |deadline| deadline.set(2, None), false),
        ];
        for (event, after, happens, goes_on) in cases {
            let deadline = Deadline::new(1, soon());
            let term = deadline.begin();
            assert!(term.holds() && deadline.ends());
            tokio::time::sleep(Duration::from_secs(after)).await;
            happens(&deadline);
            assert_eq!(term.holds(), goes_on, "{event} after {after} s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn passes_by_the_time_since_boot_although_the_other_clock_stands_still() {
        // The paused clock does not move here.
        let deadline = Deadline::new(1, Some(Moment::now().after(Duration::from_millis(1))));
        let term = deadline.begin();
        while boot_ns() < deadline.0.ends_boot_ns.load(Ordering::Acquire) {
            std::hint::spin_loop();
        }
        assert!(!term.holds());
        let unlimited = Deadline::new(5, None);
        assert!(unlimited.begin().holds() && !unlimited.ends());
    }
}
