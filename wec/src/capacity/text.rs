//! The texts of a search while it runs: lines, and the curve so far.

use wec_analytics::{CapacityView, StepOutcome, time_text};

use super::findings::Step;
use super::search::StepResult;

/// ` · 40/s sustained, 45/s not · median by rate 5/s ▁▂▅█ 45/s`; empty before the first step.
pub(super) fn so_far(shown: &CapacityView) -> String {
    if shown.status.is_empty() {
        return String::new();
    }
    let mut text = match (shown.sustained, shown.failed) {
        (Some(low), Some(high)) => format!(" · {} sustained, {} not", rate_text(low), rate_text(high)),
        (Some(low), None) => format!(" · {} sustained", rate_text(low)),
        (None, Some(high)) => format!(" · {} not sustained", rate_text(high)),
        (None, None) => return String::new(),
    };
    let mut points: Vec<_> = shown.steps.iter().filter_map(|step| Some((step.rate, step.p50_ns?))).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points.dedup_by(|a, b| a.0 == b.0);
    if let [first, .., last] = points[..] {
        let times: Vec<u64> = points.iter().map(|point| point.1).collect();
        text +=
            &format!(" · median by rate {} {} {}", rate_text(first.0), sparkline(&times), rate_text(last.0));
    }
    text
}

/// A bar of eighths for each time, on a logarithmic scale between the shortest and the longest.
fn sparkline(times: &[u64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let height = |ns: u64| (ns.max(1) as f64).ln();
    let (low, high) = times
        .iter()
        .fold((f64::MAX, f64::MIN), |(low, high), ns| (low.min(height(*ns)), high.max(height(*ns))));
    let scale = if high > low { (BARS.len() - 1) as f64 / (high - low) } else { 0.0 };
    times
        .iter()
        .map(|ns| BARS[(((height(*ns) - low) * scale).round() as usize).min(BARS.len() - 1)])
        .collect()
}

/// The outcome in the web API.
pub(crate) const fn step_outcome(outcome: StepResult) -> StepOutcome {
    match outcome {
        StepResult::Sustained => StepOutcome::Sustained,
        StepResult::Failed => StepOutcome::Failed,
        StepResult::Down => StepOutcome::CaDown,
        StepResult::Limited => StepOutcome::GeneratorLimited,
    }
}

/// `step 7   64/s   FAILED  chain{failed} < 1%: 3.2 %, N 960`
pub(super) fn said_of(number: usize, step: &Step) -> String {
    let Step { rate, judgement, figures, .. } = step;
    let rate = rate_text(*rate);
    let verdict = verdict_text(judgement.outcome);
    let reached = figures.ended as f64 * 1e9 / figures.over_ns.max(1) as f64;
    match judgement.reasons.first() {
        Some(reason) => format!("step {number}: {rate} {verdict}: {reason}"),
        None => {
            let time = |name: &str, ns: Option<u64>| {
                ns.map(|ns| format!(", {name} {}", time_text(ns))).unwrap_or_default()
            };
            let (p50, p95) = (time("p50", figures.p50_ns), time("p95", figures.p95_ns));
            format!("step {number}: {rate} {verdict}, {reached:.1}/s ended{p50}{p95}")
        }
    }
}

/// The outcome in one or two words, for a table.
pub(crate) const fn verdict_text(outcome: StepResult) -> &'static str {
    match outcome {
        StepResult::Sustained => "sustained",
        StepResult::Failed => "FAILED",
        StepResult::Down => "CA DOWN",
        StepResult::Limited => "limited",
    }
}

/// `12.5/s`, without meaningless digits.
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

#[cfg(test)]
mod tests {
    use wec_analytics::CapacityStep;

    use super::*;

    #[test]
    fn the_curve_so_far_fits_into_a_line() {
        let step = |rate: f64, ms: u64| CapacityStep {
            rate,
            p50_ns: Some(ms * 1_000_000),
            ..CapacityStep::default()
        };
        let mut shown = CapacityView { status: "step 1".into(), ..CapacityView::default() };
        assert_eq!(so_far(&shown), "");
        shown.steps = vec![step(5.0, 10)];
        shown.sustained = Some(5.0);
        assert_eq!(so_far(&shown), " · 5/s sustained");
        shown.steps = vec![step(5.0, 10), step(10.0, 20), step(40.0, 1280), step(20.0, 40)];
        (shown.sustained, shown.failed) = (Some(20.0), Some(40.0));
        assert_eq!(so_far(&shown), " · 20/s sustained, 40/s not · median by rate 5/s ▁▂▃█ 40/s");
        assert_eq!(sparkline(&[7, 7]), "▁▁");
    }
}
