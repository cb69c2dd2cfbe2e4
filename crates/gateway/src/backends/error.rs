//! Why a backend did not deliver.

use std::time::Duration;

use dispatch::FailureClass;
use scheduling::Seconds;
use thiserror::Error;

use super::Excerpt;

/// Why a backend did not deliver. Nothing is known about the job then.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum BackendError {
    /// No connection.
    #[error("cannot be reached: {0}")]
    Unreachable(Excerpt),
    /// No answer in time.
    #[error("did not answer within {} s", .0.as_secs_f64())]
    TimedOut(Duration),
    /// The connection was lost in the middle of the answer.
    #[error("the answer was cut off: {0}")]
    CutOff(Excerpt),
    /// An error status.
    #[error("answered {status}: {message}")]
    Status {
        /// The HTTP status.
        status: u16,
        /// What the server said.
        message: Excerpt,
        /// When it wants to be asked again, if it said so.
        retry_after: Option<Duration>,
    },
    /// More than is allowed.
    #[error("the answer is longer than {limit} bytes")]
    TooLong {
        /// Allowed.
        limit: usize,
    },
    /// Not what the protocol promises.
    #[error("the answer is not understood: {0}")]
    Garbage(Excerpt),
    /// A file of another kind.
    #[error("wrong picture: {came} came, a PNG was asked for")]
    NotPng {
        /// What it is.
        came: &'static str,
    },
    /// A picture of another size.
    #[error("wrong picture: {}x{} came, {}x{} was asked for", .came.0, .came.1, .wanted.0, .wanted.1)]
    WrongSize {
        /// Its width and height.
        came: (u32, u32),
        /// Those of the job.
        wanted: (u32, u32),
    },
    /// A damaged picture, or more than a picture.
    #[error("wrong picture: {0}")]
    WrongPicture(Excerpt),
    /// The server itself says that the job failed.
    #[error("the job failed: {0}")]
    JobFailed(Excerpt),
    /// The server refuses the job before it tries.
    #[error("the job was refused: {0}")]
    JobRefused(Excerpt),
    /// What an agent says of the backend beside it.
    #[error("{message}")]
    Told {
        /// What it says about trying again.
        class: FailureClass,
        /// Whether nobody answered there.
        unanswered: bool,
        /// Why.
        message: Excerpt,
    },
    /// The adapter has a bug.
    #[error("the adapter panicked: {0}")]
    Panicked(Excerpt),
    /// The server has no such job.
    #[error("the job is not known there")]
    Unknown,
    /// The run was cancelled.
    #[error("cancelled")]
    Cancelled,
}

impl BackendError {
    /// Whether it speaks against the server's health: nobody answered. A server that fails a job
    /// and answers its probes is healthy; what its failures cost it is for the scheduler to say.
    pub fn blames_server(&self) -> bool {
        matches!(
            self,
            Self::Unreachable(_) | Self::TimedOut(_) | Self::Told { unanswered: true, .. }
        )
    }

    /// What it says about trying again.
    pub fn class(&self) -> FailureClass {
        match self {
            Self::NotPng { .. } | Self::WrongSize { .. } | Self::JobRefused(_) => {
                FailureClass::Refused
            }
            Self::Told { class, .. } => *class,
            Self::Unreachable(_) => FailureClass::NotNow { retry_after: None },
            Self::Status { status, retry_after, .. } => match status {
                // Too early, too many, behind a proxy that finds nobody, and loading.
                425 | 429 | 502 | 503 => FailureClass::NotNow {
                    retry_after: retry_after.map(|after| Seconds::of(after.as_secs_f64())),
                },
                // These depend on the moment, or on what others do there.
                408 | 409 | 423 => FailureClass::Counted,
                // It does not exist there, or points elsewhere, or is not understood.
                ..=499 | 501 | 505 => FailureClass::Refused,
                _ => FailureClass::Counted,
            },
            Self::TimedOut(_)
            | Self::CutOff(_)
            | Self::TooLong { .. }
            | Self::Garbage(_)
            | Self::WrongPicture(_)
            | Self::JobFailed(_)
            | Self::Panicked(_)
            | Self::Unknown
            | Self::Cancelled => FailureClass::Counted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_say_whether_asking_again_helps() {
        let after = Some(Duration::from_secs(3));
        let class = |status: u16| {
            BackendError::Status { status, message: "".into(), retry_after: after }.class()
        };
        for status in [301, 307, 400, 401, 403, 404, 405, 413, 415, 422, 501] {
            assert_eq!(class(status), FailureClass::Refused, "{status}");
        }
        for status in [429, 502, 503] {
            let later = FailureClass::NotNow { retry_after: Some(Seconds::of(3.0)) };
            assert_eq!(class(status), later, "{status}");
        }
        for status in [408, 409, 500, 504, 599] {
            assert_eq!(class(status), FailureClass::Counted, "{status}");
        }
    }
}
