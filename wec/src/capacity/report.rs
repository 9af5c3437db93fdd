//! The result of a search, for people and for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};
use wec_analytics::{FailureScope, WindowFailure, WindowFigures, counted, time_text};
use wec_requester::Plan;
use wec_startup::{Exit, TextStyle};
use wec_text::without_query;

use super::findings::{Findings, Step};
use super::judge::percent;
use super::plan::SearchPlan;
use super::search::{Answer, Growth, Resolution, StepResult, Why};
use super::text::{rate_text, step_outcome, verdict_text};
use super::times::nanoseconds;
use crate::here::Ended;
use crate::junit;

/// Version of the JSON below. It grows when a key changes its meaning or is removed.
const CAPACITY_VERSION: u32 = 1;
/// Width if the terminal's width is not known.
const USUAL_WIDTH: usize = 80;
/// Longer bars do not show more.
const MOST_WIDTH: usize = 120;
/// Above this ratio, response times are drawn on a logarithmic scale.
const FAR_APART: f64 = 20.0;

fn painted(style: TextStyle, text: &str, outcome: StepResult) -> String {
    match outcome {
        StepResult::Sustained => style.good(text),
        StepResult::Failed | StepResult::Down => style.bad(text),
        StepResult::Limited => style.doubtful(text),
    }
}

/// The lines before a search begins.
pub(crate) fn notes(search: &SearchPlan) -> Vec<String> {
    let criteria: Vec<String> = search.criteria.iter().map(ToString::to_string).collect();
    let usual = if search.usual_criteria { " (the default; set others with --threshold)" } else { "" };
    let setting = &search.setting;
    let growth = match setting.growth {
        Growth::Factor(factor) => format!("times {factor}"),
        Growth::By(rate) => format!("plus {}", rate_text(rate)),
    };
    let to = setting.to.map(|to| format!(" up to {}", rate_text(to))).unwrap_or_default();
    let resolution = match setting.resolution {
        Resolution::Share(share) => whole_percent(share),
        Resolution::Rate(rate) => rate_text(rate),
    };
    let mut lines = vec![
        format!("search  from {} {growth}{to}, to within {resolution}", rate_text(setting.from),),
        format!(
            "steps   settle in {}..{}, then are measured for {}",
            human(search.settle_least),
            human(search.settle_most),
            human(search.step_time),
        ),
        format!("holds   settled, {}{usual}", criteria.join(", ")),
    ];
    if let Some(share) = setting.hold_at {
        let hold = human(search.hold);
        let share = whole_percent(share);
        let most = human(search.max_time);
        lines.push(format!("ends    at {share} of the knee for {hold}, all of it within {most}"));
    }
    lines
}

/// `5 %`, `2.5 %`
fn whole_percent(share: f64) -> String {
    format!("{} %", (share * 1e4).round() / 1e2)
}

fn human(time: std::time::Duration) -> String {
    humantime::format_duration(time).to_string().replace(' ', "")
}

/// The report of a search.
pub(crate) struct Report<'a> {
    pub(crate) search: &'a SearchPlan,
    pub(crate) plan: &'a Plan,
    pub(crate) findings: &'a Findings,
    pub(crate) ended: &'a Ended,
    pub(crate) exit: Exit,
}

