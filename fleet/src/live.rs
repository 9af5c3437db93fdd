//! A fleet whose CA is a real one: the schedule gives the members that try, and receives the outcome of each attempt.
//!
//! The fleet's clock, its events and its classes are those of the simulation. What the CA does is real. An outage or a
//! limit among the events is between the clients and the CA: an attempt that it stops is not sent, and has the outcome
//! that it has in the simulation.

use crate::Second;
use crate::cohorts::{Cohorts, Group, Schedule};
use crate::event::Event;
use crate::member::State;
use crate::outcome::Outcome;
use crate::outlook::DRAINED;
use crate::scenario::Scenario;
use crate::seat::Times;
use crate::step::{Flow, Ledger, Tick, shares};
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
    extremes: Extremes,
    /// The number of the next member that is added.
    next: u32,
    /// Groups that wake in the present second, and those of them that try. Kept, so that they are allocated once.
    woken: Vec<Group>,
    line: Vec<Group>,
}

/// The worst second and the largest backlog so far, without the present second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extremes {
    /// The most orders that clients began in one second, and that second.
    pub peak: (u64, Second),
    /// The most renewals that waited at the end of a second, and that second.
    pub backlog: (u64, Second),
    /// Seconds from then until less than a hundredth waited; none if that did not happen yet.
    pub drained_after: Option<i32>,
}

impl Extremes {
    /// The next second.
    fn record(&mut self, tick: &Tick) {
        let orders = tick.total().attempts;
        if orders > self.peak.0 {
            self.peak = (orders, tick.second);
        }
        if tick.waiting > self.backlog.0 {
            (self.backlog, self.drained_after) = ((tick.waiting, tick.second), None);
        } else if self.drained_after.is_none()
            && self.backlog.0 > 0
            && tick.waiting * DRAINED < self.backlog.0
        {
            self.drained_after = Some(tick.second - self.backlog.1);
        }
    }
}

