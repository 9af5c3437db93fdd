//! The search's access to its run: figures of windows, and the rate on the board.

use std::cell::RefCell;
use std::ops::Range;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::TryRecvError;
use tokio::time::{Interval, MissedTickBehavior, interval};
use wec_acme::Clock;
use wec_analytics::{Analytics, CapacityStep, CapacityView, PART, WindowFigures};
use wec_board::{Board, By, Change, ChangeTo, Changed, SessionState};
use wec_record::threshold::Threshold;
use wec_record::{MarkBy, MarkWhat};
use wec_requester::Workload;
use wec_startup::Stop;

use super::findings::Step;
use super::judge::{Around, Judgement, samples};
use super::search::Answer;
use super::settle::{self, Shown};
use super::text::{so_far, step_outcome};
use crate::here::Running;
use crate::progress::Progress;

pub(super) const PART_NS: u64 = PART.as_nanos() as u64;
/// Periods in which to check whether the CA is down. The longer ones are for low rates.
const GLANCES_NS: [u64; 3] = [2_000_000_000, 5_000_000_000, 15_000_000_000];
/// Period in which to check whether a step should end early. It is longer than the shortest period above, so
/// that a CA that fails completely is detected as down.
const HOPELESS_NS: u64 = 5_000_000_000;

/// Why a step was not completed.
pub(super) enum Broken {
    /// The run is ending.
    Cut,
    /// Somebody changed the load.
    Disturbed,
    /// The search's time is over, or the rest is reserved for the hold.
    OutOfTime,
}

/// The figures of a run in progress, as a search reads them, and its view beside them.
pub(super) trait RunFigures {
    /// From now on keeps what is needed for windows of time, and judges each window by these thresholds.
    fn watch_windows(&self, thresholds: Vec<Threshold>);
    /// The figures of a window, nanoseconds since the Unix epoch.
    fn window(&self, unix_ns: Range<u64>) -> WindowFigures;
    /// Discards everything before this time, nanoseconds since the Unix epoch.
    fn forget_windows_before(&self, unix_ns: u64);
    /// Shows the state of the search.
    fn show_capacity(&self, view: CapacityView);
}

impl RunFigures for Analytics {
    fn watch_windows(&self, thresholds: Vec<Threshold>) {
        Self::watch_windows(self, thresholds);
    }

    fn window(&self, unix_ns: Range<u64>) -> WindowFigures {
        Self::window(self, unix_ns)
    }

    fn forget_windows_before(&self, unix_ns: u64) {
        Self::forget_windows_before(self, unix_ns);
    }

    fn show_capacity(&self, view: CapacityView) {
        Self::show_capacity(self, view);
    }
}

/// The run of a search.
#[derive(Clone, Copy)]
pub(super) struct SearchedRun<'a> {
    pub(super) figures: &'a dyn RunFigures,
    /// The board with the run's session.
    pub(super) board: &'a Board,
    pub(super) session: &'a str,
    /// The counters of the workers.
    pub(super) workload: &'a Workload,
    /// Cancelled when the run is to end.
    pub(super) stop: &'a Stop,
    /// The process's clock.
    pub(super) clock: Clock,
    /// The live view.
    pub(super) progress: &'a Progress,
}

impl<'a> From<Running<'a>> for SearchedRun<'a> {
    fn from(run: Running<'a>) -> Self {
        let Running { analytics, board, session, workload, stop, clock, progress } = run;
        Self { figures: analytics, board, session, workload, stop, clock, progress }
    }
}

/// Reads the run and changes its rate.
pub(super) struct Probe<'a> {
    pub(super) run: SearchedRun<'a>,
    ticks: Interval,
    /// Changes of the session since the last tick, with their authors.
    changes: Receiver<Changed>,
    /// The session's rate.
    rate: f64,
    /// Samples since the last change of the rate: time, nanoseconds since the Unix epoch, and number of busy
    /// workers.
    busy: Vec<(u64, u64)>,
    /// The search as shown on the page.
    shown: RefCell<CapacityView>,
}

impl<'a> Probe<'a> {
    pub(super) fn new(run: SearchedRun<'a>) -> Self {
        let mut ticks = interval(PART);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let changes = run.board.changes();
        Self { run, ticks, changes, rate: 0.0, busy: Vec::new(), shown: RefCell::default() }
    }

    /// Changes the rate; returns the time, nanoseconds since the Unix epoch.
    pub(super) async fn set_rate(&mut self, rate: f64) -> u64 {
        self.rate = rate;
        let change = Change::new(By::Capacity, ChangeTo::Rate(rate));
        if let Err(error) = self.run.board.change(self.run.session, change).await {
            self.line(&format!("warning: cannot change the rate: {error}"));
        }
        self.busy.clear();
        let now = self.run.clock.unix_now_ns();
        self.run.figures.forget_windows_before(now.saturating_sub(GLANCES_NS[2]));
        now
    }

    /// Ends the run after its last chains.
    pub(super) async fn end_run(&self) {
        // A signal has ended it already and has its own mark.
        if self.run.stop.finish.is_cancelled() {
            return;
        }
        let stop = Change::state(By::Capacity, SessionState::Stopped);
        if self.run.board.change(self.run.session, stop).await.is_err() {
            self.run.stop.finish.cancel();
        }
    }

    /// Whether `until_ns` is not yet reached, by the process's clock.
    pub(super) fn in_time(&self, until_ns: u64) -> Result<(), Broken> {
        if self.run.clock.now() < until_ns { Ok(()) } else { Err(Broken::OutOfTime) }
    }

