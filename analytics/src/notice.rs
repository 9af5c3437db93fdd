//! The notice of a run's end, for a webhook.

use wec_figures::outcome::threshold_line;
use wec_figures::snapshot::Snapshot;
use wec_startup::{Exit, TextStyle};

use crate::summary::summary_table;

/// Most thresholds in a notice.
const MAX_THRESHOLDS: usize = 20;

/// Verdict, target, headline, thresholds and the place of the log.
pub fn notice(snapshot: &Snapshot, exit: Exit, log: &str) -> String {
    let verdict = match exit {
        Exit::Passed => "passed",
        Exit::Failed => "failed",
        Exit::Interrupted => "interrupted, without a verdict",
        Exit::GeneratorLimited => "limited by the load tester, without a verdict",
        _ => "ended",
    };
    let table = summary_table(snapshot, TextStyle::default());
    let headline = table.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let mut lines = vec![format!("wec run {verdict}: {}", snapshot.run.target), headline.to_owned()];
    lines.extend(snapshot.thresholds.iter().take(MAX_THRESHOLDS).map(threshold_line));
    lines.push(format!("log: {log}"));
    lines.join("\n")
}
