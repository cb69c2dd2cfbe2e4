//! The journal in SQLite, written: one writer in WAL mode with full synchronisation.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use dispatch::{Outcome, RequestId};
use rusqlite::{Connection, OpenFlags, Transaction, params};
use scheduling::{Seconds, Steps, Time};
use serde::Serialize;

use super::guard::{Damage, Guard};
use super::open::connect;
use super::record::{Accepted, Clock, EndEntry, OpenRun, Picture, Png, Record, Stored};
use super::{Fate, Journal, JournalError};

/// The writing side.
pub struct Sqlite {
    pub(super) connection: Connection,
    pub(super) origin: f64,
    pub(super) path: PathBuf,
    pub(super) guard: Arc<Guard>,
}

impl Sqlite {
    /// Pages of the log from which on the writer itself moves them into the file. Before that it is
    /// the [`Checkpointer`]'s work, which does not hold up commits.
    pub(super) const BACKSTOP: u32 = 16_384;

    /// Requests that are forgotten in one commit.
    const FORGOTTEN: u32 = 5_000;

    /// Watches the files that are written to.
    pub(crate) fn guard(&self) -> Arc<Guard> {
        self.guard.clone()
    }

    /// Its one absolute path, whatever links lead to it.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// When time began, in Unix seconds.
    pub fn origin(&self) -> f64 {
        self.origin
    }

    /// Limits the file to so many pages: a full disk.
    #[cfg(test)]
    pub(super) fn limit_pages(&self, pages: u32) -> Result<(), JournalError> {
        let set = format!("PRAGMA max_page_count = {pages}");
        self.connection.query_row(&set, [], |_| Ok(())).map_err(Into::into)
    }
}

impl Journal for Sqlite {
    fn append(&mut self, batch: &[Record]) -> Result<Vec<Fate>, JournalError> {
        self.commit(batch, |_| Ok(()))
    }
}

impl Sqlite {
    /// Makes a batch durable together with what else is to be written.
    pub(super) fn commit(
        &mut self,
        batch: &[Record],
        also: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>,
    ) -> Result<Vec<Fate>, JournalError> {
        let transaction = self.connection.transaction()?;
        also(&transaction)?;
        let fates = batch.iter().map(|r| write(&transaction, r)).collect::<Result<_, _>>()?;
        // Also where nothing happened, so that every batch tries the disk.
        let latest = batch.iter().filter_map(Record::time).fold(Time::ZERO, Time::max);
        transaction
            .prepare_cached("UPDATE gateway SET value = max(value, ?1) WHERE key = 'time'")?
            .execute([latest.seconds()])?;
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
        Record::Decided { request, decision } => {
            let shadow = decision.shadow.as_ref();
            t.prepare_cached(
                "INSERT INTO decisions SELECT position, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10
                 FROM requests WHERE id = ?1",
            )?
            .execute(params![
                id(request),
                decision.at.seconds(),
                word(&decision.cause),
                decision.server,
                decision.steps.get(),
                decision.start.seconds(),
                decision.finish.seconds(),
                decision.policy,
                shadow.map(|s| &s.server),
                shadow.map(|s| s.steps.get()),
            ])?;
        }
        Record::Started {
            id: run,
            run: OpenRun { server, steps, start, load, service, ticket },
        } => {
            t.prepare_cached(
                "INSERT OR IGNORE INTO runs
                 SELECT position, ?2, ?3, ?4, ?5, ?6, ?7, NULL, NULL, 0, ?8 FROM requests WHERE id = ?1",
            )?
            .execute(params![
                id(&run.request),
                run.attempt,
                server,
                steps.get(),
                start.seconds(),
                service.seconds(),
                ticket,
                load.seconds(),
            ])?;
        }
        Record::Ticket { run, ticket } => {
            t.prepare_cached(
                "UPDATE runs SET ticket = ?3 WHERE attempt = ?2
                 AND request = (SELECT position FROM requests WHERE id = ?1)",
            )?
            .execute(params![id(&run.request), run.attempt, ticket])?;
        }
        Record::Untimed { run } => {
            t.prepare_cached(
                "UPDATE runs SET untimed = 1 WHERE attempt = ?2
                 AND request = (SELECT position FROM requests WHERE id = ?1)",
            )?
            .execute(params![id(&run.request), run.attempt])?;
        }
        Record::RunFailed { run, at, reason } => {
            t.prepare_cached(
                "UPDATE runs SET failed_at = ?3, reason = ?4 WHERE attempt = ?2
                 AND request = (SELECT position FROM requests WHERE id = ?1)",
            )?
            .execute(params![id(&run.request), run.attempt, at.seconds(), reason])?;
        }
        Record::Ended { request, end, picture, lived } => {
            write_end(t, *request, end, picture.as_ref(), *lived)?;
        }
        Record::CalledBack(request) => {
            t.prepare_cached(
                "DELETE FROM callbacks
                 WHERE request = (SELECT position FROM requests WHERE id = ?1)",
            )?
            .execute([id(request)])?;
        }
        Record::Clock(clock) => write_clock(t, clock)?,
        Record::Forget { lived, age } => forget(t, *lived, *age)?,
    }
    Ok(Fate::Written)
}