impl Report<'_> {
    /// For people.
    pub(crate) fn text(&self, style: TextStyle) -> String {
        let findings = self.findings;
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{} in {}, against {}\n",
            counted(findings.steps.len() as u64, "step", "steps"),
            time_text(findings.took_ns),
            without_query(self.plan.directory.as_str())
        );
        text.push_str(&table(findings, style));
        text.push_str(&chart(findings, style));
        for sentence in self.sentences() {
            text.push_str(&style.wrapped(&sentence, 0));
            text.push('\n');
        }
        text.pop();
        text
    }

    /// The result in sentences.
    fn sentences(&self) -> Vec<String> {
        let Findings { answer, hold, disturbed, .. } = self.findings;
        let mut said = vec![knee(self.findings, self.search)];
        if answer.knee.is_some() && answer.why != Why::Limited {
            said.push(
                "Up to the knee, what is due ends, neither response times nor the number of chains in flight grow with \
                 time, and every criterion holds. It is a rate of this mix of chains, against this CA as it is now."
                    .to_owned(),
            );
        }
        if let Some(hold) = hold {
            let Step { rate, figures, judgement, .. } = hold;
            let (rate, seconds) = (rate_text(*rate), figures.over_ns / 1_000_000_000);
            said.push(match judgement.outcome {
                StepResult::Sustained => {
                    let p95 = figures.p95_ns.map(|p95| format!(", p95 {}", time_text(p95))).unwrap_or_default();
                    format!("The CA was left running well below the knee: {rate} for {seconds} s, {} of {} chains failed{p95}.", figures.failed, figures.ended)
                }
                StepResult::Limited => format!(
                    "Below the knee, at {rate}, this machine was the limit: {}. Whether the CA works well there is not known.",
                    judgement.reasons.join("; ")
                ),
                StepResult::Failed | StepResult::Down => format!(
                    "The CA does NOT work well below the knee: at {rate}, {}. It no longer sustains what it sustained \
                     before; check the CA, and search again.",
                    judgement.reasons.join("; ")
                ),
            });
        }
        let to_hold = answer.knee.is_some() && self.search.setting.hold_at.is_some();
        if to_hold && hold.is_none() && !matches!(answer.why, Why::Gone | Why::Cut) {
            said.push(
                "Whether the CA works well below the knee is not known: there was no time for the hold (--max-time)."
                    .to_owned(),
            );
        }
        let failures = &self.ended.snapshot.failures;
        if let Some(failure) = failures.iter().find(|failure| failure.scope == FailureScope::Chain) {
            said.push(format!(
                "Most frequent failure: {} × {}: {}",
                failure.count, failure.name, failure.example
            ));
        }
        said.extend(independent(self.findings));
        if *disturbed > 0 {
            said.push(format!(
                "The load was changed from elsewhere {}: those steps were restarted.",
                counted(u64::from(*disturbed), "time", "times")
            ));
        }
        said
    }

    /// For programs; docs/capacity.md explains the keys.
    pub(crate) fn json(&self) -> Value {
        let Findings { answer, steps, hold, took_ns, disturbed, ended_by } = self.findings;
        let Answer { knee, above, .. } = *answer;
        let setting = &self.search.setting;
        json!({
            "version": CAPACITY_VERSION,
            "exit_code": self.exit.code(),
            "target": without_query(self.plan.directory.as_str()),
            "knee": knee,
            "above": above,
            "width": knee.zip(above).map(|(knee, above)| above - knee),
            "ended": why_name(answer.why),
            "ended_by": ended_by,
            "sentence": knee_sentence(self),
            "took_ns": took_ns,
            "disturbed": disturbed,
            "criteria": self.search.criteria.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "usual_criteria": self.search.usual_criteria,
            "search": {
                "from": setting.from,
                "to": setting.to,
                "step": match setting.growth {
                    Growth::Factor(factor) => format!("x{factor}"),
                    Growth::By(rate) => format!("{rate}/s"),
                },
                "resolution": match setting.resolution {
                    Resolution::Share(share) => format!("{}%", 100.0 * share),
                    Resolution::Rate(rate) => format!("{rate}/s"),
                },
                "step_time_ns": nanoseconds(self.search.step_time),
                "settle_least_ns": nanoseconds(self.search.settle_least),
                "settle_most_ns": nanoseconds(self.search.settle_most),
                "recover_ns": nanoseconds(self.search.recover),
                "max_time_ns": nanoseconds(self.search.max_time),
                "hold_at": setting.hold_at,
                "hold_ns": nanoseconds(self.search.hold),
            },
            "steps": steps.iter().map(step_json).collect::<Vec<_>>(),
            "hold": hold.as_ref().map(step_json),
            "log": self.ended.log,
            "summary": self.ended.snapshot,
        })
    }

    /// For CI systems.
    pub(crate) fn junit(&self) -> String {
        let answer = &self.findings.answer;
        let sentence = knee_sentence(self);
        let found = match self.exit {
            Exit::Passed => None,
            _ if answer.knee.is_some() && !matches!(answer.why, Why::Gone | Why::Cut) => None,
            Exit::Interrupted => Some(("error", sentence)),
            _ => Some(("failure", sentence)),
        };
        let mut cases = vec![junit::case("a knee is found", found)];
        if self.exit == Exit::GeneratorLimited {
            let why = "the search was generator-limited, which --strict does not allow".to_owned();
            cases.push(junit::case("the load tester keeps up", Some(("failure", why))));
        }
        if let Some(hold) = &self.findings.hold {
            let well = matches!(hold.judgement.outcome, StepResult::Sustained | StepResult::Limited);
            let wrong = (!well).then(|| ("failure", hold.judgement.reasons.join("; ")));
            cases.push(junit::case("the CA works well below the knee", wrong));
        }
        let name = format!("wec capacity {}", without_query(self.plan.directory.as_str()));
        junit::document(&name, self.findings.took_ns as f64 / 1e9, &cases)
    }
}

