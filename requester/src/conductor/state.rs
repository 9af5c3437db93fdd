//! `ScenarioState`: the targets of a scenario, as a pure function of the board's data and the clock.

use std::collections::BTreeMap;
use std::time::Duration;

use wec_board::{ChangeTo, LoadUnit, Session, Target};
use wec_record::plan::RateUnit;

use super::BEGINS_AHEAD;
use crate::executor::ArrivalSchedule;
use crate::pace::Ramp;
use crate::scenario::Scenario;
use crate::share::{MemberShare, NodePart};

/// Interval of updates of a number of workers on a ramp.
const STEP: Duration = Duration::from_millis(50);
/// Interval of updates of a rate on a ramp, so that the shown target is current. The schedule itself has the whole ramp.
const LOOK: Duration = Duration::from_millis(250);
/// Longest interval of updates while nothing changes. A change of the session is followed at once.
const STEADY: Duration = Duration::from_secs(1);

/// The targets of a scenario: a pure function of the board's data and the clock.
#[derive(Debug)]
pub(super) struct ScenarioState {
    /// The target of workers by stages or people, or of the rate if the executor has one.
    ramp: Ramp,
    /// Whether `ramp` is of a rate.
    pub(super) keeps_rate: bool,
    /// Whether the nodes divide that rate, or the members of the [fleet](crate::executor::Executor::fleet).
    divides: bool,
    /// The unit of the load.
    pub(super) unit: LoadUnit,
    /// The largest number of workers, for executors with a rate.
    pub(super) cap: u32,
    run_time: Duration,
    /// Its start after the session began, or after the end of the scenario that it waits for.
    start_at: Duration,
    follows: bool,
    /// The wall time of the clock's origin.
    clock_unix_ns: u64,
    /// When this node became ready, nanoseconds of the clock.
    ready: i64,
    /// The zero of the scenario's active time, nanoseconds of the clock: in the future before it starts,
    /// below 0 on a node that joined later; none before it is known.
    origin: Option<i64>,
    paused_at: Option<i64>,
    scheduled: bool,
    pub(super) weights: BTreeMap<String, f64>,
    /// The events of a fleet that were given during the run.
    pub(super) events: Vec<String>,
    /// The start of each stage and its target.
    stages: Vec<(Duration, f64)>,
    announced: usize,
    /// Since when this node has members of a fleet, nanoseconds of the clock: since it became ready, or since it last had
    /// nothing.
    has_members: i64,
    /// This node's part of `ramp` at each time.
    local: Option<Followed>,
    /// `ramp` at each time since this node had a part.
    of_all: Option<Followed>,
    /// Whether other nodes can share the target.
    pub(super) shared: bool,
}

/// A ramp that changes: its past stays as it was.
#[derive(Debug)]
struct Followed {
    ramp: Ramp,
    /// The ramp that it followed last.
    future: Ramp,
}

impl Followed {
    /// Follows `future` from an active time on; before the active time `first` it was nothing.
    fn next(before: Option<Self>, future: Ramp, active: Duration, first: Option<Duration>) -> Self {
        let ramp = match (before, first) {
            (Some(before), _) if before.future == future => return before,
            (Some(before), _) => before.ramp.then(active, &future),
            (None, Some(first)) if !first.is_zero() => Ramp::constant(0.0).then(first, &future),
            (None, _) => future.clone(),
        };
        Self { ramp, future }
    }

    /// Nothing from one active time until another.
    fn skip(&mut self, from: Duration, until: Duration) {
        self.ramp = self.ramp.then_hold(from, 0.0).then(until, &self.future);
    }
}

impl ScenarioState {
    pub(super) fn new(scenario: &Scenario, clock_unix_ns: u64, ready_unix_ns: u64) -> Self {
        let load = &scenario.load;
        let rate = load.rate();
        let mut at = Duration::ZERO;
        let stages = load.stages().iter().map(|stage| {
            let begins = at;
            at += stage.duration.0;
            (begins, stage.target)
        });
        Self {
            stages: stages.collect(),
            keeps_rate: rate.is_some(),
            divides: load.fleet().is_none(),
            unit: unit_of(load.rate_unit()),
            cap: load.workers().at(Duration::ZERO) as u32,
            ramp: rate.unwrap_or_else(|| load.workers()),
            run_time: scenario.run_time,
            start_at: scenario.start_at,
            follows: scenario.after.is_some(),
            clock_unix_ns,
            ready: signed(ready_unix_ns, clock_unix_ns),
            has_members: signed(ready_unix_ns, clock_unix_ns),
            origin: None,
            paused_at: None,
            scheduled: !load.stages().is_empty(),
            weights: BTreeMap::new(),
            events: Vec::new(),
            announced: 0,
            local: None,
            of_all: None,
            shared: false,
        }
    }

