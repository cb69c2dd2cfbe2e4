//! From rows of the journal to what they stand for. A cell that cannot be what was written is an error
//! that names it.

use std::fmt::Display;
use std::sync::Arc;

use dispatch::{Order, Outcome, RequestId, StepBounds};
use rusqlite::Row;
use rusqlite::types::{FromSql, Type};
use scheduling::{Request, Seconds, Steps, Time};
use serde::de::DeserializeOwned;

use super::record::{Accepted, DecisionEntry, EndEntry, IdempotencyKey, Shadow, Spec};

/// The first column behind those of [`REQUEST`].
pub(super) const BEHIND: usize = 14;

/// Columns that [`accepted`] reads, with the position in front.
pub(super) const REQUEST: &str = "position, id, owner, arrival, due, expires, penalty, pixels, min_steps, \
                       max_steps, spec, idempotency_key, fingerprint, \
                       (SELECT url FROM callbacks WHERE callbacks.request = position) AS callback";

pub(super) fn accepted(r: &Row<'_>) -> rusqlite::Result<Accepted> {
    let position: i64 = r.get(0)?;
    request(r).map_err(|error| match error {
        rusqlite::Error::FromSqlConversionFailure(column, kind, error) => {
            let placed = format!("request {position}, {error}").into();
            rusqlite::Error::FromSqlConversionFailure(column, kind, placed)
        }
        other => other,
    })
}

fn request(r: &Row<'_>) -> rusqlite::Result<Accepted> {
    let key: Option<String> = r.get(11)?;
    let fingerprint: Option<[u8; 32]> = r.get(12)?;
    let spec: String = r.get(10)?;
    let spec: Spec = serde_json::from_str(&spec).map_err(|e| broken(r, 10, &e))?;
    let pixels: u32 = r.get(7)?;
    if spec.width.checked_mul(spec.height) != Some(pixels) {
        let allowed = format!("{pixels}: allowed is {} times {}", spec.width, spec.height);
        return Err(broken(r, 7, &allowed));
    }
    let bounds = StepBounds { min: checked(r, 8, Steps::new)?, max: checked(r, 9, Steps::new)? };
    if bounds.min > bounds.max {
        let (min, max) = (bounds.min.get(), bounds.max.get());
        return Err(broken(r, 8, &format!("{min}: allowed is 1 to {max}")));
    }
    let (arrival, due) = (checked(r, 3, Time::new)?, checked(r, 4, Time::new)?);
    Ok(Accepted {
        order: Order {
            id: identifier(r, 1)?,
            owner: r.get(2)?,
            request: Request { bounds, ..Request::new(arrival, due, spoken(r, 6)?) },
            expires: checked(r, 5, Time::new)?,
            pixels,
        },
        spec,
        key: key.zip(fingerprint).map(|(key, fingerprint)| IdempotencyKey { key, fingerprint }),
        callback: r.get(13)?,
    })
}

pub(super) fn decision(r: &Row<'_>) -> rusqlite::Result<DecisionEntry> {
    let shadow_server: Option<Arc<str>> = r.get(7)?;
    let shadow = shadow_server.map(|server| {
        Ok::<_, rusqlite::Error>(Shadow { server, steps: checked(r, 8, Steps::new)? })
    });
    Ok(DecisionEntry {
        at: checked(r, 0, Time::new)?,
        cause: spoken(r, 1)?,
        server: r.get(2)?,
        steps: checked(r, 3, Steps::new)?,
        start: checked(r, 4, Time::new)?,
        finish: checked(r, 5, Time::new)?,
        policy: r.get(6)?,
        shadow: shadow.transpose()?,
    })
}

pub(super) fn end(r: &Row<'_>) -> rusqlite::Result<EndEntry> {
    let (outcome, reason): (String, Option<String>) = (r.get(1)?, r.get(2)?);
    let steps: Option<u32> = r.get(4)?;
    let start: Option<f64> = r.get(5)?;
    Ok(EndEntry {
        at: checked(r, 0, Time::new)?,
        outcome: match outcome.as_str() {
            "completed" => Outcome::Completed,
            "cancelled" => Outcome::Cancelled,
            "expired" => Outcome::Expired,
            _ => Outcome::Failed { reason: reason.unwrap_or_default() },
        },
        server: r.get(3)?,
        steps: steps.map(Steps::new).transpose().map_err(|e| broken(r, 4, &e))?,
        start: start.map(Time::new).transpose().map_err(|e| broken(r, 5, &e))?,
        attempts: r.get(6)?,
        tardiness: checked(r, 7, Seconds::new)?,
        quality: r.get(8)?,
        reward: r.get(9)?,
    })
}

pub(super) fn identifier(r: &Row<'_>, column: usize) -> rusqlite::Result<RequestId> {
    r.get(column).map(|bytes| RequestId(uuid::Uuid::from_bytes(bytes)))
}

/// A number that passes the constructor of its type.
pub(super) fn checked<N: FromSql, T, E: Display>(
    r: &Row<'_>,
    column: usize,
    new: impl FnOnce(N) -> Result<T, E>,
) -> rusqlite::Result<T> {
    new(r.get(column)?).map_err(|e| broken(r, column, &e))
}

/// A word of a closed set.
pub(super) fn spoken<T: DeserializeOwned>(r: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let word: String = r.get(column)?;
    serde_json::from_value(serde_json::Value::String(word)).map_err(|e| broken(r, column, &e))
}

/// A cell that cannot be what was written.
fn broken(r: &Row<'_>, column: usize, problem: &dyn Display) -> rusqlite::Error {
    let name = r.as_ref().column_name(column).unwrap_or("?");
    let problem = format!("{name} = {problem}").into();
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, problem)
}
