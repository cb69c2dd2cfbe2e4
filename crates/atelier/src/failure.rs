//! How a command can end other than well, and the exit code of each.

use std::process::ExitCode;

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The input is not acceptable; nothing was written. Exit code 2.
    Refused(anyhow::Error),
    /// Something else went wrong. Exit code 1.
    Failed(anyhow::Error),
    /// The user stopped it. Exit code 130, as shells have it.
    Interrupted,
}

impl Failure {
    /// A refusal of what stands at `place` (a file, an option).
    pub(crate) fn refused(place: impl std::fmt::Display, problem: impl std::fmt::Display) -> Self {
        Self::Refused(anyhow::anyhow!("{place}: {}", problem.to_string().trim_end()))
    }

    /// Prints the message and gives the exit code.
    pub(crate) fn report(self) -> ExitCode {
        match self {
            Self::Refused(error) => {
                eprintln!("error: {error:#}");
                ExitCode::from(2)
            }
            Self::Failed(error) => {
                eprintln!("error: {error:#}");
                ExitCode::from(1)
            }
            Self::Interrupted => ExitCode::from(130),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}
