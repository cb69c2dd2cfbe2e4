//! The journal read back, beside the writer.

use std::fmt::Display;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rusqlite::types::Type;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};
use scheduling::{Request, Seconds, Steps, Time};
use serde::de::DeserializeOwned;

use super::record::{
    Accepted, CompletedRun, DecisionEntry, EndEntry, Entry, Filter, IdempotencyKey, Kept, OpenRun,
    Shadow, Spec, Unfinished,
};
use super::sqlite::word;
use super::{Archive, JournalError};
use crate::scheduler::{Order, Outcome, RequestId, StepBounds};

/// The reading side: a few connections, taken in turn.
pub struct Reader {
    connections: Vec<Mutex<Connection>>,
}

const REQUEST: &str = "position, id, owner, arrival, due, expires, penalty, pixels, min_steps, \
                       max_steps, spec, idempotency_key, fingerprint";

impl Reader {
    /// Connections that a reader may use side by side.
    const CONNECTIONS: usize = 4;

    /// Opens the journal at `path`, which must exist, for reading.
    ///
    /// # Errors
    /// [`JournalError`] if it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let open = || {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(path, flags)
                .map_err(|e| JournalError(format!("{} cannot be read: {e}", path.display())))?;
            connection.busy_timeout(std::time::Duration::from_secs(5))?;
            Ok(Mutex::new(connection))
        };
        let connections = (0..Self::CONNECTIONS).map(|_| open()).collect::<Result<_, _>>();
        connections.map(|connections| Self { connections })
    }

    /// Every request ever accepted, with its pixels, in order of acceptance.
    ///
    /// # Errors
    /// [`JournalError`] if the store cannot be read.
    pub fn traffic(&self) -> Result<Vec<(Request, u32)>, JournalError> {
        let c = self.connection();
        let requests = c
            .prepare("SELECT arrival, due, penalty, pixels FROM requests ORDER BY position")?
            .query_map([], |r| {
                let request = Request {
                    arrival: checked(r, 0, Time::new)?,
                    due: checked(r, 1, Time::new)?,
                    penalty: spoken(r, 2)?,
                };
                Ok((request, r.get(3)?))
            })?
            .collect::<Result<_, _>>()?;
        Ok(requests)
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        let free = self.connections.iter().find_map(|c| c.try_lock().ok());
        // A panic while reading leaves nothing half done: the connection stays good.
        free.unwrap_or_else(|| self.connections[0].lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn complete(c: &Connection, position: i64, a: Accepted) -> Result<Entry, JournalError> {
        let decision = c
            .prepare_cached(
                "SELECT at, cause, server, steps, start, finish, policy,
                 shadow_server, shadow_steps FROM decisions
                 WHERE request = ?1 ORDER BY rowid DESC LIMIT 1",
            )?
            .query_row([position], decision)
            .optional()?;
        let end = c
            .prepare_cached(
                "SELECT at, outcome, reason, server, steps, start, attempts, tardiness, quality,
                 reward FROM ends WHERE request = ?1",
            )?
            .query_row([position], end)
            .optional()?;
        Ok(Entry { position, accepted: a, decision, end })
    }
}

impl Archive for Reader {
    fn find(&self, id: RequestId) -> Result<Option<Entry>, JournalError> {
        let c = self.connection();
        let found = c
            .prepare_cached(&format!("SELECT {REQUEST} FROM requests WHERE id = ?1"))?
            .query_row([id.0.into_bytes()], |r| Ok((r.get(0)?, accepted(r)?)))
            .optional()?;
        found.map(|(position, accepted)| Self::complete(&c, position, accepted)).transpose()
    }

    fn picture(&self, id: RequestId) -> Result<Kept, JournalError> {
        let c = self.connection();
        let found: Option<(Option<Vec<u8>>, Option<String>)> = c
            .prepare_cached(
                "SELECT png, outcome FROM requests
                 LEFT JOIN pictures ON pictures.request = position
                 LEFT JOIN ends ON ends.request = position WHERE id = ?1",
            )?
            .query_row([id.0.into_bytes()], |r| Ok((r.get(0)?, r.get(1)?)))
            .optional()?;
        Ok(match found {
            Some((Some(png), _)) => Kept::Here(Bytes::from(png)),
            Some((None, Some(outcome))) if outcome == "completed" => Kept::Gone,
            _ => Kept::Never,
        })
    }

    fn list(&self, filter: &Filter) -> Result<Vec<Entry>, JournalError> {
        let c = self.connection();
        let found: Vec<(i64, Accepted)> = c
            .prepare_cached(&format!(
                "SELECT {REQUEST} FROM requests
                 WHERE (?1 IS NULL OR owner = ?1) AND (?2 IS NULL OR penalty = ?2)
                   AND (?3 IS NULL OR position < ?3)
                   AND (?4 IS NULL
                     OR ?4 = coalesce((SELECT outcome FROM ends WHERE request = position), 'live')
                     OR ?4 = coalesce(
                       (SELECT 'ended' FROM ends WHERE request = position),
                       (SELECT 'running' FROM runs
                        WHERE request = position AND failed_at IS NULL LIMIT 1),
                       'waiting'))
                   AND (?5 IS NULL OR ?5 = (SELECT server FROM decisions
                     WHERE request = position ORDER BY decisions.rowid DESC LIMIT 1))
                 ORDER BY position DESC LIMIT ?6"
            ))?
            .query_map(
                params![
                    filter.owner,
                    filter.penalty.map(|p| word(&p)),
                    filter.before,
                    filter.state,
                    filter.server,
                    filter.limit
                ],
                |r| Ok((r.get(0)?, accepted(r)?)),
            )?
            .collect::<Result<_, _>>()?;
        found.into_iter().map(|(position, a)| Self::complete(&c, position, a)).collect()
    }

    fn by_key(
        &self,
        owner: &str,
        key: &str,
    ) -> Result<Option<(RequestId, [u8; 32])>, JournalError> {
        let c = self.connection();
        let found = c
            .prepare_cached(
                "SELECT id, fingerprint FROM requests WHERE owner = ?1 AND idempotency_key = ?2",
            )?
            .query_row([owner, key], |r| Ok((identifier(r, 0)?, r.get(1)?)))
            .optional()?;
        Ok(found)
    }

    fn unfinished(&self) -> Result<Vec<Unfinished>, JournalError> {
        let c = self.connection();
        let rows = c
            .prepare(&format!(
                "SELECT {REQUEST}, server, steps, start, service, ticket, failed_at, attempt,
                   (SELECT count(failed_at) FROM runs WHERE request = position)
                 FROM requests
                 LEFT JOIN runs ON runs.request = position AND attempt =
                   (SELECT max(attempt) FROM runs WHERE request = position)
                 WHERE position NOT IN (SELECT request FROM ends) ORDER BY position"
            ))?
            .query_map([], |r| {
                let attempts: Option<u32> = r.get(19)?;
                let failed: Option<f64> = r.get(18)?;
                let open = match (attempts, failed) {
                    (Some(_), None) => Some(OpenRun {
                        server: r.get(13)?,
                        steps: checked(r, 14, Steps::new)?,
                        start: checked(r, 15, Time::new)?,
                        service: checked(r, 16, Seconds::new)?,
                        ticket: r.get(17)?,
                    }),
                    _ => None,
                };
                let (attempts, failures) = (attempts.unwrap_or(0), r.get(20)?);
                Ok(Unfinished { accepted: accepted(r)?, attempts, failures, open })
            })?
            .collect::<Result<_, _>>()?;
        Ok(rows)
    }

    fn completed_runs(&self, server: &str, most: u32) -> Result<Vec<CompletedRun>, JournalError> {
        let c = self.connection();
        let mut runs: Vec<_> = c
            .prepare_cached(
                "SELECT steps, pixels, ends.at - start FROM ends
                 JOIN requests ON position = request
                 WHERE outcome = 'completed' AND server = ?1 AND ends.at >= start
                 ORDER BY request DESC LIMIT ?2",
            )?
            .query_map(params![server, most], |r| {
                Ok(CompletedRun {
                    steps: checked(r, 0, Steps::new)?,
                    pixels: r.get(1)?,
                    took: checked(r, 2, Seconds::new)?,
                })
            })?
            .collect::<Result<_, _>>()?;
        runs.reverse();
        Ok(runs)
    }

    fn last(&self) -> Result<Time, JournalError> {
        let last: f64 = self.connection().query_row(
            "SELECT max(coalesce((SELECT max(arrival) FROM requests), 0),
                        coalesce((SELECT max(at) FROM ends), 0),
                        coalesce((SELECT max(at) FROM decisions), 0))",
            [],
            |r| r.get(0),
        )?;
        Time::new(last).map_err(|e| JournalError(e.to_string()))
    }
}

