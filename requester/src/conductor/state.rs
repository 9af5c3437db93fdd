//! `ScenarioState`: the targets of a scenario, as a pure function of the board's data and the clock.

use std::collections::BTreeMap;
use std::time::Duration;

use wec_board::{ChangeTo, LoadUnit, Session, Target};
use wec_record::plan::RateUnit;

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
    /// `ramp` at each time since this node was ready.
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
    /// Follows `future` from an active time on; before the node was `ready` it was nothing.
    fn next(before: Option<Self>, future: Ramp, active: Duration, ready: Option<Duration>) -> Self {
        let ramp = match (before, ready) {
            (Some(before), _) if before.future == future => return before,
            (Some(before), _) => before.ramp.then(active, &future),
            (None, Some(ready)) if !ready.is_zero() => Ramp::constant(0.0).then(ready, &future),
            (None, _) => future.clone(),
        };
        Self { ramp, future }
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
        self.origin = session.status.began_unix_ns.zip(begins).map(|(began, begins)| {
            let since = signed(began, self.clock_unix_ns).saturating_add_unsigned(session.paused_ns());
            since.saturating_add_unsigned(begins).saturating_add_unsigned(nanoseconds(self.start_at))
        });
        self.paused_at = session.paused_since().map(|at| signed(at, self.clock_unix_ns));
        if let Some(target) = target {
            self.aim(target, now);
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
    /// divided. A target that moves is read off in steps, because each change of it wakes all scenarios.
    pub(super) fn demand(&self, now: u64) -> f64 {
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
        // Iterations due before this node was ready belong to other nodes.
        let ready = self.active_at(self.ready);
        // This node's part before another node joined or left stays as it was: arrivals are positions on it.
        let local = Followed::next(self.local.take(), future, active, ready);
        let ramp = local.ramp.clone();
        self.local = Some(local);
        if self.shared {
            let whole = self.ramp.until(self.run_time);
            self.of_all = Some(Followed::next(self.of_all.take(), whole, active_now, ready));
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
mod tests {
    use wec_board::{Board, By, Change, LiveValue, Pause, SessionState};

    use super::*;
    use crate::config::PlanOptions;
    use crate::share::tests::among;

    const SECOND: u64 = 1_000_000_000;

    fn state(options: PlanOptions) -> (ScenarioState, Session) {
        let plan = options.with("directory", "https://127.0.0.1:14000/dir").resolve(None).unwrap();
        // The clock's origin is 1000 s after the epoch; the session begins 100 s later.
        let mut session = plan.session("s");
        session.status.began_unix_ns = Some(1_100 * SECOND);
        (ScenarioState::new(&plan.scenarios[0], 1_000 * SECOND, 1_100 * SECOND), session)
    }

    fn paused(session: &mut Session, at: Option<u64>, paused_s: u64) {
        session.spec.state = if at.is_some() { SessionState::Paused } else { SessionState::Running };
        let pause = |from_unix_ns, until_unix_ns| Pause { from_unix_ns, until_unix_ns };
        let began = session.status.began_unix_ns.unwrap();
        session.spec.pauses = vec![pause(began, Some(began + paused_s * SECOND))];
        session.spec.pauses.extend(at.map(|at| pause((1_000 + at) * SECOND, None)));
    }

    fn staged_workers() -> (ScenarioState, Session) {
        state(PlanOptions::default().with("workers", "10").with("stages", "100s:110,0s:20,50s:20"))
    }

    /// Each value of the table has an effect here, for a scenario that has it.
    #[tokio::test]
    async fn every_value_that_can_be_changed_has_an_effect() {
        let loads = [[("workers", "50")], [("rate", "50/s")], [("fleet_certificates", "50")]];
        for row in LiveValue::all(true) {
            let mut tried = 0;
            for [(key, value)] in loads {
                let (mut state, session) = state(PlanOptions::default().with(key, value));
                let board = Board::local();
                board.put_session(session).await.unwrap();
                let shown = || board.session("s").borrow().clone().unwrap().value;
                state.see(&shown(), "default", 100 * SECOND);
                let before = format!("{state:?}");
                let sample = row.sample(&shown().spec.scenarios["default"]).unwrap();
                if board.change("s", Change::new(By::Page, sample)).await.is_err() {
                    continue;
                }
                state.see(&shown(), "default", 100 * SECOND);
                assert_ne!(format!("{state:?}"), before, "{} of a scenario with {key}", row.key);
                tried += 1;
            }
            assert!(tried > 0, "no scenario has {}", row.key);
        }
    }

    #[test]
    fn follows_its_stages_and_announces_each_once() {
        let (mut state, session) = staged_workers();
        for (at, workers, announced) in [
            (100, 10, Some(ChangeTo::Workers(110))),
            (101, 11, None),
            (150, 60, None),
            (200, 20, Some(ChangeTo::Workers(20))),
            (249, 20, None),
        ] {
            state.see(&session, "default", at * SECOND);
            assert_eq!(
                (state.workers(at * SECOND), state.stage_begun(at * SECOND)),
                (workers, announced),
                "{at}"
            );
            assert!(!state.is_over(at * SECOND));
        }
        assert!(state.is_over(250 * SECOND));
    }

    #[test]
    fn the_demand_of_a_moving_target_changes_in_steps() {
        let (mut state, mut session) = staged_workers();
        state.see(&session, "default", 100 * SECOND);
        // From 10 to 110 workers within 100 s, then 20.
        let demand = |state: &ScenarioState, s: f64| state.demand((s * 1e9) as u64);
        assert_eq!(
            [99.0, 100.0, 150.0, 150.2, 150.4].map(|s| demand(&state, s)),
            [0.0, 10.0, 60.0, 60.0, 60.0]
        );
        assert_eq!([151.0, 199.9, 200.0, 249.0].map(|s| demand(&state, s)), [61.0, 110.0, 20.0, 20.0]);
        let target = session.spec.scenarios.get_mut("default").unwrap();
        (target.workers, target.scheduled) = (500, false);
        state.see(&session, "default", 150 * SECOND);
        assert_eq!(demand(&state, 150.1), 500.0, "a change by a person counts at once");
        paused(&mut session, Some(160), 0);
        state.see(&session, "default", 160 * SECOND);
        assert_eq!(demand(&state, 161.0), 0.0);

        let options = PlanOptions::default().with("rate", "10/s").with("stages", "100s:110");
        let (mut state, session) = self::state(options);
        state.see(&session, "default", 100 * SECOND);
        let mut seen: Vec<_> = (0..1_000).map(|ms| demand(&state, 150.0 + f64::from(ms) / 1e3)).collect();
        seen.dedup();
        assert_eq!(seen, [60.0, 60.25, 60.5, 60.75]);
    }

    #[test]
    fn active_time_stops_in_a_pause() {
        let (mut state, mut session) = staged_workers();
        state.see(&session, "default", 110 * SECOND);
        paused(&mut session, Some(110), 0);
        state.see(&session, "default", 110 * SECOND);
        assert!(!state.runs(1_000 * SECOND) && !state.is_over(1_000 * SECOND));
        paused(&mut session, None, 1_000);
        state.see(&session, "default", 1_110 * SECOND);
        assert!(state.runs(1_110 * SECOND));
        assert_eq!(state.workers(1_111 * SECOND), 21);
        assert!(state.is_over(1_250 * SECOND));
    }

    #[test]
    fn a_persons_value_is_kept_and_ends_the_stages() {
        let (mut state, mut session) = staged_workers();
        state.see(&session, "default", 110 * SECOND);
        let target = session.spec.scenarios.get_mut("default").unwrap();
        (target.workers, target.scheduled) = (500, false);
        state.see(&session, "default", 110 * SECOND);
        assert_eq!(state.workers(110 * SECOND), 500);
        assert_eq!((state.workers(200 * SECOND), state.stage_begun(220 * SECOND)), (500, None));
    }

    #[test]
    fn a_changed_rate_takes_effect_where_the_schedule_is() {
        let (mut state, mut session) =
            state(PlanOptions::default().with("rate", "10/s").with("run_time", "60s"));
        let share = among("a", &["a"]);
        let share = NodePart::Share(&share);
        state.see(&session, "default", 100 * SECOND);
        assert_eq!(state.schedule(share, 100 * SECOND).unwrap().ramp.total(Duration::from_secs(100)), 600.0);
        session.spec.scenarios.get_mut("default").unwrap().rate = Some(20.0);
        state.see(&session, "default", 130 * SECOND);
        let ramp = state.schedule(share, 130 * SECOND).unwrap().ramp;
        assert_eq!((state.rate(131 * SECOND), ramp.total(Duration::from_secs(100))), (Some(20.0), 900.0));
    }

    #[test]
    fn the_target_of_all_nodes_goes_on_while_this_one_has_no_part() {
        let (mut state, session) = state(PlanOptions::default().with("rate", "10/s").with("run_time", "60s"));
        state.shared = true;
        let half = among("a", &["a", "b"]);
        state.see(&session, "default", 100 * SECOND);
        let schedule = state.schedule(NodePart::Share(&half), 100 * SECOND).unwrap();
        let asked = |schedule: &ArrivalSchedule, at: u64| {
            (
                schedule.asked(at * SECOND),
                schedule.asked_of_all(at * SECOND),
                schedule.rate_of_all(at * SECOND),
            )
        };
        assert_eq!(asked(&schedule, 110), (50.0, Some(100.0), Some(10.0)));
        let nothing = state.schedule(NodePart::Nothing { since: 120 * SECOND }, 125 * SECOND).unwrap();
        assert_eq!(asked(&nothing, 130), (100.0, Some(300.0), Some(10.0)));
        let back = state.schedule(NodePart::Share(&half), 140 * SECOND).unwrap();
        assert_eq!(asked(&back, 150), (150.0, Some(500.0), Some(10.0)));
        assert_eq!(asked(&back, 170), (200.0, Some(600.0), Some(0.0)), "until the run time is over");
        assert_eq!(asked(&back.ended(150 * SECOND), 170).1, Some(500.0));
    }

    #[test]
    fn the_requested_load_does_not_grow_in_a_pause_and_follows_a_change_at_once() {
        let options = PlanOptions::default().with("rate", "100 requests/s").with("run_time", "60s");
        let (mut state, mut session) = state(options);
        let share = among("a", &["a"]);
        let share = NodePart::Share(&share);
        let mut asked = |session: &Session, seen: u64, at: f64| {
            state.see(session, "default", seen * SECOND);
            state.schedule(share, seen * SECOND).unwrap().asked((at * 1e9) as u64)
        };
        assert_eq!([100.0, 102.5].map(|at| asked(&session, 100, at)), [0.0, 250.0]);
        paused(&mut session, Some(110), 0);
        assert_eq!([110.0, 119.9].map(|at| asked(&session, 110, at)), [1_000.0, 1_000.0]);
        paused(&mut session, None, 10);
        assert_eq!(asked(&session, 120, 121.0), 1_100.0);
        session.spec.scenarios.get_mut("default").unwrap().rate = Some(10.0);
        assert_eq!(asked(&session, 125, 135.0), 1_600.0);
        assert_eq!(asked(&session, 125, 500.0), 1_500.0 + 45.0 * 10.0, "it does not grow after the run time");
        state.see(&session, "default", 130 * SECOND);
        let ended = state.schedule(share, 130 * SECOND).unwrap().ended(130 * SECOND);
        assert_eq!(ended.asked(150 * SECOND), 1_550.0, "it does not grow after the stop");
    }

    #[test]
    fn a_joining_node_takes_a_part_of_future_arrivals_only() {
        let options = PlanOptions::default().with("rate", "10/s").with("run_time", "60s");
        let (mut state, session) = state(options);
        state.see(&session, "default", 100 * SECOND);
        let (alone, both) = (among("a", &["a"]), among("a", &["a", "b"]));
        let (alone, both) = (NodePart::Share(&alone), NodePart::Share(&both));
        let totals =
            |schedule: ArrivalSchedule| [20, 40, 60].map(|at| schedule.ramp.total(Duration::from_secs(at)));
        assert_eq!(totals(state.schedule(alone, 100 * SECOND).unwrap()), [200.0, 400.0, 600.0]);
        assert_eq!(totals(state.schedule(both, 120 * SECOND).unwrap()), [200.0, 300.0, 400.0]);
        assert_eq!(totals(state.schedule(both, 125 * SECOND).unwrap()), [200.0, 300.0, 400.0]);
        assert_eq!(totals(state.schedule(alone, 140 * SECOND).unwrap()), [200.0, 300.0, 500.0]);
    }

    #[test]
    fn each_node_has_the_whole_speed_of_a_fleet_and_other_members() {
        let options = PlanOptions::default().with("fleet_certificates", "100").with("fleet_speed", "5000");
        let (mut state, session) = state(options.with("run_time", "60s"));
        state.see(&session, "default", 100 * SECOND);
        // Both nodes together have 2000 workers.
        let (a, b) = (among("a", &["a", "b"]), among("b", &["a", "b"]));
        let schedule = state.schedule(NodePart::Share(&a), 100 * SECOND).unwrap();
        assert_eq!(
            (schedule.ramp.total(Duration::from_secs(60)), schedule.ramp.at(Duration::ZERO)),
            (3e5, 5e3)
        );
        assert_eq!(state.rate_of(NodePart::Share(&a), 100 * SECOND), Some(5e3));
        assert_eq!(state.demand(100 * SECOND), 0.0, "other scenarios have all workers");
        let other = state.schedule(NodePart::Share(&b), 100 * SECOND).unwrap();
        let due = 101 * SECOND;
        let has =
            |schedule: &ArrivalSchedule| (1..=50).filter(|number| schedule.members.has(*number, due)).count();
        assert_eq!((has(&schedule) + has(&other), has(&schedule) > 0), (50, true));
        // Without a part its clock goes on, and what is due then is others'.
        let nothing = state.schedule(NodePart::Nothing { since: 110 * SECOND }, 110 * SECOND).unwrap();
        assert_eq!((nothing.ramp.total(Duration::from_secs(60)), has(&nothing)), (3e5, 0));
        let back = state.schedule(NodePart::Share(&a), 120 * SECOND).unwrap();
        assert_eq!(has(&back), 0, "due before it was back");
        assert!((1..=50).any(|number| back.members.has(number, 121 * SECOND)));
    }

    #[test]
    fn a_node_that_had_to_stop_does_not_catch_up() {
        let options = PlanOptions::default().with("rate", "10/s").with("run_time", "60s");
        let (mut state, session) = state(options);
        state.see(&session, "default", 100 * SECOND);
        let share = among("a", &["a"]);
        let share = NodePart::Share(&share);
        let nothing = |since: u64| NodePart::Nothing { since: since * SECOND };
        assert_eq!(state.schedule(nothing(90), 100 * SECOND), None, "it had no part yet");
        let totals =
            |schedule: ArrivalSchedule| [20, 40, 60].map(|at| schedule.ramp.total(Duration::from_secs(at)));
        assert_eq!(totals(state.schedule(share, 100 * SECOND).unwrap()), [200.0, 400.0, 600.0]);
        // It was stopped, and sees only at 130 s that its right has ended at 110 s.
        assert_eq!(totals(state.schedule(nothing(110), 130 * SECOND).unwrap()), [100.0, 100.0, 100.0]);
        assert_eq!(totals(state.schedule(nothing(110), 135 * SECOND).unwrap()), [100.0, 100.0, 100.0]);
        assert_eq!(totals(state.schedule(share, 140 * SECOND).unwrap()), [100.0, 100.0, 300.0]);
    }

    /// The second of two nodes, on a machine whose clock began 1050 s after the epoch; ready at once.
    fn late(options: PlanOptions) -> (ScenarioState, Session) {
        let (state, mut session) = state(options);
        let ready = 1_050 * SECOND;
        session.status.began_unix_ns = Some(1_000 * SECOND);
        (ScenarioState { clock_unix_ns: ready, ready: 0, ..state }, session)
    }

    #[test]
    fn a_node_that_joins_late_starts_in_the_middle_of_a_ramp() {
        let options = PlanOptions::default().with("workers", "10").with("stages", "100s:110,0s:20,50s:20");
        let (mut state, session) = late(options);
        for (at, workers) in [(0, 60), (10, 70), (50, 20)] {
            state.see(&session, "default", at * SECOND);
            assert_eq!(state.workers(at * SECOND), workers, "{at}");
        }
        assert!(!state.is_over(99 * SECOND) && state.is_over(100 * SECOND));
    }

    #[test]
    fn a_node_that_joins_late_does_not_catch_up() {
        let options = PlanOptions::default().with("rate", "10/s").with("run_time", "60s");
        let (mut state, mut session) = late(options);
        paused(&mut session, None, 20);
        state.see(&session, "default", 0);
        let schedule = state.schedule(NodePart::Share(&among("b", &["a", "b"])), 0).unwrap();
        assert_eq!(schedule.origin, -30 * SECOND as i64);
        assert_eq!(
            [30, 40, 60, 99].map(|at| schedule.ramp.total(Duration::from_secs(at))),
            [0.0, 50.0, 150.0, 150.0]
        );
    }

    #[test]
    fn a_scenario_after_another_begins_at_the_time_on_the_board() {
        let (state, mut session) = staged_workers();
        let mut state = ScenarioState { follows: true, ..state };
        state.see(&session, "default", 150 * SECOND);
        assert!(!state.runs(150 * SECOND) && !state.is_over(10_000 * SECOND));
        session.status.scenarios.entry("default".into()).or_default().begins_ns = Some(40 * SECOND);
        state.see(&session, "default", 150 * SECOND);
        assert_eq!(state.workers(150 * SECOND), 20);
    }

    #[test]
    fn wakes_for_the_next_change_of_its_schedule() {
        let (mut state, session) = staged_workers();
        state.see(&session, "default", 100 * SECOND);
        state.stage_begun(100 * SECOND);
        assert_eq!(state.next_look(100 * SECOND), STEP);
        assert_eq!(state.next_look(200 * SECOND - 20_000_000), Duration::from_millis(20));
        assert_eq!(state.next_look(5_000 * SECOND), STEADY);
    }
}