/// Failures that did not count for any verdict, over all steps, most frequent first.
fn independent(findings: &Findings) -> Option<String> {
    let mut kinds: Vec<WindowFailure> = Vec::new();
    for failure in findings.steps.iter().flat_map(|step| &step.independent) {
        match kinds.iter_mut().find(|known| known.is_like(failure)) {
            Some(known) => known.count += failure.count,
            None => kinds.push(failure.clone()),
        }
    }
    kinds.sort_by_key(|failure| std::cmp::Reverse(failure.count));
    let ended: u64 = findings.steps.iter().map(|step| step.figures.ended).sum();
    let shown = kinds.iter().take(3).map(|failure| {
        let WindowFailure { chain, class, status, problem, count } = failure;
        let status = if *status == 0 { String::new() } else { format!(" {status}") };
        let problem =
            if problem.is_empty() { String::new() } else { format!(" {}", wec_text::visible(problem)) };
        format!("{count} × {chain} {class}{status}{problem}")
    });
    let shown: Vec<_> = shown.collect();
    (!shown.is_empty()).then(|| {
        format!(
            "Failures that do not depend on the load and did not count for any verdict, of {ended} chains: {}.",
            shown.join(", ")
        )
    })
}

fn knee_sentence(report: &Report<'_>) -> String {
    knee(report.findings, report.search)
}

/// The answer in one or two sentences.
fn knee(findings: &Findings, search: &SearchPlan) -> String {
    let Answer { knee, above, why } = findings.answer;
    let reason = |rate: f64| {
        let at =
            findings.steps.iter().rev().find(|step| step.rate == rate && !step.judgement.reasons.is_empty());
        at.map(|step| step.judgement.reasons.join("; ")).unwrap_or_default()
    };
    let limited = findings.steps.iter().rev().find(|step| step.judgement.outcome == StepResult::Limited);
    let known = match (knee, above) {
        (Some(knee), Some(above)) => {
            let width = above - knee;
            format!(
                "Knee: {} chains/s, known to within {} ({}): {} was sustained, {} was not: {}.",
                bare(knee),
                rate_text(width),
                percent(width / above),
                rate_text(knee),
                rate_text(above),
                reason(above)
            )
        }
        (Some(knee), None) => format!("Knee: at least {} chains/s, which was sustained.", bare(knee)),
        (None, Some(above)) => {
            format!(
                "No knee: the CA does not sustain {}, the lowest rate tried: {}. Give a lower --from than {}.",
                rate_text(above),
                reason(above),
                rate_text(search.setting.from)
            )
        }
        (None, None) => "No knee: no step was completed.".to_owned(),
    };
    let more = match why {
        Why::Narrow | Why::BelowFirst => String::new(),
        Why::ReachedTo => " It is the last rate of the search (--to): the CA may do more.".to_owned(),
        Why::Limited => match limited {
            Some(step) => format!(
                " At {} this machine was the limit, which is no verdict on the CA, so the search ended: {}.",
                rate_text(step.rate),
                step.judgement.reasons.join("; ")
            ),
            None => " This machine was the limit.".to_owned(),
        },
        Why::Gone => {
            format!(" After the last step the CA did not recover within {}: check it.", human(search.recover))
        }
        Why::Over => format!(
            " The search's time was over ({}): a longer --max-time gives a closer result.",
            human(search.max_time)
        ),
        Why::Cut => match &findings.ended_by {
            Some(by) => format!(" The search was stopped early, by {by}."),
            None => " The search was interrupted.".to_owned(),
        },
    };
    known + &more
}

const fn why_name(why: Why) -> &'static str {
    match why {
        Why::Narrow => "narrow",
        Why::ReachedTo => "reached-to",
        Why::BelowFirst => "below-first",
        Why::Limited => "generator-limited",
        Why::Gone => "ca-gone",
        Why::Over => "out-of-time",
        Why::Cut => "cut",
    }
}

