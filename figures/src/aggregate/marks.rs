//! Marks of a run: those of people and of the schedule, and those that the load tester makes itself.

use std::mem;

use wec_record::{
    Answers, CaSample, GeneratorSample, KeepingUp, LoadState, Mark, MarkBy, MarkValue, MarkWhat,
};

use super::part::sort_by_places;
use super::{Aggregate, MAX_SCENARIOS};

pub(super) const MAX_MARKS: usize = 1_000;
const MAX_GENERATOR_MARKS: usize = 200;

impl Aggregate {
    pub(super) fn mark(&mut self, mark: Mark) {
        let within = self.span(mark.at_unix_ns, mark.at_unix_ns);
        if self.is_after_period(mark.at_unix_ns) {
            return;
        }
        self.stopped |= mark.new_state() == Some(LoadState::Stopped);
        self.workers_target_by(&mark);
        if !self.is_in_part(mark.at_unix_ns) {
            return;
        }
        if !within {
            return self.timeline.leave_out();
        }
        self.keep_mark(mark);
    }

    pub(super) fn workers_target_by(&mut self, mark: &Mark) {
        if let (MarkWhat::Workers, MarkValue::Workers(workers)) = (&mark.what, &mark.to) {
            let known = self.workers_targets.contains_key(&mark.scenario);
            if known || self.workers_targets.len() < MAX_SCENARIOS {
                self.workers_targets.insert(mark.scenario.clone(), *workers);
            }
        }
    }

    pub(super) fn keep_mark(&mut self, mark: Mark) {
        let by_generator = mark.by == MarkBy::Generator;
        // A load tester near its limits makes many marks, which must not displace those of people.
        let full = by_generator && self.generator_marks >= MAX_GENERATOR_MARKS;
        if self.marks.len() < MAX_MARKS && !full {
            self.generator_marks += usize::from(by_generator);
            self.marks.push(mark);
            self.mark_places.push(self.place);
        } else {
            self.dropped_marks += 1;
        }
    }

    /// Brings the marks of pieces into the order of the log, and keeps those that are kept when the log is read. A mark
    /// that a piece has dropped comes after so many in that piece alone that it is dropped in any part, too.
    pub(super) fn bound_marks(&mut self) {
        sort_by_places(&mut self.marks, &mut self.mark_places);
        self.generator_marks = 0;
        let (marks, places) = (mem::take(&mut self.marks), mem::take(&mut self.mark_places));
        for (mark, place) in marks.into_iter().zip(places) {
            self.place = place;
            self.keep_mark(mark);
        }
    }

    /// The load tester no longer keeps up with its schedule, or does so again.
    pub(super) fn keeps_up(&mut self, at_unix_ns: u64, generator: &GeneratorSample) {
        let Some(limited) = generator.turned else { return };
        let now = generator.limits.iter().filter(|limit| limit.now).map(|limit| limit.what);
        let (from, to) = if limited {
            (KeepingUp::KeepsUp, KeepingUp::Limited { by: now.collect() })
        } else {
            (KeepingUp::Limited { by: Vec::new() }, KeepingUp::KeepsUp)
        };
        let values = (MarkValue::Generator(from), MarkValue::Generator(to));
        self.generator_mark(at_unix_ns, MarkWhat::Generator, values);
    }

    /// The CA stopped answering a node, or answers again. Bounded like the marks of the load tester.
    pub(super) fn silence(&mut self, at_unix_ns: u64, ca: &CaSample) {
        let Some(silent) = ca.turned else { return };
        let seconds =
            ca.silent.map_or(0, |silent| at_unix_ns.saturating_sub(silent.since_unix_ns)) / 1_000_000_000;
        let in_flight = ca.silent.map_or(0, |silent| silent.in_flight);
        let none = Answers::NoneFor { seconds, in_flight };
        let (from, to) = if silent { (Answers::Come, none) } else { (Answers::None, Answers::Come) };
        let values = (MarkValue::Answers(from), MarkValue::Answers(to));
        self.generator_mark(at_unix_ns, MarkWhat::Answers, values);
    }

    fn generator_mark(&mut self, at_unix_ns: u64, what: MarkWhat, (from, to): (MarkValue, MarkValue)) {
        self.mark(Mark { from, ..Mark::new(at_unix_ns, MarkBy::Generator, what, to) });
    }
}
