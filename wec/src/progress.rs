//! The live view on the terminal: a bar and figures, or plain lines without a terminal.

mod figures;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};
use wec_analytics::Analytics;
use wec_board::{Session, Versioned};
use wec_requester::Workload;
use wec_startup::{Drawn, Stop, TextStyle, say, steps_aside};

use self::figures::{Figures, Pulse, alarm, phases};

const EVERY: Duration = Duration::from_secs(1);
/// Plain lines are rarer, because they stay.
const PLAIN_EVERY: u64 = 5;

/// What the view shows.
pub(crate) struct ViewOptions {
    /// Whether to show nothing during the run.
    pub(crate) quiet: bool,
    /// The CA's directory.
    pub(crate) target: String,
    /// Address of the page.
    pub(crate) page: Option<SocketAddr>,
    /// Lines to show before the run.
    pub(crate) notes: Vec<String>,
    /// The stored state with which the run continues.
    pub(crate) state: Vec<String>,
    /// Longest time of the run.
    pub(crate) run_time: Duration,
    /// Time from the start whose results are in no figure.
    pub(crate) warm_up: Duration,
    /// The number of chains that ends it, if there is one.
    pub(crate) iterations: Option<u64>,
}

/// The live view. It uses standard error, because the summary uses standard output.
pub(crate) struct Progress {
    setting: ViewOptions,
    bar: Option<(ProgressBar, Drawn)>,
    started: Instant,
    /// The activity of the run's controller; empty without one.
    status: Mutex<String>,
}

