//! Flies a search: sets the rate on the board as everybody else would, looks at what comes of it, and lands the CA well.
//!
//! Each step goes: change the rate, wait until the CA has settled under it ([`settle`]), measure, judge ([`Judgement`]), ask the
//! [`Search`] what is next. After a step that failed the load goes away altogether, and a trickle must succeed before the next.
//! Every wait is bounded.

use std::time::Duration;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::TryRecvError;
use tokio::time::{Interval, MissedTickBehavior, interval};
use wec_analytics::{PART, WindowFigures};
use wec_board::{By, Change, ChangeTo, Changed, SessionState};

use super::judge::{Around, Balance, Judgement, is_back, samples};
use super::plan::SearchPlan;
use super::search::{Answer, Next, Outcome, Search, Why};
use super::settle::{self, Rise, Shown};
use crate::here::{Pilot, Running};

const PART_NS: u64 = PART.as_nanos() as u64;
/// Results reach analytics within some tenths of a second.
const LATE_NS: u64 = 750_000_000;
/// Over how long it is looked whether the CA is down. The longer ones are for low rates.
const GLANCES_NS: [u64; 3] = [2_000_000_000, 5_000_000_000, 15_000_000_000];
/// Over how long it is looked whether a step is hopeless; longer than the shortest look above, so that a CA that falls over is seen as
/// that.
const HOPELESS_NS: u64 = 5_000_000_000;
/// A window is as long as so many chains take to become due, if that is longer than what was asked for. With fewer, chance decides
/// whether anything ends at all.
const ENOUGH_CHAINS: f64 = 10.0;
/// But no longer than this.
const LONGEST: Duration = Duration::from_secs(600);
/// So many chains in a row must succeed before a CA is held to have recovered, over at least this time.
const BACK_CHAINS: u64 = 3;
const BACK_NS: u64 = 2_000_000_000;

/// How long so many chains take to become due at a rate, or what people asked for, if that is longer.
pub(super) fn long_enough(asked: Duration, chains: f64, rate: f64) -> Duration {
    asked.max(Duration::try_from_secs_f64(chains / rate).unwrap_or(LONGEST).min(LONGEST))
}

/// How long a step, or the hold, measures at a rate.
pub(super) fn measuring(asked: Duration, rate: f64) -> Duration {
    long_enough(asked, ENOUGH_CHAINS, rate)
}

/// How long a CA has to come back at a trickle.
pub(super) fn coming_back(asked: Duration, trickle: f64) -> Duration {
    long_enough(asked, 2.0 * BACK_CHAINS as f64, trickle)
}

/// What a search found, and how.
#[derive(Clone, Debug)]
pub(crate) struct Findings {
    /// Where the knee is.
    pub(crate) answer: Answer,
    /// Each step, in the order of time.
    pub(crate) steps: Vec<Step>,
    /// The hold below the knee.
    pub(crate) hold: Option<Step>,
    /// Who ended the search before its end, by the name of [`By`]; empty for a signal.
    pub(crate) ended_by: Option<String>,
    /// How often a step was begun anew, because somebody changed the load meanwhile.
    pub(crate) disturbed: u32,
    /// How long it took, nanoseconds.
    pub(crate) took_ns: u64,
}

/// One rate, tried.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// Asked for, chains a second.
    pub(crate) rate: f64,
    /// What it was held to be.
    pub(crate) judgement: Judgement,
    /// When it began, nanoseconds since the Unix epoch.
    pub(crate) at_unix_ns: u64,
    /// How long until it had settled; none when it never did.
    pub(crate) settled_ns: Option<u64>,
    /// Of the measuring window, or of all that was seen of a step that ended before it.
    pub(crate) figures: WindowFigures,
    /// Workers in the middle of a chain, the most that were seen.
    pub(crate) busy_most: u64,
    /// How long the CA took to recover after it, if it had to and did.
    pub(crate) recovered_ns: Option<u64>,
}

/// Why a step could not be brought to its end.
enum Broken {
    /// The run ends.
    Cut,
    /// Somebody changed the load.
    Disturbed,
}

/// Why a rate could not be judged.
enum Unjudged {
    /// The run ends.
    Cut,
    /// Somebody changed the load, and there is no time to begin anew.
    OutOfTime,
}

/// The search and what it found so far; that outlives a run that is cut short.
pub(crate) struct Flight {
    plan: SearchPlan,
    search: Search,
    first: Next,
    steps: Vec<Step>,
    hold: Option<Step>,
    ended_by: Option<String>,
    disturbed: u32,
    started_ns: u64,
    ended_ns: u64,
    answer: Option<Answer>,
}

