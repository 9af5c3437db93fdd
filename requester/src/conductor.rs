//! Who leads one scenario: from the board's session, this node's share of it and active time to what executors follow.
//!
//! | the session says | the scenario |
//! | --- | --- |
//! | running | follows its stages, or what a person has set instead, until its run time is over |
//! | paused | starts nothing; its active time stands still, and with it stages and run time |
//! | stopped | ends, and the run with it |
//!
//! Several nodes lead the same scenario at the same time, each its share; the stages' marks are made once, because a change
//! to what is so already is none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use wec_acme::Clock;
use wec_board::{Board, By, Change, ChangeTo, Session, SessionState, Target, Versioned};
use wec_startup::Stop;

use crate::executor::{Course, Gauges};
use crate::pace::Ramp;
use crate::picker::LiveWeights;
use crate::scenario::Scenario;
use crate::share::Share;

/// How often a number of workers is brought up to its ramp.
const STEP: Duration = Duration::from_millis(50);
/// The longest time between two looks, so that what is shown of a ramp is up to date.
const LOOK: Duration = Duration::from_millis(250);

/// What executors of one scenario follow, on every runtime.
pub(crate) struct Lead {
    /// For executors that keep workers.
    pub(crate) workers: watch::Sender<u32>,
    /// For executors that keep a rate.
    pub(crate) course: watch::Sender<Arc<Course>>,
    /// What its users weigh chains by.
    pub(crate) weights: Arc<LiveWeights>,
    /// What is counted, and the targets beside it.
    pub(crate) gauges: Arc<Gauges>,
    /// The scenario's own.
    pub(crate) stop: Stop,
}

/// Leads one scenario.
pub(crate) struct Conductor {
    pub(crate) scenario: Scenario,
    pub(crate) lead: Lead,
    pub(crate) board: Board,
    pub(crate) session: String,
    pub(crate) node: String,
    pub(crate) clock: Clock,
    pub(crate) graceful_stop: Duration,
    /// The scenarios whose last iteration has ended.
    pub(crate) ended: watch::Receiver<BTreeSet<String>>,
}

impl Conductor {
    /// Leads until the scenario's last iteration has ended.
    pub(crate) async fn run(mut self) {
        if self.wait_for_its_turn().await {
            self.conduct().await;
        }
        self.lead.stop.finish.cancel();
        self.lead.workers.send_if_modified(|workers| std::mem::replace(workers, 0) != 0);
        let name = self.scenario.name.clone();
        let last = self.ended.wait_for(|ended| ended.contains(&name));
        if tokio::time::timeout(self.graceful_stop, last).await.is_err() {
            self.lead.stop.cut.cancel();
        }
    }

    /// Whether the scenario before this one has ended, rather than the run.
    async fn wait_for_its_turn(&mut self) -> bool {
        let Some(before) = self.scenario.after.clone() else { return true };
        tokio::select! {
            ended = self.ended.wait_for(|ended| ended.contains(&before)) => ended.is_ok(),
            () = self.lead.stop.finish.cancelled() => false,
        }
    }

    async fn conduct(&mut self) {
        let mut session = self.board.session(&self.session);
        let mut nodes = self.board.nodes();
        let mut ended = self.ended.clone();
        let finish = self.lead.stop.finish.clone();
        let mut score = Score::new(&self.scenario, self.clock.now());
        loop {
            let now = self.clock.now();
            let share = Share::new(&self.node, &nodes.borrow_and_update());
            let seen = session.borrow_and_update().clone();
            // A session that nobody can see any more keeps the load that it had.
            if let Some(Versioned { value, .. }) = seen {
                score.see(&value, &self.scenario.name, now);
            }
            self.publish(&mut score, &share, now);
            if score.is_over(now) || ended.borrow().contains(&self.scenario.name) {
                return;
            }
            if let Some(change) = score.stage_begun(now) {
                self.announce(change).await;
                continue;
            }
            tokio::select! {
                _ = session.changed() => {}
                _ = nodes.changed() => {}
                _ = ended.changed() => {}
                () = sleep(score.next_look(now)) => {}
                () = finish.cancelled() => return,
            }
        }
    }