/// A member that tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its number, from 1: the same for all attempts of a certificate's client. Equal fleets at the same second have
    /// equal numbers.
    pub number: u32,
    /// Its state.
    pub state: State,
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
        let next = schedule.number();
        // What the simulation did in its last second does not count.
        ledger.begin(from);
        let before = vec![Flow::default(); scenario.classes.len()];
        let times = scenario.times();
        Self {
            times,
            schedule,
            ledger,
            now: from,
            in_flight: 0,
            before,
            extremes: Extremes::default(),
            next,
            woken: Vec::new(),
            line: Vec::new(),
            scenario,
        }
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

    /// The worst second and the largest backlog since the beginning.
    pub const fn extremes(&self) -> Extremes {
        self.extremes
    }

    /// The account: what happened since the last second began, and the levels.
    pub const fn tick(&self) -> &Tick {
        &self.ledger.tick
    }

    /// Number of groups that wait for their time.
    pub fn groups(&self) -> usize {
        self.schedule.len()
    }

    /// One more event.
    pub fn add(&mut self, event: Event) {
        self.scenario.events.push(event);
    }

    /// Begins the next second, and gives each member that tries in it, and whose attempt is to be sent, to `each`.
    pub fn step(&mut self, each: impl FnMut(Member)) {
        self.step_part((1, |_| true), each);
    }

    /// The same on one of so many nodes, which has only some of the members, by their number. The others are taken for
    /// served at once, and are in no count, but in the levels.
    pub fn step_part(&mut self, (nodes, has): (u32, impl Fn(u32) -> bool), mut each: impl FnMut(Member)) {
        let now = self.now;
        if now % DAY == 0 && self.schedule.day() != Some(now / DAY) {
            self.schedule.open(now / DAY);
        }
        self.before = self.totals();
        self.extremes.record(&self.ledger.tick);
        self.ledger.begin(now);
        let (schedule, ledger, next) = (&mut self.schedule, &mut self.ledger, &mut self.next);
        if self.scenario.grows() {
            self.scenario.born(&self.times, now, |state, count| {
                ledger.start(&state, count.into());
                schedule.insert(Group { first: *next, ..Group::of(state, count) });
                *next += count;
            });
        }
        if let Some(share) = self.scenario.revokes(now) {
            schedule.revoke(&self.times, ledger, share);
        }
        schedule.take(now, &mut self.woken);
        for mut group in self.woken.drain(..) {
            while group.count > 0 {
                let mine = has(group.first);
                let same = (0..group.count).take_while(|place| has(group.first + place) == mine).count();
                let part = group.split(same as u64);
                let mut state = part.state;
                if !mine {
                    let times = &self.times[usize::from(state.class)];
                    state = ledger.elsewhere(state, part.count(), (&self.scenario, times));
                    schedule.insert(Group { state, ..part });
                } else if ledger.wake(&mut state, part.count(), now) {
                    self.line.push(Group { state, ..part });
                } else {
                    schedule.insert(Group { state, ..part });
                }
            }
        }
        self.line.sort_unstable_by_key(|group| (group.state, group.first));
        let is_out = self.scenario.is_out(now);
        let admitted = if is_out { Some(0) } else { self.scenario.admits(now, nodes) };
        let stopped = if is_out { Outcome::Failed { retry_after: None } } else { self.scenario.busy() };
        let mut left = shares(&ledger.tick, admitted.unwrap_or(u64::MAX).min(ledger.tick.total().attempts));
        for mut group in self.line.drain(..) {
            let class = usize::from(group.state.class);
            let sent = group.split(group.count().min(left[class]));
            left[class] -= sent.count();
            self.in_flight += sent.count();
            for place in 0..sent.count {
                each(Member { number: sent.first + place, state: sent.state });
            }
            if group.count > 0 {
                let of = (&self.scenario, &self.times[class]);
                let state = ledger.ended(group.state, group.count(), of, stopped);
                schedule.insert(Group { state, ..group });
            }
        }
        self.now += 1;
    }

    /// The attempt of this member ended like this.
    pub fn ended(&mut self, Member { number, state }: Member, outcome: Outcome) {
        let times = &self.times[usize::from(state.class)];
        let state = self.ledger.ended(state, 1, (&self.scenario, times), outcome);
        self.in_flight = self.in_flight.saturating_sub(1);
        // A time that is over by now is the next second.
        let attempt = state.attempt.max(self.now);
        self.schedule.insert(Group { first: number, ..Group::of(State { attempt, ..state }, 1) });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::outlook::Recorder;
    use crate::settings::FleetSettings;

    fn scenario(certificates: &str, classes: &[&str], events: &[&str]) -> Scenario {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let settings = FleetSettings {
            certificates: certificates.to_owned(),
            length: "3d".to_owned(),
            classes: owned(classes),
            events: owned(events),
            ..FleetSettings::default()
        };
        settings.read().unwrap()
    }

    /// The fleet at a second, as the model has left it.
    fn live_at(scenario: &Scenario, from: Second) -> LiveFleet {
        let mut cohorts = Cohorts::new(scenario.clone());
        (0..from).for_each(|_| {
            cohorts.step();
        });
        LiveFleet::of(cohorts)
    }

    #[test]
    fn a_ca_that_serves_at_once_is_driven_as_it_was_planned() {
        let scenario = scenario("200000", &[], &["growth 1%/d", "revoke 10% at 1d"]);
        let mut planned = Vec::new();
        Recorder::run(&scenario, 60, |tick| planned.push(tick.total().attempts));
        for from in [0, DAY - 100, DAY] {
            let mut live = live_at(&scenario, from);
            for second in from..from + 5_000 {
                let mut tries = Vec::new();
                live.step(|member| tries.push(member));
                assert_eq!(tries.len() as u64, planned[second as usize], "second {second} from {from}");
                tries.into_iter().for_each(|member| live.ended(member, Outcome::Issued));
            }
            assert_eq!((live.in_flight(), live.tick().waiting), (0, 0));
        }
    }

    /// Outages and limits are between the clients and the CA.
    #[test]
    fn what_an_outage_or_a_limit_stops_is_not_sent_and_fails_as_it_was_planned() {
        let scenario = scenario("2000000", &[], &["outage 20m at 100s", "limit 0.3/s at 2000s for 30m"]);
        let mut planned = Vec::new();
        Recorder::run(&scenario, 60, |tick| planned.push(tick.total()));
        let mut live = live_at(&scenario, 0);
        let mut sums = (Flow::default(), 0);
        for second in 0..6_000 {
            let mut tries = Vec::new();
            live.step(|member| tries.push(member));
            sums.1 += tries.len() as u64;
            tries.into_iter().for_each(|member| live.ended(member, Outcome::Issued));
            sums.0.add(&live.tick().total());
            assert_eq!(live.tick().total(), planned[second as usize], "second {second}");
        }
        let Flow { attempts, refused, failed, .. } = sums.0;
        assert!(refused > 100 && failed > 100, "{sums:?}");
        assert_eq!(sums.1, attempts - refused - failed);
    }

    #[test]
    fn events_that_are_added_begin_at_their_second() {
        let scenario = scenario("50000", &["daemon=1"], &[]);
        let mut live = live_at(&scenario, 0);
        live.add(Event::live("outage 10m", live.now() + 60).unwrap());
        live.add(Event::live("revoke 100% at 1000s", 0).unwrap());
        let mut sent = Vec::new();
        for _ in 0..1_700 {
            let mut tries = Vec::new();
            live.step(|member| tries.push(member));
            sent.push(tries.len());
            tries.into_iter().for_each(|member| live.ended(member, Outcome::Issued));
        }
        let sum = |from: usize, until: usize| sent[from..until].iter().sum::<usize>();
        assert_eq!((sum(60, 660), sum(660, 1_000) > 0), (0, true));
        let renewed = sum(1_000, 1_601);
        assert!((49_000..51_000).contains(&renewed), "a revoked daemon renews at its next look: {renewed}");
    }

    /// Also over expired and revoked certificates.
    #[test]
    fn two_nodes_together_drive_each_attempt_once() {
        let scenario =
            scenario("200000", &[], &["growth 1%/d", "revoke 10% at 50s", "lifetime 90d -> 1h at 0s"]);
        let (mut alone, mut nodes) = (live_at(&scenario, 0), [0, 1].map(|_| live_at(&scenario, 0)));
        let mut sums = [0; 2];
        for second in 0..8_000 {
            let mut tries = Vec::new();
            alone.step(|member| tries.push(member));
            let mut parts = Vec::new();
            for (place, node) in (0..).zip(&mut nodes) {
                let mut own = Vec::new();
                node.step_part((2, |number| number % 2 == place), |member| own.push(member));
                sums[place as usize] += own.len();
                parts.extend(own.iter().map(|member| member.number));
                own.into_iter().for_each(|member| node.ended(member, Outcome::Issued));
                assert_eq!(node.tick().waiting, 0, "second {second}");
            }
            let mut numbers: Vec<_> = tries.iter().map(|member| member.number).collect();
            numbers.sort_unstable();
            parts.sort_unstable();
            assert_eq!(numbers, parts, "second {second}");
            tries.into_iter().for_each(|member| alone.ended(member, Outcome::Issued));
            assert!(nodes.iter().all(|node| node.tick().down == alone.tick().down), "second {second}");
        }
        assert!(sums.iter().all(|sum| *sum > 1_000), "{sums:?}");
    }

    /// Over renewals, failures, revocations and growth.
    #[test]
    fn each_member_keeps_its_number_and_no_two_have_the_same() {
        let scenario =
            scenario("20000", &[], &["growth 50%/d", "revoke 30% at 40000s", "lifetime 90d -> 1h at 0s"]);
        let mut live = live_at(&scenario, 0);
        let mut members: HashMap<u32, (u8, u16)> = HashMap::new();
        let mut pending: Vec<Member> = Vec::new();
        for second in 0..DAY {
            let mut tries = Vec::new();
            live.step(|member| tries.push(member));
            for member in tries {
                let who = (member.state.class, member.state.seat);
                assert_eq!(*members.entry(member.number).or_insert(who), who, "second {second}: {member:?}");
                assert!(pending.iter().all(|other| other.number != member.number), "{member:?}");
                match member.number % 7 {
                    0 => live.ended(member, Outcome::Refused { retry_after: Some(60) }),
                    1 => pending.push(member),
                    _ => live.ended(member, Outcome::Issued),
                }
            }
            if second % 100 == 0 {
                pending.drain(..).for_each(|member| live.ended(member, Outcome::Issued));
            }
        }
        let numbers = live.schedule.numbers();
        let mut different = numbers.clone();
        different.dedup();
        assert_eq!(numbers, different);
        assert_eq!(numbers.len() as u64 + live.in_flight(), live.tick().members);
        assert!(members.len() > 5_000, "{}", members.len());
    }

    #[test]
    fn the_worst_second_and_the_largest_backlog_are_kept() {
        let mut extremes = Extremes::default();
        let tick = |second, attempts, waiting| Tick {
            second,
            classes: vec![Flow { attempts, ..Flow::default() }],
            waiting,
            ..Tick::default()
        };
        for (second, attempts, waiting) in
            [(5, 3, 0), (6, 9, 300), (7, 9, 200), (8, 0, 3), (9, 0, 2), (10, 0, 0)]
        {
            extremes.record(&tick(second, attempts, waiting));
        }
        assert_eq!(extremes, Extremes { peak: (9, 6), backlog: (300, 6), drained_after: Some(3) });
        extremes.record(&tick(11, 1, 301));
        assert_eq!((extremes.backlog, extremes.drained_after), ((301, 11), None));
    }

    #[test]
    fn a_failed_attempt_is_repeated_as_its_class_does() {
        let mut live = live_at(&scenario("100000", &["ari=1"], &[]), 0);
        let mut first = None;
        for second in 0..2_000 {
            let mut tries = Vec::new();
            live.step(|member| tries.push(member));
            for member in tries {
                match first {
                    None => {
                        first = Some((second, member.number));
                        live.ended(member, Outcome::Failed { retry_after: Some(500) });
                    }
                    Some((at, number)) if member.number == number => {
                        assert_eq!(second, at + 500, "Retry-After is longer than the first interval");
                        assert_eq!(member.state.failures, 1);
                        return;
                    }
                    Some(_) => live.ended(member, Outcome::Issued),
                }
            }
        }
        panic!("no retry: {first:?}");
    }
}