fn accepted(r: &Row<'_>) -> rusqlite::Result<Accepted> {
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
    Ok(Accepted {
        order: Order {
            id: identifier(r, 1)?,
            owner: r.get(2)?,
            request: Request {
                arrival: checked(r, 3, Time::new)?,
                due: checked(r, 4, Time::new)?,
                penalty: spoken(r, 6)?,
            },
            expires: checked(r, 5, Time::new)?,
            pixels,
            bounds,
        },
        spec,
        key: key.zip(fingerprint).map(|(key, fingerprint)| IdempotencyKey { key, fingerprint }),
    })
}

fn decision(r: &Row<'_>) -> rusqlite::Result<DecisionEntry> {
    let shadow_server: Option<std::sync::Arc<str>> = r.get(7)?;
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

fn end(r: &Row<'_>) -> rusqlite::Result<EndEntry> {
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

fn identifier(r: &Row<'_>, column: usize) -> rusqlite::Result<RequestId> {
    r.get(column).map(|bytes| RequestId(uuid::Uuid::from_bytes(bytes)))
}

/// A number that passes the constructor of its type.
fn checked<N: rusqlite::types::FromSql, T, E: Display>(
    r: &Row<'_>,
    column: usize,
    new: impl FnOnce(N) -> Result<T, E>,
) -> rusqlite::Result<T> {
    new(r.get(column)?).map_err(|e| broken(r, column, &e))
}

/// A word of a closed set.
fn spoken<T: DeserializeOwned>(r: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let word: String = r.get(column)?;
    serde_json::from_value(serde_json::Value::String(word)).map_err(|e| broken(r, column, &e))
}

/// A cell that cannot be what was written.
fn broken(r: &Row<'_>, column: usize, problem: &dyn Display) -> rusqlite::Error {
    let name = r.as_ref().column_name(column).unwrap_or("?");
    let problem = format!("{name} = {problem}").into();
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, problem)
}
