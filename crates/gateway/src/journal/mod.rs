//! The journal: what was accepted, decided, run and ended, durable before it is acknowledged.
//!
//! The gateway writes through [`Journal`] and reads through [`Archive`]; both are narrow so that
//! another store, or a replicated one, can stand behind them. [`Writer`] turns many small records
//! into few durable commits.

mod reader;
mod record;
mod sqlite;
#[cfg(test)]
mod tests;
mod writer;

use scheduling::Time;

use crate::scheduler::RequestId;
pub use reader::Reader;
pub use record::{
    Accepted, CompletedRun, DecisionEntry, EndEntry, Entry, Filter, IdempotencyKey, Kept, OpenRun,
    Picture, Record, Shadow, Spec, Unfinished,
};
pub(crate) use sqlite::word;
pub use sqlite::{Checkpointer, Sqlite};
pub use writer::{Report, Writer};

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
    /// Makes a batch durable, all of it or nothing. Repeating a record changes nothing.
    ///
    /// # Errors
    /// [`JournalError`] if the store does not take it.
    fn append(&mut self, batch: &[Record]) -> Result<Vec<Fate>, JournalError>;
}

/// What can be asked of the records. Calls block; they belong on a thread that may.
pub trait Archive: Send + Sync + 'static {
    /// A request and how it stands.
    ///
    /// # Errors
    /// [`JournalError`] if the store cannot be read.
    fn find(&self, id: RequestId) -> Result<Option<Entry>, JournalError>;

    /// The picture of a request.
    ///
    /// # Errors
    /// [`JournalError`] if the store cannot be read.
    fn picture(&self, id: RequestId) -> Result<Kept, JournalError>;

    /// Requests, the latest first.
    ///
    /// # Errors
    /// [`JournalError`] if the store cannot be read.
    fn list(&self, filter: &Filter) -> Result<Vec<Entry>, JournalError>;

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
    fn completed_runs(&self, server: &str, most: u32) -> Result<Vec<CompletedRun>, JournalError>;

    /// The time of the latest record.
    ///
    /// # Errors
    /// [`JournalError`] if the store cannot be read.
    fn last(&self) -> Result<Time, JournalError>;
}
