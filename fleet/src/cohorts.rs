//! The simulation of counts: members in the same state are one group, however many they are.
//!
//! Its size follows the number of different states, not of members: about one for each second of a cycle and class.
//! Groups wait in a list for each day. When a day begins, its list is sorted by second, and equal groups are united.

use std::collections::VecDeque;

use crate::Second;
use crate::member::State;
use crate::outcome::Outcome;
use crate::scenario::{Scenario, scaled};
use crate::seat::{NOTICES, Times};
use crate::step::{Answer, Ledger, Tick, answer, shares};
use crate::time::DAY;

/// A simulation of groups of members.
#[derive(Clone, Debug)]
pub struct Cohorts {
    scenario: Scenario,
    times: Vec<Times>,
    schedule: Schedule,
    /// The groups in the CA's queue.
    queue: VecDeque<Group>,
    queued: u64,
    ledger: Ledger,
    now: Second,
    grows: bool,
    /// Groups that wake in the present second, and those of them that try. Kept, so that they are allocated once.
    woken: Vec<Group>,
    line: Vec<Group>,
}

/// Members in the same state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) state: State,
    pub(crate) count: u32,
    /// The number of its first member, which the numbers of the others follow; 0 in a simulation, whose members have
    /// no numbers.
    pub(crate) first: u32,
}

impl Group {
    pub(crate) fn count(&self) -> u64 {
        self.count.into()
    }

    /// Members without numbers.
    pub(crate) const fn of(state: State, count: u32) -> Self {
        Self { state, count, first: 0 }
    }

    /// A part of it. No group has more members than fit.
    fn part(&self, count: u64) -> Self {
        Self { count: count as u32, ..*self }
    }

    /// Takes its first members off.
    pub(crate) fn split(&mut self, count: u64) -> Self {
        let taken = self.part(count);
        self.count -= taken.count;
        if self.first > 0 {
            self.first += taken.count;
        }
        taken
    }
}

impl Cohorts {
    /// At the start of this scenario.
    pub fn new(scenario: Scenario) -> Self {
        let mut schedule = Schedule::default();
        let mut ledger = Ledger::new(&scenario);
        scenario.members(|state, count| {
            ledger.start(&state, count.into());
            schedule.insert(Group::of(state, count));
        });
        Self {
            times: scenario.times(),
            schedule,
            queue: VecDeque::new(),
            queued: 0,
            ledger,
            now: 0,
            grows: scenario.grows(),
            woken: Vec::new(),
            line: Vec::new(),
            scenario,
        }
    }

    /// The next second.
    pub const fn now(&self) -> Second {
        self.now
    }

    /// The scenario.
    pub const fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// Number of groups that wait for their time.
    pub fn groups(&self) -> usize {
        self.schedule.len()
    }

    /// The scenario, the groups that wait for their time, those in the CA's queue, and the account.
    pub(crate) fn into_parts(self) -> (Scenario, Schedule, VecDeque<Group>, Ledger) {
        (self.scenario, self.schedule, self.queue, self.ledger)
    }

    /// Simulates the next second.
    pub fn step(&mut self) -> &Tick {
        let now = self.now;
        if now % DAY == 0 {
            self.schedule.open(now / DAY);
        }
        self.ledger.begin(now);
        if self.grows {
            let (schedule, ledger) = (&mut self.schedule, &mut self.ledger);
            self.scenario.born(&self.times, now, |state, count| {
                ledger.start(&state, count.into());
                schedule.insert(Group::of(state, count));
            });
        }
        if let Some(share) = self.scenario.revokes(now) {
            self.schedule.revoke(&self.times, &mut self.ledger, share);
        }
        let attempts = self.line(now);
        match answer(&self.scenario, now, attempts, self.queued) {
            Answer::Nothing => {
                while let Some(group) = self.queue.pop_front() {
                    self.fail(group, Outcome::Failed { retry_after: None });
                }
                self.queued = 0;
                let line = std::mem::take(&mut self.line);
                line.iter().for_each(|group| self.fail(*group, Outcome::Failed { retry_after: None }));
                self.line = line;
            }
            Answer::Takes { admitted, issued } => {
                self.admit(admitted);
                self.issue(issued);
            }
        }
        self.ledger.tick.queued = self.queued;
        self.now += 1;
        &self.ledger.tick
    }

