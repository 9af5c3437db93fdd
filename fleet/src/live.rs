//! A fleet whose CA is a real one: the schedule gives the members that try, and is told how each attempt ended.
//!
//! The fleet's clock, its events and its classes are those of the simulation. What the CA does is real, so outages
//! and limits of the scenario have no effect here: make them at the CA.

use crate::Second;
use crate::cohorts::{Cohorts, Group, Schedule};
use crate::member::State;
use crate::scenario::Scenario;
use crate::seat::Times;
use crate::step::{Flow, Ledger, Tick};
use crate::time::DAY;

/// The fleet from a second on.
#[derive(Debug)]
pub struct LiveFleet {
    scenario: Scenario,
    times: Vec<Times>,
    schedule: Schedule,
    ledger: Ledger,
    now: Second,
    in_flight: u64,
    /// What happened before the present second.
    before: Vec<Flow>,
    woken: Vec<Group>,
}

impl LiveFleet {
    /// The fleet as a simulation has left it. Members in the queue of its model try in the first second.
    pub fn of(cohorts: Cohorts) -> Self {
        let from = cohorts.now();
        let (scenario, mut schedule, queue, mut ledger) = cohorts.into_parts();
        if schedule.day() != Some(from / DAY) {
            schedule.open(from / DAY);
        }
        for group in queue {
            schedule.insert(Group { state: State { attempt: from, ..group.state }, ..group });
        }
        // What the simulation did in its last second does not count.
        ledger.begin(from);
        let before = vec![Flow::default(); scenario.classes.len()];
        let times = scenario.times();
        Self { times, schedule, ledger, now: from, in_flight: 0, before, woken: Vec::new(), scenario }
    }

    /// The next second.
    pub const fn now(&self) -> Second {
        self.now
    }

    /// Attempts whose end was not reported yet.
    pub const fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// What happened since the beginning, by class.
    pub fn totals(&self) -> Vec<Flow> {
        let mut totals = self.before.clone();
        totals.iter_mut().zip(&self.ledger.tick.classes).for_each(|(sum, flow)| sum.add(flow));
        totals
    }

    /// The account: what happened since the last second began, and the levels.
    pub const fn tick(&self) -> &Tick {
        &self.ledger.tick
    }

    /// Number of groups that wait for their time.
    pub fn groups(&self) -> usize {
        self.schedule.len()
    }

    /// Begins the next second, and gives each member that tries in it to `each`.
    pub fn step(&mut self, mut each: impl FnMut(State)) {
        let now = self.now;
        if now % DAY == 0 && self.schedule.day() != Some(now / DAY) {
            self.schedule.open(now / DAY);
        }
        self.before = self.totals();
        self.ledger.begin(now);
        let (schedule, ledger) = (&mut self.schedule, &mut self.ledger);
        if self.scenario.grows() {
            self.scenario.born(&self.times, now, |state, count| {
                ledger.start(&state, count.into());
                schedule.insert(Group { state, count });
            });
        }
        if let Some(share) = self.scenario.revokes(now) {
            schedule.revoke(&self.times, ledger, share);
        }
        schedule.take(now, &mut self.woken);
        self.woken.sort_unstable_by_key(|group| group.state);
        for group in self.woken.drain(..) {
            let mut state = group.state;
            if ledger.wake(&mut state, group.count(), now) {
                self.in_flight += group.count();
                (0..group.count).for_each(|_| each(state));
            } else {
                schedule.insert(Group { state, ..group });
            }
        }
        self.now += 1;
    }

    /// The CA issued to this member.
    pub fn served(&mut self, state: State) {
        let times = &self.times[usize::from(state.class)];
        let state = self.ledger.serve(state, 1, (&self.scenario, times));
        self.ended(state);
    }

    /// The attempt of this member failed, with a Retry-After if the CA answered one.
    pub fn failed(&mut self, state: State, retry_after: Option<i32>) {
        let times = &self.times[usize::from(state.class)];
        let state = self.ledger.fail(state, 1, times, retry_after);
        self.ended(state);
    }

    fn ended(&mut self, state: State) {
        self.in_flight = self.in_flight.saturating_sub(1);
        // A time that is over by now is the next second.
        let attempt = state.attempt.max(self.now);
        self.schedule.insert(Group { state: State { attempt, ..state }, count: 1 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outlook::Recorder;
    use crate::settings::Settings;

    #[test]
    fn a_ca_that_serves_at_once_is_driven_as_it_was_planned() {
        let settings = Settings {
            certificates: "200000".to_owned(),
            length: "3d".to_owned(),
            events: vec!["growth 1%/d".to_owned(), "revoke 10% at 1d".to_owned()],
            ..Settings::default()
        };
        let scenario = settings.read().unwrap();
        let mut planned = Vec::new();
        Recorder::run(&scenario, 60, |tick| planned.push(tick.total().attempts));
        for from in [0, DAY - 100, DAY] {
            let mut cohorts = Cohorts::new(scenario.clone());
            (0..from).for_each(|_| {
                cohorts.step();
            });
            let mut live = LiveFleet::of(cohorts);
            for second in from..from + 5_000 {
                let mut tries = Vec::new();
                live.step(|state| tries.push(state));
                assert_eq!(tries.len() as u64, planned[second as usize], "second {second} from {from}");
                tries.into_iter().for_each(|state| live.served(state));
            }
            assert_eq!((live.in_flight(), live.tick().waiting), (0, 0));
        }
    }

    #[test]
    fn a_failed_attempt_is_repeated_as_its_class_does() {
        let settings = Settings {
            certificates: "100000".to_owned(),
            classes: vec!["ari=1".to_owned()],
            length: "1d".to_owned(),
            ..Settings::default()
        };
        let mut live = LiveFleet::of(Cohorts::new(settings.read().unwrap()));
        let mut first = None;
        for second in 0..2_000 {
            let mut tries = Vec::new();
            live.step(|state| tries.push(state));
            for state in tries {
                match first {
                    None => {
                        first = Some((second, state.seat, state.expiry));
                        live.failed(state, Some(500));
                    }
                    Some((at, seat, expiry))
                        if (state.seat, state.expiry, state.failures) == (seat, expiry, 1) =>
                    {
                        assert_eq!(second, at + 500, "Retry-After is longer than the first interval");
                        return;
                    }
                    Some(_) => live.served(state),
                }
            }
        }
        panic!("no retry: {first:?}");
    }
}
