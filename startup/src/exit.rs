//! The one place that maps how a command ended to an exit code.

use std::process::ExitCode;

/// How a command ended. The numbers are a promise to pipelines.
///
/// Of several that hold, the first in this order is told: what could not run has found nothing ([`Usage`](Self::Usage),
/// [`CouldNotRun`](Self::CouldNotRun)); what people cut short is no verdict ([`Interrupted`](Self::Interrupted)); a verdict
/// from a run in which the load tester was the limit is not to be trusted, if that was asked to matter
/// ([`GeneratorLimited`](Self::GeneratorLimited)); then the verdict ([`Failed`](Self::Failed), [`Passed`](Self::Passed)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All well.
    Passed,
    /// Could not run: the target, a store or a file.
    CouldNotRun,
    /// Bad usage or configuration.
    Usage,
    /// The run's verdict is bad: a threshold did not hold, or nothing that was tried succeeded.
    Failed,
    /// Interrupted by the user before its time.
    Interrupted,
    /// The load tester itself, and not the CA alone, decided what was measured.
    GeneratorLimited,
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
            Self::GeneratorLimited => 108,
        }
    }
}

/// What has no verdict has ended well.
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