impl Progress {
    /// Shows the run and its page.
    pub(crate) fn start(setting: ViewOptions) -> Self {
        if !setting.quiet {
            for note in &setting.notes {
                say(TextStyle::stderr().wrapped(note, 0));
            }
            say(format_args!("target  {}", setting.target));
            for line in &setting.state {
                say(TextStyle::stderr().wrapped(line, 8));
            }
            if let Some(page) = setting.page {
                say(format_args!("page    http://{page}/"));
            }
        }
        let target = ProgressDrawTarget::stderr();
        let bar = (!setting.quiet && !target.is_hidden()).then(|| {
            let whole = setting.iterations.unwrap_or(setting.run_time.as_secs());
            let bar = ProgressBar::with_draw_target(Some(whole), target);
            // The longest prefix fits beside it in 80 columns.
            let style = ProgressStyle::with_template("{bar:22.cyan/dim} {prefix}\n{msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            let drawn = steps_aside({
                let bar = bar.clone();
                move |line| bar.suspend(line)
            });
            (bar, drawn)
        });
        Self { setting, bar, started: Instant::now(), status: Mutex::default() }
    }

    /// Updates the view while it is polled.
    pub(crate) async fn watch(
        &self,
        analytics: &Analytics,
        session: watch::Receiver<Option<Versioned<Session>>>,
        workload: Workload,
        stop: &Stop,
    ) -> Infallible {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        let mut before = Figures::default();
        let mut pulse = Pulse::of(&workload);
        for tick in 1u64.. {
            ticks.tick().await;
            let last = std::mem::replace(&mut pulse, Pulse::of(&workload));
            if self.setting.quiet || (self.bar.is_none() && tick % PLAIN_EVERY != 0) {
                continue;
            }
            let elapsed = self.started.elapsed();
            let idle = pulse.is_idle_since(last);
            let status = self.status();
            let phases = phases(session.borrow().as_ref());
            let mut now = Figures::of(&analytics.snapshot(), &phases, &workload, elapsed);
            (now.idle, now.status) = (idle, status);
            now.warms_up = elapsed < self.setting.warm_up;
            now.log = alarm(&analytics.health());
            self.show(&now, &before, stop);
            before = now;
        }
        std::future::pending().await
    }

    /// Prints a permanent line above the view.
    pub(crate) fn tell(&self, line: &str) {
        if !self.setting.quiet {
            say(line);
        }
    }

    /// Sets the current activity, shown at the next update.
    pub(crate) fn set_status(&self, status: &str) {
        status.clone_into(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn status(&self) -> String {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Removes the view; its last figures are in the summary.
    pub(crate) fn end(&self) {
        if let Some((bar, _)) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn show(&self, now: &Figures, before: &Figures, stop: &Stop) {
        let whole = self.setting.run_time;
        // The run time stops during a pause.
        let active = now.elapsed.saturating_sub(now.paused_for).min(whole);
        let stage = match RunPhase::of(stop, now.paused) {
            RunPhase::Running if !now.status.is_empty() => RunPhase::Steered,
            stage => stage,
        };
        match &self.bar {
            Some((bar, _)) => {
                let style = TextStyle::stderr();
                let counted = self.setting.iterations.map(|all| (now.chains, all));
                let prefix = stage.prefix(active, whole, counted);
                bar.set_position(counted.map_or(active.as_secs(), |(done, all)| done.min(all)));
                bar.set_prefix(if stage.is_usual() { prefix } else { style.doubtful(&prefix) });
                bar.set_message(wec_text::printable(&now.block(before, style)).into_owned());
            }
            None => say(format_args!("{:>7}  {}{}", face(active), stage.word(), now.line(before))),
        }
    }
}

/// The phase of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RunPhase {
    Running,
    /// A controller steers it and ends it.
    Steered,
    Paused,
    /// No more chains start: the time is over, or somebody stopped it.
    Finishing,
    /// No more chains start, because of a signal.
    FinishingEarly,
    /// Running chains were interrupted.
    Cut,
}

impl RunPhase {
    fn of(stop: &Stop, paused: bool) -> Self {
        match (stop.cut.is_cancelled(), stop.finish.is_cancelled()) {
            (true, _) => Self::Cut,
            (false, true) if stop.by_signal() => Self::FinishingEarly,
            (false, true) => Self::Finishing,
            (false, false) if paused => Self::Paused,
            (false, false) => Self::Running,
        }
    }

    /// The text beside the bar: the progress of the run, and the effect of Ctrl-C.
    fn prefix(self, active: Duration, whole: Duration, counted: Option<(u64, u64)>) -> String {
        // Whole seconds, so that elapsed and remaining time add up.
        let active = Duration::from_secs(active.as_secs());
        let (at, of, left) = (face(active), face(whole), face(whole.saturating_sub(active)));
        match (self, counted) {
            (Self::Running, Some((done, all))) => {
                format!("{done} of {all} chains, {at}; Ctrl-C finishes early")
            }
            (Self::Running, None) => format!("{at} of {of}, {left} left; Ctrl-C finishes early"),
            (Self::Steered, _) => format!("{at}, at most {of}; Ctrl-C finishes early"),
            (Self::Paused, _) => format!("PAUSED at {at} of {of}; Ctrl-C finishes the run"),
            (Self::Finishing, _) => "finishing running chains; Ctrl-C interrupts them".to_owned(),
            (Self::FinishingEarly, _) => "finishing running chains; Ctrl-C again interrupts them".to_owned(),
            (Self::Cut, _) => "interrupting running chains; writing the results".to_owned(),
        }
    }

    /// Whether it needs no attention.
    const fn is_usual(self) -> bool {
        matches!(self, Self::Running | Self::Steered)
    }

    /// The phase in a word, for plain lines.
    const fn word(self) -> &'static str {
        match self {
            Self::Running | Self::Steered => "",
            Self::Paused => "PAUSED  ",
            Self::Finishing | Self::FinishingEarly => "finishing  ",
            Self::Cut => "interrupting  ",
        }
    }
}

/// Time in clock format: `0:42`, `12:05`, `1:00:00`.
fn face(time: Duration) -> String {
    let (hours, minutes, seconds) = (time.as_secs() / 3600, time.as_secs() / 60 % 60, time.as_secs() % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_progress_and_what_ctrl_c_does() {
        let (at, whole) = (Duration::from_secs(42), Duration::from_secs(3_600));
        let cases = [
            (RunPhase::Running, "0:42 of 1:00:00, 59:18 left; Ctrl-C finishes early"),
            (RunPhase::Steered, "0:42, at most 1:00:00; Ctrl-C finishes early"),
            (RunPhase::Paused, "PAUSED at 0:42 of 1:00:00; Ctrl-C finishes the run"),
            (RunPhase::Finishing, "finishing running chains; Ctrl-C interrupts them"),
            (RunPhase::FinishingEarly, "finishing running chains; Ctrl-C again interrupts them"),
            (RunPhase::Cut, "interrupting running chains; writing the results"),
        ];
        for (stage, prefix) in cases {
            assert_eq!(stage.prefix(at, whole, None), prefix);
            assert!(prefix.len() + 23 <= 80, "{prefix}");
        }
        let counted = RunPhase::Running.prefix(at, whole, Some((950_000, 1_000_000)));
        assert_eq!(counted, "950000 of 1000000 chains, 0:42; Ctrl-C finishes early");
        assert!(counted.len() + 23 <= 80);
        let stop = Stop::default();
        assert_eq!(RunPhase::of(&stop, false), RunPhase::Running);
        assert_eq!(RunPhase::of(&stop, true), RunPhase::Paused);
        stop.finish.cancel();
        assert_eq!(RunPhase::of(&stop, true), RunPhase::Finishing);
        stop.cut.cancel();
        assert_eq!(RunPhase::of(&stop, false), RunPhase::Cut);
    }
}
