//! Runs a search: sets the rate on the board as any other user would, evaluates the result, and ends the run
//! with the CA recovered.
//!
//! Each step: change the rate, wait until the CA has settled ([`settle`]), measure, judge ([`Judgement`]),
//! get the next action from [`Search`]. After a failed step the load is removed completely, and chains at a
//! low rate must succeed before the next step. Every wait is bounded.

use std::time::Duration;

use wec_analytics::WindowFigures;

use super::baseline::Baseline;
use super::findings::{Findings, Step};
use super::judge::{Around, Balance, Judgement, is_back};
use super::plan::SearchPlan;
use super::probe::{Broken, PART_NS, Probe, SearchedRun};
use super::search::{Answer, Next, Search, StepResult, Why};
use super::settle::{Rise, Series, Shown};
use super::text::{rate_text, said_of};
use super::times::{BACK_CHAINS, BACK_NS, LATE_NS, coming_back, measuring, nanoseconds};
use crate::here::{RunController, Running};

/// Parts of the search's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SearchPart {
    Steps,
    Hold,
}

/// A rate to try.
#[derive(Clone, Copy, Debug)]
struct Attempt<'a> {
    rate: f64,
    /// The name of the step in messages.
    name: &'a str,
    /// Least measuring time.
    measured: Duration,
    part: SearchPart,
}

/// The result of a recovery.
enum Recovery {
    /// Chains at a low rate succeed.
    Well,
    /// They do not, or running chains were never answered.
    Gone,
    /// They do not, because of this machine.
    Limited,
}

/// Why there is no verdict on a rate.
enum Unjudged {
    /// The run is ending.
    Cut,
    /// The search's time is over, or the rest is reserved for the hold.
    OutOfTime,
}

/// The search and its results so far, which remain if the run is ended early.
pub(crate) struct SearchRunner {
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

impl SearchRunner {
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

    /// The results; if the run was ended early, those so far.
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

impl RunController for SearchRunner {
    async fn steer(&mut self, run: Running<'_>) {
        self.search(run.into()).await;
    }
}

impl SearchRunner {
    /// Searches, and ends the run.
    pub(super) async fn search(&mut self, run: SearchedRun<'_>) {
        run.figures.watch_windows(self.plan.criteria.clone());
        self.started_ns = run.clock.now();
        self.ended_ns = self.started_ns;
        let mut probe = Probe::new(run);
        let mut next = self.first;
        loop {
            next = match next {
                Next::Step(rate) if self.is_out_of_time(&probe, rate, self.plan.step_time) => {
                    probe.line("the search's time is over (--max-time)");
                    self.search.out_of_time()
                }
                Next::Step(rate) => match self.step(&mut probe, rate).await {
                    Ok(step) => {
                        let outcome = step.judgement.outcome;
                        probe.line(&said_of(self.steps.len() + 1, &step));
                        probe.show(&step, false);
                        self.steps.push(step);
                        let next = self.search.stepped(outcome);
                        probe.show_bracket(self.search.answer());
                        next
                    }
                    Err(Unjudged::OutOfTime) => self.search.out_of_time(),
                    Err(Unjudged::Cut) => self.search.cut(),
                },
                Next::Recover(trickle) => match self.recover(&mut probe, trickle).await {
                    Ok(Recovery::Well) => self.search.recovered(true),
                    Ok(Recovery::Gone) => self.search.recovered(false),
                    Ok(Recovery::Limited) => self.search.limited(),
                    // The load is already removed: there is no time to see whether the CA recovers.
                    Err(Unjudged::OutOfTime) => self.search.over(),
                    Err(Unjudged::Cut) => self.search.cut(),
                },
                Next::Hold(rate) if !self.fits_hold(&probe, rate) => {
                    probe.line("there is no time to hold the CA below the knee (--max-time)");
                    self.search.held()
                }
                Next::Hold(rate) => match self.hold(&mut probe, rate).await {
                    Ok(hold) => {
                        probe.show(&hold, true);
                        self.hold = Some(hold);
                        self.search.held()
                    }
                    // The answer is already known.
                    Err(Unjudged::OutOfTime) => self.search.held(),
                    Err(Unjudged::Cut) => self.search.cut(),
                },
                Next::Done(answer) => {
                    self.answer = Some(answer);
                    break;
                }
            };
            self.ended_ns = probe.run.clock.now();
        }
        if self.answer.is_some_and(|answer| answer.why == Why::Cut) {
            self.ended_by = probe.stopped_by();
        }
        probe.show_end();
        probe.end_run().await;
    }
}

impl SearchRunner {
    /// Whether there is too little time before the hold to measure for `measured`, and as long as the rate
    /// needs.
    fn is_out_of_time(&self, probe: &Probe<'_>, rate: f64, measured: Duration) -> bool {
        let needs = self.plan.settle_least + measuring(measured, rate);
        probe.run.clock.now() + nanoseconds(needs) > self.until_ns(SearchPart::Steps, rate)
    }