    fn publish(&self, score: &mut Score, share: &Share, now: u64) {
        let Lead { workers, course, weights, gauges, .. } = &self.lead;
        weights.set(self.scenario.weights.with(&score.weights));
        let count = share.of(score.workers(now));
        gauges.set_workers_target(count.into());
        gauges.set_rate_target(score.rate(now).map(|rate| rate * share.fraction()));
        let keeps = if score.runs(now) { count } else { 0 };
        workers.send_if_modified(|workers| std::mem::replace(workers, keeps) != keeps);
        if let Some(next) = score.course(share, now) {
            course.send_if_modified(|course| {
                let modified = **course != next;
                if modified {
                    *course = Arc::new(next);
                }
                modified
            });
        }
    }

    /// Tells the board what the stage that begins leads to.
    async fn announce(&self, change: ChangeTo) {
        let change = Change::new(By::Schedule, change).of(&self.scenario.name);
        if let Err(error) = self.board.change(&self.session, change).await {
            tracing::warn!(%error, "a stage's beginning is not marked");
        }
    }
}

/// Where a scenario stands: a pure function of what was seen and of the clock.
#[derive(Debug)]
struct Score {
    /// What stages, or people, make of the number of workers (closed executors) or of the rate (open ones).
    ramp: Ramp,
    /// Whether `ramp` is of a rate.
    open: bool,
    /// Workers at most, of open executors.
    cap: u32,
    run_time: Duration,
    /// When the scenario's active time was 0, nanoseconds of the clock; ahead of it before it starts.
    origin: u64,
    paused_at: Option<u64>,
    scheduled: bool,
    weights: BTreeMap<String, f64>,
    /// Each stage's beginning and what it leads to.
    stages: Vec<(Duration, f64)>,
    announced: usize,
    /// This node's part of `ramp`, as it was at each time.
    mine: Option<Mine>,
}

#[derive(Debug)]
struct Mine {
    ramp: Ramp,
    /// What it was last made to follow.
    future: Ramp,
}

impl Score {
    fn new(scenario: &Scenario, now: u64) -> Self {
        let load = &scenario.load;
        let rate = load.rate();
        let mut at = Duration::ZERO;
        let stages = load.stages().iter().map(|stage| {
            let begins = at;
            at += stage.duration;
            (begins, stage.target)
        });
        Self {
            stages: stages.collect(),
            open: rate.is_some(),
            cap: load.workers().at(Duration::ZERO) as u32,
            ramp: rate.unwrap_or_else(|| load.workers()),
            run_time: scenario.run_time,
            origin: now.saturating_add(nanoseconds(scenario.start_at)),
            paused_at: None,
            scheduled: !load.stages().is_empty(),
            weights: BTreeMap::new(),
            announced: 0,
            mine: None,
        }
    }

    /// Active time, or none before the start.
    fn active(&self, now: u64) -> Option<Duration> {
        self.paused_at.unwrap_or(now).checked_sub(self.origin).map(Duration::from_nanos)
    }

    /// Takes in what the board says.
    fn see(&mut self, session: &Session, scenario: &str, now: u64) {
        match (session.state, self.paused_at) {
            (SessionState::Paused, None) => self.paused_at = Some(now),
            (SessionState::Running, Some(since)) => {
                self.origin = self.origin.saturating_add(now.saturating_sub(since));
                self.paused_at = None;
            }
            _ => {}
        }
        // A session that others opened may not have this scenario: it goes by its plan then.
        if let Some(target) = session.scenarios.get(scenario) {
            self.aim(target, now);
        }
    }

