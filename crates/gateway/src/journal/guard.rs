//! Whether the files on the disk are still those that the journal was opened with.
//!
//! Files can be unlinked, moved away, replaced, truncated or overwritten under a running gateway,
//! and SQLite, which has them open, need not notice: it goes on writing into a file that nobody will
//! ever find again. So before anything is acknowledged, and every now and then, the names are
//! compared with what was opened. What does not fit stays so for the life of the process.

use std::fs::Metadata;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::SystemTime;

use super::JournalError;
use super::file::{Lock, beside};

/// Why nothing can be acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    /// The files could not be looked at; the next look may succeed.
    Unseen(String),
    /// They are not those that were opened: what is written may be lost.
    Lost(String),
}

/// What was found wrong with the files, for good.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict(Arc<OnceLock<String>>);

impl Verdict {
    /// Why the journal is lost; none as long as it is not.
    pub(crate) fn lost(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }

    fn pass(&self, why: String) -> Damage {
        Damage::Lost(self.0.get_or_init(|| why).clone())
    }
}

/// Watches the files of a journal, and holds its lock.
pub(crate) struct Guard {
    path: PathBuf,
    lock: Lock,
    known: Mutex<Known>,
    verdict: Verdict,
}

/// What the files were like when last looked at.
struct Known {
    database: Seen,
    log: Seen,
    index: Seen,
    lock: Seen,
    /// Checkpoints under way, which change the database.
    checkpoints: u32,
    /// Commits under way, which change it if the log is long.
    commits: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    identity: (u64, u64),
    length: u64,
    modified: Option<SystemTime>,
}

impl Seen {
    fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let identity = {
            use std::os::unix::fs::MetadataExt as _;
            (metadata.dev(), metadata.ino())
        };
        #[cfg(not(unix))]
        let identity = (0, 0);
        Self { identity, length: metadata.len(), modified: metadata.modified().ok() }
    }
}

impl Guard {
    /// Bytes of the log from which on a commit moves it into the database itself.
    const LONG: u64 = super::Sqlite::BACKSTOP as u64 * 4096;

    /// Takes note of the files of the journal at this resolved path, which is open.
    pub(super) fn new(path: &Path, lock: Lock) -> Result<Self, JournalError> {
        let see = |path: &Path| {
            let metadata = path.metadata();
            metadata
                .map(|m| Seen::of(&m))
                .map_err(|e| JournalError(format!("{}: {e}", path.display())))
        };
        let known = Known {
            database: see(path)?,
            log: see(&beside(path, "-wal"))?,
            index: see(&beside(path, "-shm"))?,
            lock: Seen::of(&lock.file.metadata().map_err(|e| JournalError(e.to_string()))?),
            checkpoints: 0,
            commits: 0,
        };
        Ok(Self { path: path.into(), lock, known: Mutex::new(known), verdict: Verdict::default() })
    }

    /// What was found so far, for those who only want to know.
    pub(crate) fn verdict(&self) -> Verdict {
        self.verdict.clone()
    }

    /// Looks at the files.
    ///
    /// # Errors
    /// [`Damage`]; once lost, always lost.
    pub(crate) fn check(&self) -> Result<(), Damage> {
        self.look(&mut self.known())
    }

    /// Commits, between two looks.
    ///
    /// # Errors
    /// [`Damage`], before or after the work; after it, nobody knows whether it will be found again.
    pub(super) fn commit<T>(&self, work: impl FnOnce() -> T) -> Result<T, Damage> {
        {
            let mut known = self.known();
            self.look(&mut known)?;
            known.commits += 1;
        }
        let result = work();
        let mut known = self.known();
        known.commits -= 1;
        known.log = self.same(&beside(&self.path, "-wal"), known.log)?;
        if known.log.length >= Self::LONG {
            self.adopt(&mut known)?;
        }
        self.look(&mut known)?;
        Ok(result)
    }

    /// Moves the log into the database, between two looks.
    ///
    /// # Errors
    /// [`Damage`]
    pub(super) fn checkpoint<T>(&self, work: impl FnOnce() -> T) -> Result<T, Damage> {
        {
            let mut known = self.known();
            self.look(&mut known)?;
            known.checkpoints += 1;
        }
        let result = work();
        let mut known = self.known();
        known.checkpoints -= 1;
        self.adopt(&mut known)?;
        self.look(&mut known)?;
        Ok(result)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self, known: &mut Known) -> Result<(), Damage> {
        if let Some(why) = self.verdict.lost() {
            return Err(Damage::Lost(why.into()));
        }
        let log = self.same(&beside(&self.path, "-wal"), known.log)?;
        known.log = log;
        self.same(&beside(&self.path, "-shm"), known.index)?;
        self.same(&self.lock.path, Seen { length: 0, ..known.lock })?;
        let database = self.same(&self.path, known.database)?;
        let ours = known.checkpoints > 0 || (known.commits > 0 && log.length >= Self::LONG);
        let (before, now) = (known.database, database);
        if !ours && (before.modified, before.length) != (now.modified, now.length) {
            return Err(self.lost(&self.path, "was changed by another program"));
        }
        Ok(())
    }

    /// Takes the database as our own work has left it.
    fn adopt(&self, known: &mut Known) -> Result<(), Damage> {
        known.database = self.same(&self.path, known.database)?;
        Ok(())
    }

    /// The file as it is now, if it is still the same and not shorter.
    fn same(&self, path: &Path, before: Seen) -> Result<Seen, Damage> {
        let now = match path.metadata() {
            Ok(metadata) => Seen::of(&metadata),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(self.lost(path, "was removed or moved away"));
            }
            Err(error) => return Err(Damage::Unseen(format!("{}: {error}", path.display()))),
        };
        if now.identity != before.identity {
            return Err(self.lost(path, "was replaced by another file"));
        }
        if now.length < before.length {
            return Err(self.lost(path, "was truncated"));
        }
        Ok(now)
    }

    fn lost(&self, path: &Path, what: &str) -> Damage {
        self.verdict.pass(format!(
            "{} {what} while the gateway was running: nothing is acknowledged until it is started \
             again",
            path.display()
        ))
    }
}
