//! The journal: what was accepted, decided, run and ended, durable before it is acknowledged.
//!
//! The gateway writes through [`Journal`] and reads through [`Archive`]; both are narrow so that
//! another store, or a replicated one, can stand behind them. `Writer` turns many small records
//! into few durable commits, and `Guard` sees to it that what is written can be found again.

mod confirmed;
pub(crate) mod file;
mod guard;
mod open;
mod reader;
mod reads;
mod record;
mod replicated;
mod rows;
#[cfg(test)]
pub(crate) mod shelf;
mod sqlite;
mod summary;
#[cfg(test)]
mod tests;
mod writer;

use async_trait::async_trait;
use bytes::Bytes;
use dispatch::RequestId;
use scheduling::Time;

pub(crate) use confirmed::{Confirmed, Unconfirmed};
pub use file::{beside, private};
pub(crate) use guard::{Damage, Verdict};
pub use reader::Reader;
pub(crate) use reads::{Lane, Reads};
pub use record::{
    Accepted, Clock, Clocks, CompletedRun, DecisionEntry, EndEntry, Entry, Filter, IdempotencyKey,
    Kept, Moment, OpenRun, Page, Picture, Png, Record, Shadow, Spec, Stored, StoredPicture,
    Unfinished,
};
pub use replicated::{
    Deposed, Log, LogError, Message, Replica, ReplicaError, Replicated, Says, snapshot,
};
pub use sqlite::Sqlite;
pub(crate) use sqlite::{Checkpointer, word};
pub use summary::{Summary, Window, Worth};
pub(crate) use writer::{Report, Writer};

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is durable.
    Written,
    /// The owner has used its idempotency key for another request, so it was left out.
    KeyTaken,
}

/// The journal could not be written or read. Nothing of the batch was written.
#[derive(Debug, thiserror::Error)]
#[error("journal: {0}")]
pub struct JournalError(pub String);

/// Where records go.
pub trait Journal: Send + 'static {
    /// Makes a batch durable, all of it or nothing. Repeating a record changes nothing. An empty
    /// batch tells whether the store takes anything.
    ///
    /// # Errors
    /// [`JournalError`] if the store does not take it.
    fn append(&mut self, batch: &[Record]) -> Result<Vec<Fate>, JournalError>;
}

/// A store of pictures beside the journal, for those who do not keep them in it.
#[async_trait]
pub trait Pictures: Send + Sync + 'static {
    /// Keeps a picture under a name that no other one ever has.
    ///
    /// # Errors
    /// Why it may not be there.
    async fn keep(&self, name: &str, png: Bytes) -> Result<(), String>;

    /// At most so many bytes of one, beginning with the byte at `from`; none if it is not there. It blocks.
    ///
    /// # Errors
    /// Why nobody can say.
    fn part(&self, name: &str, from: u64, most: usize) -> Result<Option<Bytes>, String>;
}

/// What can be asked of the records. Calls block; they belong on a thread that may.
pub trait Archive: Send + Sync + 'static {
    /// A request and how it stands.
    ///
    /// # Errors
    /// [`JournalError`] if the store cannot be read.
    fn find(&self, id: RequestId) -> Result<Option<Entry>, JournalError>;

    /// Whether there is a picture of a request, and how long it is.
    ///
    /// # Errors
    /// [`JournalError`] if the store cannot be read.
    fn picture(&self, id: RequestId) -> Result<Kept, JournalError>;

    /// At most so many bytes of a picture, beginning with the byte at `from`; none behind its end.
    /// Parts of some hundred kilobytes are read about as fast as the whole.
    ///
    /// # Errors
    /// [`JournalError`] if the store cannot be read, or the picture has been deleted since.
    fn picture_part(
        &self,
        picture: StoredPicture,
        from: u64,
        most: usize,
    ) -> Result<Bytes, JournalError>;

    /// Requests, the latest first. What one call costs is bounded by the limit of the filter,
    /// whatever else is in the store.
    ///
    /// # Errors
    /// [`JournalError`] if the store cannot be read.
    fn list(&self, filter: &Filter) -> Result<Page, JournalError>;

    /// The request that the owner made with this idempotency key.
    ///
    /// # Errors
    /// [`JournalError`] if the store cannot be read.
    fn by_key(&self, owner: &str, key: &str)
    -> Result<Option<(RequestId, [u8; 32])>, JournalError>;

    /// Accepted requests in order of acceptance that have not ended.
    ///
    /// # Errors
    /// [`JournalError`] if the store cannot be read.
    fn unfinished(&self) -> Result<Vec<Unfinished>, JournalError>;

    /// The latest completed runs of a server, the oldest first.
    ///
    /// # Errors
    /// [`JournalError`] if the store cannot be read.
    fn completed_runs(
        &self,
        server: &str,
        model: Option<&str>,
        most: u32,
    ) -> Result<Vec<CompletedRun>, JournalError>;

    /// The latest requests accepted, the oldest first.
    ///
    /// # Errors
    /// [`JournalError`] if the store cannot be read.
    fn arrivals(&self, most: u32) -> Result<Vec<Accepted>, JournalError>;

    /// What has come of the requests that ended in some time, summed up.
    ///
    /// # Errors
    /// [`JournalError`] if the store cannot be read.
    fn summaries(&self, window: &Window) -> Result<Vec<Summary>, JournalError>;

    /// Requests that have ended, and where that is still to be told.
    ///
    /// # Errors
    /// [`JournalError`] if the store cannot be read.
    fn untold(&self) -> Result<Vec<(RequestId, String)>, JournalError>;

    /// The time of the latest record.
    ///
    /// # Errors
    /// [`JournalError`] if the store cannot be read.
    fn last(&self) -> Result<Time, JournalError>;

    /// What was written down of the clocks.
    ///
    /// # Errors
    /// [`JournalError`] if the store cannot be read.
    fn clocks(&self) -> Result<Clocks, JournalError>;
}
