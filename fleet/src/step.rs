//! One second of a simulation: what the CA's model admits and issues, and the counts of what happened.
//!
//! In each second: members are added, certificates are revoked, members wake and try, the CA admits some of them
//! into its queue and answers 503 to the others, and it issues to those that have waited longest. In an outage
//! every attempt fails, and so do those in the queue.

use crate::Second;
use crate::member::{EXPIRED, NEVER, NOT_DUE, REVOKED, State};
use crate::outcome::Outcome;
use crate::scenario::{Scenario, scaled};
use crate::seat::Times;

/// What happened in a second, and the levels at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tick {
    /// The second.
    pub second: Second,
    /// What happened, by class.
    pub classes: Vec<Flow>,
    /// Orders in the CA's queue.
    pub queued: u64,
    /// Members whose renewal is due, not served, and whose certificate is still valid.
    pub waiting: u64,
    /// Members whose certificate has expired: sites that are down.
    pub down: u64,
    /// Members with a revoked certificate.
    pub revoked: u64,
    /// All members.
    pub members: u64,
}

/// What happened to the members of a class in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Orders that clients began, first ones and repeated ones.
    pub attempts: u64,
    /// Renewals that became due: first attempts, and certificates that expired before one.
    pub due: u64,
    /// Renewals served in time.
    pub on_time: u64,
    /// Renewals served late, before the certificate expired.
    pub late: u64,
    /// Certificates that expired before their renewal.
    pub expired: u64,
    /// Certificates for members whose last one had expired.
    pub recovered: u64,
    /// Attempts that the CA refused because of its load or a limit, with 503 or 429.
    pub refused: u64,
    /// Attempts that failed otherwise; in the model those of an outage.
    pub failed: u64,
    /// Attempts that the load generator did not send, because no worker was free; none in the model.
    pub not_sent: u64,
}

impl Flow {
    /// Certificates issued.
    pub const fn served(&self) -> u64 {
        self.on_time + self.late + self.recovered
    }

    /// Adds another one.
    pub const fn add(&mut self, other: &Self) {
        self.attempts += other.attempts;
        self.due += other.due;
        self.on_time += other.on_time;
        self.late += other.late;
        self.expired += other.expired;
        self.recovered += other.recovered;
        self.refused += other.refused;
        self.failed += other.failed;
        self.not_sent += other.not_sent;
    }
}

impl Tick {
    /// All classes together.
    pub fn total(&self) -> Flow {
        let mut total = Flow::default();
        self.classes.iter().for_each(|flow| total.add(flow));
        total
    }
}

/// The account of a simulation: counts changes of `n` equal members.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    pub(crate) tick: Tick,
    late_after: i32,
    latency: i32,
}

impl Ledger {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let classes = vec![Flow::default(); scenario.classes.len()];
        Self {
            tick: Tick { classes, ..Tick::default() },
            late_after: scenario.late_after,
            latency: scenario.ca.latency,
        }
    }

    /// Counts new members, at the start of the simulation or later.
    pub(crate) fn start(&mut self, state: &State, n: u64) {
        self.tick.members += n;
        if state.is(EXPIRED) {
            self.tick.down += n;
        }
    }

    pub(crate) fn begin(&mut self, second: Second) {
        self.tick.second = second;
        self.tick.classes.fill(Flow::default());
    }

    fn flow(&mut self, state: &State) -> &mut Flow {
        &mut self.tick.classes[usize::from(state.class)]
    }

    /// Members wake: their certificate expires, or they try, or both. Returns whether they try.
    pub(crate) fn wake(&mut self, state: &mut State, n: u64, now: Second) -> bool {
        self.expire(state, n, now);
        if state.attempt > now {
            return false;
        }
        self.flow(state).attempts += n;
        if state.due == NOT_DUE {
            self.become_due(state, n, now);
            self.tick.waiting += n;
        }
        true
    }

    /// Members wake that another node drives: taken for served at once if they try. The levels follow, and nothing is
    /// counted. Returns their state afterwards.
    pub(crate) fn elsewhere(
        &mut self,
        mut state: State,
        n: u64,
        (scenario, times): (&Scenario, &Times),
    ) -> State {
        let now = self.tick.second;
        if state.waits() {
            self.tick.waiting -= n;
        }
        if state.attempt > now {
            state.due = state.due.min(now);
            state.flags |= EXPIRED;
            self.tick.down += n;
            return state;
        }
        if state.is(EXPIRED) {
            self.tick.down -= n;
        }
        if state.is(REVOKED) {
            self.tick.revoked -= n;
        }
        state.renewed(scenario.lifetime_at(now), times, now)
    }

    /// Counts a certificate that has expired.
    fn expire(&mut self, state: &mut State, n: u64, now: Second) {
        if state.expiry == NEVER || state.expiry > now || state.is(EXPIRED) {
            return;
        }
        if state.due == NOT_DUE {
            self.become_due(state, n, now);
        } else {
            self.tick.waiting -= n;
        }
        state.flags |= EXPIRED;
        self.flow(state).expired += n;
        self.tick.down += n;
    }

    fn become_due(&mut self, state: &mut State, n: u64, now: Second) {
        state.due = now;
        self.flow(state).due += n;
    }

    /// The attempts of `n` members ended like this. Returns their state afterwards.
    pub(crate) fn ended(
        &mut self,
        mut state: State,
        n: u64,
        (scenario, times): (&Scenario, &Times),
        outcome: Outcome,
    ) -> State {
        let now = self.tick.second;
        let count: fn(&mut Flow) -> &mut u64 = match outcome {
            Outcome::Issued => return self.serve(state, n, (scenario, times)),
            Outcome::Refused { .. } => |flow: &mut Flow| &mut flow.refused,
            Outcome::Failed { .. } => |flow: &mut Flow| &mut flow.failed,
            Outcome::NotSent => |flow: &mut Flow| &mut flow.not_sent,
        };
        self.expire(&mut state, n, now);
        *count(self.flow(&state)) += n;
        state.failed(times, now, outcome.retry_after())
    }

    fn serve(&mut self, mut state: State, n: u64, (scenario, times): (&Scenario, &Times)) -> State {
        let now = self.tick.second;
        // A certificate that expires while its renewal is being issued has expired.
        let done = now.saturating_add(self.latency);
        self.expire(&mut state, n, done);
        let late = done.saturating_sub(state.due) > self.late_after;
        let flow = self.flow(&state);
        if state.is(EXPIRED) {
            flow.recovered += n;
            self.tick.down -= n;
        } else {
            if late {
                flow.late += n
            } else {
                flow.on_time += n
            }
            self.tick.waiting -= n;
        }
        if state.is(REVOKED) {
            self.tick.revoked -= n;
        }
        state.renewed(scenario.lifetime_at(now), times, now)
    }
}

