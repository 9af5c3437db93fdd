//! The conductor of one scenario. It reads the session on the board and this node's share, computes the active
//! time, and passes targets to the executors.
//!
//! | state of the session | effect on the scenario |
//! | --- | --- |
//! | running | follows its stages, or the value that a person has set, until its run time is over |
//! | paused | starts nothing; its active time stops, and with it stages and run time |
//! | stopped | ends, and the run ends with it |
//!
//! Several nodes conduct the same scenario at the same time, each with its share. A stage is marked once, because
//! a change to the present value is not written. Active time counts for all nodes from one moment, which the first
//! node that is ready writes to the board ([ADR 20](../../docs/adr/0020-one-origin-for-all-nodes.md)). Nodes that
//! share a load start nothing that was due before they saw it, so this moment lies ahead
//! ([ADR 170](../../docs/adr/0170-a-shared-run-begins-ahead.md)). A node that joins later continues the schedule at the
//! present active time.

mod iterations;
mod standing;
mod state;

use std::collections::BTreeSet;
use std::future::pending;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::task::AbortOnDropHandle;
use wec_acme::Clock;
use wec_board::{Board, By, Change, ChangeTo, LoadUnit, RunRef, SendRight, Session, Versioned};
use wec_startup::Stop;

use crate::executor::{ArrivalSchedule, Gauges, Quota};
use crate::permit::Permit;
use crate::picker::LiveWeights;
use crate::scenario::Scenario;
use crate::share::NodePart;
use standing::OwnPart;
pub(crate) use standing::{Acknowledged, Demands};
use state::ScenarioState;

/// Interval of checks for returned iterations, or for an unreachable board.
const AGAIN: Duration = Duration::from_millis(500);
/// How long before its begin a shared run is written to the board, and the same for a scenario that waited: all nodes
/// then see it in time. A write to etcd on a busy machine took 120 ms.
const BEGINS_AHEAD: Duration = Duration::from_millis(500);
/// Difference of two machines' clocks that is not reported.
const CLOCKS: Duration = Duration::from_secs(1);
/// Time limit for each of the last writes to the board: stage marks, the end, the used iterations.
const SETTLE: Duration = Duration::from_secs(5);

/// What the executors of one scenario follow, on every runtime.
pub(crate) struct ScenarioChannels {
    /// For executors with a number of workers.
    pub(crate) workers: watch::Sender<u32>,
    /// For executors with a rate.
    pub(crate) schedule: watch::Sender<Arc<ArrivalSchedule>>,
    /// The weights of its users.
    pub(crate) weights: Arc<LiveWeights>,
    /// The events of a fleet that were given during the run, in order.
    pub(crate) events: watch::Sender<Arc<Vec<String>>>,
    /// The counters, with the targets.
    pub(crate) gauges: Arc<Gauges>,
    /// The source of iterations, if their number is fixed.
    pub(crate) quota: Option<Arc<Quota>>,
    /// Whether its executors may start iterations.
    pub(crate) permit: Arc<Permit>,
    /// The scenario's stop signals.
    pub(crate) stop: Stop,
}

/// Conducts one scenario.
pub(crate) struct Conductor {
    pub(crate) scenario: Scenario,
    pub(crate) channels: ScenarioChannels,
    pub(crate) board: Board,
    pub(crate) run: RunRef,
    pub(crate) node: String,
    pub(crate) right: SendRight,
    pub(crate) acknowledged: Arc<Acknowledged>,
    /// The targets of all scenarios of the session.
    pub(crate) demands: Arc<Demands>,
    pub(crate) clock: Clock,
    pub(crate) graceful_stop: Duration,
    /// The scenarios that start no more iterations.
    pub(crate) over: Arc<watch::Sender<BTreeSet<String>>>,
    /// The scenarios whose last iteration has ended.
    pub(crate) ended: watch::Receiver<BTreeSet<String>>,
    /// When this node got its first share of the load, nanoseconds since the Unix epoch. It is one time for all
    /// scenarios: each drops what was due before, and the first of them begins the run.
    pub(crate) ready_unix_ns: Arc<OnceLock<u64>>,
}

