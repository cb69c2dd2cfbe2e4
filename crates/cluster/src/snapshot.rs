//! Copies of the journal in a bucket of the brokers, for nodes that were away for longer than the log is kept.

use std::path::Path;
use std::time::Duration;

use async_nats::jetstream::object_store::{ObjectMetadata, ObjectStore};
use gateway::journal::{self, beside, private};
use jiff::Timestamp;
use tokio::fs::File;
use tokio::time::timeout;

use crate::error::ClusterError;

/// Name of the latest one.
const NAME: &str = "journal";
/// Its entry with the sequence up to which it goes.
const SEQUENCE: &str = "sequence";
/// Its entry with the moment when it was made, in Unix seconds.
const MADE: &str = "made";

/// The sequence of the latest one, if there is any.
pub(crate) async fn latest(bucket: &ObjectStore) -> Option<u64> {
    let info = bucket.info(NAME).await.ok()?;
    info.metadata.get(SEQUENCE)?.parse().ok()
}

/// How old the latest one is, if there is any.
pub(crate) async fn age(bucket: &ObjectStore) -> Option<Duration> {
    let info = bucket.info(NAME).await.ok()?;
    let made: i64 = info.metadata.get(MADE)?.parse().ok()?;
    let seconds = Timestamp::now().as_second().saturating_sub(made);
    Some(Duration::from_secs(seconds.try_into().unwrap_or(0)))
}

/// Puts a copy of the journal there, and says up to where it goes.
///
/// # Errors
/// Why there is none.
pub(crate) async fn put(bucket: &ObjectStore, journal: &Path) -> Result<u64, String> {
    /// Longest that it may take.
    const PATIENCE: Duration = Duration::from_mins(10);
    let (path, copy) = (journal.to_owned(), beside(journal, "-snapshot"));
    let into = copy.clone();
    let made = tokio::task::spawn_blocking(move || {
        // It has prompts in it, as the journal has.
        empty(&into).map_err(|error| error.to_string())?;
        journal::snapshot(&path, &into).map_err(|error| error.to_string())
    });
    let made = made.await.map_err(|error| error.to_string()).and_then(|made| made);
    let put = async {
        let sequence = made?;
        let now = Timestamp::now().as_second();
        let metadata = ObjectMetadata {
            name: NAME.into(),
            metadata: [(SEQUENCE, sequence.to_string()), (MADE, now.to_string())]
                .map(|(key, value)| (key.to_owned(), value))
                .into(),
            ..ObjectMetadata::default()
        };
        let mut file = File::open(&copy).await.map_err(|error| error.to_string())?;
        let put = timeout(PATIENCE, bucket.put(metadata, &mut file)).await;
        let put = put.map_err(|_| "the brokers did not take it in time".to_string())?;
        put.map_err(|error| crate::causes(&error))?;
        Ok(sequence)
    };
    let put = put.await;
    let _ = std::fs::remove_file(&copy);
    put
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
    let io = |problem: std::io::Error| ClusterError::File {
        file: journal.into(),
        problem: problem.to_string(),
    };
    let mut object = bucket.get(NAME).await.map_err(|error| refuse(crate::causes(&error)))?;
    let fresh = beside(journal, "-fresh");
    let mut file = File::from_std(empty(&fresh).map_err(io)?);
    tokio::io::copy(&mut object, &mut file).await.map_err(|error| refuse(error.to_string()))?;
    file.sync_all().await.map_err(io)?;
    drop(file);
    put_aside(journal).map_err(io)?;
    std::fs::rename(&fresh, journal).map_err(io)
}

/// Takes the journal out of the way, with all that belongs to it, under a name that nothing has yet.
pub(crate) fn put_aside(journal: &Path) -> std::io::Result<()> {
    let before = format!(".before-{}", Timestamp::now().as_millisecond());
    for ending in ["", "-wal", "-shm"] {
        let from = beside(journal, ending);
        if from.exists() {
            std::fs::rename(from, beside(journal, &format!("{before}{ending}")))?;
        }
    }
    Ok(())
}

/// An empty file that only its owner may read.
fn empty(path: &Path) -> std::io::Result<std::fs::File> {
    private().truncate(true).open(path)
}