/// What the CA does with the attempts of a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It does not answer.
    Nothing,
    /// It takes so many attempts into its queue, and then issues to so many of the queue.
    Takes { admitted: u64, issued: u64 },
}

/// The CA's answer to so many attempts, with so many in its queue.
pub(crate) fn answer(scenario: &Scenario, now: Second, attempts: u64, queued: u64) -> Answer {
    if scenario.is_out(now) {
        return Answer::Nothing;
    }
    let issues = scenario.issues(now);
    let room = scenario.ca.queue.saturating_add(issues).saturating_sub(queued);
    let admitted = attempts.min(room).min(scenario.admits(now, 1).unwrap_or(u64::MAX));
    Answer::Takes { admitted, issued: issues.min(queued + admitted) }
}

/// How many of a second's attempts the CA takes of each class: in proportion, because it does not know classes.
pub(crate) fn shares(tick: &Tick, admitted: u64) -> Vec<u64> {
    let attempts = tick.total().attempts;
    let (mut passed, mut before) = (0, 0);
    let share = |flow: &Flow| {
        passed += flow.attempts;
        let until = scaled(passed, admitted, attempts);
        until - std::mem::replace(&mut before, until)
    };
    tick.classes.iter().map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::FleetSettings;

    #[test]
    fn each_class_is_admitted_in_proportion() {
        let flow = |attempts| Flow { attempts, ..Flow::default() };
        let tick = Tick { classes: [10, 0, 30, 2].map(flow).to_vec(), ..Tick::default() };
        for (admitted, expected) in
            [(42, [10, 0, 30, 2]), (21, [5, 0, 15, 1]), (1, [0, 0, 0, 1]), (0, [0; 4])]
        {
            assert_eq!(shares(&tick, admitted), expected, "{admitted}");
        }
    }

    #[test]
    fn a_ca_takes_what_it_can_issue_and_queue_within_its_limit() {
        let scenario = |events: &[&str]| {
            let events = events.iter().map(|event| (*event).to_owned()).collect();
            let settings = FleetSettings {
                ca_rate: Some("100/s".to_owned()),
                ca_queue: Some("50".to_owned()),
                events,
                ..FleetSettings::default()
            };
            settings.read().unwrap()
        };
        let takes = |admitted, issued| Answer::Takes { admitted, issued };
        for (attempts, queued, expected) in [
            (0, 0, takes(0, 0)),
            (80, 0, takes(80, 80)),
            (120, 0, takes(120, 100)),
            (1_000, 0, takes(150, 100)),
            (1_000, 50, takes(100, 100)),
            (20, 150, takes(0, 100)),
        ] {
            assert_eq!(answer(&scenario(&[]), 5, attempts, queued), expected, "{attempts} beside {queued}");
        }
        let limited = scenario(&["limit 30/s"]);
        assert_eq!(answer(&limited, 5, 1_000, 0), takes(30, 30));
        let out = scenario(&["outage 1h at 0s"]);
        assert_eq!(answer(&out, 5, 1_000, 20), Answer::Nothing);
        assert_eq!(answer(&out, 3_600, 10, 0), takes(10, 10));
    }
}