fn step_json(step: &Step) -> Value {
    let Step { rate, judgement, at_unix_ns, settled_ns, figures, independent, busy_most, recovered_ns } =
        step;
    let failures = figures.failures.iter().map(|failure| {
        json!({
            "chain": failure.chain,
            "class": failure.class,
            "status": failure.status,
            "problem": failure.problem,
            "count": failure.count,
            "depends_on_load": !independent.contains(failure),
        })
    });
    json!({
        "rate": rate,
        "verdict": step_outcome(judgement.outcome),
        "reasons": judgement.reasons,
        "failures": failures.collect::<Vec<_>>(),
        "at_unix_ns": at_unix_ns,
        "settled_after_ns": settled_ns,
        "recovered_after_ns": recovered_ns,
        "over_ns": figures.over_ns,
        "reached": reached(figures),
        "due": figures.due,
        "started": figures.started,
        "dropped": figures.dropped,
        "idle": figures.idle,
        "ended": figures.ended,
        "failed": figures.failed,
        "certificates": figures.certificates,
        "busy_max": busy_most,
        "response_time_ns": {
            "n": figures.n,
            "mean": figures.mean_ns,
            "p50": figures.p50_ns,
            "p95": figures.p95_ns,
            "p99": figures.p99_ns,
        },
        "thresholds": figures.thresholds.iter().map(|threshold| json!({
            "expression": threshold.expression,
            "unit": threshold.unit,
            "value": threshold.value,
            "passed": threshold.passed,
            "n": threshold.n,
            "beyond": threshold.beyond,
        })).collect::<Vec<_>>(),
    })
}

/// A row for each step, ordered by rate, and the reasons of those that were not sustained.
fn table(findings: &Findings, style: TextStyle) -> String {
    let mut text = String::new();
    let head = ["chains/s", "reached", "p50", "p95", "p99", "N", "failed", "dropped", "settle"];
    // 80 columns with the verdict.
    let widths = [8, 8, 8, 8, 8, 6, 8, 8, 7];
    let row = |cells: [String; 9]| {
        let cells = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:>width$}"));
        cells.collect::<Vec<_>>().concat()
    };
    let _ = writeln!(text, "{}  verdict", row(head.map(str::to_owned)));
    let _ = writeln!(text, "{}", "─".repeat(widths.iter().sum::<usize>() + 11));
    let mut steps: Vec<&Step> = findings.steps.iter().collect();
    steps.sort_by(|a, b| a.rate.total_cmp(&b.rate));
    for (step, held) in
        steps.into_iter().map(|step| (step, false)).chain(findings.hold.iter().map(|hold| (hold, true)))
    {
        let figures = &step.figures;
        let time = |ns: Option<u64>| ns.map_or_else(|| "–".to_owned(), time_text);
        let share =
            |part: u64, of: u64| if of == 0 { "–".to_owned() } else { percent(part as f64 / of as f64) };
        let cells = row([
            bare(step.rate),
            format!("{:.1}", reached(figures)),
            time(figures.p50_ns),
            time(figures.p95_ns),
            time(figures.p99_ns),
            figures.n.to_string(),
            share(figures.failed, figures.ended),
            share(figures.dropped, figures.due),
            step.settled_ns.map_or_else(|| "never".to_owned(), |ns| format!("{:.1} s", ns as f64 / 1e9)),
        ]);
        let outcome = step.judgement.outcome;
        let verdict = if held && outcome == StepResult::Sustained { "held" } else { verdict_text(outcome) };
        let _ = writeln!(text, "{cells}  {}", painted(style, verdict, outcome));
        for reason in &step.judgement.reasons {
            text.push_str(&style.wrapped(&format!("          {reason}"), 10));
            text.push('\n');
        }
    }
    text.push('\n');
    text
}