impl Flight {
    pub(crate) fn new(plan: SearchPlan) -> Self {
        let (search, first) = Search::new(plan.setting);
        Self {
            plan,
            search,
            first,
            steps: Vec::new(),
            hold: None,
            ended_by: None,
            disturbed: 0,
            started_ns: 0,
            ended_ns: 0,
            answer: None,
        }
    }

    /// What it found; of a run that was cut short, so far.
    pub(crate) fn findings(mut self) -> Findings {
        if self.answer.is_none() {
            self.search.cut();
        }
        Findings {
            answer: self.answer.unwrap_or_else(|| self.search.answer()),
            steps: self.steps,
            hold: self.hold,
            ended_by: self.ended_by,
            disturbed: self.disturbed,
            took_ns: self.ended_ns.saturating_sub(self.started_ns),
        }
    }
}

impl Pilot for Flight {
    async fn steer(&mut self, run: Running<'_>) {
        run.analytics.watch_windows(self.plan.criteria.clone());
        self.started_ns = run.clock.now();
        self.ended_ns = self.started_ns;
        let mut ticks = interval(PART);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let changes = run.board.changes();
        let mut cabin = Cabin { run, ticks, changes, rate: 0.0, busy: Vec::new() };
        let mut next = self.first;
        loop {
            next = match next {
                Next::Step(rate) if self.is_out_of_time(&cabin, rate, self.plan.step_time) => {
                    cabin.line("the search's time is over (--max-time)");
                    self.search.out_of_time()
                }
                Next::Step(rate) => match self.step(&mut cabin, rate).await {
                    Ok(step) => {
                        let outcome = step.judgement.outcome;
                        cabin.line(&said_of(self.steps.len() + 1, &step));
                        self.steps.push(step);
                        self.search.stepped(outcome)
                    }
                    Err(Unjudged::OutOfTime) => self.search.out_of_time(),
                    Err(Unjudged::Cut) => self.search.cut(),
                },
                Next::Recover(trickle) => match self.recover(&mut cabin, trickle).await {
                    Some(well) => self.search.recovered(well),
                    None => self.search.cut(),
                },
                Next::Hold(rate) => match self.hold(&mut cabin, rate).await {
                    Ok(hold) => {
                        self.hold = Some(hold);
                        self.search.held()
                    }
                    // The answer is there already.
                    Err(Unjudged::OutOfTime) => self.search.held(),
                    Err(Unjudged::Cut) => self.search.cut(),
                },
                Next::Done(answer) => {
                    self.answer = Some(answer);
                    break;
                }
            };
            self.ended_ns = cabin.run.clock.now();
        }
        if self.answer.is_some_and(|answer| answer.why == Why::Cut) {
            self.ended_by = cabin.stopped_by();
        }
        cabin.status("");
        cabin.land().await;
    }
}

impl Flight {
    /// Whether there is no time to measure so long, and as long as the rate needs.
    fn is_out_of_time(&self, cabin: &Cabin<'_>, rate: f64, measured: Duration) -> bool {
        let needs = self.plan.settle_least + measuring(measured, rate);
        cabin.run.clock.now() + nanoseconds(needs) > self.started_ns + nanoseconds(self.plan.max_time)
    }

    /// One step.
    async fn step(&mut self, cabin: &mut Cabin<'_>, rate: f64) -> Result<Step, Unjudged> {
        let name = format!("step {}", self.steps.len() + 1);
        self.undisturbed(cabin, rate, &name, self.plan.step_time).await
    }

    /// Below the knee. As with the upper end of the bracket, chance must not decide: what fails is looked at once more.
    async fn hold(&mut self, cabin: &mut Cabin<'_>, rate: f64) -> Result<Step, Unjudged> {
        let hold = self.undisturbed(cabin, rate, "hold", self.plan.hold).await?;
        if hold.judgement.outcome != Outcome::Failed {
            return Ok(hold);
        }
        cabin.line(&format!("hold: {}; once more", hold.judgement.reasons.join("; ")));
        self.undisturbed(cabin, rate, "hold", self.plan.hold).await
    }

    /// From the change of the rate to the judgement; again for as long as it is disturbed, and there is time.
    async fn undisturbed(
        &mut self,
        cabin: &mut Cabin<'_>,
        rate: f64,
        name: &str,
        measured: Duration,
    ) -> Result<Step, Unjudged> {
        loop {
            match self.try_step(cabin, rate, name, measured).await {
                Err(Broken::Disturbed) => {
                    self.disturbed += 1;
                    cabin.line(&format!("somebody changed the load in the middle of {name}: it begins anew"));
                    cabin.until_running().await.ok_or(Unjudged::Cut)?;
                    if self.is_out_of_time(cabin, rate, measured) {
                        cabin.line("there is no time for that: the search ends (--max-time)");
                        return Err(Unjudged::OutOfTime);
                    }
                }
                Err(Broken::Cut) => return Err(Unjudged::Cut),
                Ok(step) => return Ok(step),
            }
        }
    }

