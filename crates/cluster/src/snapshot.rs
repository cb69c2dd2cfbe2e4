//! Copies of the journal in a bucket of the brokers, for nodes that were away for longer than the log is kept.

use std::path::{Path, PathBuf};

use async_nats::jetstream::object_store::{ObjectMetadata, ObjectStore};
use gateway::journal;
use tokio::io::AsyncReadExt as _;

use crate::error::ClusterError;

/// Name of the latest one.
const NAME: &str = "journal";
/// Its entry with the sequence up to which it goes.
const SEQUENCE: &str = "sequence";

/// The sequence of the latest one, if there is any.
pub(crate) async fn latest(bucket: &ObjectStore) -> Option<u64> {
    let info = bucket.info(NAME).await.ok()?;
    info.metadata.get(SEQUENCE)?.parse().ok()
}

/// Puts a copy of the journal there, and says up to where it goes.
///
/// # Errors
/// Why there is none.
pub(crate) async fn put(bucket: &ObjectStore, journal: &Path) -> Result<u64, String> {
    let (path, copy) = (journal.to_owned(), beside(journal, "-snapshot"));
    let made = tokio::task::spawn_blocking(move || {
        let _ = std::fs::remove_file(&copy);
        let sequence = journal::snapshot(&path, &copy).map_err(|error| error.to_string());
        let bytes = std::fs::read(&copy).map_err(|error| error.to_string());
        let _ = std::fs::remove_file(&copy);
        Ok::<_, String>((sequence?, bytes?))
    });
    let (sequence, bytes) = made.await.map_err(|error| error.to_string())??;
    let metadata = ObjectMetadata {
        name: NAME.into(),
        metadata: [(SEQUENCE.to_owned(), sequence.to_string())].into(),
        ..ObjectMetadata::default()
    };
    bucket.put(metadata, &mut &bytes[..]).await.map_err(|error| crate::causes(&error))?;
    Ok(sequence)
}

/// Puts the latest copy in place of the journal, which is kept beside it, if there is one.
///
/// # Errors
/// [`ClusterError`]; the journal is as it was then.
pub(crate) async fn fetch(
    bucket: &ObjectStore,
    cell: &str,
    journal: &Path,
) -> Result<(), ClusterError> {
    let refuse = |problem: String| ClusterError::Cell { cell: cell.into(), problem };
    let mut object = bucket.get(NAME).await.map_err(|error| refuse(crate::causes(&error)))?;
    let mut bytes = Vec::new();
    object.read_to_end(&mut bytes).await.map_err(|error| refuse(error.to_string()))?;
    let fresh = beside(journal, "-fresh");
    let io = |problem: std::io::Error| ClusterError::File {
        file: journal.into(),
        problem: problem.to_string(),
    };
    private(&fresh, &bytes).map_err(io)?;
    put_aside(journal).map_err(io)?;
    std::fs::rename(&fresh, journal).map_err(io)
}

/// Takes the journal out of the way, with all that belongs to it.
pub(crate) fn put_aside(journal: &Path) -> std::io::Result<()> {
    for ending in ["", "-wal", "-shm"] {
        let from = beside(journal, ending);
        if from.exists() {
            let to = beside(journal, &format!(".before{ending}"));
            std::fs::rename(from, to)?;
        }
    }
    Ok(())
}

fn private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let mut file = options.open(path)?;
    std::io::Write::write_all(&mut file, bytes)?;
    file.sync_all()
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}