    /// Wakes groups and puts those that try in line. Returns the number of their members.
    fn line(&mut self, now: Second) -> u64 {
        self.schedule.take(now, &mut self.woken);
        self.line.clear();
        let mut attempts = 0;
        for group in self.woken.drain(..) {
            let mut state = group.state;
            let tries = self.ledger.wake(&mut state, group.count(), now);
            let group = Group { state, ..group };
            if tries {
                attempts += group.count();
                self.line.push(group);
            } else {
                self.schedule.insert(group);
            }
        }
        self.line.sort_unstable_by_key(|group| group.state);
        attempts
    }

    /// Takes the first ones of each class into the queue, and refuses the others. At most one group of a class is
    /// split, so that a CA that is busy for long does not make more and more groups.
    fn admit(&mut self, admitted: u64) {
        let mut left = shares(&self.ledger.tick, admitted);
        let line = std::mem::take(&mut self.line);
        for group in &line {
            let left = &mut left[usize::from(group.state.class)];
            let taken = group.count().min(*left);
            *left -= taken;
            if taken > 0 {
                self.queue.push_back(group.part(taken));
                self.queued += taken;
            }
            if group.count() > taken {
                self.fail(group.part(group.count() - taken), self.scenario.busy());
            }
        }
        self.line = line;
    }

    fn issue(&mut self, issued: u64) {
        let mut left = issued;
        self.queued -= issued;
        // Groups that differed only in their last certificate are one again.
        let mut renewed: Option<Group> = None;
        while left > 0
            && let Some(group) = self.queue.pop_front()
        {
            let served = group.count().min(left);
            left -= served;
            if served < group.count() {
                self.queue.push_front(group.part(group.count() - served));
            }
            let times = &self.times[usize::from(group.state.class)];
            let before = renewed.take();
            let same = before.filter(|before| {
                let one = |state: &State| (state.class, state.seat);
                one(&before.state) == one(&group.state) && before.count() + served <= u64::from(u32::MAX)
            });
            let state = self.ledger.ended(group.state, served, (&self.scenario, times), Outcome::Issued);
            renewed = Some(match (same, before) {
                (Some(same), _) => same.part(same.count() + served),
                (None, before) => {
                    if let Some(before) = before {
                        self.schedule.insert(before);
                    }
                    Group { state, ..group.part(served) }
                }
            });
        }
        if let Some(group) = renewed {
            self.schedule.insert(group);
        }
    }

    fn fail(&mut self, group: Group, outcome: Outcome) {
        let times = &self.times[usize::from(group.state.class)];
        let state = self.ledger.ended(group.state, group.count(), (&self.scenario, times), outcome);
        self.schedule.insert(Group { state, ..group });
    }
}

/// Groups by the second in which they wake.
#[derive(Clone, Debug, Default)]
pub(crate) struct Schedule {
    /// The day that is open; 0 before the first one.
    day: i32,
    is_open: bool,
    /// The groups of this day that were known at its begin, by second, and the first one that has not woken.
    today: Vec<Group>,
    next: usize,
    /// The groups of this day that came later, for each second of the day.
    later_today: Vec<Vec<Group>>,
    /// The groups of the days after the open one; before the first one is open, of it and the days after it.
    days: VecDeque<Vec<Group>>,
}

impl Schedule {
    pub(crate) fn insert(&mut self, group: Group) {
        let wakes = group.state.wakes();
        let (day, of_day) = (wakes.div_euclid(DAY), wakes.rem_euclid(DAY) as usize);
        if self.is_open && day <= self.day {
            self.later_today[of_day].push(group);
            return;
        }
        let ahead = (day - self.day - i32::from(self.is_open)) as usize;
        if ahead >= self.days.len() {
            self.days.resize_with(ahead + 1, Vec::new);
        }
        self.days[ahead].push(group);
    }

