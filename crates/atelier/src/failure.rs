//! How a command can end other than well, and the exit code of each.

use std::io::{self, Write as _};
use std::process::ExitCode;

use experiments::ScheduleError;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use scheduling::message::bounded;

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
        let (error, code) = match self {
            Self::Refused(error) => (error, 2),
            Self::Failed(error) => (error, 1),
            Self::Interrupted => return ExitCode::from(130),
        };
        say(format!("error: {}\n", bounded(&message(&error))));
        ExitCode::from(code)
    }
}

/// Writes the last line of the process on standard error, if that takes it: a pipe that nobody reads
/// must not keep the process from ending.
fn say(line: String) {
    let (said, until_said) = mpsc::sync_channel(1);
    let write = move || {
        let _ = io::stderr().write_all(line.as_bytes());
        let _ = said.send(());
    };
    if thread::Builder::new().spawn(write).is_ok() {
        let _ = until_said.recv_timeout(Duration::from_secs(1));
    }
}

/// What an error and its causes say, each once: many errors name their cause themselves.
fn message(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |said, cause| {
        match (said.as_str(), said.contains(&cause)) {
            ("", _) => cause,
            (_, true) => said,
            (_, false) => format!("{said}: {cause}"),
        }
    })
}

impl From<ScheduleError> for Failure {
    fn from(error: ScheduleError) -> Self {
        match error {
            ScheduleError::Policy(error) => Self::Refused(error.into()),
            ScheduleError::NotIdeal | ScheduleError::Failed { .. } => Self::Refused(error.into()),
            ScheduleError::Violations { .. } => Self::Failed(error.into()),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_that_is_named_already_is_not_named_again() {
        let cause = || std::io::Error::other("disk is full");
        let named = anyhow::Error::new(cause()).context("out.json: disk is full");
        assert_eq!(message(&named), "out.json: disk is full");
        let unnamed = anyhow::Error::new(cause()).context("writing out.json");
        assert_eq!(message(&unnamed), "writing out.json: disk is full");
    }
}
