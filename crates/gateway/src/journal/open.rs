//! Opening the journal for writing: recognised, created or brought up to this version.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, params};

use super::file::{self, Lock};
use super::guard::Guard;
use super::{JournalError, Sqlite};

/// Version of the tables, kept in the file's header.
pub(super) const VERSION: i32 = 5;

/// What marks a file as ours, in its header: "atel".
const APPLICATION: i32 = 0x6174_656c;

/// Tables by which a journal is known that has no mark: version 1 made none.
const TABLES: [&str; 6] = ["decisions", "ends", "gateway", "pictures", "requests", "runs"];

impl Sqlite {
    /// Opens the journal at `path`, or starts one whose origin is `now` in Unix seconds. No other
    /// process can open it then, until this is dropped.
    ///
    /// # Errors
    /// [`JournalError`] if the file cannot be opened, is in use, or is not a journal that this
    /// version reads.
    pub fn open(path: &Path, now: f64) -> Result<Self, JournalError> {
        let path = file::resolve(path)?;
        let lock = Lock::take(&path)?;
        file::prepare(&path)?;
        let (connection, origin) = open(&path, now)
            .map_err(|JournalError(e)| JournalError(format!("{}: {e}", path.display())))?;
        let guard = Guard::new(&path, lock)?;
        Ok(Self { connection, origin, path, guard: Arc::new(guard) })
    }
}

fn open(path: &Path, now: f64) -> Result<(Connection, f64), JournalError> {
    let mut connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    // Until it is known to be ours, nothing is changed, not even by closing it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let version = recognise(&connection)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |r| r.get(0))?;
    if mode != "wal" {
        let problem = "cannot have a write-ahead log here: is it on a network file system?";
        return Err(JournalError(problem.into()));
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", "ON")?;
    connection.pragma_update(None, "wal_autocheckpoint", Sqlite::BACKSTOP)?;
    let transaction = connection.transaction()?;
    match version {
        None => {
            transaction.execute_batch(include_str!("schema.sql"))?;
            let values = [
                ("origin", now),
                ("time", 0.0),
                ("clock_time", 0.0),
                ("clock_wall", now),
                ("furthest_time", 0.0),
                ("furthest_wall", now),
                ("lived", 0.0),
            ];
            for (key, value) in values {
                transaction.execute("INSERT INTO gateway VALUES (?1, ?2)", params![key, value])?;
            }
        }
        Some(VERSION) => {}
        Some(from) => {
            tracing::info!(journal = %path.display(), from, to = VERSION, "the journal is brought up to date");
            if from < 2 {
                transaction.execute_batch(include_str!("migrate_1_to_2.sql"))?;
            }
            if from < 3 {
                transaction.execute_batch(include_str!("migrate_2_to_3.sql"))?;
            }
            if from < 4 {
                transaction.execute_batch(include_str!("migrate_3_to_4.sql"))?;
            }
            transaction.execute_batch(include_str!("migrate_4_to_5.sql"))?;
        }
    }
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()?;
    if version.is_some_and(|version| version < VERSION) {
        tracing::info!(journal = %path.display(), "the journal is up to date");
    }
    let origin =
        connection.query_row("SELECT value FROM gateway WHERE key = 'origin'", [], |r| r.get(0))?;
    Ok((connection, origin))
}

/// A connection that takes the path as it is: no URI, and never a new file.
pub(super) fn connect(path: &Path, how: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, how | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    Ok(connection)
}

/// The version of the journal; none if the file is still empty.
fn recognise(connection: &Connection) -> Result<Option<i32>, JournalError> {
    let number = |name| connection.pragma_query_value(None, name, |r| r.get::<_, i32>(0));
    let (application, version) = (number("application_id")?, number("user_version")?);
    let names: Vec<String> = connection
        .prepare(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%'
             ESCAPE '\\' ORDER BY name",
        )?
        .query_map([], |r| r.get(0))?
        .collect::<Result<_, _>>()?;
    let ours = TABLES.iter().all(|table| names.iter().any(|name| name == table));
    match (application, version) {
        (0, 0) if names.is_empty() => Ok(None),
        // The version was written after the tables.
        (0, 0 | 1) if ours => Ok(Some(1)),
        (APPLICATION, 2 | 3 | 4 | VERSION) if ours => Ok(Some(version)),
        (0 | APPLICATION, _) if ours => Err(JournalError(format!(
            "has version {version}: this atelier reads versions 1 to {VERSION}"
        ))),
        _ => Err(JournalError(
            "is a database of another program: a journal is a file of its own".into(),
        )),
    }
}