    pub(crate) fn open(&mut self, day: i32) {
        self.later_today.resize_with(DAY as usize, Vec::new);
        let mut groups = self.days.pop_front().unwrap_or_default();
        groups.sort_unstable_by_key(|group| (group.state.wakes(), group.state, group.first));
        groups.dedup_by(|group, before| {
            let follows = group.first == 0 || group.first == before.first.wrapping_add(before.count);
            let same = group.state == before.state && follows;
            let sum = before.count.checked_add(group.count).filter(|_| same);
            before.count = sum.unwrap_or(before.count);
            sum.is_some()
        });
        self.today = groups;
        (self.day, self.is_open, self.next) = (day, true, 0);
    }

    /// Moves the groups that wake in this second.
    pub(crate) fn take(&mut self, now: Second, woken: &mut Vec<Group>) {
        let from = self.next;
        while self.today.get(self.next).is_some_and(|group| group.state.wakes() <= now) {
            self.next += 1;
        }
        woken.extend_from_slice(&self.today[from..self.next]);
        woken.append(&mut self.later_today[(now % DAY) as usize]);
    }

    /// Revokes a share of the valid certificates, in millionths, in the second that the account is in.
    pub(crate) fn revoke(&mut self, times: &[Times], ledger: &mut Ledger, share: u32) {
        let now = ledger.tick.second;
        let (mut valid, others): (Vec<_>, Vec<_>) =
            self.take_all().into_iter().partition(|group| group.state.is_valid(now));
        others.into_iter().for_each(|group| self.insert(group));
        valid.sort_unstable_by_key(|group| (group.state, group.first));
        let mut passed = 0;
        // The last state that was hit, and how often.
        let mut last: Option<(State, u64)> = None;
        for mut group in valid {
            let before = scaled(passed, share.into(), 1_000_000);
            passed += group.count();
            let hit = scaled(passed, share.into(), 1_000_000) - before;
            if hit > 0 {
                ledger.tick.revoked += hit;
                let first = last.filter(|(state, _)| *state == group.state).map_or(0, |(_, hit)| hit);
                last = Some((group.state, first + hit));
                let times = &times[usize::from(group.state.class)];
                for part in 0..NOTICES.min(hit) {
                    // The numbers from `first` on that are of this part.
                    let count = (hit - part).div_ceil(NOTICES);
                    let state = group.state.revoked(times, (first + part) % NOTICES, now);
                    self.insert(Group { state, ..group.split(count) });
                }
            }
            if group.count > 0 {
                self.insert(group);
            }
        }
    }

    /// Gives each member that waits a number, from 1. Returns the next one.
    pub(crate) fn number(&mut self) -> u32 {
        let today = self.today[self.next..].iter_mut();
        let others = self.later_today.iter_mut().chain(&mut self.days).flatten();
        today.chain(others).fold(1, |next, group| {
            group.first = next;
            next + group.count
        })
    }

    /// The numbers of the members that wait, sorted.
    #[cfg(test)]
    pub(crate) fn numbers(&self) -> Vec<u32> {
        let others = self.later_today.iter().chain(&self.days).flatten();
        let groups = self.today[self.next..].iter().chain(others);
        let mut numbers: Vec<_> = groups.flat_map(|group| group.first..group.first + group.count).collect();
        numbers.sort_unstable();
        numbers
    }

    /// The day that is open.
    pub(crate) const fn day(&self) -> Option<i32> {
        if self.is_open { Some(self.day) } else { None }
    }

    /// Takes all groups that have not woken.
    fn take_all(&mut self) -> Vec<Group> {
        let mut all = self.today.split_off(self.next);
        self.later_today.iter_mut().for_each(|groups| all.append(groups));
        self.days.iter_mut().for_each(|groups| all.append(groups));
        all
    }

    pub(crate) fn len(&self) -> usize {
        let lists = self.later_today.iter().chain(&self.days);
        self.today.len() - self.next + lists.map(Vec::len).sum::<usize>()
    }
}