    /// End of a part of the search, by the process's clock: `--max-time` for the hold; for everything before
    /// it, earlier by the time of the hold and of the recovery before it.
    fn until_ns(&self, part: SearchPart, rate: f64) -> u64 {
        let end = self.started_ns.saturating_add(nanoseconds(self.plan.max_time));
        let sustained = self.steps.iter().filter(|step| step.judgement.outcome == StepResult::Sustained);
        // The step itself may become the knee.
        let knee = sustained.map(|step| step.rate).max_by(f64::total_cmp).map_or(rate, |knee| knee.min(rate));
        let reserved = match (part, self.plan.setting.hold_at) {
            (SearchPart::Steps, Some(share)) => {
                let hold = self.plan.settle_least + measuring(self.plan.hold, knee * share);
                nanoseconds(hold) + 2 * LATE_NS + BACK_NS
            }
            _ => 0,
        };
        end.saturating_sub(reserved)
    }

    /// Whether there is time for the hold.
    fn fits_hold(&self, probe: &Probe<'_>, rate: f64) -> bool {
        let needs = nanoseconds(self.plan.settle_least + measuring(self.plan.hold, rate)) + 2 * LATE_NS;
        probe.run.clock.now() + needs <= self.until_ns(SearchPart::Hold, rate)
    }

    /// One step.
    async fn step(&mut self, probe: &mut Probe<'_>, rate: f64) -> Result<Step, Unjudged> {
        let name = format!("step {}", self.steps.len() + 1);
        let measured = self.plan.step_time;
        self.undisturbed(probe, Attempt { rate, name: &name, measured, part: SearchPart::Steps }).await
    }

    /// A step below the knee. A failure is repeated once, so that chance does not decide, as with the upper
    /// end of the bracket.
    async fn hold(&mut self, probe: &mut Probe<'_>, rate: f64) -> Result<Step, Unjudged> {
        let attempt = Attempt { rate, name: "hold", measured: self.plan.hold, part: SearchPart::Hold };
        let hold = self.undisturbed(probe, attempt).await?;
        let needs = nanoseconds(self.plan.settle_least + measuring(self.plan.hold, rate)) + LATE_NS;
        let fits = probe.run.clock.now() + needs <= self.until_ns(SearchPart::Hold, rate);
        if hold.judgement.outcome != StepResult::Failed || !fits {
            return Ok(hold);
        }
        probe.line(&format!("hold: {}; repeating it", hold.judgement.reasons.join("; ")));
        match self.undisturbed(probe, attempt).await {
            // The first result is better than none.
            Err(Unjudged::OutOfTime) => Ok(hold),
            again => again,
        }
    }

    /// From the change of the rate to the verdict; repeated while it is disturbed and there is time.
    async fn undisturbed(&mut self, probe: &mut Probe<'_>, attempt: Attempt<'_>) -> Result<Step, Unjudged> {
        let Attempt { rate, name, measured, part } = attempt;
        let until = self.until_ns(part, rate);
        loop {
            match self.try_step(probe, attempt, until).await {
                Err(Broken::Disturbed) => {
                    self.disturbed += 1;
                    probe.line(&format!("the load was changed during {name}: it is restarted"));
                    probe.until_running().await.ok_or(Unjudged::Cut)?;
                    let needs = nanoseconds(self.plan.settle_least + measuring(measured, rate));
                    if probe.run.clock.now() + needs > until {
                        probe.line("there is no time for that: the search ends (--max-time)");
                        return Err(Unjudged::OutOfTime);
                    }
                }
                Err(Broken::OutOfTime) => {
                    probe.line(&format!("the search's time was over during {name} (--max-time)"));
                    return Err(Unjudged::OutOfTime);
                }
                Err(Broken::Cut) => return Err(Unjudged::Cut),
                Ok(step) => return Ok(step),
            }
        }
    }

