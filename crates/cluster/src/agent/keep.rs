//! What an agent keeps on its disk: runs that it was asked for, and what came of them.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use dispatch::RunId;
use gateway::journal::private;
use rusqlite::{Connection, OptionalExtension as _, params};
use scheduling::Seconds;

use crate::words::{Order, Trouble, read, run_of, word};

/// The store. Copies share it; calls block for as long as the disk takes.
#[derive(Clone)]
pub(super) struct Keep(Arc<Mutex<Connection>>);

/// What came of a run.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Picture { png: Bytes, direct: bool, cached: bool, took: Seconds },
    Failed(Trouble),
}

/// A run that is kept.
pub(super) struct Kept {
    pub(super) order: Order,
    /// The server's own name for it.
    pub(super) ticket: Option<String>,
    /// None while it runs, or did when the agent was stopped.
    pub(super) outcome: Option<Outcome>,
}

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS runs (
  run TEXT PRIMARY KEY,
  server TEXT NOT NULL,
  job TEXT NOT NULL,
  ticket TEXT,
  -- Why it failed, or else its picture, once it has ended.
  trouble TEXT,
  png BLOB,
  direct INTEGER,
  cached INTEGER,
  took REAL
) STRICT;
CREATE TABLE IF NOT EXISTS epochs (server TEXT PRIMARY KEY, epoch INTEGER NOT NULL) STRICT;
";