/// Response times over rate: the curve whose bend is the knee.
fn chart(findings: &Findings, style: TextStyle) -> String {
    let mut steps: Vec<(&Step, u64, u64)> = findings
        .steps
        .iter()
        .filter_map(|step| {
            let p50 = step.figures.p50_ns?;
            // With few samples only the median is available.
            let high = step.figures.p99_ns.or(step.figures.p95_ns).unwrap_or(p50);
            Some((step, p50, high.max(p50)))
        })
        .collect();
    steps.sort_by(|a, b| a.0.rate.total_cmp(&b.0.rate));
    let (Some(least), Some(most)) =
        (steps.iter().map(|step| step.1).min(), steps.iter().map(|step| step.2).max())
    else {
        return String::new();
    };
    if steps.len() < 2 {
        return String::new();
    }
    let width = style.columns.unwrap_or(USUAL_WIDTH).min(MOST_WIDTH);
    let room = width.saturating_sub(8 + 2 + 22).max(10);
    let logarithmic = most as f64 > FAR_APART * least.max(1) as f64;
    let length = |ns: u64| {
        let share = if logarithmic {
            let (low, high) = ((least.max(1) as f64 / 2.0).ln(), (most as f64).ln());
            ((ns.max(1) as f64).ln() - low) / (high - low)
        } else {
            ns as f64 / most.max(1) as f64
        };
        (share * room as f64).round() as usize
    };
    let scale = if logarithmic { " (log)" } else { "" };
    let mut text =
        format!("{:>8}  response time: █ median, ░ to the highest percentile known{scale}\n", "chains/s");
    for (step, p50, high) in steps {
        let (median, rest) = (length(p50), length(high).saturating_sub(length(p50)));
        let bar = format!("{}{}", "█".repeat(median), "░".repeat(rest));
        let times =
            if high > p50 { format!("{} … {}", time_text(p50), time_text(high)) } else { time_text(p50) };
        let _ = writeln!(
            text,
            "{:>8}  {} {times}",
            bare(step.rate),
            painted(style, &bar, step.judgement.outcome)
        );
    }
    text.push('\n');
    text
}

fn reached(figures: &WindowFigures) -> f64 {
    if figures.over_ns == 0 {
        0.0
    } else {
        (figures.ended as f64 * 1e12 / figures.over_ns as f64).round() / 1e3
    }
}

fn bare(rate: f64) -> String {
    rate_text(rate).trim_end_matches("/s").to_owned()
}

#[cfg(test)]
mod tests {
    use wec_analytics::{Aggregate, WindowThreshold};
    use wec_record::threshold::Unit;
    use wec_requester::PlanOptions;

    use super::super::judge::Judgement;
    use super::super::plan::resolve;
    use super::*;

    fn step(rate: f64, p50_ms: u64, outcome: StepResult, reason: &str) -> Step {
        let n = (rate * 15.0) as u64;
        let reasons = if reason.is_empty() { Vec::new() } else { vec![reason.to_owned()] };
        Step {
            rate,
            judgement: Judgement { outcome, reasons },
            at_unix_ns: 1_795_000_000_000_000_000,
            settled_ns: (outcome == StepResult::Sustained).then_some(5_750_000_000),
            figures: WindowFigures {
                over_ns: 15_000_000_000,
                due: n,
                started: n,
                ended: n,
                n,
                mean_ns: Some(p50_ms * 1_100_000),
                p50_ns: Some(p50_ms * 1_000_000),
                p95_ns: Some(p50_ms * 1_500_000),
                p99_ns: (n >= 1_000).then_some(p50_ms * 2_000_000),
                thresholds: vec![WindowThreshold {
                    expression: "chain{failed} < 1%".to_owned(),
                    unit: Unit::Share,
                    value: Some(0.0),
                    passed: Some(true),
                    n,
                    beyond: None,
                }],
                ..WindowFigures::default()
            },
            independent: Vec::new(),
            busy_most: 7,
            recovered_ns: None,
        }
    }