impl Conductor {
    /// Conducts the scenario until its last iteration has ended.
    pub(crate) async fn run(mut self) {
        let mut time_is_over = false;
        let (announced, announcing) = self.announcer();
        if self.wait_for_its_turn().await
            && let Some(ready_unix_ns) = self.begin().await
        {
            let providing = async {
                if let Some(quota) = &self.channels.quota {
                    self.provide(quota).await;
                }
                pending::<()>().await
            };
            tokio::select! {
                () = self.conduct(ready_unix_ns, &announced) => {}
                () = providing => {}
            }
            time_is_over = !self.channels.stop.finish.is_cancelled();
        }
        self.channels.stop.finish.cancel();
        self.clear_targets();
        drop(announced);
        let recorded = async {
            // Changes of a scenario that has ended are refused, so its last stage is marked before.
            if timeout(SETTLE, announcing).await.is_err() {
                tracing::debug!("writing the start of the last stages to the board took too long");
            }
            if time_is_over {
                self.record_end().await;
            }
        };
        tokio::join!(recorded, self.wait_for_the_last());
        if let Some(quota) = &self.channels.quota {
            let left = self.settle(quota).await;
            if let Some(left) = left.filter(|left| time_is_over && *left > 0) {
                let way_out = match self.channels.gauges.idle() {
                    0 => "give a longer --run-time",
                    _ => {
                        "limits and weights left nothing to run at times; raise these, or give a longer --run-time"
                    }
                };
                tracing::warn!(
                    scenario = self.scenario.name,
                    "{left} of {} iterations were not started before the run time of {} was over: {way_out}",
                    self.scenario.load.iterations().unwrap_or_default(),
                    humantime::format_duration(self.scenario.run_time)
                );
            }
        }
    }

    /// Waits until its last iteration has ended or was interrupted.
    async fn wait_for_the_last(&self) {
        let name = &self.scenario.name;
        let mut ended = self.ended.clone();
        if timeout(self.graceful_stop, ended.wait_for(|ended| ended.contains(name))).await.is_err() {
            self.channels.stop.cut.cancel();
            // The sender is gone, which is reported elsewhere.
            let _ = ended.wait_for(|ended| ended.contains(name)).await;
        }
    }

    /// From now on no more iterations start, and no target is shown.
    fn clear_targets(&self) {
        let ScenarioChannels { workers, schedule, gauges, .. } = &self.channels;
        let now = self.clock.now();
        schedule.send_modify(|schedule| *schedule = Arc::new(schedule.ended(now)));
        workers.send_if_modified(|workers| std::mem::replace(workers, 0) != 0);
        gauges.set_workers_target(0);
        if gauges.worker_seconds.until(now).is_some() {
            gauges.worker_seconds.set((now, 0), (now, 0));
        }
        gauges.set_rate_target(gauges.rate_target().map(|_| 0.0));
        self.acknowledged.ended(&self.scenario.name);
        self.demands.set(&self.scenario.name, LoadUnit::Workers, 0.0);
        self.over.send_if_modified(|over| over.insert(self.scenario.name.clone()));
    }