    fn aim(&mut self, target: &Target, now: u64) {
        let active = self.active(now).unwrap_or_default();
        let value = if self.open { target.rate.unwrap_or_default() } else { f64::from(target.workers) };
        if !target.scheduled && (self.scheduled || self.ramp.held() != value) {
            self.ramp = self.ramp.then_hold(active, value);
            self.scheduled = false;
        }
        self.cap = target.workers;
        self.weights.clone_from(&target.weights);
    }

    /// Workers now: how many, or how many at most.
    fn workers(&self, now: u64) -> u32 {
        match self.active(now) {
            _ if self.open => self.cap,
            Some(active) => self.ramp.at(active).round() as u32,
            None => 0,
        }
    }

    fn rate(&self, now: u64) -> Option<f64> {
        self.open.then(|| self.active(now).map_or(0.0, |active| self.ramp.at(active)))
    }

    fn runs(&self, now: u64) -> bool {
        self.paused_at.is_none() && self.active(now).is_some()
    }

    fn course(&mut self, share: &Share, now: u64) -> Option<Course> {
        if !self.open {
            return None;
        }
        let (part, active) = (share.fraction(), self.active(now).unwrap_or_default());
        let future = self.ramp.until(self.run_time).scaled(part);
        // What was this node's part before another joined, or left, stays what was due here: arrivals are positions on it.
        let mine = self.mine.take_if(|mine| mine.future == future).unwrap_or_else(|| {
            let ramp =
                self.mine.as_ref().map_or_else(|| future.clone(), |mine| mine.ramp.then(active, &future));
            Mine { ramp, future }
        });
        let ramp = mine.ramp.clone();
        self.mine = Some(mine);
        Some(Course {
            ramp,
            origin: self.origin,
            paused: self.paused_at.is_some(),
            workers_cap: share.of(self.cap),
        })
    }

    fn is_over(&self, now: u64) -> bool {
        self.active(now).is_some_and(|active| active >= self.run_time)
    }

    /// What the stage that has begun since this was asked last leads to.
    fn stage_begun(&mut self, now: u64) -> Option<ChangeTo> {
        let active = self.active(now)?;
        let begun = self.stages.iter().take_while(|(begins, _)| *begins <= active).count();
        if !self.scheduled || begun <= self.announced {
            return None;
        }
        self.announced = begun;
        let (_, target) = self.stages[begun - 1];
        Some(if self.open { ChangeTo::Rate(target) } else { ChangeTo::Workers(target.round() as u32) })
    }

