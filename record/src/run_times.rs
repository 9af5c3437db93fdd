//! `RunTimes`: which times belong to a run. A wrong clock or a damaged number must not stretch the run.

use serde::{Deserialize, Serialize};

/// A time this far from all others of the run is out of range, nanoseconds: seven days.
const FAR_NS: u64 = 7 * 86_400 * 1_000_000_000;

/// The times of a run, from the records in the order of the log.
///
/// The run begins with the header's start; without a header, with the first record. A time that is more than seven days
/// before the earliest time or after the latest one so far is out of range. If it is the start that is far from the
/// records, the first two records that agree decide, and the run begins with the earlier of them, whatever follows.
///
/// 0 is no time: records of the 2015 design have no clock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunTimes {
    started: Option<u64>,
    /// The earliest and the latest time, with the start.
    span: Option<(u64, u64)>,
    /// Whether a further record was near the first time.
    agreed: bool,
    /// The last time out of range before that: from, to.
    doubted: Option<(u64, u64)>,
}

/// Whether a time belongs to the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Within {
    /// It does, or there is none.
    Run,
    /// It does. The start so far is out of range instead of the last time that was.
    RunThatMoves,
    /// It is out of range.
    Nothing,
}

impl RunTimes {
    /// Takes the start in a header. Only the first one counts.
    pub fn begin(&mut self, started_unix_ns: u64) {
        if self.started.is_none() {
            self.started = Some(started_unix_ns);
            self.span.get_or_insert((started_unix_ns, started_unix_ns));
        }
    }

    /// Takes what a record covers, nanoseconds since the Unix epoch. Its end decides.
    pub fn take(&mut self, from: u64, to: u64) -> Within {
        if to == 0 {
            return Within::Run;
        }
        let near = |other: u64| to.abs_diff(other) <= FAR_NS;
        let Some((earliest, latest)) = self.span else {
            self.span = Some((to, to));
            self.widen(from, to);
            return Within::Run;
        };
        if (earliest..=latest).contains(&to) || near(earliest) || near(latest) {
            self.agreed = true;
            self.widen(from, to);
            return Within::Run;
        }
        if self.agreed {
            return Within::Nothing;
        }
        match self.doubted.replace((from, to)) {
            Some((from_before, before)) if near(before) => {
                self.agreed = true;
                self.span = Some((before, before));
                self.widen(from_before, before);
                self.widen(from, to);
                // It does not move again, so that every record is in the part of the run that its time decides.
                self.started = self.span.map(|(earliest, _)| earliest);
                Within::RunThatMoves
            }
            _ => Within::Nothing,
        }
    }

    /// Whether a record was near another time, so that the start is sure.
    pub const fn is_agreed(&self) -> bool {
        self.agreed
    }

    /// Whether a record of this time would belong to the run.
    pub fn has_room_for(&self, at: u64) -> bool {
        self.clone().take(at, at) != Within::Nothing
    }

    fn widen(&mut self, from: u64, to: u64) {
        if let Some((earliest, latest)) = &mut self.span {
            *latest = to.max(*latest);
            // A record may have begun before its node knew the time.
            let began = from > 0 && from <= to && from.saturating_add(FAR_NS) >= *earliest;
            *earliest = if began { from } else { to }.min(*earliest);
        }
    }

    /// The start of the run: the header's, or if that is out of range the earliest time of the two records that agree;
    /// without a header the earliest time.
    pub fn started(&self) -> Option<u64> {
        self.started.or(self.span.map(|(earliest, _)| earliest))
    }

    /// The latest time; 0 without any.
    pub fn latest(&self) -> u64 {
        self.span.map_or(0, |(_, latest)| latest)
    }

    /// Takes the times of another part of the run. Returns whether they belong to it.
    pub fn merge(&mut self, other: &Self) -> bool {
        let Some((from, to)) = other.span else { return true };
        let within = self.take(from, to) != Within::Nothing;
        self.started = self.started.or(other.started);
        within
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_795_254_960_000_000_000;
    const S: u64 = 1_000_000_000;
    const FUTURE: u64 = 9_000_000_000_000_000_000;

    fn after(start: Option<u64>, times: &[u64]) -> (Vec<Within>, Option<u64>, u64) {
        let mut run = RunTimes::default();
        start.into_iter().for_each(|start| run.begin(start));
        let within = times.iter().map(|at| run.take(*at, *at)).collect();
        (within, run.started(), run.latest())
    }

    #[test]
    fn a_far_time_stretches_no_run() {
        use Within::{Nothing, Run};
        for far in [1, NOW - FAR_NS - 1, NOW + FAR_NS + 3 * S, FUTURE, u64::MAX] {
            let seen = after(Some(NOW), &[NOW + S, far, NOW + 2 * S, far, 0]);
            assert_eq!(seen, (vec![Run, Nothing, Run, Nothing, Run], Some(NOW), NOW + 2 * S), "{far}");
        }
        let first = after(Some(NOW), &[FUTURE, NOW + S, FUTURE, FUTURE]);
        assert_eq!(first, (vec![Nothing, Run, Nothing, Nothing], Some(NOW), NOW + S));
    }

    #[test]
    fn a_far_start_is_replaced_by_two_records_that_agree() {
        use Within::{Nothing, Run, RunThatMoves};
        for start in [Some(0), Some(FUTURE), Some(NOW + 2 * FAR_NS)] {
            let seen = after(start, &[NOW, NOW + S, NOW + 2 * S]);
            assert_eq!(seen, (vec![Nothing, RunThatMoves, Run], Some(NOW), NOW + 2 * S), "{start:?}");
        }
        let without_header = after(None, &[FUTURE, NOW, NOW + S]);
        assert_eq!(without_header, (vec![Run, Nothing, RunThatMoves], Some(NOW), NOW + S));
        let with_two = after(Some(FUTURE), &[5, NOW, NOW + S]);
        assert_eq!(with_two, (vec![Nothing, Nothing, RunThatMoves], Some(NOW), NOW + S));
    }

    #[test]
    fn a_run_may_be_longer_than_the_bound_and_pause() {
        let times: Vec<_> = (1..9).map(|weeks| NOW + weeks * FAR_NS).collect();
        assert!(after(Some(NOW), &times).0.iter().all(|within| *within == Within::Run));
    }

    #[test]
    fn a_start_that_two_records_decided_stays() {
        let mut run = RunTimes::default();
        run.begin(FUTURE);
        run.take(NOW - 3 * S, NOW);
        assert_eq!(run.take(NOW - S, NOW + S), Within::RunThatMoves);
        assert_eq!(run.started(), Some(NOW - 3 * S), "the first of them had begun before");
        assert_eq!(run.take(NOW - 9 * S, NOW + 2 * S), Within::Run);
        assert_eq!((run.started(), run.latest()), (Some(NOW - 3 * S), NOW + 2 * S));
    }

    #[test]
    fn a_begin_far_before_its_end_does_not_count() {
        let mut run = RunTimes::default();
        assert_eq!(run.take(5, NOW), Within::Run);
        assert_eq!((run.started(), run.latest()), (Some(NOW), NOW));
        run.take(NOW - S, NOW + S);
        assert_eq!((run.started(), run.latest()), (Some(NOW - S), NOW + S));
    }
}
