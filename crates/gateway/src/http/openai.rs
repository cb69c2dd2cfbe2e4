//! The drop-in face: what clients of OpenAI's API expect, as far as it is about pictures.

mod chat;
mod generations;
mod models;
mod stream;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::awaited::MOST_PICTURES;
use super::problem::Problem;
use super::value::Whole;
use crate::config::Config;

pub(crate) use self::chat::chat;
pub(crate) use self::generations::generate;
#[cfg(any(test, feature = "fuzzing"))]
pub(super) use self::generations::{Generation, to_native};
pub(crate) use self::models::{models, one_model};

/// A problem in OpenAI's envelope.
pub(crate) struct Error(Problem);

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let problem = self.0;
        // Clients of this API know no 422.
        let status = match problem.status {
            StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
            status => status,
        };
        let body = envelope(&problem);
        let response = (status, Json(body)).into_response();
        problem.told_by(response)
    }
}

fn envelope(problem: &Problem) -> Value {
    let kind = match problem.status.as_u16() {
        401 | 403 => "authentication_error",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    };
    json!({ "error": {
        "message": problem.detail,
        "type": kind,
        "param": problem.field,
        "code": problem.reason,
    }})
}

/// How many pictures `n` asks for.
fn count(n: Option<Whole>) -> Result<u32, Problem> {
    let count = n.map_or(1, |Whole(count)| count);
    if !(1..=MOST_PICTURES).contains(&count) {
        let detail = format!("{count} pictures: allowed is 1 to {MOST_PICTURES}");
        return Err(Problem::field("n", detail));
    }
    Ok(count)
}

/// The model that is asked for. Where there is only one, whatever name is sent stands for it.
fn model(named: Option<&Value>, config: &Config) -> Result<Option<String>, Problem> {
    match named {
        _ if config.models.is_empty() => Ok(None),
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(name)) => Ok(Some(name.clone())),
        Some(_) => Err(Problem::field("model", format!("not a name: {}", config.known()))),
    }
}

/// `POST /v1/images/edits` and `/v1/images/variations`
pub(crate) async fn unsupported() -> Error {
    let detail = "pictures are drawn from texts here, and not changed: see /v1/images/generations";
    Problem::new(StatusCode::NOT_FOUND, "not_supported", detail).into()
}