    async fn try_step(
        &self,
        probe: &mut Probe<'_>,
        attempt: Attempt<'_>,
        until_ns: u64,
    ) -> Result<Step, Broken> {
        let Attempt { rate, name, measured, .. } = attempt;
        let around = self.around(probe, rate);
        let began = probe.set_rate(rate).await;
        let mut step = Step {
            rate,
            judgement: Judgement { outcome: StepResult::Sustained, reasons: Vec::new() },
            at_unix_ns: began,
            settled_ns: None,
            figures: WindowFigures::default(),
            independent: Vec::new(),
            busy_most: 0,
            recovered_ns: None,
        };
        let settle_least = nanoseconds(self.plan.settle_least);
        let settle_most = nanoseconds(self.plan.settle_most);
        // Settling.
        let early = loop {
            let now = probe.tick().await?;
            probe.in_time(until_ns)?;
            let since = now - began;
            let shown_rate = rate_text(rate);
            probe.status(&format!("{name}: {shown_rate}, settling for {} s", since / 1_000_000_000));
            if let Some(judgement) = probe.glance(began, now, &around) {
                break Some(judgement);
            }
            if since < settle_least + LATE_NS {
                continue;
            }
            let end = now - LATE_NS;
            match probe.look(end - settle_least, end) {
                Shown::Settled => break None,
                Shown::Rising(rise) => {
                    let hopeless = self.is_hopeless(probe, began, end, rate, &around);
                    if let Some(rise) = hopeless.or((since >= settle_most).then_some(rise)) {
                        let figures = probe.run.figures.window(began..end);
                        break Some(Judgement::unsettled(&figures, rise, &around));
                    }
                }
                // It improves: do not wait forever.
                Shown::Falling if since >= settle_most => break None,
                Shown::Falling => {}
            }
        };
        let settled = probe.run.clock.unix_now_ns();
        if let Some(judgement) = early {
            step.figures = probe.run.figures.window(began..settled);
            step.judgement = judgement;
            step.independent = around.below.independent(&step.figures).cloned().collect();
            step.busy_most = probe.busy_most();
            return Ok(step);
        }
        step.settled_ns = Some(settled - began);
        // Measuring, on whole parts.
        let from = settled.div_ceil(PART_NS) * PART_NS;
        let to = from + nanoseconds(measuring(measured, rate)).div_ceil(PART_NS) * PART_NS;
        loop {
            let now = probe.tick().await?;
            probe.in_time(until_ns)?;
            let done = now.saturating_sub(from).min(to - from) / 1_000_000_000;
            probe.status(&format!(
                "{name}: {}, measuring {done} s of {} s",
                rate_text(rate),
                (to - from) / 1_000_000_000
            ));
            if let Some(judgement) = probe.glance(began, now, &around) {
                step.figures = probe.run.figures.window(from.min(now - PART_NS)..now);
                step.judgement = judgement;
                break;
            }
            if now >= to + LATE_NS {
                step.figures = probe.run.figures.window(from..to);
                let whole = probe.run.figures.window(settled.saturating_sub(settle_least)..to);
                let balance = Balance {
                    asked: rate * whole.over_ns as f64 / 1e9,
                    ended: whole.ended,
                    poisson: self.plan.poisson,
                };
                step.judgement = Judgement::of(&step.figures, probe.look(from, to), balance, &around);
                break;
            }
        }
        step.independent = around.below.independent(&step.figures).cloned().collect();
        step.busy_most = probe.busy_most();
        Ok(step)
    }

    /// Whether due chains pile up so fast that the longest settling time need not pass: after several times
    /// the least settling time, and several times the CA's usual time for a chain, more than a tenth of all
    /// due chains are still in flight.
    fn is_hopeless(
        &self,
        probe: &Probe<'_>,
        began: u64,
        now: u64,
        rate: f64,
        around: &Around,
    ) -> Option<Rise> {
        let (since, least) = (now - began, nanoseconds(self.plan.settle_least));
        if since < 3 * least || since < 3 * around.mean_below_ns? {
            return None;
        }
        let Shown::Rising(rise) = probe.look(began, now) else { return None };
        let due = rate * since as f64 / 1e9;
        (rise.what == Series::Busy && rise.to - rise.from > 0.1 * due).then_some(rise)
    }