    async fn try_step(
        &self,
        cabin: &mut Cabin<'_>,
        rate: f64,
        name: &str,
        measured: Duration,
    ) -> Result<Step, Broken> {
        let around = self.around(cabin);
        let began = cabin.set_rate(rate).await;
        let mut step = Step {
            rate,
            judgement: Judgement { outcome: Outcome::Sustained, reasons: Vec::new() },
            at_unix_ns: began,
            settled_ns: None,
            figures: WindowFigures::default(),
            busy_most: 0,
            recovered_ns: None,
        };
        let settle_least = nanoseconds(self.plan.settle_least);
        let settle_most = nanoseconds(self.plan.settle_most);
        // Settling.
        let early = loop {
            let now = cabin.tick().await?;
            let since = now - began;
            let shown_rate = rate_text(rate);
            cabin.status(&format!("{name}: {shown_rate}, settling for {} s", since / 1_000_000_000));
            if let Some(judgement) = cabin.glance(began, now, around) {
                break Some(judgement);
            }
            if since < settle_least + LATE_NS {
                continue;
            }
            let end = now - LATE_NS;
            match cabin.look(end - settle_least, end) {
                Shown::Settled => break None,
                Shown::Rising(rise) => {
                    let hopeless = self.is_hopeless(cabin, began, end, rate, around);
                    if let Some(rise) = hopeless.or((since >= settle_most).then_some(rise)) {
                        let figures = cabin.run.analytics.window(began..end);
                        break Some(Judgement::unsettled(&figures, rise, around));
                    }
                }
                // It becomes better: nothing to wait for for ever.
                Shown::Falling if since >= settle_most => break None,
                Shown::Falling => {}
            }
        };
        let settled = cabin.run.clock.unix_now_ns();
        if let Some(judgement) = early {
            step.figures = cabin.run.analytics.window(began..settled);
            step.judgement = judgement;
            step.busy_most = cabin.busy_most();
            return Ok(step);
        }
        step.settled_ns = Some(settled - began);
        // Measuring, on whole parts.
        let from = settled.div_ceil(PART_NS) * PART_NS;
        let to = from + nanoseconds(measuring(measured, rate)).div_ceil(PART_NS) * PART_NS;
        loop {
            let now = cabin.tick().await?;
            let done = now.saturating_sub(from).min(to - from) / 1_000_000_000;
            cabin.status(&format!(
                "{name}: {}, measuring {done} s of {} s",
                rate_text(rate),
                (to - from) / 1_000_000_000
            ));
            if let Some(judgement) = cabin.glance(began, now, around) {
                step.figures = cabin.run.analytics.window(from.min(now - PART_NS)..now);
                step.judgement = judgement;
                break;
            }
            if now >= to + LATE_NS {
                step.figures = cabin.run.analytics.window(from..to);
                let whole = cabin.run.analytics.window(settled.saturating_sub(settle_least)..to);
                let balance = Balance {
                    asked: rate * whole.over_ns as f64 / 1e9,
                    ended: whole.ended,
                    poisson: self.plan.poisson,
                };
                step.judgement = Judgement::of(&step.figures, cabin.look(from, to), balance, around);
                break;
            }
        }
        step.busy_most = cabin.busy_most();
        Ok(step)
    }

    /// Whether what is due piles up so fast that nobody needs to wait for the longest time to settle: after several times the least
    /// one, and several times what the CA took for a chain when it was well, more than a tenth of all that was due is still under way.
    fn is_hopeless(
        &self,
        cabin: &Cabin<'_>,
        began: u64,
        now: u64,
        rate: f64,
        around: Around,
    ) -> Option<Rise> {
        let (since, least) = (now - began, nanoseconds(self.plan.settle_least));
        if since < 3 * least || since < 3 * around.mean_below_ns? {
            return None;
        }
        let Shown::Rising(rise) = cabin.look(began, now) else { return None };
        let due = rate * since as f64 / 1e9;
        (rise.what == settle::Series::Busy && rise.to - rise.from > 0.1 * due).then_some(rise)
    }

    fn around(&self, cabin: &Cabin<'_>) -> Around {
        let sustained = self.steps.iter().filter(|step| step.judgement.outcome == Outcome::Sustained);
        let highest = sustained.max_by(|a, b| a.rate.total_cmp(&b.rate));
        Around { cap: cabin.cap(), mean_below_ns: highest.and_then(|step| step.figures.mean_ns) }
    }

