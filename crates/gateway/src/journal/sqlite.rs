//! The journal in SQLite, written: one writer in WAL mode with full synchronisation.

use std::path::Path;

use rusqlite::{Connection, Transaction, params};
use scheduling::Time;
use serde::Serialize;

use super::record::{Accepted, Record};
use super::{Fate, Journal, JournalError};
use crate::scheduler::{Outcome, RequestId};

/// Version of the tables, kept in the file's header.
const VERSION: i32 = 1;

/// The writing side.
pub struct Sqlite {
    connection: Connection,
    origin: f64,
}

impl Sqlite {
    /// Pages of the log from which on the writer itself moves them into the file. Before that it is
    /// the [`Checkpointer`]'s work, which does not hold up commits.
    const BACKSTOP: u32 = 16_384;

    /// Requests that are forgotten in one commit.
    const FORGOTTEN: u32 = 5_000;

    /// Opens the journal at `path`, or starts one whose origin is `now` in Unix seconds.
    ///
    /// # Errors
    /// [`JournalError`] if the file cannot be opened or is not a journal of this version.
    pub fn open(path: &Path, now: f64) -> Result<Self, JournalError> {
        let connection = Connection::open(path)
            .map_err(|e| JournalError(format!("{} cannot be opened: {e}", path.display())))?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", "ON")?;
        connection.pragma_update(None, "wal_autocheckpoint", Self::BACKSTOP)?;
        let version: i32 = connection.pragma_query_value(None, "user_version", |r| r.get(0))?;
        if version != 0 && version != VERSION {
            return Err(JournalError(format!(
                "{} has version {version}: this atelier reads version {VERSION}",
                path.display()
            )));
        }
        connection.execute_batch(include_str!("schema.sql"))?;
        connection.pragma_update(None, "user_version", VERSION)?;
        connection.execute("INSERT OR IGNORE INTO gateway VALUES ('origin', ?1)", params![now])?;
        let origin =
            connection
                .query_row("SELECT value FROM gateway WHERE key = 'origin'", [], |r| r.get(0))?;
        Ok(Self { connection, origin })
    }

    /// When time began, in Unix seconds.
    pub fn origin(&self) -> f64 {
        self.origin
    }

    /// Limits the file to so many pages; for tests of a full disk.
    ///
    /// # Errors
    /// [`JournalError`] if SQLite refuses.
    pub fn limit_pages(&self, pages: u32) -> Result<(), JournalError> {
        let set = format!("PRAGMA max_page_count = {pages}");
        self.connection.query_row(&set, [], |_| Ok(())).map_err(Into::into)
    }
}

impl Journal for Sqlite {
    fn append(&mut self, batch: &[Record]) -> Result<Vec<Fate>, JournalError> {
        let transaction = self.connection.transaction()?;
        let fates = batch.iter().map(|r| write(&transaction, r)).collect::<Result<_, _>>()?;
        transaction.commit()?;
        Ok(fates)
    }
}