    fn found(answer: Answer, hold: Option<Step>, exit: Exit, read: impl FnOnce(&Report<'_>)) {
        let plan = PlanOptions::default().with("directory", "https://127.0.0.1:14000/dir");
        let (search, plan) = resolve(&plan, None).unwrap();
        let findings = Findings {
            answer,
            steps: vec![
                step(32.0, 20, StepResult::Sustained, ""),
                step(64.0, 25, StepResult::Sustained, ""),
                step(
                    128.0,
                    2_400,
                    StepResult::Failed,
                    "did not settle: chains in flight grew from 9 to 310 without end",
                ),
                step(96.0, 31, StepResult::Sustained, ""),
                step(112.0, 420, StepResult::Down, "the CA is down: all of the last 5 chains failed"),
            ],
            hold,
            ended_by: None,
            disturbed: 0,
            took_ns: 192_000_000_000,
        };
        let ended = Ended::of(Aggregate::default().snapshot(), "results/1.jsonl");
        read(&Report { search: &search, plan: &plan, findings: &findings, ended: &ended, exit });
    }

    const KNEE: Answer = Answer { knee: Some(96.0), above: Some(112.0), why: Why::Narrow };

    #[test]
    fn rows_are_ordered_by_rate_and_have_reasons() {
        found(KNEE, Some(step(76.8, 26, StepResult::Sustained, "")), Exit::Passed, |report| {
            let text = report.text(TextStyle { columns: Some(80), colours: false });
            let rows: Vec<&str> = text.lines().collect();
            assert_eq!(
                rows[2..12],
                [
                    "chains/s reached     p50     p95     p99     N  failed dropped settle  verdict",
                    &"─".repeat(80),
                    "      32    32.0 20.0 ms 30.0 ms       –   480   0.0 %   0.0 %  5.8 s  sustained",
                    "      64    64.0 25.0 ms 37.5 ms       –   960   0.0 %   0.0 %  5.8 s  sustained",
                    "      96    96.0 31.0 ms 46.5 ms 62.0 ms  1440   0.0 %   0.0 %  5.8 s  sustained",
                    "     112   112.0  420 ms  630 ms  840 ms  1680   0.0 %   0.0 %  never  CA DOWN",
                    "          the CA is down: all of the last 5 chains failed",
                    "     128   128.0  2.40 s  3.60 s  4.80 s  1920   0.0 %   0.0 %  never  FAILED",
                    "          did not settle: chains in flight grew from 9 to 310 without end",
                    "    76.8    76.8 26.0 ms 39.0 ms 52.0 ms  1152   0.0 %   0.0 %  5.8 s  held",
                ],
                "{text}"
            );
            let flat = text.replace('\n', " ");
            assert!(flat.contains(
                "Knee: 96 chains/s, known to within 16/s (14.3 %): 96/s was sustained, 112/s was not"
            ));
            assert!(
                flat.contains("left running well below the knee: 76.8/s for 15 s, 0 of 1152 chains failed")
            );
        });
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for columns in [80, 100, 120, 200] {
            found(KNEE, None, Exit::Passed, |report| {
                let text = report.text(TextStyle { columns: Some(columns), colours: false });
                let widest = text.lines().max_by_key(|line| line.chars().count()).unwrap_or_default();
                assert!(widest.chars().count() <= columns, "{columns}: {widest:?}");
            });
        }
    }

    #[test]
    fn each_result_has_its_sentence() {
        let cases = [
            (Answer { knee: Some(64.0), above: None, why: Why::ReachedTo }, "at least 64 chains/s"),
            (
                Answer { knee: None, above: Some(32.0), why: Why::BelowFirst },
                "does not sustain 32/s, the lowest rate",
            ),
            (Answer { knee: Some(64.0), above: None, why: Why::Limited }, "This machine was the limit"),
            (Answer { knee: Some(64.0), above: Some(112.0), why: Why::Gone }, "did not recover within 2m"),
            (Answer { knee: Some(64.0), above: Some(128.0), why: Why::Over }, "longer --max-time"),
            (Answer { knee: None, above: None, why: Why::Cut }, "was interrupted"),
        ];
        for (answer, expected) in cases {
            found(answer, None, Exit::Failed, |report| {
                let said = report.sentences().join(" ");
                assert!(said.contains(expected), "{said}");
            });
        }
    }

    #[test]
    fn json_and_junit_have_the_same_content() {
        let ill = step(76.8, 26, StepResult::Failed, "all 5 chains failed");
        found(KNEE, Some(ill), Exit::Failed, |report| {
            let json = report.json();
            assert_eq!((&json["version"], &json["exit_code"]), (&1.into(), &99.into()));
            assert_eq!(
                (&json["knee"], &json["above"], &json["width"]),
                (&96.0.into(), &112.0.into(), &16.0.into())
            );
            assert_eq!(json["ended"], "narrow");
            assert_eq!(json["steps"][4]["verdict"], "ca-down");
            assert_eq!(json["steps"][0]["thresholds"][0]["unit"], "share");
            assert_eq!(json["search"]["resolution"], "5%");
            assert_eq!(json["hold"]["reasons"][0], "all 5 chains failed");
            let junit = report.junit();
            assert!(junit.contains("tests=\"2\" failures=\"1\" errors=\"0\""), "{junit}");
            assert!(junit.contains("<failure message=\"all 5 chains failed\"/>"), "{junit}");
        });
    }
}
