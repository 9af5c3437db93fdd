//! How a run has ended: its outcome, and what is wrong with one that has not passed.

use wec_record::threshold::Unit;
use wec_record::{Mark, MarkBy, MarkWhat, RunOutcome};

use crate::never_succeeded::{cause, nothing_issued};
use crate::snapshot::{Missing, Snapshot, ThresholdResult};
use crate::wording::{counted, duration};

/// The outcome of the run.
pub fn outcome(snapshot: &Snapshot) -> RunOutcome {
    let interrupted = |mark: &Mark| mark.what == MarkWhat::State && mark.by == MarkBy::Signal;
    if snapshot.marks.iter().any(interrupted) {
        RunOutcome::Interrupted
    } else if snapshot.chains.values().all(|chain| chain.count == 0) {
        RunOutcome::Empty
    } else if broken_thresholds(snapshot).is_empty() && nothing_succeeded(snapshot).is_none() {
        RunOutcome::Passed
    } else {
        RunOutcome::Failed
    }
}

/// The error lines for the thresholds that did not hold; empty when all did.
pub fn broken_thresholds(snapshot: &Snapshot) -> Vec<String> {
    let all = &snapshot.thresholds;
    let broken: Vec<_> = all.iter().filter(|result| result.passed != Some(true)).collect();
    if broken.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![format!("error: {} of {} thresholds did not hold:", broken.len(), all.len())];
    lines.extend(broken.into_iter().map(|result| format!("  {}", threshold_line(result))));
    lines
}

/// What is wrong with a run in which nothing succeeded, or an included chain never did; a line for each such
/// chain.
pub fn nothing_succeeded(snapshot: &Snapshot) -> Option<String> {
    let chains = snapshot.chains.values();
    let (ended, failed) =
        chains.fold((0, 0), |(ended, failed), chain| (ended + chain.count, failed + chain.failed));
    let none = "no chain ran to its end: check that the limits and weights allow one";
    match (ended, failed) {
        (0, _) => Some(none.to_owned()),
        (ended, failed) if ended == failed => {
            let worst = snapshot.chains.iter().max_by_key(|(_, figures)| figures.failed);
            let cause = worst.map(|(chain, _)| cause(snapshot, *chain)).unwrap_or_default();
            Some(format!("nothing succeeded: all {ended} chains failed{cause}"))
        }
        _ if snapshot.never_succeeded.is_empty() => nothing_issued(snapshot),
        _ => {
            let why = snapshot.never_succeeded.iter().map(|chain| chain.why.as_str());
            Some(why.collect::<Vec<_>>().join("\n"))
        }
    }
}

/// One threshold in a line: `FAILED chain.certificate{p(99)} < 2s: 2.31 s, N 4200`.
pub fn threshold_line(result: &ThresholdResult) -> String {
    format!("{} {}: {}", verdict_of(result), result.expression, threshold_value(result))
}

/// The value of a threshold with its number of samples: `2.31 s, N 4200`.
pub fn threshold_value(result: &ThresholdResult) -> String {
    let Some(value) = result.value else {
        return match result.windows {
            Some(_) => "no full window had enough samples".to_owned(),
            None if result.unit == Unit::Share && result.expression.starts_with("rate{") => {
                "no target was set".to_owned()
            }
            None => format!("too few samples: N {}", result.n),
        };
    };
    let value = match result.unit {
        Unit::Ns => duration(value as u64),
        Unit::Share => percent(value, result.limit),
        Unit::Count => format!("{value}"),
        Unit::PerSecond => format!("{value}/s"),
    };
    match (result.windows, result.windows_failed) {
        (Some(windows), Some(failed)) => {
            format!(
                "worst {value}, N {}; {failed} of {} failed",
                result.n,
                counted(windows, "window", "windows")
            )
        }
        _ if result.unit == Unit::Count => value,
        _ => format!("{value}, N {}", result.n),
    }
}

/// What the figures do not include, for people: how many, and of what.
pub fn missing(snapshot: &Snapshot) -> impl Iterator<Item = (u64, &'static str)> {
    let Missing {
        lost_results,
        unknown_chains,
        unknown_records,
        other_warnings,
        clamped_times,
        other_endpoints,
        other_failures,
        dropped_marks,
        other_scenarios,
        observed_left_out,
        other_observed,
        outside_series,
        // A hit may come before the record of its authorization.
        unjoined_hits: _,
    } = snapshot.missing;
    let all = [
        (
            snapshot.state.unwritten,
            "changes of the state were not written to its database: the CA made them, the database lacks them",
        ),
        (lost_results, "results were lost by their senders; the log's `lost` records have the reason"),
        (
            unknown_chains,
            "results are of chains that this version does not know: their requests are counted, they are in no chain's row",
        ),
        (other_warnings, "warnings have further causes and are only in the log"),
        (unknown_records, "records have an unknown kind or value and are only in the log"),
        (clamped_times, "times above one hour were counted as one hour"),
        (
            observed_left_out,
            "series to observe were left out, beyond the bound or without a finite value: choose with --observe-series",
        ),
        (other_observed, "samples of observed series beyond the first 256 are only in the log"),
        (other_endpoints, "requests are in the row `other`: too many endpoints"),
        (other_failures, "failures are in the row `other`: too many kinds"),
        (dropped_marks, "marks are not listed: too many"),
        (other_scenarios, "samples of scenarios beyond the first 64 are only in the log"),
        (outside_series, "records have times outside of the charts"),
    ];
    all.into_iter().filter(|(count, _)| *count > 0)
}

/// The result of a threshold, as a word.
pub const fn verdict_of(result: &ThresholdResult) -> &'static str {
    match result.passed {
        Some(true) => "passed",
        Some(false) => "FAILED",
        None => "UNDECIDED",
    }
}

/// A share with two decimals, or with as many as are needed to differ from its limit.
fn percent(share: f64, limit: f64) -> String {
    let rounded = |share: f64, size: f64| (100.0 * share * size).round() / size;
    let told = [1e2, 1e3, 1e4, 1e5].into_iter().find(|size| rounded(share, *size) != rounded(limit, *size));
    format!("{} %", rounded(share, told.unwrap_or(1e2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_not_rounded_to_its_limit() {
        let cases = [
            (0.981_055, 0.95, "98.11 %"),
            (0.010_01, 0.01, "1.001 %"),
            (0.01, 0.01, "1 %"),
            (0.0, 0.01, "0 %"),
            (0.010_000_01, 0.01, "1 %"),
        ];
        for (share, limit, text) in cases {
            assert_eq!(percent(share, limit), text);
        }
    }
}