    /// Takes the load away, then sees whether a trickle succeeds. None when the run ends.
    async fn recover(&mut self, cabin: &mut Cabin<'_>, trickle: f64) -> Option<bool> {
        loop {
            match self.try_recover(cabin, trickle).await {
                Ok(well) => return Some(well),
                Err(Broken::Cut) => return None,
                Err(Broken::Disturbed) => cabin.until_running().await?,
            }
        }
    }

    async fn try_recover(&mut self, cabin: &mut Cabin<'_>, trickle: f64) -> Result<bool, Broken> {
        let began = cabin.set_rate(0.0).await;
        let until = began + nanoseconds(self.plan.recover);
        loop {
            let now = cabin.tick().await?;
            let busy = cabin.run.workload.busy();
            let chains = if busy == 1 { "chain" } else { "chains" };
            cabin.status(&format!("recovering: {busy} {chains} under way, nothing new starts"));
            if busy == 0 {
                break;
            }
            if now >= until {
                cabin.line(&format!(
                    "the CA did not answer {busy} chains within {} after the load had gone (--recover)",
                    humantime::format_duration(self.plan.recover)
                ));
                return Ok(false);
            }
        }
        let quiet = cabin.set_rate(trickle).await;
        // As many chains as tell must have become due at all.
        let within = coming_back(self.plan.recover, trickle);
        let until = until.max(quiet + nanoseconds(within));
        loop {
            let now = cabin.tick().await?;
            cabin.status(&format!("recovering: a trickle of {}", rate_text(trickle)));
            // Chains of before the quiet have all ended.
            let figures = cabin.run.analytics.window(quiet..now);
            if now >= quiet + BACK_NS && is_back(&figures.parts, BACK_CHAINS) {
                if let Some(step) = self.steps.last_mut() {
                    step.recovered_ns = Some(now - began);
                    if step.judgement.outcome == Outcome::Down {
                        cabin.line(&format!("the CA came back after {} s", (now - began) / 1_000_000_000));
                    }
                }
                return Ok(true);
            }
            if let Some(down) = cabin.is_down(quiet, now) {
                self.fell(down);
            }
            if now >= until {
                cabin.line(&format!(
                    "the CA did not come back within {} (--recover)",
                    humantime::format_duration(Duration::from_secs(within.as_secs()))
                ));
                return Ok(false);
            }
        }
    }
}

impl Flight {
    /// Not even a trickle succeeds after the last step: the CA fell over at its end, if that was not seen before.
    fn fell(&mut self, down: Judgement) {
        let Some(step) = self.steps.last_mut() else { return };
        if step.judgement.outcome == Outcome::Failed {
            step.judgement.outcome = Outcome::Down;
            step.judgement.reasons.extend(down.reasons);
            self.search.fell();
        }
    }
}

/// What the pilot sees and touches.
struct Cabin<'a> {
    run: Running<'a>,
    ticks: Interval,
    /// Who changed what since the last look.
    changes: Receiver<Changed>,
    /// What the session is to have.
    rate: f64,
    /// Since the last change of the rate: when it was looked, nanoseconds since the Unix epoch, and how many workers were busy.
    busy: Vec<(u64, u64)>,
}

