//! How a run in the list of runs has ended: length, counts and verdict.

use wec_figures::outcome::outcome;
use wec_figures::snapshot::Snapshot;
use wec_record::{Footer, RunOutcome};

use crate::views::RunEnd;

/// From its figures. A live run, and one whose log has no end, has no verdict.
pub(super) fn end(snapshot: &Snapshot, has_end: bool) -> RunEnd {
    let chains = snapshot.chains.values();
    RunEnd {
        elapsed_ns: snapshot.elapsed_ns,
        chains: chains.clone().map(|chain| chain.count).sum(),
        chains_failed: Some(chains.map(|chain| chain.failed).sum()),
        passed: passed(outcome(snapshot)).filter(|_| has_end),
    }
}

/// From the footer of its log, which is not read.
pub(super) fn end_by_footer(started_unix_ns: u64, footer: &Footer) -> RunEnd {
    RunEnd {
        elapsed_ns: footer.at_unix_ns.saturating_sub(started_unix_ns),
        chains: footer.records.get("chain").copied().unwrap_or(0),
        chains_failed: None,
        passed: passed(footer.outcome),
    }
}

const fn passed(outcome: RunOutcome) -> Option<bool> {
    match outcome {
        RunOutcome::Passed => Some(true),
        RunOutcome::Failed | RunOutcome::Empty => Some(false),
        RunOutcome::Interrupted => None,
    }
}
