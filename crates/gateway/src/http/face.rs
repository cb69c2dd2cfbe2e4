//! The protocols that clients speak, each under paths of its own.

use axum::response::{IntoResponse, Response};

use super::problem::Problem;
use super::{automatic1111, openai};

/// A protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Face {
    /// Our own.
    Native,
    /// OpenAI's API, as far as it is about pictures.
    OpenAi,
    /// That of AUTOMATIC1111's web UI.
    Automatic1111,
}

impl Face {
    /// The protocol that clients of a path speak.
    pub(crate) fn of(path: &str) -> Self {
        let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| path.starts_with(prefix));
        if begins(&["/v1/images/", "/v1/models", "/v1/chat/"]) {
            Self::OpenAi
        } else if begins(&["/sdapi/"]) {
            Self::Automatic1111
        } else {
            Self::Native
        }
    }

    /// A refusal as clients expect it.
    pub(crate) fn refusal(self, problem: Problem) -> Response {
        match self {
            Self::Native => problem.into_response(),
            Self::OpenAi => openai::Error::from(problem).into_response(),
            Self::Automatic1111 => automatic1111::Error::from(problem).into_response(),
        }
    }

    /// How a key is to be sent.
    pub(crate) fn challenge(self) -> &'static str {
        match self {
            Self::Native | Self::OpenAi => "Bearer realm=\"atelier\"",
            Self::Automatic1111 => "Basic realm=\"atelier\"",
        }
    }
}
