//! The one place that maps how a command ended to an exit code.

use std::process::ExitCode;

/// How a command ended. Pipelines rely on the numbers.
///
/// If several apply, the first in this order is given: a panic ([`Bug`](Self::Bug)); nothing was run
/// ([`Usage`](Self::Usage), [`CouldNotRun`](Self::CouldNotRun)); interrupted, so there is no verdict
/// ([`Interrupted`](Self::Interrupted)); with `--strict`, the load tester was the limit, so the verdict is not
/// reliable ([`GeneratorLimited`](Self::GeneratorLimited)); then the verdict ([`Failed`](Self::Failed),
/// [`Passed`](Self::Passed)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Passed, or nothing to judge.
    Passed,
    /// Could not run: the target, a store or a file.
    CouldNotRun,
    /// Wrong flags or configuration.
    Usage,
    /// What was compared differs: the certificates of a log and those of the CA.
    Different,
    /// The verdict is bad: a threshold failed, nothing succeeded, or a wanted chain never succeeded.
    Failed,
    /// Interrupted by the user.
    Interrupted,
    /// The load tester itself, not only the CA, limited the run.
    GeneratorLimited,
    /// A bug of ours: something panicked.
    Bug,
}

impl Exit {
    /// The number itself.
    pub const fn code(self) -> u8 {
        match self {
            Self::Passed => 0,
            Self::CouldNotRun => 1,
            Self::Usage => 2,
            Self::Bug => 70,
            Self::Different => 98,
            Self::Failed => 99,
            Self::Interrupted => 105,
            Self::GeneratorLimited => 108,
        }
    }
}

/// A command without a verdict has passed.
impl From<()> for Exit {
    fn from((): ()) -> Self {
        Self::Passed
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