    /// Active time, or none before the start.
    fn active(&self, now: u64) -> Option<Duration> {
        self.active_at(i64::try_from(now).unwrap_or(i64::MAX))
    }

    fn active_at(&self, now: i64) -> Option<Duration> {
        let now = self.paused_at.unwrap_or(now);
        u64::try_from(now.checked_sub(self.origin?)?).ok().map(Duration::from_nanos)
    }

    /// Reads a session from the board.
    pub(super) fn see(&mut self, session: &Session, scenario: &str, now: u64) {
        let target = session.spec.scenarios.get(scenario);
        // A session that others created may not have this scenario: it follows its plan then.
        let begins = match target {
            Some(_) if self.follows => {
                session.status.scenarios.get(scenario).and_then(|status| status.begins_ns)
            }
            _ => Some(0),
        };
        let paused = self.paused_at.and_then(|_| self.active(now));
        self.origin = session.status.began_unix_ns.zip(begins).map(|(began, begins)| {
            let since = signed(began, self.clock_unix_ns).saturating_add_unsigned(session.paused_ns());
            since.saturating_add_unsigned(begins).saturating_add_unsigned(nanoseconds(self.start_at))
        });
        self.paused_at = session.paused_since().map(|at| signed(at, self.clock_unix_ns));
        if let (Some(paused), None, true) = (paused, self.paused_at, self.shared) {
            self.skip_until(paused, now);
        }
        if let Some(target) = target {
            self.aim(target, now);
        }
    }

    /// A pause at an active time has ended, which this node sees now. All nodes would start together what was due since.
    fn skip_until(&mut self, paused: Duration, now: u64) {
        let Some(active) = self.active(now).filter(|active| *active > paused) else { return };
        for followed in [&mut self.local, &mut self.of_all].into_iter().flatten() {
            followed.skip(paused, active);
        }
    }

    fn aim(&mut self, target: &Target, now: u64) {
        // All fields are named: a new one that has no effect here does not compile.
        let Target {
            workers,
            rate,
            weights,
            events,
            scheduled,
            rate_unit: _,
            stages: _,
            waits: _,
            iterations: _,
        } = target;
        let active = self.active(now).unwrap_or_default();
        let value = if self.keeps_rate { rate.unwrap_or_default() } else { f64::from(*workers) };
        if !scheduled && (self.scheduled || self.ramp.held() != value) {
            self.ramp = self.ramp.then_hold(active, value);
            self.scheduled = false;
        }
        self.cap = *workers;
        self.weights.clone_from(weights);
        self.events.clone_from(events.as_ref().unwrap_or(&Vec::new()));
    }

    /// Number of workers now, or the largest number allowed.
    pub(super) fn workers(&self, now: u64) -> u32 {
        match self.active(now) {
            _ if self.keeps_rate => self.cap,
            Some(active) => self.ramp.at(active).round() as u32,
            None => 0,
        }
    }

    pub(super) fn rate(&self, now: u64) -> Option<f64> {
        self.keeps_rate.then(|| self.active(now).map_or(0.0, |active| self.ramp.at(active)))
    }

    /// This node's part of [`rate`](Self::rate).
    pub(super) fn rate_of(&self, part: NodePart<'_>, now: u64) -> Option<f64> {
        let rate = self.rate(now)?;
        Some(match part {
            NodePart::Share(_) if !self.divides => rate,
            part => part.rate(self.unit, rate),
        })
    }

    /// Its target now, as the other scenarios of the session see it: a rate per second, or workers; 0 if it is not
    /// divided. A target that moves is read off in steps, because each change of it wakes all scenarios. A scenario that
    /// begins soon has its first target, so that no part is too large when it begins.
    pub(super) fn demand(&self, now: u64) -> f64 {
        let soon = self.origin.and_then(|origin| u64::try_from(origin).ok());
        let soon = soon.filter(|origin| (now..=now + nanoseconds(BEGINS_AHEAD)).contains(origin));
        let now = soon.unwrap_or(now);
        let Some(active) = self.active(now).filter(|_| self.divides && self.runs(now)) else { return 0.0 };
        let past_step = active.as_nanos() % LOOK.as_nanos();
        let moves = active < self.ramp.end();
        let past_step = if moves { Duration::from_nanos(past_step as u64) } else { Duration::ZERO };
        let target = self.ramp.at(active.saturating_sub(past_step));
        if self.keeps_rate { target } else { target.round() }
    }

    pub(super) fn runs(&self, now: u64) -> bool {
        self.paused_at.is_none() && self.active(now).is_some()
    }

