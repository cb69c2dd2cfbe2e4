//! The journal read back, beside the writer.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use dispatch::RequestId;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, ToSql, params};
use scheduling::{Seconds, Steps, Time};

use super::open::{VERSION, connect};
use super::record::{
    Accepted, Clocks, CompletedRun, Entry, Filter, Kept, Moment, OpenRun, Page, PicturePlace,
    StoredPicture, Unfinished,
};
use super::rows::{BEHIND, REQUEST, accepted, checked, decision, end, identifier};
use super::sqlite::word;
use super::summary::{Summary, Window, summaries};
use super::{Archive, JournalError, Pictures, file};

/// The reading side: a few connections, taken in turn.
pub struct Reader {
    connections: Vec<Mutex<Connection>>,
    /// Where pictures are that are not in the journal itself.
    pictures: Option<Arc<dyn Pictures>>,
}

impl Reader {
    /// Connections that a reader may use side by side.
    const CONNECTIONS: usize = 6;

    /// Rows that one list looks at beyond those it returns.
    const LOOKED_AT: u32 = 2_000;
    /// Latest rows of a table among which its latest time is looked for.
    const LATEST: u32 = 10_000;

    /// Opens the journal at `path`, which must exist, for reading.
    ///
    /// # Errors
    /// [`JournalError`] if it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let path = file::resolve(path)?;
        let open = || {
            let connection = connect(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)
                .map_err(|e| JournalError(format!("{} cannot be read: {e}", path.display())))?;
            Ok(Mutex::new(connection))
        };
        let connections = (0..Self::CONNECTIONS).map(|_| open());
        let connections = connections.collect::<Result<_, JournalError>>()?;
        let reader = Self { connections, pictures: None };
        let version: i32 =
            reader.connection().pragma_query_value(None, "user_version", |r| r.get(0))?;
        if (0..VERSION).contains(&version) {
            return Err(JournalError(format!(
                "{} has version {version}: `atelier serve` brings it to version {VERSION} when it starts",
                path.display()
            )));
        }
        Ok(reader)
    }

    /// The same, with a store of pictures beside the journal.
    #[must_use]
    pub fn with_pictures(self, pictures: Option<Arc<dyn Pictures>>) -> Self {
        Self { pictures, ..self }
    }

    /// Every request ever accepted, in order of acceptance.
    ///
    /// # Errors
    /// [`JournalError`] if the store cannot be read.
    pub fn traffic(&self) -> Result<Vec<Accepted>, JournalError> {
        let c = self.connection();
        let requests = c
            .prepare(&format!("SELECT {REQUEST} FROM requests ORDER BY position"))?
            .query_map([], accepted)?
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
        let found = c
            .prepare_cached(
                "SELECT position, coalesce(pictures.length, length(png)), stored, ended FROM requests
                 LEFT JOIN pictures ON pictures.request = position WHERE id = ?1",
            )?
            .query_row([id.0.into_bytes()], |r| {
                let (length, stored): (Option<i64>, Option<Arc<str>>) = (r.get(1)?, r.get(2)?);
                if let Some(length) = length.map(i64::unsigned_abs) {
                    let position = r.get(0)?;
                    let place = stored.map_or(PicturePlace::Row(position), PicturePlace::Store);
                    return Ok(Kept::Here(StoredPicture { place, length }));
                }
                let outcome: Option<String> = r.get(3)?;
                let completed = outcome.is_some_and(|outcome| outcome == "completed");
                Ok(if completed { Kept::Gone } else { Kept::Never })
            })
            .optional()?;
        // What a store has lost nobody can be given.
        if let (Some(Kept::Here(stored)), Some(store)) = (&found, &self.pictures)
            && let PicturePlace::Store(name) = &stored.place
            && store.part(name, 0, 1).map_err(JournalError)?.is_none()
        {
            return Ok(Kept::Gone);
        }
        Ok(found.unwrap_or(Kept::Never))
    }

    fn picture_part(
        &self,
        picture: StoredPicture,
        from: u64,
        most: usize,
    ) -> Result<Bytes, JournalError> {
        let position = match (picture.place, &self.pictures) {
            (PicturePlace::Row(position), _) => position,
            (PicturePlace::Store(name), Some(store)) => {
                let part = store.part(&name, from, most).map_err(JournalError)?;
                return part.ok_or_else(|| JournalError("the picture's time is over".into()));
            }
            (PicturePlace::Store(name), None) => {
                return Err(JournalError(format!("there is no store that would have {name}")));
            }
        };
        let c = self.connection();
        let blob = match c.blob_open("main", "pictures", "png", position, true) {
            Ok(blob) => blob,
            // SQLite's word for a row that is not there.
            Err(rusqlite::Error::SqliteFailure(e, _)) if e.code == ErrorCode::Unknown => {
                return Err(JournalError("the picture's time is over".into()));
            }
            Err(error) => return Err(error.into()),
        };
        let from = usize::try_from(from).unwrap_or(usize::MAX).min(blob.len());
        let mut part = vec![0; most.min(blob.len() - from)];
        blob.read_at_exact(&mut part, from)?;
        Ok(part.into())
    }

    fn list(&self, filter: &Filter) -> Result<Page, JournalError> {
        let c = self.connection();
        let state = filter.state.as_deref();
        let (ended, live) = match state {
            None => ("", None),
            Some("live") => (" AND ended IS NULL", None),
            Some("ended") => (" AND ended IS NOT NULL", None),
            Some("running") => (" AND ended IS NULL", Some(true)),
            Some("waiting") => (" AND ended IS NULL", Some(false)),
            Some(_) => (" AND ended = :state", None),
        };
        let owner = if filter.owner.is_some() { " AND owner = :owner" } else { "" };
        // The owner's rows come from an index in order; the rest is tried on each. How many are
        // tried is bounded, so that a filter that fits nothing costs no more than others.
        let sql = format!(
            "SELECT {REQUEST},
               coalesce((:penalty IS NULL OR penalty = :penalty)
               AND (:running IS NULL OR :running = EXISTS
                 (SELECT 1 FROM runs WHERE request = position AND failed_at IS NULL))
               AND (:server IS NULL OR :server = (SELECT server FROM decisions
                 WHERE request = position ORDER BY decisions.rowid DESC LIMIT 1)), FALSE)
             FROM requests WHERE position < :before{ended}{owner} ORDER BY position DESC"
        );
        let penalty = filter.penalty.map(|p| word(&p));
        let before = filter.before.unwrap_or(i64::MAX);
        let mut values: Vec<(&str, &dyn ToSql)> = vec![
            (":penalty", &penalty),
            (":running", &live),
            (":server", &filter.server),
            (":before", &before),
        ];
        if ended.contains(":state") {
            values.push((":state", &state));
        }
        if filter.owner.is_some() {
            values.push((":owner", &filter.owner));
        }
        let mut statement = c.prepare_cached(&sql)?;
        let mut rows = statement.query(values.as_slice())?;
        let mut page = Page::default();
        let (mut looked_at, most) = (0, filter.limit.saturating_add(Self::LOOKED_AT));
        while let Some(row) = rows.next()? {
            let position = row.get(0)?;
            if row.get(BEHIND)? {
                page.entries.push(Self::complete(&c, position, accepted(row)?)?);
            }
            looked_at += 1;
            if page.entries.len() >= filter.limit as usize || looked_at >= most {
                page.next = Some(position);
                break;
            }
        }
        Ok(page)
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
                   (SELECT count(failed_at) FROM runs WHERE request = position), load
                 FROM requests INDEXED BY requests_live
                 LEFT JOIN runs ON runs.request = position AND attempt =
                   (SELECT max(attempt) FROM runs WHERE request = position)
                 WHERE ended IS NULL ORDER BY position"
            ))?
            .query_map([], |r| {
                let attempts: Option<u32> = r.get(BEHIND + 6)?;
                let failed: Option<f64> = r.get(BEHIND + 5)?;
                let open = match (attempts, failed) {
                    (Some(_), None) => Some(OpenRun {
                        server: r.get(BEHIND)?,
                        steps: checked(r, BEHIND + 1, Steps::new)?,
                        start: checked(r, BEHIND + 2, Time::new)?,
                        service: checked(r, BEHIND + 3, Seconds::new)?,
                        load: checked(r, BEHIND + 8, Seconds::new)?,
                        ticket: r.get(BEHIND + 4)?,
                    }),
                    _ => None,
                };
                let (attempts, failures) = (attempts.unwrap_or(0), r.get(BEHIND + 7)?);
                Ok(Unfinished { accepted: accepted(r)?, attempts, failures, open })
            })?
            .collect::<Result<_, _>>()?;
        Ok(rows)
    }

    fn completed_runs(
        &self,
        server: &str,
        model: Option<&str>,
        most: u32,
    ) -> Result<Vec<CompletedRun>, JournalError> {
        let c = self.connection();
        let mut runs: Vec<_> = c
            .prepare_cached(
                "SELECT e.steps, pixels, e.at - e.start, coalesce(load, 0) FROM
                   (SELECT * FROM ends ORDER BY request DESC LIMIT ?3) AS e
                 JOIN requests ON position = e.request
                 LEFT JOIN runs AS r ON r.request = position AND r.attempt = attempts
                 WHERE outcome = 'completed' AND e.server = ?1 AND e.at >= e.start
                 AND json_extract(spec, '$.model') IS ?4 AND coalesce(untimed, 0) = 0
                 ORDER BY e.request DESC LIMIT ?2",
            )?
            .query_map(params![server, most, Self::LATEST, model], |r| {
                Ok(CompletedRun {
                    steps: checked(r, 0, Steps::new)?,
                    pixels: r.get(1)?,
                    load: checked(r, 3, Seconds::new)?,
                    took: checked(r, 2, Seconds::new)?,
                })
            })?
            .collect::<Result<_, _>>()?;
        runs.reverse();
        Ok(runs)
    }

    fn arrivals(&self, most: u32) -> Result<Vec<Accepted>, JournalError> {
        let c = self.connection();
        let latest = format!("SELECT {REQUEST} FROM requests ORDER BY position DESC LIMIT ?1");
        let mut requests: Vec<_> =
            c.prepare_cached(&latest)?.query_map([most], accepted)?.collect::<Result<_, _>>()?;
        requests.reverse();
        Ok(requests)
    }

    fn summaries(&self, window: &Window) -> Result<Vec<Summary>, JournalError> {
        Ok(summaries(&self.connection(), window)?)
    }

    fn untold(&self) -> Result<Vec<(RequestId, String)>, JournalError> {
        let c = self.connection();
        let ends = c
            .prepare_cached(
                "SELECT id, url FROM callbacks JOIN requests ON position = request
                 WHERE ended IS NOT NULL ORDER BY position",
            )?
            .query_map([], |r| Ok((identifier(r, 0)?, r.get(1)?)))?
            .collect::<Result<_, _>>()?;
        Ok(ends)
    }

    fn last(&self) -> Result<Time, JournalError> {
        let last: f64 = self.connection().query_row(
            "SELECT max(
               coalesce((SELECT max(value) FROM gateway WHERE key IN ('time', 'clock_time')), 0),
               coalesce((SELECT max(arrival) FROM
                 (SELECT arrival FROM requests ORDER BY position DESC LIMIT ?1)), 0),
               coalesce((SELECT max(at) FROM
                 (SELECT at FROM decisions ORDER BY rowid DESC LIMIT ?1)), 0),
               coalesce((SELECT max(max(start, coalesce(failed_at, 0))) FROM
                 (SELECT start, failed_at FROM runs ORDER BY rowid DESC LIMIT ?1)), 0),
               coalesce((SELECT max(at) FROM
                 (SELECT at FROM ends ORDER BY request DESC LIMIT ?1)), 0))",
            [Self::LATEST],
            |r| r.get(0),
        )?;
        Time::new(last).map_err(|e| JournalError(e.to_string()))
    }

    fn clocks(&self) -> Result<Clocks, JournalError> {
        let c = self.connection();
        let value = |key: &str| -> rusqlite::Result<f64> {
            c.prepare_cached("SELECT value FROM gateway WHERE key = ?1")?
                .query_row([key], |r| r.get(0))
        };
        let refuse = |e: scheduling::OutOfRange| JournalError(e.to_string());
        let moment = |name: &str| -> Result<Moment, JournalError> {
            let time = Time::new(value(&format!("{name}_time"))?).map_err(refuse)?;
            Ok(Moment { time, wall: value(&format!("{name}_wall"))? })
        };
        // What ended since was older by then.
        let ended: Option<f64> = c.query_row("SELECT max(lived) FROM ends", [], |r| r.get(0))?;
        let lived = Seconds::new(value("lived")?.max(ended.unwrap_or(0.0))).map_err(refuse)?;
        Ok(Clocks { latest: moment("clock")?, furthest: moment("furthest")?, lived })
    }
}