impl Cabin<'_> {
    /// Changes the rate; gives when, nanoseconds since the Unix epoch.
    async fn set_rate(&mut self, rate: f64) -> u64 {
        self.rate = rate;
        let change = Change::new(By::Capacity, ChangeTo::Rate(rate));
        if let Err(error) = self.run.board.change(self.run.session, change).await {
            self.line(&format!("warning: the rate cannot be changed: {error}"));
        }
        self.busy.clear();
        let now = self.run.clock.unix_now_ns();
        self.run.analytics.forget_windows_before(now.saturating_sub(GLANCES_NS[2]));
        now
    }

    /// Ends the run, its last chains finished.
    async fn land(&self) {
        // Ended already, by a signal: that has its mark.
        if self.run.stop.finish.is_cancelled() {
            return;
        }
        let stop = Change::state(By::Capacity, SessionState::Stopped);
        if self.run.board.change(self.run.session, stop).await.is_err() {
            self.run.stop.finish.cancel();
        }
    }

    /// Waits for the next look; gives when, nanoseconds since the Unix epoch.
    async fn tick(&mut self) -> Result<u64, Broken> {
        self.ticks.tick().await;
        let disturbed = self.is_disturbed();
        let session = self.run.board.session(self.run.session).borrow().clone();
        if self.run.stop.finish.is_cancelled() {
            return Err(Broken::Cut);
        }
        if let Some(session) = session.map(|session| session.value) {
            match session.state {
                SessionState::Stopped => return Err(Broken::Cut),
                SessionState::Paused => return Err(Broken::Disturbed),
                SessionState::Running => {}
            }
            if disturbed || session.scenarios.values().any(|target| target.rate != Some(self.rate)) {
                return Err(Broken::Disturbed);
            }
        }
        let now = self.run.clock.unix_now_ns();
        self.busy.push((now, self.run.workload.busy()));
        Ok(now)
    }

    /// Whether somebody else has changed the load since the last look: its rate, but also what is done at that rate, and what has
    /// been changed back.
    fn is_disturbed(&mut self) -> bool {
        let mut disturbed = false;
        loop {
            match self.changes.try_recv() {
                Ok(changed) => {
                    disturbed |= changed.session == self.run.session && changed.by != By::Capacity;
                }
                // It cannot be told whose they were.
                Err(TryRecvError::Lagged(_)) => disturbed = true,
                Err(TryRecvError::Empty | TryRecvError::Closed) => return disturbed,
            }
        }
    }

    /// Waits while the session is paused; none when the run ends.
    async fn until_running(&mut self) -> Option<()> {
        loop {
            match self.tick().await {
                Err(Broken::Cut) => return None,
                Ok(_) => return Some(()),
                Err(Broken::Disturbed) => {
                    let session = self.run.board.session(self.run.session).borrow().clone();
                    if session.is_some_and(|session| session.value.state == SessionState::Running) {
                        return Some(());
                    }
                }
            }
        }
    }

    /// Who stopped the session, if anybody did.
    fn stopped_by(&self) -> Option<String> {
        let session = self.run.board.session(self.run.session).borrow().clone()?.value;
        let change = session.last_changes.iter().find(|change| change.what == "state")?;
        (session.state == SessionState::Stopped).then(|| change.by.name().to_owned())
    }

    fn cap(&self) -> u64 {
        let session = self.run.board.session(self.run.session).borrow().clone();
        session.map_or(0, |session| session.value.workers().into())
    }

    fn busy_most(&self) -> u64 {
        self.busy.iter().map(|(_, busy)| *busy).max().unwrap_or(0)
    }

    /// Whether the step is over already.
    fn glance(&self, began: u64, now: u64, around: Around) -> Option<Judgement> {
        self.is_down(began, now).or_else(|| {
            let whole = now - began >= HOPELESS_NS;
            whole.then(|| Judgement::hopeless(&self.run.analytics.window(now - HOPELESS_NS..now), around))?
        })
    }

    /// Whether nothing has succeeded lately, though much was tried.
    fn is_down(&self, began: u64, now: u64) -> Option<Judgement> {
        let looks = GLANCES_NS.into_iter().map(|over| began.max(now.saturating_sub(over)));
        looks.map(|from| self.run.analytics.window(from..now)).find_map(|figures| Judgement::down(&figures))
    }

    /// Whether a window shows a trend.
    fn look(&self, from: u64, to: u64) -> Shown {
        let parts = self.run.analytics.window(from..to).parts;
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

    fn line(&self, line: &str) {
        self.run.progress.tell(line);
    }

    fn status(&self, status: &str) {
        self.run.progress.set_status(status);
    }
}

/// `step 7   64/s   FAILED  chain{failed} < 1%: 3.2 %, N 960`
fn said_of(number: usize, step: &Step) -> String {
    let Step { rate, judgement, figures, .. } = step;
    let rate = rate_text(*rate);
    let verdict = verdict_text(judgement.outcome);
    let reached = figures.ended as f64 * 1e9 / figures.over_ns.max(1) as f64;
    match judgement.reasons.first() {
        Some(reason) => format!("step {number}: {rate} {verdict}: {reason}"),
        None => format!("step {number}: {rate} {verdict}, {reached:.1}/s ended"),
    }
}

/// One word or two for a table.
pub(crate) const fn verdict_text(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Sustained => "sustained",
        Outcome::Failed => "FAILED",
        Outcome::Down => "CA DOWN",
        Outcome::Limited => "limited",
    }
}

/// `12.5/s`, with no more digits than say something.
pub(crate) fn rate_text(rate: f64) -> String {
    let digits = (rate * 1e4).round() / 1e4;
    let text = match rate {
        0.0 => "0".to_owned(),
        ..1.0 => format!("{digits}"),
        ..100.0 => format!("{}", (rate * 100.0).round() / 100.0),
        _ => format!("{}", (rate * 10.0).round() / 10.0),
    };
    format!("{text}/s")
}

pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
