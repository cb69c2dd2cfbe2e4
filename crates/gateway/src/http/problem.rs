//! Refusals as HTTP: RFC 9457 problem details, each with a machine-readable reason.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use dispatch::Rejection;
use scheduling::Seconds;
use scheduling::message::bounded;
use serde::Serialize;

use crate::handle::Unavailable;
use crate::status::Refusal;

/// An answer that is not a success.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    /// Machine-readable; also the last part of the `type`.
    pub(crate) reason: &'static str,
    pub(crate) detail: String,
    /// Path of the offending field of the body or query.
    pub(crate) field: Option<String>,
    pub(crate) retry_after: Option<u64>,
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    reason: &'a str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
}

impl Problem {
    /// Bytes of a detail beyond which it is cut, whatever it repeats.
    const DETAIL: usize = 1000;

    pub(crate) fn new(status: StatusCode, reason: &'static str, detail: impl Into<String>) -> Self {
        let mut detail = detail.into();
        if detail.len() > Self::DETAIL || detail.contains(char::is_control) {
            detail = bounded(&detail).replace('\n', " ");
        }
        Self { status, reason, detail, field: None, retry_after: None }
    }

    /// A field whose value is not allowed.
    pub(crate) fn field(field: impl Into<String>, detail: impl Into<String>) -> Self {
        let problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_field", detail);
        Self { field: Some(field.into()), ..problem }
    }

    pub(crate) fn not_found() -> Self {
        let detail = "there is no such request, or it was made with another key";
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    pub(crate) fn after(self, seconds: Seconds) -> Self {
        let whole = seconds.seconds().ceil().clamp(1.0, 86_400.0) as u64;
        Self { retry_after: Some(whole), ..self }
    }
}

impl Problem {
    /// A response that tells it, in whatever form: with the time to come back, and counted.
    pub(crate) fn told_by(self, mut response: Response) -> Response {
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let document = Document {
            r#type: format!("urn:atelier:problem:{}", self.reason),
            title: self.status.canonical_reason().unwrap_or("Problem"),
            status: self.status.as_u16(),
            reason: self.reason,
            detail: &self.detail,
            field: self.field.as_deref(),
        };
        let mut response = (self.status, Json(document)).into_response();
        let problem = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, problem);
        self.told_by(response)
    }
}

impl From<Unavailable> for Problem {
    fn from(error: Unavailable) -> Self {
        let (reason, detail) = match error {
            Unavailable::Gateway(detail) => ("unavailable", detail),
            // Its words name files and are for the operator.
            Unavailable::Journal(_) => {
                ("journal_unavailable", "the journal cannot be read at the moment".into())
            }
        };
        Self::new(StatusCode::SERVICE_UNAVAILABLE, reason, detail).after(Seconds::of(1.0))
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        let text = rejection.to_string();
        let (busy, out) = (StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE);
        match rejection {
            Rejection::QueueFull { retry_after, .. } => {
                Self::new(busy, "queue_full", text).after(retry_after)
            }
            Rejection::ShareUsedUp { retry_after, .. }
            | Rejection::PlacesUsedUp { retry_after, .. } => {
                Self::new(busy, "share_used_up", text).after(retry_after)
            }
            Rejection::NoServer => Self::new(out, "no_server", text).after(Seconds::of(5.0)),
            Rejection::Closing => Self::new(out, "shutting_down", text).after(Seconds::of(10.0)),
            Rejection::TooLarge { .. } => Self::field("width", text),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let out = StatusCode::SERVICE_UNAVAILABLE;
        match refusal {
            Refusal::Rejected(rejection) => rejection.into(),
            Refusal::Journal(_) => {
                let detail = "the journal cannot be written, so nothing is accepted";
                Self::new(out, "journal_unavailable", detail).after(Seconds::of(5.0))
            }
            Refusal::Limited { detail, after } => {
                let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail);
                problem.after(Seconds::of(after as f64))
            }
            Refusal::NoLeader => {
                let detail =
                    "no node leads the cluster at the moment, or its brokers are not reached";
                Self::new(out, "no_leader", detail).after(Seconds::of(2.0))
            }
            Refusal::Busy => {
                let detail = "more is waiting for the gateway than it takes";
                Self::new(out, "busy", detail).after(Seconds::of(1.0))
            }
            Refusal::KeyTaken(_) => Self::new(
                StatusCode::CONFLICT,
                "idempotency_key_in_use",
                "a request with this Idempotency-Key is being made",
            )
            .after(Seconds::of(1.0)),
        }
    }
}