    /// Waits for the next tick, or for the end of the run; returns the time, nanoseconds since the Unix epoch.
    pub(super) async fn tick(&mut self) -> Result<u64, Broken> {
        tokio::select! {
            _ = self.ticks.tick() => {}
            () = self.run.stop.finish.cancelled() => {}
        }
        let disturbed = self.is_disturbed();
        let session = self.run.board.session(self.run.session).borrow().clone();
        if self.run.stop.finish.is_cancelled() {
            return Err(Broken::Cut);
        }
        if let Some(session) = session.map(|session| session.value) {
            match session.spec.state {
                SessionState::Stopped => return Err(Broken::Cut),
                SessionState::Paused => return Err(Broken::Disturbed),
                SessionState::Running => {}
            }
            if disturbed || session.spec.scenarios.values().any(|target| target.rate != Some(self.rate)) {
                return Err(Broken::Disturbed);
            }
        }
        let now = self.run.clock.unix_now_ns();
        self.busy.push((now, self.run.workload.busy()));
        Ok(now)
    }

    /// Whether somebody else has changed the load since the last tick. Changes of other values and changes
    /// that were reverted also count.
    fn is_disturbed(&mut self) -> bool {
        let mut disturbed = false;
        loop {
            match self.changes.try_recv() {
                Ok(changed) => {
                    disturbed |= changed.session == self.run.session && changed.mark.by != MarkBy::Capacity;
                }
                // Their authors are not known.
                Err(TryRecvError::Lagged(_)) => disturbed = true,
                Err(TryRecvError::Empty | TryRecvError::Closed) => return disturbed,
            }
        }
    }

    /// Waits while the session is paused; none when the run is ending.
    pub(super) async fn until_running(&mut self) -> Option<()> {
        loop {
            match self.tick().await {
                Err(Broken::Cut | Broken::OutOfTime) => return None,
                Ok(_) => return Some(()),
                Err(Broken::Disturbed) => {
                    let session = self.run.board.session(self.run.session).borrow().clone();
                    if session.is_some_and(|session| session.value.spec.state == SessionState::Running) {
                        return Some(());
                    }
                }
            }
        }
    }

    /// Who stopped the session, if it was stopped.
    pub(super) fn stopped_by(&self) -> Option<String> {
        let session = self.run.board.session(self.run.session).borrow().clone()?.value;
        let change = session.spec.last_changes.iter().find(|change| change.mark.what == MarkWhat::State)?;
        (session.spec.state == SessionState::Stopped).then(|| change.mark.by.to_string())
    }

    pub(super) fn cap(&self) -> u64 {
        let session = self.run.board.session(self.run.session).borrow().clone();
        session.map_or(0, |session| session.value.workers().into())
    }

    pub(super) fn busy_most(&self) -> u64 {
        self.busy.iter().map(|(_, busy)| *busy).max().unwrap_or(0)
    }

    /// Whether the step should end early.
    pub(super) fn glance(&self, began: u64, now: u64, around: &Around) -> Option<Judgement> {
        self.is_down(began, now).or_else(|| {
            let whole = now - began >= HOPELESS_NS;
            whole.then(|| Judgement::hopeless(&self.run.figures.window(now - HOPELESS_NS..now), around))?
        })
    }

    /// Whether nothing succeeded in the last period although enough was tried.
    pub(super) fn is_down(&self, began: u64, now: u64) -> Option<Judgement> {
        let looks = GLANCES_NS.into_iter().map(|over| began.max(now.saturating_sub(over)));
        looks.map(|from| self.run.figures.window(from..now)).find_map(|figures| Judgement::down(&figures))
    }

    /// The trend of a window.
    pub(super) fn look(&self, from: u64, to: u64) -> Shown {
        let parts = self.run.figures.window(from..to).parts;
        let first = from / PART_NS;
        let mut seen = vec![(0_u64, 0_u32); parts.len()];
        for (at, busy) in &self.busy {
            let place = (at / PART_NS).checked_sub(first).map(|place| place as usize);
            if let Some((sum, n)) = place.and_then(|place| seen.get_mut(place)) {
                *sum += busy;
                *n += 1;
            }
        }
        let busy: Vec<_> =
            seen.into_iter().map(|(sum, n)| (n > 0).then(|| sum as f64 / f64::from(n))).collect();
        settle::look(&samples(&parts, &busy))
    }

    pub(super) fn line(&self, line: &str) {
        self.run.progress.tell(line);
    }

    /// Shows the current activity on the terminal, with the curve so far, and on the page.
    pub(super) fn status(&self, status: &str) {
        let mut shown = self.shown.borrow_mut();
        status.clone_into(&mut shown.status);
        self.run.progress.set_status(&format!("{status}{}", so_far(&shown)));
        self.run.figures.show_capacity(shown.clone());
    }

    /// Shows a judged step.
    pub(super) fn show(&self, step: &Step, hold: bool) {
        let Step { rate, judgement, figures, .. } = step;
        self.shown.borrow_mut().steps.push(CapacityStep {
            rate: *rate,
            reached: figures.ended as f64 * 1e9 / figures.over_ns.max(1) as f64,
            hold,
            verdict: step_outcome(judgement.outcome),
            reasons: judgement.reasons.clone(),
            p50_ns: figures.p50_ns,
            p95_ns: figures.p95_ns,
            n: figures.n,
            ended: figures.ended,
            chains_failed: figures.failed,
        });
    }

    /// Shows the rates between which the knee is known to be.
    pub(super) fn show_bracket(&self, answer: Answer) {
        let mut shown = self.shown.borrow_mut();
        (shown.sustained, shown.failed) = (answer.knee, answer.above);
    }

    pub(super) fn show_end(&self) {
        self.shown.borrow_mut().over = true;
        self.status("");
    }
}