    fn next_look(&self, now: u64) -> Duration {
        let Some(active) = self.active(now) else {
            return Duration::from_nanos(self.origin - now).min(LOOK).max(Duration::from_millis(1));
        };
        let moves = active < self.ramp.end();
        let step = if moves && !self.open { STEP } else { LOOK };
        let next_stage = self.stages.get(self.announced).map(|(begins, _)| *begins);
        let events = [Some(self.run_time), next_stage.filter(|_| self.scheduled)];
        let until = events.into_iter().flatten().filter_map(|event| event.checked_sub(active)).min();
        until.unwrap_or(step).min(step).max(Duration::from_millis(1))
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::PlanOptions;

    const SECOND: u64 = 1_000_000_000;

    fn score(options: PlanOptions) -> (Score, Session) {
        let directory = Some("https://127.0.0.1:14000/dir".into());
        let plan = PlanOptions { directory, ..options }.resolve(None).unwrap();
        (Score::new(&plan.scenarios[0], 100 * SECOND), plan.session("s"))
    }

    fn staged_workers() -> (Score, Session) {
        let workers = Some("10".into());
        score(PlanOptions { workers, stages: Some("100s:110,0s:20,50s:20".into()), ..PlanOptions::default() })
    }

    #[test]
    fn follows_its_stages_and_announces_each_once() {
        let (mut score, session) = staged_workers();
        for (at, workers, announced) in [
            (100, 10, Some(ChangeTo::Workers(110))),
            (101, 11, None),
            (150, 60, None),
            (200, 20, Some(ChangeTo::Workers(20))),
            (249, 20, None),
        ] {
            score.see(&session, "default", at * SECOND);
            assert_eq!(
                (score.workers(at * SECOND), score.stage_begun(at * SECOND)),
                (workers, announced),
                "{at}"
            );
            assert!(!score.is_over(at * SECOND));
        }
        assert!(score.is_over(250 * SECOND));
    }

    #[test]
    fn a_pause_makes_time_stand_still() {
        let (mut score, mut session) = staged_workers();
        score.see(&session, "default", 110 * SECOND);
        session.state = SessionState::Paused;
        score.see(&session, "default", 110 * SECOND);
        assert!(!score.runs(1_000 * SECOND) && !score.is_over(1_000 * SECOND));
        session.state = SessionState::Running;
        score.see(&session, "default", 1_110 * SECOND);
        assert!(score.runs(1_110 * SECOND));
        assert_eq!(score.workers(1_111 * SECOND), 21);
        assert!(score.is_over(1_250 * SECOND));
    }

    #[test]
    fn what_a_person_sets_holds_and_ends_the_stages() {
        let (mut score, mut session) = staged_workers();
        score.see(&session, "default", 110 * SECOND);
        let target = session.scenarios.get_mut("default").unwrap();
        (target.workers, target.scheduled) = (500, false);
        score.see(&session, "default", 110 * SECOND);
        assert_eq!(score.workers(110 * SECOND), 500);
        assert_eq!((score.workers(200 * SECOND), score.stage_begun(220 * SECOND)), (500, None));
    }

    #[test]
    fn a_changed_rate_takes_effect_where_the_schedule_is() {
        let (mut score, mut session) = score(PlanOptions {
            rate: Some("10/s".into()),
            run_time: Some("60s".into()),
            ..PlanOptions::default()
        });
        let share = Share::new("a", &[]);
        score.see(&session, "default", 100 * SECOND);
        assert_eq!(score.course(&share, 100 * SECOND).unwrap().ramp.total(Duration::from_secs(100)), 600.0);
        session.scenarios.get_mut("default").unwrap().rate = Some(20.0);
        score.see(&session, "default", 130 * SECOND);
        let ramp = score.course(&share, 130 * SECOND).unwrap().ramp;
        assert_eq!((score.rate(131 * SECOND), ramp.total(Duration::from_secs(100))), (Some(20.0), 900.0));
    }

    #[test]
    fn a_node_that_joins_takes_a_part_of_what_comes_and_not_of_what_was() {
        let options =
            PlanOptions { rate: Some("10/s".into()), run_time: Some("60s".into()), ..PlanOptions::default() };
        let (mut score, session) = score(options);
        score.see(&session, "default", 100 * SECOND);
        let node = |id: &str| wec_board::NodeInfo {
            id: id.to_owned(),
            name: id.to_owned(),
            kind: wec_board::NodeKind::Requester,
            workers: 1_000,
        };
        let (alone, both) = (Share::new("a", &[node("a")]), Share::new("a", &[node("a"), node("b")]));
        let totals = |course: Course| [20, 40, 60].map(|at| course.ramp.total(Duration::from_secs(at)));
        assert_eq!(totals(score.course(&alone, 100 * SECOND).unwrap()), [200.0, 400.0, 600.0]);
        assert_eq!(totals(score.course(&both, 120 * SECOND).unwrap()), [200.0, 300.0, 400.0]);
        assert_eq!(totals(score.course(&both, 125 * SECOND).unwrap()), [200.0, 300.0, 400.0]);
        assert_eq!(totals(score.course(&alone, 140 * SECOND).unwrap()), [200.0, 300.0, 500.0]);
    }

    #[test]
    fn looks_again_when_something_is_to_happen() {
        let (mut score, session) = staged_workers();
        score.see(&session, "default", 100 * SECOND);
        score.stage_begun(100 * SECOND);
        assert_eq!(score.next_look(100 * SECOND), STEP);
        assert_eq!(score.next_look(200 * SECOND - 20_000_000), Duration::from_millis(20));
    }
}