impl Keep {
    /// Opens the file, or starts one that only its owner may read.
    ///
    /// # Errors
    /// If it cannot be opened, or another agent has it.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        private().open(path).map_err(|error| error.to_string())?;
        let open = || -> rusqlite::Result<Connection> {
            let connection = Connection::open(path)?;
            // One agent has the file, which says so as long as it lives.
            connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.execute_batch(TABLES)?;
            connection.execute("INSERT OR IGNORE INTO epochs VALUES ('', 0)", [])?;
            Ok(connection)
        };
        let connection = open().map_err(|error| match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
                "another agent uses it: allowed is one for each `state`".into()
            }
            _ => error.to_string(),
        })?;
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    /// The latest epoch that was obeyed at a server.
    pub(super) fn epoch(&self, server: &str) -> rusqlite::Result<u64> {
        let epoch = self
            .connection()
            .prepare_cached("SELECT epoch FROM epochs WHERE server = ?1")?
            .query_row([server], |r| r.get(0).map(i64::cast_unsigned))
            .optional()?;
        Ok(epoch.unwrap_or(0))
    }

    /// From now on nobody who began earlier is obeyed.
    pub(super) fn obey(&self, server: &str, epoch: u64) -> rusqlite::Result<()> {
        self.connection()
            .prepare_cached("INSERT OR REPLACE INTO epochs VALUES (?1, ?2)")?
            .execute(params![server, epoch.cast_signed()])
            .map(drop)
    }

    /// A run is taken.
    pub(super) fn take(&self, server: &str, order: &Order) -> rusqlite::Result<()> {
        let job = serde_json::to_string(order).expect("plain data");
        self.connection()
            .prepare_cached("INSERT OR IGNORE INTO runs (run, server, job) VALUES (?1, ?2, ?3)")?
            .execute(params![word(order.run), server, job])
            .map(drop)
    }

    /// The server has a name of its own for it.
    pub(super) fn ticket(&self, run: RunId, ticket: &str) -> rusqlite::Result<()> {
        self.connection()
            .prepare_cached("UPDATE runs SET ticket = ?2 WHERE run = ?1")?
            .execute(params![word(run), ticket])
            .map(drop)
    }

    /// It has ended.
    pub(super) fn ended(&self, run: RunId, outcome: &Outcome) -> rusqlite::Result<()> {
        let connection = self.connection();
        match outcome {
            Outcome::Failed(trouble) => connection
                .prepare_cached("UPDATE runs SET trouble = ?2 WHERE run = ?1")?
                .execute(params![word(run), serde_json::to_string(trouble).expect("plain data")]),
            Outcome::Picture { png, direct, cached, took } => connection
                .prepare_cached(
                    "UPDATE runs SET png = ?2, direct = ?3, cached = ?4, took = ?5 WHERE run = ?1",
                )?
                .execute(params![word(run), &png[..], direct, cached, took.seconds()]),
        }
        .map(drop)
    }

    /// It may be forgotten.
    pub(super) fn forget(&self, run: RunId) -> rusqlite::Result<()> {
        self.connection()
            .prepare_cached("DELETE FROM runs WHERE run = ?1")?
            .execute([word(run)])
            .map(drop)
    }

    /// All runs of a server.
    pub(super) fn all(&self, server: &str) -> rusqlite::Result<Vec<Kept>> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached(
            "SELECT run, job, ticket, trouble, png, direct, cached, took FROM runs WHERE server = ?1
             ORDER BY rowid",
        )?;
        let rows = statement.query_map([server], |r| {
            let (run, job): (String, String) = (r.get(0)?, r.get(1)?);
            let trouble: Option<String> = r.get(3)?;
            let png: Option<Vec<u8>> = r.get(4)?;
            let outcome = match (trouble, png) {
                (Some(trouble), _) => read(trouble.as_bytes()).ok().map(Outcome::Failed),
                (None, Some(png)) => Some(Outcome::Picture {
                    png: png.into(),
                    direct: r.get(5)?,
                    cached: r.get(6)?,
                    took: Seconds::of(r.get(7)?),
                }),
                (None, None) => None,
            };
            // Of a version that wrote it otherwise nothing can be made.
            let order = read::<Order>(job.as_bytes()).ok().filter(|_| run_of(&run).is_some());
            Ok(order.map(|order| (order, r.get(2), outcome)))
        })?;
        let mut all = Vec::new();
        for row in rows {
            if let Some((order, ticket, outcome)) = row? {
                all.push(Kept { order, ticket: ticket?, outcome });
            }
        }
        Ok(all)
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use dispatch::RequestId;
    use gateway::journal::Spec;
    use scheduling::Steps;

    use super::*;

    fn order(attempt: u32) -> Order {
        let spec = Spec {
            prompt: "a ring".into(),
            negative_prompt: String::new(),
            width: 8,
            height: 8,
            seed: 1,
            model: None,
        };
        let run = RunId { request: RequestId(uuid::Uuid::from_u128(3)), attempt };
        Order { run, spec, steps: Steps::MIN }
    }

    #[test]
    fn what_is_kept_outlives_the_agent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.db");
        let keep = Keep::open(&path).unwrap();
        let second = Keep::open(&path).err().unwrap();
        assert!(second.contains("another agent uses it"), "{second}");
        for attempt in 1..=3 {
            keep.take("a", &order(attempt)).unwrap();
        }
        keep.ticket(order(1).run, "job 7").unwrap();
        let (png, took) = (Bytes::from_static(b"png"), Seconds::of(2.5));
        let picture = Outcome::Picture { png, direct: true, cached: false, took };
        keep.ended(order(2).run, &picture).unwrap();
        keep.ended(order(3).run, &Outcome::Failed(Trouble::Unknown)).unwrap();
        keep.obey("a", 17).unwrap();
        drop(keep);
        let keep = Keep::open(&path).unwrap();
        let all = keep.all("a").unwrap();
        assert_eq!(all.iter().map(|kept| kept.order.run.attempt).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(all[0].ticket.as_deref(), Some("job 7"));
        assert!(all[0].outcome.is_none());
        assert!(
            matches!(&all[1].outcome, Some(Outcome::Picture { png, .. }) if &png[..] == b"png")
        );
        assert!(matches!(all[2].outcome, Some(Outcome::Failed(Trouble::Unknown))));
        assert_eq!((keep.epoch("a").unwrap(), keep.epoch("b").unwrap()), (17, 0));
        keep.forget(order(2).run).unwrap();
        assert_eq!(keep.all("a").unwrap().len(), 2);
        assert!(keep.all("b").unwrap().is_empty());
    }
}