    /// Records that it has ended, so that later changes of it are refused. If the board is unreachable, they
    /// are not refused.
    async fn record_end(&self) {
        let ended = self.board.end_scenario(&self.run, &self.scenario.name, &self.node);
        match timeout(SETTLE, ended).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(%error, "cannot write to the board that a scenario has ended"),
            Err(_) => tracing::debug!("a scenario has ended, but writing that to the board took too long"),
        }
    }

    /// Begins the active time of the session, or of the scenario after another one, unless another node has
    /// begun it; returns when this node was ready. None when the run ends first.
    async fn begin(&self) -> Option<u64> {
        let mut shares = self.board.shares(&self.run.session);
        let registration = || self.right.standing().borrow().registration;
        let shown = shares.wait_for(|shares| shares.share(&self.node, registration()).is_some());
        // The other nodes count on this node from its first share on.
        let _ = self.channels.stop.finish.run_until_cancelled(shown).await?;
        let ready_unix_ns = *self.ready_unix_ns.get_or_init(|| self.clock.unix_now_ns());
        let ahead = if self.right.ends() { BEGINS_AHEAD } else { Duration::ZERO };
        let soon = |unix_ns: u64| unix_ns.saturating_add(u64::try_from(ahead.as_nanos()).unwrap_or(u64::MAX));
        let (run, name) = (&self.run, &self.scenario.name);
        let begun = |session: &Session| {
            let here = session.status.scenarios.get(name).is_some_and(|status| status.begins_ns.is_some());
            session.status.began_unix_ns.is_some() && (self.scenario.after.is_none() || here)
        };
        let session = self.board.session(&run.session);
        let mut told = false;
        loop {
            let shown = session.borrow().clone();
            if let Some(shown) =
                shown.filter(|shown| shown.value.status.run == run.run && begun(&shown.value))
            {
                let wait = shown.value.status.began_unix_ns.unwrap_or_default().saturating_sub(ready_unix_ns);
                if Duration::from_nanos(wait) > CLOCKS + ahead {
                    tracing::warn!(
                        "by this machine's clock the run will begin in {} s although it has begun: set the clocks of all \
                         machines (NTP)",
                        wait / 1_000_000_000
                    );
                }
                return Some(ready_unix_ns);
            }
            let begin = async {
                let session = self.board.begin(run, soon(ready_unix_ns)).await?;
                if self.scenario.after.is_none() {
                    return Ok(session);
                }
                self.board.begin_scenario(run, name, soon(self.clock.unix_now_ns())).await
            };
            match self.channels.stop.finish.run_until_cancelled(begin).await? {
                // A scenario that the session does not have, because others created it, uses this node's own
                // time.
                Ok(_) => return Some(ready_unix_ns),
                Err::<_, wec_board::BoardError>(error) if !told => {
                    tracing::warn!(%error, "a scenario cannot begin while the board cannot be reached");
                    told = true;
                }
                Err(_) => {}
            }
            self.channels.stop.finish.run_until_cancelled(sleep(AGAIN)).await?;
        }
    }

    /// Whether the scenario before this one has ended, and not the run.
    async fn wait_for_its_turn(&mut self) -> bool {
        let Some(before) = self.scenario.after.clone() else { return true };
        tokio::select! {
            ended = self.ended.wait_for(|ended| ended.contains(&before)) => ended.is_ok(),
            () = self.channels.stop.finish.cancelled() => false,
        }
    }

    async fn conduct(&self, ready_unix_ns: u64, announced: &mpsc::Sender<ChangeTo>) {
        let mut session = self.board.session(&self.run.session);
        let mut shares = self.board.shares(&self.run.session);
        let (mut nodes, mut places) = (self.board.nodes(), self.board.places());
        let mut standing = self.right.standing();
        let mut ended = self.ended.clone();
        let finish = self.channels.stop.finish.clone();
        let mut state = ScenarioState::new(&self.scenario, self.clock.origin_unix_ns(), ready_unix_ns);
        state.shared = self.right.ends();
        let mut own = OwnPart::new(&self.node, state.unit);
        let mut demands = self.demands.follow();
        loop {
            let now = self.clock.now();
            // Seen before they are read, so that no change is missed.
            nodes.mark_unchanged();
            places.mark_unchanged();
            // If the session is not visible, or is another run by now, the load is unchanged.
            if let Some(Versioned { value, .. }) = session.borrow_and_update().as_ref()
                && value.status.run == self.run.run
            {
                state.see(value, &self.scenario.name, now);
            }
            let target = state.demand(now);
            self.demands.set(&self.scenario.name, state.unit, target);
            // Its own change needs no further look.
            demands.mark_unchanged();
            let of_session = (target, self.demands.of_others(&self.scenario.name, state.unit));
            let stands = *standing.borrow_and_update();
            let part = {
                let shares = shares.borrow_and_update();
                let shown = (stands, &*shares, &self.board.quorum(&self.run.session));
                own.see(shown, of_session, self.clock, now)
            };
            if let Some(part) = part {
                self.publish(&mut state, part, now);
            }
            let until_end = stands.ends.filter(|_| !stands.has_ended()).map(|ends| ends.instant());
            if state.is_over(now) || ended.borrow().contains(&self.scenario.name) {
                return;
            }
            if let Some(change) = state.stage_begun(now) {
                // Writing to an unreachable board waits; the load does not wait for it. The queue has a place for
                // each stage, so only a panic of the task can refuse it, which the panic hook has reported.
                let _ = announced.try_send(change);
                continue;
            }
            tokio::select! {
                _ = session.changed() => {}
                _ = shares.changed() => {}
                _ = standing.changed() => {}
                _ = demands.changed() => {}
                _ = nodes.changed() => {}
                _ = places.changed() => {}
                () = end_of(until_end) => {}
                _ = ended.changed() => {}
                () = sleep(state.next_look(now)) => {}
                () = finish.cancelled() => return,
            }
        }
    }

    fn publish(&self, state: &mut ScenarioState, part: NodePart<'_>, now: u64) {
        let ScenarioChannels { workers, schedule, weights, events, gauges, quota, permit, .. } =
            &self.channels;
        weights.set(self.scenario.weights.with(&state.weights));
        events.send_if_modified(|events| {
            let more = state.events.len() > events.len();
            if more {
                *events = Arc::new(state.events.clone());
            }
            more
        });
        let wanted = state.workers(now);
        let count = if state.keeps_rate { part.workers_cap(wanted) } else { part.of(wanted) };
        gauges.set_workers_target(count.into());
        gauges.set_rate_target(state.rate_of(part, now));
        permit.set_registration(part.registration());
        let keeps = if state.runs(now) { count } else { 0 };
        if state.shared && !state.keeps_rate && quota.is_none() {
            let since = part.nothing_since().unwrap_or(now);
            let of_all = if state.runs(now) { wanted } else { 0 };
            gauges.worker_seconds.set((now, of_all), (since, keeps));
        }
        workers.send_if_modified(|workers| std::mem::replace(workers, keeps) != keeps);
        if let Some(quota) = quota {
            quota.keep(keeps.into());
        }
        if let Some(next) = state.schedule(part, now) {
            schedule.send_if_modified(|schedule| {
                let modified = **schedule != next;
                if modified {
                    *schedule = Arc::new(next);
                }
                modified
            });
        }
        if let NodePart::Share(share) = part {
            self.acknowledged.follows(&self.scenario.name, share);
        }
    }

    /// Starts a task that writes the start of each stage to the board, in order. It ends after the sender is
    /// dropped, when the queue is empty.
    fn announcer(&self) -> (mpsc::Sender<ChangeTo>, AbortOnDropHandle<()>) {
        let (announced, mut stages) = mpsc::channel(self.scenario.load.stages().len().max(1));
        let (board, session) = (self.board.clone(), self.run.session.clone());
        let scenario = self.scenario.name.clone();
        let announcing = tokio::spawn(async move {
            while let Some(stage) = stages.recv().await {
                let change = Change::new(By::Schedule, stage).of(&scenario);
                if let Err(error) = board.change(&session, change).await {
                    tracing::warn!(%error, "the start of a stage is not marked");
                }
            }
        });
        (announced, AbortOnDropHandle::new(announcing))
    }
}