/// Records of a request that is not there are left out: its acceptance was.
fn write(t: &Transaction<'_>, record: &Record) -> Result<Fate, JournalError> {
    let id = |id: &RequestId| id.0.into_bytes();
    match record {
        Record::Accepted(accepted) => return insert_request(t, accepted),
        Record::Withdrawn(request) => {
            t.prepare_cached("DELETE FROM requests WHERE id = ?1")?.execute([id(request)])?;
        }
        Record::Decided { decided, server, policy, shadow } => {
            let q = &decided.quote;
            t.prepare_cached(
                "INSERT INTO decisions SELECT position, ?2, ?3, ?4, ?5, ?6, ?7, NULL, ?8, ?9, ?10
                 FROM requests WHERE id = ?1",
            )?
            .execute(params![
                id(&decided.request),
                decided.at.seconds(),
                word(&decided.cause),
                server,
                q.decision.steps.get(),
                q.execution.start.seconds(),
                q.execution.finish.seconds(),
                policy,
                shadow.as_ref().map(|s| &s.server),
                shadow.as_ref().map(|s| s.steps.get()),
            ])?;
        }
        Record::Started { run, server } => {
            t.prepare_cached(
                "INSERT OR IGNORE INTO runs
                 SELECT position, ?2, ?3, ?4, ?5, ?6, NULL, NULL, NULL FROM requests WHERE id = ?1",
            )?
            .execute(params![
                id(&run.id.request),
                run.id.attempt,
                server,
                run.steps.get(),
                run.start.seconds(),
                run.service.seconds(),
            ])?;
        }
        Record::Ticket { run, ticket } => {
            t.prepare_cached(
                "UPDATE runs SET ticket = ?3 WHERE attempt = ?2
                 AND request = (SELECT position FROM requests WHERE id = ?1)",
            )?
            .execute(params![id(&run.request), run.attempt, ticket])?;
        }
        Record::RunFailed { run, at, reason } => {
            t.prepare_cached(
                "UPDATE runs SET failed_at = ?3, reason = ?4 WHERE attempt = ?2
                 AND request = (SELECT position FROM requests WHERE id = ?1)",
            )?
            .execute(params![id(&run.request), run.attempt, at.seconds(), reason])?;
        }
        Record::Ended { end, server, picture } => {
            let (outcome, reason) = match &end.outcome {
                Outcome::Completed => ("completed", None),
                Outcome::Failed { reason } => ("failed", Some(reason)),
                Outcome::Cancelled => ("cancelled", None),
                Outcome::Expired => ("expired", None),
            };
            let new = t
                .prepare_cached(
                    "INSERT OR IGNORE INTO ends SELECT position, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9,
                     ?10, ?11 FROM requests WHERE id = ?1",
                )?
                .execute(params![
                    id(&end.request),
                    end.at.seconds(),
                    outcome,
                    reason,
                    server,
                    end.run.map(|r| r.steps.get()),
                    end.run.map(|r| r.start.seconds()),
                    end.attempts,
                    end.tardiness.seconds(),
                    end.quality,
                    end.reward,
                ])?;
            if let (1, Some(picture)) = (new, picture) {
                t.prepare_cached(
                    "INSERT INTO pictures SELECT position, ?2, ?3 FROM requests WHERE id = ?1",
                )?
                .execute(params![
                    id(&end.request),
                    picture.kept_until.seconds(),
                    &picture.png[..]
                ])?;
            }
        }
        Record::Forget { now, ended } => forget(t, *now, *ended)?,
    }
    Ok(Fate::Written)
}

/// Deletes pictures whose time is over, and requests that ended up to `ended` without one.
fn forget(t: &Transaction<'_>, now: Time, ended: Option<Time>) -> Result<(), JournalError> {
    t.prepare_cached("DELETE FROM pictures WHERE kept_until <= ?1")?.execute([now.seconds()])?;
    let Some(ended) = ended else { return Ok(()) };
    // Decisions, runs and the end go with the request. Not all at once, so that others need not
    // wait long for their commit.
    t.prepare_cached(
        "DELETE FROM requests WHERE position IN (
           SELECT request FROM ends WHERE at <= ?1
           AND request NOT IN (SELECT request FROM pictures)
           ORDER BY at LIMIT ?2)",
    )?
    .execute(params![ended.seconds(), Sqlite::FORGOTTEN])?;
    Ok(())
}

fn insert_request(t: &Transaction<'_>, accepted: &Accepted) -> Result<Fate, JournalError> {
    let Accepted { order, spec, key } = accepted;
    let inserted = t
        .prepare_cached(
            "INSERT OR IGNORE INTO requests VALUES
             (NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )?
        .execute(params![
            order.id.0.into_bytes(),
            order.owner,
            order.request.arrival.seconds(),
            order.request.due.seconds(),
            order.expires.seconds(),
            word(&order.request.penalty),
            order.pixels,
            order.bounds.min.get(),
            order.bounds.max.get(),
            serde_json::to_string(spec).expect("a spec has only JSON's types"),
            key.as_ref().map(|k| &k.key),
            key.as_ref().map(|k| &k.fingerprint[..]),
        ])?;
    Ok(if inserted == 1 { Fate::Written } else { Fate::KeyTaken })
}

/// Moves the log into the file beside the writer.
pub struct Checkpointer(Connection);

impl Checkpointer {
    /// Opens the journal at `path`, which must exist.
    ///
    /// # Errors
    /// [`JournalError`] if it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        Ok(Self(connection))
    }

    /// Moves what no reader needs any more, without waiting for anybody.
    ///
    /// # Errors
    /// [`JournalError`] if the disk does not take it; the log still has everything then.
    pub fn run(&mut self) -> Result<(), JournalError> {
        self.0.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
        Ok(())
    }
}

/// A value of a closed set as the word that JSON has for it.
pub(crate) fn word(value: &(impl Serialize + std::fmt::Debug)) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        other => unreachable!("{value:?} is a word, not {other:?}"),
    }
}

impl From<rusqlite::Error> for JournalError {
    fn from(error: rusqlite::Error) -> Self {
        Self(error.to_string())
    }
}