    fn around(&self, probe: &Probe<'_>, rate: f64) -> Around {
        let sustained = self.steps.iter().filter(|step| step.judgement.outcome == StepResult::Sustained);
        let highest = sustained.max_by(|a, b| a.rate.total_cmp(&b.rate));
        let mut below = Baseline::default();
        let lower =
            self.steps.iter().filter(|step| step.rate < rate && step.judgement.outcome != StepResult::Down);
        lower.for_each(|step| below.add(&step.figures));
        Around {
            cap: probe.cap(),
            mean_below_ns: highest.and_then(|step| step.figures.mean_ns),
            criteria: self.plan.criteria.clone(),
            below,
        }
    }

    /// Removes the load, then checks whether chains at a low rate succeed.
    async fn recover(&mut self, probe: &mut Probe<'_>, trickle: f64) -> Result<Recovery, Unjudged> {
        loop {
            match self.try_recover(probe, trickle).await {
                Ok(recovery) => return Ok(recovery),
                Err(Broken::Cut) => return Err(Unjudged::Cut),
                Err(Broken::OutOfTime) => {
                    probe.set_rate(0.0).await;
                    probe.line("the search's time is over while the CA recovers (--max-time)");
                    return Err(Unjudged::OutOfTime);
                }
                Err(Broken::Disturbed) => probe.until_running().await.ok_or(Unjudged::Cut)?,
            }
        }
    }

    async fn try_recover(&mut self, probe: &mut Probe<'_>, trickle: f64) -> Result<Recovery, Broken> {
        let end_ns = self.until_ns(SearchPart::Hold, trickle);
        let began = probe.set_rate(0.0).await;
        let until = began + nanoseconds(self.plan.recover);
        loop {
            let now = probe.tick().await?;
            probe.in_time(end_ns)?;
            let busy = probe.run.workload.busy();
            let chains = if busy == 1 { "chain" } else { "chains" };
            probe.status(&format!("recovering: {busy} {chains} in flight, no new ones start"));
            if busy == 0 {
                break;
            }
            if now >= until {
                probe.line(&format!(
                    "the CA did not answer {busy} chains within {} after the load was removed (--recover)",
                    humantime::format_duration(self.plan.recover)
                ));
                return Ok(Recovery::Gone);
            }
        }
        let quiet = probe.set_rate(trickle).await;
        // Enough chains must become due within the time.
        let within = coming_back(self.plan.recover, trickle);
        let until = until.max(quiet + nanoseconds(within));
        loop {
            let now = probe.tick().await?;
            probe.in_time(end_ns)?;
            probe.status(&format!("recovering: a low rate of {}", rate_text(trickle)));
            // All chains from before the pause have ended.
            let figures = probe.run.figures.window(quiet..now);
            if now >= quiet + BACK_NS && is_back(&figures.parts, BACK_CHAINS) {
                if let Some(step) = self.steps.last_mut() {
                    step.recovered_ns = Some(now - began);
                    if step.judgement.outcome == StepResult::Down {
                        probe.line(&format!("the CA recovered after {} s", (now - began) / 1_000_000_000));
                    }
                }
                return Ok(Recovery::Well);
            }
            if let Some(down) = probe.is_down(quiet, now) {
                self.fell(down);
            }
            if now >= until && !figures.limited.is_empty() {
                probe.line(&format!(
                    "whether the CA recovered is not known, because this machine is the limit: {}",
                    figures.limited.join("; ")
                ));
                return Ok(Recovery::Limited);
            }
            if now >= until {
                probe.line(&format!(
                    "the CA did not recover within {} (--recover)",
                    humantime::format_duration(Duration::from_secs(within.as_secs()))
                ));
                return Ok(Recovery::Gone);
            }
        }
    }
}

impl SearchRunner {
    /// Chains fail even at a low rate after the last step: the CA failed at its end, if that was not detected
    /// before.
    fn fell(&mut self, down: Judgement) {
        let Some(step) = self.steps.last_mut() else { return };
        if step.judgement.outcome == StepResult::Failed {
            step.judgement.outcome = StepResult::Down;
            step.judgement.reasons.extend(down.reasons);
            self.search.fell();
        }
    }
}
