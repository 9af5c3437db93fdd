//! How long a run has been paused.

use wec_record::{LoadState, MarkWhat};

use super::Snapshot;

impl Snapshot {
    /// Whether the run is paused, and the total time of its pauses until `now`, by the marks of its state; nanoseconds
    /// since the Unix epoch, and nanoseconds.
    pub fn pauses(&self, now_unix_ns: u64) -> (bool, u64) {
        let (mut since, mut total) = (None, 0);
        for mark in self.marks.iter().filter(|mark| mark.what == MarkWhat::State) {
            if mark.new_state() == Some(LoadState::Paused) {
                since.get_or_insert(mark.at_unix_ns);
            } else if let Some(since) = since.take() {
                total += mark.at_unix_ns.saturating_sub(since);
            }
        }
        (since.is_some(), total + since.map_or(0, |since| now_unix_ns.saturating_sub(since)))
    }
}

#[cfg(test)]
mod tests {
    use wec_record::{Mark, MarkBy, MarkValue};

    use super::*;
    use crate::aggregate::Aggregate;

    #[test]
    fn a_run_is_paused_from_its_first_pause_to_the_next_other_state() {
        const SECOND: u64 = 1_000_000_000;
        let mark = |second: u64, to: &str| {
            let to = MarkValue::parse(&MarkWhat::State, to);
            Mark::new(second * SECOND, MarkBy::Page, MarkWhat::State, to)
        };
        let pauses = |marks: &[Mark], second: u64| {
            Snapshot { marks: marks.to_vec(), ..Aggregate::default().snapshot() }.pauses(second * SECOND)
        };
        let marks = [mark(10, "paused"), mark(15, "running"), mark(20, "paused"), mark(21, "paused")];
        assert_eq!(pauses(&[], 30), (false, 0));
        assert_eq!(pauses(&marks[..1], 12), (true, 2 * SECOND));
        assert_eq!(pauses(&marks[..2], 30), (false, 5 * SECOND));
        assert_eq!(pauses(&marks, 30), (true, 15 * SECOND));
        assert_eq!(pauses(&[mark(10, "paused"), mark(40, "stopped")], 100), (false, 30 * SECOND));
    }
}