    /// The schedule of this node's part; none without a rate, and before the node had a part.
    pub(super) fn schedule(&mut self, part: NodePart<'_>, now: u64) -> Option<ArrivalSchedule> {
        if !self.keeps_rate || (self.local.is_none() && matches!(part, NodePart::Nothing { .. })) {
            return None;
        }
        if !self.divides {
            return self.undivided(part, now);
        }
        let (future, from) = match part {
            NodePart::Share(share) => (share.ramp(self.unit, &self.ramp.until(self.run_time)), now),
            // What was due since belongs to other nodes.
            NodePart::Nothing { since } => (Ramp::constant(0.0), since.min(now)),
        };
        let (active, active_now) = (self.active(from), self.active(now));
        let (active, active_now) = (active.unwrap_or_default(), active_now.unwrap_or_default());
        // Iterations due before this node was ready belong to other nodes. If there can be others, it had no part before
        // it saw it.
        let first = if self.shared { Some(active_now) } else { self.active_at(self.ready) };
        // This node's part before another node joined or left stays as it was: arrivals are positions on it.
        let local = Followed::next(self.local.take(), future, active, first);
        let ramp = local.ramp.clone();
        self.local = Some(local);
        if self.shared {
            let whole = self.ramp.until(self.run_time);
            self.of_all = Some(Followed::next(self.of_all.take(), whole, active_now, first));
        }
        Some(ArrivalSchedule {
            ramp,
            origin: self.origin?,
            paused_at: self.paused_at,
            workers_cap: part.workers_cap(self.cap),
            registration: part.registration(),
            members: MemberShare::default(),
            of_all: self.of_all.as_ref().map(|followed| followed.ramp.clone()),
        })
    }

    /// The schedule of a rate that each node has as a whole, also while it has no part: its clock goes on.
    fn undivided(&mut self, part: NodePart<'_>, now: u64) -> Option<ArrivalSchedule> {
        let ramp = self.ramp.until(self.run_time);
        if self.shared && self.local.is_none() {
            self.has_members = i64::try_from(now).unwrap_or(i64::MAX);
        }
        // From now on it has had a part.
        self.local = Some(Followed { ramp: ramp.clone(), future: ramp.clone() });
        let members = match part {
            NodePart::Share(share) => share.members(self.has_members),
            NodePart::Nothing { .. } => {
                self.has_members = i64::try_from(now).unwrap_or(i64::MAX);
                MemberShare::default()
            }
        };
        Some(ArrivalSchedule {
            ramp,
            origin: self.origin?,
            paused_at: self.paused_at,
            workers_cap: part.workers_cap(self.cap),
            registration: part.registration(),
            members,
            of_all: None,
        })
    }

    pub(super) fn is_over(&self, now: u64) -> bool {
        self.active(now).is_some_and(|active| active >= self.run_time)
    }

    /// The target of a stage that has begun since the last call.
    pub(super) fn stage_begun(&mut self, now: u64) -> Option<ChangeTo> {
        let active = self.active(now)?;
        let begun = self.stages.iter().take_while(|(begins, _)| *begins <= active).count();
        if !self.scheduled || begun <= self.announced {
            return None;
        }
        self.announced = begun;
        let (_, target) = self.stages[begun - 1];
        Some(if self.keeps_rate { ChangeTo::Rate(target) } else { ChangeTo::Workers(target.round() as u32) })
    }

    pub(super) fn next_look(&self, now: u64) -> Duration {
        let Some(active) = self.active(now) else {
            let ahead = self.origin.map(|origin| origin.saturating_sub_unsigned(now));
            let ahead = ahead.and_then(|ahead| u64::try_from(ahead).ok()).map(Duration::from_nanos);
            return ahead.unwrap_or(STEADY).min(STEADY).max(Duration::from_millis(1));
        };
        let moves = active < self.ramp.end();
        let step = match (moves, self.keeps_rate) {
            (true, false) => STEP,
            (true, true) => LOOK,
            (false, _) => STEADY,
        };
        let next_stage = self.stages.get(self.announced).map(|(begins, _)| *begins);
        let events = [Some(self.run_time), next_stage.filter(|_| self.scheduled)];
        let until = events.into_iter().flatten().filter_map(|event| event.checked_sub(active)).min();
        until.unwrap_or(step).min(step).max(Duration::from_millis(1))
    }
}

const fn unit_of(rate: Option<RateUnit>) -> LoadUnit {
    match rate {
        Some(RateUnit::Chains) => LoadUnit::Chains,
        Some(RateUnit::Requests) => LoadUnit::Requests,
        None => LoadUnit::Workers,
    }
}

/// Time from `origin` to a moment, both nanoseconds since the Unix epoch.
fn signed(unix_ns: u64, origin: u64) -> i64 {
    let apart = i128::from(unix_ns) - i128::from(origin);
    i64::try_from(apart).unwrap_or(if apart < 0 { i64::MIN } else { i64::MAX })
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
