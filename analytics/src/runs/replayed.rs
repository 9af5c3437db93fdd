//! `Replayed`: a recorded run whose records come in the time of the run, as if it were live.
//!
//! Records are counted in the order of the log, which is the order in which the live run counted them, so that
//! the figures equal those of the live run. A record is due when the replay's clock has reached its time and the
//! records before it were counted. To go back, the log is read again from its start.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use wec_record::Record;

use super::pace::Pace;
use super::recorded::{RecordedRun, time};
use super::records::Records;
use super::{Figures, Run, Shown};
use crate::Aggregate;
use crate::log::LogError;
use crate::views::{Health, ReplayState, ReplayView, RunEntry, RunSource};

/// Shortest and longest time between two steps of a replay.
const STEPS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));
/// A step that takes longer than this delays the replay's clock.
const SLOW: Duration = Duration::from_millis(250);

/// A recorded run that is shown, at once or at the pace of a clock.
#[derive(Debug)]
pub(crate) struct Replayed {
    /// Without its figures.
    recorded: RecordedRun,
    entry: RunEntry,
    shown: Arc<Shown>,
    figures: Mutex<Arc<Figures>>,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    pace: Pace,
    /// A position to go to, which the replay has not begun to do.
    sought: Option<u64>,
    /// The log is being read up to the position.
    seeking: bool,
    /// Every record was counted.
    over: bool,
    /// Why the log could not be read further.
    problem: Option<String>,
}

/// A change of a replay; what is none stays.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct ReplayChange {
    pub(crate) playing: Option<bool>,
    pub(crate) speed: Option<f64>,
    /// Since the run's start.
    pub(crate) position_ns: Option<u64>,
}

/// The records that are being counted, and into which figures.
struct Reading {
    records: Records,
    figures: Arc<Figures>,
    /// The latest time among the counted records.
    through: u64,
}

impl Replayed {
    /// With a speed it begins to play at the start of the run. Without one it shows the end, and waits there.
    pub(crate) fn new(mut recorded: RecordedRun, speed: Option<f64>, shown: Arc<Shown>) -> Self {
        let entry = recorded.entry();
        let ended = std::mem::take(&mut recorded.aggregate);
        // What has no time cannot be paced.
        let paced = speed.filter(|_| recorded.span.1 > 0);
        let (began, now) = (recorded.span.0, Instant::now());
        let mut pace = Pace::new(began, paced.unwrap_or(1.0), now);
        pace.set_runs(paced.is_some(), now);
        let figures = match paced {
            Some(_) => Figures::new(shown.number(), Aggregate::default()),
            None => Figures::new(shown.number(), ended),
        };
        let sought = paced.map(|_| began);
        let state = State { pace, sought, seeking: false, over: paced.is_none(), problem: None };
        Self {
            recorded,
            entry,
            shown,
            figures: Mutex::new(Arc::new(figures)),
            state: Mutex::new(state),
            changed: Notify::new(),
        }
    }

    /// The run in a list.
    pub(crate) fn entry(&self) -> RunEntry {
        self.entry.clone()
    }

    /// Where the replay is.
    pub(crate) fn view(&self) -> ReplayView {
        let (began, ended) = self.recorded.span;
        let state = self.state();
        let clock = if state.over { ended } else { state.pace.position(Instant::now()).clamp(began, ended) };
        let over = state.over && state.sought.is_none();
        ReplayView {
            state: match state.pace.runs() {
                _ if over => ReplayState::Ended,
                true => ReplayState::Playing,
                false => ReplayState::Paused,
            },
            speed: state.pace.speed(),
            started_unix_ns: began,
            position_ns: state.sought.unwrap_or(clock) - began,
            length_ns: ended - began,
            seeking: state.seeking || state.sought.is_some(),
        }
    }

    /// Changes how the replay goes on. To play from the end is to play from the start.
    pub(crate) fn change(&self, change: ReplayChange) -> ReplayView {
        let (began, ended) = self.recorded.span;
        {
            let mut state = self.state();
            let now = Instant::now();
            if let Some(speed) = change.speed {
                state.pace.set_speed(speed, now);
            }
            if let Some(playing) = change.playing.filter(|_| ended > began) {
                state.pace.set_runs(playing, now);
            }
            let again = || (change.playing == Some(true) && ended > began).then_some(0);
            let position = change.position_ns.or_else(|| if state.over { again() } else { None });
            if let Some(position) = position {
                state.sought = Some(began.saturating_add(position).min(ended));
            }
        }
        self.changed.notify_one();
        self.view()
    }

