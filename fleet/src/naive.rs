//! The naive simulation: every member by itself, with a queue of their events. It is the exact one that
//! [`cohorts`](crate::cohorts) is compared with, and too slow and large for real fleets.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::Second;
use crate::member::State;
use crate::outcome::Outcome;
use crate::scenario::{Scenario, scaled};
use crate::seat::{NOTICES, Times};
use crate::step::{Answer, Ledger, Tick, answer, shares};

/// A simulation of single members.
#[derive(Debug)]
pub struct Naive {
    scenario: Scenario,
    times: Vec<Times>,
    members: Vec<Member>,
    /// When each member wakes. Entries that became wrong stay, and are ignored.
    events: BinaryHeap<Reverse<(Second, usize)>>,
    /// The members in the CA's queue.
    queue: VecDeque<usize>,
    ledger: Ledger,
    now: Second,
}

#[derive(Clone, Copy, Debug)]
struct Member {
    state: State,
    in_queue: bool,
}

impl Naive {
    /// At the start of this scenario.
    pub fn new(scenario: Scenario) -> Self {
        let mut simulation = Self {
            times: scenario.times(),
            members: Vec::new(),
            events: BinaryHeap::new(),
            queue: VecDeque::new(),
            ledger: Ledger::new(&scenario),
            now: 0,
            scenario,
        };
        let mut members = Vec::new();
        simulation.scenario.members(|state, count| members.extend((0..count).map(|_| state)));
        members.into_iter().for_each(|state| simulation.add(state));
        simulation
    }

    fn add(&mut self, state: State) {
        self.events.push(Reverse((state.wakes(), self.members.len())));
        self.members.push(Member { state, in_queue: false });
        self.ledger.start(&state, 1);
    }

    /// Simulates the next second.
    pub fn step(&mut self) -> &Tick {
        let now = self.now;
        self.ledger.begin(now);
        self.grow(now);
        self.revoke(now);
        let line = self.line(now);
        let attempts = line.len() as u64;
        match answer(&self.scenario, now, attempts, self.queue.len() as u64) {
            Answer::Nothing => {
                let waiting: Vec<_> = self.queue.drain(..).collect();
                waiting
                    .into_iter()
                    .chain(line)
                    .for_each(|id| self.fail(id, Outcome::Failed { retry_after: None }));
            }
            Answer::Takes { admitted, issued } => {
                let mut left = shares(&self.ledger.tick, admitted);
                for id in line {
                    let left = &mut left[usize::from(self.members[id].state.class)];
                    if *left > 0 {
                        *left -= 1;
                        self.members[id].in_queue = true;
                        self.queue.push_back(id);
                    } else {
                        self.fail(id, self.scenario.busy());
                    }
                }
                for _ in 0..issued {
                    if let Some(id) = self.queue.pop_front() {
                        let state = self.members[id].state;
                        let times = &self.times[usize::from(state.class)];
                        let state = self.ledger.ended(state, 1, (&self.scenario, times), Outcome::Issued);
                        self.change(id, state);
                    }
                }
            }
        }
        self.ledger.tick.queued = self.queue.len() as u64;
        self.now += 1;
        &self.ledger.tick
    }

    fn grow(&mut self, now: Second) {
        let mut born = Vec::new();
        self.scenario.born(&self.times, now, |state, count| born.extend((0..count).map(|_| state)));
        born.into_iter().for_each(|state| self.add(state));
    }

    fn revoke(&mut self, now: Second) {
        let Some(share) = self.scenario.revokes(now) else { return };
        let valid = |id: &usize| {
            let member = &self.members[*id];
            !member.in_queue && member.state.is_valid(now)
        };
        let mut valid: Vec<_> = (0..self.members.len()).filter(valid).collect();
        valid.sort_by_key(|id| (self.members[*id].state, *id));
        // The last state that was hit, and how often.
        let mut hit: Option<(State, u64)> = None;
        for (position, id) in (0..).zip(valid) {
            let place = |position: u64| scaled(position, share.into(), 1_000_000);
            if place(position + 1) > place(position) {
                let state = self.members[id].state;
                let before = hit.filter(|(other, _)| *other == state).map_or(0, |(_, times)| times);
                hit = Some((state, before + 1));
                self.ledger.tick.revoked += 1;
                self.change(id, state.revoked(&self.times[usize::from(state.class)], before % NOTICES, now));
            }
        }
    }

    /// Wakes members, and returns those that try, in the order in which they stand in line.
    fn line(&mut self, now: Second) -> Vec<usize> {
        let mut woken = Vec::new();
        while let Some(Reverse((at, id))) = self.events.peek().copied()
            && at <= now
        {
            self.events.pop();
            let member = &self.members[id];
            if member.state.wakes() == at && !member.in_queue {
                woken.push(id);
            }
        }
        woken.sort_unstable();
        woken.dedup();
        let mut line = Vec::new();
        for id in woken {
            let mut state = self.members[id].state;
            if self.ledger.wake(&mut state, 1, now) {
                self.members[id].state = state;
                line.push(id);
            } else {
                self.change(id, state);
            }
        }
        line.sort_by_key(|id| (self.members[*id].state, *id));
        line
    }

    fn fail(&mut self, id: usize, outcome: Outcome) {
        let state = self.members[id].state;
        let times = &self.times[usize::from(state.class)];
        let state = self.ledger.ended(state, 1, (&self.scenario, times), outcome);
        self.change(id, state);
    }

    fn change(&mut self, id: usize, state: State) {
        self.members[id] = Member { state, in_queue: false };
        self.events.push(Reverse((state.wakes(), id)));
    }
}