/// Writes an end, unless there is one already, and its picture.
fn write_end(
    t: &Transaction<'_>,
    request: RequestId,
    end: &EndEntry,
    picture: Option<&Picture>,
    lived: Seconds,
) -> Result<(), JournalError> {
    let id = request.0.into_bytes();
    let (outcome, reason) = match &end.outcome {
        Outcome::Completed => ("completed", None),
        Outcome::Failed { reason } => ("failed", Some(reason)),
        Outcome::Cancelled => ("cancelled", None),
        Outcome::Expired => ("expired", None),
    };
    let new = t
        .prepare_cached(
            "INSERT OR IGNORE INTO ends SELECT position, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9,
             ?10, ?11, ?12 FROM requests WHERE id = ?1",
        )?
        .execute(params![
            id,
            end.at.seconds(),
            outcome,
            reason,
            end.server,
            end.steps.map(Steps::get),
            end.start.map(Time::seconds),
            end.attempts,
            end.tardiness.seconds(),
            end.quality,
            end.reward,
            lived.seconds(),
        ])?;
    if new == 1 {
        t.prepare_cached("UPDATE requests SET ended = ?2 WHERE id = ?1")?
            .execute(params![id, outcome])?;
    }
    if let (1, Some(picture)) = (new, picture) {
        let (png, stored, length) = match &picture.png {
            Png::Here(png) => (&png[..], None, None),
            Png::Stored(Stored { name, length }) => {
                (&[][..], Some(name), Some(length.cast_signed()))
            }
        };
        t.prepare_cached(
            "INSERT INTO pictures SELECT position, ?2, ?3, ?4, ?5 FROM requests WHERE id = ?1",
        )?
        .execute(params![id, picture.kept_until.seconds(), png, stored, length])?;
    }
    Ok(())
}

fn write_clock(t: &Transaction<'_>, clock: &Clock) -> Result<(), JournalError> {
    let Clock { moment, lived } = clock;
    let mut write = t.prepare_cached("UPDATE gateway SET value = ?2 WHERE key = ?1")?;
    let (time, wall) = (moment.time.seconds(), moment.wall);
    for (key, value) in [("clock_time", time), ("clock_wall", wall)] {
        write.execute(params![key, value])?;
    }
    // It never goes back: another machine that leads may have heard less of it.
    t.prepare_cached("UPDATE gateway SET value = max(value, ?1) WHERE key = 'lived'")?
        .execute([lived.seconds()])?;
    let furthest: f64 = t
        .prepare_cached("SELECT value FROM gateway WHERE key = 'furthest_wall'")?
        .query_row([], |r| r.get(0))?;
    if wall >= furthest {
        write.execute(params!["furthest_time", time])?;
        write.execute(params!["furthest_wall", wall])?;
    }
    Ok(())
}

/// Deletes pictures whose time is over, and requests without one that ended so long ago.
fn forget(t: &Transaction<'_>, lived: Seconds, age: Seconds) -> Result<(), JournalError> {
    t.prepare_cached("DELETE FROM pictures WHERE kept_until <= ?1")?.execute([lived.seconds()])?;
    // Decisions, runs and the end go with the request. Not all at once, so that others need not
    // wait long for their commit.
    t.prepare_cached(
        "DELETE FROM requests WHERE position IN (
           SELECT request FROM ends WHERE lived <= ?1
           AND request NOT IN (SELECT request FROM pictures)
           ORDER BY lived LIMIT ?2)",
    )?
    .execute(params![(lived - age).seconds(), Sqlite::FORGOTTEN])?;
    Ok(())
}

fn insert_request(t: &Transaction<'_>, accepted: &Accepted) -> Result<Fate, JournalError> {
    let Accepted { order, spec, key, callback } = accepted;
    let inserted = t
        .prepare_cached(
            "INSERT OR IGNORE INTO requests VALUES
             (NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, NULL)",
        )?
        .execute(params![
            order.id.0.into_bytes(),
            order.owner,
            order.request.arrival.seconds(),
            order.request.due.seconds(),
            order.expires.seconds(),
            word(&order.request.penalty),
            order.pixels,
            order.request.bounds.min.get(),
            order.request.bounds.max.get(),
            serde_json::to_string(spec).expect("a spec has only JSON's types"),
            key.as_ref().map(|k| &k.key),
            key.as_ref().map(|k| &k.fingerprint[..]),
        ])?;
    if let (1, Some(url)) = (inserted, callback) {
        t.prepare_cached("INSERT INTO callbacks VALUES (last_insert_rowid(), ?1)")?
            .execute([url])?;
    }
    Ok(if inserted == 1 { Fate::Written } else { Fate::KeyTaken })
}

/// Moves the log into the file beside the writer.
pub(crate) struct Checkpointer {
    connection: Connection,
    guard: Arc<Guard>,
}

impl Checkpointer {
    /// A second connection to an open journal.
    ///
    /// # Errors
    /// [`JournalError`] if it cannot be opened.
    pub(crate) fn new(journal: &Sqlite) -> Result<Self, JournalError> {
        let connection = connect(&journal.path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        Ok(Self { connection, guard: journal.guard() })
    }

    /// Whether the files are still those of the journal.
    ///
    /// # Errors
    /// [`Damage`]
    pub(crate) fn check(&self) -> Result<(), Damage> {
        self.guard.check()
    }

    /// Moves what no reader needs any more, without waiting for anybody.
    ///
    /// # Errors
    /// [`JournalError`] if the disk does not take it, the log still has everything then, or if the
    /// files are not those of the journal any more.
    pub(crate) fn run(&self) -> Result<(), JournalError> {
        let moved = self.guard.checkpoint(|| {
            self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
        });
        match moved {
            Ok(moved) => Ok(moved?),
            Err(Damage::Unseen(why) | Damage::Lost(why)) => Err(JournalError(why)),
        }
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