/// Waits until the right to send ends; pending forever if it does not.
async fn end_of(right: Option<Instant>) {
    match right {
        Some(ends) => sleep_until(ends).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use wec_board::NodeId;

    use super::*;
    use crate::config::Settings;
    use crate::config::plan::{Decided, plan};
    use crate::membership::SessionMembership;
    use crate::pace::Ramp;
    use crate::picker::LiveWeights;
    use crate::share::MemberShare;

    /// As on a busy machine with many scenarios.
    #[tokio::test(start_paused = true)]
    async fn a_scenario_that_begins_late_starts_what_was_due_since_the_run_began() {
        let mut settings = Settings::default();
        settings.text(
            "load.toml",
            "directory = \"https://127.0.0.1:14000/dir\"\nrun_time = \"60s\"\n[scenarios.a]\nrate = 10\n[scenarios.b]\nrate = 10\n",
        );
        let plan = plan(&mut settings, Decided::default(), None);
        settings.finish().unwrap();
        let (board, clock) = (Board::local(), Clock::start());
        let session = plan.session("s");
        let mut membership =
            SessionMembership::take(&board, session.of_run("run"), &NodeId::new("n")).await.unwrap();
        membership.ready();
        let (over, (tell_ended, ended)) = (Arc::default(), watch::channel(BTreeSet::new()));
        let node = board.nodes().borrow()[0].id.clone();
        let ready_unix_ns = Arc::default();
        let conductor = |place: usize| {
            let scenario: &Scenario = &plan.scenarios[place];
            let waiting = ArrivalSchedule {
                ramp: Ramp::constant(0.0),
                origin: 0,
                paused_at: Some(0),
                workers_cap: 1,
                registration: 0,
                members: MemberShare::default(),
                of_all: None,
            };
            let channels = ScenarioChannels {
                workers: watch::Sender::new(0),
                schedule: watch::Sender::new(Arc::new(waiting)),
                weights: Arc::new(LiveWeights::new(scenario.weights)),
                events: watch::Sender::default(),
                gauges: Arc::default(),
                quota: None,
                permit: crate::permit::tests::always(),
                stop: Stop::default(),
            };
            let schedule = channels.schedule.subscribe();
            let conductor = Conductor {
                scenario: scenario.clone(),
                channels,
                board: board.clone(),
                run: RunRef::new("s", "run"),
                node: node.clone(),
                right: membership.right(),
                acknowledged: Arc::new(Acknowledged::new(membership.entry())),
                demands: Arc::default(),
                clock,
                graceful_stop: Duration::ZERO,
                over: Arc::clone(&over),
                ended: ended.clone(),
                ready_unix_ns: Arc::clone(&ready_unix_ns),
            };
            (conductor, schedule)
        };
        sleep(Duration::from_secs(1)).await;
        board.decide_shares("s").await.unwrap();
        let begins = async |place: usize| {
            let (conductor, mut schedule) = conductor(place);
            let running = AbortOnDropHandle::new(tokio::spawn(conductor.run()));
            let begun = schedule.wait_for(|schedule| schedule.paused_at.is_none());
            let begun = timeout(Duration::from_secs(30), begun).await.expect("the scenario begins").unwrap();
            (begun.asked(clock.now()), running)
        };
        let (asked, _running) = begins(0).await;
        assert!(asked < 1.0, "{asked}");
        sleep(Duration::from_secs(2)).await;
        let (asked, _running) = begins(1).await;
        assert!((20.0..21.0).contains(&asked), "{asked}");
        drop((membership, tell_ended));
    }
}
