//! The name of a run.

/// One run of a session: the same session may be run again later, under another name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRef {
    /// The session's id.
    pub session: String,
    /// The run's id, as in [`RunStatus::run`](crate::RunStatus::run).
    pub run: String,
}

impl RunRef {
    /// This run of this session.
    pub fn new(session: impl Into<String>, run: impl Into<String>) -> Self {
        Self { session: session.into(), run: run.into() }
    }
}
