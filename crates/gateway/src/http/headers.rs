//! Headers that a client may send with a request of its own.

use std::time::Duration;

use axum::http::HeaderMap;
use scheduling::TardinessPenalty;
use scheduling::message::excerpt;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::body::plain;
use super::problem::Problem;
use crate::journal::IdempotencyKey;

/// The `Idempotency-Key` header, with the fingerprint of the body it came with.
pub(crate) fn idempotency_key(
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Option<IdempotencyKey>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let wrong =
        || Problem::field("Idempotency-Key", "allowed are 1 to 255 visible ASCII characters");
    let text = value.to_str().map_err(|_| wrong())?;
    // Some write it as a string of RFC 9651; the quotes count, as the description counts them.
    let quoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let key = quoted.unwrap_or(text);
    // A tab is let through by `to_str`.
    if key.is_empty() || text.len() > 255 || key.contains('\t') {
        return Err(wrong());
    }
    Ok(Some(IdempotencyKey { key: key.into(), fingerprint: Sha256::digest(body).into() }))
}

/// When a picture is due and what it costs to be late, where a protocol has no fields for them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Urgency {
    pub(crate) due_in_seconds: Option<f64>,
    pub(crate) penalty: Option<TardinessPenalty>,
}

/// The headers `X-Atelier-Due-In-Seconds` and `X-Atelier-Penalty`.
///
/// # Errors
/// Also where the body says more: what is wrong is never passed over.
pub(crate) fn urgency(headers: &HeaderMap) -> Result<Urgency, Problem> {
    let header = |name: &'static str| {
        headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_string())
    };
    let due_in_seconds = header("x-atelier-due-in-seconds").map(|text| {
        serde_json::from_str(&text).map_err(|_| {
            let detail = format!("{:?} is not a number", excerpt(&text));
            Problem::field("x-atelier-due-in-seconds", detail)
        })
    });
    let penalty = header("x-atelier-penalty").map(|text| {
        serde_json::from_value(Value::String(text))
            .map_err(|e| Problem::field("x-atelier-penalty", plain(&e.to_string())))
    });
    Ok(Urgency { due_in_seconds: due_in_seconds.transpose()?, penalty: penalty.transpose()? })
}

/// `Prefer: wait=n` (RFC 7240), in seconds, at most ten minutes.
pub(crate) fn prefer_wait(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all("prefer");
    let mut preferences = values.iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(','));
    let wait = preferences.find_map(|preference| {
        // Parameters after a semicolon are none of ours.
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        name.trim().eq_ignore_ascii_case("wait").then_some(value)
    })?;
    let seconds: u64 = wait.trim().trim_matches('"').parse().ok()?;
    Some(Duration::from_secs(seconds.min(600)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_leniently_where_that_is_safe() {
        let headers = |name: &'static str, value: &str| {
            HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())])
        };
        let wait = |value: &str| prefer_wait(&headers("prefer", value)).map(|d| d.as_secs());
        assert_eq!(wait("respond-async, wait=10"), Some(10));
        assert_eq!(wait("wait=9999"), Some(600));
        assert_eq!(wait("Wait = \"7\"; foo=bar"), Some(7));
        assert_eq!(wait("wait=soon"), None);
        let key = |value: &str| idempotency_key(&headers("idempotency-key", value), b"x");
        assert_eq!(key("\"k-1\"").unwrap().unwrap().key, "k-1");
        assert_eq!(key("\"k").unwrap().unwrap().key, "\"k");
        assert!(key("").is_err() && key("\"\"").is_err());
        assert!(key(&"k".repeat(255)).is_ok() && key(&"k".repeat(256)).is_err());
        assert!(key(&format!("\"{}\"", "k".repeat(254))).is_err(), "256 with the quotes");
        assert!(key(&"\"".repeat(256)).is_err());
        assert!(key("a\tb").is_err() && key("a b").is_ok());
    }
}