    /// Moves the replay on, for as long as this is polled.
    pub(crate) async fn play(self: Arc<Self>) {
        let mut reading = None;
        loop {
            let wait = match self.begin_step(&mut reading) {
                Some((to, sought)) => match self.step(&mut reading, to, sought).await {
                    Ok(wait) => wait,
                    Err(error) => {
                        reading = None;
                        self.fail(error.to_string());
                        None
                    }
                },
                None => None,
            };
            let next = async {
                match wait {
                    Some(wait) => tokio::time::sleep(wait.clamp(STEPS.0, STEPS.1)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = next => {}
                () = self.changed.notified() => {}
            }
        }
    }

    /// The position to go to now, and whether somebody asked for it; none while the replay stands.
    fn begin_step(&self, reading: &mut Option<Reading>) -> Option<(u64, bool)> {
        let mut state = self.state();
        let now = Instant::now();
        let Some(sought) = state.sought.take() else {
            return (state.pace.runs() && !state.over).then(|| (state.pace.position(now), false));
        };
        state.pace.set_position(sought, now);
        if state.over && sought == self.recorded.span.1 {
            return None;
        }
        (state.seeking, state.over) = (true, false);
        // Figures cannot be taken back.
        reading.take_if(|reading| reading.through > sought);
        Some((sought, true))
    }

    /// Counts the records up to a position. Returns the time to the next one.
    async fn step(
        &self,
        reading: &mut Option<Reading>,
        to: u64,
        sought: bool,
    ) -> Result<Option<Duration>, LogError> {
        let began = Instant::now();
        // What has no time in the run is due at once.
        let ended = self.recorded.span.1;
        let time = |record: &Record| time(record).filter(|at| *at <= ended).unwrap_or(0);
        let reading = match reading {
            Some(reading) => reading,
            None => reading.insert(self.open()?),
        };
        let next = loop {
            let Some(next) = reading.records.peek().await?.map(time) else {
                break None;
            };
            if next > to {
                break Some(next);
            }
            // A later wish replaces this one.
            if self.state().sought.is_some() {
                return Ok(Some(Duration::ZERO));
            }
            let mut figures = reading.figures.lock();
            for record in reading.records.take_while(|record| time(record) <= to) {
                reading.through = reading.through.max(time(&record));
                figures.record(&record);
            }
        };
        *self.figures.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&reading.figures);
        let mut state = self.state();
        let now = Instant::now();
        if state.sought.is_none() {
            state.seeking = false;
            if sought || now.saturating_duration_since(began) > SLOW {
                state.pace.set_position(to, now);
            }
        }
        match next {
            // All has been counted, so the position is the end even where a pause was asked for.
            None if state.sought.is_none() => {
                state.over = true;
                state.pace.set_runs(false, now);
                state.pace.set_position(self.recorded.span.1, now);
                reading.through = u64::MAX;
                Ok(None)
            }
            Some(next) if state.sought.is_none() => Ok(state.pace.until(next, now)),
            _ => Ok(Some(Duration::ZERO)),
        }
    }

    fn open(&self) -> Result<Reading, LogError> {
        let failed = |source| LogError::Io { what: "read", path: self.entry.log.clone().into(), source };
        let records = Records::open(self.recorded.logs.clone()).map_err(failed)?;
        let figures = Arc::new(Figures::new(self.shown.number(), Aggregate::default()));
        Ok(Reading { records, figures, through: 0 })
    }

    fn fail(&self, problem: String) {
        tracing::error!("the replay stops: {problem}");
        let mut state = self.state();
        (state.problem, state.seeking) = (Some(problem), false);
        state.pace.set_runs(false, Instant::now());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Run for Replayed {
    fn figures(&self) -> Arc<Figures> {
        Arc::clone(&self.figures.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn health(&self) -> Health {
        let mut health = self.recorded.health();
        health.log_problems.extend(self.state().problem.clone());
        health
    }

    fn source(&self) -> RunSource {
        RunSource::Replay
    }

    fn has_end(&self) -> bool {
        self.recorded.has_end() && self.state().over
    }

    fn replay(&self) -> Option<ReplayView> {
        Some(self.view())
    }
}
