//! The result of a search.

use wec_analytics::{WindowFailure, WindowFigures};

use super::judge::Judgement;
use super::search::Answer;

/// The result of a search, with its steps.
#[derive(Clone, Debug)]
pub(crate) struct Findings {
    /// The knee.
    pub(crate) answer: Answer,
    /// Each step, in the order of time.
    pub(crate) steps: Vec<Step>,
    /// The hold below the knee.
    pub(crate) hold: Option<Step>,
    /// Who ended the search early, by the name of [`By`]; empty for a signal.
    pub(crate) ended_by: Option<String>,
    /// How often a step was restarted because somebody changed the load.
    pub(crate) disturbed: u32,
    /// How long it took, nanoseconds.
    pub(crate) took_ns: u64,
}

/// A rate that was tried.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// Target rate, chains per second.
    pub(crate) rate: f64,
    /// The verdict.
    pub(crate) judgement: Judgement,
    /// Start, nanoseconds since the Unix epoch.
    pub(crate) at_unix_ns: u64,
    /// Time until it had settled; none if it never did.
    pub(crate) settled_ns: Option<u64>,
    /// The figures of the measuring window, or of the whole step if it ended before.
    pub(crate) figures: WindowFigures,
    /// Failures in the window that do not depend on the load and did not count for the verdict.
    pub(crate) independent: Vec<WindowFailure>,
    /// The largest number of workers in a chain.
    pub(crate) busy_most: u64,
    /// The CA's recovery time afterwards, if it had to recover and did.
    pub(crate) recovered_ns: Option<u64>,
}
