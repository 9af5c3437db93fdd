//! What a search found.

use wec_analytics::{WindowFailure, WindowFigures};

use super::judge::Judgement;
use super::search::Answer;

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
    /// Failures of the window that do not depend on the load: the step was not judged by them.
    pub(crate) independent: Vec<WindowFailure>,
    /// Workers in the middle of a chain, the most that were seen.
    pub(crate) busy_most: u64,
    /// How long the CA took to recover after it, if it had to and did.
    pub(crate) recovered_ns: Option<u64>,
}
