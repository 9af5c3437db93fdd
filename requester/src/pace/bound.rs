//! Bounds what starts after a delay: an arrival that starts late must not make a second larger than the target.

use std::collections::VecDeque;
use std::time::Duration;

/// The length over which starts are counted.
const SECOND: Duration = Duration::from_secs(1);
/// The part by which starts may exceed what was due, because some start a little earlier or later than others.
const MORE: f64 = 0.02;

/// The starts of the last second, compared with what was due in it.
///
/// A process that was held up has several due arrivals at once. Each that it starts late is one more in the second
/// after its due time, beside those that are due then. They may only take the place of others that did not start.
#[derive(Debug, Default)]
pub struct StartBound {
    /// When arrivals of the last second were due, oldest first.
    due: VecDeque<u64>,
    /// When arrivals of the last second started, oldest first.
    started: VecDeque<u64>,
}

impl StartBound {
    /// Whether an arrival that was due at `due` may start at `now`, nanoseconds of one clock; if it may, it does.
    pub fn starts(&mut self, due: u64, now: u64) -> bool {
        self.due.push_back(due);
        let since = now.saturating_sub(SECOND.as_nanos() as u64);
        for times in [&mut self.due, &mut self.started] {
            while times.pop_front_if(|at| *at <= since).is_some() {}
        }
        let due = self.due.len() as f64;
        let may = (self.started.len() + 1) as f64 <= (due * (1.0 + MORE)).max(due + 1.0);
        if may {
            self.started.push_back(now);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: u64 = 1_000_000;

    /// The starts of arrivals at these times, if the process runs only at the times that `runs` gives.
    fn starts(due: impl IntoIterator<Item = u64>, runs: impl Fn(u64) -> u64) -> Vec<u64> {
        let mut bound = StartBound::default();
        due.into_iter()
            .map(|due| (due, runs(due)))
            .filter(|(due, now)| bound.starts(*due, *now))
            .map(|at| at.1)
            .collect()
    }

    /// The most starts in any second.
    fn most(starts: &[u64]) -> usize {
        let within = |(place, at): (usize, &u64)| {
            starts[place..].iter().take_while(|other| **other < at + 1_000 * MS).count()
        };
        starts.iter().enumerate().map(within).max().unwrap_or_default()
    }

    fn even(per_second: u64, seconds: u64) -> impl Iterator<Item = u64> {
        (0..per_second * seconds).map(move |number| number * 1_000 * MS / per_second)
    }

    #[test]
    fn what_is_due_starts_and_a_delay_makes_no_second_larger() {
        assert_eq!(starts(even(100, 10), |due| due).len(), 1_000);
        // Held up from 3 s to 3.25 s: all that was due starts at once, and as many are left out later.
        let held_up = |due: u64| if (3_000..3_250).contains(&(due / MS)) { 3_250 * MS } else { due };
        let started = starts(even(100, 10), held_up);
        assert!(most(&started) <= 102, "{}", most(&started));
        assert!(started.len() >= 970, "{} of 1000", started.len());
        // Without the bound it would have been a quarter more.
        let unbounded: Vec<_> = even(100, 10).map(held_up).collect();
        assert_eq!(most(&unbounded), 125);
    }

    #[test]
    fn a_process_that_runs_every_50_ms_leaves_nothing_out() {
        let coarse = |due: u64| due.next_multiple_of(50 * MS);
        assert_eq!(starts(even(100, 10), coarse).len(), 1_000);
        assert_eq!(starts(even(7, 10), coarse).len(), 70);
    }

    #[test]
    fn arrivals_at_random_times_start_as_they_are_due() {
        // Twice as many in one second as in the others.
        let due = (0..3_000).map(|ms| ms * 10 * MS).chain((0..100).map(|n| (30_000 + n * 5) * MS));
        let due: Vec<_> = due.collect();
        assert_eq!(starts(due.iter().copied(), |due| due).len(), due.len());
    }

    proptest! {
        #[test]
        fn no_second_has_more_starts_than_were_due_in_one(
            per_second in 1u64..200,
            stalls in proptest::collection::vec((0u64..20_000, 1u64..2_000), 0..8),
        ) {
            let held_up = |due: u64| {
                let mut now = due;
                let mut stalls = stalls.clone();
                stalls.sort_unstable();
                for (from, lasts) in stalls {
                    if (from..from + lasts).contains(&(now / MS)) {
                        now = (from + lasts) * MS;
                    }
                }
                now
            };
            let started = starts(even(per_second, 20), held_up);
            let bound = (per_second as f64 * 1.02).max(per_second as f64 + 1.0).ceil() as usize + 1;
            prop_assert!(most(&started) <= bound, "{} of {bound}", most(&started));
        }
    }
}
