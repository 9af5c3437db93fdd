//! `wec capacity`: searches in one run for the highest rate that a CA sustains.
//!
//! The rate of the one scenario is changed step by step; everything else is as in `wec run`: the same flags,
//! one log, the page. Read in this order: [`plan`] (the options), [`search`] (the next rate), [`settle`]
//! (whether a step has settled), [`judge`] (the verdict on a step), [`runner`] (runs the search), [`report`]
//! (reports it). Reasons: docs/adr/0018.

mod baseline;
mod findings;
mod judge;
mod plan;
mod probe;
mod report;
mod runner;
mod search;
mod settle;
mod text;
mod times;

use wec_requester::Flags;
use wec_startup::{Exit, Stop, TextStyle, say};

use self::findings::Findings;
pub(crate) use self::plan::check;
use self::plan::{SearchPlan, Searched};
use self::report::Report;
use self::runner::SearchRunner;
use self::search::{StepResult, Why};
use crate::here::{self, Ended};
use crate::output::OutputOptions;
use crate::secret::eab_hmac_key;

/// Options of `wec capacity`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    flags: Flags<Searched>,
    #[command(flatten)]
    output: OutputOptions,
}

pub(crate) async fn capacity(options: Options, stop: Stop) -> anyhow::Result<Exit> {
    let (search, plan) = match plan::resolve(&options.flags.plan, eab_hmac_key()) {
        Ok(resolved) => resolved,
        Err(mistakes) => {
            say(&mistakes);
            options.output.leave_mistakes(&mistakes);
            return Ok(Exit::Usage);
        }
    };
    let output = options.output;
    let found = run_search(&search, &plan, &output, &stop).await;
    output.leave_failure(&found);
    let (findings, ended) = found?;
    let exit = exit(&findings, plan.plain.strict, &stop);
    let told = Report { search: &search, plan: &plan, findings: &findings, ended: &ended, exit };
    let text = |style: TextStyle| told.text(style);
    let left = output.leave("what was found", || told.junit(), &ended.log, text, &told.json());
    if let Some(webhook) = &output.exporters.report_to.webhook {
        let text = text(TextStyle::default());
        let answer = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let target = &ended.snapshot.run.target;
        let details = ended.details(&left, &output, &stop);
        wec_consumer::notify(webhook, &details.notice("wec capacity", target, [answer.to_owned()])).await;
    }
    ended.conclude(left, &output, &stop).await?;
    Ok(exit)
}

async fn run_search(
    search: &SearchPlan,
    plan: &wec_requester::Plan,
    output: &OutputOptions,
    stop: &Stop,
) -> anyhow::Result<(Findings, Ended)> {
    output.check()?;
    let mut runner = SearchRunner::new(search.clone());
    let ended = here::conduct(plan, output, report::notes(search), &mut runner, stop).await?;
    Ok((runner.findings(), ended))
}

/// In the order of [`Exit`].
fn exit(findings: &Findings, strict: bool, stop: &Stop) -> Exit {
    let held = findings.hold.as_ref().map(|hold| hold.judgement.outcome);
    let why = findings.answer.why;
    if stop.by_signal() || why == Why::Cut {
        Exit::Interrupted
    } else if strict && (why == Why::Limited || held == Some(StepResult::Limited)) {
        Exit::GeneratorLimited
    } else if findings.answer.knee.is_none()
        || why == Why::Gone
        || matches!(held, Some(StepResult::Failed | StepResult::Down))
    {
        Exit::Failed
    } else {
        Exit::Passed
    }
}

#[cfg(test)]
mod tests;
