//! The journal's file before it is opened: found, locked, and readable by its owner alone.

use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::JournalError;

/// A file that belongs to the journal at `path`.
pub fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// The one absolute path of the journal, whatever links lead to it. It need not exist.
pub(super) fn resolve(path: &Path) -> Result<PathBuf, JournalError> {
    let refuse = |problem: String| JournalError(format!("{} {problem}", path.display()));
    let exists = match path.canonicalize() {
        Ok(resolved) => {
            let metadata = resolved.metadata().map_err(|e| refuse(format!("is not found: {e}")))?;
            check_kind(&metadata).map_err(refuse)?;
            return Ok(resolved);
        }
        Err(error) if error.kind() == ErrorKind::NotFound => path.symlink_metadata().is_ok(),
        Err(error) => return Err(refuse(format!("is not found: {error}"))),
    };
    if exists {
        return Err(refuse("is a link to a file that is not there".into()));
    }
    let Some(name) = path.file_name() else {
        return Err(refuse("is no file: allowed is the path of a file".into()));
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let resolved = folder.canonicalize().map_err(|e| {
        refuse(format!("cannot be created: its folder {} is not found: {e}", folder.display()))
    })?;
    Ok(resolved.join(name))
}

fn check_kind(metadata: &Metadata) -> Result<(), String> {
    if !metadata.is_file() {
        return Err("is no regular file: a journal must be one".into());
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        // The lock and SQLite's log stand beside one of the names only.
        if metadata.nlink() > 1 {
            let names = metadata.nlink();
            return Err(format!("has {names} names (hard links): a journal must have one"));
        }
    }
    Ok(())
}

/// Creates the file if it is not there, and takes away what others may do with it.
///
/// Called before SQLite opens it: closing any handle of the file would drop SQLite's own locks.
pub(super) fn prepare(path: &Path) -> Result<(), JournalError> {
    let refuse = |problem: String| JournalError(format!("{} {problem}", path.display()));
    let length = match path.metadata() {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == ErrorKind::NotFound => 0,
        Err(error) => return Err(refuse(format!("cannot be opened: {error}"))),
    };
    let log = beside(path, "-wal");
    // SQLite would throw the log away, and with it the latest acknowledged requests.
    if length == 0 && log.metadata().is_ok_and(|log| log.len() > 0) {
        return Err(refuse(format!(
            "is empty or gone, but its log {} is not: bring the file back, or move the log away",
            log.display()
        )));
    }
    private().open(path).map_err(|e| refuse(format!("cannot be opened: {e}")))?;
    for ending in ["", "-wal", "-shm"] {
        tighten(&beside(path, ending));
    }
    Ok(())
}

/// Opens for reading and writing, and creates what only the owner may read.
pub fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options
}

/// Takes away what the group and others may do with a file, if it is there.
pub(super) fn tighten(path: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let Ok(metadata) = path.metadata() else { return };
        let mut permissions = metadata.permissions();
        let mode = permissions.mode();
        let owners = mode & !0o077;
        if mode == owners {
            return;
        }
        permissions.set_mode(owners & 0o777);
        if let Err(error) = std::fs::set_permissions(path, permissions) {
            tracing::warn!(file = %path.display(), %error, "others can read the journal");
        }
    }
    #[cfg(not(unix))]
    let _ = path;
}

/// The right to write the journal, held by one process. It is given back when dropped, by the
/// system if need be; the file stays.
pub(super) struct Lock {
    pub(super) path: PathBuf,
    pub(super) file: File,
}

impl Lock {
    /// Takes the lock of the journal at this resolved path.
    pub(super) fn take(journal: &Path) -> Result<Self, JournalError> {
        let path = beside(journal, ".lock");
        let refuse = |e| JournalError(format!("{} cannot be locked: {e}", path.display()));
        let mut file = private().open(&path).map_err(refuse)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Longer than any number, however the file came about.
                let _ = file.take(20).read_to_string(&mut holder);
                let holder = match holder.trim().parse::<u32>() {
                    Ok(id) => format!("process {id}"),
                    Err(_) => "another process".into(),
                };
                let journal = journal.display();
                return Err(JournalError(format!(
                    "{journal} is in use by {holder}: one gateway at a time writes a journal"
                )));
            }
            Err(TryLockError::Error(error)) => return Err(refuse(error)),
        }
        tighten(&path);
        file.set_len(0).map_err(refuse)?;
        writeln!(file, "{}", std::process::id()).map_err(refuse)?;
        Ok(Self { path, file })
    }
}
