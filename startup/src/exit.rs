//! The one place that maps how a command ended to an exit code.

use std::process::ExitCode;

/// How a command ended. The numbers are a promise to pipelines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All well.
    Passed,
    /// Could not run: the target, a store or a file.
    CouldNotRun,
    /// Bad usage or configuration.
    Usage,
    /// The run's verdict is bad: nothing that was tried succeeded.
    Failed,
    /// Interrupted by the user before its time.
    Interrupted,
}

impl Exit {
    /// The number itself.
    pub const fn code(self) -> u8 {
        match self {
            Self::Passed => 0,
            Self::CouldNotRun => 1,
            Self::Usage => 2,
            Self::Failed => 99,
            Self::Interrupted => 105,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
